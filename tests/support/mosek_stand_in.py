"""Stands in for MOSEK's optimiser where there is no licence, so that all the rest of the backend can be tested.

MOSEK itself builds the task and writes it as CBF, `cbf_reader` reads that, Clarabel solves it, and the answer is put
into the task as MOSEK would put it: in MOSEK's coordinates and signs, for the backend's own code to read. What this
cannot show: how MOSEK iterates, and what it leaves in a task when it is stopped.

With `installed`, whoever asks finds the backend available:

    @pytest.fixture
    def backend(monkeypatch):
        mosek_stand_in.installed(monkeypatch)
        return get_backend("mosek")
"""

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from solver_files.cbf_reader import Conic, read, to_conic

from cvxrobust.backends.mosek import licence, optimiser
from cvxrobust.core import PSD, Settings, Solution, Termination, get_backend, svec_indices

Array = NDArray[np.float64]

LICENSED = os.environ.get("CVXROBUST_TEST_MOSEK") == "1"
"""Whether MOSEK itself is to solve what tests give it."""

# Termination code, problem status and solution status, as MOSEK would say it.
STATUSES = {
    Termination.CONVERGED: ("ok", "prim_and_dual_feas", "optimal"),
    Termination.INFEASIBLE: ("ok", "prim_infeas", "prim_infeas_cer"),
    Termination.UNBOUNDED: ("ok", "dual_infeas", "dual_infeas_cer"),
    Termination.ITERATION_LIMIT: ("trm_max_iterations", "unknown", "unknown"),
    Termination.TIME_LIMIT: ("trm_max_time", "unknown", "unknown"),
    Termination.INTERRUPTED: ("trm_user_callback", "unknown", "unknown"),
    Termination.NUMERICAL: ("trm_stall", "unknown", "unknown"),
}


@dataclass
class StandIn:
    """Takes the place of `cvxrobust.backends.mosek.optimiser.optimise`.

    Args:
        solved: How many tasks it was given.
        last: The last of them as CBF read it.
        objective: The optimum that Clarabel found of the last task.
    """

    solved: int = 0
    last: Conic | None = None
    objective: float = float("nan")

    def __call__(self, task: Any, request: optimiser.Request) -> optimiser.Outcome:
        """Optimise a task of MOSEK's without MOSEK."""
        conic = through_cbf(task)
        found = _solve(conic, task, request)
        self.solved, self.last, self.objective = self.solved + 1, conic, conic.objective(found.x)
        put_solution(task, conic, found)
        trmcode, prosta, solsta = STATUSES[found.termination]
        if found.termination is Termination.TIME_LIMIT and request.should_stop:
            trmcode = "trm_user_callback"
        # MOSEK gives solutions that others put the status "unknown".
        outcome = replace(optimiser.read(task, trmcode), prosta=prosta, solsta=solsta)
        return replace(outcome, iterations=found.iterations, seconds=found.solve_seconds)


def installed(monkeypatch: Any) -> StandIn:
    """Put a stand-in in the optimiser's place, and a licence in the licence's.

    Args:
        monkeypatch: pytest's fixture, which takes both away again.
    """
    stand_in = StandIn()
    monkeypatch.setattr(optimiser, "optimise", stand_in)
    monkeypatch.setattr(licence, "unlicensed", lambda: None)
    monkeypatch.setattr(licence, "refusal", lambda: None)
    return stand_in


def through_cbf(task: Any) -> Conic:
    """The task as it is in a file of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.cbf"
        task.writedata(str(path))
        return to_conic(read(path))


def _solve(conic: Conic, task: Any, request: optimiser.Request) -> Solution:
    """With the limits and tolerances that the task was told."""
    import mosek

    tolerance = task.getdouparam(mosek.dparam.intpnt_co_tol_rel_gap)
    seconds = task.getdouparam(mosek.dparam.optimizer_max_time)
    options = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
    options["max_iter"] = task.getintparam(mosek.iparam.intpnt_max_iterations)
    if seconds >= 0:
        options["time_limit"] = seconds
    settings = Settings(verbose=request.verbose, options=options)
    return get_backend("clarabel").solve(conic.program, settings, monitor=request.monitor)


def put_solution(task: Any, conic: Conic, found: Solution) -> None:
    """Write a solution of the file's programme into the task, in MOSEK's coordinates and signs.

    CBF lists the linear constraints of a task first and then its affine conic constraints in order, but semidefinite
    ones apart. A task that minimises has duals in the dual cones, as has the file's programme; so nothing changes
    sign, equality constraints included: both have ``c - A'y`` equal to the other duals.
    """
    import mosek

    cbf, itr = conic.cbf, mosek.soltype.itr
    if conic.sense != 1:
        raise AssertionError("the backend is expected to minimise")
    rows, columns = conic.duals(found.y)
    constraints, variables = task.getnumcon(), task.getnumvar()
    scalars = sum(size for _, size in cbf.constraints)
    doty, scalar, matrix = [], constraints, scalars
    for index in range(task.getnumacc()):
        size = task.getaccn(index)
        if task.getdomaintype(task.getaccdomain(index)) == mosek.domaintype.svec_psd_cone:
            doty.append(rows[matrix : matrix + size])
            matrix += size
        else:
            doty.append(rows[scalar : scalar + size])
            scalar += size
    if (scalar, matrix) != (scalars, rows.size) or sum(size for _, size in cbf.variables) != variables:
        raise AssertionError("the file does not hold what the task does")
    y, x, reduced = rows[:constraints], found.x[:variables], columns[:variables]
    task.putsolutionnew(
        itr,
        [mosek.stakey.unk] * constraints,
        [mosek.stakey.unk] * variables,
        None,
        cbf.G[:constraints] @ found.x,
        x,
        y,
        np.maximum(y, 0.0),
        np.maximum(-y, 0.0),
        np.maximum(reduced, 0.0),
        np.maximum(-reduced, 0.0),
        None,
        np.concatenate([np.empty(0), *doty]),
    )
    start = variables
    for index, order in enumerate(cbf.psd_variables):
        stop, weights = start + PSD(order).dim, svec_indices(order)[2]
        task.putbarxj(itr, index, found.x[start:stop] / weights)
        task.putbarsj(itr, index, columns[start:stop] / weights)
        start = stop
