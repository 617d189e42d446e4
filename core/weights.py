"""Weights of samples and classes as callers bring them: whoever takes any asks here, so that all mean the same.

A weight of 2 is a row that comes twice, a weight of 0 a row that is not there. Only proportions matter: objectives are
weighted means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers, frozen, label_array

Array = NDArray[np.float64]
Index = NDArray[np.intp]
ClassWeight = Mapping[Any, float] | str | None
BALANCED = "balanced"

APART = 1e12
"""Largest weight, in units of the smallest that is not 0: with more, what the lightest rows add is lost in rounding."""

ROUNDING = 8.0 * float(np.finfo(np.float64).eps)
"""Weights whose mean is so near to 1 stay as they are."""


@dataclass(frozen=True)
class Weighing:
    """Which rows count, and how much.

    Args:
        kept: The rows whose weight is not 0, shape (k,); None for all.
        weights: Of these, above 0 and 1 on average, shape (k,), read-only; None where all weigh the same.
    """

    kept: Index | None = None
    weights: Array | None = None

    def of(self, table: NDArray[Any]) -> NDArray[Any]:
        """What a table, one row per row of the data, says of the rows that count; read-only."""
        return table if self.kept is None else frozen(np.ascontiguousarray(table[self.kept]))

    def count(self, n: int) -> int:
        """How many of n rows count."""
        return n if self.kept is None else int(self.kept.size)

    def labels(self, y: ArrayLike) -> ArrayLike:
        """The same of labels in whatever form they are given."""
        return y if self.kept is None else label_array(y)[self.kept]


def weighing(sample_weight: ArrayLike | None, class_weight: ClassWeight, y: ArrayLike, n: int) -> Weighing:
    """The weights of n rows.

    Args:
        sample_weight: One of 0 or more per row, shape (n,); None for 1.
        class_weight: What the weight of each row is multiplied by: a number of 0 or more by label, 1 for labels that
            are not among them; ``"balanced"`` for ``W / (K W_k)``, W the sum of all weights, W_k of those of the row's
            class and K the number of classes, as scikit-learn has it; None for 1.
        y: Labels, shape (n,); they matter where there are class weights.
        n: Number of rows.

    Raises:
        InputError: Weights are no such numbers, all 0, or too far apart.
        UnknownNameError: A class weight has a name that there is not.
    """
    weights = together(sample_weight, class_weight, y, n)
    if weights is None:
        return Weighing()
    kept = np.flatnonzero(weights)
    positive = weights[kept]
    least, most = float(positive.min()), float(positive.max())
    if most > APART * least:
        raise InputError(
            f"weights go from {least:.3g} to {most:.3g}, which float64 cannot add up; expected factors up to "
            f"{APART:.0e}, and 0 for rows that do not count."
        )
    places = None if kept.size == n else kept
    if least == most:
        return Weighing(places)
    mean = float(np.mean(positive / most)) * most
    alike = abs(mean - 1.0) <= ROUNDING
    return Weighing(places, frozen(positive if alike else positive / mean))


def together(sample_weight: ArrayLike | None, class_weight: ClassWeight, y: ArrayLike, n: int) -> Array | None:
    """What n rows weigh by themselves and by their classes, shape (n,), not yet of mean one; None if nothing is given.

    Arguments and errors are those of `weighing`.
    """
    weights = None if sample_weight is None else checked_sample_weight(sample_weight, n)
    if class_weight is not None:
        factors = _class_factors(class_weight, y, np.ones(n) if weights is None else weights)
        weights = factors if weights is None else weights * factors
    if weights is not None and not weights.any():
        raise InputError("the weights of samples and classes leave no row: each of them is zero in one or the other.")
    return weights


def checked_sample_weight(sample_weight: ArrayLike, n: int, name: str = "sample_weight") -> Array:
    """Weights of n rows, as they are given, shape (n,).

    Args:
        sample_weight: The weights.
        n: How many rows there are.
        name: What messages call them.

    Raises:
        InputError: Not one finite number of 0 or more for each row, or all of them 0.
    """
    expected = "expected one number of 0 or more per row of X"
    weights = np.array(as_numbers(sample_weight, name, expected))
    if weights.shape != (n,):
        raise InputError(f"{name} has shape {weights.shape}; expected ({n},), one weight per row of X.")
    bad = ~(np.isfinite(weights) & (weights >= 0.0))
    if bad.any():
        place = int(np.argmax(bad))
        raise InputError(f"{name} holds {weights[place]:.6g} at position {place}; {expected}.")
    if not weights.any():
        raise InputError(f"{name} is zero for every row; at least one row has to count.")
    return weights


def _class_factors(class_weight: Mapping[Any, float] | str, y: ArrayLike, weights: Array) -> Array:
    """What class weights multiply each row's weight by, shape (n,); rows of weight 0 do not count as any class."""
    labels = label_array(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != weights.shape:
        raise InputError(f"y has shape {labels.shape}; expected {weights.shape}, one label per row of X.")
    classes, index = np.unique(labels[weights > 0.0], return_inverse=True)
    if isinstance(class_weight, Mapping):
        found = _given(class_weight, classes.tolist())
    elif isinstance(class_weight, str) and class_weight == BALANCED:
        counts = np.bincount(index, weights[weights > 0.0], classes.size)
        found = counts.sum() / (classes.size * counts)
    else:
        hint = "Or pass a weight for each label, as in {-1: 1.0, 1: 5.0}."
        raise UnknownNameError("class_weight", class_weight, (BALANCED,), hint)
    factors = np.zeros_like(weights)
    factors[weights > 0.0] = found[index]
    return factors


def _given(class_weight: Mapping[Any, float], classes: list[Any]) -> Array:
    unknown = [label for label in class_weight if label not in classes]
    if unknown:
        raise InputError(f"class_weight names {unknown}, which no row is labelled; the labels are {classes}.")
    found = as_numbers([class_weight.get(label, 1.0) for label in classes], "class_weight")
    if found.ndim != 1 or not (np.isfinite(found).all() and (found >= 0.0).all()):
        raise InputError(f"class_weight is {shown(dict(class_weight))}; expected a number of 0 or more for each label.")
    return found
