"""Operator splitting for the homogeneous self-dual embedding of a conic programme.

With ``u = (x, y, tau)`` and ``v = (0, s, kappa)``, find nonzero u in C = R^N x K* x R_+ and v in C* with ``v = Q u``,

        [  0   A'  q ]
    Q = [ -A   0   b ] ;
        [ -q' -b'  0 ]

(x, s, y) / tau is a solution if tau > 0, and a certificate that there is none otherwise. Each iteration solves one
linear system and projects once (Douglas and Rachford's splitting in the metric of a diagonal matrix R):

    u' = (R + Q)^-1 R w,    u = P_C(2 u' - w),    w <- w + alpha (u - u'),    v = R (u + w - 2 u').

Source: O'Donoghue (2021), *Operator splitting for a homogeneous embedding of the linear complementarity problem*, SIAM
J. Optim. 31, whose solver SCS 3 also has the rules by which R changes (Sec. 5.2), the limits and the acceleration.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.backends.torch.conic.acceleration import Anderson
from cvxrobust.backends.torch.conic.cones import ConeLayout, DualProjection
from cvxrobust.backends.torch.conic.linear import LinearSystem
from cvxrobust.backends.torch.conic.scaling import Scaled
from cvxrobust.core import Termination


@dataclass(frozen=True)
class SplittingTuning:
    """The metric and how it changes."""

    alpha: float = 1.5
    """Over-relaxation."""

    r_x: float = 1e-6
    r_tau: float = 10.0
    """Entries of R for x and tau; those for y are the inverse of the scale."""

    first_scale: float = 0.02
    smallest_scale: float = 1e-6
    largest_scale: float = 1e6
    """Where the scale begins, and what it stays between."""

    equality_factor: float = 10.0
    """Equalities get a scale so many times larger; with the 1000 of SCS, single precision gets stuck at 1e-3."""

    rescaling: float = math.sqrt(10.0)
    """The scale changes when it is off by more than this factor ..."""

    settling: int = 100
    """... and has been kept for so many iterations."""

    accelerate_every: int = 5
    """Iterations from one extrapolation to the next."""


TUNING = SplittingTuning()


TINY = 1e-30

NO_POINT = 1e-12
"""An iterate with tau below is a direction: no point of the programme in units in which it has size about one."""


@dataclass(frozen=True)
class ConicIterate:
    """An iterate in scaled units, not yet divided by tau."""

    x: Tensor
    y: Tensor
    s: Tensor
    tau: float


@dataclass(frozen=True)
class Errors:
    """How far an iterate is from what it may be, each relative to its limit: at most 1 is good enough.

    Args:
        optimal: As a solution, the largest of primal residual, dual residual and gap.
        infeasible: As a certificate that no point is feasible.
        unbounded: As a certificate that the objective has no bound.
        imbalance: Primal residual over dual residual, each relative to its limit.
    """

    optimal: float
    infeasible: float
    unbounded: float
    imbalance: float

    def off(self, termination: Termination) -> float:
        """How far it is from what it is called."""
        verdicts = {Termination.INFEASIBLE: self.infeasible, Termination.UNBOUNDED: self.unbounded}
        return verdicts.get(termination, self.optimal)


NOTHING_KNOWN = Errors(math.inf, math.inf, math.inf, 1.0)


class Splitting:
    """The state of the iteration; `step` advances it.

    Args:
        scaled: The programme in units of its own.
        layout: The order of its rows.
        system: Solves the linear systems.
        device: Where the vectors are.
        dtype: Their precision.

    Attributes:
        w: What is iterated, shape (N + M + 1,), for N columns and M rows.
        u: The last projection, (x, y, tau), of the same shape.
        iterations: Done so far.
        scale: What entries of R for y are the inverse of. `_use_scale` sets this and all of R's that follow.
        _r: Diagonal of R, shape (N + M + 1,).
        _g: Solution of the linear system for (q, b), shape (N + M,).
        _pivot: What is left of tau's own entry then, a number.
        _anderson: Extrapolates w in the metric of R.
        _since, _log_sum, _log_count: When the scale last changed; sum and number of the logarithms of imbalance since.
        _h: ``(q, b)``, scaled, shape (N + M,).
        _linear: The last u', before projection, shape (N + M + 1,).
        _before: The w that the last step began with, shape (N + M + 1,).
        _by_row, _by_column: From scaled residuals to the programme's units, shapes (M,) and (N,).
        _per_value: The same for costs, a number.
        _norm_b, _norm_q: Largest entries of b and q in the programme's units.
        _free: Rows that are equalities; they come first.
        _target: The length that w is given.
    """

    def __init__(
        self, scaled: Scaled, layout: ConeLayout, system: LinearSystem, device: torch.device, dtype: torch.dtype
    ) -> None:
        def tensor(values: object) -> Tensor:
            return torch.as_tensor(values, device=device, dtype=dtype)

        self._rows, self._columns = scaled.A.shape
        self._system, self._free = system, layout.free
        self._project = DualProjection(layout, device, dtype)
        self._h = torch.cat((tensor(scaled.q), tensor(scaled.b)))
        self._by_row = tensor(1 / (scaled.D * scaled.size_b))
        self._by_column = tensor(1 / (scaled.E * scaled.size_q))
        self._per_value = 1.0 / (scaled.size_b * scaled.size_q)
        self._norm_b = float(_largest(self._by_row * self.b))
        self._norm_q = float(_largest(self._by_column * self.q))
        self._target = math.sqrt(self._rows + self._columns + 1)
        self.w = torch.zeros(self._rows + self._columns + 1, device=device, dtype=dtype)
        self.w[-1] = 1.0
        self.u, self._linear = self.w.clone(), self.w.clone()
        self._before = self.w
        self.iterations = 0
        self._use_scale(TUNING.first_scale)

    @property
    def b(self) -> Tensor:
        """Right-hand sides, scaled, shape (M,)."""
        return self._h[self._columns :]

    @property
    def q(self) -> Tensor:
        """Costs, scaled, shape (N,)."""
        return self._h[: self._columns]

    def _use_scale(self, scale: float) -> None:
        self.scale = scale
        self._r = torch.empty_like(self.w)
        self._r[: self._columns] = TUNING.r_x
        self._r[self._columns : -1] = 1 / scale
        self._r[self._columns : self._columns + self._free] = 1 / (scale * TUNING.equality_factor)
        self._r[-1] = TUNING.r_tau
        self._system.factorise(self._r[: self._columns], self._r[self._columns : -1])
        x, y = self._system.solve(self.q, self.b, exact=True)
        self._g = torch.cat((x, y))
        self._pivot = TUNING.r_tau + torch.dot(self._h, self._g)
        self._anderson = Anderson(self._r)
        self._since, self._log_sum, self._log_count = self.iterations, 0.0, 0

    def start_from(self, x: Tensor, y: Tensor, s: Tensor) -> None:
        """Begin at a point in scaled units."""
        self.w[: self._columns] = x
        self.w[self._columns : -1] = y + s / self._r[self._columns : -1]
        self.w[-1] = 1.0

    def step(self) -> None:
        """One iteration."""
        accelerated = self.iterations > 0 and self.iterations % TUNING.accelerate_every == 0
        if accelerated:
            self.w = self._anderson.extrapolate(self._before, self.w)
        # The embedding is homogeneous, so the iterate may have any length; it must not shrink to nothing.
        self.w = self.w * (self._target / torch.linalg.vector_norm(self.w).clamp(min=TINY))
        self._before = self.w
        weighted = self._r * self.w
        x, y = self._system.solve(weighted[: self._columns], weighted[self._columns : -1])
        p = torch.cat((x, y))
        tau = (weighted[-1] + torch.dot(self._h, p)) / self._pivot
        self._linear = torch.cat((p - tau * self._g, tau.unsqueeze(0)))
        self.u = 2 * self._linear - self.w
        self._project(self.u[self._columns : -1])
        self.u[-1].clamp_(min=0)
        self.w = self.w + TUNING.alpha * (self.u - self._linear)
        if accelerated:
            self.w = self._anderson.checked(self._before, self.w)
        self.iterations += 1

    def point(self) -> ConicIterate:
        """The current iterate."""
        rows = slice(self._columns, -1)
        s = self._r[rows] * (self.u[rows] + self._before[rows] - 2 * self._linear[rows])
        return ConicIterate(self.u[: self._columns], self.u[rows], s, float(self.u[-1]))

    def errors(self, point: ConicIterate, tolerance: float, certificate_tolerance: float) -> Errors:
        """Residuals in the programme's own units, against absolute and relative limits like those of SCS."""
        image, gradient = self._system.times(point.x), self._system.transposed_times(point.y)
        parts = (
            self._by_row * (image + point.s - point.tau * self.b),
            self._by_row * image,
            self._by_row * point.s,
            self._by_row * (image + point.s),
            self._by_column * (gradient + point.tau * self.q),
            self._by_column * gradient,
        )
        values = [*(_largest(part) for part in parts), torch.dot(self.q, point.x), torch.dot(self.b, point.y)]
        primal, size_image, size_s, recession, dual, size_gradient, cost, profit = torch.stack(values).tolist()
        cost, profit = cost * self._per_value, profit * self._per_value
        tau = max(point.tau, TINY)
        scale_primal = max(size_image / tau, size_s / tau, self._norm_b)
        scale_dual = max(size_gradient / tau, self._norm_q)
        scale_gap = max(abs(cost), abs(profit)) / tau
        optimal = max(
            primal / tau / (tolerance * (1 + scale_primal)),
            dual / tau / (tolerance * (1 + scale_dual)),
            abs(cost + profit) / tau / (tolerance * (1 + scale_gap)),
        )
        return Errors(
            optimal if math.isfinite(optimal) and point.tau > NO_POINT else math.inf,
            size_gradient / (-profit * certificate_tolerance) if profit < 0 else math.inf,
            recession / (-cost * certificate_tolerance) if cost < 0 else math.inf,
            (primal / (1 + scale_primal)) / max(dual / (1 + scale_dual), TINY),
        )

    def adapt(self, errors: Errors) -> None:
        """Change the scale if, on the average, one residual lags behind the other."""
        if not 0 < errors.imbalance < math.inf:
            return
        self._log_sum += math.log(errors.imbalance)
        self._log_count += 1
        factor = math.exp(0.5 * self._log_sum / self._log_count)
        if self.iterations - self._since < TUNING.settling or 1 / TUNING.rescaling <= factor <= TUNING.rescaling:
            return
        scale = min(max(self.scale * factor, TUNING.smallest_scale), TUNING.largest_scale)
        if scale == self.scale:
            return
        v = self._r * (self.u + self._before - 2 * self._linear)
        self._use_scale(scale)
        self.w = self.u + v / self._r
        self._before = self.w


def _largest(values: Tensor) -> Tensor:
    return torch.linalg.vector_norm(values, math.inf) if values.numel() else values.sum()
