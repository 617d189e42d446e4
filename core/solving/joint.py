"""The classes of a one-versus-all problem solved in one go, by backends that can.

They share the passes over the data and, on a GPU, its attention; the answers are judged one by one, like any others.
"""

import time
from dataclasses import replace
from typing import Any

from cvxrobust.core.contracts.backend import Monitor, SolvesTogether, harmless_options, is_awaited
from cvxrobust.core.contracts.problem import Problem, RefinableProblem
from cvxrobust.core.contracts.result import Result, Solution, Termination, Times
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.attempt import at_least_a_moment, result_of
from cvxrobust.core.solving.judging.ledger import Ledger
from cvxrobust.core.solving.judging.sanitize import guarded, made_safe, start_from
from cvxrobust.core.solving.judging.verdict import Task
from cvxrobust.core.solving.judging.witness import Witness
from cvxrobust.core.solving.plan import Plan, Way
from cvxrobust.core.solving.reporting.lines import Reporter, watched_by
from cvxrobust.core.solving.structure import Structure


def joint_program(problem: Problem[Any], way: Way) -> Any:
    """The programme of all parts, if they can be solved in one go: read by their structure, with nothing to follow."""
    if len(problem.parts) < 2 or way.method != "direct" or way.hands_over or isinstance(problem, RefinableProblem):
        return None
    if not isinstance(way.backend, SolvesTogether):
        return None
    program = Structure(problem).read_by(way.backend)
    return program if program is not None and program.kind in way.backend.together else None


def solve_jointly(
    problem: Problem[N],
    plan: Plan,
    settings: Settings,
    ledger: Ledger[N],
    monitor: Monitor,
    reporter: Reporter | None = None,
) -> list[Result[N]] | None:
    """One result per part; None if they have to be solved one by one."""
    way = plan.ways[0]
    backend, program = way.backend, joint_program(problem, way)
    stopped = monitor.should_stop and not is_awaited(backend)
    if program is None or stopped or not isinstance(backend, SolvesTogether):
        return None
    parts = problem.parts
    tasks = [Task(Structure(part), k, ledger.bounds[k], ledger.starts[k]) for k, part in enumerate(parts)]
    witnesses = [Witness(task, settings.tolerance, ledger) for task in tasks]
    began = time.perf_counter()
    monitors = [watched_by(reporter, monitor, way, witness) for witness in witnesses]
    starts = [None if task.start is None else start_from(task.part, task.start) for task in tasks]
    own = settings.replace(time_limit=at_least_a_moment(monitor.remaining))
    answers = guarded(backend, lambda: backend.solve_together(program, own, monitors, starts), own)
    if isinstance(answers, Solution):  # of a backend that raised
        answers = [answers] * len(parts)
    elif not isinstance(answers, list | tuple) or len(answers) != len(parts):
        wrong = Solution(Termination.ERROR, message=f"{backend.name} did not return one solution per class")
        answers = [wrong] * len(parts)
    solutions = [made_safe(answer, program, own, harmless_options(backend)) for answer in answers]
    watched = sum(witness.seconds for witness in witnesses)
    seconds = (time.perf_counter() - began - watched) / len(parts)
    return [
        _judged(way, witness, solution, seconds, settings, monitor.deadline)
        for witness, solution in zip(witnesses, solutions, strict=True)
    ]


def _judged(
    way: Way, witness: Witness[N], solution: Solution, seconds: float, settings: Settings, deadline: float | None
) -> Result[N]:
    ledger = witness.ledger
    began, told = time.perf_counter(), len(ledger.trace)
    watched = witness.seconds
    witness.conclude(solution, deadline)
    judged = witness.judged
    times = Times(solve=seconds, certify=watched + time.perf_counter() - began)
    result = result_of(
        way, judged, solution.termination, settings.tolerance, solution, times=times, rounds=1,
        iterations=solution.iterations, complaints=witness.complaints(judged.certificate),
    )  # fmt: skip
    wall = seconds + watched + time.perf_counter() - began
    return replace(result, times=replace(times, wall=wall), trace=ledger.trace[told:])
