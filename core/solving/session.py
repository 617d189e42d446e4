"""One call of `solve`: part by part, way by way, until the gap asked for is certified or the time is up.

Every way starts from the best network and the best bounds of those before it; all of them count. Whoever asks for it
(``polish``) lets the first way *hand over* to masters of the cutting-set method at `HANDOVER`: they have the neurons
and the attacks from it, and their solver's digits are cheap where inputs are few.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.problem import Problem, RefinableProblem, Reports
from cvxrobust.core.contracts.result import Phase, Quality, Result, Solution, Termination, Times, grade
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.attempt import attempt, result_of
from cvxrobust.core.solving.joint import solve_jointly
from cvxrobust.core.solving.judging.ledger import Ledger, bounds_at
from cvxrobust.core.solving.judging.verdict import Judged, Task
from cvxrobust.core.solving.judging.witness import Witness
from cvxrobust.core.solving.pace import TUNING, Pace
from cvxrobust.core.solving.plan import Plan, Way
from cvxrobust.core.solving.refinement import GOOD, refined
from cvxrobust.core.solving.reporting.lines import Reporter, watched_by
from cvxrobust.core.solving.structure import Structure

HANDOVER = 1e-5
"""Relative gap at which a way that hands over makes way, unless the caller wants no more than that.

Masters are small from where the first phase has settled on its neurons. Breast Cancer, n = 455, radius 0.3, to 1e-7:
17 s in all from a gap of 1e-3, 3.4 s from 1e-4, 2.9 s from 1e-5. Digits, n = 1500, d = 64, after a minute: a gap of
4e-5 from 1e-3 and from 1e-4, 1.7e-6 from 2e-5.
"""

STRIDE = 0.25
"""A way whose steps take more than this share of the time that is left is passed over while there are others."""

HOPELESS = 2.0
"""So is one that would take this many times as long by its estimate."""


@dataclass(frozen=True)
class Session(Generic[N]):
    """One call.

    Args:
        problem: What to solve.
        plan: The ways.
        settings: Those of the call.
        ledger: Bounds so far, and the networks to start from.
        monitor: Says when to stop.
        replan: The ways for a refined part, which may be of another size.
        grow: Whether a problem may add gates.
        solution: A raw solution to start from, of the first part's programme.
        reporter: Says what is reported; None where nobody wants to know.
    """

    problem: Problem[N]
    plan: Plan
    settings: Settings
    ledger: Ledger[N]
    monitor: Monitor
    replan: Callable[[Problem[N]], Plan]
    grow: bool = False
    solution: Solution | None = None
    reporter: Reporter | None = None

    def run(self) -> list[Result[N]]:
        """The results of the parts."""
        earlier = solve_jointly(self.problem, self.plan, self.settings, self.ledger, self.monitor, self.reporter)
        count = len(self.problem.parts)
        return [self._part(k, None if earlier is None else earlier[k]) for k in range(count)]

    def so_far(self) -> Result[N]:
        """What the result would be if all ended now, without a report."""
        parts = []
        for k, (network, certificate) in enumerate(self.ledger.proved):
            judged = Judged(network, certificate)
            found = result_of(self.plan.ways[0], judged, Termination.TIME_LIMIT, self.settings.tolerance)
            parts.append(self.ledger.settled.get(k, found))
        return replace(self.finish(parts, report=False), termination=Termination.TIME_LIMIT)

    def _part(self, k: int, earlier: Result[N] | None) -> Result[N]:
        """Solve one part within its share of the time that is left, after what the first way made of all of them."""
        if earlier is not None and (len(self.plan.ways) == 1 or self._settled(earlier) or self.monitor.should_stop):
            return earlier
        structure = self.plan.structure if k == 0 else Structure(self.problem.parts[k])
        part, began, told = structure.part, time.perf_counter(), len(self.ledger.trace)
        deadline = self.monitor.deadline
        if deadline is not None:
            deadline = began + (deadline - began) / (len(self.problem.parts) - k)
        task = Task(structure, k, self.ledger.bounds[k], self.ledger.starts[k], self.solution)
        monitor = self.monitor.sharing(deadline)
        result = self._programme(task, monitor, earlier)
        if isinstance(part, RefinableProblem) and (self.grow or part.regate > 0):
            result = refined(
                part, result, self.grow, lambda better, last: self._again(better, last, k, monitor), monitor,
                lambda: self.ledger.elapsed,
            )  # fmt: skip
            self.ledger.begin_anew(k, result.certificate)
        times = replace(result.times, wall=time.perf_counter() - began)
        return replace(result, times=times, trace=self.ledger.trace[told:])

    def _again(self, better: Problem[N], last: Result[N], k: int, monitor: Monitor) -> Result[N]:
        """Solve a refined programme from where the last one ended. Its bounds start anew: it has another optimum."""
        rows = None if last.solution is None or last.solution.s is None else last.solution.s.size
        self.ledger.settle(k, last)
        known = bounds_at(better, last.network)
        self.ledger.begin_anew(k, known)
        solution = last.solution if rows == better.conic_rows else None
        plan = self.replan(better)
        return replace(self, plan=plan)._programme(Task(plan.structure, k, known, last.network, solution), monitor)

    def _programme(self, task: Task[N], monitor: Monitor, earlier: Result[N] | None = None) -> Result[N]:
        """Solve one programme: way by way, from the second if the first has answered already."""
        results: list[Result[N]] = [] if earlier is None else [earlier]
        if earlier is not None:
            task = replace(task, known=earlier.certificate, start=earlier.network)
        ways = list(zip(self.plan.ways, self.plan.settings, strict=True))
        for number, (way, settings) in enumerate(ways[len(results) :], len(results)):
            if results and (self._settled(results[-1]) or monitor.should_stop):
                break
            left = monitor.remaining
            # A way makes way only for one that could still get somewhere in the time that it would be left with.
            half = None if left is None else TUNING.first_share * left
            later = [other for other, _ in ways[number + 1 :] if not _too_slow(other, half)]
            if (later or results) and _too_slow(way, left):
                continue
            result = self._by(way, settings, task, monitor, later)
            results.append(result)
            task = replace(task, known=result.certificate, start=result.network, solution=None)
        return joined(results)

    def _by(self, way: Way, settings: Settings, task: Task[N], monitor: Monitor, later: list[Way]) -> Result[N]:
        """One way, before others; an exception is an answer where another way has answered already."""
        began, wanted = time.perf_counter(), self.settings.tolerance
        tolerance = max(wanted, HANDOVER) if way.hands_over and later else wanted
        others = [other.estimate.seconds for other in later if other.estimate is not None]
        witness = Witness(task, tolerance, self.ledger)
        watched = watched_by(self.reporter, monitor, way, witness)
        pace = Pace(watched, way, tolerance, bool(later), min(others, default=math.inf))
        try:
            result = attempt(way, witness, settings.replace(tolerance=tolerance), pace.monitor)
        except CvxRobustError as error:
            if way is self.plan.ways[0]:
                raise
            # A licence that is missed only now, say: what was found before is worth more than the complaint.
            said = Solution(Termination.ERROR, message=f"{type(error).__name__}: {error}")
            result = result_of(way, witness.judged, Termination.ERROR, wanted, said)
            result = replace(result, solution=None)
        if result.termination is Termination.INTERRUPTED and pace.overtaken:
            result = replace(result, termination=Termination.TIME_LIMIT)  # its own, not the caller's
        times = replace(result.times, wall=time.perf_counter() - began)
        return replace(result, quality=grade(result.certificate, wanted), times=times)

    def _settled(self, result: Result[N]) -> bool:
        """Whether there is nothing left for another way to do, or the caller's own limit has ended the last one."""
        limited = result.termination is Termination.ITERATION_LIMIT and self.settings.max_iterations is not None
        return result.quality == "certified" or (limited and result.method == "direct" and not self._polishing)

    @property
    def _polishing(self) -> bool:
        return len(self.plan.ways) > 1 and self.plan.ways[0].hands_over

    # -- all parts together ------------------------------------------------------------------------------------------

    def finish(self, results: list[Result[N]], *, report: bool = True) -> Result[N]:
        """The parts' results as one, with what the problem has to say about the network."""
        found = replace(self._combined(results), selection=self.plan.reasons)
        if len(results) == 1:
            found = self._named(found)
        about = found.problem or self.problem
        if report and isinstance(about, Reports):
            found = replace(found, report={**about.report(found.network), **_progress(found)})
        wall = time.perf_counter() - self.ledger.clock
        return replace(found, times=replace(found.times, wall=wall), trace=self.ledger.trace)

    def _named(self, found: Result[N]) -> Result[N]:
        """The result of the only part as the whole problem's: its network knows what the labels are called."""
        whole = found.problem
        relabelled = self.problem.parts[0] is not self.problem
        if whole is not None and relabelled and isinstance(self.problem, RefinableProblem):
            whole = self.problem.with_parts((whole,))
        return replace(found, network=self.problem.combine([found.network]), problem=whole)

    def _combined(self, results: list[Result[N]]) -> Result[N]:
        if len(results) == 1:
            return results[0]
        results = [replace(result, selection=self.plan.reasons) for result in results]
        total = Certificate(sum(r.certificate.upper for r in results), sum(r.certificate.lower for r in results))
        worst = next((r.termination for r in results if r.termination != Termination.CONVERGED), Termination.CONVERGED)
        judged = Judged(self.problem.combine([r.network for r in results]), total)
        combined = result_of(self.plan.ways[0], judged, worst, self.settings.tolerance)
        phases = ("assemble", "setup", "solve", "certify")
        sums: dict[str, float] = {name: sum(getattr(r.times, name) for r in results) for name in phases}
        refined_parts: tuple[Any, ...] = tuple(
            r.problem or part for r, part in zip(results, self.problem.parts, strict=True)
        )
        longest = max(results, key=lambda r: len(r.phases))
        together = None
        if isinstance(self.problem, RefinableProblem) and any(r.problem is not None for r in results):
            together = self.problem.with_parts(refined_parts)
        short = next((r.unfinished for r in results if r.unfinished is not None), None)
        failed = any(r.unfinished is not None and r.quality != "certified" for r in results)
        return replace(
            combined,
            quality=min(combined.quality, Quality.INACCURATE, key=GOOD.index) if failed else combined.quality,
            unfinished=short,
            problem=together,
            times=Times(**sums),
            iterations=sum(r.iterations for r in results),
            rounds=sum(r.rounds for r in results),
            parts=tuple(results),
            backend=longest.backend,
            method=longest.method,
            versions=longest.versions,
            applied=longest.applied,
            ignored=longest.ignored,
            message=results[-1].message,
            complaints=tuple(dict.fromkeys(said for r in results for said in r.complaints)),
        )


def joined(results: list[Result[N]]) -> Result[N]:
    """One result of several ways; each began with the network and the bounds of those before it."""
    *before, last = results
    if not before:
        return last
    phases = tuple(
        Phase(r.backend, r.method, r.termination, r.certificate, r.times, r.iterations, r.rounds, r.message)
        for r in results
    )
    story = "; ".join(
        f"handed over by {r.backend} ({r.termination}) at a gap of {r.certificate.relative_gap:.1e} after "
        f"{r.times.wall:.2f} s{f' ({r.message})' if r.message else ''}"
        for r in before
    )
    first = results[0]
    applied, ignored = dict(first.applied), dict(first.ignored)
    for r in results[1:]:
        applied |= {f"{r.backend}.{name}": value for name, value in r.applied.items()}
        ignored |= {f"{r.backend}.{name}": why for name, why in r.ignored.items()}
    return replace(
        last,
        backend=" + ".join(r.backend for r in results),
        method=" + ".join(r.method for r in results),
        times=Times(**{name: sum(getattr(r.times, name) for r in results) for name in vars(first.times)}),
        iterations=sum(r.iterations for r in results),
        rounds=sum(r.rounds for r in results),
        peak_memory=max(r.peak_memory for r in results),
        phases=phases,
        complaints=tuple(dict.fromkeys(said for r in results for said in r.complaints)),
        applied=applied,
        ignored=ignored,
        versions={name: version for r in results for name, version in r.versions.items()},
        message="; ".join(filter(None, (story, last.message))),
    )


def _too_slow(way: Way, left: float | None) -> bool:
    """Whether a way could hardly begin in so many seconds."""
    estimate = way.estimate
    if left is None or estimate is None:
        return False
    return estimate.step > STRIDE * left or estimate.seconds > HOPELESS * left


def _progress(result: Result[Any]) -> dict[str, Any]:
    """How the last programme's objective stands against a bound on the optimum of the one first given."""
    if not result.history:
        return {}
    floor, reached = result.history[0].certificate.lower, result.certificate.upper
    return {"given_programme_at_least": floor, "objective_below_given_programme_by": floor - reached}
