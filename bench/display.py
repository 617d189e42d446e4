"""What the command line shows: progress while solving, tables afterwards, one line when something is
wrong."""

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cvxrobust.core.errors import CvxRobustError, WriteError

EXIT_UNUSABLE = 1
EXIT_INPUT = 2
EXIT_REGRESSION = 3
"""A benchmark got worse, or its certificates contradict each other."""

EXIT_UNEXPECTED = 70
"""A defect of ours; the number is the one that BSD's sysexits has for that."""

EXIT_WRITE = 74
"""What was found could not be written, as on a full disk; the number is the one that BSD's sysexits has for that."""

EXIT_INTERRUPTED = 130

DEBUG_VARIABLE = "CVXROBUST_DEBUG"
_PLAIN_WIDTH = 160
"""Columns assumed for files and pipes, where rich would assume 80 and cut tables."""


def console(stderr: bool = False) -> Console:
    """A console for results (or for remarks, on stderr), wide enough for tables when it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=width is not None)


def fail(message: object, code: int) -> typer.Exit:
    """Print one line on stderr and return the exception that ends the command with `code`."""
    line = " ".join(str(message).split())
    print(f"cvxrobust: error: {line}", file=sys.stderr)
    return typer.Exit(code)


@contextmanager
def clean_errors() -> Iterator[None]:
    """Turn every exception into one line and an exit code; ``CVXROBUST_DEBUG=1`` shows the traceback."""
    try:
        yield
    except (typer.Exit, BrokenPipeError):
        raise
    except WriteError as error:
        raise fail(error, EXIT_WRITE) from error
    except CvxRobustError as error:
        raise fail(error, EXIT_INPUT) from error
    except KeyboardInterrupt as error:
        raise fail("interrupted before there was a result.", EXIT_INTERRUPTED) from error
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        raise fail(
            f"unexpected {type(error).__name__}: {error}. "
            f"This is a defect of this package; set {DEBUG_VARIABLE}=1 to see where.",
            EXIT_UNEXPECTED,
        ) from error


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; what JSON has no number for (infinities, NaN) becomes null."""
    print(to_json(content))


def to_json(content: Mapping[str, Any]) -> str:
    """Strict JSON, indented; infinities and NaN become null."""
    return json.dumps(_finite(content), indent=2, allow_nan=False, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


class Progress:
    """The bounds while a solve runs: a live line on a terminal, a plain line now and then elsewhere.

    It is the callback of ``solve``, called with seconds elapsed and the certified upper and lower bound.

    Args:
        label: What is being solved.
        quiet: Show nothing.
        interval: Least seconds between two plain lines.
    """

    def __init__(self, label: str = "", quiet: bool = False, interval: float = 1.0) -> None:
        self._label, self._quiet, self._interval = label, quiet, interval
        self._start = time.perf_counter()
        self._bounds: tuple[float, float, float] | None = None
        self._printed: float | None = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        if not self._quiet and sys.stderr.isatty():
            self._live = Live(self, console=console(stderr=True), refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._bounds is not None and self._printed != self._bounds[0]:
            self._print_plain()

    def __call__(self, elapsed: float, upper: float, lower: float) -> None:
        """Take note of new certified bounds."""
        self._bounds = (elapsed, upper, lower)
        if self._live is None and (self._printed is None or elapsed - self._printed >= self._interval):
            self._print_plain()

    def __rich__(self) -> Text:
        line = self._line(time.perf_counter() - self._start)
        return Text(f"{line}  (Ctrl-C keeps the best so far)" if self._live is not None else line)

    def _print_plain(self) -> None:
        if self._bounds is not None and not self._quiet:
            self._printed = self._bounds[0]
            print(self._line(self._bounds[0]), file=sys.stderr, flush=True)

    def _line(self, elapsed: float) -> str:
        start = f"{self._label}{elapsed:7.1f} s"
        if self._bounds is None:
            return f"{start}  no bounds yet"
        _, upper, lower = self._bounds
        gap = (upper - lower) / abs(upper) if upper else math.inf
        return f"{start}  upper {upper:.8f}  lower {lower:.8f}  gap {gap:.1e}"


def make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> Table:
    """A table whose first `left` columns hold words and the others numbers."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    return table


def percent(fraction: float) -> str:
    """0.9474 as ``94.7 %``."""
    return f"{100 * fraction:.1f} %"
