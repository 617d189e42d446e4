"""The cones of a `ConicProgram`, with Euclidean projections onto them and their duals.

Symmetric matrices are vectors here: `svec` stacks the lower triangle column by column with the off-diagonal
entries times sqrt(2), so that ``svec(A) @ svec(B) == trace(A @ B)``. Backends whose solver orders the
triangle differently permute in their own file.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError

Array = NDArray[np.float64]
ROOT2 = np.sqrt(2.0)


@runtime_checkable
class Cone(Protocol):
    """A closed convex cone in R^dim."""

    @property
    def dim(self) -> int:
        """Number of rows of the programme that the cone takes."""
        ...

    def project(self, z: Array) -> Array:
        """The nearest point of the cone to `z`, shape (dim,)."""
        ...

    def project_dual(self, z: Array) -> Array:
        """The nearest point of the dual cone to `z`, shape (dim,)."""
        ...


def _checked(dim: int, name: str) -> None:
    if not isinstance(dim, int | np.integer) or dim < 0:
        raise InputError(f"{name} has size {dim!r}; expected an integer of 0 or more.")


@dataclass(frozen=True)
class Zero:
    """The origin; its dual is the whole space."""

    dim: int

    def __post_init__(self) -> None:
        _checked(self.dim, "Zero")

    def project(self, z: Array) -> Array:
        """The origin."""
        return np.zeros_like(z)

    def project_dual(self, z: Array) -> Array:
        """`z` itself."""
        return z.copy()


@dataclass(frozen=True)
class NonNegative:
    """The nonnegative orthant; self-dual."""

    dim: int

    def __post_init__(self) -> None:
        _checked(self.dim, "NonNegative")

    def project(self, z: Array) -> Array:
        """The positive parts."""
        return np.maximum(z, 0.0)

    def project_dual(self, z: Array) -> Array:
        """The positive parts."""
        return self.project(z)


@dataclass(frozen=True)
class SecondOrder:
    """``{(t, v): ||v||_2 <= t}``, the scalar first; self-dual."""

    dim: int

    def __post_init__(self) -> None:
        _checked(self.dim, "SecondOrder")

    def project(self, z: Array) -> Array:
        """The nearest point of the cone, in closed form."""
        if z.size == 0:
            return z.copy()
        t, v = z[0], z[1:]
        length = np.linalg.norm(v)
        if length <= t:
            return z.copy()
        if length <= -t:
            return np.zeros_like(z)
        height = 0.5 * (t + length)
        return np.concatenate([[height], (height / length) * v])

    def project_dual(self, z: Array) -> Array:
        """The same: the cone is self-dual."""
        return self.project(z)


@dataclass(frozen=True)
class PSD:
    """Positive semidefinite matrices of order `order`, as `svec` vectors; self-dual."""

    order: int

    def __post_init__(self) -> None:
        _checked(self.order, "PSD")

    @property
    def dim(self) -> int:
        """Length of the svec vector."""
        return self.order * (self.order + 1) // 2

    def project(self, z: Array) -> Array:
        """Clip the eigenvalues at zero."""
        values, vectors = np.linalg.eigh(smat(z))
        return svec((vectors * np.maximum(values, 0.0)) @ vectors.T)

    def project_dual(self, z: Array) -> Array:
        """The same: the cone is self-dual."""
        return self.project(z)


@dataclass(frozen=True)
class Exponential:
    """The closure of ``{(x, y, z): y > 0, y exp(x / y) <= z}``; three rows."""

    @property
    def dim(self) -> int:
        """Always three."""
        return 3

    def project(self, z: Array) -> Array:
        """The nearest point of the cone, by a root of one scalar function."""
        from cvxrobust.core.conic.exponential import project_exponential

        return project_exponential(z)

    def project_dual(self, z: Array) -> Array:
        """By Moreau's decomposition: the dual projection of z is z plus the projection of -z."""
        return z + self.project(-z)


@lru_cache(maxsize=64)
def svec_indices(order: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Rows, columns and weights of the svec entries: the lower triangle, column by column."""
    columns, rows = np.triu_indices(order)
    weights = np.where(rows == columns, 1.0, ROOT2)
    for array in (rows, columns, weights):
        array.setflags(write=False)
    return rows, columns, weights


def svec(matrix: ArrayLike) -> Array:
    """Stack symmetric matrices, shape (..., k, k), into vectors, shape (..., k (k + 1) / 2)."""
    full = np.asarray(matrix, dtype=np.float64)
    rows, columns, weights = svec_indices(full.shape[-1])
    return np.asarray(full[..., rows, columns] * weights)


def smat(vector: ArrayLike) -> Array:
    """The symmetric matrices, shape (..., k, k), that `svec` made the vectors of."""
    packed = np.asarray(vector, dtype=np.float64)
    order = int((np.sqrt(8.0 * packed.shape[-1] + 1.0) - 1.0) / 2.0 + 0.5)
    rows, columns, weights = svec_indices(order)
    matrix = np.zeros((*packed.shape[:-1], order, order))
    matrix[..., rows, columns] = matrix[..., columns, rows] = packed / weights
    return matrix
