"""From what MOSEK left in a task to a `Solution` in our words and signs."""

from collections.abc import Mapping
from typing import Any

from cvxrobust.backends.mosek.acc import AffineConic
from cvxrobust.backends.mosek.bars import Dualised
from cvxrobust.backends.mosek.licence import is_about_licence, licence_error, named
from cvxrobust.backends.mosek.optimiser import Outcome
from cvxrobust.core import BackendUnavailableError, Monitor, Solution, Termination

# Termination codes (Optimizer API, "Response codes"). What is missing here is Termination.ERROR.
CUT_SHORT = {
    "trm_max_iterations": Termination.ITERATION_LIMIT,
    "trm_max_time": Termination.TIME_LIMIT,
    "trm_server_max_time": Termination.TIME_LIMIT,
    "trm_server_max_memory": Termination.OUT_OF_MEMORY,
    "trm_stall": Termination.NUMERICAL,
    "trm_max_num_setbacks": Termination.NUMERICAL,
    "trm_numerical_problem": Termination.NUMERICAL,
    "ok": Termination.NUMERICAL,
}
SERVER_CODES = range(8000, 8100)
"""MOSEK's errors about an OptServer."""

SERVER_TIMEOUT = "err_server_hard_timeout"
SPACE = ("err_space", "err_space_leaking", "err_space_no_info")


def solution(
    form: AffineConic | Dualised,
    outcome: Outcome,
    monitor: Monitor,
    setup: float,
    applied: Mapping[str, Any],
    ignored: Mapping[str, str],
) -> Solution:
    """The solution of the form's programme; for a programme without an optimum, with the certificate of that.

    An infeasible programme's certificate is y with ``A'y = 0, b'y < 0``; an unbounded one's is x with ``q'x < 0``
    and ``s = -A x`` in K.
    """
    termination = _termination(form.dualised, outcome, monitor)
    x, y, s = form.primal(outcome), form.dual(outcome), None
    if x is not None:
        image = form.program.A @ x
        s = -image if termination is Termination.UNBOUNDED else form.program.b - image
    words = (f"{outcome.trmcode}, {outcome.solsta}", outcome.message)
    return Solution(
        termination,
        x=x,
        s=s,
        y=y,
        iterations=outcome.iterations,
        setup_seconds=setup,
        solve_seconds=outcome.seconds,
        message="; ".join(filter(None, words)),
        applied=applied,
        ignored=ignored,
    )


def _termination(dualised: bool, outcome: Outcome, monitor: Monitor) -> Termination:
    infeasible, unbounded = Termination.INFEASIBLE, Termination.UNBOUNDED
    proved = {
        "optimal": Termination.CONVERGED,
        # A certificate about the task is one about the programme, or about the other side of the dual pair.
        "prim_infeas_cer": unbounded if dualised else infeasible,
        "dual_infeas_cer": infeasible if dualised else unbounded,
        # "Ill-posed" certificates prove nothing: a small change of the data undoes them.
        "prim_illposed_cer": Termination.NUMERICAL,
        "dual_illposed_cer": Termination.NUMERICAL,
    }
    if outcome.solsta in proved:
        return proved[outcome.solsta]
    if outcome.trmcode == "trm_user_callback":
        return Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT
    return CUT_SHORT.get(outcome.trmcode, Termination.ERROR)


def failure(error: Any, server: str, applied: Mapping[str, Any], ignored: Mapping[str, str]) -> Solution:
    """What a MOSEK error means to the caller.

    Raises:
        LicenceError: There is no usable licence, here or at the server.
        BackendUnavailableError: The OptServer cannot be used.
    """
    if is_about_licence(error):
        # Everything that MOSEK said is in the message; its own stack helps nobody.
        raise licence_error(error, server) from None
    words = named(error)
    termination = Termination.ERROR
    if words.startswith(SERVER_TIMEOUT):
        termination = Termination.TIME_LIMIT
    elif int(error.errno) in SERVER_CODES:
        raise BackendUnavailableError(
            f"the OptServer at {server} did not solve the task: {words} Check the address, the server's log and, if "
            "it asks for one, optserver_token."
        ) from None
    elif words.partition(" ")[0] in SPACE:
        termination = Termination.OUT_OF_MEMORY
    return Solution(termination, message=words, applied=applied, ignored=ignored)
