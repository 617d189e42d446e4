"""Which rows are trained on and which are judged, fold by fold."""

from collections.abc import Iterable
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold, check_cv
from sklearn.utils.validation import check_consistent_length, column_or_1d

from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Split = tuple[Index, Index]

_checked_splitter: Any = check_cv
"""It ships no types, and what type checkers guess from its defaults is wrong."""


def splits(
    cv: Any,
    X: Array,
    labels: Index | Array,
    counted: NDArray[np.bool_],
    groups: ArrayLike | None,
    seed: int,
    *,
    targets: bool = False,
) -> list[Split]:
    """Rows to train on and rows to judge, of those that count.

    A whole number of folds makes folds with the classes in equal proportion; groups, and without them rows that come
    again, stay together, so that no row is judged that was trained on.

    Args:
        cv: How many folds, or a splitter of scikit-learn's, or pairs of indices; None for 5 folds.
        X: Inputs, shape (n, d).
        labels: Numbers of the classes, or targets, shape (n,).
        counted: Rows that count, shape (n,).
        groups: What belongs together, shape (n,); None for nothing but rows that come again.
        seed: Of the shuffle where a number of folds is given.
        targets: Whether labels are real targets, of which nothing is in proportion.

    Raises:
        InputError: There are fewer than two folds, too few rows of a class for them, or rows that nobody has.
    """
    given = None if groups is None else column_or_1d(groups)
    if given is not None:
        check_consistent_length(X, given)
    if cv is None or (isinstance(cv, Integral) and not isinstance(cv, bool)):
        count = 5 if cv is None else int(cv)
        if count < 2:
            raise InputError(f"cv is {count}; expected at least 2 folds.")
        rows, make = np.flatnonzero(counted), _of_targets if targets else _of_classes
        own = None if given is None else given[rows]
        found: Iterable[Any] = (
            (rows[train], rows[held]) for train, held in make(count, X[rows], labels[rows], own, seed)
        )
    elif isinstance(cv, str | bytes) or not (hasattr(cv, "split") or isinstance(cv, Iterable)):
        raise InputError(
            f"cv is {shown(cv)}; expected how many folds, a splitter of scikit-learn's, or pairs of indices."
        )
    else:
        checked: Any = _checked_splitter(cv, labels, classifier=not targets)
        found = checked.split(X, labels, given)
    pairs = [(_rows(train, counted), _rows(held, counted)) for train, held in found]
    if not pairs or any(train.size == 0 or held.size == 0 for train, held in pairs):
        raise InputError("cv makes a fold without rows to train on or to judge; expected some of both in each.")
    return pairs


def most_folds(X: Array, labels: Index) -> int:
    """How many folds can have some of each class on either side: different rows of the rarest class.

    Args:
        X: Inputs, shape (n, d).
        labels: Numbers of the classes, shape (n,).
    """
    return int(np.unique(_distinct(X, labels)[0][:, -1], return_counts=True)[1].min())


def _distinct(X: Array, labels: Index | Array) -> tuple[Array, Index]:
    """Different rows, labels last, and which of them each row is.

    Once each, in an order of their own: folds do not depend on how rows come, or whether twice or with weight 2.
    """
    rows, group = np.unique(np.column_stack([X, labels]), axis=0, return_inverse=True)
    return rows.astype(np.float64), group.ravel().astype(np.intp)


def _of_classes(count: int, X: Array, labels: Index | Array, groups: NDArray[Any] | None, seed: int) -> Iterable[Split]:
    if groups is not None:
        yield from StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(X, labels, groups)
        return
    distinct, group = _distinct(X, labels)
    kinds, sizes = np.unique(distinct[:, -1], return_counts=True)
    if sizes.min() < count:
        raise InputError(
            f"class number {int(kinds[sizes.argmin()])} (from 0, in sorted order) has {sizes.min()} different rows, "
            f"but cv is {count} folds with some of each class; take fewer folds, or pass a splitter as cv."
        )
    splitter = StratifiedKFold(count, shuffle=True, random_state=seed)
    yield from _with_copies(splitter.split(distinct, distinct[:, -1]), group)


def _of_targets(count: int, X: Array, labels: Index | Array, groups: NDArray[Any] | None, seed: int) -> Iterable[Split]:
    distinct, group = _distinct(X, labels)
    kinds = distinct.shape[0] if groups is None else np.unique(groups).size
    if kinds < count:
        what = ("sample" if groups is None else "group") + "s" * (kinds > 1)
        raise InputError(
            f"X holds {kinds} {what} (each once), but cv is {count} folds; expected as many, or fewer folds."
        )
    if groups is not None:
        yield from GroupKFold(count, shuffle=True, random_state=seed).split(X, labels, groups)
        return
    yield from _with_copies(KFold(count, shuffle=True, random_state=seed).split(distinct), group)


def _with_copies(pairs: Iterable[Any], group: Index) -> Iterable[Split]:
    """Folds of rows from those of the different ones."""
    for train, held in pairs:
        yield np.flatnonzero(np.isin(group, train)), np.flatnonzero(np.isin(group, held))


def _rows(found: Any, counted: NDArray[np.bool_]) -> Index:
    rows = np.asarray(found)
    if rows.dtype == np.bool_ and rows.shape == counted.shape:
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or (rows.size and not (rows.dtype.kind in "iu" and 0 <= rows.min() <= rows.max() < counted.size)):
        raise InputError(f"cv makes indices that are none of {counted.size} rows; expected whole numbers from 0.")
    rows = rows.astype(np.intp)
    return np.asarray(rows[counted[rows]])
