"""Ellipsoids: attacks that go further in some directions than in others, and in some nowhere.

Attacks ``D = S e`` with e in a ball: S a diagonal of scales (an input of scale 0 is immutable), a root of a covariance,
or some directions. Columns of S that do nothing are left out, so that it has full column rank q. Of a Euclidean ball
the image is an ellipsoid; a diagonal may as well scale the balls of other norms.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import ArrayLike

from cvxrobust.core.errors import InputError
from cvxrobust.core.validation import as_numbers, check_finite, frozen

Array = Any
"""A NumPy array or a torch tensor of float64."""

EPS = float(np.finfo(np.float64).eps)

SYMMETRIC = 1e-12
"""By how much, relative to the largest entry, a covariance may differ from its transpose."""

LARGEST = 1e50
"""Beyond this size, and below its inverse, nothing is a scale: squares of products with inputs must stay finite."""


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """``{S e : ||e||_2 <= 1}`` in d inputs, or in another norm if S is diagonal; attacks of radius r are r times that.

    Args:
        scale: Of each input, 0 or more, shape (d,): S is diagonal, without its columns of zeros. None where
            `directions` say what S is.
        directions: S itself, shape (d, q), of rank q; None where `scale` says it.
        spare: Whether the last input is one that no sample has, and all others have the same scale: it stands for
            directions outside the span of the samples, and on what they have, attacks are those of a ball.
    """

    scale: Array = None
    directions: Array = None
    spare: bool = False

    @classmethod
    def of(
        cls,
        d: int,
        scale: ArrayLike | None = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
    ) -> Self | None:
        """The ellipsoid that is described, in d inputs; None where nothing is, for a ball.

        Args:
            d: Number of inputs.
            scale: Shape (d,): by how much an attack of radius 1 may move each input if it moves no other; 0 for inputs
                that attacks cannot touch.
            covariance: Shape (d, d), psd: attacks D of radius r have ``D' covariance^-1 D <= r^2``. Where it is
                singular, attacks stay in its range; eigenvalues of its correlations that rounding cannot tell from 0
                count as 0.
            directions: Shape (d, q): attacks of radius 1 are ``directions @ e`` with ``||e||_2 <= 1``.

        Raises:
            InputError: Several of these are given, or one is none.
        """
        given = {"scale": scale, "covariance": covariance, "directions": directions}
        names = [name for name, value in given.items() if value is not None]
        if len(names) > 1:
            raise InputError(f"{' and '.join(names)} are given; give one of scale, covariance and directions.")
        if scale is not None:
            return cls(scale=_checked_scale(scale, d))
        if covariance is not None:
            return cls._of_covariance(covariance, d)
        return None if directions is None else cls._of_directions(directions, d)

    @classmethod
    def _of_covariance(cls, covariance: ArrayLike, d: int) -> Self:
        C = _checked_table(covariance, "covariance", (d, d), f"({d}, {d})")
        size = float(np.abs(C).max(initial=0.0))
        if np.abs(C - C.T).max(initial=0.0) > SYMMETRIC * size:
            raise InputError("covariance is not symmetric; if rounding made it so, pass 0.5 * (C + C.T).")
        if not (C - np.diag(np.diagonal(C))).any() and (np.diagonal(C) >= 0.0).all():
            return cls(scale=frozen(np.sqrt(np.diagonal(C))))
        # In units of the inputs' own deviations, so that what rounding cannot tell from 0 does not depend on units.
        unit = _units(np.sqrt(np.maximum(np.diagonal(C), 0.0)))
        values, vectors = np.linalg.eigh(0.5 * (C + C.T) / np.outer(unit, unit))
        noise = 8.0 * d * EPS * max(float(values[-1]), 1.0)
        if values[0] < -noise:
            raise InputError(
                f"covariance is not positive semidefinite: its correlations have an eigenvalue of {values[0]:.3g}; "
                "expected none below 0."
            )
        kept = values > noise
        found = unit[:, None] * vectors[:, kept] * np.sqrt(values[kept])
        return cls(directions=frozen(_untouched(found, np.diagonal(C) == 0.0)))

    @classmethod
    def _of_directions(cls, directions: ArrayLike, d: int) -> Self:
        S = _checked_table(directions, "directions", (d, None), f"({d}, q), a direction in each column")
        if not S.any():
            return cls(scale=frozen(np.zeros(d)))
        unit = _units(np.linalg.norm(S, axis=1))
        axes, lengths, _ = np.linalg.svd(S / unit[:, None], full_matrices=False)
        kept = lengths > max(S.shape) * EPS * lengths[0]
        # The ellipsoid depends on SS' alone: as many columns as it has dimensions will do.
        found = S if kept.sum() == S.shape[1] else unit[:, None] * axes[:, kept] * lengths[kept]
        return cls(directions=frozen(_untouched(found, ~S.any(axis=1))))

    @property
    def n_inputs(self) -> int:
        """Number of inputs, d."""
        part = self.directions if self.scale is None else self.scale
        return int(part.shape[0])

    @property
    def rank(self) -> int:
        """Number of directions in which attacks go at all, q."""
        return int(self.kept.shape[0] if self.directions is None else self.directions.shape[1])

    @property
    def immutable(self) -> tuple[int, ...]:
        """The inputs that no attack touches, by number."""
        touched = self.scale if self.directions is None else abs(self.directions).max(axis=1, initial=0.0)
        return tuple(int(number) for number in np.flatnonzero(touched == 0.0))

    def like(self, array: Array) -> Self:
        """The same in arrays of the kind and device of another."""
        if isinstance(array, np.ndarray):
            return self
        xp, where = array_namespace(array), device(array)
        parts = (None if p is None else xp.asarray(np.array(p), device=where) for p in (self.scale, self.directions))
        return type(self)(next(parts), next(parts), self.spare)

    @cached_property
    def kept(self) -> Array:
        """The inputs that attacks can touch where S is diagonal, shape (q,)."""
        return array_namespace(self.scale).nonzero(self.scale > 0.0)[0]

    @cached_property
    def lengths(self) -> Array:
        """Their scales where S is diagonal, shape (q,)."""
        assert self.scale is not None
        return self.scale[self.kept]

    @cached_property
    def _inverse(self) -> Array:
        """``S^+``, shape (q, d), of directions."""
        return array_namespace(self.directions).linalg.pinv(self.directions, rtol=0.0)

    @cached_property
    def reach(self) -> float:
        """``||S||_2``, not rounded down: the largest Euclidean length of an attack of radius 1."""
        if self.rank == 0:
            return 0.0
        if self.directions is None:
            return float(self.lengths.max())
        return float(array_namespace(self.directions).linalg.matrix_norm(self.directions, ord=2)) * (1.0 + 1e-12)

    @cached_property
    def rounding(self) -> float:
        """At least what rounding may add to ``S e`` or ``S'g`` of unit vectors: 0 for a diagonal, see `AttackBall`."""
        if self.directions is None:
            return 0.0
        d, q = self.directions.shape
        size = float(array_namespace(self.directions).linalg.matrix_norm(self.directions))
        return float(4.0 * (d + q) * EPS * size)

    def pulled_sizes(self, G: Array) -> Array:
        """``|S|'|g|``, shape (..., d) to (..., q): what the terms of `pulled` add up to in absolute value."""
        return abs(self.pulled(G)) if self.directions is None else abs(G) @ abs(self.directions)

    def unseen(self, G: Array) -> Array:
        """The nearest vectors with ``S'g = 0`` but for rounding, shape (..., d), in NumPy."""
        if self.directions is None:
            return np.where(self.scale > 0.0, 0.0, G)
        return G - (G @ self._frame) @ self._frame.T

    @cached_property
    def _frame(self) -> Array:
        """An orthonormal basis of what directions span, shape (d, q)."""
        return np.linalg.qr(self.directions)[0]

    def pulled(self, G: Array) -> Array:
        """``S'g`` of vectors, shape (..., d) to (..., q)."""
        return G[..., self.kept] * self.lengths if self.directions is None else G @ self.directions

    def pushed(self, E: Array) -> Array:
        """``S e`` of coordinates, shape (..., q) to (..., d)."""
        if self.directions is not None:
            return E @ self.directions.T
        if self.rank == self.n_inputs:
            return E * self.lengths
        xp = array_namespace(E)
        found = xp.zeros((*E.shape[:-1], self.n_inputs), dtype=E.dtype, device=device(E))
        found[..., self.kept] = E * self.lengths
        return found

    def coordinates(self, D: Array) -> Array:
        """The e whose ``S e`` is nearest to each vector, shape (..., d) to (..., q)."""
        return D[..., self.kept] / self.lengths if self.directions is None else D @ self._inverse.T

    def within(self, basis: Array) -> tuple[Self, Array]:
        """The ellipsoid that inputs ``x'basis`` see, and what its coordinates are here; shapes (d, k), (q, j).

        Args:
            basis: Orthonormal columns, shape (d, k).

        Returns:
            With ``basis'S = L R'``: the ellipsoid of L, shape (k, j), and R, orthonormal columns, shape (q, j).
        """
        seen = self.pulled(basis.T)
        R, _ = array_namespace(seen).linalg.qr(seen.T)
        return type(self)(directions=seen @ R), R

    def turned(self, V: Array) -> Self:
        """The same ellipsoid in coordinates ``V'e``, V orthogonal, shape (q, q)."""
        return type(self)(directions=self.pushed(V.T).T)

    def arrays(self) -> dict[str, Array]:
        """What describes it, by name, for files."""
        return {"attack_scale": self.scale} if self.directions is None else {"attack_directions": self.directions}


def _units(sizes: Array) -> Array:
    """Sizes of the inputs, shape (d,), to measure them in; 1 for those of size 0."""
    return np.where(sizes > 0.0, sizes, 1.0)


def _untouched(S: Array, rows: Array) -> Array:
    """A copy of S, shape (d, q), with zeros in some rows, shape (d,), bool: rounding leaves something there."""
    return np.where(rows[:, None], 0.0, S)


def _checked_scale(scale: ArrayLike, d: int) -> Array:
    found = as_numbers(scale, "scale", "expected a number of 0 or more for each column of X")
    if found.shape != (d,):
        raise InputError(f"scale has shape {found.shape}; expected ({d},), one number for each column of X.")
    fine = (found == 0.0) | ((found >= 1.0 / LARGEST) & (found <= LARGEST))
    if not fine.all():
        column = int(np.argmin(fine))
        raise InputError(
            f"scale holds {found[column]:g} at column {column}; expected finite numbers of 0 or more, 0 for columns "
            "that attacks cannot touch."
        )
    return frozen(found.copy())


def _checked_table(values: ArrayLike, name: str, shape: tuple[int, int | None], expected: str) -> Array:
    found = as_numbers(values, name, f"expected numbers of shape {expected}")
    if found.ndim != 2 or found.shape[0] != shape[0] or shape[1] not in (None, found.shape[1]):
        raise InputError(f"{name} has shape {found.shape}; expected {expected}.")
    check_finite(found, name, "expected finite numbers")
    if np.abs(found).max(initial=0.0) > LARGEST:
        raise InputError(f"{name} holds numbers beyond {LARGEST:g}; divide columns of X by their sizes first.")
    return found
