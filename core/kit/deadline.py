"""When a solve has to end: somebody says so, or what is left of the time is needed for the last certificate."""

import time

from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination

SHARE = 0.25
"""Share of a time limit that may be kept back, at most: one iteration may say little of the next."""


class Deadline:
    """Watches a monitor, and keeps time back for what has to follow the last iteration.

    Args:
        monitor: Says when to stop.

    Attributes:
        reserve: Seconds that are still needed once it is time to stop: an iteration that cannot be broken off, the
            backend's last certificate, that of whoever does not trust it. Whoever iterates sets it as he learns it.
    """

    def __init__(self, monitor: Monitor) -> None:
        self.monitor, self.reserve = monitor, 0.0
        remaining = monitor.remaining
        self._most = 0.0 if remaining is None else SHARE * remaining

    @property
    def reason(self) -> Termination | None:
        """Why to stop now, if there is a reason."""
        if self.monitor.stopped:
            return Termination.INTERRUPTED
        until = self.monitor.deadline
        if until is None:
            return None
        late = time.perf_counter() >= until - min(self.reserve, self._most)
        return Termination.TIME_LIMIT if late else None
