"""Clarabel: an interior-point method on the CPU (Goulart and Chen 2024, arXiv:2405.12762)."""

import time
from collections.abc import Callable
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
    ConicSize,
    Estimate,
    Exponential,
    InputError,
    Monitor,
    NonNegative,
    SecondOrder,
    Settings,
    Solution,
    Termination,
    Zero,
    blas_threads,
    check_options,
    hookimpl,
    judged,
    native_tolerance,
    require_cones,
    residuals,
    sigint_stops,
    unused_settings,
    upper_triangle_order,
)

Array = NDArray[np.float64]

CONES: dict[type, Callable[[Any, Any], Any]] = {
    Zero: lambda clarabel, cone: clarabel.ZeroConeT(cone.dim),
    NonNegative: lambda clarabel, cone: clarabel.NonnegativeConeT(cone.dim),
    SecondOrder: lambda clarabel, cone: clarabel.SecondOrderConeT(cone.dim),
    PSD: lambda clarabel, cone: clarabel.PSDTriangleConeT(cone.order),
    Exponential: lambda clarabel, cone: clarabel.ExponentialConeT(),
}
# What is missing here is Termination.ERROR. AlmostSolved met only the reduced tolerances, 1e-4 and 5e-5.
TERMINATION = {
    "Solved": Termination.CONVERGED,
    "PrimalInfeasible": Termination.INFEASIBLE,
    "DualInfeasible": Termination.UNBOUNDED,
    "MaxIterations": Termination.ITERATION_LIMIT,
    "MaxTime": Termination.TIME_LIMIT,
    "AlmostSolved": Termination.NUMERICAL,
    "AlmostPrimalInfeasible": Termination.NUMERICAL,
    "AlmostDualInfeasible": Termination.NUMERICAL,
    "InsufficientProgress": Termination.NUMERICAL,
    "NumericalError": Termination.NUMERICAL,
}
REDUCED = frozenset({"AlmostSolved", "AlmostPrimalInfeasible", "AlmostDualInfeasible"})
"""What Clarabel says where it gives up with this, for whatever reason: a limit, too, hides behind it."""

CERTIFIED = (Termination.INFEASIBLE, Termination.UNBOUNDED)
CHORDAL = "chordal_decomposition_enable"

# An interior point gains a digit per iteration, and objectives below 1 make its relative gap an absolute one.
SHARE_OF_TOLERANCE = 0.01


class Clarabel:
    """Solves conic programmes with every cone of ours.

    Where it decomposes a sparse matrix into overlapping blocks (which may save a hundredfold), it judges itself by the
    blocks; an answer that is no solution of the programme as given is sought again without.
    """

    name = "clarabel"
    capabilities = Capabilities(
        cones=frozenset(CONES),
        monitored=True,
        time_limit=True,
        threads=True,
        tightest_tolerance=1e-8,
        method="interior-point",
    )

    def unavailable(self) -> str | None:
        """Whether the package is missing."""
        return None if find_spec("clarabel") else "clarabel is not installed: run `pip install clarabel`"

    def harmless_options(self) -> set[str]:
        """All of them: they are numbers and choices."""
        import clarabel

        return _known(clarabel.DefaultSettings())

    def check_settings(self, settings: Settings) -> None:
        """Refuse options that Clarabel does not have, and values that it refuses.

        Raises:
            UnknownNameError: An option that Clarabel does not have.
            InputError: An option has a value that Clarabel refuses.
        """
        import clarabel

        _apply(settings, clarabel.DefaultSettings(), settings.tolerance)

    def estimate(self, program: ConicSize) -> Estimate:
        """What a solve would cost: psd cones count by the square of their entries, fitted to `bench.studies.ways`."""
        triangles = sum(count * (0.5 * m * (m + 1)) ** 2 for m, count in program.orders.items())
        seconds = 0.01 + 2e-6 * triangles + 2e-6 * (program.rows + program.nonzeros) + 2e-5 * program.coupled
        seconds += 7e-9 * program.filled
        memory = 64.0 * triangles + 100.0 * (program.rows + program.nonzeros) + 500.0 * program.coupled
        return Estimate(seconds, 2e8 + memory, 0.05 * seconds)

    def solve(
        self,
        program: ConicProgram,
        settings: Settings,
        *,
        warm_start: Solution | None = None,
        monitor: Monitor | None = None,
    ) -> Solution:
        """Solve a conic programme; Ctrl-C, the monitor and the time limit stop it within an iteration.

        Raises:
            UnsupportedProgramError: The programme has a cone of somebody else's.
            UnknownNameError: An option that Clarabel does not have.
            InputError: An option has a value that Clarabel refuses.
        """
        require_cones(program, self.capabilities.cones, self.name)
        import clarabel

        # Clarabel loads these itself, in the middle of a solve, and panics if a signal arrives just then.
        import scipy.linalg.cython_blas
        import scipy.linalg.cython_lapack  # noqa: F401

        native = clarabel.DefaultSettings()
        applied = _apply(settings, native, native_tolerance(settings, self.capabilities, SHARE_OF_TOLERANCE))
        ignored = unused_settings(settings, self.capabilities)
        if warm_start is not None:
            ignored["warm_start"] = "interior-point methods cannot use one"
        monitor, began = monitor or Monitor(), time.perf_counter()
        tolerance = max(settings.tolerance, self.capabilities.tightest_tolerance)

        def attempt() -> Solution:
            with blas_threads(settings.threads), sigint_stops(monitor):
                found = _run(clarabel, program, native, monitor)
            return judged(program, replace(found, applied=applied, ignored=ignored), tolerance)

        first = attempt()
        if not (first.doubt and _decomposes(program, settings, native)) or monitor.should_stop:
            return first
        native.chordal_decomposition_enable = False
        if settings.time_limit is not None:
            native.time_limit = max(settings.time_limit - (time.perf_counter() - began), 1e-3)
        return _better(program, first, attempt())


def _run(clarabel: Any, program: ConicProgram, native: Any, monitor: Monitor) -> Solution:
    order = _row_order(program.cones)
    solver = _solver(clarabel, program, order, native)
    solver.set_termination_callback(lambda info: monitor.should_stop)
    try:
        found = solver.solve()
    except BaseException as panic:
        # A Rust panic is no `Exception`, and no reason to end somebody's programme.
        if isinstance(panic, Exception | KeyboardInterrupt | SystemExit):
            raise
        return Solution(Termination.ERROR, message=f"panic: {panic}")
    return _read(found, order, monitor, native)


def _decomposes(program: ConicProgram, settings: Settings, native: Any) -> bool:
    """Whether Clarabel may have decomposed matrices, and nobody has said that it must."""
    matrices = any(isinstance(cone, PSD) and cone.order > 1 for cone in program.cones)
    return matrices and native.chordal_decomposition_enable and CHORDAL not in settings.options


def _better(program: ConicProgram, decomposed: Solution, whole: Solution) -> Solution:
    """The better of the answers with and without decomposition, with what both took."""
    errors = [residuals(program, found) for found in (decomposed, whole)]
    worst = [np.inf if error is None else error.worst[0] for error in errors]
    last = not whole.doubt and whole.termination in (Termination.CONVERGED, *CERTIFIED)
    chosen = whole if last or worst[1] < worst[0] else decomposed
    return replace(
        chosen,
        iterations=decomposed.iterations + whole.iterations,
        solve_seconds=decomposed.solve_seconds + whole.solve_seconds,
        applied={**chosen.applied, **({CHORDAL: False} if chosen is whole else {})},
        message=f"{whole.message} without chordal decomposition; with it, {decomposed.message}",
    )


def _solver(clarabel: Any, program: ConicProgram, order: NDArray[np.intp], native: Any) -> Any:
    no_quadratic = sparse.csc_array((program.q.size, program.q.size))
    cones = [CONES[type(cone)](clarabel, cone) for cone in program.cones]
    try:
        return clarabel.DefaultSolver(no_quadratic, program.q, program.A[order], program.b[order], cones, native)
    except Exception as error:  # Clarabel raises nothing more specific
        raise InputError(f"clarabel refuses its options: {error}") from error


def _known(native: Any) -> set[str]:
    """Names of Clarabel's options."""
    # Underscored names are Python's; the one method is the constructor `default`.
    return {name for name in dir(native) if not name.startswith("_") and not callable(getattr(native, name))}


def _apply(settings: Settings, native: Any, tolerance: float) -> dict[str, Any]:
    """Set everything on Clarabel's own settings object, and say what was set."""
    check_options(settings, _known(native), "clarabel")
    wanted: dict[str, Any] = {"verbose": settings.verbose}
    wanted |= dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), tolerance)
    if settings.max_iterations is not None:
        wanted["max_iter"] = settings.max_iterations
    if settings.time_limit is not None:
        wanted["time_limit"] = settings.time_limit
    if settings.threads is not None:
        wanted["max_threads"] = settings.threads
    wanted |= settings.options
    for name, value in wanted.items():
        try:
            setattr(native, name, value)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"clarabel refuses {name}={value!r}: {error}") from error
    return wanted


def _row_order(cones: tuple[Cone, ...]) -> NDArray[np.intp]:
    """Our rows in Clarabel's order, which stacks the upper triangle by columns."""
    parts, start = [np.empty(0, dtype=np.intp)], 0
    for cone in cones:
        rows = upper_triangle_order(cone.order) if isinstance(cone, PSD) else np.arange(cone.dim)
        parts.append(start + rows)
        start += cone.dim
    return np.concatenate(parts)


def _read(found: Any, order: NDArray[np.intp], monitor: Monitor, native: Any) -> Solution:
    s, y = np.empty(order.size), np.empty(order.size)
    s[order], y[order] = found.s, found.z
    return Solution(
        _termination(found, monitor, native),
        x=np.array(found.x, dtype=np.float64),
        s=s,
        y=y,
        iterations=found.iterations,
        solve_seconds=found.solve_time,
        message=str(found.status),
    )


def _termination(found: Any, monitor: Monitor, native: Any) -> Termination:
    status = str(found.status)
    if status == "CallbackTerminated":
        return Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT
    if status in REDUCED and found.iterations >= native.max_iter:
        return Termination.ITERATION_LIMIT
    if status in REDUCED and found.solve_time >= native.time_limit:
        return Termination.TIME_LIMIT
    return TERMINATION.get(status, Termination.ERROR)


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """Clarabel, for the registry."""
    return [BackendDescription(Clarabel.name, Clarabel, "interior-point method, CPU, every cone")]
