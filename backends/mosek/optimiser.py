"""The one place where MOSEK optimises: everything before it needs no licence, everything after it only numbers."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core import Monitor

Array = NDArray[np.float64]

POLL = 0.05
"""Seconds between looks at the monitor while a server is silent."""

GRACE = 2.0
"""Seconds that a server gets to send the iterate of a task that it was told to stop."""


@dataclass(frozen=True)
class Request:
    """How to run a task; what to run is in the task.

    Args:
        monitor: Says when to stop.
        deadline: ``time.perf_counter()`` value at which to stop in any case: MOSEK's own limit begins later.
        verbose: Whether MOSEK's log goes to stdout.
        server: URL of an OptServer; empty to optimise here.
        token: The server's access token, if it wants one.
    """

    monitor: Monitor = field(default_factory=Monitor)
    deadline: float | None = None
    verbose: bool = False
    server: str = ""
    token: str = ""

    @property
    def should_stop(self) -> bool:
        """Whether the optimiser ought to return now."""
        return self.monitor.should_stop or (self.deadline is not None and time.perf_counter() >= self.deadline)


@dataclass(frozen=True)
class Outcome:
    """What MOSEK leaves in a task, in MOSEK's words and conventions; vectors are None where it left none.

    The task minimises, so that (Optimizer API, "Conic optimization", duality, and "Semidefinite optimization")

        c - A'y - F'doty - (duals of bounds) = 0,  C_j - sum_i y_i A_ij = S_j,  doty in the dual of the domain:

    every dual is in its dual cone with no change of sign, and a certificate of primal infeasibility is one for c = 0.

    Args:
        trmcode: Name of the termination code, ``"ok"`` if nothing cut the optimisation short.
        prosta: Name of the problem status.
        solsta: Name of the solution status.
        xx: Scalar variables.
        y: Multipliers of the linear constraints.
        accdoty: Duals of the affine conic constraints, one after the other.
        barx: Matrix variables one after the other: their lower triangles by columns, nothing scaled.
        iterations: Of the optimiser.
        seconds: That it took.
        message: Anything else to say.
    """

    trmcode: str
    prosta: str = "unknown"
    solsta: str = "unknown"
    xx: Array | None = None
    y: Array | None = None
    accdoty: Array | None = None
    barx: Array | None = None
    iterations: int = 0
    seconds: float = 0.0
    message: str = ""


def optimise(task: Any, request: Request) -> Outcome:
    """Run a task and read what it left.

    Raises:
        mosek.Error: The licence, the server or the task itself.
    """
    import mosek

    raised: list[BaseException] = []

    def progress(code: Any) -> int:
        # MOSEK has no use for exceptions of its callbacks, a second Ctrl-C among them.
        try:
            return int(request.should_stop)
        except BaseException as error:
            raised.append(error)
            return 1

    task.set_Progress(progress)
    if request.verbose:
        task.set_Stream(mosek.streamtype.log, sys.stdout.write)
    if request.server:
        answer = _waited(lambda: task.optimizermt(request.server, request.token), request)
        if answer is None:
            return Outcome("trm_user_callback", message=f"the OptServer at {request.server} sent nothing in time")
    else:
        answer = task.optimize()
    if raised:
        raise raised[0]
    return read(task, str(answer).rpartition(".")[2])


def _waited(call: Callable[[], Any], request: Request) -> Any:
    """The answer of a call that heeds the request only while a server talks; None if it had to be left behind."""
    answers: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            errors.append(error)

    # MOSEK calls nothing back while it waits for a server that is silent. The thread keeps the task alive.
    thread = threading.Thread(target=run, name="optserver", daemon=True)
    thread.start()
    while thread.is_alive() and not request.should_stop:
        thread.join(POLL)
    thread.join(GRACE)
    if thread.is_alive():
        return None
    if errors:
        raise errors[0]
    return answers[0]


def read(task: Any, trmcode: str) -> Outcome:
    """Statuses and vectors of an optimised task. Interior points are in one place, simplex solutions in another."""
    import mosek

    iterations = sum(
        task.getintinf(item)
        for item in (mosek.iinfitem.intpnt_iter, mosek.iinfitem.sim_primal_iter, mosek.iinfitem.sim_dual_iter)
    )
    seconds = task.getdouinf(mosek.dinfitem.optimizer_time)
    defined = [kind for kind in (mosek.soltype.itr, mosek.soltype.bas) if task.solutiondef(kind)]
    if not defined:
        return Outcome(trmcode, iterations=iterations, seconds=seconds, message="MOSEK kept no iterate")
    kind, matrices = defined[0], task.getnumbarvar()
    size = sum(task.getlenbarvarj(j) for j in range(matrices))
    return Outcome(
        trmcode,
        str(task.getprosta(kind)).rpartition(".")[2],
        str(task.getsolsta(kind)).rpartition(".")[2],
        xx=_vector(task.getxx(kind)),
        y=_vector(task.gety(kind)),
        accdoty=_vector(task.getaccdotys(kind)),
        barx=_vector(task.getbarxslice(kind, 0, matrices, size)) if matrices else np.empty(0),
        iterations=iterations,
        seconds=seconds,
    )


def _vector(values: Any) -> Array:
    return np.array(values, dtype=np.float64)
