"""Weighted Gram matrices to twice the working precision, by ordinary matrix products.

Where inputs are large, ``sum_i w_i x_i x_i'`` is a small difference of large terms: inputs of size 1e4 leave an error
of 1e-8 where a penalty of 1e-2 is compared to it. So factors are cut into slices whose products no rounding touches
(Ozaki, Ogita, Oishi and Rump 2012, *Error-free transformations of matrix multiplication by using fast routines of
matrix multiplication and its applications*, Numer. Algorithms 59): in a column of n entries up to 2^e, multiples of
``2^(e + 1 - b)`` with ``2 b - 2 + log2 n <= 53`` have exact sums of products, in whatever order they are added. Seven
products instead of one.
"""

import math
from typing import Any

from array_api_compat import array_namespace, device

AnyArray = Any
"""A NumPy array or a torch tensor of float64."""

BITS = 53
SPLITTER = 2.0**27 + 1.0
"""Veltkamp's constant: halves of 26 bits."""

EPS = 2.0 ** (1 - BITS)


def weighted_gram(X: AnyArray, weights: AnyArray) -> tuple[AnyArray, AnyArray, float]:
    """``X' diag(w) X`` as the sum of a matrix and what rounding has taken from it, and a bound of what they lack.

    Args:
        X: Shape (n, m); entries and their squares are far from overflow.
        weights: Shape (n,), of either sign.

    Returns:
        Two matrices, shape (m, m), the second one small beside the first, and the largest distance of their sum from
        the true one, in the Frobenius norm.
    """
    xp = array_namespace(X)
    n = X.shape[0]
    if n == 0:
        nothing = xp.zeros((X.shape[1],) * 2, dtype=X.dtype, device=device(X))
        return nothing, nothing, 0.0
    bits = (BITS + 1 - math.ceil(math.log2(n))) // 2
    scaled = weights[:, None] * X
    lost = _product_error(xp, weights[:, None], X, scaled)
    (x0, x1, xr), (p0, p1, pr) = _slices(xp, X, bits), _slices(xp, scaled, bits)
    high = x0.T @ p0
    low = xp.zeros_like(high)
    for exact in (x0.T @ p1, x1.T @ p0):
        high, error = _two_sum(high, exact)
        low = low + error
    # Small beside the others by 2^(2 b), so that their rounding does not matter.
    low = low + (x0.T @ pr + x1.T @ (p1 + pr) + xr.T @ scaled + X.T @ lost)
    reach = xp.max(xp.abs(X), axis=0)
    size = n * float(xp.max(xp.abs(weights))) * float(reach @ reach)
    return high, low, 16.0 * n * EPS * 4.0 ** (1 - bits) * size


class SampleSums:
    """``sum_i w_i [x_i; 1][x_i; 1]'``, summed block by block, in working precision or twice that.

    Args:
        like: Shape (d, k); decides device and kind of the arrays.
        precise: Whether to sum to twice the working precision.

    Attributes:
        error: What sums to twice the precision lack at most, in the Frobenius norm.
    """

    def __init__(self, like: AnyArray, precise: bool = False) -> None:
        xp = self._xp = array_namespace(like)
        order = like.shape[0] + 1
        self._high = xp.zeros((order, order), dtype=like.dtype, device=device(like))
        self._low, self._mass = xp.zeros_like(self._high), 0.0
        self._precise, self.error = precise, 0.0

    def add(self, X: AnyArray, weights: AnyArray) -> None:
        """Add samples, shape (n, d), with weights of either sign, shape (n,)."""
        xp = self._xp
        lifted = xp.concat([X, xp.ones((X.shape[0], 1), dtype=X.dtype, device=device(X))], axis=1)
        if not self._precise:
            self._high = self._high + lifted.T @ (weights[:, None] * lifted)
            self._mass += float(xp.abs(weights) @ xp.sum(lifted * lifted, axis=1))
            return
        high, low, error = weighted_gram(lifted, weights)
        self._high, lost = _two_sum(self._high, high)
        self._low = self._low + (lost + low)
        self.error += error

    def matrix(self) -> AnyArray:
        """The sums, shape (d + 1, d + 1), rounded once."""
        found = self._high + self._low
        return 0.5 * (found + found.T)

    @property
    def mass(self) -> float:
        """The size of what was summed in working precision: the sums themselves where they are precise."""
        if not self._precise:
            return self._mass
        total = self.matrix()
        return float(self._xp.sqrt(self._xp.sum(total * total)))


def _slices(xp: Any, A: AnyArray, bits: int) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Two slices of `bits` bits for each column, and the rest: their sum is A without any error."""
    largest = xp.max(xp.abs(A), axis=0)
    exponent = xp.ceil(xp.log2(xp.where(largest > 0.0, largest, xp.ones_like(largest))))
    pieces = []
    for _ in range(2):
        # Adding 1.5 times a power of two rounds to multiples of its last place.
        anchor = 1.5 * 2.0 ** (exponent + float(BITS - bits))
        piece = (A + anchor) - anchor
        pieces.append(piece)
        A = A - piece
        exponent = exponent - float(bits)
    return pieces[0], pieces[1], A


def _product_error(xp: Any, a: AnyArray, b: AnyArray, product: AnyArray) -> AnyArray:
    """``a b - fl(a b)`` exactly (Dekker 1971, Numer. Math. 18)."""
    (ah, al), (bh, bl) = _halves(a), _halves(b)
    return ((ah * bh - product) + ah * bl + al * bh) + al * bl


def _halves(a: AnyArray) -> tuple[AnyArray, AnyArray]:
    shifted = SPLITTER * a
    high = shifted - (shifted - a)
    return high, a - high


def _two_sum(a: AnyArray, b: AnyArray) -> tuple[AnyArray, AnyArray]:
    """The rounded sum and its error (Knuth)."""
    total = a + b
    virtual = total - a
    return total, (a - (total - virtual)) + (b - virtual)
