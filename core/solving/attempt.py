"""One programme by one backend and one method: asked, judged, and kept with the bounds known before."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic.program import ConicProgram, require_cones
from cvxrobust.core.contracts.backend import Backend, Monitor
from cvxrobust.core.contracts.problem import Problem, RobustProblem
from cvxrobust.core.contracts.result import Result, Solution, Termination, Times, grade
from cvxrobust.core.contracts.weight import Weighed
from cvxrobust.core.environment import peak_memory, versions
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.cutting_set.method import cutting_set
from cvxrobust.core.solving.invoke import invoke
from cvxrobust.core.solving.ledger import Ledger
from cvxrobust.core.solving.plan import Way, structured_program
from cvxrobust.core.solving.sanitize import network_of, proved, start_from

ATTEMPTS = 3
"""Times that the direct method runs a backend which converged by its own measure but not by the certificate's."""

TIGHTER = 1e-2
"""Factor on the tolerance from one attempt to the next."""


KEEPING = 0.1
"""Share of a solver's time that may be spent on judging iterates in case it has to be ended."""

JUDGING = 3.0
"""Looks at a problem that it takes to judge a conic answer."""

MOST_JUDGING = 0.1
"""Share of the time that is left which may be kept back for that."""

GRACE = 0.3
"""Seconds after the deadline that may go into making multipliers prove more; an answer is late a second after it."""


@dataclass(frozen=True)
class Task(Generic[N]):
    """One programme to solve.

    Args:
        part: The problem.
        k: Its number among the parts.
        known: Bounds that `core` has proved.
        start: A network to start from.
        solution: A raw solution of a programme of the same shape to start from.
    """

    part: Problem[N]
    k: int
    known: Certificate
    start: N | None = None
    solution: Solution | None = None


@dataclass(frozen=True)
class Judged(Generic[N]):
    """What an answer is worth.

    Args:
        network: The better of the known network and the answer's.
        certificate: The bounds with what the answer adds.
        unproved: Why its multipliers prove nothing; empty if they do.
    """

    network: N
    certificate: Certificate
    unproved: str = ""


def attempt(way: Way, task: Task[N], settings: Settings, monitor: Monitor, ledger: Ledger[N]) -> Result[N]:
    """Solve one programme by one way; never worse than what was known before."""
    if way.method == "cutting-set":
        return _by_cutting_set(way, task, settings, monitor, ledger)
    return _directly(way, task, settings, monitor, ledger)


def certified(
    part: Problem[N],
    solution: Solution,
    network: N,
    known: Certificate,
    tolerance: float,
    keep: Callable[[N, Certificate], object] | None = None,
    deadline: float | None = None,
) -> Judged[N]:
    """Judge an answer by `core` alone; `keep` hears of every improvement, because the next may take long.

    Multipliers are repaired until `GRACE` after the deadline, a ``time.perf_counter()`` value.
    """
    certificate, unproved = known, ""
    found = network_of(part, solution)
    if found is not None and (upper := part.objective(found)) < certificate.upper:
        network, certificate = found, replace(certificate, upper=upper)
        if keep is not None:
            keep(network, certificate)
    until = math.inf if deadline is None else deadline + GRACE
    for multipliers in part.multiplier_candidates(solution, network, lambda: time.perf_counter() > until):
        lower, reason = proved(part, multipliers)
        unproved = unproved or reason
        certificate = certificate.best(Certificate(certificate.upper, lower))
        if keep is not None:
            keep(network, certificate)
        if certificate.relative_gap <= tolerance:
            break  # on large data another candidate is another pass
    return Judged(network, certificate, unproved)


@dataclass
class IterateRecorder(Generic[N]):
    """Judges iterates of a running solver, in case it has to be ended, as seldom as that takes little of its time.

    Args:
        task: What it solves.
        tolerance: Relative gap to reach.
        ledger: Keeps what they are worth.
    """

    task: Task[N]
    tolerance: float
    ledger: Ledger[N]
    _not_before: float = 0.0

    def __call__(self, iterate: Callable[[], Solution]) -> None:
        """Judge an iterate, unless the last one has taken too much time."""
        began = time.perf_counter()
        if began < self._not_before:
            return
        part, k = self.task.part, self.task.k
        network, known = self.ledger.proved[k]
        certified(part, iterate(), network, known, self.tolerance, partial(self.ledger.keep, k))
        ended = time.perf_counter()
        self._not_before = ended + (ended - began) / KEEPING


def result_of(
    way: Way,
    judged: Judged[N],
    termination: Termination,
    tolerance: float,
    solution: Solution | None = None,
    **known: Any,
) -> Result[N]:
    """A result of one way, with what all of them say."""
    said = ("" if solution is None else solution.message, judged.unproved)
    return Result(
        network=judged.network,
        certificate=judged.certificate,
        termination=termination,
        quality=grade(judged.certificate, tolerance),
        backend=way.backend.name,
        method=way.method,
        solution=solution,
        peak_memory=max(peak_memory(), 0 if solution is None else solution.peak_memory),
        applied={} if solution is None else dict(solution.applied),
        ignored={} if solution is None else dict(solution.ignored),
        message="; ".join(filter(None, said)),
        versions=versions(way.backend.name),
        **known,
    )


def at_least_a_moment(seconds: float | None) -> float | None:
    """Time limits of solvers must be positive."""
    return None if seconds is None else max(seconds, 1e-3)


def _for_the_solver(part: Problem[Any], program: Any, left: float | None) -> float | None:
    """What a solver has of the time that is left: a conic one does not know that its answer is judged afterwards."""
    if left is None or not isinstance(program, ConicProgram):
        return left
    judging = JUDGING * part.look if isinstance(part, Weighed) else 0.0
    return left - min(MOST_JUDGING * left, judging)


def _directly(way: Way, task: Task[N], settings: Settings, monitor: Monitor, ledger: Ledger[N]) -> Result[N]:
    part, backend, asked = task.part, way.backend, settings.tolerance
    judged = Judged(task.start or part.trivial_network(), task.known)
    if monitor.should_stop:
        stopped = Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT
        return result_of(way, judged, stopped, asked)
    clock = time.perf_counter()
    structured = structured_program(backend, part)
    program = part.to_conic() if structured is None else structured
    if isinstance(program, ConicProgram):
        require_cones(program, backend.capabilities.cones, backend.name)
    times = Times(assemble=time.perf_counter() - clock)
    solution, iterations, attempts, keep = task.solution, 0, 0, partial(ledger.keep, task.k)
    if structured is not None:
        # What reads structure starts from a network.
        solution = None if task.start is None else start_from(part, task.start)
    tolerance = _first_tolerance(backend, settings)
    while True:
        began = time.perf_counter()
        left = _for_the_solver(part, program, monitor.remaining)
        own = settings.replace(tolerance=tolerance, time_limit=at_least_a_moment(left))
        solution = invoke(backend, way.isolated, program, own, monitor, solution)
        solved = time.perf_counter()
        judged = certified(part, solution, judged.network, judged.certificate, asked, keep, monitor.deadline)
        iterations, attempts = iterations + solution.iterations, attempts + 1
        times = replace(
            times,
            setup=times.setup + solution.setup_seconds,
            solve=times.solve + solved - began - solution.setup_seconds,
            certify=times.certify + time.perf_counter() - solved,
        )
        ledger.report(task.k, judged.certificate)
        # A solver calls itself converged by residuals; the certificate is relative to the optimum.
        tighter = max(TIGHTER * tolerance, backend.capabilities.tightest_tolerance)
        claimed = solution.termination is Termination.CONVERGED or bool(solution.doubt)
        converged = claimed and not monitor.should_stop
        done = judged.certificate.relative_gap <= asked
        if done or not converged or attempts == ATTEMPTS or structured is not None or tighter >= tolerance:
            break
        tolerance = tighter
    errors = program.dimacs_errors(solution) if isinstance(program, ConicProgram) else ()
    termination = solution.termination
    if termination is Termination.NUMERICAL and judged.certificate.relative_gap <= asked:
        termination = Termination.CONVERGED  # it was asked for more than the caller wanted
    return result_of(
        way, judged, termination, asked, solution, dimacs_errors=errors, times=times, rounds=attempts,
        iterations=iterations,
    )  # fmt: skip


def _by_cutting_set(way: Way, task: Task[N], settings: Settings, monitor: Monitor, ledger: Ledger[N]) -> Result[N]:
    part, backend = task.part, way.backend
    if not isinstance(part, RobustProblem):
        raise InputError(f"{type(part).__name__} cannot be solved by the cutting-set method.")

    def solve_master(program: ConicProgram, own: Settings) -> Solution:
        require_cones(program, backend.capabilities.cones, backend.name)
        own = own.replace(tolerance=_first_tolerance(backend, settings))
        return invoke(backend, way.isolated, program, own, monitor)

    keep = partial(ledger.keep, task.k)
    state, termination = cutting_set(part, solve_master, settings, monitor, task.start, task.known, keep)
    return result_of(
        way, Judged(state.best, state.certificate), termination, settings.tolerance, state.solution,
        dimacs_errors=state.errors, times=Times(state.assemble, state.setup, state.solve, state.certify),
        iterations=state.iterations, rounds=state.rounds,
    )  # fmt: skip


def _first_tolerance(backend: Backend, settings: Settings) -> float:
    """What to ask the solver for first: two more digits cost an interior point a few iterations, a retry all."""
    asked, can = settings.tolerance, backend.capabilities
    return asked if can.method != "interior-point" else min(asked, max(TIGHTER * asked, can.tightest_tolerance))
