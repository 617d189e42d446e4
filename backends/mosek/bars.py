"""A programme dualised: ``min b'y  s.t.  A'y = -q, y in K*``, where semidefinite blocks of y are matrix variables.

For min c'v subject to A v = b, v in a cone, MOSEK's dual is: maximise b'u subject to c - A'u in the dual cone. Here
that is: maximise -q'u subject to b - A u in K. So the multipliers u of the task's constraints are the programme's x,
its variables are the programme's y, and a certificate that one side is infeasible is about the other side of ours.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.backends.mosek.acc import DUAL_DOMAINS, append_constraints, in_mosek_order
from cvxrobust.backends.mosek.optimiser import Outcome
from cvxrobust.core import PSD, ConicProgram, Exponential, NonNegative, SecondOrder, svec_indices

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Matrices:
    """Where every semidefinite row is: number of its matrix, row and column in it, weight of svec."""

    orders: tuple[int, ...]
    rows: Indices
    number: Indices
    i: Indices
    j: Indices
    weights: Array


@dataclass(frozen=True)
class Dualised:
    """The task of a programme's dual, and the way back."""

    program: ConicProgram
    dualised: bool = True

    @cached_property
    def matrices(self) -> Matrices:
        """The semidefinite rows."""
        blocks = zip(self.program.cones, self.program.blocks, strict=True)
        found = [(cone.order, rows) for cone, rows in blocks if isinstance(cone, PSD) and cone.dim]
        empty = np.empty(0, dtype=np.intp)
        places = [svec_indices(order) for order, _ in found]
        return Matrices(
            tuple(order for order, _ in found),
            np.concatenate([empty, *(np.arange(rows.start, rows.stop) for _, rows in found)]),
            np.repeat(np.arange(len(found)), [len(place[0]) for place in places]),
            np.concatenate([empty, *(place[0] for place in places)]),
            np.concatenate([empty, *(place[1] for place in places)]),
            np.concatenate([np.empty(0), *(place[2] for place in places)]),
        )

    @cached_property
    def scalars(self) -> Indices:
        """The other rows; each is a scalar variable of the task."""
        other = np.ones(self.program.b.size, dtype=bool)
        other[self.matrices.rows] = False
        return np.flatnonzero(other)

    def put(self, task: Any) -> None:
        """Write the dual into an empty task."""
        import mosek

        task.putcfix(-self.program.offset)
        if self.scalars.size:
            task.appendvars(self.scalars.size)
            task.putvarboundsliceconst(0, self.scalars.size, mosek.boundkey.fr, 0.0, 0.0)
            task.putcslice(0, self.scalars.size, self.program.b[self.scalars])
            self._constrain(task)
        if (constraints := self.program.q.size) > 0:
            task.appendcons(constraints)
            fixed = [mosek.boundkey.fx] * constraints
            task.putconboundslice(0, constraints, fixed, -self.program.q, -self.program.q)
            A = self.program.A[self.scalars].tocoo()
            if A.nnz:
                task.putaijlist(A.col.astype(np.int32), A.row.astype(np.int32), A.data)
        if self.matrices.orders:
            self._put_matrices(task)

    def _constrain(self, task: Any) -> None:
        """Bounds and cones of the scalar variables."""
        import mosek

        cones, blocks = self.program.cones, self.program.blocks
        variable = np.full(self.program.b.size, -1, dtype=np.int64)
        variable[self.scalars] = np.arange(self.scalars.size)
        pairs = [(cone, rows) for cone, rows in zip(cones, blocks, strict=True) if cone.dim]
        bounded = [variable[rows] for cone, rows in pairs if isinstance(cone, NonNegative)]
        if bounded:
            below = np.concatenate(bounded).astype(np.int32)
            task.putvarboundlistconst(below, mosek.boundkey.lo, 0.0, 0.0)
        conic = [(cone, rows) for cone, rows in pairs if isinstance(cone, SecondOrder | Exponential)]
        if conic:
            # The dual cone keeps the primal's order of coordinates.
            order = variable[np.concatenate([np.arange(rows.start, rows.stop) for _, rows in conic])]
            order = order[in_mosek_order(tuple(cone for cone, _ in conic))]
            task.appendafes(order.size)
            task.putafefentrylist(np.arange(order.size), order.astype(np.int32), np.ones(order.size))
            append_constraints(task, [cone for cone, _ in conic], DUAL_DOMAINS)

    def _put_matrices(self, task: Any) -> None:
        """Matrix variables and their coefficients: MOSEK takes lower triangles and counts every entry twice."""
        places = self.matrices
        task.appendbarvars(list(places.orders))
        A = self.program.A[places.rows].tocoo()
        if A.nnz:
            k = A.row
            task.putbarablocktriplet(
                A.col.astype(np.int32),
                places.number[k].astype(np.int32),
                places.i[k].astype(np.int32),
                places.j[k].astype(np.int32),
                A.data / places.weights[k],
            )
        costs = self.program.b[places.rows]
        (some,) = np.nonzero(costs)
        if some.size:
            task.putbarcblocktriplet(
                places.number[some].astype(np.int32),
                places.i[some].astype(np.int32),
                places.j[some].astype(np.int32),
                costs[some] / places.weights[some],
            )

    def primal(self, outcome: Outcome) -> Array | None:
        """x, shape (N,)."""
        return outcome.y

    def dual(self, outcome: Outcome) -> Array | None:
        """y, shape (M,)."""
        if outcome.xx is None or outcome.barx is None:
            return None
        y = np.empty(self.program.b.size)
        y[self.scalars] = outcome.xx
        y[self.matrices.rows] = outcome.barx * self.matrices.weights
        return y
