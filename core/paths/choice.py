"""Which way the next point is solved: by what the points before it have cost, warm and cold; neither is a creed.

What a start is worth depends on backend and data. Interior points want to be far from the boundary where a solution of
a neighbour lies, and may lose by it; first-order methods gain a third. And ``backend="auto"`` orders backends by
estimates that are made for one solve, whereas a path can look. So each way, a backend from a start or from nothing, is
tried early on a point that has to be solved anyway, and whichever has been cheapest, in CPU seconds, has the next one.
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.plan import make_plan


@dataclass(frozen=True)
class ChoiceTuning:
    """How ways are compared."""

    recent: float = 0.3
    """Weight of the last point in a way's mean cost."""

    hopeless: float = 10.0
    """A backend is not even tried if it says it would cost this many times as much as the one that promises most."""

    overtime: float = 2.0
    """A trial may take this many times as long as the best way would, and half a second; then that has its turn."""

    again: int = 15
    """Points after which a way that was not much dearer is tried once more, because points differ."""

    near: float = 1.6
    """How many times as dear is not much dearer."""


TUNING = ChoiceTuning()


@dataclass
class PathWay:
    """A backend with or without a start.

    Args:
        backend: As `solve` takes it.
        warm: Whether it starts from a neighbour.
        cost: Mean CPU seconds of recent points; NaN before the first.
        wall: The same of the clock.
        waited: Points since it was last gone.
    """

    backend: str | Backend
    warm: bool
    cost: float = math.nan
    wall: float = math.nan
    waited: int = field(default=0)

    @property
    def tried(self) -> bool:
        """Whether anything is known of it."""
        return not math.isnan(self.cost)

    def note(self, seconds: float, wall: float) -> None:
        """Take in what a point has cost."""
        share = TUNING.recent if self.tried else 1.0
        before = (self.cost, self.wall) if self.tried else (0.0, 0.0)
        self.cost = (1.0 - share) * before[0] + share * seconds
        self.wall = (1.0 - share) * before[1] + share * wall


class Choice:
    """The ways of a path, and which is next.

    Args:
        ways: In the order in which they are tried; the first is from nothing.
    """

    def __init__(self, ways: Sequence[PathWay]) -> None:
        self.ways = list(ways)

    def next(self, *, can_start: bool) -> PathWay:
        """The way for the next point.

        Args:
            can_start: Whether there is a network to start from.
        """
        able = [way for way in self.ways if can_start or not way.warm]
        for way in able:
            way.waited += 1
        chosen = self._next(able)
        chosen.waited = 0
        return chosen

    def _next(self, able: list[PathWay]) -> PathWay:
        untried = next((way for way in able if not way.tried), None)
        if untried is not None:
            return untried
        best = min(able, key=lambda way: way.cost)
        doubtful = [way for way in able if way.waited > TUNING.again and way.cost <= TUNING.near * best.cost]
        return min(doubtful, key=lambda way: way.cost, default=best)

    def others(self, failed: PathWay) -> list[PathWay]:
        """Who goes on where a way fell short: the other backends, from what it found, the cheapest first."""
        rest = [way for way in self.ways if way.warm and way.backend != failed.backend]
        return sorted(rest, key=lambda way: way.cost if way.tried else math.inf)

    def trial_seconds(self, way: PathWay) -> float | None:
        """How long a way may take that has not been tried, by the clock; None for no limit."""
        known = [other.wall for other in self.ways if other.tried]
        return None if way.tried or not known else TUNING.overtime * min(known) + 0.5


def path_ways(problem: Problem[N], backend: str | Backend, method: str, settings: Settings, warm: bool) -> Choice:
    """The ways that could solve the points of a path; refuses what `solve` would refuse.

    Args:
        problem: A point that stands for all.
        backend: As for `solve`.
        method: As for `solve`.
        settings: Those of the points.
        warm: Whether points may start from others; without, every point is solved as `solve` would.
    """
    plan = make_plan(problem, backend, method, settings, None)
    if not warm:
        return Choice([PathWay(backend, warm=False)])
    named: list[str | Backend] = [backend]
    if backend == "auto" and method == "auto" and not settings.options:
        direct = [way for way in plan.ways if way.method == "direct"] or list(plan.ways)
        costs = [math.inf if way.estimate is None else way.estimate.seconds for way in direct]
        promised = zip(direct, costs, strict=True)
        able = [way for way, cost in promised if way is direct[0] or cost <= TUNING.hopeless * costs[0]]
        named = [way.backend.name if way.isolated is not None else way.backend for way in able]
    first, *rest = named
    ways = [PathWay(first, warm=False), PathWay(first, warm=True)]
    for other in rest:
        ways += [PathWay(other, warm=True), PathWay(other, warm=False)]
    return Choice(ways)


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended, all threads together."""
    children = os.times()  # in hundredths of a second, which is too coarse for what happens here
    return time.process_time() + children.children_user + children.children_system
