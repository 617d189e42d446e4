"""Judging an answer from anywhere: `solve` without a solver."""

import time
from dataclasses import replace
from typing import Any

import numpy as np

from cvxrobust.core.conic.cones import PSD, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.backend import Capabilities, Monitor
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.provenance import with_provenance
from cvxrobust.core.contracts.result import Result, Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.attempt import attempt
from cvxrobust.core.solving.judging.ledger import Ledger
from cvxrobust.core.solving.judging.verdict import Task
from cvxrobust.core.solving.judging.witness import Witness
from cvxrobust.core.solving.plan import Plan, Way
from cvxrobust.core.solving.session import Session
from cvxrobust.core.solving.structure import Structure


def score(problem: Problem[N], solution: Solution, *, tolerance: float = 1e-6, source: str = "given") -> Result[N]:
    """What a solution of `problem.to_conic()` is worth, whoever found it.

    The network recovered from x gives the upper bound, its exact worst cases included; y gives the lower bound, or,
    where that is better or there is no y, the network itself does. The solution may be anything: neither bound trusts
    it. The network without neurons is the worst that is handed back.

    Args:
        problem: The problem; of one-versus-all problems, all classes at once.
        solution: x and s or y, or all three, of its programme; None stands for what is not known.
        tolerance: Relative certified gap up to which the result counts as certified.
        source: Where the solution comes from, for ``Result.backend``.

    Returns:
        As from `solve`, with the DIMACS errors of the solution; the seconds are those of the judging.

    Raises:
        InputError: A vector's length is not the programme's, or there is no conic programme.
    """
    if not isinstance(problem, Problem) or problem.conic_rows == 0:
        raise InputError(f"{type(problem).__name__} has no conic programme, so there is no solution of one to score.")
    clock, parts = time.perf_counter(), problem.parts
    given = _Given(source, solution)
    settings, structures = Settings(tolerance=tolerance), [Structure(part) for part in parts]
    plan = Plan((Way(given, "direct"),), (settings,), structures[0])
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        ledger: Ledger[N] = Ledger(parts, [None] * len(parts), None, clock)
        way, monitor = plan.ways[0], Monitor()
        tasks = [Task(structure, k, ledger.bounds[k]) for k, structure in enumerate(structures)]
        results = [attempt(way, Witness(task, tolerance, ledger), settings, monitor) for task in tasks]
        given.check_used_up()
        found = Session(problem, plan, settings, ledger, monitor, lambda refined: plan).finish(results)
        if len(parts) > 1:
            found = replace(found, solution=solution, dimacs_errors=problem.to_conic().dimacs_errors(solution))
    return with_provenance(found, problem)


class _Given:
    """A backend that has the answer already, to each of the parts in turn."""

    capabilities = Capabilities(
        # Nothing tighter is worth asking for, so that it is asked once.
        cones=frozenset({Zero, NonNegative, SecondOrder, PSD, Exponential}), tightest_tolerance=1.0, method="given",
    )  # fmt: skip

    def __init__(self, name: str, solution: Solution) -> None:
        self.name = name
        self._solution = solution
        self._rows = self._columns = 0

    def unavailable(self) -> None:
        """It is there."""
        return None

    def solve(self, program: ConicProgram, settings: Settings, *args: Any, **optional: Any) -> Solution:
        """The next rows and columns of the answer."""
        rows = slice(self._rows, self._rows + program.b.size)
        columns = slice(self._columns, self._columns + program.q.size)
        self._rows, self._columns = rows.stop, columns.stop
        x, s, y = self._solution.x, self._solution.s, self._solution.y
        return replace(
            self._solution,
            x=None if x is None else x[columns],
            s=None if s is None else s[rows],
            y=None if y is None else y[rows],
        )

    def check_used_up(self) -> None:
        """Whether the parts took all there is.

        Raises:
            InputError: The programme has other sizes.
        """
        sizes = {"x": self._columns, "s": self._rows, "y": self._rows}
        for name, size in sizes.items():
            vector = getattr(self._solution, name)
            if vector is not None and np.shape(vector) != (size,):
                raise InputError(
                    f"the solution's {name} has shape {np.shape(vector)}, but the programme of this problem needs "
                    f"({size},)."
                )
