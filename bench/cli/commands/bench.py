"""``cvxrobust bench``: run suites, and see what came of them."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvxrobust.bench.cli.commands.analysis import compare, export, report
from cvxrobust.bench.cli.completion import suite_names
from cvxrobust.bench.display import EXIT_UNUSABLE, clean_errors, console, fail, make_table
from cvxrobust.bench.interrupts import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from cvxrobust.bench.harness.results.rows import Failure, Row
    from cvxrobust.bench.harness.results.store import Store
    from cvxrobust.bench.harness.run.dask import Cluster
    from cvxrobust.bench.harness.run.runner import Task
    from cvxrobust.bench.harness.suite.suite import Suite

bench_app = typer.Typer(help="Compare backends on the same problems, judged by certificates.", no_args_is_help=True)

bench_app.command()(report)
bench_app.command()(compare)
bench_app.command()(export)

RUNS = Path("runs")
"""Where runs go that nobody names a folder for."""


@bench_app.command()
def run(
    suite: Annotated[
        str,
        typer.Argument(help="A shipped suite (`cvxrobust bench suites`) or a .toml file.", autocompletion=suite_names),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the run. (default: runs/SUITE)")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run; what is finished is not run again.")
    ] = False,
    retry: Annotated[
        str, typer.Option(help="With --resume: failures to try again, such as error,killed.", metavar="KINDS")
    ] = "",
    jobs: Annotated[int, typer.Option(min=1, help="Cases at a time; more than one disturbs their times.")] = 1,
    dask: Annotated[
        str | None,
        typer.Option(
            help="Run on the workers of this dask scheduler. Trust it, its workers and all who can reach them: they "
            "get the cases, options with secrets included, and what they send back can run code here.",
            metavar="ADDRESS",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be run.")] = False,
    data_folder: Annotated[
        Path | None, typer.Option(help="Folder of the named data sets. (default: $CVXROBUST_DATA)")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run every case of a suite, in worker processes that are watched over; each becomes a row.

    Exit code 0 if anything was certified, 1 if nothing was, 2 for mistakes in the suite, 130 after
    Ctrl-C.
    """
    with clean_errors():
        from cvxrobust.bench.harness.results.store import Store
        from cvxrobust.bench.harness.run.runner import parse_failures
        from cvxrobust.bench.harness.suite.suite import load_suite
        from cvxrobust.core.errors import InputError

        kinds = parse_failures(retry)
        if kinds and not resume:
            raise InputError("--retry says what to run again of a run that there is already; add --resume.")
        if dask is not None and jobs != 1:
            raise InputError("--jobs is for this machine; with --dask the scheduler's workers decide. Leave one out.")
        chosen = load_suite(suite)
        folder = None if data_folder is None else str(data_folder.expanduser().resolve())
        chosen.check(folder)
        store = Store(out or RUNS / chosen.name)
        order = _Order(suite, chosen, store, folder, resume, kinds)
        if dry_run:
            order.show()
            return
        order.execute(jobs, dask, quiet)


class _Order:
    """What somebody asked to be run."""

    def __init__(
        self, name: str, suite: "Suite", store: "Store", folder: str | None, resume: bool, retry: "frozenset[Failure]"
    ) -> None:
        from cvxrobust.bench.harness.run.runner import plan

        self.name, self.suite, self.store = name, suite, store
        self.folder, self.resume, self.retry = folder, resume, retry
        self.planned = plan(suite, folder)

    def tasks(self) -> "list[Task]":
        """What is left to do."""
        from cvxrobust.bench.harness.run.runner import unfinished

        return unfinished(self.planned, self.store.rows() if self.resume else (), self.retry)

    def rows(self) -> "list[Row]":
        """The rows of this suite's cases."""
        keys = {key for key, _ in self.planned}
        return [row for row in self.store.rows() if row.key in keys]

    def show(self) -> None:
        """Print what would be run."""
        tasks = self.tasks()
        counts = Counter((case.problem.name, case.backend.title) for _, case in tasks)
        titles = list(dict.fromkeys(case.backend.title for _, case in tasks))
        problems = list(dict.fromkeys(case.problem.name for case in self.suite.cases()))
        cells = [[problem, *(counts[problem, title] or "" for title in titles)] for problem in problems]
        console().print(make_table(f"{self.suite.name}: cases to run", ("problem", *titles), cells))
        worst = sum(case.time_limit + self.suite.grace for _, case in tasks)
        print(f"{len(tasks)} of {len(self.planned)} cases, in {self.store.folder}; at most {worst / 60:.0f} minutes.")

    def execute(self, jobs: int, dask: str | None, quiet: bool) -> None:
        """Run it, and say what came of it."""
        from cvxrobust.bench.harness.run.process import RunLimits
        from cvxrobust.bench.harness.run.progress import RunProgress
        from cvxrobust.bench.harness.run.runner import run_here

        terms = RunLimits(self.suite.threads, self.suite.grace, self.suite.memory_limit, self.folder)
        with ExitStack() as stack:
            cluster = None if dask is None else stack.enter_context(_connect(dask))
            self._open(stack, cluster)
            tasks = self.tasks()
            slots = jobs if cluster is None else cluster.slots
            finished = len(self.planned) - len(tasks)
            progress = stack.enter_context(RunProgress([case for _, case in tasks], finished, slots, quiet))
            try:
                if cluster is None:
                    run_here(tasks, terms, jobs, self.store, progress)
                else:
                    cluster.run(tasks, terms, self.store, progress)
            except KeyboardInterrupt as error:
                stack.close()
                raise self._interrupted(jobs, dask) from error
        self._summarise()

    def _open(self, stack: ExitStack, cluster: "Cluster | None") -> None:
        """Make the folder ready: a new manifest, or one that says that the run went on."""
        from cvxrobust.bench.harness.run.machine import manifest

        content = manifest(self.suite.public(), self.suite.threads, len(self.planned))
        if cluster is not None:
            content["workers"] = cluster.machines()
        if not (self.resume and self.store.exists):
            self.store.create(content)
            stack.enter_context(self.store)
            return
        stack.callback(self.store.close)
        repair = self.store.open()
        if repair.dropped:
            typer.echo(f"{self.store.folder}: the last line was torn and is cut off; its case is run again.", err=True)
        before = self.store.manifest()
        parts = {name: value for name, value in content.items() if before.get(name) != value}
        self.store.describe(before | {"suite": content["suite"], "resumed": [*before.get("resumed", []), parts]})

    def _interrupted(self, jobs: int, dask: str | None) -> typer.Exit:
        given = {"jobs": None if jobs == 1 else jobs, "dask": dask, "data-folder": self.folder}
        extra = "".join(f" --{name} {value}" for name, value in given.items() if value is not None)
        return fail(
            f"interrupted; {len(self.rows())} of {len(self.planned)} rows are kept. Go on with: cvxrobust bench run "
            f"{self.name} --out {self.store.folder} --resume{extra}",
            EXIT_INTERRUPTED,
        )

    def _summarise(self) -> None:
        from cvxrobust.bench.harness.results.rows import Verdict

        rows = self.rows()
        titles = list(dict.fromkeys(case.backend.title for case in self.suite.cases()))
        columns = [*Verdict, *dict.fromkeys(row.failure for row in rows if row.verdict is Verdict.FAILED)]
        counts: Counter[tuple[str, Any]] = Counter()
        for row in rows:
            counts[row.backend, row.verdict] += 1
            if row.verdict is Verdict.FAILED:
                counts[row.backend, row.failure] += 1
        cells = [[title, *(counts[title, column] or "" for column in columns)] for title in titles]
        console().print(make_table(f"{self.suite.name}: {len(rows)} rows", ("backend", *columns), cells))
        print(f"Rows are in {self.store.folder}; see them with: cvxrobust bench report {self.store.folder}")
        if not any(row.verdict is Verdict.CERTIFIED for row in rows):
            raise typer.Exit(EXIT_UNUSABLE)


def _connect(address: str) -> "Cluster":
    from cvxrobust.bench.harness.run.dask import Cluster

    return Cluster(address)


@bench_app.command()
def suites(
    show: Annotated[
        str | None,
        typer.Option(
            "--show",
            help="Print this suite (or .toml file), to be changed.",
            metavar="NAME",
            autocompletion=suite_names,
        ),
    ] = None,
) -> None:
    """The suites that ship with this package, or one as it is written; bench/suites/README.md has the format."""
    with clean_errors():
        from cvxrobust.bench.harness.suite.suite import SUITES, load_suite, suite_text

        if show is not None:
            print(suite_text(show), end="")
            return
        shipped = [load_suite(path.stem) for path in sorted(SUITES.glob("*.toml"))]
        rows = [(suite.name, suite.description) for suite in shipped]
        console().print(make_table("Suites", ("name", "description"), rows, left=2))


@bench_app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs.")],
    out: Annotated[Path, typer.Option(help="Folder of the new run.")],
) -> None:
    """Put the rows of several runs into one; of a case that is in several, the last run's row counts."""
    with clean_errors():
        from cvxrobust.bench.harness.results.store import Store
        from cvxrobust.bench.harness.results.store import merge as merge_stores

        written = merge_stores([Store(folder) for folder in runs], Store(out))
        print(f"{written} rows are in {out}.")
