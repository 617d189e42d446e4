"""A study from beginning to end: what was asked, what is left, who does it, what is written."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cvxrobust.bench.harness.run.machine import commit, machine, now, versions
from cvxrobust.bench.harness.suite.versions import installed
from cvxrobust.bench.reproduce.analysis import TableFindings, findings
from cvxrobust.bench.reproduce.fits import StudyTerms
from cvxrobust.bench.reproduce.journal import Journal
from cvxrobust.bench.reproduce.methods import BUDGET, METHODS, Method, methods_named
from cvxrobust.bench.reproduce.run import carry_out_all, hands_here, hands_of_dask
from cvxrobust.bench.reproduce.selection import Cell, cells_of
from cvxrobust.bench.reproduce.tables import TABLES, StudyTable, read_rows_of, table_named
from cvxrobust.bench.studies.common import Row, require_reporting
from cvxrobust.core.errors import InputError


@dataclass(frozen=True)
class StudyRequest:
    """What somebody asked for.

    Args:
        out: Folder of the study.
        tables: Names of tables; none for all.
        methods: Names of methods; none for all.
        seeds: Splits into training and test rows.
        terms: The terms.
        jobs: Fits at a time, on this machine.
        dask: Address of a scheduler instead; None for none.
        data_folder: Where data sets lie; None takes the environment variable ``CVXROBUST_DATA``.
        resume: Go on with what is in the folder.
        retry: Then also try again what failed.
    """

    out: Path
    tables: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int = 5
    terms: StudyTerms = field(default_factory=StudyTerms)
    jobs: int = 1
    dask: str | None = None
    data_folder: str | None = None
    resume: bool = False
    retry: bool = False

    def check(self) -> None:
        """Refuse what cannot be done, before any work.

        Raises:
            InputError: A number is out of range, or data is missing.
            UnknownNameError: There is no such table or method.
        """
        terms = self.terms
        if not 1 <= terms.budget <= BUDGET:
            raise InputError(f"the budget is {terms.budget}; expected 1 to {BUDGET} settings, as many as grids have.")
        if terms.folds < 2 or self.seeds < 1 or self.jobs < 1:
            raise InputError(
                f"folds are {terms.folds}, seeds {self.seeds} and jobs {self.jobs}; expected at least 2, 1 and 1."
            )
        if self.dask is not None and self.jobs != 1:
            raise InputError("--jobs is for this machine; with --dask the scheduler's workers decide. Leave one out.")
        if self.retry and not self.resume:
            raise InputError("--retry is about a study that there is already; add --resume.")
        self.chosen_methods()
        for table in self.chosen_tables():
            read_rows_of(table.name, self.data_folder)

    def chosen_tables(self) -> tuple[StudyTable, ...]:
        """The tables."""
        return tuple(table_named(name) for name in self.tables or TABLES)

    def chosen_methods(self) -> tuple[Method, ...]:
        """The methods."""
        return methods_named(self.methods or None)

    def slices(self) -> list[list[Cell]]:
        """The study with what there is of it."""
        rows = [row for row in Journal(self.out).rows() if not (self.retry and row["failure"])]
        return cells_of(self.chosen_tables(), self.chosen_methods(), self.seeds, self.terms, rows)

    def manifest(self) -> dict[str, Any]:
        """What is known about the study before it begins."""
        return {
            "created": now(),
            "commit": commit(),
            "terms": self.terms.to_json(),
            "tables": [table.name for table in self.chosen_tables()],
            "methods": {method.name: list(method.settings(self.terms.budget)) for method in self.chosen_methods()},
            "seeds": self.seeds,
            "threads": self.terms.threads,
            "versions": versions() | installed(["groot-trees"]),
            "machine": machine(),
        }


def run_study(request: StudyRequest, told: Callable[[Row, int], None]) -> list[list[Cell]]:
    """Do what is left, and keep every row before anything else happens.

    Args:
        request: What was asked for.
        told: Hears of every row, and of how many methods on a split are not complete.

    Returns:
        The study.

    Raises:
        InputError: The request cannot be met.
        MissingExtraError: The report could not be drawn.
    """
    require_reporting()
    request.check()
    journal = Journal(request.out)
    journal.begin(request.manifest(), request.resume)
    slices = request.slices()

    def ended(row: Row, left: int) -> None:
        journal.keep(row)
        told(row, left)

    with ExitStack() as stack:
        here = request.dask is None
        hands = stack.enter_context(
            hands_here(request.jobs, request.terms) if here else hands_of_dask(str(request.dask))
        )
        carry_out_all([cell for cells in slices for cell in cells], request.terms, request.data_folder, hands, ended)
    return slices


def read_study(folder: Path) -> tuple[list[TableFindings], list[TableFindings], dict[str, Any]]:
    """What was found by the study in a folder, without and with its second round, and its manifest.

    Raises:
        InputError: There is none.
    """
    journal = Journal(folder)
    manifest = journal.manifest()
    methods = methods_named([name for name in manifest["methods"] if name in METHODS])
    tables = [table_named(name) for name in manifest["tables"]]
    slices = cells_of(tables, methods, manifest["seeds"], StudyTerms.from_json(manifest["terms"]), journal.rows())
    return findings(slices, methods), findings(slices, methods, second=True), manifest
