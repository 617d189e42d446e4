"""Which way the next point is solved: by what the points before it have cost, warm and cold; neither is a creed.

What a start is worth depends on backend and data. Interior points want to be far from the boundary where a solution of
a neighbour lies, and may lose by it; first-order methods gain a quarter. And ``backend="auto"`` orders backends by
estimates that are made for one solve, whereas a path can look. So each way (a backend, from a start or from nothing,
over all samples or those that matter) is tried early, on a point that has to be solved anyway, and whichever has been
cheapest has the next one. Points with and without attack are different matters, so that all are tried on either.

CPU seconds of different points cannot be compared as they are: small betas take ten times as long as large ones. So
their logarithms are fitted, least squares, by a number for each backend, one for each way and a quadratic in log beta
and the radius; ways are compared by the sums of their two numbers. A way has few points, and these scatter by a third:
its own number is drawn to what starts and fewer samples are expected to save, until points say otherwise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.contracts.parametric import Screens
from cvxrobust.core.contracts.problem import Problem, offers
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.plan import make_plan

Array = NDArray[np.float64]
Coordinates = tuple[float, float]
"""log beta and the radius of a point."""


@dataclass(frozen=True)
class ChoiceTuning:
    """How ways are compared."""

    hopeless: float = 10.0
    """A backend is not even tried if it says it would cost this many times as much as the one that promises most."""

    overtime: float = 2.0
    """A trial may take this many times as long as the best way does, and half a second; then that has its turn."""

    promise: float = 4.0
    """How many times as quick starts and fewer samples make a backend at best: they were worth up to 3.6."""

    again: int = 15
    """Points after which a way that was not much dearer is tried once more, because points differ."""

    near: float = 1.15
    """How many times as dear is not much dearer."""

    ridge: float = 1e-2
    """Weight of the squares of the fitted numbers beside a point's."""

    drawn: float = 2.0
    """The same of ways' own numbers, less what is expected of them."""

    saved: float = 0.15
    """What a start is expected to save, and what leaving out samples is, in logarithms."""

    failed: float = 3.0
    """A point that a way did not certify counts this many times."""


TUNING = ChoiceTuning()


@dataclass
class PathWay:
    """A backend, from a start or from nothing, over all samples or those that matter.

    Args:
        backend: As `solve` takes it.
        starts: Whether it starts from a neighbour's network.
        screens: Whether it leaves out samples that a neighbour's network loses nothing at.
        waited: Points since it was last gone.
    """

    backend: str | Backend
    starts: bool = False
    screens: bool = False
    waited: int = field(default=0)

    @property
    def name(self) -> str:
        """The backend's."""
        return self.backend if isinstance(self.backend, str) else self.backend.name

    @property
    def warm(self) -> bool:
        """Whether it needs a neighbour."""
        return self.starts or self.screens


@dataclass(frozen=True)
class PathCost:
    """What a point has cost.

    Args:
        way: How it was solved.
        place: Of the point.
        seconds: Of CPU.
        wall: Of the clock.
    """

    way: PathWay
    place: Coordinates
    seconds: float
    wall: float


class Choice:
    """The ways of a path, and which is next.

    Args:
        ways: In the order in which they are tried; the first is from nothing.
    """

    def __init__(self, ways: Sequence[PathWay]) -> None:
        self.ways, self.costs = list(ways), list[PathCost]()

    def note(self, way: PathWay, place: Coordinates, seconds: float, wall: float, *, certified: bool = True) -> None:
        """Take in what a point has cost."""
        share = 1.0 if certified else TUNING.failed
        self.costs.append(PathCost(way, place, share * seconds, share * wall))

    def next(self, place: Coordinates, *, can_start: bool) -> PathWay:
        """The way for the next point.

        Args:
            place: Of the point.
            can_start: Whether there is a network to start from.
        """
        able = [way for way in self.ways if can_start or not way.warm]
        for way in able:
            way.waited += 1
        chosen = self._next(able, self._known(place), again=True)
        chosen.waited = 0
        return chosen

    def _known(self, place: Coordinates) -> list[PathCost]:
        """What is known of points with attack, or of those without."""
        return [cost for cost in self.costs if (cost.place[1] > 0.0) == (place[1] > 0.0)]

    def _next(self, able: list[PathWay], known: list[PathCost], *, again: bool = False) -> PathWay:
        """A way that has not been tried, or the best; now and then one that was hardly worse, if `again`."""
        untried = [way for way in able if not any(cost.way is way for cost in known)]
        promising = next((way for way in untried if not _beyond_hope(way, known)), None)
        if promising is not None:
            return promising
        able = [way for way in able if way not in untried] or able
        worth = dict(zip(map(id, self.ways), self._fitted(known), strict=True))
        best = min(able, key=lambda way: worth[id(way)])
        limit = worth[id(best)] + math.log(TUNING.near)
        doubtful = [way for way in able if again and way.waited > TUNING.again and worth[id(way)] <= limit]
        return min(doubtful, key=lambda way: worth[id(way)], default=best)

    def _fitted(self, known: list[PathCost]) -> list[float]:
        """The logarithm of what each way costs, but for a number that all have in common."""
        places = np.array([cost.place for cost in known])
        centred = places - places.mean(axis=0)
        centred /= np.maximum(np.abs(centred).max(axis=0), 1e-300)
        of_way = np.array([[float(cost.way is way) for way in self.ways] for cost in known])
        named = list(dict.fromkeys(way.name for way in self.ways))
        of_backend = np.array([[float(way.name == name) for name in named] for way in self.ways])
        expected = np.array([-TUNING.saved * (way.starts + way.screens) for way in self.ways])
        seen = np.log(np.maximum([cost.seconds for cost in known], 1e-6)) - of_way @ expected
        seen -= seen.mean()
        rows = np.hstack([of_way, of_way @ of_backend, centred, centred**2])
        ridge = np.full(rows.shape[1], TUNING.ridge)
        ridge[: len(self.ways)] = TUNING.drawn
        numbers = np.linalg.solve(rows.T @ rows + np.diag(ridge), rows.T @ seen)
        own, shared = numbers[: len(self.ways)], numbers[len(self.ways) : len(self.ways) + len(named)]
        found: list[float] = (expected + own + of_backend @ shared).tolist()
        return found

    def others(self, failed: PathWay, place: Coordinates) -> list[PathWay]:
        """Who goes on where a way fell short, from what it found.

        After a trial whoever has been best; else it itself over all samples. Then all backends, over all samples.
        """
        known = [cost for cost in self._known(place) if cost.way is not failed]
        on_trial = bool(known) and sum(cost.way is failed for cost in self._known(place)) == 1
        first = [self._next([cost.way for cost in known], known)] if on_trial else []
        itself = [PathWay(failed.backend, starts=True)] if failed.screens else []
        rest = [way.backend for way in self.ways if way.starts and way.backend != failed.backend]
        return [*first, *itself, *(PathWay(backend, starts=True) for backend in rest)]

    def trial_seconds(self, way: PathWay, place: Coordinates) -> float | None:
        """How long a way may take that is not the best, by the clock; None for no limit."""
        known = self._known(place)
        others = [cost for cost in known if cost.way is not way]
        if not others:
            return None
        best = self._next([cost.way for cost in known], known)
        if best is way:
            return None
        walls = [cost.wall for cost in known if cost.way is best]
        return TUNING.overtime * float(np.median(walls)) + 0.5


def _beyond_hope(way: PathWay, known: Sequence[PathCost]) -> bool:
    """Whether a backend has cost so much that none of its ways can be the quickest."""
    own = [cost.seconds for cost in known if cost.way.name == way.name]
    others: dict[int, float] = {}
    for cost in known:
        if cost.way.name != way.name:
            others[id(cost.way)] = max(cost.seconds, others.get(id(cost.way), 0.0))
    return bool(own and others) and min(own) > TUNING.promise * min(others.values())


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
        return Choice([PathWay(backend)])
    named: list[str | Backend] = [backend]
    if backend == "auto" and method == "auto" and not settings.options:
        direct = [way for way in plan.ways if way.method == "direct"] or list(plan.ways)
        costs = [math.inf if way.estimate is None else way.estimate.seconds for way in direct]
        promised = zip(direct, costs, strict=True)
        able = [way for way, cost in promised if way is direct[0] or cost <= TUNING.hopeless * costs[0]]
        named = [way.backend.name if way.isolated is not None else way.backend for way in able]
    first, *rest = named
    screens = offers(problem, Screens)
    # The first is what `solve` does. Of the others the last resort, in its plan, may well be the quickest with a start.
    ways = [PathWay(first), *(PathWay(one, starts=True, screens=screens) for one in [*rest, first])]
    if screens:
        ways += [PathWay(one, screens=True) for one in [*rest, first]]
    return Choice([*ways, *(PathWay(one) for one in rest)])
