"""Points, the samples that they are of, and their classes, checked before any work starts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import (
    SORTS,
    as_numbers,
    check_finite_labels,
    checked_inputs,
    frozen,
    label_array,
    look_continuous,
)
from cvxrobust.core.weights import ClassWeight, checked_sample_weight, weighing
from cvxrobust.problems.data.parameters import Label, checked_radius

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class GroupedPoints:
    """The points that count.

    Args:
        X: Shape (n, d), read-only.
        y: Their labels as they were given, shape (n,).
        labels: The same as numbers of classes, shape (n,).
        classes: The different labels, sorted: at least two.
        samples: The sample of each point, from 0 to m - 1, shape (n,).
        groups: What the m samples are called, ascending, shape (m,): numbers of groups, or of rows.
        radius: Attack radius of each point, shape (n,).
        weights: Of the samples, above 0 and 1 on average, shape (m,); None where all weigh the same.
    """

    X: Array
    y: NDArray[Any]
    labels: Index
    classes: tuple[Label, ...]
    samples: Index
    groups: Index
    radius: Array
    weights: Array | None

    @classmethod
    def of(
        cls, X: ArrayLike, y: ArrayLike, radius: ArrayLike, groups: ArrayLike | None,
        sample_weight: ArrayLike | None, class_weight: ClassWeight,
    ) -> "GroupedPoints":  # fmt: skip
        """From what `JointSDP` is given.

        Raises:
            InputError: Something is unusable, or points of one group have different labels or weights.
        """
        rows = checked_inputs(X)
        n = rows.shape[0]
        y, names = _labels(y, n), _group_names(groups, n)
        found, first, samples = np.unique(names, return_index=True, return_inverse=True)
        samples = samples.reshape(n)
        _check_alike(y, samples, first, found, "labels")
        each = None if sample_weight is None else checked_sample_weight(sample_weight, n)
        if each is not None:
            _check_alike(each, samples, first, found, "weights")
        weighed = weighing(None if each is None else each[first], class_weight, y[first], found.size)
        radii = checked_radius(radius, n)
        if weighed.kept is not None:
            kept = np.flatnonzero(np.isin(samples, weighed.kept))
            rows, y, radii = frozen(rows[kept]), y[kept], frozen(radii[kept])
            samples = np.searchsorted(weighed.kept, samples[kept])
        classes, labels = np.unique(y, return_inverse=True)
        if classes.size < 2:
            raise InputError(f"y holds one class, {classes.tolist()}; joint training needs at least two.")
        return cls(
            rows, frozen(np.array(y)), frozen(labels.reshape(-1)), tuple(classes.tolist()), frozen(samples),
            frozen(weighed.of(found)), radii, weighed.weights,
        )  # fmt: skip


def _labels(y: ArrayLike, n: int) -> NDArray[Any]:
    labels = label_array(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n,):
        raise InputError(f"y has shape {labels.shape}; expected ({n},), one label per row of X.")
    check_finite_labels(labels)
    classes = np.unique(labels)
    if labels.dtype.kind in "biuf" and look_continuous(classes, n):
        raise InputError(
            f"y holds {classes.size} different numbers in {n} rows, which look like real targets rather than classes; "
            "joint training needs classes: sort the targets into some first."
        )
    return labels


def _group_names(groups: ArrayLike | None, n: int) -> Index:
    if groups is None:
        return np.arange(n)
    try:
        given = np.asarray(groups)
    except Exception as error:  # what is handed over converts itself
        raise InputError(f"groups is {shown(groups)}; expected whole numbers, shape ({n},).") from error
    if given.shape != (n,) or given.dtype.kind not in "iu":
        raise InputError(
            f"groups has shape {given.shape} and holds {SORTS.get(given.dtype.kind, 'numbers')}; expected whole "
            f"numbers, shape ({n},), the same for rows that are points of one sample."
        )
    return given.astype(np.intp)


def _check_alike(values: NDArray[Any], samples: Index, first: Index, names: Index, what: str) -> None:
    """Refuse points of one group of which not the same is said."""
    wrong = np.flatnonzero(values != values[first][samples])
    if wrong.size:
        row = int(wrong[0])
        group = samples[row]
        raise InputError(
            f"the points of group {names[group]} have different {what}: {values[first[group]]} in row {first[group]}, "
            f"{values[row]} in row {row}; points of one sample share one loss, so that they need the same."
        )


def checked_penalties(penalties: ArrayLike | None, count: int) -> Array:
    """What the penalty of each class counts, shape (K,).

    Raises:
        InputError: Not one finite number above 0 for each class.
    """
    if penalties is None:
        return frozen(np.ones(count))
    found = np.array(as_numbers(penalties, "penalties", "expected a number above 0 for each class"))
    if found.shape != (count,) or not (np.isfinite(found).all() and (found > 0.0).all()):
        raise InputError(
            f"penalties are {found.tolist()}; expected a finite number above 0 for each of the {count} classes, in "
            "their order: each multiplies beta."
        )
    return frozen(found)
