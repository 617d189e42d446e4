"""Which rows are trained on and which are judged, fold by fold."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils.validation import check_consistent_length, column_or_1d

from cvxrobust.core.errors import InputError

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Split = tuple[Index, Index]

_checked_splitter: Any = check_cv
"""It ships no types, and what type checkers guess from its defaults is wrong."""


def splits(
    cv: Any, X: Array, labels: Index, counted: NDArray[np.bool_], groups: ArrayLike | None, seed: int
) -> list[Split]:
    """Rows to train on and rows to judge, of those that count.

    A whole number of folds makes folds with the classes in equal proportion; groups, and without them rows that come
    again, stay together, so that no row is judged that was trained on.

    Args:
        cv: How many folds, or a splitter of scikit-learn's, or pairs of indices; None for 5 folds.
        X: Inputs, shape (n, d).
        labels: Numbers of the classes, shape (n,).
        counted: Rows that count, shape (n,).
        groups: What belongs together, shape (n,); None for nothing but rows that come again.
        seed: Of the shuffle where a number of folds is given.

    Raises:
        InputError: There are fewer than two folds, too few rows of a class for them, or rows that nobody has.
    """
    given = None if groups is None else column_or_1d(groups)
    if given is not None:
        check_consistent_length(X, given)
    if cv is None or (isinstance(cv, Integral) and not isinstance(cv, bool)):
        found: Iterable[Any] = _folds(5 if cv is None else int(cv), X, labels, counted, given, seed)
    elif isinstance(cv, str | bytes) or not (hasattr(cv, "split") or isinstance(cv, Iterable)):
        raise InputError(f"cv is {cv!r}; expected how many folds, a splitter of scikit-learn's, or pairs of indices.")
    else:
        checked: Any = _checked_splitter(cv, labels, classifier=True)
        found = checked.split(X, labels, given)
    pairs = [(_rows(train, counted), _rows(held, counted)) for train, held in found]
    if not pairs or any(train.size == 0 or held.size == 0 for train, held in pairs):
        raise InputError("cv makes a fold without rows to train on or to judge; expected some of both in each.")
    return pairs


def _folds(
    count: int, X: Array, labels: Index, counted: NDArray[np.bool_], groups: NDArray[Any] | None, seed: int
) -> Iterable[Split]:
    if count < 2:
        raise InputError(f"cv is {count}; expected at least 2 folds.")
    rows = np.flatnonzero(counted)
    if groups is not None:
        splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
        for train, held in splitter.split(X[rows], labels[rows], groups[rows]):
            yield rows[train], rows[held]
        return
    # Once each, in an order of their own: folds do not depend on how rows come, or whether twice or with weight 2.
    distinct, group = np.unique(np.column_stack([X[rows], labels[rows]]), axis=0, return_inverse=True)
    kinds, sizes = np.unique(distinct[:, -1], return_counts=True)
    if sizes.min() < count:
        raise InputError(
            f"class number {int(kinds[sizes.argmin()])} (from 0, in sorted order) has {sizes.min()} different rows, "
            f"but cv is {count} folds with some of each class; take fewer folds, or pass a splitter as cv."
        )
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    for train, held in splitter.split(distinct, distinct[:, -1]):
        yield tuple(rows[np.isin(group.ravel(), part)] for part in (train, held))  # type: ignore[misc]


def _rows(found: Any, counted: NDArray[np.bool_]) -> Index:
    rows = np.asarray(found)
    if rows.dtype == np.bool_ and rows.shape == counted.shape:
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and not (rows.dtype.kind in "iu" and 0 <= rows.min() <= rows.max() < counted.size)):
        raise InputError(f"cv makes indices that are none of {counted.size} rows; expected whole numbers from 0.")
    rows = rows.astype(np.intp)
    return np.asarray(rows[counted[rows]])
