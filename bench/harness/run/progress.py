"""How a run gets on: what is finished, what is running and how long the rest may take."""

import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from types import TracebackType
from typing import Protocol, Self

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cvxrobust.bench.display import console, is_terminal, remark
from cvxrobust.bench.harness.results.rows import Row, Verdict
from cvxrobust.bench.harness.suite.cases import Case
from cvxrobust.core.strangers import visible


class Listener(Protocol):
    """Hears how a run gets on."""

    def began(self, case: Case) -> None:
        """A case begins; may be called from any thread."""
        ...

    def ended(self, row: Row) -> None:
        """A case has its row."""
        ...


class RunProgress:
    """Progress on stderr: live on a terminal, elsewhere a plain line when a case begins and when it ends.

    Args:
        cases: What is to be run.
        finished: How many cases of the suite were finished before.
        jobs: Cases at a time.
        quiet: Show nothing.
    """

    def __init__(self, cases: Iterable[Case], finished: int = 0, jobs: int = 1, quiet: bool = False) -> None:
        self._left = Counter(case.backend.title for case in cases)
        self._total, self._finished = finished + self._left.total(), finished
        self._jobs, self._quiet = jobs, quiet
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        self._running: dict[str, float] = {}
        self._verdicts: Counter[Verdict] = Counter()
        self._lock = threading.RLock()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if not self._quiet and is_terminal(sys.stderr):
            self._live = Live(self, console=console(stderr=True), refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def began(self, case: Case) -> None:
        """A case begins."""
        with self._lock:
            self._running[str(case)] = time.perf_counter()
            if self._live is None:
                self._print(f"running     {case}")

    def ended(self, row: Row) -> None:
        """A case has its row."""
        with self._lock:
            self._running.pop(str(Case.from_dict(row.case)), None)
            self._left[row.backend] -= 1
            self._finished += 1
            self._seconds[row.backend].append(row.seconds)
            self._verdicts[row.verdict] += 1
            line = f"{row.verdict:<11} {row.problem} | {row.backend}: {_outcome(row)}"
            if self._live is None:
                self._print(f"{line}{self._remaining(', ')}")
            elif row.verdict is Verdict.FAILED:
                self._live.console.print(Text(visible(line), style="red"), overflow="ellipsis", no_wrap=True)

    @property
    def remaining_seconds(self) -> float | None:
        """Seconds that the rest may take, as each backend took so far; None before the first row."""
        with self._lock:
            known = [second for seconds in self._seconds.values() for second in seconds]
            if not known:
                return None
            usual = sum(known) / len(known)
            means = {title: sum(seconds) / len(seconds) for title, seconds in self._seconds.items()}
            return sum(count * means.get(title, usual) for title, count in self._left.items()) / self._jobs

    def __rich__(self) -> Group:
        with self._lock:
            counts = ", ".join(f"{count} {verdict}" for verdict, count in self._verdicts.items())
            top = Table.grid(padding=(0, 1))
            done = f"{self._finished}/{self._total}"
            top.add_row(ProgressBar(self._total, self._finished, width=30), done, counts, self._remaining(""))
            now = time.perf_counter()
            running = [Text(f"{now - since:7.1f} s  {name}") for name, since in self._running.items()]
            return Group(top, *running, Text("Ctrl-C stops; what is finished is kept", style="dim"))

    def _print(self, line: str) -> None:
        if not self._quiet:
            remark(f"{self._finished:>4}/{self._total} {line}")

    def _remaining(self, before: str) -> str:
        seconds = self.remaining_seconds
        return "" if seconds is None or not self._left.total() else f"{before}about {_duration(seconds)} left"


def _outcome(row: Row) -> str:
    if row.verdict is Verdict.FAILED:
        return f"{row.failure} ({row.reason})"
    return f"gap {row.relative_gap:.1e} in {row.metrics.get('wall') or row.seconds:.2f} s"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
