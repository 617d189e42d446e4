"""QOCO: an interior-point method for second-order cones (0.3, BSD-3-Clause; Chari and Acikmese 2025).

It has no semidefinite and no exponential cone, so it reads the ReLU families without the logistic loss; the others are
refused by name. It has no verdict for programmes that have no optimum either: `_verdict` finds it in the iterate.
"""

from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core import (
    BackendDescription,
    Capabilities,
    ConicProgram,
    InputError,
    NonNegative,
    SecondOrder,
    Settings,
    Solution,
    Termination,
    Zero,
    check_options,
    hookimpl,
    native_tolerance,
    require_cones,
    row_order,
    unused_settings,
)

Array = NDArray[np.float64]

ORDER = (Zero, NonNegative, SecondOrder)
"""QOCO takes equalities on their own, and of the others the orthant first."""

# What is missing here is Termination.ERROR; QOCO has no other limits than iterations.
TERMINATION = {
    "QOCO_SOLVED": Termination.CONVERGED,
    "QOCO_SOLVED_INACCURATE": Termination.NUMERICAL,
    "QOCO_NUMERICAL_ERROR": Termination.NUMERICAL,
    "QOCO_MAX_ITER": Termination.ITERATION_LIMIT,
}
SHARE_OF_TOLERANCE = 0.01

CERTIFICATE = 1e-7
"""How far a certificate of infeasibility or unboundedness may be from exact, in units of what it certifies."""


class QOCO:
    """Reads linear and second-order cones. It runs on one thread, and nothing but iterations can stop it."""

    name = "qoco"
    capabilities = Capabilities(cones=frozenset(ORDER), tightest_tolerance=1e-6, method="interior-point")

    def unavailable(self) -> str | None:
        """Whether the package is missing."""
        return None if find_spec("qoco") else "qoco is not installed: run `pip install qoco`"

    def check_settings(self, settings: Settings) -> None:
        """Refuse options that QOCO does not have.

        Raises:
            UnknownNameError: There is one.
        """
        import qoco

        solver = qoco.QOCO()
        check_options(settings, {name for name in dir(solver.ext.QOCOSettings) if not name.startswith("_")}, self.name)

    def solve(self, program: ConicProgram, settings: Settings) -> Solution:
        """Solve a conic programme.

        Raises:
            UnsupportedProgramError: The programme has a cone that QOCO does not have.
            UnknownNameError: An option that QOCO does not have.
            InputError: An option has a value that QOCO refuses.
        """
        require_cones(program, self.capabilities.cones, self.name)
        self.check_settings(settings)
        applied = _native(settings, native_tolerance(settings, self.capabilities, SHARE_OF_TOLERANCE))
        rows, cones = row_order(program, ORDER)
        equalities = sum(cone.dim for cone in cones if isinstance(cone, Zero))
        found = _solver(
            program, rows, equalities, [c.dim for c in cones if isinstance(c, SecondOrder)], applied
        ).solve()
        x, s, y = np.array(found.x), np.zeros(rows.size), np.empty(rows.size)
        s[rows[equalities:]], y[rows] = found.s, np.concatenate([found.y, found.z])
        return Solution(
            _verdict(program, x, y) or TERMINATION.get(found.status, Termination.ERROR),
            x=x,
            s=s,
            y=y,
            iterations=int(found.iters),
            setup_seconds=float(found.setup_time_sec),
            solve_seconds=float(found.solve_time_sec),
            message=str(found.status),
            applied=applied,
            ignored=unused_settings(settings, self.capabilities),
        )


def _native(settings: Settings, tolerance: float) -> dict[str, Any]:
    """What is set, under QOCO's names."""
    native: dict[str, Any] = {"abstol": tolerance, "reltol": tolerance, "verbose": settings.verbose}
    if settings.max_iterations is not None:
        native["max_iters"] = settings.max_iterations
    return native | dict(settings.options)


def _solver(
    program: ConicProgram, rows: NDArray[np.intp], equalities: int, second_order: list[int], native: dict[str, Any]
) -> Any:
    import qoco

    matrix, right = sparse.csc_matrix(program.A[rows]), program.b[rows]
    orthant = rows.size - equalities - sum(second_order)
    A, G = (matrix[part] if matrix[part].shape[0] else None for part in (slice(equalities), slice(equalities, None)))
    b, h = right[:equalities], right[equalities:]
    sizes = np.array(second_order, dtype=np.int32)
    solver = qoco.QOCO()
    try:
        solver.setup(
            program.q.size, h.size, b.size, None, program.q, A, b, G, h, orthant, sizes.size, sizes, **native
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise InputError(f"qoco refuses the programme or one of {native}: {error}") from error
    return solver


def _verdict(program: ConicProgram, x: Array, y: Array) -> Termination | None:
    """Whether the iterate proves that there is no optimum.

    Without one, iterates of an interior-point method diverge along a certificate. QOCO then reports a numerical error,
    or even success, because its tolerances grow with the iterate.
    """
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    # Of both sizes, since either may be misleading: the first where b or q is large, the second where A is small.
    largest = _largest(program.A.data)
    proved = min(-float(program.b @ y), largest * _largest(y))
    if max(_largest(program.A.T @ y), _largest(program.project_dual(y) - y)) < CERTIFICATE * proved:
        return Termination.INFEASIBLE
    slack, gained = -(program.A @ x), min(-float(program.q @ x), largest * _largest(x))
    return Termination.UNBOUNDED if _largest(program.project(slack) - slack) < CERTIFICATE * gained else None


def _largest(vector: Array) -> float:
    return float(np.abs(vector).max(initial=0.0))


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """QOCO, for the registry."""
    summary = "interior-point method, CPU, second-order cones"
    return [BackendDescription(QOCO.name, QOCO, summary, api_version=1)]
