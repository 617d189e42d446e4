"""The classes of a one-versus-all problem solved in one go, by backends that can.

They share the passes over the data and, on a GPU, its attention; the answers are judged one by one, like any others.
"""

import time
from dataclasses import replace
from typing import Any

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import SolvesTogether
from cvxrobust.core.contracts.problem import RefinableProblem
from cvxrobust.core.contracts.result import Result, Solution, Termination, Times
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.networks.base import N
from cvxrobust.core.solving.run import Run


def solve_parts(run: Run[N]) -> list[Result[N]]:
    """One result per part of a call's problem."""
    if solvable_together(run):
        return solve_parts_together(run)
    return [run.solve_part(k) for k in range(len(run.problem.parts))]


def solvable_together(run: Run[N]) -> bool:
    """Whether a call's parts can be solved in one go: several, read by their structure, with nothing to follow."""
    parts = run.problem.parts
    if len(parts) < 2 or run.method != "direct" or run.polish is not None:
        return False
    if not isinstance(run.backend, SolvesTogether) or isinstance(run.problem, RefinableProblem):
        return False
    kind = getattr(run.problem.to_structured(), "kind", None)
    return kind in run.backend.capabilities.structured


def solve_parts_together(run: Run[N]) -> list[Result[N]]:
    """One result per part."""
    parts, backend = run.problem.parts, run.backend
    if not isinstance(backend, SolvesTogether) or run.monitor.should_stop:
        return [run.solve_part(k) for k in range(len(parts))]
    began = time.perf_counter()
    # What the backend reports about its progress enters the trace, but proves nothing.
    known = list(run.bounds)
    monitors = [run.monitor.sharing(run.monitor.deadline, run.listener(k)) for k in range(len(parts))]
    starts = [None if start is None else Solution(Termination.INTERRUPTED, network=start) for start in run.starts]
    limit = run.monitor.remaining
    settings = run.settings.replace(time_limit=None if limit is None else max(limit, 1e-3))
    try:
        solutions: list[Any] = backend.solve_together(run.problem.to_structured(), settings, monitors, starts)
    except CvxRobustError:
        raise
    except MemoryError as error:
        solutions = [Solution(Termination.OUT_OF_MEMORY, message=f"{backend.name} ran out of memory: {error}")]
    except Exception as error:
        solutions = [Solution(Termination.ERROR, message=f"{backend.name} raised {type(error).__name__}: {error}")]
    if not isinstance(solutions, list) or len(solutions) != len(parts):
        failed = solutions[0] if isinstance(solutions, list) and solutions else None
        wrong = Solution(Termination.ERROR, message=f"{backend.name} did not return one solution per class")
        solutions = [failed if isinstance(failed, Solution) else wrong] * len(parts)
    solved = (time.perf_counter() - began) / len(parts)
    return [_judged(run, k, solution, known[k], solved) for k, solution in enumerate(solutions)]


def _judged(run: Run[N], k: int, solution: Any, known: Certificate, seconds: float) -> Result[N]:
    part, began, first = run.problem.parts[k], time.perf_counter(), len(run.trace)
    if not isinstance(solution, Solution):
        solution = Solution(Termination.ERROR, message=f"the backend returned {type(solution).__name__}")
    network, certificate = run.certified(part, solution, run.starts[k] or part.trivial_network(), known)
    times = Times(solve=seconds, certify=time.perf_counter() - began)
    result = run.result(
        network, certificate, solution.termination, solution=solution, times=times, rounds=1,
        iterations=solution.iterations,
    )  # fmt: skip
    run.report(k, certificate)
    wall = seconds + time.perf_counter() - began
    return replace(result, times=replace(times, wall=wall), trace=tuple(run.trace[first:]))
