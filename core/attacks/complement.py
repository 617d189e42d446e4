"""All that lies outside a subspace, its directions all alike."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.errors import InputError

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)

ORTHONORMAL = 1e-10
"""By how much ``V'V`` of a basis may differ from the identity; exact answers allow for it."""

BLURRED = 1e-12
"""What is left of a row outside the subspace, relative to its length, is rounding up to here."""


@dataclass(frozen=True, eq=False)
class Complement:
    """The directions of d inputs that are orthogonal to a subspace.

    Nothing here is of order d x d.

    Args:
        basis: V, orthonormal columns that span the subspace, shape (d, k), k < d.

    Raises:
        InputError: There is no complement, or the columns are not orthonormal.
    """

    basis: Array

    def __post_init__(self) -> None:
        d, k = self.basis.shape
        if not k < d:
            raise InputError(f"the basis of a subspace has shape {(d, k)}; expected fewer columns than rows.")
        if not self.skew <= ORTHONORMAL:
            raise InputError(f"the columns of the basis are not orthonormal: V'V is off by {self.skew:.2g}.")

    def agrees(self, other: "Complement") -> bool:
        """Whether another one has the same basis."""
        return self is other or np.array_equal(self.basis, other.basis)

    @property
    def n_inputs(self) -> int:
        """Number of inputs, d."""
        return int(self.basis.shape[0])

    @property
    def dimension(self) -> int:
        """How many directions there are, d - k."""
        d, k = self.basis.shape
        return int(d - k)

    @cached_property
    def skew(self) -> float:
        """At least ``||V'V - I||_2``."""
        k = int(self.basis.shape[1])
        off = float(np.linalg.norm(self.basis.T @ self.basis - np.eye(k)))
        return off + (8.0 + k) * EPS

    def inside(self, rows: Array) -> Array:
        """Coordinates of rows in the subspace, shape (n, d) to (n, k)."""
        return np.asarray(rows @ self.basis)

    def rest(self, rows: Array) -> Array:
        """What of rows lies in the complement, ``x - VV'x``, shape (n, d)."""
        return np.asarray(rows - (rows @ self.basis) @ self.basis.T)

    def lengths(self, rows: Array) -> Array:
        """``||x - VV'x||`` of rows, shape (n, d) to (n,)."""
        return np.asarray(np.linalg.norm(self.rest(rows), axis=1))

    def directions(self, rows: Array) -> Array:
        """Unit vectors of the complement, shape (n, d): along the rest of each row, or `normal` where it has none."""
        rest = self.rest(rows)
        length = np.linalg.norm(rest, axis=1)
        none = length <= BLURRED * np.linalg.norm(rows, axis=1)
        rest = self.rest(rest)  # what rounding leaves in the subspace the first time is gone the second
        rest[none] = self.normal
        return np.asarray(rest / np.linalg.norm(rest, axis=1, keepdims=True))

    @cached_property
    def axes(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Inputs that are columns of the basis by themselves, so that the complement has nothing of them; and which."""
        size = np.abs(self.basis)
        inputs = np.flatnonzero((size.max(axis=1, initial=0.0) == 1.0) & (np.count_nonzero(size, axis=1) == 1))
        columns = size[inputs].argmax(axis=1) if inputs.size else inputs
        alone = np.count_nonzero(size[:, columns], axis=0) == 1
        return inputs[alone], columns[alone]

    def share_of(self, ellipsoid: Ellipsoid | None) -> float | None:
        """How far attacks of radius 1 go along each of its directions, if all are alike; None if they are not.

        In an ellipsoid they are where S is a diagonal with one scale for all inputs but `axes`.
        """
        if ellipsoid is None:
            return 1.0
        if ellipsoid.scale is None:
            return None
        scales = np.delete(np.asarray(ellipsoid.scale), self.axes[0])
        return float(scales[0]) if (scales == scales[0]).all() else None

    @property
    def mean_square(self) -> Array:
        """The mean of ``ww'`` over unit vectors w of the complement, shape (d, d): ``(I - VV') / (d - k)``."""
        return np.asarray((np.eye(self.n_inputs) - self.basis @ self.basis.T) / self.dimension)

    @cached_property
    def normal(self) -> Array:
        """A unit vector of the complement, shape (d,): the rest of the coordinate axis that has most there."""
        axis = int((self.basis**2).sum(axis=1).argmin())
        rest = np.zeros(self.basis.shape[0])
        rest[axis] = 1.0
        for _ in range(2):
            rest -= self.basis @ (self.basis.T @ rest)
        return np.asarray(rest / np.linalg.norm(rest))
