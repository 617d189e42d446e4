"""SCS: a first-order method, operator splitting with acceleration (O'Donoghue 2021, SIAM J. Optim. 31)."""

import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core import (
    PSD,
    BackendDescription,
    Capabilities,
    Cone,
    ConicProgram,
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
    native_tolerance,
    require_cones,
    row_order,
    sigint_stops,
    unused_settings,
)

Array = NDArray[np.float64]

ORDER = (Zero, NonNegative, SecondOrder, PSD, Exponential)
"""SCS demands the cones in this order; its PSD rows are ordered as ours."""

# SCS cannot be asked for its options; these are the keywords of `scs.SCS` in 3.3.
OPTIONS = {
    *("verbose", "normalize", "adaptive_scale", "adaptive_diag_scale", "scale", "alpha", "rho_x"),
    *("max_iters", "time_limit_secs", "eps_abs", "eps_rel", "eps_infeas", "linear_solver"),
    *("acceleration_lookback", "acceleration_interval", "acceleration_type_1"),
    *("acceleration_regularization", "acceleration_relaxation"),
    *("write_data_filename", "log_csv_filename"),
}
SOLVED, LIMIT, GUESSES, INTERRUPTED = 1, 2, (-6, -7), -5
# What is missing here is Termination.ERROR. At a limit SCS says "solved (inaccurate)" (2), or guesses that
# the programme is unbounded (-6) or infeasible (-7): for us all three are the limit.
TERMINATION = {
    SOLVED: Termination.CONVERGED,
    -1: Termination.UNBOUNDED,
    -2: Termination.INFEASIBLE,
    -3: Termination.NUMERICAL,
    INTERRUPTED: Termination.INTERRUPTED,
}
DEFAULT_ITERATIONS = 100_000
SHARE_OF_TOLERANCE = 0.1

# SCS forgets its iterate when Ctrl-C stops it, and no flag can stop it, so it runs in slices, each started
# where the last one ended. A restart clears its acceleration and its wait for a change of scale (at least 100
# iterations): slices of 100 never converged; slices of 250 and more needed no more iterations than one run.
# SCS looks for Ctrl-C every 25 iterations and forgets one that comes after the last look: of slices of 500
# about one in 15 missed it. So a slice ends just after a look.
SLICE = 501


class SCS:
    """Solves conic programmes with every cone of ours."""

    name = "scs"
    capabilities = Capabilities(
        cones=frozenset(ORDER),
        warm_start=True,
        monitored=True,
        time_limit=True,
        tightest_tolerance=1e-7,
        method="first-order",
    )

    def unavailable(self) -> str | None:
        """Whether the package is missing."""
        return None if find_spec("scs") else "scs is not installed: run `pip install scs`"

    def harmless_options(self) -> set[str]:
        """All but those that name files."""
        return {name for name in OPTIONS if not name.endswith("filename")}

    def check_settings(self, settings: Settings) -> None:
        """Refuse options that SCS does not have.

        Raises:
            UnknownNameError: There is one.
        """
        check_options(settings, OPTIONS, self.name)

    def solve(
        self,
        program: ConicProgram,
        settings: Settings,
        *,
        warm_start: Solution | None = None,
        monitor: Monitor | None = None,
    ) -> Solution:
        """Solve a conic programme, from `warm_start` if its shape fits.

        Ctrl-C stops SCS at once and returns the iterate of the last slice of iterations; the monitor stops it
        after the current slice, the time limit on time.

        Raises:
            UnsupportedProgramError: The programme has a cone of somebody else's.
            UnknownNameError: An option that SCS does not have.
            InputError: An option has a value that SCS refuses.
        """
        require_cones(program, self.capabilities.cones, self.name)
        self.check_settings(settings)
        applied = _native(settings, native_tolerance(settings, self.capabilities, SHARE_OF_TOLERANCE))
        ignored = unused_settings(settings, self.capabilities)
        rows, cones = row_order(program, ORDER)
        start = _start(program, rows, warm_start, ignored)
        run = _Run(
            {"A": program.A[rows], "b": program.b[rows], "c": program.q.copy()},
            _cone_sizes(cones),
            applied,
            monitor or Monitor(),
        )
        with blas_threads(settings.threads), sigint_stops(run.monitor):
            termination = run.go(start)
        x, y, s = run.point or (None, None, None)
        return Solution(
            termination,
            x=x,
            s=None if s is None else _unsorted(s, rows),
            y=None if y is None else _unsorted(y, rows),
            iterations=run.iterations,
            setup_seconds=run.setup_seconds,
            solve_seconds=run.solve_seconds,
            message=run.message,
            applied=applied,
            ignored=ignored,
        )


Point = tuple[Array, Array, Array]


@dataclass
class _Run:
    """One solve in slices. `point` is the last (x, y, s) that SCS let go of."""

    data: dict[str, Any]
    cone: dict[str, Any]
    native: dict[str, Any]
    monitor: Monitor
    point: Point | None = None
    iterations: int = 0
    setup_seconds: float = 0.0
    solve_seconds: float = 0.0
    message: str = ""
    _scale: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    def go(self, start: Point | None) -> Termination:
        """Iterate until SCS is done, a limit is reached or the monitor says stop."""
        budget = self.native["max_iters"]
        workspace, to_the_end, slowest = None, False, 0.0
        while True:
            left, seconds = budget - self.iterations, self._seconds_left()
            # The last slice gets a workspace of its own, because limits are fixed when one is made.
            to_the_end = to_the_end or left <= SLICE or (seconds is not None and seconds < 2 * slowest)
            if workspace is None or to_the_end:
                workspace = self._workspace(left if to_the_end else SLICE, seconds)
            status, found, duration = self._slice(workspace, start)
            slowest = max(slowest, duration)
            if status == INTERRUPTED:
                self.monitor.stop()  # SCS catches the signal before any handler of Python's can
                return Termination.INTERRUPTED
            if all(np.isfinite(part).all() for part in found) or self.point is None:
                self.point = found
            if status != LIMIT and status not in GUESSES:
                self.point = found  # with whatever certificate is in it
                return TERMINATION.get(status, Termination.ERROR)
            if self.monitor.stopped:
                return Termination.INTERRUPTED
            if to_the_end or self._seconds_left() == 0.0:
                return Termination.ITERATION_LIMIT if self.iterations >= budget else Termination.TIME_LIMIT
            # A guessed certificate is no point to go on from: start afresh, and leave SCS alone this time.
            to_the_end, start = (True, None) if status in GUESSES else (False, found)

    def _slice(self, workspace: Any, start: Point | None) -> tuple[int, Point, float]:
        began = time.perf_counter()
        x, y, s = start or (None, None, None)
        found = workspace.solve(warm_start=start is not None, x=x, y=y, s=s)
        duration = time.perf_counter() - began
        self.solve_seconds += duration
        self.iterations += max(int(found["info"]["iter"]), 0)  # -1 when interrupted
        self.message = str(found["info"]["status"])
        if np.isfinite(scale := found["info"]["scale"]):
            self._scale = {"scale": scale}  # adapted meanwhile; a new workspace shall not learn it again
        return int(found["info"]["status_val"]), (found["x"], found["y"], found["s"]), duration

    def _workspace(self, iterations: int, seconds: float | None) -> Any:
        import scs

        limits: dict[str, float] = {"max_iters": iterations} | self._scale
        if seconds is not None:
            limits["time_limit_secs"] = max(seconds, 1e-6)  # 0 would mean no limit
        began = time.perf_counter()
        try:
            return scs.SCS(self.data, self.cone, **(self.native | limits))
        except (TypeError, ValueError, KeyError, ImportError) as error:
            raise InputError(f"scs refuses the programme or its options {self.native}: {error}") from error
        finally:
            self.setup_seconds += time.perf_counter() - began

    def _seconds_left(self) -> float | None:
        limit = self.native.get("time_limit_secs") or None
        own = None if limit is None else max(0.0, limit - (time.perf_counter() - self._began))
        bounds = [seconds for seconds in (own, self.monitor.remaining) if seconds is not None]
        return min(bounds, default=None)


def _native(settings: Settings, tolerance: float) -> dict[str, Any]:
    native: dict[str, Any] = {"verbose": settings.verbose, "eps_abs": tolerance, "eps_rel": tolerance}
    native["max_iters"] = settings.max_iterations or DEFAULT_ITERATIONS
    if settings.time_limit is not None:
        native["time_limit_secs"] = settings.time_limit
    native |= settings.options
    if not isinstance(native["max_iters"], int) or native["max_iters"] < 1:
        raise InputError(f"max_iters is {native['max_iters']!r}; expected an integer of 1 or more.")
    return native


def _cone_sizes(cones: tuple[Cone, ...]) -> dict[str, Any]:
    return {
        "z": sum(cone.dim for cone in cones if isinstance(cone, Zero)),
        "l": sum(cone.dim for cone in cones if isinstance(cone, NonNegative)),
        "q": [cone.dim for cone in cones if isinstance(cone, SecondOrder)],
        "s": [cone.order for cone in cones if isinstance(cone, PSD)],
        "ep": sum(isinstance(cone, Exponential) for cone in cones),
    }


def _start(
    program: ConicProgram, rows: NDArray[np.intp], given: Solution | None, ignored: dict[str, str]
) -> Point | None:
    if given is None:
        return None
    x, y, s = given.x, given.y, given.s
    shapes = [None if part is None else part.shape for part in (x, y, s)]
    if x is None or y is None or s is None or shapes != [program.q.shape, program.b.shape, program.b.shape]:
        ignored["warm_start"] = f"its x, y and s have the shapes {shapes}, which do not fit the programme"
        return None
    if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(s).all()):
        ignored["warm_start"] = "it holds values that are not finite"
        return None
    return x.copy(), y[rows], s[rows]


def _unsorted(values: Array, rows: NDArray[np.intp]) -> Array:
    original = np.empty_like(values)
    original[rows] = values
    return original


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """SCS, for the registry."""
    return [BackendDescription(SCS.name, SCS, "first-order method, CPU, every cone, warm starts")]
