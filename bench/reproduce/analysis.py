"""What a study found: accuracies of what inner folds chose, means over splits, and paired differences."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cvxrobust.bench.reproduce.methods import Method
from cvxrobust.bench.reproduce.selection import Cell, choose_method
from cvxrobust.bench.reproduce.tables import Question, StudyTable
from cvxrobust.bench.studies.common import Row

OURS, BASELINE = "ours, chosen", "baseline, chosen"
"""The method of ours, or the certified baseline, that is best on the inner folds of each split, radius by radius."""


@dataclass(frozen=True)
class Outcome:
    """What became of a choice on the test rows of one split.

    Args:
        method: Name of the method chosen.
        certified: Share of rows that no attack can turn wrong.
        attacked: Share of rows that no attack here turned wrong.
        judged: How many rows.
        row: The row of the study.
    """

    method: str
    certified: float
    attacked: float
    judged: int
    row: Row


@dataclass(frozen=True)
class MeanOfSplits:
    """A mean over splits.

    Args:
        value: The mean.
        error: Its standard error, by the deviation between splits; of one split from the number of test rows.
        splits: How many.
    """

    value: float
    error: float
    splits: int

    def __str__(self) -> str:
        return f"{100.0 * self.value:.1f} ± {100.0 * self.error:.1f}"


def training_seconds(row: Row) -> float:
    """Seconds of the processor that a fit took, in child processes, too.

    Rows from before those were kept have the parent's alone; where it did nothing but wait, the wall's are taken.
    """
    here, wall = float(row["seconds"]), float(row.get("wall", 0.0))
    if "children" in row:
        return here + float(row["children"])
    return wall if wall > 1.0 and here < 0.1 * wall else here


def mean_of(values: Sequence[float], judged: int) -> MeanOfSplits:
    """The mean of shares of so many rows each."""
    value, n = float(np.mean(values)), len(values)
    if n == 1:
        return MeanOfSplits(value, math.sqrt(max(value * (1.0 - value), 0.0) / judged), 1)
    return MeanOfSplits(value, float(np.std(values, ddof=1)) / math.sqrt(n), n)


def difference_of(ours: Sequence[float], others: Sequence[float], judged: int) -> MeanOfSplits:
    """The mean of paired differences; of one split with the error of two independent shares, which is too large."""
    if len(ours) > 1:
        return mean_of([a - b for a, b in zip(ours, others, strict=True)], judged)
    (a,), (b,) = ours, others
    return MeanOfSplits(a - b, math.sqrt((a * (1.0 - a) + b * (1.0 - b)) / judged), 1)


@dataclass(frozen=True, eq=False)
class TableFindings:
    """What was found on one table, over the splits on which every method is complete.

    Args:
        table: The table.
        methods: The methods, in the study's order.
        splits: The cells of each complete split, by method.
        begun: How many splits have any rows.
    """

    table: StudyTable
    methods: tuple[Method, ...]
    splits: tuple[dict[str, Cell], ...]
    begun: int

    @cached_property
    def failed(self) -> list[Row]:
        """Rows of fits that failed."""
        return [row for cells in self.splits for cell in cells.values() for row in cell.rows.values() if row["failure"]]

    @property
    def budget(self) -> int:
        """Settings of every method."""
        return next((cell.terms.budget for cells in self.splits for cell in cells.values()), 0)

    def names(self, keep: Callable[[Method], bool]) -> list[str]:
        """Methods of a kind, in order."""
        return [method.name for method in self.methods if keep(method)]

    def outcomes(self, name: str, question: Question, k: int) -> list[Outcome]:
        """Of each split; `OURS` and `BASELINE` are chosen among methods by the inner folds.

        Args:
            name: A method, or one of these.
            question: The attacks.
            k: Of which of its radii.
        """
        found = []
        for cells in self.splits:
            cell = self._cell(cells, name, question, k)
            row = cell.test_row(question, k)
            if row["failure"]:
                found.append(Outcome(cell.method.name, 0.0, 0.0, 1, row))
                continue
            part, n = row["threats"][question.name], row["judged"]
            found.append(Outcome(cell.method.name, part["certified"][k] / n, part["attacked"][k] / n, n, row))
        return found

    def _cell(self, cells: dict[str, Cell], name: str, question: Question, k: int) -> Cell:
        if name not in (OURS, BASELINE):
            return cells[name]
        ours = name == OURS
        among = [cell for cell in cells.values() if cell.method.ours == ours and cell.method.certified]
        return choose_method(among, question, k)

    def certified(self, name: str, question: Question, k: int) -> MeanOfSplits:
        """Certified accuracy."""
        found = self.outcomes(name, question, k)
        return mean_of([outcome.certified for outcome in found], found[0].judged)

    def attacked(self, name: str, question: Question, k: int) -> MeanOfSplits:
        """Accuracy under the attacks found."""
        found = self.outcomes(name, question, k)
        return mean_of([outcome.attacked for outcome in found], found[0].judged)

    def difference(self, other: str, question: Question, k: int) -> MeanOfSplits:
        """`OURS` less another in certified accuracy, split by split."""
        mine, theirs = self.outcomes(OURS, question, k), self.outcomes(other, question, k)
        pairs = [[outcome.certified for outcome in found] for found in (mine, theirs)]
        return difference_of(pairs[0], pairs[1], mine[0].judged)

    def against_attacked(self, other: str, question: Question, k: int) -> MeanOfSplits:
        """`OURS`, certified, less another under attack: what is above 0 holds whatever better attacks may find."""
        mine, theirs = self.outcomes(OURS, question, k), self.outcomes(other, question, k)
        return difference_of(
            [outcome.certified for outcome in mine], [outcome.attacked for outcome in theirs], mine[0].judged
        )

    def seconds(self, name: str) -> tuple[float, float, float]:
        """Of the processor: the median fit, the longest fit, and all fits of the method together."""
        rows = [row for cells in self.splits for row in cells[name].rows.values() if not row["failure"]]
        times = [training_seconds(row) for row in rows] or [math.nan]
        return float(np.median(times)), max(times), sum(times)

    def best_baseline(self, question: Question, k: int) -> str:
        """The certified baseline with the highest mean on the *test* rows: a choice in hindsight, which favours it."""
        names = self.names(lambda method: not method.ours and method.certified)
        return max(names, key=lambda name: self.certified(name, question, k).value)


@dataclass(frozen=True)
class Contest:
    """Ours against the best baseline, in hindsight, in certified accuracy at one radius.

    Args:
        table: Name of the table.
        question: The attacks.
        k: Of which of its radii.
        baseline: The baseline's name.
        ours: Our certified accuracy.
        attacked: Our accuracy under the attacks found.
        theirs: The baseline's certified accuracy.
        difference: Ours less theirs, paired.
        nearest: The method of ours with the highest mean on the test rows, and that mean.
    """

    table: str
    question: Question
    k: int
    baseline: str
    ours: MeanOfSplits
    attacked: MeanOfSplits
    theirs: MeanOfSplits
    difference: MeanOfSplits
    nearest: tuple[str, MeanOfSplits]

    @property
    def radius(self) -> float:
        """Of the attacks."""
        return self.question.radii[self.k]

    @property
    def lost(self) -> bool:
        """Whether the baseline is ahead by more than one standard error."""
        return self.difference.value < -max(self.difference.error, 1e-12)

    @property
    def won(self) -> bool:
        """Whether ours is."""
        return self.difference.value > max(self.difference.error, 1e-12)

    @property
    def why(self) -> str:
        """Where the difference lies, as far as the figures of the study can tell."""
        name, mean = self.nearest
        if self.attacked.value >= self.theirs.value - self.difference.error:
            return "the certificate: attacks leave ours at least as much as the baseline has certified"
        if mean.value >= self.theirs.value - self.difference.error:
            return f"the choice on inner folds: {name} alone has {100.0 * mean.value:.1f}"
        return "the networks themselves: none of our methods comes within a standard error"


def contests(found: TableFindings) -> list[Contest]:
    """One for every kind of attacks and radius of a table."""
    made: list[Contest] = []
    if {True, False} > {method.ours for method in found.methods if method.certified}:
        return made  # nothing to compare
    for question in found.table.questions:
        for k in range(len(question.radii)):
            baseline = found.best_baseline(question, k)
            means = {name: found.certified(name, question, k) for name in found.names(lambda method: method.ours)}
            nearest = max(means.items(), key=lambda item: item[1].value)
            made.append(
                Contest(
                    found.table.name,
                    question,
                    k,
                    baseline,
                    found.certified(OURS, question, k),
                    found.attacked(OURS, question, k),
                    found.certified(baseline, question, k),
                    found.difference(baseline, question, k),
                    nearest,
                )
            )
    return made


def findings(slices: Iterable[Sequence[Cell]], methods: Sequence[Method], second: bool = False) -> list[TableFindings]:
    """By table, in the order in which they come; tables of which no split is complete are there, without splits.

    Args:
        slices: The study.
        methods: Its methods.
        second: Whether methods of the second round count; without it they are as if they had not been run.
    """
    kept = tuple(method for method in methods if second or not method.second)
    names = {method.name for method in kept}
    splits: dict[StudyTable, dict[int, dict[str, Cell]]] = {}
    for cell in (cell for cells in slices for cell in cells if cell.method.name in names):
        splits.setdefault(cell.table, {}).setdefault(cell.seed, {})[cell.method.name] = cell
    return [
        TableFindings(
            table,
            tuple(method for method in kept if method.fits(table)),
            tuple(cells for cells in by_seed.values() if all(cell.complete for cell in cells.values())),
            sum(any(cell.rows for cell in cells.values()) for cells in by_seed.values()),
        )
        for table, by_seed in splits.items()
    ]
