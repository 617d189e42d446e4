"""Margins of polynomial networks in boxes, in the units of the boxes: what bounds, attacks and searches work on."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.attacks.ranges import ROOM
from cvxrobust.core.errors import InputError

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)
LAXER = 4.0
"""How much more rounding is allowed for than in the span of the neurons, because P and slopes are written out."""


@dataclass(frozen=True)
class Boxes:
    """One box per sample, ``|x_k - centre_ik| <= width_ik``; a width of 0 leaves an input alone.

    Args:
        centres: Shape (n, d).
        widths: Half of what lies between the ends, shape (n, d).
    """

    centres: Array
    widths: Array

    @classmethod
    def around(cls, X: Array, attack: AttackBall, low: Array | None = None, high: Array | None = None) -> Self:
        """The attacks in norm inf on the rows of X, with a scale per input or none, and what a range leaves of them.

        Args:
            X: Inputs, shape (n, d).
            attack: Of n radii.
            low: The least values of inputs, shape (d,); None for no range.
            high: The largest.

        Raises:
            InputError: The attacks are in another norm, so that they are no boxes.
        """
        if not attack.geometry.separable:
            raise InputError(f"attacks are in norm {attack.norm!r}; boxes are those in norm inf.")
        reach = attack.radius[:, None] * attack.pushed(np.ones(attack.dimension))
        if low is None or high is None:
            return cls(X, reach)
        least, most = np.maximum(X - reach, low), np.minimum(X + reach, high)
        rough = ROOM * EPS * np.maximum(np.abs(least), np.abs(most))
        widths = np.where(reach > 0.0, 0.5 * (most - least) + rough, 0.0)
        return cls(np.where(reach > 0.0, 0.5 * (least + most), X), widths)

    def of(self, rows: NDArray[np.intp]) -> Self:
        """Those of some samples."""
        return replace(self, centres=self.centres[rows], widths=self.widths[rows])


@dataclass(frozen=True)
class BoxMargins:
    """Margins ``values_i + 2 half_i'e + e'C_i e`` over ``|e_k| <= 1``, with ``C_i = signs_i W_i P W_i``.

    Args:
        P: What samples share, shape (q, q): of the inputs that some box moves.
        signs: Shape (n,).
        widths: W_i, shape (n, q).
        half: Half gradients at the centres, in units of the widths, shape (n, q).
        values: Margins at the centres, less what rounding may have added to them within the boxes, shape (n,).
        allowance: That, shape (n,).
        inputs: The inputs that some box moves, by number, shape (q,).
    """

    P: Array
    signs: Array
    widths: Array
    half: Array
    values: Array
    allowance: Array
    inputs: NDArray[np.intp]

    @classmethod
    def of_quadratic(cls, quadratic: Quadratic, signs: Array, boxes: Boxes) -> Self:
        """Margins ``signs_i f`` of a network's output, or of a contest of two.

        Args:
            quadratic: f, in NumPy.
            signs: Shape (n,).
            boxes: Of n samples.
        """
        inputs = np.flatnonzero((boxes.widths > 0.0).any(axis=0))
        X, widths = boxes.centres, boxes.widths[:, inputs]
        values, half, allowance = quadratic.expand_within(X, np.linalg.norm(widths, axis=1))
        allowance = LAXER * allowance
        P, slopes = quadratic.whole_matrix(inputs), quadratic.in_inputs(half, X)[:, inputs]
        return cls(P, signs, widths, signs[:, None] * slopes * widths, signs * values - allowance, allowance, inputs)

    @property
    def size(self) -> int:
        """Coordinates of the boxes, q."""
        return int(self.inputs.size)

    def rows(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Self:
        """Those of some samples."""
        own = {name: getattr(self, name)[rows] for name in ("signs", "widths", "half", "values", "allowance")}
        return replace(self, **own)

    def matrices(self) -> Array:
        """``[[C_i, half_i], [half_i', 0]]``, shape (n, q + 1, q + 1)."""
        n, q = self.widths.shape
        found = np.zeros((n, q + 1, q + 1))
        scaled = self.signs[:, None] * self.widths
        found[:, :q, :q] = scaled[:, :, None] * self.P * self.widths[:, None, :]
        found[:, :q, q] = found[:, q, :q] = self.half
        return found

    def at(self, e: Array) -> Array:
        """Margins at points of the boxes, shape (n, q), rounding allowed for; shape (n,)."""
        moved = self.widths * e
        curved = self.signs * np.einsum("ij,ij->i", moved @ self.P, moved)
        return np.asarray(self.values + 2.0 * np.einsum("ij,ij->i", self.half, e) + curved)

    def points(self, boxes: Boxes, e: Array) -> Array:
        """Coordinates in the boxes as inputs, shape (n, q) to (n, d)."""
        found = boxes.centres.copy()
        found[:, self.inputs] += self.widths * e
        return found
