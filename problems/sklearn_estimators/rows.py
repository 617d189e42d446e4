"""Rows as estimators train on them, the attacks on each, and the problem that they make."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.validation import as_numbers, check_finite_labels
from cvxrobust.problems.data.features import ShapeArrays
from cvxrobust.problems.data.parameters import checked_radius, read_radius
from cvxrobust.problems.data.repeated_rows import merged

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TrainingRows:
    """What an estimator trains on.

    Args:
        inputs: Shape (n, d); in the data's units as they come, later as the problem has them.
        targets: Labels -1 and +1, numbers of classes, or real targets, shape (n,); labels of any kind as they come.
        weights: What each row counts, shape (n,); None for all alike.
        radius: Of the attacks on all rows, or on each, shape (n,).
    """

    inputs: Array
    targets: NDArray[Any]
    weights: Array | None
    radius: float | Array

    def take(self, rows: NDArray[Any]) -> "TrainingRows":
        """Some of the rows: a mask or indices."""
        return TrainingRows(
            self.inputs[rows],
            self.targets[rows],
            None if self.weights is None else self.weights[rows],
            self.radius[rows] if isinstance(self.radius, np.ndarray) else self.radius,
        )

    def counted(self) -> "TrainingRows":
        """Those whose weight is not 0."""
        return self if self.weights is None else self.take(self.weights > 0.0)

    def merged(self) -> "TrainingRows":
        """The same with rows that come again, with the same target and radius, as one of their weights added."""
        each = isinstance(self.radius, np.ndarray)
        table = np.column_stack([self.inputs, self.radius]) if each else self.inputs
        kept, weights = merged(table, self.targets, self.weights)
        return replace(self.take(kept), weights=weights)

    def of_radius(self, factor: float) -> "TrainingRows":
        """The same under attacks of so many times their radius."""
        return replace(self, radius=factor * self.radius)


@dataclass(frozen=True)
class Stated:
    """What an estimator solves.

    Args:
        make: Makes the problem of rows and of a shape of attacks.
        rows: The rows as the problem has them.
        shape: Of the attacks, in the units of these rows.
        standardizer: What turned the data's units into the problem's; None if nothing did.
    """

    make: Callable[[TrainingRows, ShapeArrays], Any]
    rows: TrainingRows
    shape: ShapeArrays
    standardizer: Standardizer | None

    @cached_property
    def problem(self) -> Any:
        """The problem of these rows."""
        return self.make(self.rows, self.shape)

    def of_radius(self, factor: float) -> Any:
        """The problem of the same rows under attacks of so many times their radius."""
        return self.make(self.rows.of_radius(factor), self.shape)

    def threat(self, norm: Norm) -> Threat:
        """The attacks of this shape, whatever their radius, in the problem's units."""
        shape = self.shape
        return Threat(norm, scale=shape.scale, covariance=shape.covariance, directions=shape.directions)

    def reach(self, norm: Norm, radius: float) -> Array:
        """By how much attacks of a radius may move each feature at most, in the data's units, shape (d,)."""
        attacks = self.threat(norm).on(self.rows.inputs[:1])
        found = np.asarray(attacks.ball.dual_norm(np.eye(attacks.ball.attackable)) * attacks.reaching(radius))
        return found if self.standardizer is None else found * self.standardizer.scale


def radii_of_rows(
    radius: ArrayLike | None, sample_radius: ArrayLike | None, n: int, name: str = "radius"
) -> float | Array:
    """The radii of the attacks on n rows: one of all, or one for each, shape (n,).

    Args:
        radius: One of all rows or one for each; with `sample_radius` what those are multiplied by. None for 0, and 1.
        sample_radius: One for each row; None where `radius` says it.
        n: Number of rows.
        name: What messages call `radius`.

    Raises:
        InputError: They are no such numbers, or both are given row by row.
    """
    if sample_radius is None:
        # A plain number stays one: problems then know that rows are alike.
        return 0.0 if radius is None else one_radius(radius, n)
    rows = _sample_radius(sample_radius, n)
    factor = 1.0 if radius is None else radius
    shape = read_radius(factor, name).shape
    if shape:
        raise InputError(
            f"{name} has shape {shape}, and sample_radius is given, which {name} multiplies; expected one "
            f"number, or {name}=None for sample_radius as it is."
        )
    return float(checked_radius(factor, 1)[0]) * rows


def one_per_row(values: NDArray[Any], n: int, what: str) -> NDArray[Any]:
    """Labels or targets that answers are judged by, shape (n,); a column will do.

    Raises:
        InputError: They are more or fewer, or hold NaN or inf.
    """
    if values.shape not in ((n,), (n, 1)):
        raise InputError(f"y has shape {values.shape}; expected ({n},), one {what} per row of X.")
    check_finite_labels(values, what)
    return values.reshape(n)


def one_radius(radius: ArrayLike, n: int) -> float | Array:
    """A radius of n rows as a number, or one for each, shape (n,).

    Raises:
        InputError: It is neither, or negative or not finite.
    """
    shape = read_radius(radius).shape
    if len(shape) == 1 and shape[0] not in (1, n):
        raise InputError(
            f"radius has shape {shape}; expected one number, or one per row of X, shape ({n},). Radii of rows that are "
            "divided among folds are given to fit, as sample_radius."
        )
    found = checked_radius(radius, n)
    return float(found[0]) if np.ndim(radius) == 0 and n else found


def _sample_radius(sample_radius: ArrayLike, n: int) -> Array:
    expected = "expected one number of 0 or more per row of X"
    found = as_numbers(sample_radius, "sample_radius", expected)
    if found.shape != (n,):
        raise InputError(f"sample_radius has shape {found.shape}; expected ({n},), one radius per row of X.")
    bad = ~(np.isfinite(found) & (found >= 0.0))
    if bad.any():
        place = int(np.argmax(bad))
        raise InputError(f"sample_radius holds {found[place]:.6g} at position {place}; {expected}.")
    return np.array(found)
