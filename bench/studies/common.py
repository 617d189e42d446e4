"""What studies share: options, a clock, rows that are shown or kept as they come, tables, a process to measure in."""

import argparse
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self, TypeVar

from cvxrobust.core.extras import require

Row = dict[str, Any]
Answer = TypeVar("Answer")

HELP = {
    "threads": "threads of the solver and of BLAS",
    "time_limit": "seconds per solve",
    "tolerance": "certified relative gap to reach",
    "beta": "weight of the penalty",
    "sizes": "samples x inputs, and x gates where the study says so",
    "only": "instances to run",
    "device": "cpu, cuda or auto",
    "dtype": "of the large products",
    "data_folder": "folder of the data files; CVXROBUST_DATA by default",
    "quick": "fewer and smaller sizes",
    "all": "show every row",
    "plot": "where to save the plot, a PNG",
}
"""Of options that several studies have."""

DTYPES = ("float64", "float32")


def study_parser(about: str | None, **options: Any) -> argparse.ArgumentParser:
    """The parser of a study; what else it needs, the study adds.

    Args:
        about: The docstring of its module.
        **options: By name, what an option is if nobody gives it, which also says what it takes: False for a switch, a
            tuple for several values, a mapping for some of its keys, all by default; a type for one without a default.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in options.items():
        match default:
            case type():
                kind: dict[str, Any] = {"type": default}
            case bool():
                kind = {"action": "store_true"}
            case Mapping():
                kind = {"nargs": "*", "choices": default, "default": list(default)}
            case tuple():
                kind = {"nargs": "+", "default": default}
            case _:
                kind = {"type": type(default), "default": default, "choices": DTYPES if name == "dtype" else None}
        parser.add_argument(f"--{name.replace('_', '-')}", help=HELP.get(name), **kind)
    return parser


def require_reporting() -> None:
    """Refuse a long study whose report could not be written in the end.

    Raises:
        MissingExtraError: A package that draws or tabulates is not installed.
    """
    for module in ("matplotlib", "polars", "jinja2", "plotly"):
        require(module, "all", "studies and their reports")


def numbers_of(size: str) -> list[int]:
    """``"200x10"`` as 200 and 10."""
    return [int(part) for part in size.split("x")]


def timed(act: Callable[[], Answer], clock: Callable[[], float] = time.perf_counter) -> tuple[float, Answer]:
    """Seconds that a call takes, and what it returns."""
    began = clock()
    found = act()
    return clock() - began, found


def number(value: float | None, form: str = ".2f") -> str:
    """A number for a table; a dash for none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:{form}}"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> None:
    """Print a table whose first `left` columns hold words."""
    # Not above: the run for a GPU measures with studies where there is PyTorch and nothing to show tables with.
    from cvxrobust.bench.display import console, make_table

    console().print(make_table(title, columns, rows, left=left))


def print_rows(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> None:
    """Print each row as soon as it is known, then all of them as a table."""
    shown = []
    for row in rows:
        shown.append(row)
        print("  ".join(row), flush=True)
    print_table(title, columns, shown, left)


def print_bounds(elapsed: float, upper: float, lower: float) -> None:
    """Print certified bounds as they come; a callback of `solve`."""
    print(f"{elapsed:8.1f} s  [{lower:.6f}, {upper:.6f}]", flush=True)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows))


def keep_row(path: Path, row: Row) -> None:
    """Append a row to a file, and to the disk for good, before anything else happens."""
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        # What a killed process left unfinished must not swallow this row.
        torn = size > 0 and file.read(1) != b"\n"
        file.write((b"\n" if torn else b"") + json.dumps(row, default=str).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, none if there is no file; a line that a killed process left unfinished is left out."""
    rows: list[Row] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def measure_or_show(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], Iterable[Row]],
    show: Callable[[Sequence[Row], argparse.Namespace], object],
) -> None:
    """Append rows to a file as soon as they are known, or read them; then show all of them.

    Args:
        parser: Of the study's own options; ``--out`` and ``--show`` are added.
        arguments: Those of the command line if None.
        measure: Yields the rows.
        show: Prints them.
    """
    parser.add_argument("--out", type=Path, help="file that rows are appended to")
    parser.add_argument("--show", type=Path, help="file of rows to show")
    asked = parser.parse_args(arguments)
    path = asked.show or asked.out
    if path is None or (asked.out is not None and asked.show is not None):
        parser.error("give either --out to measure or --show to look at what was measured")
    if asked.show is not None and not path.is_file():
        parser.error(f"there is no file {path} to show")
    for row in measure(asked) if asked.out is not None else ():
        keep_row(path, row)
    show(read_rows(path), asked)


class Apart:
    """A process that answers questions, so that what it takes can be limited; a new one where it had to be ended.

    Args:
        answer: Of a module, so that the process finds it: what it does with the parts of a question.
        prepare: Likewise; what it does first.
        memory: Bytes of addresses that it may have; None for no limit.
    """

    def __init__(
        self, answer: Callable[..., Row], prepare: Callable[[], None] | None = None, memory: int | None = None
    ) -> None:
        self._told = (answer, prepare, memory)
        self._start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, *self._told))
        self._process.start()
        end.close()
        self._pipe.recv()

    def ask(self, seconds: float, *question: Any) -> Row:
        """The answer.

        Raises:
            OSError: It did not come within so many seconds, or the process died; the message says which.
        """
        if not self._process.is_alive():
            self._start()
        try:
            self._pipe.send(question)
            if self._pipe.poll(seconds):
                found: Row = self._pipe.recv()
                return found
            said = "did not stop at its time limit and was ended"
        except (EOFError, ConnectionError):
            said = "its process died"
        self.__exit__()
        raise OSError(said)


def _serve(
    pipe: Connection, answer: Callable[..., Row], prepare: Callable[[], None] | None, memory: int | None
) -> None:
    if memory is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    if prepare is not None:
        prepare()
    pipe.send("ready")
    while True:
        pipe.send(answer(*pipe.recv()))
