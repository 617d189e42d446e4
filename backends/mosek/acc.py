"""A programme as it stands: free variables, and ``b - A x`` in its cones as affine conic constraints.

MOSEK minimises c'x subject to F x + g in D, with the dual: maximise -g'y subject to F'y = c, y in D* (Optimizer API,
"Conic optimization"). With F = -A and g = b that is our own pair of programmes, so its x and its duals are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.backends.mosek.optimiser import Outcome
from cvxrobust.core import PSD, Cone, ConicProgram, Exponential, NonNegative, SecondOrder, Zero

Array = NDArray[np.float64]

# MOSEK's svec is ours: lower triangle by columns, off the diagonal times sqrt(2) (Optimizer API, "Supported domains").
DOMAINS: dict[type, Callable[[Any, int], Any]] = {
    Zero: lambda task, dim: task.appendrzerodomain(dim),
    NonNegative: lambda task, dim: task.appendrplusdomain(dim),
    SecondOrder: lambda task, dim: task.appendquadraticconedomain(dim),
    PSD: lambda task, dim: task.appendsvecpsdconedomain(dim),
    Exponential: lambda task, dim: task.appendprimalexpconedomain(),
}
DUAL_DOMAINS = DOMAINS | {Exponential: lambda task, dim: task.appenddualexpconedomain()}
"""The dual cones of those that are not linear."""


def in_mosek_order(cones: tuple[Cone, ...]) -> NDArray[np.intp]:
    """Our rows in MOSEK's order: its exponential cone is ``x0 >= x1 exp(x2 / x1)``, ours the other way round."""
    parts, start = [np.empty(0, dtype=np.intp)], 0
    for cone in cones:
        rows = np.arange(start, start + cone.dim)
        parts.append(rows[::-1] if isinstance(cone, Exponential) else rows)
        start += cone.dim
    return np.concatenate(parts)


def append_constraints(task: Any, cones: list[Cone], domains: dict[type, Callable[[Any, int], Any]]) -> None:
    """Constrain the task's affine expressions, from the first on, to cones of at least one row each."""
    made: dict[tuple[type, int], Any] = {}
    indices = []
    for cone in cones:
        key = (type(cone), cone.dim)
        if key not in made:
            made[key] = domains[key[0]](task, cone.dim)
        indices.append(made[key])
    if indices:
        task.appendaccsseq(indices, sum(cone.dim for cone in cones), 0, None)


@dataclass(frozen=True)
class AffineConic:
    """The task of a programme, and the way back."""

    program: ConicProgram
    dualised: bool = False

    def put(self, task: Any) -> None:
        """Write the programme into an empty task."""
        import mosek

        columns, rows = self.program.q.size, in_mosek_order(self.program.cones)
        if columns:
            task.appendvars(columns)
            task.putvarboundsliceconst(0, columns, mosek.boundkey.fr, 0.0, 0.0)
            task.putcslice(0, columns, self.program.q)
        task.putcfix(self.program.offset)
        if not rows.size:
            return
        task.appendafes(rows.size)
        F = self.program.A[rows].tocoo()
        task.putafefentrylist(F.row.astype(np.int64), F.col.astype(np.int32), -F.data)
        task.putafegslice(0, rows.size, self.program.b[rows])
        append_constraints(task, [cone for cone in self.program.cones if cone.dim], DOMAINS)

    def primal(self, outcome: Outcome) -> Array | None:
        """x, shape (N,)."""
        return outcome.xx

    def dual(self, outcome: Outcome) -> Array | None:
        """y, shape (M,)."""
        if outcome.accdoty is None:
            return None
        y = np.empty(self.program.b.size)
        y[in_mosek_order(self.program.cones)] = outcome.accdoty
        return y
