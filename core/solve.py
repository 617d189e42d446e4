"""The front door: any problem, any backend, one judge."""

import time
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import numpy as np

from cvxrobust.core.backend import Backend, ChecksSettings, Monitor
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic import ConicProgram, require_cone_types, require_cones
from cvxrobust.core.cutting_set import cutting_set
from cvxrobust.core.environment import peak_memory, versions
from cvxrobust.core.errors import (
    BackendUnavailableError,
    CvxRobustError,
    InputError,
    UnknownNameError,
    UnsupportedProgramError,
)
from cvxrobust.core.interrupt import sigint_stops
from cvxrobust.core.isolation import solve_isolated
from cvxrobust.core.problem import Problem, RobustProblem
from cvxrobust.core.registry import plugins
from cvxrobust.core.result import Callback, Result, Solution, Termination, Times, TracePoint, judge
from cvxrobust.core.selection import select
from cvxrobust.core.settings import Settings
from cvxrobust.core.translation import blas_threads
from cvxrobust.core.two_layer import N, TwoLayerNetwork

METHODS = ("auto", "direct", "cutting-set")
ATTEMPTS = 3
"""Times that the direct method runs a backend which converged by its own measure but not by the certificate's."""

ISOLATED_ROWS = 20_000
"""Programmes with more rows are solved in a child process, which can be stopped even while it sets them up."""

TIGHTER = 1e-2
"""Factor on the tolerance from one attempt to the next."""


def solve(
    problem: Problem[N],
    backend: str | Backend = "auto",
    method: str = "auto",
    settings: Settings | None = None,
    *,
    callback: Callback | None = None,
    warm_start: Result[N] | N | None = None,
) -> Result[N]:
    """Train to certified global optimality.

    The answer is a network whose exact objective is an upper bound of the optimum, and a dual lower bound; both are
    computed here in float64 and neither trusts the solver. Time limits and Ctrl-C end the solve with the best
    network so far.

    Args:
        problem: What to solve.
        backend: A registered name (see `cvxrobust.backends`), ``"cvxpy:NAME"`` for any conic solver that cvxpy finds, a
            backend object, or ``"auto"``.
        method: ``"direct"`` hands the whole programme to the backend; ``"cutting-set"`` solves a sequence of small
            masters and needs a `RobustProblem`; ``"auto"`` picks by size.
        settings: Tolerance, limits and native options; the defaults of `Settings` if None.
        callback: Called with (elapsed seconds, upper, lower) whenever a certified bound improves.
        warm_start: A previous result, or a network, to start from; its objective is an upper bound from the first
            moment.

    Returns:
        A `Result`; never an exception because a solver did not converge.

    Raises:
        UnknownNameError: There is no such backend, method or native option.
        BackendUnavailableError: The backend is known but cannot run here.
        UnsupportedProgramError: The backend lacks a cone that the programme needs.
        LicenceError: The solver refused for want of a licence.
        InputError: The warm start does not fit the problem.
    """
    settings = settings or Settings()
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    if not isinstance(problem, Problem):
        raise InputError(f"problem is {type(problem).__name__}; expected e.g. StandardSDP or AdversarialSDP.")
    if method == "cutting-set" and not isinstance(problem, RobustProblem):
        raise InputError(
            f"{type(problem).__name__} offers no exact worst case, so method 'cutting-set' does not apply."
        )
    clock = time.perf_counter()
    chosen, picked, reasons = select(problem.parts[0], backend, method)
    if (reason := chosen.unavailable()) is not None:
        raise BackendUnavailableError(f"backend {chosen.name!r} cannot run here: {reason}")
    if picked == "cutting-set" or not chosen.capabilities.structured:
        require_cone_types(problem.parts[0].cones, chosen.capabilities.cones, chosen.name)
    if isinstance(chosen, ChecksSettings):
        chosen.check_settings(settings)
    if picked == "cutting-set" and not chosen.capabilities.duals:
        raise UnsupportedProgramError(
            f"backend {chosen.name!r} returns no dual variables, which method 'cutting-set' needs; use 'direct'."
        )
    starts = _starts(problem, warm_start)
    solution = warm_start.solution if isinstance(warm_start, Result) and len(starts) == 1 else None
    deadline = None if settings.time_limit is None else clock + settings.time_limit
    run = _Run(
        problem,
        chosen,
        _isolatable(backend, chosen),
        picked,
        reasons,
        settings,
        callback,
        starts,
        solution,
        clock,
        Monitor(deadline),
    )
    # What a backend returns may be anything; overflow in judging it is not worth a warning.
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    with sigint_stops(run.monitor), blas_threads(settings.threads), quiet:
        run.bound_starts()
        results = [run.solve_part(k) for k in range(len(problem.parts))]
        return run.finish(results)


@dataclass
class _Run(Generic[N]):
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
    trace: list[TracePoint] = field(default_factory=list)
    bounds: list[Certificate] = field(default_factory=list)

    def bound_starts(self) -> None:
        """Bounds before any solver runs: the starting networks' objectives and own multipliers."""
        for single, start in zip(self.problem.parts, self.starts, strict=True):
            network = start or single.trivial_network()
            lower = single.lower_bound(single.network_multipliers(network))
            self.bounds.append(Certificate(single.objective(network), lower))
        self._report(0, self.bounds[0])

    def solve_part(self, k: int) -> Result[N]:
        """Solve one binary problem within what is left of the time."""
        part, began = self.problem.parts[k], time.perf_counter()
        first_trace = len(self.trace)
        monitor = self._part_monitor(k, began)
        if self.method == "cutting-set":
            result = self._by_cutting_set(part, k, monitor)
        else:
            result = self._directly(part, k, monitor, self.bounds[k])
        self._report(k, result.certificate)
        wall = time.perf_counter() - began
        times = replace(result.times, wall=wall)
        return replace(result, times=times, trace=tuple(self.trace[first_trace:]))

    def _part_monitor(self, k: int, began: float) -> Monitor:
        """A fair share of the remaining time for each of the remaining parts."""
        deadline = self.monitor.deadline
        if deadline is not None:
            deadline = began + (deadline - began) / (len(self.problem.parts) - k)
        return self.monitor.sharing(deadline, lambda upper, lower: self._report(k, Certificate(upper, lower)))

    def _directly(self, part: Problem[N], k: int, monitor: Monitor, known: Certificate) -> Result[N]:
        network = self.starts[k] or part.trivial_network()
        if monitor.should_stop:
            return self._result(network, known, Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT)
        clock = time.perf_counter()
        structured = self._structured(part)
        program = part.to_conic() if structured is None else structured
        if isinstance(program, ConicProgram):
            require_cones(program, self.backend.capabilities.cones, self.backend.name)
        times = Times(assemble=time.perf_counter() - clock)
        certificate, solution, iterations, attempts = known, self.warm_solution, 0, 0
        tolerance = self.settings.tolerance
        while True:
            began = time.perf_counter()
            settings = self.settings.replace(tolerance=tolerance, time_limit=_at_least_a_moment(monitor.remaining))
            solution = self._run_backend(program, settings, monitor, solution)
            solved = time.perf_counter()
            found, certificate = self._certified(part, solution, network, certificate)
            network = found
            iterations, attempts = iterations + solution.iterations, attempts + 1
            times = replace(
                times,
                setup=times.setup + solution.setup_seconds,
                solve=times.solve + solved - began - solution.setup_seconds,
                certify=times.certify + time.perf_counter() - solved,
            )
            self._report(k, certificate)
            # A solver calls itself converged by residuals; the certificate is relative to the optimum.
            tighter = max(TIGHTER * tolerance, self.backend.capabilities.tightest_tolerance)
            converged = solution.termination is Termination.CONVERGED and not monitor.should_stop
            done = certificate.relative_gap <= self.settings.tolerance
            if done or not converged or attempts == ATTEMPTS or structured is not None or tighter >= tolerance:
                break
            tolerance = tighter
        errors = program.dimacs_errors(solution) if isinstance(program, ConicProgram) else ()
        return self._result(
            network, certificate, solution.termination, solution=solution, dimacs_errors=errors, times=times,
            rounds=attempts, iterations=iterations,
        )  # fmt: skip

    def _certified(self, part: Problem[N], solution: Solution, network: N, known: Certificate) -> tuple[N, Certificate]:
        """The better of the known network and the solution's, and the bounds with what the solution adds."""
        certificate = known
        found = _network_of(part, solution)
        if found is not None and (upper := part.objective(found)) < certificate.upper:
            network, certificate = found, replace(certificate, upper=upper)
        for multipliers in part.multiplier_candidates(solution, network):
            certificate = certificate.best(Certificate(certificate.upper, part.lower_bound(multipliers)))
        return network, certificate

    def _by_cutting_set(self, part: Problem[N], k: int, monitor: Monitor) -> Result[N]:
        if not isinstance(part, RobustProblem):
            raise InputError(f"{type(part).__name__} cannot be solved by the cutting-set method.")
        state, termination = cutting_set(
            part,
            lambda program, settings: self._run_backend(self._readable(program), settings, monitor),
            self.settings,
            monitor,
            self.starts[k],
        )
        times = Times(state.assemble, state.setup, state.solve, state.certify)
        return self._result(
            state.best, state.certificate.best(self.bounds[k]), termination, solution=state.solution,
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
            return _of_the_right_shape(found, program)
        except CvxRobustError:
            raise
        except MemoryError as error:
            return Solution(Termination.OUT_OF_MEMORY, message=f"{self.backend.name} ran out of memory: {error}")
        except Exception as error:
            return Solution(Termination.ERROR, message=f"{self.backend.name} raised {type(error).__name__}: {error}")

    def _report(self, k: int, certificate: Certificate) -> None:
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

    def _result(self, network: N, certificate: Certificate, termination: Termination, **known: Any) -> Result[N]:
        solution: Solution | None = known.get("solution")
        return Result(
            network=network,
            certificate=certificate,
            termination=termination,
            quality=judge(certificate, self.settings.tolerance),
            backend=self.backend.name,
            method=self.method,
            selection=self.selection,
            peak_memory=peak_memory(),
            applied={} if solution is None else dict(solution.applied),
            ignored={} if solution is None else dict(solution.ignored),
            message="" if solution is None else solution.message,
            versions=versions(self.backend.name),
            **known,
        )

    def finish(self, results: list[Result[N]]) -> Result[N]:
        """The parts' results as one."""
        trace, wall = tuple(self.trace), time.perf_counter() - self.clock
        if len(results) == 1:
            return replace(results[0], times=replace(results[0].times, wall=wall), trace=trace)
        total = self._total()
        worst = next((r.termination for r in results if r.termination != Termination.CONVERGED), Termination.CONVERGED)
        combined = self._result(self.problem.combine([r.network for r in results]), total, worst)
        phases = ("assemble", "setup", "solve", "certify")
        sums: dict[str, float] = {name: sum(getattr(r.times, name) for r in results) for name in phases}
        return replace(
            combined,
            times=Times(wall=wall, **sums),
            iterations=sum(r.iterations for r in results),
            rounds=sum(r.rounds for r in results),
            trace=trace,
            parts=tuple(results),
            applied=results[0].applied,
            ignored=results[0].ignored,
            message=results[-1].message,
        )


def _at_least_a_moment(seconds: float | None) -> float | None:
    """Time limits of solvers must be positive."""
    return None if seconds is None else max(seconds, 1e-3)


def _of_the_right_shape(solution: Any, program: Any) -> Solution:
    """The solution, with vectors that do not fit the programme taken out: nobody can judge those."""
    if not isinstance(solution, Solution):
        return Solution(Termination.ERROR, message=f"the backend returned {type(solution).__name__}, not a Solution")
    if not isinstance(program, ConicProgram):
        return solution
    sizes = {"x": program.q.size, "s": program.b.size, "y": program.b.size}
    fits = {
        name: vector if vector is not None and np.shape(vector) == (size,) else None
        for name, size in sizes.items()
        for vector in [getattr(solution, name)]
    }
    wrong = [name for name, vector in fits.items() if vector is None and getattr(solution, name) is not None]
    if not wrong:
        return solution
    message = f"the backend returned {', '.join(wrong)} of the wrong shape. {solution.message}"
    return replace(solution, termination=Termination.ERROR, message=message, x=fits["x"], s=fits["s"], y=fits["y"])


def _isolatable(asked: str | Backend, chosen: Backend) -> str | None:
    """The name by which a fresh interpreter finds the backend too: only installed plugins have one."""
    if not isinstance(asked, str):
        return None
    name = chosen.name if asked == "auto" else asked
    installed = {known for record in plugins() if record.distribution for known in record.backends}
    return name if name.partition(":")[0] in installed else None


def _network_of(part: Problem[N], solution: Solution) -> N | None:
    """The network of a backend's answer, None if there is none that fits the problem."""
    if solution.network is None:
        return part.recover(solution) if solution.has_primal else None
    try:
        (network,) = part.separate(solution.network)
    except InputError:
        return None
    return network


def _starts(problem: Problem[N], warm_start: Result[N] | N | None) -> list[N | None]:
    """The parts' networks to start from."""
    if warm_start is None:
        return [None] * len(problem.parts)
    network = warm_start.network if isinstance(warm_start, Result) else warm_start
    if not isinstance(network, TwoLayerNetwork):
        raise InputError(f"warm_start is {type(warm_start).__name__}; expected a Result or a network.")
    try:
        return list(problem.separate(network))
    except InputError as error:
        raise InputError(f"warm_start does not fit: {error}") from error
