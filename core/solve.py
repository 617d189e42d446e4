"""The front door: any problem, any backend, one judge."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from cvxrobust.core.backend import Backend, Monitor
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic import ConicProgram, require_cones
from cvxrobust.core.cutting_set import cutting_set
from cvxrobust.core.errors import (
    BackendUnavailableError,
    InputError,
    UnknownNameError,
    UnsupportedProgramError,
)
from cvxrobust.core.interrupt import sigint_stops
from cvxrobust.core.networks import PolynomialNetwork
from cvxrobust.core.problem import Problem, RobustProblem
from cvxrobust.core.registry import backends, get_backend
from cvxrobust.core.result import Callback, Result, Solution, Termination, Times, TracePoint, judge
from cvxrobust.core.settings import Settings
from cvxrobust.core.translation import blas_threads

METHODS = ("auto", "direct", "cutting-set")
DIRECT_ROWS = 20_000
"""Above this many rows of the direct programme the cutting-set method is picked for robust problems."""


def solve(
    problem: Problem,
    backend: str | Backend = "auto",
    method: str = "auto",
    settings: Settings | None = None,
    *,
    callback: Callback | None = None,
    warm_start: Result | PolynomialNetwork | None = None,
) -> Result:
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
    run = _Run.begin(problem, backend, method, settings, callback, warm_start)
    with sigint_stops(run.monitor), blas_threads(settings.threads):
        results = [run.solve_part(k) for k in range(len(problem.parts))]
    return run.finish(results)


@dataclass
class _Run:
    """One call of `solve`: choices made, clock started."""

    problem: Problem
    backend: Backend
    method: str
    selection: str
    settings: Settings
    callback: Callback | None
    starts: list[PolynomialNetwork | None]
    clock: float
    monitor: Monitor
    trace: list[TracePoint] = field(default_factory=list)
    bounds: list[Certificate] = field(default_factory=list)

    @classmethod
    def begin(
        cls,
        problem: Problem,
        backend: str | Backend,
        method: str,
        settings: Settings,
        callback: Callback | None,
        warm_start: Result | PolynomialNetwork | None,
    ) -> "_Run":
        clock = time.perf_counter()
        part = problem.parts[0]
        chosen, picked_method, reasons = _select(part, backend, method)
        if (reason := chosen.unavailable()) is not None:
            raise BackendUnavailableError(f"backend {chosen.name!r} cannot run here: {reason}")
        starts = _starts(problem, warm_start)
        deadline = None if settings.time_limit is None else clock + settings.time_limit
        run = cls(
            problem,
            chosen,
            picked_method,
            reasons,
            settings,
            callback,
            starts,
            clock,
            Monitor(deadline=deadline),
        )
        for k, single in enumerate(problem.parts):
            network = starts[k] or single.trivial_network()
            lower = single.lower_bound(single.network_multipliers(network))
            run.bounds.append(Certificate(single.objective(network), lower))
        run._report(0, run.bounds[0])
        return run

    def solve_part(self, k: int) -> Result:
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

    def _directly(self, part: Problem, k: int, monitor: Monitor, known: Certificate) -> Result:
        network = self.starts[k] or part.trivial_network()
        if monitor.should_stop:
            return self._result(network, known, Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT)
        clock = time.perf_counter()
        structured = self._structured(part)
        program = part.to_conic() if structured is None else structured
        if isinstance(program, ConicProgram):
            require_cones(program, self.backend.capabilities.cones, self.backend.name)
        assembled = time.perf_counter()
        limit = monitor.remaining
        settings = self.settings if limit is None else self.settings.replace(time_limit=max(limit, 1e-3))
        solution = self._run_backend(program, settings, monitor)
        solved = time.perf_counter()
        certificate = known
        errors: tuple[float, ...] = ()
        if solution.has_primal:
            found = solution.network if solution.network is not None else part.recover(solution)
            upper = part.objective(found)
            if upper < certificate.upper:
                network, certificate = found, replace(certificate, upper=upper)
        for multipliers in self._multiplier_sources(part, solution, network):
            certificate = certificate.best(Certificate(certificate.upper, part.lower_bound(multipliers)))
        if isinstance(program, ConicProgram):
            errors = program.dimacs_errors(solution)
        times = Times(
            assembled - clock,
            solution.setup_seconds,
            solved - assembled - solution.setup_seconds,
            time.perf_counter() - solved,
        )
        return self._result(
            network, certificate, solution.termination, solution=solution, dimacs_errors=errors, times=times, rounds=1,
            iterations=solution.iterations,
        )  # fmt: skip

    @staticmethod
    def _multiplier_sources(part: Problem, solution: Solution, network: PolynomialNetwork) -> Iterator[Any]:
        if solution.multipliers is not None:
            yield solution.multipliers
        elif solution.has_dual:
            yield part.multipliers(solution)
        yield part.network_multipliers(network)

    def _by_cutting_set(self, part: Problem, k: int, monitor: Monitor) -> Result:
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

    def _structured(self, part: Problem) -> Any:
        readable = self.backend.capabilities.structured
        program = part.to_structured() if readable else None
        return program if getattr(program, "kind", None) in readable else None

    def _readable(self, program: ConicProgram) -> ConicProgram:
        require_cones(program, self.backend.capabilities.cones, self.backend.name)
        return program

    def _run_backend(self, program: Any, settings: Settings, monitor: Monitor) -> Solution:
        optional = {"monitor": monitor} if self.backend.capabilities.monitored else {}
        return self.backend.solve(program, settings, **optional)

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

    def _result(
        self, network: PolynomialNetwork, certificate: Certificate, termination: Termination, **known: Any
    ) -> Result:
        solution: Solution | None = known.get("solution")
        return Result(
            network=network,
            certificate=certificate,
            termination=termination,
            quality=judge(certificate, self.settings.tolerance),
            backend=self.backend.name,
            method=self.method,
            selection=self.selection,
            peak_memory=_peak_memory(),
            applied={} if solution is None else dict(solution.applied),
            ignored={} if solution is None else dict(solution.ignored),
            message="" if solution is None else solution.message,
            versions=_versions(self.backend.name),
            **known,
        )

    def finish(self, results: list[Result]) -> Result:
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


def _select(part: Problem, backend: str | Backend, method: str) -> tuple[Backend, str, str]:
    """Pick what the caller left open; says why."""
    reasons = []
    rows = part.conic_rows
    if method == "auto":
        robust = isinstance(part, RobustProblem) and rows > DIRECT_ROWS
        method = "cutting-set" if robust else "direct"
        reasons.append(f"method {method}: the direct programme has {rows} rows (limit {DIRECT_ROWS})")
    if backend != "auto":
        return get_backend(backend), method, "; ".join(reasons)
    needed = part.cones
    candidates = [b for b in backends().values() if needed <= b.capabilities.cones and b.unavailable() is None]
    if not candidates:
        names = ", ".join(sorted(cone.__name__ for cone in needed))
        raise UnsupportedProgramError(f"no available backend reads the cones {names}; see `cvxrobust backends doctor`.")
    # Interior points are accurate and, at the sizes that reach here, also the fastest to a tight certified gap.
    interior = [b for b in candidates if b.capabilities.method == "interior-point"]
    chosen = (interior or candidates)[0]
    reasons.append(f"backend {chosen.name}: {chosen.capabilities.method or 'available'}, reads every cone needed")
    return chosen, method, "; ".join(reasons)


def _starts(problem: Problem, warm_start: Result | PolynomialNetwork | None) -> list[PolynomialNetwork | None]:
    """The parts' networks to start from."""
    if warm_start is None:
        return [None] * len(problem.parts)
    network = warm_start.network if isinstance(warm_start, Result) else warm_start
    if not isinstance(network, PolynomialNetwork):
        raise InputError(f"warm_start is {type(warm_start).__name__}; expected a Result or a network.")
    trivial = problem.trivial_network()
    if network.n_features != trivial.n_features or network.alpha.shape[1:] != trivial.alpha.shape[1:]:
        raise InputError(
            f"warm_start has {network.n_features} inputs and outputs of shape {network.alpha.shape[1:]}; "
            f"this problem needs {trivial.n_features} and {trivial.alpha.shape[1:]}."
        )
    if tuple(network.activation) != tuple(trivial.activation):
        raise InputError(f"warm_start has activation {network.activation}; this problem has {trivial.activation}.")
    return list(problem.separate(network))


def _peak_memory() -> int:
    """High-water mark of this process's resident memory in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        pass
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def _versions(backend: str) -> dict[str, str]:
    """Versions of what took part."""
    found = {"python": sys.version.split()[0]}
    for package in ("cvxrobust", "numpy", "scipy", backend):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
