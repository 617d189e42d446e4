"""Data in the span of its rows: problems that know inputs by inner products alone need only rank(X) coordinates.

Networks see samples as ``x_i'u``. For V (d, k) an orthonormal basis of the span of the rows, ``x_i'u = (V'x_i)'(V'u)``:
the data ``X V`` says the same in k columns. Orthogonal maps of the complement leave data, l2 balls and 2-norms alone;
what that makes of a problem is its family's business (`problems.polynomial.coordinates`, `problems.relu.coordinates`).

**Rank.** Rows are divided by their lengths. A pivoted QR of the triangle of ``X' = Q R`` counts the rows of which more
than `DEPENDENT` is left outside the span of those before; these rows, in the order of the data, are orthonormalised by
Householder's QR, so that the basis is the same wherever it is computed, up to rounding. Nothing is ever of order d x d
where n < d: memory O(d min(n, d)), time O(d min(n, d)^2).

**What is dropped.** Neither the rest of a dependent row nor rounding is taken for nothing: ``||x_i - V V'x_i||`` and
``||V'V - I||`` are measured, rounding in measuring them is added, and certificates about the rows allow for the sum
(`RowSpan.uncertainty`). So the threshold decides how tight bounds are, never whether they hold.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr

from cvxrobust.core.attacks.complement import Complement

Array = NDArray[np.float64]
Index = NDArray[np.intp]
EPS = float(np.finfo(np.float64).eps)

DEPENDENT = 1e-13
"""What is left of a unit row outside the span of others must be longer than this to be a direction of its own.

Rounding leaves 1e-16 to 3e-15 of rows that are combinations of others (n to 2,000, d to 20,000), and 3e-8 of such rows
that were once rounded to float32.
"""

PAYS = 0.9
"""Coordinates, as a share of the inputs, up to which fewer of them are worth it."""

MOST_INPUTS = 1_000
"""Inputs up to which data with n >= d is searched for dependent columns: beyond, that takes longer than it may save."""

EXTREME = 100.0
"""Orders of magnitude from 1 beyond which squares of lengths may overflow or vanish: such data stays as it is."""

BLOCK = 256
"""Rows whose rest is computed at a time."""


@dataclass(frozen=True)
class RowSpan:
    """The span of the rows of X, and X in it.

    Args:
        basis: V, orthonormal columns up to rounding, shape (d, k).
        coordinates: ``X V``, shape (n, k).
        rest: At least ``||x_i - V (X V)_i||``, shape (n,).
        skew: At least ``||V'V - I||_2``.
        inputs: The inputs whose directions outside the span are all alike; None for all. Each column of V has these
            alone, or none of them.
        idle: The column of V that no row has, and no attack: one direction for all that the other inputs have outside
            the span. None where there is none.
    """

    basis: Array
    coordinates: Array
    rest: Array
    skew: float
    inputs: Index | None = None
    idle: int | None = None

    @property
    def rank(self) -> int:
        """The dimension of the span, k."""
        return int(self.basis.shape[1])

    def report(self) -> dict[str, int]:
        """What was reduced to what, ready for JSON."""
        (d, k), n = self.basis.shape, self.coordinates.shape[0]
        return {"samples": n, "inputs": d, "rank": k - (self.idle is not None)}

    def uncertainty(self, radius: Array | float = 0.0) -> Array:
        """How far sums over samples and attacks in the span may be from those that are meant, per unit of weight.

        For a unit vector u some p with ``||p|| <= 1`` has ``|x_i'u - (X V)_i'p| <= uncertainty_i``: take
        ``p = V'u / max(1, ||V'u||)``. And ``||sum_i w_i (x_i + r_i q_i)||`` is at most ``||sum_i w_i ((X V)_i + r_i
        p_i)|| + sum_i |w_i| uncertainty_i`` for some attacks q_i of length at most 1 for every p_i of that kind: take
        ``q_i = V p_i / max(1, ||V p_i||)``.

        Args:
            radius: l2 radii of attacks within the span, shape (n,).
        """
        return np.asarray(self.rest + self.skew * (np.linalg.norm(self.coordinates, axis=1) + radius))

    def projected(self, vectors: Array) -> Array:
        """Coordinates of vectors in rows, shape (m, d), or of their projections onto the span; shape (m, k)."""
        return np.asarray(vectors @ self.basis)

    def lifted(self, coordinates: Array) -> Array:
        """Vectors of the span from their coordinates in rows, shape (m, k) to (m, d)."""
        return np.asarray(coordinates @ self.basis.T)

    @cached_property
    def complement(self) -> Complement:
        """All that is orthogonal to the span, of the inputs whose directions are alike."""
        return Complement(self.basis, self.inputs)

    @cached_property
    def others(self) -> Index:
        """The inputs that the complement has not, shape (j,)."""
        return np.arange(0) if self.inputs is None else np.setdiff1d(np.arange(self.basis.shape[0]), self.inputs)

    @property
    def normal(self) -> Array:
        """A unit vector orthogonal to the span, shape (d,): the rest of the coordinate axis that has most outside."""
        return self.complement.normal


def row_span(X: Array, further: int = 0) -> RowSpan | None:
    """The span of the rows where that is worth it; None where X may as well stay as it is.

    Args:
        X: Shape (n, d).
        further: Columns that a problem will need besides the coordinates.
    """
    n, d = X.shape
    most = int(PAYS * d) - further
    if most < 1 or (n > most and d > MOST_INPUTS):
        return None
    largest = np.maximum(X.max(axis=1), -X.min(axis=1))
    if ((largest > 0.0) & (np.abs(np.log10(np.where(largest > 0.0, largest, 1.0))) > EXTREME)).any():
        return None
    found = _basis(X, most)
    if found is None:
        return None
    basis, coordinates, rest = found
    rounding = (8.0 + basis.shape[1]) * EPS
    skew = float(np.linalg.norm(basis.T @ basis - np.eye(basis.shape[1]))) + rounding
    return RowSpan(basis, coordinates, rest + rounding * _lengths(X), skew)


def _basis(X: Array, most: int) -> tuple[Array, Array, Array] | None:
    """A basis V of the rows' span, shape (d, k); ``X V``, and ``||x_i - V (X V)_i||`` as computed.

    None if all rows are 0, or k would be more than `most`.
    """
    n, d = X.shape
    lengths = _lengths(X)
    rows = np.arange(0, n, max(1, n // (2 * d)))
    if n > most:
        # Of a triangle the numbers on the diagonal that are not 0 are no more than its rank.
        triangle = np.linalg.qr(_unit(X[rows]), mode="r")
        if np.count_nonzero(np.abs(np.diagonal(triangle)) > DEPENDENT) > most:
            return None
    found, basis = _independent(X, rows)
    while 1 <= found.size <= most:
        coordinates = X @ basis
        rest = _rests(X, basis, coordinates)
        missed = np.setdiff1d(np.flatnonzero(rest > 2.0 * DEPENDENT * lengths), rows)
        if missed.size == 0:
            return basis, coordinates, rest
        # A few rows of many have the span of all, most often; where not, some of those that are missed are added.
        rows = np.union1d(found, missed[:: max(1, missed.size // d)])
        found, basis = _independent(X, rows)
    return None


def _independent(X: Array, rows: Index) -> tuple[Index, Array]:
    """Rows, some of those given, that span them all, and an orthonormal basis of that span."""
    unit = _unit(X[rows])
    Q, R = np.linalg.qr(unit.T)
    if R.shape[1] <= R.shape[0] and np.abs(np.diagonal(R)).min(initial=np.inf) > DEPENDENT:
        return rows, _oriented(Q, R)
    triangle, order = qr(R, mode="r", pivoting=True)
    count = int(np.count_nonzero(np.abs(np.diagonal(triangle)) > DEPENDENT))
    # In the order of the data, so that ties between pivots decide nothing.
    kept = np.sort(order[:count])
    return rows[kept], _oriented(*np.linalg.qr(unit[kept].T))


def _oriented(Q: Array, R: Array) -> Array:
    """The factor Q that belongs to a triangle with a positive diagonal: there is only one."""
    return np.ascontiguousarray(Q * np.where(np.diagonal(R) < 0.0, -1.0, 1.0))


def _rests(X: Array, basis: Array, coordinates: Array) -> Array:
    """``||x_i - V c_i||``, shape (n,)."""
    blocks = [slice(start, start + BLOCK) for start in range(0, X.shape[0], BLOCK)]
    return np.concatenate([_lengths(X[rows] - coordinates[rows] @ basis.T) for rows in blocks])


def _unit(X: Array) -> Array:
    """Rows of length 1; rows of zeros stay."""
    lengths = _lengths(X)
    return np.asarray(X / np.where(lengths > 0.0, lengths, 1.0)[:, None])


def _lengths(X: Array) -> Array:
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", X, X)))
