"""Work in a child process that says what it finds as it goes, and can be ended at any moment.

Native code cannot be interrupted: the eigendecomposition of a matrix of order 5000 takes half a minute, whatever the
time. A process can be ended even so, and then what it had sent by then is kept. The child is a fork, which has the
problem and all imports already and starts in some hundredths of a second; a fresh interpreter needs seconds to import
PyTorch. What makes forking a process with threads safe here:

- The child never returns to the caller's code, and ends without any clean-up that belongs to its parent.
- OpenBLAS stops its threads before a fork and starts them again; PyTorch's OpenMP does not, so the child has one thread
  (as has every worker of PyTorch's own `DataLoader`).
- A GPU that the parent has touched is out of the child's reach: such calls are not made here (`can_fork`).
- Whatever a library's lock may do nonetheless, a child that hangs is ended in time, and costs its answer alone.

If the parent dies the child is ended as well, by an alarm that nothing can hold up.
"""

import os
import pickle
import select
import signal
import struct
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NoReturn

from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.errors import portable

Send = Callable[[str, Any], None]
"""Tells the parent something, under a name: the last of every name counts."""

POLL = 0.05
"""Seconds between two looks at the monitor, where the child says nothing."""

GRACE = 5.0
"""Seconds that a child may take to stop by itself after Ctrl-C."""

ALARM = 5.0
"""Seconds after the time at which its parent should have ended it, after which a child ends in any case."""

HEARD = ("bounds", "said")
"""Names of messages of which every one counts."""

HEADER = struct.Struct("!Bq")
"""Lengths of a name and of what is said."""

PIECE = 2**20


class NoChildError(Exception):
    """The system has no process to give."""


@dataclass
class Told:
    """What a child has told its parent.

    Args:
        latest: The last message of every name, pickled.
        signal: The signal that ended the child, if it was not its parent who sent it.
        ended: Whether its parent ended it.
    """

    latest: dict[str, bytes] = field(default_factory=dict)
    signal: int = 0
    ended: bool = False

    def get(self, name: str) -> Any:
        """The last message of a name; None if there was none, or it cannot be read: strangers may be in it."""
        try:
            return pickle.loads(self.latest[name]) if name in self.latest else None
        except Exception:
            return None


def can_fork(device: str) -> bool:
    """Whether a solve on a device, or on ``"auto"``, can go on in a fork of this process."""
    if sys.platform != "linux":
        return False  # macOS's own libraries do not survive it, and Windows has none
    torch = sys.modules.get("torch")
    return device == "cpu" or (device == "auto" and (torch is None or not torch.cuda.is_available()))


def run_in_child(
    work: Callable[[Send], None], monitor: Monitor, until: float, hear: Callable[[str, Any], object]
) -> Told:
    """Run something in a child, until it is done, dies, or has to be ended.

    Args:
        work: What to do there; it is given the means to tell its parent something. An exception is told as
            ``"raised"``, or, where it cannot be sent, one of ours that says the same.
        monitor: Where it is stopped (not: expired) the child receives SIGINT, and is ended `GRACE` later.
        until: ``time.perf_counter()`` value at which the child is ended.
        hear: Receives the name and the content of every message named in `HEARD`, at once.

    Raises:
        NoChildError: There can be no child.
    """
    source, sink = os.pipe()
    _flush()  # or the child would say it again
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python 3.12 and later warn of threads
            pid = os.fork()
    except OSError as error:
        os.close(source)
        os.close(sink)
        raise NoChildError(str(error)) from error
    if pid == 0:
        os.close(source)
        _be_the_child(work, sink, until + ALARM)
    os.close(sink)
    told = Told()
    try:
        told.ended = not _listen(source, pid, monitor, until, told, hear)
    finally:
        os.close(source)
        status = _reap(pid, 0.0 if told.ended or sys.exc_info()[0] is not None else GRACE)
    if not told.ended and os.WIFSIGNALED(status):
        told.signal = os.WTERMSIG(status)
    return told


def _be_the_child(work: Callable[[Send], None], sink: int, until: float) -> NoReturn:
    """Work, and end without touching anything that is the parent's."""
    try:
        os.setsid()  # the terminal's Ctrl-C reaches the parent alone, which then decides
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, max(until - time.perf_counter(), ALARM))
        if (torch := sys.modules.get("torch")) is not None:
            torch.set_num_threads(1)

        def send(name: str, said: Any) -> None:
            body = pickle.dumps(said)
            _write(sink, HEADER.pack(len(name), len(body)) + name.encode() + body)

        try:
            work(send)
            send("done", None)
        except BaseException as error:  # exits, too: nobody is to leave from here but at the end
            send("raised", portable(error))
        _flush()
    finally:
        os._exit(0)


def _flush() -> None:
    """Write out what was printed; streams may be closed, full, or no streams at all."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _write(sink: int, message: bytes) -> None:
    view = memoryview(message)
    while view:
        view = view[os.write(sink, view[:PIECE]) :]


def _listen(
    source: int, pid: int, monitor: Monitor, until: float, told: Told, hear: Callable[[str, Any], object]
) -> bool:
    """Take in what the child says; whether it ended by itself."""
    poll = select.poll()
    poll.register(source, select.POLLIN)
    unread, asked = bytearray(), False
    while True:
        now = time.perf_counter()
        if now >= until:
            return False
        if monitor.stopped and not asked:
            asked, until = True, min(until, now + GRACE)
            os.kill(pid, signal.SIGINT)
        if not poll.poll(1e3 * min(POLL, until - now)):
            # Another child may have inherited the other end, so that there is no end of file.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None and not poll.poll(0):
                return True
            continue
        piece = os.read(source, PIECE)
        if not piece:
            return True
        unread += piece
        for name, body in _messages(unread):
            told.latest[name] = body
            if name in HEARD:
                hear(name, pickle.loads(body))
            if name in ("done", "raised"):
                return True


def _messages(unread: bytearray) -> list[tuple[str, bytes]]:
    """Take the whole messages out of what was read."""
    found, start = [], 0
    while len(unread) - start >= HEADER.size:
        name, body = HEADER.unpack_from(unread, start)
        first = start + HEADER.size
        if len(unread) < first + name + body:
            break
        found.append((unread[first : first + name].decode(), bytes(unread[first + name : first + name + body])))
        start = first + name + body
    del unread[:start]
    return found


def _reap(pid: int, patience: float) -> int:
    """The status of the child, which is ended if it does not end by itself; what it started is ended, too."""
    until = time.perf_counter() + patience
    try:
        while time.perf_counter() < until:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return status
            time.sleep(0.001)
        for end in (os.kill, os.killpg):
            with suppress(ProcessLookupError):  # it may have no group of its own yet
                end(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]
    except ChildProcessError:
        return 0  # somebody else has asked for it: a caller that ignores SIGCHLD
