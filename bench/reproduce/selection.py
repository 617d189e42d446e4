"""Which setting of a method is taken for which attacks: chosen on inner folds alone.

For every kind of attacks and every radius on its own, the setting with the most rows of the inner folds
certified there; of methods that nothing certifies, with the most rows that no attack turned wrong. Ties go to
what leaves more rows unharmed by attacks there, then to the larger sum of scores over all radii, then to the
first in the grid.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from cvxrobust.bench.reproduce.fits import TEST, Fit, StudyTerms
from cvxrobust.bench.reproduce.methods import Method, plain
from cvxrobust.bench.reproduce.tables import Question, StudyTable
from cvxrobust.bench.studies.common import Row

Key = tuple[float, ...]
Choice = tuple[Key, int]
"""How good a setting is on inner folds, and its place."""


@dataclass(frozen=True)
class Cell:
    """A method on one split of a table.

    Args:
        table: The table.
        seed: Of the split.
        method: The method.
        terms: The terms.
        rows: What there is, by place and fold.
    """

    table: StudyTable
    seed: int
    method: Method
    terms: StudyTerms
    rows: dict[tuple[int, int], Row] = field(default_factory=dict)
    _chosen: dict[tuple[str, int], Choice] = field(default_factory=dict, repr=False)

    @cached_property
    def plain_settings(self) -> list[dict[str, object]]:
        """The settings as they come back from a file."""
        return [plain(setting) for setting in self.method.settings(self.terms.budget)]

    def inner_fits(self) -> list[Fit]:
        """All of its fits on inner folds."""
        settings = self.method.settings(self.terms.budget)
        return [self._fit(place, fold) for place in range(len(settings)) for fold in range(self.terms.folds)]

    def _fit(self, place: int, fold: int) -> Fit:
        setting = self.method.settings(self.terms.budget)[place]
        return Fit(self.table.name, self.seed, self.method.name, place, setting, fold)

    def missing(self, fits: Iterable[Fit]) -> list[Fit]:
        """Those of which there is no row."""
        return [fit for fit in fits if (fit.place, fit.fold) not in self.rows]

    def left(self) -> list[Fit]:
        """What can be done now: fits on inner folds, or, when all are there, those on all training rows."""
        return self.missing(self.inner_fits()) or self.missing(self.test_fits())

    def test_fits(self) -> list[Fit]:
        """What the inner folds chose, each once."""
        places = {self.choose(question, k)[1] for question in self.table.questions for k in range(len(question.radii))}
        return [self._fit(place, TEST) for place in sorted(places)]

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not self.left()

    def choose(self, question: Question, k: int) -> Choice:
        """The best setting for attacks of one radius, by the inner folds.

        Args:
            question: The attacks.
            k: Of which of its radii.
        """
        asked = (question.name, k)
        if asked not in self._chosen:
            places = range(len(self.method.settings(self.terms.budget)))
            key, last = max((self.key(question, k, place), -place) for place in places)
            self._chosen[asked] = key, -last
        return self._chosen[asked]

    def key(self, question: Question, k: int, place: int) -> Key:
        """How good a setting is: larger is better, in lexicographic order."""
        rows = [self.rows[place, fold] for fold in range(self.terms.folds)]
        if any(row["failure"] for row in rows):
            return (-1.0, 0.0, 0.0)
        found = [row["threats"][question.name] for row in rows]
        scores = [self._scores(part) for part in found]
        return (
            float(sum(part[k] for part in scores)),
            float(sum(part["attacked"][k] for part in found)),
            float(sum(map(sum, scores))),
        )

    def _scores(self, found: Row) -> Sequence[int]:
        scores: Sequence[int] = found["certified"] if found["kind"] != "none" else found["attacked"]
        return scores

    def test_row(self, question: Question, k: int) -> Row:
        """What became of the chosen setting on the test rows."""
        return self.rows[self.choose(question, k)[1], TEST]


def choose_method(cells: Sequence[Cell], question: Question, k: int) -> Cell:
    """The method whose best setting is best on the inner folds; of equals the first."""
    keys = [cell.choose(question, k)[0] for cell in cells]
    return cells[keys.index(max(keys))]


def cells_of(
    tables: Sequence[StudyTable], methods: Sequence[Method], seeds: int, terms: StudyTerms, rows: Iterable[Row]
) -> list[list[Cell]]:
    """The study in slices, one per split: all tables of the first seed, then those of the second.

    Methods of a second round come after all others, in slices of their own.

    Args:
        tables: The tables.
        methods: The methods.
        seeds: How many splits.
        terms: The terms.
        rows: What there is; rows of settings that a method has no longer are left aside.
    """
    slices = [
        [Cell(table, seed, method, terms) for method in methods if method.fits(table) and method.second == second]
        for second in (False, True)
        for seed in range(seeds)
        for table in tables
    ]
    known: Mapping[tuple[str, int, str], Cell] = {
        (cell.table.name, cell.seed, cell.method.name): cell for cells in slices for cell in cells
    }
    for row in rows:
        cell = known.get((row["table"], row["seed"], row["method"]))
        if cell is not None and row["setting"] in cell.plain_settings[row["place"] :][:1]:
            cell.rows[row["place"], row["fold"]] = row
    return slices
