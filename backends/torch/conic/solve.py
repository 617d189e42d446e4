"""Conic programmes of any origin by operator splitting, with batched projections on the CPU or a GPU.

The method is that of SCS 3 (O'Donoghue 2021, SIAM J. Optim. 31; see `splitting`). Matrices of one order are
projected as one batch, and so are second-order cones of one size and all exponential cones.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.torch.conic.cones import layout_of
from cvxrobust.backends.torch.conic.linear import DeviceSystem, HostSystem, LinearSystem
from cvxrobust.backends.torch.conic.scaling import Array, Scaled, equilibrated
from cvxrobust.backends.torch.conic.splitting import NO_POINT, NOTHING_KNOWN, ConicIterate, Errors, Splitting
from cvxrobust.core import ConicProgram, Monitor, Settings, Solution, Termination, sigint_stops

LinAlgError: type[Exception] = vars(torch.linalg)["LinAlgError"]  # its types do not export it

DEFAULT_ITERATIONS = 100_000

TIGHTEST = {"float64": 1e-7, "float32": 1e-5}
"""Smallest tolerance on residuals that the rounding of each precision allows."""

CERTIFICATE_TOLERANCE = {"float64": 1e-7, "float32": 1e-4}


@dataclass(frozen=True)
class ConicTuning:
    """What is asked of residuals, how often they are looked at, and when an iteration stalls."""

    share_of_tolerance: float = 0.1
    """Residuals are relative to the data, certificates to the optimum; see `core.translation.native_tolerance`."""

    check_every: int = 25
    """Iterations between two looks at the residuals."""

    stall: int = 5_000
    progress: float = 0.9
    """An iteration stalls if for so many iterations, and half of all, nothing that it looks for has come closer by a
    tenth: neither a solution nor a certificate. Programmes have been seen that get going again after 3,000."""

    say_every: int = 250
    """Iterations between two lines of a verbose solve."""


TUNING = ConicTuning()


def solve_conic(
    program: ConicProgram,
    settings: Settings,
    monitor: Monitor | None = None,
    warm_start: Solution | None = None,
    device: str = "cpu",
    dtype: str = "float64",
) -> Solution:
    """Solve a conic programme, or certify that it has no solution.

    Args:
        program: The programme, with cones of `core.cones`.
        settings: A tenth of ``tolerance`` is the limit of the primal residual, the dual residual and the gap, each
            relative to one plus the terms that it is the difference of.
        monitor: Looked at in every iteration.
        warm_start: Its x, s and y are where to start.
        device: A torch device.
        dtype: Precision of the iterates; factors on the CPU are float64 always.

    Returns:
        The solution, the certificate (of infeasibility in y; of unboundedness in x and s), or, if it was stopped, the
        iterate with the smallest residuals.
    """
    run = _Run(program, settings, monitor or Monitor(), device, dtype)
    with torch.inference_mode(), sigint_stops(run.monitor):
        return run.go(warm_start)


@dataclass
class _Run:
    """One solve. `best` is the iterate that came closest to a solution, with the `errors` that it has."""

    program: ConicProgram
    settings: Settings
    monitor: Monitor
    device: str
    dtype: str
    best: ConicIterate | None = None
    errors: Errors = NOTHING_KNOWN
    stalled: bool = False
    closest: tuple[float, ...] = (math.inf,) * 3
    closer: int = 0
    ignored: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)

    def go(self, warm_start: Solution | None) -> Solution:
        """Set up, iterate, and say what came of it."""
        self.tolerance = TUNING.share_of_tolerance * self.settings.tolerance
        if self.tolerance < TIGHTEST[self.dtype]:
            self.tolerance = TIGHTEST[self.dtype]
            self.ignored["tolerance"] = (
                f"residuals of {TUNING.share_of_tolerance:g} times {self.settings.tolerance:.1e} "
                f"are beyond {self.dtype}; asked for {self.tolerance:.1e}"
            )
        self.layout = layout_of(self.program)
        self.scaled = equilibrated(self.program, self.layout)
        device, dtype = torch.device(self.device), getattr(torch, self.dtype)
        self.splitting = Splitting(self.scaled, self.layout, _system(self.scaled, device, dtype), device, dtype)
        self._start(warm_start)
        ready = time.perf_counter()
        try:
            termination = self._iterate()
        except LinAlgError:
            termination = Termination.NUMERICAL
        x, s, y = self._unscaled(termination)
        off = self.errors.off(termination)
        with_what = (
            f"with residuals {off:.1e} times their limits" if off < math.inf else "without a point, only directions"
        )
        stalled = f"stalled, no better for {self._patience} iterations: " if self.stalled else ""
        return Solution(
            termination,
            x=x,
            s=s,
            y=y,
            iterations=self.splitting.iterations,
            setup_seconds=ready - self.began,
            solve_seconds=time.perf_counter() - ready,
            message=f"{stalled}{termination} {with_what}",
            applied=self._applied(),
            ignored=self.ignored,
        )

    @property
    def _late(self) -> bool:
        limit = self.settings.time_limit
        return limit is not None and time.perf_counter() - self.began >= limit

    @property
    def _budget(self) -> int:
        return self.settings.max_iterations or DEFAULT_ITERATIONS

    def _iterate(self) -> Termination:
        splitting = self.splitting
        while True:
            splitting.step()
            spent, stopping = splitting.iterations >= self._budget, self.monitor.should_stop or self._late
            if not (spent or stopping or splitting.iterations % TUNING.check_every == 0):
                continue
            point = splitting.point()
            errors = splitting.errors(point, self.tolerance, CERTIFICATE_TOLERANCE[self.dtype])
            if errors.optimal < self.errors.optimal or self.best is None:
                self.best, self.errors = point, errors
            verdict = _verdict(errors)
            if self.settings.verbose and (verdict or spent or stopping or splitting.iterations % TUNING.say_every == 0):
                print(f"{splitting.iterations:8d} iterations, residuals {errors.optimal:.2e} times their limits")
            if verdict is not None:
                self.best, self.errors = point, errors
                return verdict
            if stopping:
                return Termination.INTERRUPTED if self.monitor.stopped else Termination.TIME_LIMIT
            if spent:
                return Termination.ITERATION_LIMIT
            self.stalled = self._stalls(errors)
            if self.stalled:
                return Termination.NUMERICAL
            splitting.adapt(errors)

    @property
    def _patience(self) -> int:
        return max(TUNING.stall, self.splitting.iterations // 2)

    def _stalls(self, errors: Errors) -> bool:
        """Whether nothing comes closer any more."""
        found, now = (errors.optimal, errors.infeasible, errors.unbounded), self.splitting.iterations
        if any(error < TUNING.progress * before for error, before in zip(found, self.closest, strict=True)):
            self.closest = tuple(map(min, found, self.closest))
            self.closer = now
        return now - self.closer >= self._patience

    def _start(self, given: Solution | None) -> None:
        """Begin at a given point, if it fits."""
        if given is None:
            return
        x, y, s = given.x, given.y, given.s
        size, (rows, columns) = self.scaled, self.program.A.shape
        shapes = [None if part is None else part.shape for part in (x, y, s)]
        if x is None or y is None or s is None or shapes != [(columns,), (rows,), (rows,)]:
            self.ignored["warm_start"] = f"its x, y and s have the shapes {shapes}, which do not fit the programme"
            return
        if not (np.isfinite(x).all() and np.isfinite(y).all() and np.isfinite(s).all()):
            self.ignored["warm_start"] = "it holds values that are not finite"
            return
        order, like = self.layout.rows, self.splitting.w
        parts = (size.size_b * x / size.E, size.size_q * y[order] / size.D, size.size_b * size.D * s[order])
        self.splitting.start_from(*(torch.from_numpy(part).to(like) for part in parts))

    def _unscaled(self, termination: Termination) -> tuple[Array | None, Array | None, Array | None]:
        """x, s and y in the programme's own units and order."""
        point, scaled = self.best, self.scaled
        if point is None:
            return None, None, None
        x = scaled.E * _numpy(point.x) / scaled.size_b
        s, y = np.empty_like(self.program.b), np.empty_like(self.program.b)
        s[self.layout.rows] = _numpy(point.s) / (scaled.D * scaled.size_b)
        y[self.layout.rows] = scaled.D * _numpy(point.y) / scaled.size_q
        if termination is Termination.INFEASIBLE:
            return None, None, y / -float(self.program.b @ y)
        if termination is Termination.UNBOUNDED:
            length = -float(self.program.q @ x)
            return x / length, s / length, None
        # Nothing but a direction was found where tau is zero: that has no size, and is no worse a point than another.
        tau = point.tau if point.tau > NO_POINT else 1.0
        return x / tau, s / tau, y / tau

    def _applied(self) -> dict[str, Any]:
        applied: dict[str, Any] = {
            "tolerance": self.tolerance,
            "max_iterations": self._budget,
            "device": self.device,
            "dtype": self.dtype,
            "verbose": self.settings.verbose,
        }
        for name in ("time_limit", "threads"):
            if (value := getattr(self.settings, name)) is not None:
                applied[name] = value
        return applied


def _verdict(errors: Errors) -> Termination | None:
    """What an iterate proves, if anything."""
    if errors.optimal <= 1:
        return Termination.CONVERGED
    if errors.infeasible <= 1:
        return Termination.INFEASIBLE
    return Termination.UNBOUNDED if errors.unbounded <= 1 else None


def _system(scaled: Scaled, device: torch.device, dtype: torch.dtype) -> LinearSystem:
    if device.type == "cpu":
        return HostSystem(scaled.A, dtype)
    return DeviceSystem(scaled.A, device, dtype)


def _numpy(values: Tensor) -> Array:
    return np.asarray(values.double().cpu().numpy())
