"""Moreau: an interior-point method that takes warm starts (0.4, Apache-2.0, https://moreau.so)."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core import (
    PSD,
    BackendDescription,
    Capabilities,
    Cone,
    ConicProgram,
    Exponential,
    InputError,
    NonNegative,
    SecondOrder,
    Settings,
    Solution,
    Termination,
    Zero,
    blas_threads,
    check_options,
    hookimpl,
    native_tolerance,
    require_cones,
    svec,
    unused_settings,
    upper_triangle_order,
)

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

# Moreau counts cones kind by kind and wants their rows in this order. With each kind, a point that is inside the cone
# and inside its dual.
INSIDE: dict[type, Callable[[Any], Array]] = {
    Zero: lambda cone: np.zeros(cone.dim),
    NonNegative: lambda cone: np.ones(cone.dim),
    SecondOrder: lambda cone: np.eye(1, cone.dim).ravel(),
    PSD: lambda cone: svec(np.eye(cone.order)),
    Exponential: lambda cone: np.array([-1.0, 0.6, 1.3]),
}

# What is missing here is Termination.ERROR. "Almost" means that only the reduced tolerances were met.
TERMINATION = {
    "Solved": Termination.CONVERGED,
    "PrimalInfeasible": Termination.INFEASIBLE,
    "DualInfeasible": Termination.UNBOUNDED,
    "MaxIterations": Termination.ITERATION_LIMIT,
    "MaxTime": Termination.TIME_LIMIT,
    "AlmostSolved": Termination.NUMERICAL,
    "AlmostPrimalInfeasible": Termination.NUMERICAL,
    "AlmostDualInfeasible": Termination.NUMERICAL,
    "NumericalError": Termination.NUMERICAL,
    "InsufficientProgress": Termination.NUMERICAL,
}

# Moreau drops settings that it does not know without a word; these would break what we promise elsewhere.
RESERVED = {"ipm_settings", "active_set_settings", "solver", "device", "device_id", "batch_size", "enable_grad"}
RESERVED |= {"warm_start_no_retry"}

SHARE_OF_TOLERANCE = 0.01
"""An interior point gains a digit per iteration, and the certificate is stricter than the solver's own test."""

NUDGE = 1e-5
"""How far a warm start is moved into the cones; with less, one in ten from an exact optimum gets nowhere."""


class Moreau:
    """Reads every cone. Its slacks and duals are ours; its matrices are upper triangles by columns."""

    name = "moreau"
    capabilities = Capabilities(
        cones=frozenset(INSIDE),
        warm_start=True,
        time_limit=True,
        tightest_tolerance=1e-7,
        method="interior-point",
    )

    def unavailable(self) -> str | None:
        """Whether the package is missing."""
        return None if find_spec("moreau") else "moreau is not installed: run `pip install moreau`"

    def check_settings(self, settings: Settings) -> None:
        """Refuse options that Moreau does not have, and values that it refuses.

        Raises:
            UnknownNameError: There is such an option.
            InputError: There is such a value.
        """
        _native(settings, settings.tolerance)

    def solve(self, program: ConicProgram, settings: Settings, *, warm_start: Solution | None = None) -> Solution:
        """Solve a conic programme, from `warm_start` if it fits.

        Raises:
            UnsupportedProgramError: The programme has a cone of somebody else's.
            UnknownNameError: An option that Moreau does not have.
            InputError: An option has a value that Moreau refuses.
        """
        require_cones(program, self.capabilities.cones, self.name)
        applied, native = _native(settings, native_tolerance(settings, self.capabilities, SHARE_OF_TOLERANCE))
        ignored = unused_settings(settings, self.capabilities)
        rows = _row_order(program.cones)
        with blas_threads(settings.threads):
            solver, start = _solver(program, rows, native), _start(program, rows, warm_start, ignored)
            found = solver.solve(start)
            if start is not None and solver.info.status.name not in ("Solved", "MaxIterations", "MaxTime"):
                ignored["warm_start"] = f"from there Moreau ended with {solver.info.status.name}; it began afresh"
                found = solver.solve()
        s, y = np.empty(rows.size), np.empty(rows.size)
        s[rows], y[rows] = found.s, found.z
        solution = Solution(
            TERMINATION.get(solver.info.status.name, Termination.ERROR),
            x=np.array(found.x, dtype=np.float64),
            s=s,
            y=y,
            iterations=int(solver.info.iterations),
            setup_seconds=float(solver.info.construction_time + solver.info.setup_time),
            solve_seconds=float(solver.info.solve_time),
            message=solver.info.status.name,
            applied=applied,
            ignored=ignored,
        )
        if solution.message == "AlmostSolved" and np.abs(program.dimacs_errors(solution)).max() <= settings.tolerance:
            # It was asked for two digits more than the caller wants, and some processors' rounding denies it the last.
            solution = replace(solution, termination=Termination.CONVERGED)
        return solution


def _native(settings: Settings, tolerance: float) -> tuple[dict[str, Any], Any]:
    """What is set, under Moreau's names, and Moreau's own settings object."""
    import moreau

    inner, outer = set(moreau.IPMSettings.model_fields), set(moreau.Settings.model_fields)
    check_options(settings, (inner | outer) - RESERVED, Moreau.name)
    wanted: dict[str, Any] = {"verbose": settings.verbose}
    wanted |= dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
    if settings.max_iterations is not None:
        wanted["max_iter"] = settings.max_iterations
    if settings.time_limit is not None:
        wanted["time_limit"] = settings.time_limit
    wanted |= settings.options
    try:
        # A failed warm start is ours to report, not Moreau's to warn of.
        method = moreau.IPMSettings(
            **{name: value for name, value in wanted.items() if name in inner},
            warm_start_no_retry=frozenset(moreau.SolverStatus),
        )
        own = {name: value for name, value in wanted.items() if name in outer}
        return wanted, moreau.Settings(solver="ipm", device="cpu", ipm_settings=method, **own)
    except ValueError as error:
        raise InputError(f"moreau refuses one of {wanted}: {error}") from error


def _solver(program: ConicProgram, rows: Rows, native: Any) -> Any:
    import moreau

    def sizes(kind: type, attribute: str) -> list[int]:
        return [getattr(cone, attribute) for cone in program.cones if _kind(cone) is kind and cone.dim]

    cones = moreau.Cones(
        num_zero_cones=sum(sizes(Zero, "dim")),
        num_nonneg_cones=sum(sizes(NonNegative, "dim")),
        so_cone_dims=sizes(SecondOrder, "dim"),
        psd_dims=sizes(PSD, "order"),
        num_exp_cones=len(sizes(Exponential, "dim")),
    )
    no_quadratic = sparse.csr_array((program.q.size, program.q.size))
    matrix = sparse.csr_array(program.A)[rows]
    try:
        return moreau.Solver(no_quadratic, program.q, matrix, program.b[rows], cones, native)
    except Exception as error:  # Moreau raises nothing more specific
        raise InputError(f"moreau refuses the programme or its options: {error}") from error


def _kind(cone: Cone) -> type:
    """The cone as Moreau knows it: second-order cones begin at two rows there, and with one they are half-lines."""
    return NonNegative if isinstance(cone, SecondOrder) and cone.dim < 2 else type(cone)


def _row_order(cones: Sequence[Cone]) -> Rows:
    """Our rows in Moreau's order, which counts cones kind by kind; matrices are upper triangles by columns."""
    ends = np.cumsum([0, *(cone.dim for cone in cones)])
    parts: dict[type, list[Rows]] = {kind: [] for kind in INSIDE}
    for start, cone in zip(ends, cones, strict=False):
        within = upper_triangle_order(cone.order) if isinstance(cone, PSD) else np.arange(cone.dim)
        parts[_kind(cone)].append(start + within)
    return np.concatenate([np.empty(0, dtype=np.intp), *(rows for kind in parts.values() for rows in kind)])


def _start(program: ConicProgram, rows: Rows, given: Solution | None, ignored: dict[str, str]) -> Any:
    """The warm start in Moreau's words; None, with the reason in `ignored`, if it does not fit."""
    import moreau

    if given is None:
        return None
    sizes = {"x": program.q.size, "s": program.b.size, "y": program.b.size}
    for name, size in sizes.items():
        vector = getattr(given, name)
        if vector is None or vector.shape != (size,) or not np.isfinite(vector).all():
            ignored["warm_start"] = f"its {name} does not fit: expected {size} finite numbers"
            return None
    inside = np.concatenate([np.empty(0), *(NUDGE * INSIDE[type(cone)](cone) for cone in program.cones)])
    x, s, y = (np.asarray(getattr(given, name)) for name in ("x", "s", "y"))
    return moreau.WarmStart(x=x, z=(y + inside)[rows], s=(s + inside)[rows])


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """Moreau, for the registry."""
    summary = "interior-point method, CPU, every cone, warm starts"
    return [BackendDescription(Moreau.name, Moreau, summary, api_version=1)]
