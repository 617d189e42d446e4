"""What the command line shows: progress while solving, tables afterwards, one line when something is
wrong."""

import errno
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cvxrobust.bench.streams import OutputLostError, output, reserved
from cvxrobust.core.errors import CvxRobustError, WriteError
from cvxrobust.core.secrets import cleaned, presentable
from cvxrobust.core.strangers import described, visible, worded

EXIT_UNUSABLE = 1
EXIT_INPUT = 2
EXIT_REGRESSION = 3
"""A benchmark got worse, or its certificates contradict each other."""

EXIT_UNEXPECTED = 70
"""A defect of ours; the number is the one that BSD's sysexits has for that."""

EXIT_FULL = 74
"""Nothing more can be written to standard output or to a disk; again sysexits' number."""

EXIT_INTERRUPTED = 130

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says of a disk that takes no more."""

DEBUG_VARIABLE = "CVXROBUST_DEBUG"
_PLAIN_WIDTH = 160
"""Columns assumed for files and pipes, where rich would assume 80 and cut tables."""


def console(stderr: bool = False) -> Console:
    """A console for results (or for remarks, on stderr), wide enough for tables when it is not a terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if is_terminal(stream) else _PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, soft_wrap=width is not None)


def is_terminal(stream: Any) -> bool:
    """Whether somebody sees what is written to a stream, which may be closed, or none."""
    try:
        return stream is not None and bool(stream.isatty())
    except (ValueError, OSError):
        return False


def remark(line: str) -> None:
    """Print a line on stderr, if there is one."""
    if sys.stderr is not None:
        with suppress(OSError, ValueError):
            print(presentable(line), file=sys.stderr, flush=True)


def spreadsheet_cell(text: str) -> str:
    """A text for a CSV file that no spreadsheet takes for a formula: an apostrophe stands before what it would run."""
    seen = visible(text)
    return f"'{seen}" if seen.lstrip()[:1] in ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20") else seen


def fail(message: object, code: int) -> typer.Exit:
    """Print one line on stderr, without credentials, and return the exception that ends the command with `code`."""
    line = " ".join(worded(message).split())
    remark(f"cvxrobust: error: {line}")
    return typer.Exit(code)


@contextmanager
def clean_errors(as_json: bool = False) -> Iterator[None]:
    """Turn every exception into one line and an exit code; ``CVXROBUST_DEBUG=1`` shows the traceback.

    Args:
        as_json: Whether standard output is for `print_json` alone, whatever plugins and solvers print.
    """
    try:
        with reserved(as_json):
            yield
    except (typer.Exit, BrokenPipeError, OutputLostError):
        raise
    except WriteError as error:
        raise fail(error, EXIT_FULL) from error
    except CvxRobustError as error:
        raise fail(error, EXIT_INPUT) from error
    except KeyboardInterrupt as error:
        raise fail("interrupted before there was a result.", EXIT_INTERRUPTED) from error
    except SystemExit as error:
        # Nobody here calls it.
        said = (
            f"a plugin or a solver called sys.exit ({described(error)}); `cvxrobust plugins list` says what there is."
        )
        raise fail(said, EXIT_INPUT) from error
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        if isinstance(error, OSError) and error.errno in FULL:
            raise fail(f"nothing more can be written: {error}.", EXIT_FULL) from error
        raise fail(
            f"unexpected {described(error)}. This is a defect of this package; set {DEBUG_VARIABLE}=1 to see where.",
            EXIT_UNEXPECTED,
        ) from error


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout; what JSON has no number for (infinities, NaN) becomes null.

    Addresses in it lose their credentials.
    """
    print(to_json(cleaned(content)), file=output(), flush=True)


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
        if not self._quiet and is_terminal(sys.stderr):
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
            remark(self._line(self._bounds[0]))

    def _line(self, elapsed: float) -> str:
        start = f"{self._label}{elapsed:7.1f} s"
        if self._bounds is None:
            return f"{start}  no bounds yet"
        _, upper, lower = self._bounds
        gap = (upper - lower) / abs(upper) if upper else math.inf
        return f"{start}  upper {upper:.8f}  lower {lower:.8f}  gap {gap:.1e}"


def make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], left: int = 1) -> Table:
    """A table whose first `left` columns hold words and the others numbers."""
    table = Table(title=_plain(title), title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(_plain(column), justify="left" if index < left else "right")
    for row in rows:
        table.add_row(*map(_plain, row))
    return table


def _plain(cell: object) -> Text:
    """Words of others as they are: no markup of a console's is read in them."""
    return Text(presentable(worded(cell)))


def percent(fraction: float) -> str:
    """0.9474 as ``94.7 %``."""
    return f"{100 * fraction:.1f} %"
