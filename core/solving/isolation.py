"""Running a backend in a process of its own, so that it can be stopped whatever it is doing.

Solvers look at time limits and interrupts between iterations, but not while they set a large programme up: Clarabel
held Python for 15 of 23 seconds at n = 150, d = 30 (direct form, a limit of 15 s), and minutes at n = 455. So large
programmes are solved in a child: first asked to stop, with SIGINT, then killed after a moment of grace.

The child is a fresh interpreter, not a fork: forking a process whose BLAS runs threads can deadlock, and
multiprocessing would run the caller's script again where it lacks a ``__main__`` guard.
"""

import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import IO, Any

from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.environment import peak_memory
from cvxrobust.core.errors import portable
from cvxrobust.core.settings import Settings
from cvxrobust.core.strangers import described, worded

GRACE = 5.0
"""Seconds that a solver may take to stop by itself after Ctrl-C."""

LATE = (0.5, 0.03)
"""Seconds, or share of its time if that is more, that it may take beyond its time limit; then it is killed. Its caller
is to be back within a second, or within a twentieth."""

OWN_SHARE = 0.92
"""Of the time that is left a child is told to take so much: its iterate has to be sent back, too."""

POLL = 0.05

HEADER = struct.Struct("!cq")
"""Of a message of the child: its kind, and how long it is."""

REPORT = struct.Struct("!ddq")
"""What its solver reports: bounds, and iterations or -1. An iterate stays where it is."""

REPORTED, ANSWERED = b"r", b"a"

CHILD = "from cvxrobust.core.solving.isolation import serve; serve()"
"""Not ``-m``, which would run a second copy of this module beside the one that the package imports."""


Reports = SimpleQueue[tuple[float, float, int]]


def solve_isolated(
    backend: str, program: Any, settings: Settings, monitor: Monitor, warm: Solution | None = None
) -> Solution:
    """What ``get_backend(backend).solve(program, settings)`` returns, from a child process that can be killed.

    Args:
        backend: A registered name, with its variant if it has one.
        program: The programme; it is sent by pickle.
        settings: How to solve.
        monitor: Says when to stop.
        warm: A solution to start from, for backends that can.

    Raises:
        Exception: Whatever the backend raised.
    """
    began, limit = time.perf_counter(), monitor.remaining
    if limit is not None:
        own = OWN_SHARE * min(limit, settings.time_limit or limit)
        settings = settings.replace(time_limit=max(own, 1e-3))
    late = min(GRACE, max(LATE[0], LATE[1] * (limit or 0.0)))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        # The terminal's Ctrl-C reaches the parent alone, which then decides.
        start_new_session=True,
    )
    with child:
        request = pickle.dumps((backend, program, settings, warm))
        answers: list[bytes] = []
        reports: Reports = SimpleQueue()
        talk = threading.Thread(target=_talk, args=(child, request, answers, reports), daemon=True)
        talk.start()
        try:
            killed = _watch(talk, child, monitor, late, reports)
        except BaseException:
            child.kill()
            raise
    if answers and answers[0]:
        kind, value = _read(answers[0])
        if kind == "raised":
            raise value
        return value if isinstance(value, Solution) else Solution(Termination.ERROR, message=worded(value))
    if killed is not None:
        waited = time.perf_counter() - began
        message = f"{backend} did not stop when it was asked to and was killed after {waited:.1f} s"
        return Solution(killed, message=message)
    if monitor.stopped and child.returncode == -signal.SIGINT:
        return Solution(Termination.INTERRUPTED, message=f"{backend}'s process was stopped before it had begun")
    died = Termination.KILLED if child.returncode < 0 else Termination.ERROR
    return Solution(died, message=f"{backend}'s process ended with status {child.returncode} and without an answer")


def _read(answer: bytes) -> tuple[str, Any]:
    try:
        kind, value = pickle.loads(answer)
    except Exception as error:  # what multipliers of strangers do when they are read
        return "unreadable", f"the answer of its process cannot be read: {described(error)}"
    return kind, value


def _talk(child: "subprocess.Popen[bytes]", request: bytes, answers: list[bytes], reports: Reports) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    # A child may die, or be killed, before it has read, or written, everything; its status says how.
    with suppress(BrokenPipeError, ValueError, OSError):
        with suppress(BrokenPipeError):
            child.stdin.write(request)
        child.stdin.close()
        while len(header := child.stdout.read(HEADER.size)) == HEADER.size:
            kind, size = HEADER.unpack(header)
            body = child.stdout.read(size)
            if len(body) < size:
                break
            if kind == REPORTED:
                reports.put(REPORT.unpack(body))
            else:
                answers.append(body)
    child.wait()


def _pass_on(reports: Reports, monitor: Monitor) -> None:
    """Tell the monitor what the child's solver has reported meanwhile."""
    with suppress(Empty):
        while True:
            upper, lower, iteration = reports.get_nowait()
            monitor.report(upper, lower, iteration=None if iteration < 0 else iteration)


def _watch(
    talk: threading.Thread, child: "subprocess.Popen[bytes]", monitor: Monitor, late: float, reports: Reports
) -> Termination | None:
    """Wait for the answer; ask, then force, the child to stop when the monitor says so."""
    asked: float | None = None
    while talk.is_alive():
        talk.join(POLL)
        _pass_on(reports, monitor)
        if not monitor.should_stop:
            continue
        now = time.perf_counter()
        if asked is None:
            asked = now
            if monitor.stopped:
                child.send_signal(signal.SIGINT)
        elif now - asked > (GRACE if monitor.stopped and not monitor.expired else late):
            child.kill()
            talk.join()
            return Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT
    _pass_on(reports, monitor)
    return None


def _serve(source: IO[bytes], sink: IO[bytes]) -> None:
    from cvxrobust.core.discovery.registry import get_backend
    from cvxrobust.core.kit.calls import call_backend
    from cvxrobust.core.kit.interrupt import sigint_stops
    from cvxrobust.core.kit.threads import blas_threads
    from cvxrobust.core.solving.judging.sanitize import asked

    name, program, settings, warm = pickle.loads(source.read())
    backend = get_backend(name)
    monitor = Monitor()
    monitor.hear = _telling(sink, monitor)
    try:
        with sigint_stops(monitor), blas_threads(settings.threads):
            found = asked(backend, lambda: call_backend(backend, program, settings, monitor, warm), program, settings)
        answer: tuple[str, Any] = ("returned", replace(found, peak_memory=peak_memory()))
    except Exception as error:
        answer = ("raised", portable(error))
    _send(sink, ANSWERED, pickle.dumps(answer))


def _send(sink: IO[bytes], kind: bytes, body: bytes) -> None:
    sink.write(HEADER.pack(kind, len(body)) + body)
    sink.flush()


def _telling(sink: IO[bytes], monitor: Monitor) -> Callable[[Any, Any, Any], bool]:
    """Hears what a solver reports, for the parent, where its bounds are numbers."""

    def hear(upper: Any, lower: Any, iterate: Any = None) -> bool:
        try:
            said = REPORT.pack(upper, lower, -1 if monitor.iteration is None else monitor.iteration)
        except (struct.error, TypeError, ValueError, OverflowError):
            return False
        _send(sink, REPORTED, said)
        return True

    return hear


def serve() -> None:
    """Answer one request on standard input; what the child process runs."""
    # Solvers print to standard output; the answer must have it to itself.
    with os.fdopen(os.dup(1), "wb") as sink:
        try:
            os.dup2(2, 1)
        except OSError:  # there is no standard error
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _serve(sys.stdin.buffer, sink)
