"""Which tables (and images) are learnt from, what attacks may touch in them, and how their rows are split."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.dataset import Dataset, load_dataset
from cvxrobust.bench.data.images import load_mnist, three_or_eight
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import UnknownNameError

Array = NDArray[np.float64]
Index = NDArray[np.intp]

PARTS, HELD_OUT = 10, 3
"""Of ten parts that the rows are dealt into, the first three are held out."""


DEVIATIONS = "standard deviations"
"""Of the training rows, column by column."""


@dataclass(frozen=True)
class StudyTable:
    """A table of the study.

    Args:
        name: What reports call it.
        source: What `load_dataset` calls it.
        title: In full.
        immutable: Columns that no attacker can change, by what they mean.
        meaning: Why those, or why none.
        drawn: Rows to train on and to test on that a split draws from the two parts that the source keeps apart; zeros
            where all rows are dealt anew.
        unit: What radii are measured in: columns are standardised unless they share a unit of their own.
    """

    name: str
    source: str
    title: str
    immutable: tuple[str, ...] = ()
    meaning: str = ""
    drawn: tuple[int, int] = (0, 0)
    unit: str = DEVIATIONS

    @property
    def questions(self) -> "tuple[Question, ...]":
        """What classifiers are asked on this table."""
        return QUESTIONS if self.immutable else QUESTIONS[:2]


@dataclass(frozen=True)
class Question:
    """Attacks that classifiers are judged under.

    Args:
        name: What reports call them.
        norm: Of the attacks.
        radii: In the table's unit, ascending from 0.
        masked: Whether immutable columns are out of reach.
    """

    name: str
    norm: Norm
    radii: tuple[float, ...]
    masked: bool = False

    def threat(self, touchable: NDArray[np.bool_]) -> Threat:
        """The attacks on inputs of which these columns can be changed."""
        return Threat(self.norm, scale=touchable.astype(np.float64) if self.masked else None)


_L2, _LINF = (0.0, 0.1, 0.3, 0.5, 1.0), (0.0, 0.05, 0.1, 0.2, 0.3)

QUESTIONS = (Question("l2", 2, _L2), Question("linf", "inf", _LINF), Question("l2-mask", 2, _L2, masked=True))

_MEASURED = "every column was measured by an instrument or an eye on what the attacker would alter; none is immutable"

TABLES = {
    table.name: table
    for table in (
        StudyTable("diagnostic", "breast-cancer", "Breast Cancer Wisconsin (Diagnostic)", (), _MEASURED),
        StudyTable(
            "original", "breast_cancer_wisconsin_original", "Breast Cancer Wisconsin (Original)", (), _MEASURED
        ),
        StudyTable("ionosphere", "ionosphere", "Ionosphere", (), "radar returns; none is immutable"),
        StudyTable(
            "pima", "pima_diabetes", "Pima Indians Diabetes", ("pregnancies", "pedigree", "age"),
            "age, pregnancies and the pedigree of a person are on record; the rest is measured on the day",
        ),
        StudyTable(
            "heart", "heart_statlog", "Statlog (Heart)", ("age", "sex"),
            "age and sex of a person are on record; the rest is measured or told on the day",
        ),
        StudyTable(
            "mnist", "mnist", "MNIST, 3 against 8, 14 x 14 pixels", (), "ink; none is immutable", (400, 1000),
            "grey values from 0 to 1",
        ),
    )
}  # fmt: skip
"""The tables of the study, by name."""

TRIAL = StudyTable("trial", "", "made up, to try the machinery", ("x2",), "so that there is a mask")
"""120 rows of three columns that one seed draws; a third of them come twice. For tests."""


def table_named(name: str) -> StudyTable:
    """A table of the study, or the one for trials.

    Raises:
        UnknownNameError: There is none of that name.
    """
    known = {**TABLES, TRIAL.name: TRIAL}
    if name not in known:
        raise UnknownNameError("table", name, known)
    return known[name]


@dataclass(frozen=True, eq=False)
class GroupedRows:
    """Rows of a table.

    Args:
        X: Inputs, shape (n, d).
        y: Labels -1 and +1, shape (n,).
        groups: A number for each different row, so that repeats share it, shape (n,).
        touchable: Columns that attackers can change, shape (d,).
        apart: Rows that the source keeps apart for tests, shape (n,); None where it has one part.
    """

    X: Array
    y: Array
    groups: Index
    touchable: NDArray[np.bool_]
    apart: NDArray[np.bool_] | None = None

    def take(self, rows: Index) -> "GroupedRows":
        """Some of them."""
        return GroupedRows(self.X[rows], self.y[rows], self.groups[rows], self.touchable)


@lru_cache(maxsize=8)
def read_rows_of(name: str, folder: str | None) -> GroupedRows:
    """The rows of a table of the study.

    Raises:
        InputError: The data is missing or damaged.
        UnknownNameError: There is no such table.
    """
    table = table_named(name)
    if table.source == "mnist":
        return _threes_and_eights(folder)
    data = _made_up() if table is TRIAL else load_dataset(table.source, folder)
    groups = np.unique(data.X, axis=0, return_inverse=True)[1].reshape(-1)
    touchable = ~np.isin(np.array(data.feature_names), table.immutable)
    return GroupedRows(data.X, np.asarray(data.y, dtype=np.float64), groups, touchable)


def _made_up() -> Dataset:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((90, 3))
    y = np.where(X[:, 0] + 0.5 * X[:, 1] ** 2 - 0.5 + 0.3 * rng.standard_normal(90) > 0.0, 1.0, -1.0)
    rows = np.concatenate([np.arange(90), np.arange(30)])
    return Dataset(X[rows], y[rows], ("x0", "x1", "x2"), TRIAL.name, (-1, 1))


def _threes_and_eights(folder: str | None) -> GroupedRows:
    parts = [three_or_eight(*load_mnist(part, folder)) for part in ("train", "test")]
    X, y = (np.concatenate(both) for both in zip(*parts, strict=True))
    groups = np.unique(X, axis=0, return_inverse=True)[1].reshape(-1)
    apart = np.arange(y.size) >= parts[0][1].size
    return GroupedRows(X, y, groups, np.ones(X.shape[1], dtype=bool), apart)


def outer_split(rows: GroupedRows, seed: int, drawn: tuple[int, int] = (0, 0)) -> tuple[Index, Index]:
    """Rows to train on and to test on: classes in proportion, equal rows on one side.

    Args:
        rows: All rows.
        seed: Of the shuffle.
        drawn: How many of each, from the parts that the source keeps apart; zeros for about 70 % of all, and the rest.
    """
    if rows.apart is not None:
        train, test = (_drawn(rows, np.flatnonzero(rows.apart == k), drawn[k], seed) for k in (False, True))
        return train, test[~np.isin(rows.groups[test], rows.groups[train])]
    parts = list(_parts(rows, PARTS, seed))
    test = np.sort(np.concatenate(parts[:HELD_OUT]))
    return np.setdiff1d(np.arange(rows.y.size), test), test


def _drawn(rows: GroupedRows, among: Index, count: int, seed: int) -> Index:
    from sklearn.model_selection import train_test_split

    chosen, _ = train_test_split(among, train_size=count, stratify=rows.y[among], random_state=seed)
    return np.sort(np.asarray(chosen, dtype=np.intp))


def inner_parts(training: GroupedRows, folds: int, seed: int) -> list[tuple[Index, Index]]:
    """What each fold trains on and is judged on: places among the training rows, which is all that this is given."""
    everything = np.arange(training.y.size)
    return [(np.setdiff1d(everything, part), part) for part in _parts(training, folds, seed)]


def _parts(rows: GroupedRows, parts: int, seed: int) -> Iterator[Index]:
    from sklearn.model_selection import StratifiedGroupKFold

    dealt = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    for _, part in dealt.split(rows.X, rows.y, rows.groups):
        yield np.asarray(part, dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Lesson:
    """What a classifier is trained on and what it is judged on, in the table's unit, around the training rows' means.

    Args:
        X: Inputs to train on, shape (n, d); where columns are standardised, those that are constant are left out.
        y: Their labels.
        judged_X: Inputs to judge on.
        judged_y: Their labels.
        touchable: Columns that attackers can change, shape (d,).
    """

    X: Array
    y: Array
    judged_X: Array
    judged_y: Array
    touchable: NDArray[np.bool_]

    @classmethod
    def of(cls, training: GroupedRows, judged: GroupedRows, unit: str = DEVIATIONS) -> "Lesson":
        """Centre both, and standardise them unless they have a unit of their own, by the training rows alone."""
        mean, scale = training.X.mean(axis=0), training.X.std(axis=0)
        scale = scale if unit == DEVIATIONS else np.ones_like(scale)
        kept = scale > 0.0
        X, judged_X = ((part.X[:, kept] - mean[kept]) / scale[kept] for part in (training, judged))
        return cls(X, training.y, judged_X, judged.y, training.touchable[kept])
