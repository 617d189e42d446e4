"""The matrix variables Z, Z' of the polynomial problems as vectors, and everything linear in them.

Frames offer the same operations: `FullFrame` for all of Z, Z', `SpanFrame` for ``Z = B Y B'`` in the span of a few
atoms, where the master programmes of the cutting-set method stay small, and `EvenFrame` for either where the last input
stands for a whole complement.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, Cone, smat, svec, svec_indices
from cvxrobust.core.programs.polynomial.certificate import coefficients

Array = NDArray[np.float64]


class MatrixVariables(Protocol):
    """Matrix variables of a programme: `size` scalars that stand for Z and Z', or for several such pairs."""

    @property
    def size(self) -> int:
        """Number of scalar variables."""
        ...

    @property
    def trace_and_corner(self) -> tuple[sparse.csr_array, Array]:
        """The trace equalities of Z and Z' (``= 0``), a row each, and the costs ``Z_dd + Z'_dd``, shape (size,)."""
        ...

    @property
    def psd_rows(self) -> tuple[sparse.csr_array, tuple[Cone, ...]]:
        """Rows R with ``R @ variables`` in the PSD cones listed."""
        ...


class Frame(MatrixVariables, Protocol):
    """Matrix variables of one network: they stand for one Z and one Z'."""

    def outputs(self, points: Array, activation: tuple[float, float, float]) -> sparse.csr_array | Array:
        """Rows F with ``F @ variables = f(points)``, shape (k, size)."""
        ...

    def matrices(self, variables: Array) -> tuple[Array, Array]:
        """Z and Z', each of shape (d + 1, d + 1)."""
        ...


def features(points: Array, activation: tuple[float, float, float]) -> Array:
    """``svec(A(x))`` of each point, shape (k, (d + 1)(d + 2) / 2), so that ``f(x) = features @ svec(T)``."""
    d = points.shape[1]
    rows, columns, weights = svec_indices(d + 1)
    lifted = np.hstack([points, np.ones((points.shape[0], 1))])
    scaled = coefficients(activation, d)[rows, columns] * weights
    return np.asarray(lifted[:, rows] * lifted[:, columns] * scaled)


def signature(d: int) -> Array:
    """``J = diag(I, -1)``: ``<J, Z> = tr Z_11 - Z_22``."""
    J = np.eye(d + 1)
    J[d, d] = -1.0
    return J


@dataclass(frozen=True)
class FullFrame:
    """Variables ``(svec T, svec Z)`` with ``Z' = Z - T``: the data rows then touch T alone, which halves their entries.

    Args:
        d: Number of inputs.
    """

    d: int

    @property
    def size(self) -> int:
        """Twice the length of an svec vector of order d + 1."""
        return 2 * PSD(self.d + 1).dim

    @property
    def trace_and_corner(self) -> tuple[sparse.csr_array, Array]:
        """``<J, Z> = 0``, ``<J, Z - T> = 0`` and ``2 Z_dd - T_dd``."""
        p = self.size // 2
        row = svec(signature(self.d))
        zero = np.zeros(p)
        equalities = sparse.csr_array(np.vstack([np.concatenate([zero, row]), np.concatenate([-row, row])]))
        cost = np.zeros(self.size)
        cost[p - 1], cost[-1] = -1.0, 2.0
        return equalities, cost

    @property
    def psd_rows(self) -> tuple[sparse.csr_array, tuple[Cone, ...]]:
        """Z, then Z - T."""
        p = self.size // 2
        eye = sparse.eye_array(p, format="csr")
        rows = sparse.block_array([[None, eye], [-eye, eye]], format="csr")
        return rows, (PSD(self.d + 1), PSD(self.d + 1))

    def outputs(self, points: Array, activation: tuple[float, float, float]) -> sparse.csr_array:
        """``<A(x), T>``."""
        F = sparse.csr_array(features(points, activation))
        return sparse.csr_array(sparse.hstack([F, sparse.csr_array(F.shape)]))

    def matrices(self, variables: Array) -> tuple[Array, Array]:
        """Z and Z - T."""
        T, Z = smat(variables.reshape(2, -1))
        return Z, Z - T


@dataclass(frozen=True)
class SpanFrame:
    """Variables ``(svec Y, svec Y')`` with ``Z = B Y B'`` and ``Z' = B' Y' B''``.

    Args:
        bases: Orthonormal columns, shapes (d + 1, k) and (d + 1, k').
    """

    bases: tuple[Array, Array]

    @property
    def _sizes(self) -> tuple[int, int]:
        first, second = (PSD(basis.shape[1]).dim for basis in self.bases)
        return first, second

    @property
    def size(self) -> int:
        """Entries of both triangles."""
        return sum(self._sizes)

    @property
    def trace_and_corner(self) -> tuple[sparse.csr_array, Array]:
        """``<B'J B, Y> = 0`` and ``<B'e e'B, Y>``, for both signs."""
        J = signature(self.bases[0].shape[0] - 1)
        traces = [svec(basis.T @ J @ basis)[None, :] for basis in self.bases]
        corners = [svec(np.outer(basis[-1], basis[-1])) for basis in self.bases]
        return sparse.csr_array(sparse.block_diag(traces)), np.concatenate(corners)

    @property
    def psd_rows(self) -> tuple[sparse.csr_array, tuple[Cone, ...]]:
        """Y, then Y'."""
        return sparse.eye_array(self.size, format="csr"), tuple(PSD(basis.shape[1]) for basis in self.bases)

    def outputs(self, points: Array, activation: tuple[float, float, float]) -> Array:
        """``<B'A(x)B, Y> - <B''A(x)B', Y'>``; ``B'A(x)B`` costs k^2 an entry, not d^2, by its rank-two structure."""
        a, b, c = activation
        d = points.shape[1]
        blocks = []
        for sign, basis in zip((1.0, -1.0), self.bases, strict=True):
            rows, columns, weights = svec_indices(basis.shape[1])
            p, e = points @ basis[:d], basis[d]
            pr, pc, er, ec = p[:, rows], p[:, columns], e[rows], e[columns]
            entries = a * pr * pc + 0.5 * b * (pr * ec + pc * er) + c * er * ec
            blocks.append(sign * weights * entries)
        return np.hstack(blocks)

    def matrices(self, variables: Array) -> tuple[Array, Array]:
        """The matrices in the full space."""
        first = self._sizes[0]
        parts = (variables[:first], variables[first:])
        Z, Zp = (basis @ smat(part) @ basis.T for basis, part in zip(self.bases, parts, strict=True))
        return Z, Zp


@dataclass(frozen=True)
class EvenFrame:
    """Variables of another frame, whose networks are seen averaged over both signs of the last input.

    Args:
        frame: The other one.
    """

    frame: Frame

    @property
    def size(self) -> int:
        """As in the other frame."""
        return self.frame.size

    @property
    def trace_and_corner(self) -> tuple[sparse.csr_array, Array]:
        """As in the other frame."""
        return self.frame.trace_and_corner

    @property
    def psd_rows(self) -> tuple[sparse.csr_array, tuple[Cone, ...]]:
        """As in the other frame."""
        return self.frame.psd_rows

    def outputs(self, points: Array, activation: tuple[float, float, float]) -> sparse.csr_array | Array:
        """The mean of the outputs at points and at their mirror images."""
        mirrored = points.copy()
        mirrored[:, -1] *= -1.0
        both: list[Any] = [self.frame.outputs(sides, activation) for sides in (points, mirrored)]
        mean: sparse.csr_array | Array = 0.5 * (both[0] + both[1])
        return mean

    def matrices(self, variables: Array) -> tuple[Array, Array]:
        """As in the other frame."""
        return self.frame.matrices(variables)


NEGLIGIBLE = 1e-6
"""Eigenvalues of Z below this fraction of the largest are not used by the solution."""

COSTLY = 1e-2
"""Directions that would cost more than this, in units of what a neuron costs, have no part in the solution."""

DEPENDENT = 1e-7
"""What is left of a unit vector outside a span must be longer than this to be a direction of its own."""


def orthonormal(columns: Array) -> Array:
    """An orthonormal basis of the columns' span, shape (d + 1, rank), along its principal axes."""
    if columns.shape[1] == 0:
        return columns
    basis, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return np.ascontiguousarray(basis[:, sizes > 1e-6 * sizes[0]])


def joined(basis: Array, vector: Array) -> Array:
    """The orthonormal basis with another column, unless the vector is in its span; its columns stay as they are."""
    rest = vector / np.linalg.norm(vector)
    for _ in range(2):  # what rounding leaves in the span the first time is gone the second
        rest = rest - basis @ (basis.T @ rest)
    length = float(np.linalg.norm(rest))
    if length < DEPENDENT or basis.shape[1] == basis.shape[0]:
        return basis
    return np.hstack([basis, rest[:, None] / length])


def principal_axes(basis: Array, Z: Array, costs: Array, limit: float) -> Array:
    """An orthonormal basis in which Z is diagonal, the heaviest axis first, and the costs of what it does not use, too.

    Args:
        basis: Orthonormal, shape (d + 1, k).
        Z: Psd within the span, shape (d + 1, d + 1).
        costs: Reduced costs, shape (d + 1, d + 1).
        limit: Axes that Z does not use are left out if they cost more.
    """
    values, vectors = np.linalg.eigh(basis.T @ Z @ basis)
    used = int((values > NEGLIGIBLE * values.max(initial=0.0)).sum())
    axes = basis @ vectors[:, ::-1]
    rest = axes[:, used:]
    prices, turn = np.linalg.eigh(rest.T @ costs @ rest)
    return np.ascontiguousarray(np.hstack([axes[:, :used], (rest @ turn)[:, prices < limit]]))
