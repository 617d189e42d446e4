"""Where lines go: to the logger ``cvxrobust``, to a notebook's cell, or to standard error.

Whoever has configured logging has the lines there, and nowhere else: records of the logger ``cvxrobust``, level INFO.
A level that is set on that very logger counts, and so do handlers' levels; a level of loggers above it, which was meant
for others, does not keep back what was asked for by ``verbose=True``. Where no handler is found, a notebook shows them
in place under the running cell, and everything else has them on standard error. No state of `logging` is changed.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from typing import Any

from cvxrobust.core.solving.reporting.lines import Line, Say
from cvxrobust.core.summary import Summary, gap_bar

LOGGER = logging.getLogger("cvxrobust")

SHOWN = 8
"""Lines that a notebook shows; the others are above them, scrolled out of sight."""

INTERVAL = 0.1
"""Least seconds between two changes of what a notebook shows."""


@contextmanager
def saying(verbose: bool) -> Iterator[Say | None]:
    """Take lines as long as the block lasts; None where nobody wants any."""
    if not verbose:
        yield None
        return
    cell = None if LOGGER.hasHandlers() else notebook_cell()
    try:
        yield log if LOGGER.hasHandlers() else print_line if cell is None else cell
    finally:
        if cell is not None:
            cell.show()


def log(line: Line) -> None:
    """Say a line to whoever listens to the logger."""
    silenced = LOGGER.manager.disable >= logging.INFO
    if silenced or not (LOGGER.level == logging.NOTSET or LOGGER.isEnabledFor(logging.INFO)):
        return
    record = LOGGER.makeRecord(LOGGER.name, logging.INFO, __file__, 0, line.text, (), None, extra={"line": line})
    with suppress(Exception):  # a handler of others is no reason for a solve to end
        LOGGER.handle(record)


def print_line(line: Line) -> None:
    """Say a line on standard error, if there is one."""
    with suppress(OSError, ValueError, AttributeError):
        print(line.text, file=sys.stderr, flush=True)


class NotebookCell:
    """The gap so far as a bar, and the last lines, shown in place under a running cell.

    Args:
        display: `IPython.display` (what is shown is an object of its own that knows its HTML).
    """

    def __init__(self, display: Any) -> None:
        self._display, self._handle, self._shown = display, None, -INTERVAL
        self._lines: deque[str] = deque(maxlen=SHOWN)
        self._last: Line | None = None

    def __call__(self, line: Line) -> None:
        """Take a line; it is shown unless the last change was a moment ago."""
        self._lines.append(line.text)
        self._last = line if line.whole or self._last is None else self._last
        if time.perf_counter() - self._shown >= INTERVAL:
            self.show()

    def show(self) -> None:
        """Show what there is now."""
        if self._last is None:
            return
        self._shown = time.perf_counter()
        with suppress(Exception):  # whoever shows it may be gone
            if self._handle is None:
                self._handle = self._display.display(self, display_id=True)
            else:
                self._handle.update(self)

    def __repr__(self) -> str:
        return "" if self._last is None else self._last.text

    def _repr_html_(self) -> str:
        gap = float("inf") if self._last is None else self._last.gap
        lines = escape("\n".join(self._lines))
        style = "margin:0.2em 0;padding:0;background:transparent;color:inherit;font-size:0.85em;line-height:1.35"
        top = Summary("cvxrobust", facts=(("relative gap", gap_bar(gap)),)).html
        return f'{top}<pre style="{style}">{lines}</pre>'


def notebook_cell() -> NotebookCell | None:
    """A cell of the notebook that this process serves; None where it serves none, or nobody has imported IPython."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from importlib import import_module

    return NotebookCell(import_module("IPython.display"))
