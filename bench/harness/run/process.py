"""A worker process as its supervisor sees it: talked to, watched over and, if need be, killed with all its children."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import IO, Any

import psutil

from cvxrobust.bench.harness.results.rows import Failure
from cvxrobust.bench.harness.results.store import to_line
from cvxrobust.bench.harness.suite.cases import BackendSpec

POLL_SECONDS = 0.02
"""How often a working process is looked at."""

SWEEP_SECONDS = 0.25
"""How often its children are looked for, which takes longer."""

CHILD = "from cvxrobust.bench.harness.run.worker import main; main()"

THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip
"""Read by numerical libraries when they are loaded, so a process must be born with them."""

# Linux can end a process with the *thread* that started it, so one thread that never ends starts them all.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="starts-workers")


@dataclass(frozen=True)
class RunLimits:
    """Terms on which all cases of a run meet, beside what the cases say themselves.

    Args:
        threads: Threads of every solver.
        grace: Seconds after a case's time limit at which its process is killed.
        memory_limit: Bytes of resident memory, children included, at which it is killed; 0 for no limit.
        folder: Where data sets lie; None takes the environment variable ``CVXROBUST_DATA``.
    """

    threads: int = 1
    grace: float = 10.0
    memory_limit: int = 0
    folder: str | None = None


class Cancelled(Exception):
    """The run was stopped while a case was under way; there is no row of it."""


class Gone(Exception):
    """The process is of no more use."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure


@dataclass
class Process:
    """A worker process.

    Args:
        backend: Its competitor.
        terms: The terms.
        warm_up: Seconds for its warm-up; 0 for none.
        family: Its children, as last seen.
        complaints: Its standard error: where solvers panic, and Python says at which line it was when it died.
    """

    backend: BackendSpec
    terms: RunLimits
    warm_up: float
    family: set[psutil.Process] = field(default_factory=set)
    complaints: IO[bytes] = field(default_factory=tempfile.TemporaryFile)

    def __post_init__(self) -> None:
        self.process = _starter.submit(self._spawn).result()
        self.pid = self.process.pid
        self.inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        self.swept = 0.0
        hello = {"supervisor": os.getpid(), "backend": asdict(self.backend), "threads": self.terms.threads}
        with contextlib.suppress(Gone):  # whoever expects its first word will hear of it
            self.send(hello | {"folder": self.terms.folder, "warm_up": self.warm_up})

    def _spawn(self) -> "subprocess.Popen[bytes]":
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(self.terms.threads))
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        return subprocess.Popen(
            [sys.executable, "-X", "faulthandler", "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.complaints,
            env=environment,
            # The terminal's Ctrl-C reaches the coordinator alone; and the group can be killed as one.
            start_new_session=True,
        )

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def send(self, message: dict[str, Any]) -> None:
        """Tell it something.

        Raises:
            Gone: It has ended.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(to_line(message).encode() + b"\n")
            self.process.stdin.flush()
        except (OSError, ValueError) as error:
            raise self._ended() from error

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError, OSError), self.process.stdout as lines:  # killed in the middle of one
            for line in lines:
                self.inbox.put(json.loads(line))
        self.inbox.put(None)

    def expect(self, event: str, seconds: float, limit: str, stop: threading.Event, or_row: bool = False) -> Any:
        """The event, unless the process takes too long or too much, or ends.

        Args:
            event: Its name.
            seconds: Time for it.
            limit: What these seconds are, for the reason.
            stop: Gives up when set.
            or_row: A row may come instead; it is left for the next call.

        Raises:
            Gone: The process is of no more use; it may still have to be killed.
            Cancelled: `stop` was set.
        """
        deadline = time.perf_counter() + seconds
        while True:
            try:
                message = self.inbox.get(timeout=POLL_SECONDS)
            except queue.Empty:
                self._watch(deadline, limit, stop)
                continue
            if message is None:
                raise self._ended()
            if message["event"] == "row" and or_row:
                self.inbox.put(message)
                return message
            if message["event"] == event:
                return message

    def _watch(self, deadline: float, limit: str, stop: threading.Event) -> None:
        if stop.is_set():
            raise Cancelled
        now = time.perf_counter()
        if now > deadline:
            raise Gone(Failure.KILLED, f"still running {self.terms.grace:g} s after {limit}: killed")
        if now - self.swept > SWEEP_SECONDS:
            self.swept = now
            with contextlib.suppress(psutil.Error):
                self.family = {*psutil.Process(self.pid).children(recursive=True)}
        bound = self.terms.memory_limit
        if bound and (used := self._resident()) > bound:
            raise Gone(Failure.MEMORY, f"{used:,} bytes resident, above the limit of {bound:,}: killed")

    def _resident(self) -> int:
        used = 0
        with contextlib.suppress(psutil.Error):
            used = int(psutil.Process(self.pid).memory_info().rss)
            used += sum(int(member.memory_info().rss) for member in self.family)
        return used

    def _ended(self) -> Gone:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5.0)
        words = self._last_words()
        return Gone(Failure.CRASHED, f"its process ended with {_exit(self.process.returncode)}{words}")

    def _last_words(self) -> str:
        """What it complained about: the fatal error, or the last line."""
        self.complaints.seek(max(0, self.complaints.seek(0, os.SEEK_END) - 10_000))
        lines = [line for line in self.complaints.read().decode(errors="replace").splitlines() if line.strip()]
        fatal = [line for line in lines if "Fatal" in line or "panicked" in line]
        return f": {(fatal or lines)[-1].strip()[:300]}" if lines else ""

    def dismiss(self) -> None:
        """Hang up, and give it a moment to leave by itself."""
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2.0)
        self.kill()

    def kill(self) -> None:
        """Kill it, if it still lives, and everything that it started."""
        family = set(self.family)
        with contextlib.suppress(psutil.Error):
            head = psutil.Process(self.pid)
            head.suspend()  # so that it starts nothing more
            family |= {*head.children(recursive=True)}
        if self.alive:
            with contextlib.suppress(OSError, AttributeError):
                os.killpg(self.pid, signal.SIGKILL)
            self.process.kill()
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5.0)
        self.listener.join(5.0)
        for stream in (self.process.stdin, self.complaints):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


def _exit(code: int | None) -> str:
    if code is None:
        return "an unknown exit code"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
