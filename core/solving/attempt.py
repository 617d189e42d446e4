"""One programme by one backend and one method: asked, judged, and kept with the bounds known before."""

import time
from dataclasses import replace
from typing import Any

from cvxrobust.core.conic.program import ConicProgram, require_cones
from cvxrobust.core.contracts.backend import Backend, Monitor, is_awaited
from cvxrobust.core.contracts.problem import Problem, RobustProblem
from cvxrobust.core.contracts.result import Result, Solution, Termination, Times, grade
from cvxrobust.core.contracts.weight import Weighed
from cvxrobust.core.environment import peak_memory, versions
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.cutting_set.method import Beginning, cutting_set
from cvxrobust.core.solving.invoke import invoke
from cvxrobust.core.solving.judging.sanitize import start_from
from cvxrobust.core.solving.judging.verdict import Judged
from cvxrobust.core.solving.judging.witness import Witness
from cvxrobust.core.solving.plan import Way

ATTEMPTS = 3
"""Times that the direct method runs a backend which converged by its own measure but not by the certificate's."""

TIGHTER = 1e-2
"""Factor on the tolerance from one attempt to the next."""

JUDGING = 3.0
"""Looks at a problem that it takes to judge a conic answer."""

MOST_JUDGING = 0.1
"""Share of the time that is left which may be kept back for that."""


def attempt(way: Way, witness: Witness[N], settings: Settings, monitor: Monitor) -> Result[N]:
    """Solve one programme by one way; never worse than what was known before."""
    by = _by_cutting_set if way.method == "cutting-set" else _directly
    result = by(way, witness, settings, monitor)
    return replace(result, complaints=witness.complaints(result.certificate))


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


def _directly(way: Way, witness: Witness[N], settings: Settings, monitor: Monitor) -> Result[N]:
    task, backend, asked = witness.task, way.backend, settings.tolerance
    part = task.part
    if monitor.should_stop and not is_awaited(backend):
        stopped = Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT
        return result_of(way, witness.judged, stopped, asked)
    clock = time.perf_counter()
    structured = task.structure.read_by(backend)
    program = part.to_conic() if structured is None else structured
    if isinstance(program, ConicProgram):
        require_cones(program, backend.capabilities.cones, backend.name)
    times = Times(assemble=time.perf_counter() - clock)
    solution, iterations, attempts = task.solution, 0, 0
    if structured is not None:
        # What reads structure starts from a network.
        solution = None if task.start is None else start_from(part, task.start)
    tolerance = _first_tolerance(backend, settings)
    while True:
        began, watching = time.perf_counter(), witness.seconds
        left = _for_the_solver(part, program, monitor.remaining)
        own = settings.replace(tolerance=tolerance, time_limit=at_least_a_moment(left))
        solution = invoke(backend, way.isolated, program, own, monitor, solution)
        solved = time.perf_counter()
        watched = witness.seconds - watching
        witness.conclude(solution, monitor.deadline)
        iterations, attempts = iterations + solution.iterations, attempts + 1
        times = replace(
            times,
            setup=times.setup + solution.setup_seconds,
            solve=times.solve + solved - began - watched - solution.setup_seconds,
            certify=times.certify + watched + time.perf_counter() - solved,
        )
        # A solver calls itself converged by residuals; the certificate is relative to the optimum.
        tighter = max(TIGHTER * tolerance, backend.capabilities.tightest_tolerance)
        claimed = solution.termination is Termination.CONVERGED or bool(solution.doubt)
        converged = claimed and not monitor.should_stop
        done = witness.judged.certificate.relative_gap <= asked
        if done or not converged or attempts == ATTEMPTS or structured is not None or tighter >= tolerance:
            break
        tolerance = tighter
    errors = program.dimacs_errors(solution) if isinstance(program, ConicProgram) else ()
    termination = solution.termination
    if termination is Termination.NUMERICAL and witness.judged.certificate.relative_gap <= asked:
        termination = Termination.CONVERGED  # it was asked for more than the caller wanted
    return result_of(
        way, witness.judged, termination, asked, solution, dimacs_errors=errors, times=times, rounds=attempts,
        iterations=iterations,
    )  # fmt: skip


def _by_cutting_set(way: Way, witness: Witness[N], settings: Settings, monitor: Monitor) -> Result[N]:
    task, backend = witness.task, way.backend
    part = task.part
    if not isinstance(part, RobustProblem):
        raise InputError(f"{type(part).__name__} cannot be solved by the cutting-set method.")

    def solve_master(program: ConicProgram, own: Settings) -> Solution:
        require_cones(program, backend.capabilities.cones, backend.name)
        # Rounds are reported as they end; what a solver prints of each master would drown that.
        own = own.replace(tolerance=_first_tolerance(backend, settings), verbose=False)
        return invoke(backend, way.isolated, program, own, monitor)

    beginning = Beginning(task.start, task.known)
    state, termination = cutting_set(part, solve_master, settings, monitor, beginning, witness.take_proved)
    if state.solution is not None and state.solution.termination is Termination.ERROR:
        termination = Termination.ERROR  # as where one programme is all: a backend's author should hear of it
    return result_of(
        way, Judged(state.best, state.certificate), termination, settings.tolerance, state.solution,
        dimacs_errors=state.errors, times=Times(state.assemble, state.setup, state.solve, state.certify),
        iterations=state.iterations, rounds=state.rounds,
    )  # fmt: skip


def _first_tolerance(backend: Backend, settings: Settings) -> float:
    """What to ask the solver for first: two more digits cost an interior point a few iterations, a retry all."""
    asked, can = settings.tolerance, backend.capabilities
    return asked if can.method != "interior-point" else min(asked, max(TIGHTER * asked, can.tightest_tolerance))
