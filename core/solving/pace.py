"""When a way has had its chance: it makes way for the next if its own bounds say that it will not get there in time."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.solving.plan import Way, reports_bounds


@dataclass(frozen=True)
class PaceTuning:
    """How long a way has before the next one's turn."""

    coarse: float = 1e-3
    """Gap by which the pace of a way that hands over is judged."""

    patience: float = 4.0
    """Such a way makes way when it has taken this many times as long as it took to `coarse`, whatever its gap."""

    moment: float = 1.0
    """Seconds that it has in any case: a warm start may be at `coarse` at once."""

    first_share: float = 0.5
    """Share of the time that is left which a way has before its pace counts, as long as others are to come."""

    own_time: float = 1.5
    """A first-order method is looked at after this many times its estimate: where it has stalled, or where the next way
    would be there sooner, the next way has its turn. Interior points get on late, and by a known number of steps."""

    unhurried: float = 30.0
    """Seconds that it has without a time limit, at least."""

    late: float = 10.0
    """How many times its estimate it may take without a time limit."""


TUNING = PaceTuning()


class Pace:
    """Watches one way; `monitor` stops it when the next one's turn has come.

    It has a stop button of its own that the caller's also presses, because the caller's would stop the others, too.

    Args:
        caller: Says when all must end, and hears of bounds.
        way: The way.
        tolerance: Gap that it is to certify.
        followed: Whether another way is to come.
        other: Seconds that the quickest of those would take, if anybody knows.
    """

    def __init__(self, caller: Monitor, way: Way, tolerance: float, followed: bool, other: float = math.inf) -> None:
        self._caller, self._way, self._tolerance, self._other = caller, way, tolerance, other
        self._began = time.perf_counter()
        self._log: list[tuple[float, float]] = []
        self._makes_way_at = math.inf
        self._fired = False
        first_order = way.backend.capabilities.method == "first-order"
        self._stalls = first_order and way.estimate is not None and reports_bounds(way)
        self._allowance = self._granted() if followed else math.inf
        deadline = caller.deadline
        if not reports_bounds(way) and math.isfinite(self._allowance):
            # Nobody hears how it gets on, so it is told at once how long it has.
            deadline = min(math.inf if deadline is None else deadline, self._began + self._allowance)
        self.monitor = Monitor(deadline, self._hear, _Button(self))

    @property
    def overtaken(self) -> bool:
        """Whether the way was stopped although its caller did not ask for it."""
        return self._fired and not self._caller.stopped

    @property
    def stopped(self) -> bool:
        """Whether the way has to stop before its deadline."""
        self._fired = self._fired or self._over()
        return self._caller.stopped or self._fired

    def _granted(self) -> float:
        deadline, estimate = self._caller.deadline, self._way.estimate
        if deadline is not None:
            share = TUNING.first_share * (deadline - self._began)
            if not self._stalls or estimate is None:
                return share
            return min(share, max(TUNING.own_time * estimate.seconds, TUNING.moment))
        if estimate is None:
            return 2.0 * TUNING.unhurried
        return max(TUNING.unhurried, TUNING.late * estimate.seconds)

    def _over(self) -> bool:
        now = time.perf_counter()
        if now > self._makes_way_at:
            return True
        return now - self._began > self._allowance and (self._way.hands_over or not self._on_course(now))

    def _on_course(self, now: float) -> bool:
        """Whether the gap falls fast enough to be there in the time that is left, or in as long again."""
        spent, deadline = now - self._began, self._caller.deadline
        if not self._log:
            return False
        _, gap = self._log[-1]
        before = next((seen for when, seen in reversed(self._log) if when <= self._began + 0.5 * spent), math.inf)
        if not 0.0 < gap < before or not math.isfinite(before):
            return gap <= 0.0
        left = spent if deadline is None else deadline - now
        if self._stalls:
            left = min(left, self._other)
        needed = math.log(max(gap / self._tolerance, 1.0)) / math.log(before / gap) * 0.5 * spent
        return needed <= left

    def _hear(self, upper: float, lower: float, iterate: Callable[[], Solution] | None = None) -> bool:
        if not self._caller.report(upper, lower, iterate, iteration=self.monitor.iteration):
            return False  # what cannot be true says nothing about its pace either
        now, gap = time.perf_counter(), Certificate(upper, lower).relative_gap
        if not self._log or gap < self._log[-1][1]:
            self._log.append((now, gap))
        if self._way.hands_over and math.isinf(self._makes_way_at) and gap <= TUNING.coarse:
            self._makes_way_at = self._began + max(TUNING.patience * (now - self._began), TUNING.moment)
        return True


class _Button(threading.Event):
    """Pressed by hand, with the caller's, or when the way has had its chance."""

    def __init__(self, pace: Pace) -> None:
        super().__init__()
        self._pace = pace

    def is_set(self) -> bool:
        return super().is_set() or self._pace.stopped
