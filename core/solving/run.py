"""One call of `solve`: runs the backend, judges what it returns, and keeps the best of every part."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol

import numpy as np

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic.program import ConicProgram, require_cones
from cvxrobust.core.contracts.backend import Backend, Monitor
from cvxrobust.core.contracts.problem import Problem, RefinableProblem, Reports, RobustProblem
from cvxrobust.core.contracts.result import Callback, Result, Solution, Termination, Times, TracePoint, grade
from cvxrobust.core.environment import peak_memory, versions
from cvxrobust.core.errors import CvxRobustError, InputError
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.cutting_set.method import cutting_set
from cvxrobust.core.solving.isolation import solve_isolated
from cvxrobust.core.solving.refinement import refined
from cvxrobust.core.solving.sanitize import network_of, of_the_right_shape, proved

ATTEMPTS = 3
"""Times that the direct method runs a backend which converged by its own measure but not by the certificate's."""

ISOLATED_ROWS = 20_000
"""Programmes with more rows are solved in a child process, which can be stopped even while it sets them up."""

TIGHTER = 1e-2
"""Factor on the tolerance from one attempt to the next."""


class Polishes(Protocol):
    """Who goes on where the backend of a call leaves off; see `cvxrobust.core.solving.polish`."""

    def solve(self, run: "Run[N]", part: Problem[N], k: int, monitor: Monitor, known: Certificate) -> Result[N]:
        """Both phases for one part."""
        ...


@dataclass
class Run(Generic[N]):
    """One call of `solve`: choices made, clock started."""

    problem: Problem[N]
    backend: Backend
    isolated: str | None
    method: str
    selection: str
    settings: Settings
    callback: Callback | None
    starts: list[N | None]
    warm_solution: Solution | None
    clock: float
    monitor: Monitor
    grow: bool = False
    polish: "Polishes | None" = None
    trace: list[TracePoint] = field(default_factory=list)
    bounds: list[Certificate] = field(default_factory=list)
    unproved: str = ""

    def bound_starts(self) -> None:
        """Bounds before any solver runs: the starting networks' objectives and own multipliers."""
        for k, single in enumerate(self.problem.parts):
            found = self._bounds_at(single, self.starts[k] or single.trivial_network())
            if not np.isfinite(found.upper):
                # A start outside the problem's constraints must not hide the network that is always inside.
                self.starts[k] = None
                found = found.best(self._bounds_at(single, single.trivial_network()))
            self.bounds.append(found)
        self.report(0, self.bounds[0])

    def _bounds_at(self, part: Problem[N], network: N) -> Certificate:
        """What a network tells about a problem without any solver."""
        return Certificate(part.objective(network), part.lower_bound(part.network_multipliers(network)))

    def solve_part(self, k: int) -> Result[N]:
        """Solve one binary problem within what is left of the time."""
        part, began = self.problem.parts[k], time.perf_counter()
        first_trace = len(self.trace)
        monitor = self._part_monitor(k, began)
        result = self._programme(part, k, monitor)
        if isinstance(part, RefinableProblem) and (self.grow or part.regate > 0):
            result = refined(
                part, result, self.grow, lambda better, last: self._again(better, last, k, monitor), monitor,
                lambda: time.perf_counter() - self.clock,
            )  # fmt: skip
            self.bounds[k] = result.certificate
        wall = time.perf_counter() - began
        times = replace(result.times, wall=wall)
        return replace(result, times=times, trace=tuple(self.trace[first_trace:]))

    def _programme(self, part: Problem[N], k: int, monitor: Monitor) -> Result[N]:
        """Solve one programme."""
        known = self.bounds[k]
        if self.polish is None:
            result = self.attempt(part, k, monitor, known)
        else:
            result = self.polish.solve(self, part, k, monitor, known)
        self.report(k, result.certificate)
        return result

    def attempt(self, part: Problem[N], k: int, monitor: Monitor, known: Certificate) -> Result[N]:
        """Solve one programme by one backend and one method, from bounds that `core` has proved."""
        if self.method == "cutting-set":
            return self._by_cutting_set(part, k, monitor, known)
        return self._directly(part, k, monitor, known)

    def _again(self, better: Problem[N], last: Result[N], k: int, monitor: Monitor) -> Result[N]:
        """Solve a refined programme from where the last one ended. Its bounds start anew: it has another optimum."""
        rows = None if last.solution is None or last.solution.s is None else last.solution.s.size
        self.starts[k], self.warm_solution = last.network, last.solution if rows == better.conic_rows else None
        self.bounds[k] = self._bounds_at(better, last.network)
        return self._programme(better, k, monitor)

    def _part_monitor(self, k: int, began: float) -> Monitor:
        """A fair share of the remaining time for each of the remaining parts."""
        deadline = self.monitor.deadline
        if deadline is not None:
            deadline = began + (deadline - began) / (len(self.problem.parts) - k)
        return self.monitor.sharing(deadline, self.listener(k))

    def listener(self, k: int) -> Callable[[float, float], object]:
        """What hears of a part's bounds while its backend runs."""
        return lambda upper, lower: self.report(k, Certificate(upper, lower))

    def _directly(self, part: Problem[N], k: int, monitor: Monitor, known: Certificate) -> Result[N]:
        network = self.starts[k] or part.trivial_network()
        if monitor.should_stop:
            return self.result(network, known, Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT)
        clock = time.perf_counter()
        structured = self._structured(part)
        program = part.to_conic() if structured is None else structured
        if isinstance(program, ConicProgram):
            require_cones(program, self.backend.capabilities.cones, self.backend.name)
        times = Times(assemble=time.perf_counter() - clock)
        certificate, solution, iterations, attempts = known, self.warm_solution, 0, 0
        if structured is not None and self.starts[k] is not None:
            # What reads structure starts from a network.
            solution = Solution(Termination.INTERRUPTED, network=self.starts[k])
        tolerance = self._first_tolerance()
        while True:
            began = time.perf_counter()
            settings = self.settings.replace(tolerance=tolerance, time_limit=_at_least_a_moment(monitor.remaining))
            solution = self._run_backend(program, settings, monitor, solution)
            solved = time.perf_counter()
            found, certificate = self.certified(part, solution, network, certificate)
            network = found
            iterations, attempts = iterations + solution.iterations, attempts + 1
            times = replace(
                times,
                setup=times.setup + solution.setup_seconds,
                solve=times.solve + solved - began - solution.setup_seconds,
                certify=times.certify + time.perf_counter() - solved,
            )
            self.report(k, certificate)
            # A solver calls itself converged by residuals; the certificate is relative to the optimum.
            tighter = max(TIGHTER * tolerance, self.backend.capabilities.tightest_tolerance)
            converged = solution.termination is Termination.CONVERGED and not monitor.should_stop
            done = certificate.relative_gap <= self.settings.tolerance
            if done or not converged or attempts == ATTEMPTS or structured is not None or tighter >= tolerance:
                break
            tolerance = tighter
        errors = program.dimacs_errors(solution) if isinstance(program, ConicProgram) else ()
        termination = solution.termination
        if termination is Termination.NUMERICAL and certificate.relative_gap <= self.settings.tolerance:
            termination = Termination.CONVERGED  # it was asked for more than the caller wanted
        return self.result(
            network, certificate, termination, solution=solution, dimacs_errors=errors, times=times,
            rounds=attempts, iterations=iterations,
        )  # fmt: skip

    def _first_tolerance(self) -> float:
        """What to ask the solver for first: two more digits cost an interior point a few iterations, a retry all."""
        asked, can = self.settings.tolerance, self.backend.capabilities
        return asked if can.method != "interior-point" else min(asked, max(TIGHTER * asked, can.tightest_tolerance))

    def certified(self, part: Problem[N], solution: Solution, network: N, known: Certificate) -> tuple[N, Certificate]:
        """The better of the known network and the solution's, and the bounds with what the solution adds.

        Why multipliers prove nothing enters the message of the next `result`.
        """
        certificate, self.unproved = known, ""
        found = network_of(part, solution)
        if found is not None and (upper := part.objective(found)) < certificate.upper:
            network, certificate = found, replace(certificate, upper=upper)
        for multipliers in part.multiplier_candidates(solution, network):
            lower, reason = proved(part, multipliers)
            self.unproved = self.unproved or reason
            certificate = certificate.best(Certificate(certificate.upper, lower))
            if certificate.relative_gap <= self.settings.tolerance:
                break  # on large data another candidate is another pass
        return network, certificate

    def _by_cutting_set(self, part: Problem[N], k: int, monitor: Monitor, known: Certificate) -> Result[N]:
        if not isinstance(part, RobustProblem):
            raise InputError(f"{type(part).__name__} cannot be solved by the cutting-set method.")
        state, termination = cutting_set(
            part,
            lambda program, settings: self._run_backend(
                self._readable(program), settings.replace(tolerance=self._first_tolerance()), monitor
            ),
            self.settings,
            monitor,
            self.starts[k],
            known,
        )
        times = Times(state.assemble, state.setup, state.solve, state.certify)
        return self.result(
            state.best, state.certificate, termination, solution=state.solution,
            dimacs_errors=state.errors, times=times, iterations=state.iterations, rounds=state.rounds,
        )  # fmt: skip

    def _structured(self, part: Problem[N]) -> Any:
        readable = self.backend.capabilities.structured
        program = part.to_structured() if readable else None
        return program if getattr(program, "kind", None) in readable else None

    def _readable(self, program: ConicProgram) -> ConicProgram:
        require_cones(program, self.backend.capabilities.cones, self.backend.name)
        return program

    def _run_backend(
        self, program: Any, settings: Settings, monitor: Monitor, warm: Solution | None = None
    ) -> Solution:
        """Run the backend; whatever goes wrong in there is an answer, unless the caller made the mistake."""
        optional: dict[str, Any] = {"monitor": monitor} if self.backend.capabilities.monitored else {}
        if self.backend.capabilities.warm_start and warm is not None:
            optional["warm_start"] = warm
        try:
            if self.isolated is not None and isinstance(program, ConicProgram) and program.b.size > ISOLATED_ROWS:
                found = solve_isolated(self.isolated, program, settings, monitor, warm)
            else:
                found = self.backend.solve(program, settings, **optional)
            return of_the_right_shape(found, program)
        except CvxRobustError:
            raise
        except MemoryError as error:
            return Solution(Termination.OUT_OF_MEMORY, message=f"{self.backend.name} ran out of memory: {error}")
        except Exception as error:
            return Solution(Termination.ERROR, message=f"{self.backend.name} raised {type(error).__name__}: {error}")

    def report(self, k: int, certificate: Certificate) -> None:
        """Note bounds of one part; the trace and the callback hear of the sum over all parts."""
        self.bounds[k] = self.bounds[k].best(certificate)
        total = self._total()
        if self.trace and (total.upper, total.lower) == (self.trace[-1].upper, self.trace[-1].lower):
            return
        point = TracePoint(time.perf_counter() - self.clock, total.upper, total.lower)
        self.trace.append(point)
        if self.callback is not None:
            self.callback(point.elapsed, point.upper, point.lower)

    def _total(self) -> Certificate:
        return Certificate(sum(part.upper for part in self.bounds), sum(part.lower for part in self.bounds))

    def result(self, network: N, certificate: Certificate, termination: Termination, **known: Any) -> Result[N]:
        """A result of this call, with what all of them say."""
        solution: Solution | None = known.get("solution")
        said, self.unproved = ("" if solution is None else solution.message, self.unproved), ""
        return Result(
            network=network,
            certificate=certificate,
            termination=termination,
            quality=grade(certificate, self.settings.tolerance),
            backend=self.backend.name,
            method=self.method,
            selection=self.selection,
            peak_memory=max(peak_memory(), 0 if solution is None else solution.peak_memory),
            applied={} if solution is None else dict(solution.applied),
            ignored={} if solution is None else dict(solution.ignored),
            message="; ".join(filter(None, said)),
            versions=versions(self.backend.name),
            **known,
        )

    def finish(self, results: list[Result[N]]) -> Result[N]:
        """The parts' results as one, with what the problem has to say about the network."""
        found = self._combined(results)
        about = found.problem or self.problem
        if isinstance(about, Reports):
            found = replace(found, report={**about.report(found.network), **_progress(found)})
        wall = time.perf_counter() - self.clock
        return replace(found, times=replace(found.times, wall=wall), trace=tuple(self.trace))

    def _combined(self, results: list[Result[N]]) -> Result[N]:
        if len(results) == 1:
            return results[0]
        # Not `_total`: that holds what backends say about their progress, too.
        total = Certificate(sum(r.certificate.upper for r in results), sum(r.certificate.lower for r in results))
        worst = next((r.termination for r in results if r.termination != Termination.CONVERGED), Termination.CONVERGED)
        combined = self.result(self.problem.combine([r.network for r in results]), total, worst)
        phases = ("assemble", "setup", "solve", "certify")
        sums: dict[str, float] = {name: sum(getattr(r.times, name) for r in results) for name in phases}
        refined_parts: tuple[Any, ...] = tuple(
            r.problem or part for r, part in zip(results, self.problem.parts, strict=True)
        )
        longest = max(results, key=lambda r: len(r.phases))
        joined = None
        if isinstance(self.problem, RefinableProblem) and any(r.problem is not None for r in results):
            joined = self.problem.with_parts(refined_parts)
        return replace(
            combined,
            problem=joined,
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
        )


def _progress(result: Result[Any]) -> dict[str, Any]:
    """How the last programme's objective stands against a bound on the optimum of the one first given."""
    if not result.history:
        return {}
    floor, reached = result.history[0].certificate.lower, result.certificate.upper
    return {"given_programme_at_least": floor, "objective_below_given_programme_by": floor - reached}


def _at_least_a_moment(seconds: float | None) -> float | None:
    """Time limits of solvers must be positive."""
    return None if seconds is None else max(seconds, 1e-3)
