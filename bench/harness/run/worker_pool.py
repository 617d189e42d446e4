"""Worker processes and their supervisors: hand them cases, watch their time and memory, replace those that are gone."""

import json
import platform
import threading
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime

from cvxrobust.bench.harness.results.rows import Failure, Row, failed_row
from cvxrobust.bench.harness.run.process import Gone, Process, RunLimits
from cvxrobust.bench.harness.suite.cases import BackendSpec, Case

START_SECONDS = 180.0
"""Time for a worker to start, and again to make a problem; far more than it takes, so that only a hang meets it."""

WARM_UP_SECONDS = 30.0
"""Time for a warm-up. A backend that does not survive its own is started without one."""


class Supervisor:
    """Runs the cases of one backend in a process of its own, one after the other.

    Args:
        backend: The backend.
        terms: The terms.
        stop: Ends the case under way, and its process, when set.
    """

    def __init__(self, backend: BackendSpec, terms: RunLimits, stop: threading.Event | None = None) -> None:
        self.backend, self.terms = backend, terms
        self.stop = stop or threading.Event()
        self.pid: int | None = None
        self._process: Process | None = None
        self._warm_up = WARM_UP_SECONDS

    def run(self, key: str, case: Case) -> Row:
        """The row of one case. Starts a process if there is none; leaves it running for the next.

        Raises:
            Cancelled: `stop` was set.
        """
        started, began = datetime.now(UTC).isoformat(timespec="milliseconds"), time.perf_counter()
        try:
            process = self._begin(key, case)
            began = time.perf_counter()
            limit = f"its time limit of {case.time_limit:g} s"
            answer = process.expect("row", case.time_limit + self.terms.grace, limit, self.stop)
            row = Row.from_dict(answer["row"])
        except Gone as gone:
            where = {"host": platform.node(), "pid": self.pid, "threads": self.terms.threads}
            self._discard()
            row = failed_row(key, case, gone.failure, str(gone), worker=where, started=started)
            row = row.without_secrets(case)
        except BaseException:
            self._discard()
            raise
        # On a busy machine word of the beginning may come late.
        return replace(row, seconds=max(time.perf_counter() - began, row.metrics.get("wall") or 0.0))

    def close(self) -> None:
        """Let the process go."""
        if self._process is not None:
            self._process.dismiss()
            self._process = None

    def _begin(self, key: str, case: Case) -> "Process":
        """Hand the case over. A process that ended while it had nothing to do is replaced without a word."""
        for attempt in (1, 2):
            process = self._started()
            try:
                process.send({"key": key, "case": case.to_dict()})
                process.expect("begun", START_SECONDS, "the time to make the problem", self.stop, or_row=True)
            except Gone as gone:
                if attempt == 2 or gone.failure is not Failure.CRASHED:
                    raise
                self._discard()
            else:
                return process
        raise AssertionError("the second attempt returns or raises")

    def _started(self) -> "Process":
        if self._process is not None and self._process.alive:
            return self._process
        self._discard()
        try:
            return self._start()
        except Gone:
            if not self._warm_up:
                raise
        self._discard()
        self._warm_up = 0.0
        return self._start()

    def _start(self) -> "Process":
        process = self._process = Process(self.backend, self.terms, self._warm_up)
        self.pid = process.pid
        process.expect("imported", START_SECONDS, "the time to start", self.stop)
        process.expect("ready", self._warm_up + self.terms.grace, "the time to warm up", self.stop)
        return process

    def _discard(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None


class WorkerPool:
    """Supervisors of several backends, each lent to one case at a time; safe to use from several threads.

    Args:
        terms: The terms.
        stop: Ends everything under way when set.
    """

    def __init__(self, terms: RunLimits, stop: threading.Event | None = None) -> None:
        self._terms, self._stop = terms, stop
        self._idle: dict[str, list[Supervisor]] = {}
        self._lock = threading.Lock()

    def run(self, key: str, case: Case) -> Row:
        """The row of one case, from an idle process of its backend or from a new one.

        Raises:
            Cancelled: `stop` was set.
        """
        name = json.dumps(asdict(case.backend), sort_keys=True, default=str)
        with self._lock:
            idle = self._idle.setdefault(name, [])
            supervisor = idle.pop() if idle else Supervisor(case.backend, self._terms, self._stop)
        row = supervisor.run(key, case)
        with self._lock:
            idle.append(supervisor)
        return row

    def close(self) -> None:
        """Let the idle processes go."""
        with self._lock:
            for idle in self._idle.values():
                while idle:
                    idle.pop().close()
