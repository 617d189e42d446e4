"""Multipliers on random attacks in the span of a network's neurons, and sums of second moments block by block.

The certificate (`cvxrobust.core.certificate`) sees attacks only through ``S = sum_k w_k sign_k [x_k; 1][x_k; 1]'``. A
worst attack on a polynomial network lies in the span of its neurons, and where the worst case is a mixture of several
attacks, their mean and covariance say all that S needs. So a sample's multiplier takes 2 k + 1 numbers, k the dimension
of the span, instead of several points of d numbers each; and S is summed in blocks of samples, on whatever device the
data is.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from cvxrobust.core.certificate import EPS, HUGE, TINY, moderate
from cvxrobust.core.losses import Loss
from cvxrobust.core.quadratic import blocks

Array = NDArray[np.float64]
AnyArray = Any
"""A NumPy array or a torch tensor of float64."""


@dataclass(frozen=True)
class SpanMultipliers:
    """Multipliers that sit on random attacks ``D_i = basis z_i`` with independent coordinates.

    Args:
        theta: Multiplier of each sample, shape (n,).
        basis: Shape (d, k).
        mean: Means of the coordinates, shape (n, k), in the units of X.
        variance: Variances of the coordinates, shape (n, k); None for attacks that are not random. An attack's
            expected squared length, ``E ||D_i||^2``, is repaired to be at most ``radius_i^2`` before use.
    """

    theta: Array
    basis: Array
    mean: Array
    variance: Array | None = None


def repair_span(multipliers: SpanMultipliers, radius: Array, loss: Loss) -> tuple[Array, SpanMultipliers]:
    """Make multipliers dual feasible: theta in the conjugate's domain, attacks within the balls on average.

    Returns:
        theta, shape (n,), and multipliers with that theta whose attacks are feasible.
    """
    theta = np.where(np.isfinite(multipliers.theta), multipliers.theta, 0.0)
    theta = loss.clip(moderate(np.maximum(theta, 0.0) if loss.margin else theta))
    basis, mean = multipliers.basis, multipliers.mean
    variance = np.zeros((mean.shape[0], 0)) if multipliers.variance is None else multipliers.variance
    # Attacks that are none, or absurdly long, become none.
    basis = basis if (np.abs(basis) < HUGE).all() else np.zeros_like(basis)
    sane: NDArray[np.bool_] = np.all(np.abs(mean) < HUGE, axis=1)
    sane &= np.all((variance >= 0.0) & (variance < HUGE), axis=1)
    gram = basis.T @ basis
    with np.errstate(invalid="ignore", over="ignore"):
        length = np.einsum("ij,ij->i", mean @ gram, mean)
        if multipliers.variance is not None:
            length = length + variance @ np.diag(gram)
        shrink = np.where(length > radius**2, radius**2 / np.maximum(length, TINY) * (1.0 - 16.0 * EPS), 1.0)
    shrink = np.where(sane & np.isfinite(length), shrink, 0.0)[:, None]
    clean = np.where(sane[:, None], mean, 0.0) * np.sqrt(shrink)
    spread = None if multipliers.variance is None else np.where(sane[:, None], variance, 0.0) * shrink
    return theta, SpanMultipliers(theta, basis, clean, spread)


class SecondMoments:
    """``S = sum_i w_i E [x_i + D_i; 1][x_i + D_i; 1]'``, summed block by block.

    Args:
        basis: Of the random attacks, shape (d, k); decides device and kind of the arrays.
    """

    def __init__(self, basis: AnyArray) -> None:
        xp = self._xp = array_namespace(basis)
        (d, k), where = basis.shape, device(basis)
        self.basis, self._gram = basis, basis.T @ basis
        self._core = xp.zeros((d, d), dtype=basis.dtype, device=where)
        self._cross = xp.zeros((d, k), dtype=basis.dtype, device=where)
        self._inner = xp.zeros((k, k), dtype=basis.dtype, device=where)
        self._first = xp.zeros((d,), dtype=basis.dtype, device=where)
        self._shift = xp.zeros((k,), dtype=basis.dtype, device=where)
        self._weight = 0.0
        self.mass = 0.0
        """``sum_i |w_i| (r_i^2 + 1)``, r_i the length of the sample and its attack: the size of what was summed."""

    def add(
        self, X: AnyArray, weights: AnyArray, mean: AnyArray | None = None, variance: AnyArray | None = None
    ) -> None:
        """Add samples.

        Args:
            X: Shape (n, d).
            weights: ``w_i``, shape (n,), of either sign; samples of weight 0 cost nothing.
            mean: Shape (n, k); None for no attack.
            variance: Shape (n, k); None where attacks are not random.
        """
        xp = self._xp
        for rows in blocks(X.shape[0], X.shape[1]):
            for sign in (1.0, -1.0):
                chosen = xp.nonzero(sign * weights[rows] > 0.0)[0]
                if not chosen.shape[0]:
                    continue
                w = weights[rows][chosen]
                # A product of a matrix with itself takes half the work: hence one sign at a time.
                root = xp.sqrt(sign * w)[:, None]
                x = X[rows][chosen]
                scaled = x * root
                self._core += sign * (scaled.T @ scaled)
                self._first += w @ x
                self._weight += float(xp.sum(w))
                reach = xp.sqrt(xp.sum(x * x, axis=1))
                if mean is not None:
                    m = mean[rows][chosen]
                    self._cross += sign * (scaled.T @ (m * root))
                    self._inner += (m * w[:, None]).T @ m
                    self._shift += w @ m
                    square = xp.sum((m @ self._gram) * m, axis=1)
                    if variance is not None:
                        v = variance[rows][chosen]
                        diagonal = w @ v
                        self._inner += xp.eye(diagonal.shape[0], dtype=v.dtype, device=device(v)) * diagonal
                        square = square + v @ xp.linalg.diagonal(self._gram)
                    reach = reach + xp.sqrt(square)
                self.mass += sign * float(w @ (reach * reach + 1.0))

    def parts(self) -> AnyArray:
        """All sums in one vector, so that several processes can add theirs up."""
        xp = self._xp
        numbers = xp.asarray([self._weight, self.mass], dtype=self._core.dtype, device=device(self._core))
        pieces = (self._core, self._cross, self._inner, self._first, self._shift, numbers)
        return xp.concat([xp.reshape(piece, (-1,)) for piece in pieces])

    def set_parts(self, parts: AnyArray) -> None:
        """Take sums over from a vector like that of `parts`."""
        xp, start = self._xp, 0
        for name in ("_core", "_cross", "_inner", "_first", "_shift"):
            shape = getattr(self, name).shape
            size = int(np.prod(shape))
            setattr(self, name, xp.reshape(parts[start : start + size], tuple(shape)))
            start += size
        self._weight, self.mass = float(parts[start]), float(parts[start + 1])

    def matrix(self) -> Array:
        """S, shape (d + 1, d + 1), as a NumPy array."""
        d = self._core.shape[0]
        side = self._cross @ self.basis.T
        top = self._core + side + side.T + self.basis @ self._inner @ self.basis.T
        right = self._first + self.basis @ self._shift
        S = np.empty((d + 1, d + 1))
        S[:d, :d], S[:d, d], S[d, d] = _numpy(top), _numpy(right), self._weight
        S[d, :d] = S[:d, d]
        return S


def _numpy(array: AnyArray) -> Array:
    return np.asarray(array if isinstance(array, np.ndarray) else array.cpu().numpy())
