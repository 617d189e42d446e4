"""CVXOPT behind CVXPY, with what CVXPY's own interface to it drops: the last iterate, their number, a time limit.

Without it a solve that does not converge is an error without a point, and arithmetic errors escape.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import cvxpy.interface as matrices
import cvxpy.settings as words
import numpy as np
from cvxpy.reductions.solvers.conic_solvers.cvxopt_conif import CVXOPT, dims_to_solver_dict
from cvxpy.reductions.solvers.kktsolver import kkt_ldl as kkt_robust
from numpy.typing import NDArray

REFUSED = "options["
"""How CVXOPT's complaint about an option begins; with the same kind of error it says that arithmetic broke down."""


class OutOfTime(ArithmeticError):
    """Raised where CVXOPT factorises: it takes an arithmetic error there for the end, and returns what it has."""


class KeepingCVXOPT(CVXOPT):  # type: ignore[misc]
    """A solver for ``problem.solve(solver=...)``.

    `iterations` is the number of those of its last solve. `verdict` is what it found where there is no optimum, in
    CVXPY's words; CVXPY itself is told of a limit then, because it keeps no certificates.

    Args:
        seconds: Time limit; None for none.
    """

    def __init__(self, seconds: float | None = None) -> None:
        super().__init__()
        self.deadline = None if seconds is None else time.perf_counter() + seconds
        self.iterations = 0
        self.verdict = ""

    def name(self) -> str:
        """Another than CVXPY's own, as it demands."""
        return "KEEPING_CVXOPT"

    def solve_via_data(
        self, data: Any, warm_start: bool, verbose: bool, solver_opts: Any, solver_cache: Any = None
    ) -> dict[str, Any]:
        """What CVXPY's own does, without options left behind in CVXOPT.

        Raises:
            ValueError: CVXOPT refuses an option.
        """
        from cvxopt import solvers

        data[words.DIMS] = dims_to_solver_dict(data[words.DIMS])
        wanted = self.get_kktsolver_opt(solver_opts)
        if wanted == "chol" and self.remove_redundant_rows(data) == words.INFEASIBLE:
            return {words.STATUS: words.INFEASIBLE}
        ready = self._prepare_cvxopt_matrices(data)
        c, G, h, dims, A, b = (ready[key] for key in (words.C, words.G, words.H, words.DIMS, words.A, words.B))
        factor: Any = wanted(c, G, h, dims, A, b) if callable(wanted) else _factor(wanted, G, dims, A)
        options = {"refinement": 1, **solver_opts, "show_progress": verbose}
        if "max_iters" in options:
            options["maxiters"] = options["max_iters"]
        try:
            found = solvers.conelp(c, G, h, dims, A, b, kktsolver=self._watched(factor), options=options)
        except ValueError as error:
            if str(error).startswith(REFUSED):
                raise
            return {words.STATUS: words.SOLVER_ERROR}
        except ArithmeticError:
            return {words.STATUS: words.SOLVER_ERROR}
        self.iterations = found["iterations"]
        return self._read(found, ready, self.iterations >= options.get("maxiters", 100))

    def _read(self, found: Mapping[str, Any], ready: Mapping[str, Any], spent: bool) -> dict[str, Any]:
        status = self.STATUS_MAP[found["status"]]
        if found["status"] == "unknown":
            late = self.deadline is not None and time.perf_counter() >= self.deadline
            status = words.USER_LIMIT if spent or late else words.OPTIMAL_INACCURATE
        if status in words.INF_OR_UNB:
            self.verdict, status = status, words.USER_LIMIT
        zeros = {"x": ready[words.C], "y": ready[words.B], "z": ready[words.H]}
        x, y, z = (found[key] if found[key] is not None else 0.0 * zero for key, zero in zeros.items())
        dual, slack_dual = _flat(y), _flat(z)
        # Equations and inequalities that were found redundant have no multipliers yet.
        if "Q" in ready:
            dual = _flat(ready["Q"] * y) if y.size[0] else np.zeros(ready["Q"].size[0])
        if "P_leq" in ready:
            kept = ready[words.DIMS][words.LEQ_DIM]
            expanded = _flat(ready["P_leq"] * z[:kept]) if kept else np.zeros(ready["P_leq"].size[0])
            slack_dual = np.concatenate([expanded, slack_dual[kept:]])
        return {
            words.STATUS: status,
            words.VALUE: found["primal objective"] or 0.0,
            words.PRIMAL: _flat(x),
            words.EQ_DUAL: dual,
            words.INEQ_DUAL: slack_dual,
        }

    def _watched(self, factor: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The factorisation, unless it is too late; never before there is an iterate, which the first one makes."""
        made = 0

        def factorise(W: Any) -> Any:
            nonlocal made
            if made and self.deadline is not None and time.perf_counter() >= self.deadline:
                raise OutOfTime
            made += 1
            return factor(W)

        return factorise


def _flat(column: Any) -> NDArray[np.float64]:
    return np.asarray(matrices.cvxopt2dense(column), dtype=np.float64).ravel()


def _factor(name: Any, G: Any, dims: Any, A: Any) -> Callable[[Any], Any]:
    from cvxopt import misc

    known = {
        "chol": misc.kkt_chol,
        "chol2": misc.kkt_chol2,
        "ldl": misc.kkt_ldl,
        "ldl2": misc.kkt_ldl2,
        "qr": misc.kkt_qr,
        words.ROBUST_KKTSOLVER: kkt_robust,
    }
    if name not in known:
        raise ValueError(f"kktsolver is {name!r}; CVXOPT has {', '.join(known)}")
    made: Callable[[Any], Any] = known[name](G, dims, A)
    return made
