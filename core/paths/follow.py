"""`solve_path`: a family of problems over beta and the radius, point by point."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Generic

import numpy as np
from numpy.typing import ArrayLike

from cvxrobust.core.arguments import flag, listener, place
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Backend, Monitor
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.provenance import with_provenance
from cvxrobust.core.contracts.result import Result, Termination, grade
from cvxrobust.core.environment import cpu_seconds
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.networks.base import N
from cvxrobust.core.paths.bounds import NeighbourBounds
from cvxrobust.core.paths.checkpoint import PathFolder
from cvxrobust.core.paths.choice import Choice, Coordinates, PathWay, path_ways
from cvxrobust.core.paths.grid import Index, ProblemGrid, make_grid
from cvxrobust.core.paths.result import Origin, PathPoint, PathResult
from cvxrobust.core.paths.screening import Asked, solve_point
from cvxrobust.core.settings import Settings, checked_settings, checked_time_limit
from cvxrobust.core.solving.reporting.lines import Line, Say, line
from cvxrobust.core.solving.reporting.sinks import saying


def solve_path(
    problem: Problem[N],
    *,
    betas: ArrayLike | None = None,
    radii: ArrayLike | None = None,
    backend: str | Backend = "auto",
    method: str = "auto",
    settings: Settings | None = None,
    time_limit: float | None = None,
    warm: bool = True,
    folder: str | os.PathLike[str] | None = None,
    callback: Callable[[PathPoint[N]], object] | None = None,
) -> PathResult[N]:
    """Train along a path of betas, of radii, or on the grid of both; every point is certified for itself.

    Points help each other in three ways. Their lower bounds are bounds elsewhere (`cvxrobust.core.paths.bounds`), and
    their networks are networks elsewhere: where both together leave no more than the tolerance, nothing is solved.
    Where something has to be, it starts from the best of the neighbours' networks, and looks only at the samples that
    matter there (`cvxrobust.core.paths.screening`): either or none of the two, by what has been cheapest, which the
    path finds out by itself (`cvxrobust.core.paths.choice`).

    Args:
        problem: The problem, whose data, gates and all else every point has; its own beta and radius count where no
            others are given.
        betas: Weights of the penalty, above 0, shape (B,), in any order; None for the problem's own.
        radii: Attack radii, 0 or more, shape (R,), in any order; None for the problem's own. Where the problem's
            samples have radii of their own these are factors on them.
        backend: As for `solve`; ``"auto"`` also compares backends on the first points.
        method: As for `solve`.
        settings: Of every point; `Settings.time_limit` is that of each, and with ``verbose`` there is a line per point.
        time_limit: Seconds for the whole path; None for no limit.
        warm: False solves every point from nothing, as `solve` would, to compare.
        folder: Where every point is kept as soon as there is one; a path of the same problem, tolerance and data goes
            on from there, on whichever grid. Created if it is not there.
        callback: Called with every point. What it raises ends the path and is raised here.

    Returns:
        A `PathResult`. Where the time is up, or Ctrl-C has ended it, points are missing; their `termination` says so.

    Raises:
        InputError: A beta or radius is none, the problem has no such points or has gates of its own at each (`regate`),
            the folder belongs to another problem; and whatever `solve` raises before it begins.
    """
    settings = checked_settings(settings)
    checked_time_limit(time_limit)
    flag(warm, "warm")
    listener(callback, "callback", "a PathPoint")
    kept_in = None if folder is None else place(folder, "folder", "a folder")
    grid = make_grid(problem, betas, radii)
    choice = path_ways(grid.at((0, grid.radii.argmax().item())), backend, method, settings, warm)
    kept = None if kept_in is None else PathFolder.of(kept_in, grid, settings.tolerance)
    # A line per point; what is reported of each is too much to read.
    own = settings.replace(verbose=False)
    with saying(settings.verbose) as say:
        return Walk(grid, choice, own, method, warm, kept, callback, time_limit, say).run()


@dataclass
class Walk(Generic[N]):
    """A path under way.

    Args:
        grid: The problems.
        choice: The ways to solve them.
        settings: Of every point.
        method: As for `solve`.
        warm: Whether points help each other.
        kept: The folder that points are kept in.
        callback: Hears of every point.
        time_limit: Seconds for all of it.
        say: Takes a line about every point; None where nobody wants any.

    Attributes:
        points: What has been reached.
        bounds: What follows from it.
    """

    grid: ProblemGrid[N]
    choice: Choice
    settings: Settings
    method: str
    warm: bool
    kept: PathFolder[N] | None
    callback: Callable[[PathPoint[N]], object] | None
    time_limit: float | None
    say: Say | None = None
    points: dict[Index, PathPoint[N]] = field(default_factory=dict)
    bounds: NeighbourBounds = field(init=False)
    clock: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.bounds = NeighbourBounds(self.grid.nested)

    def run(self) -> PathResult[N]:
        """All points, or as many as time, and the caller, allow."""
        began, ended = cpu_seconds(), Termination.CONVERGED
        for point in () if self.kept is None else self.kept.points():
            self._take(point)
        try:
            for index in self.grid.order():
                if index in self.points:
                    continue
                if self._left == 0.0:
                    ended = Termination.TIME_LIMIT
                    break
                point = self._point(index)
                self._take(point)
                # What the path's own end has cut short is solved again by whoever goes on.
                cut = self._left == 0.0 or point.termination is Termination.INTERRUPTED
                if self.kept is not None and (point.quality == "certified" or not cut):
                    self.kept.keep(point)
                if self.say is not None:
                    self.say(self._line(point))
                if self.callback is not None:
                    self.callback(point)
                if point.termination is Termination.INTERRUPTED:
                    ended = Termination.INTERRUPTED
                    break
        except KeyboardInterrupt:  # between two solves, which take their own
            ended = Termination.INTERRUPTED
        self._tighten()
        seconds, wall = cpu_seconds() - began, time.perf_counter() - self.clock
        return PathResult(self.grid, dict(self.points), ended, self.settings.tolerance, seconds, wall)

    @property
    def _left(self) -> float | None:
        """Seconds that are left; None without a limit."""
        return None if self.time_limit is None else max(0.0, self.time_limit - (time.perf_counter() - self.clock))

    def _take(self, point: PathPoint[N]) -> None:
        self.points[point.index] = point
        if self.warm and self.grid.parametric:
            self.bounds.add(point.beta, point.radius, point.certificate.lower)

    def _point(self, index: Index) -> PathPoint[N]:
        """One point: by its neighbours, or solved."""
        began, clock = cpu_seconds(), time.perf_counter()
        problem = self.grid.at(index)
        beta, radius = float(self.grid.betas[index[0]]), float(self.grid.radii[index[1]])
        start, upper = self._nearest(problem, index) if self.warm else (None, np.inf)
        known = Certificate(upper, self.bounds.lower(beta, radius))
        origin, tolerance = Origin.NEIGHBOURS, self.settings.tolerance
        if start is not None and known.relative_gap <= tolerance:
            result = Result(start, known, Termination.CONVERGED, grade(known, tolerance), "", "")
        else:
            result, origin = self._solved(problem, start, (math.log(beta), radius))
            certificate, network = result.certificate.best(known), result.network
            if start is not None and upper < result.certificate.upper:
                network = start
            result = replace(
                result, network=network, certificate=certificate, quality=grade(certificate, tolerance), problem=None
            )
        # What a network says of itself is about this point, whoever's it was before.
        result = with_provenance(result, problem)
        return PathPoint(
            beta, radius, index, result.network, result.certificate, result.quality, result.termination, origin,
            result.backend, result.method, cpu_seconds() - began, time.perf_counter() - clock,
        )  # fmt: skip

    def _line(self, point: PathPoint[N]) -> Line:
        place = f"point {len(self.points)}/{self.grid.betas.size * self.grid.radii.size}"
        source = f"{place} beta {point.beta:<8.4g} radius {point.radius:<8.4g} {point.origin:<10}"
        bounds, worth = point.certificate, str(point.quality)
        return line(time.perf_counter() - self.clock, source, bounds.upper, bounds.lower, None, worth)

    # -- what neighbours know --------------------------------------------------------------------------------------

    def _nearest(self, problem: Problem[N], index: Index) -> tuple[N | None, float]:
        """The best network of the neighbours, and what it is worth here; None and infinity without one."""
        best: tuple[N | None, float] = None, np.inf
        for neighbour in self._neighbours(index):
            with suppress(CvxRobustError):  # outside the constraints, say
                upper = float(problem.objective(neighbour.network))
                if upper < best[1]:
                    best = neighbour.network, upper
        return best

    def _neighbours(self, index: Index) -> Iterator[PathPoint[N]]:
        """Points next to one: with the next larger and the next smaller beta, and with the next radii."""
        for axis in (0, 1):
            others = [at for at in self.points if at[1 - axis] == index[1 - axis]]
            values = (self.grid.betas, self.grid.radii)[axis]
            here = values[index[axis]]
            above = [at for at in others if values[at[axis]] > here]
            below = [at for at in others if values[at[axis]] < here]
            if above:
                yield self.points[min(above, key=lambda at: values[at[axis]])]
            if below:
                yield self.points[max(below, key=lambda at: values[at[axis]])]

    def _tighten(self) -> None:
        """Later points may have proved more about earlier ones than these did themselves."""
        for index, point in self.points.items():
            lower = self.bounds.lower(point.beta, point.radius) if self.grid.parametric else -np.inf
            if lower > point.certificate.lower:
                better = replace(point.certificate, lower=lower)
                quality = grade(better, self.settings.tolerance)
                self.points[index] = replace(point, certificate=better, quality=quality)

    # -- solving ---------------------------------------------------------------------------------------------------

    def _solved(self, problem: Problem[N], start: N | None, place: Coordinates) -> tuple[Result[N], Origin]:
        """A point by the way that promises most; by others from there if it falls short."""
        way = self.choice.next(place, can_start=start is not None)
        began, clock, limit = cpu_seconds(), time.perf_counter(), Monitor.within(self.settings.time_limit)
        result = self._by(way, problem, start, limit, self.choice.trial_seconds(way, place))
        took = cpu_seconds() - began, time.perf_counter() - clock
        self.choice.note(way, place, *took, certified=result.quality == "certified")
        origin = Origin.WARM if way.warm else Origin.COLD
        for other in self.choice.others(way, place):
            done = result.quality == "certified" or result.termination is Termination.INTERRUPTED
            if done or limit.expired or self._left == 0.0:
                break
            further = self._by(other, problem, result.network, limit)
            certificate = further.certificate.best(result.certificate)
            network = min((further, result), key=lambda one: one.certificate.upper).network
            quality = grade(certificate, self.settings.tolerance)
            result = replace(further, network=network, certificate=certificate, quality=quality)
        return result, origin

    def _by(
        self, way: PathWay, problem: Problem[N], start: N | None, limit: Monitor, trial: float | None = None
    ) -> Result[N]:
        limits = [seconds for seconds in (limit.remaining, self._left, trial) if seconds is not None]
        monitor = Monitor.within(max(min(limits), 1e-3) if limits else None)
        asked = Asked(way.backend, self.method, self.settings, monitor, way.starts, way.screens)
        return solve_point(problem, asked, start)
