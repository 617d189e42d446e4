"""What runs inside a worker process: one backend, case after case, each answered with a row.

A worker is a fresh interpreter (see `cvxrobust.core.solving.isolation` for why). It talks in lines of JSON: cases on
standard input, events on standard output. It says "ready" once its backend is made and warm; only then does anybody's
clock start.
"""

import contextlib
import ctypes
import gc
import json
import os
import platform
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Any

from cvxrobust.bench.harness.results.rows import Failure, Row, failed_row, row_of_result
from cvxrobust.bench.harness.results.store import to_line
from cvxrobust.bench.harness.suite.cases import BackendSpec, Case

WARM_UP_TOLERANCE = 1e-2
WARM_UP_FAMILIES = ("standard-sdp", "adversarial-sdp", "convex-relu", "adversarial-relu")

PEAK = "peak-memory"
"""The metric that only a worker can take well: the mark is set anew before each of its cases."""


@dataclass
class Worker:
    """Answers cases until the other side hangs up.

    Args:
        spec: The competitor.
        threads: Threads of solvers and BLAS.
        folder: Where data sets lie.
        say: Sends an event.
    """

    spec: BackendSpec
    threads: int
    folder: str | None
    say: Callable[[Mapping[str, Any]], None]
    served: int = 0
    warmed: Mapping[str, Any] | None = None

    def prepare(self, seconds: float) -> None:
        """Import the solver and make the backend; then let it solve something tiny of each kind that it reads.

        Args:
            seconds: For the warm-up; 0 for none.
        """
        from cvxrobust.core.discovery.registry import get_backend

        complaint = ""
        try:
            get_backend(self.spec.name)
        except BaseException as error:  # whatever it is, the first case will say it as a row
            complaint, seconds = f"{type(error).__name__}: {error}", 0.0
        self.say({"event": "imported"})
        began = time.perf_counter()
        if seconds:
            complaint = warm_up(self.spec, self.threads, seconds)
        self.warmed = {"seconds": round(time.perf_counter() - began, 3), "complaint": complaint}
        self.say({"event": "ready"})

    def answer(self, key: str, case: Case) -> None:
        """Run a case and send its row."""
        began: dict[str, Any] = {}

        def begin() -> None:
            began["resident"] = resident_memory()
            self.say({"event": "begun"})

        row = run_case(key, case, self.folder, begin)
        where = {"host": platform.node(), "pid": os.getpid(), "threads": self.threads, "pools": thread_pools()}
        where |= {"served": self.served, "warm_up": self.warmed} | began
        self.served += 1
        cold = str((self.warmed or {}).get("complaint", ""))
        complaints = (*([f"not warmed up: {cold}"] if cold else []), *row.complaints)
        row = replace(row, worker=where, complaints=complaints).without_secrets(case)
        self.say({"event": "row", "row": row.to_dict()})


def run_case(key: str, case: Case, folder: str | None = None, begin: Callable[[], object] = lambda: None) -> Row:
    """Solve one case here and now; whatever goes wrong is a row, too.

    Args:
        key: Its key.
        case: The case.
        folder: Where data sets lie.
        begin: Called when the problem is made, just before it is solved.
    """
    from cvxrobust.core.errors import BackendUnavailableError, CvxRobustError, LicenceError, UnsupportedProgramError

    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        row = _solved(key, case, folder, begin)
    except LicenceError as error:
        row = failed_row(key, case, Failure.LICENCE, str(error))
    except BackendUnavailableError as error:
        row = failed_row(key, case, Failure.UNAVAILABLE, str(error))
    except UnsupportedProgramError as error:
        row = failed_row(key, case, Failure.REFUSED, str(error))
    except MemoryError as error:
        row = failed_row(key, case, Failure.MEMORY, f"MemoryError: {error}")
    except CvxRobustError as error:
        row = failed_row(key, case, Failure.ERROR, str(error))
    except Exception as error:
        row = failed_row(key, case, Failure.ERROR, f"{type(error).__name__}: {error}")
    except BaseException as error:  # a solver's panic, or one that calls exit
        row = failed_row(key, case, Failure.CRASHED, f"{type(error).__name__}: {error}")
    return replace(row, started=started)


def _solved(key: str, case: Case, folder: str | None, begin: Callable[[], object]) -> Row:
    from cvxrobust.core.contracts.problem import RobustProblem
    from cvxrobust.core.discovery.measurement import measure
    from cvxrobust.core.errors import InputError, UnsupportedProgramError
    from cvxrobust.core.solving.solve import solve

    spec = case.backend
    if (here := case.key(folder)) != key:
        raise InputError(
            f"this case has the key {here} on {platform.node()} and {key} where the run was started: the data, or the "
            "versions of cvxrobust or of the solver, differ."
        )
    problem = case.problem.make(folder)
    if not isinstance(problem, RobustProblem) and (spec.method == "cutting-set" or spec.polish):
        raise UnsupportedProgramError(f"{case.problem.family} offers no exact worst case, so no masters can be made.")
    release_memory()
    reset_peak_memory()
    begin()
    result = solve(problem, spec.name, spec.method, case.settings, polish=spec.polish)
    peak = own_peak_memory()
    row = row_of_result(key, case, result, measure(result))
    if peak and PEAK in row.metrics:
        child = 0 if result.solution is None else result.solution.peak_memory
        row = replace(row, metrics={**row.metrics, PEAK: float(max(peak, child))})
    return row


def warm_up(spec: BackendSpec, threads: int, seconds: float) -> str:
    """Solve something tiny of each kind that a backend reads; returns what went wrong, if anything did."""
    from cvxrobust.core.contracts.problem import RobustProblem
    from cvxrobust.core.discovery.examples import CASES
    from cvxrobust.core.discovery.registry import get_backend
    from cvxrobust.core.settings import Settings
    from cvxrobust.core.solving.plan import reads
    from cvxrobust.core.solving.solve import solve

    complaints = []
    deadline = time.perf_counter() + seconds
    try:
        backend = get_backend(spec.name)
        if (reason := backend.unavailable()) is not None:
            return reason
        for family in WARM_UP_FAMILIES:
            problem = next(case for case in CASES if case.family == family).problem()
            robust, left = isinstance(problem, RobustProblem), deadline - time.perf_counter()
            if left <= 0 or not reads(backend, problem):
                continue
            settings = Settings(
                WARM_UP_TOLERANCE, None, left, threads, device=spec.device, dtype=spec.dtype, options=spec.options
            )
            solve(problem, spec.name, spec.method if robust else "auto", settings, polish=spec.polish and robust)
    except BaseException as error:
        complaints.append(f"{type(error).__name__}: {error}")
    return "; ".join(complaints)


def reset_peak_memory() -> None:
    """Make the high-water mark of resident memory start anew; without this Linux keeps the process's highest ever."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def own_peak_memory() -> int:
    """High-water mark of this process's resident memory since `reset_peak_memory`, in bytes; 0 where unknown.

    Not from ``getrusage``, whose mark nothing resets and which starts with that of the process that started this one.
    """
    return _status("VmHWM")


def resident_memory() -> int:
    """Resident memory of this process now, in bytes; 0 where unknown."""
    return _status("VmRSS")


def _status(name: str) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/status") as status:
        return next((int(line.split()[1]) * 1024 for line in status if line.startswith(name)), 0)
    return 0


def release_memory() -> None:
    """Hand what earlier cases left behind back to the system, so that it does not count against the next one."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def thread_pools() -> dict[str, int]:
    """Threads of every numerical library that is loaded, as it says itself."""
    from threadpoolctl import threadpool_info

    return {f"{pool['prefix']} {pool['version'] or ''}".strip(): int(pool["num_threads"]) for pool in threadpool_info()}


def main() -> None:
    """Run a worker on standard input and output; what its process runs."""
    with os.fdopen(os.dup(0), "rb") as source, os.fdopen(os.dup(1), "wb") as sink:
        # Nothing that a solver prints or reads may disturb the talk.
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        hello = json.loads(source.readline())
        _die_with(hello["supervisor"])
        inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        busy = threading.Event()
        busy.set()
        threading.Thread(target=_listen, args=(source, inbox, busy), daemon=True).start()

        def say(event: Mapping[str, Any]) -> None:
            sink.write(to_line(event).encode() + b"\n")
            sink.flush()

        worker = Worker(BackendSpec.from_dict(hello["backend"]), hello["threads"], hello["folder"], say)
        worker.prepare(hello["warm_up"])
        while True:
            busy.clear()
            request = inbox.get()
            if request is None:
                return
            busy.set()
            worker.answer(request["key"], Case.from_dict(request["case"]))


def _listen(source: IO[bytes], inbox: "queue.SimpleQueue[Any]", busy: threading.Event) -> None:
    """Pass requests on. Nobody waits for the work of a supervisor that is gone."""
    for line in source:
        inbox.put(json.loads(line))
    inbox.put(None)
    if busy.is_set():
        os._exit(1)


def _die_with(supervisor: int) -> None:
    """Ask Linux to end this process with its supervisor, even while a solver holds Python and nobody can listen."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != supervisor:
        os._exit(1)
