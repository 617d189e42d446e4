"""Ctrl-C during a solve: stop the solver and keep its iterate, instead of losing both to an exception."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cvxrobust.core.contracts.backend import Monitor


@contextmanager
def sigint_stops(monitor: Monitor) -> Iterator[None]:
    """Make the first Ctrl-C call ``monitor.stop()``; a second one raises KeyboardInterrupt as usual.

    Native solvers swallow exceptions raised inside their callbacks, KeyboardInterrupt among them, so an
    exception cannot stop them; a flag that they look at can. Does nothing outside the main thread, where
    Python delivers no signals, nor where somebody has installed a handler of their own.

    Args:
        monitor: The monitor that the solver heeds.
    """
    ours_to_take = threading.current_thread() is threading.main_thread() and (
        signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not ours_to_take:
        yield
        return

    def stop(signum: int, frame: FrameType | None) -> None:
        if monitor.stopped:
            signal.default_int_handler(signum, frame)
        monitor.stop()

    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
