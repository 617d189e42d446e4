"""Where the iteration of the polynomial programme starts: with nothing, or near a network."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.ipm.complementarity import Pair
from cvxrobust.backends.ipm.loss_sides import Count, LossSide, Mu
from cvxrobust.backends.ipm.losses import InteriorLoss, interior_loss
from cvxrobust.backends.ipm.polynomial.certify import Bounds
from cvxrobust.backends.ipm.polynomial.clean import CleanData
from cvxrobust.backends.ipm.polynomial.newton_system import Data
from cvxrobust.backends.ipm.polynomial.samples import (
    Activation,
    AttackedData,
    AttackedPoint,
    Moments,
    add_reach,
    in_own_frame,
    rotated,
)
from cvxrobust.backends.ipm.polynomial.variables import PolynomialPoint
from cvxrobust.backends.ipm.symmetric import lift
from cvxrobust.core import PolynomialNetwork
from cvxrobust.core.attacks.trust_region import decompose, minimize_in_ball
from cvxrobust.core.losses.squared import Squared
from cvxrobust.core.losses.weighted import weighted_loss


@dataclass(frozen=True)
class StartTuning:
    """Where the iteration starts."""

    large: float = 30.0
    large_targets: float = 10.0
    """Size of the outputs that the first Z and Z' allow, relative to what the loss asks for, if that is margins, or
    else targets. Room for margins is worth more than a small penalty. Where the penalty would exceed that of a useful
    network, it is what limits them."""

    first: float = 3.0
    """Complementarity of the cold start, times n and relative to the loss without neurons: found by trial, as `large`
    and the first lam were."""

    near: float = 0.02
    """Complementarity of a warm start, times n and relative to the loss without neurons. Smaller values pay from
    networks with a gap of 1e-4, but take more iterations than a cold start from networks with one of a tenth."""

    added: float = 0.002
    """Share of the cold start's Z and Z' that a warm start adds to a network's. Ten times as much costs more than the
    network saves."""

    range: float = 10.0
    """How far below mu, in natural logarithms, the multiplier of a sample may be: slacks up to exp(range)."""

    largest: float = 1e3
    """Multiplier of a sample, at most, times the number of samples, over its weight."""

    rounds: int = 6
    """In which pairs of rows approach their central path."""

    bisections: int = 40
    """Halvings of an interval that centre one number per sample."""


TUNING = StartTuning()


TINY = 1e-100
"""A loss below this is 0."""

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class PolynomialIterate:
    """A point in the frame that makes what attacks see of T_11 diagonal.

    Args:
        data: The samples in that frame.
        point: The variables.
        frame: Its axes in the coordinates of the ball, shape (q, q).
    """

    data: Data
    point: PolynomialPoint
    frame: Tensor

    def lifted(self) -> Tensor:
        """The frame of the inputs with one more coordinate, for Z."""
        attacked = self.data.attacked
        if attacked is None or not attacked.own_axes:
            return lift(self.frame)
        return torch.eye(self.point.Z.shape[0], dtype=torch.float64, device=self.point.Z.device)

    def turned(self) -> "PolynomialIterate":
        """The same point in its own frame; without attack in that of the inputs, where nothing is lost."""
        point = self.point
        if point.attacked is None or self.data.attacked is None:
            return self
        V = self.data.attacked.axes(point.T)
        if self.data.attacked.own_axes:
            attacked, apoint = rotated(self.data.attacked, point.attacked, V)
            return PolynomialIterate(
                replace(self.data, attacked=attacked), replace(point, attacked=apoint), self.frame @ V
            )
        Q = lift(V)
        matrices = [Q.T @ part @ Q for part in (point.Z, point.Zp, point.U, point.Up)]
        Z, Zp, U, Up = (0.5 * (part + part.T) for part in matrices)
        attacked, apoint = rotated(self.data.attacked, point.attacked, V)
        clean = self.data.clean
        if clean is not None:
            clean = replace(clean, z=clean.z @ Q)
        moved = PolynomialPoint(Z, Zp, U, Up, point.nu, apoint, point.clean)
        return PolynomialIterate(replace(self.data, attacked=attacked, clean=clean), moved, self.frame @ V)


def cold_start(bounds: Bounds, activation: Activation) -> PolynomialIterate:
    """A centred point with T = 0 and outputs of Z and Z' around `StartTuning.large`.

    Dual residuals are not zero yet.
    """
    n, d = bounds.X.shape
    one = bounds.X.new_ones(n)
    zero, room, _ = _sizes(bounds)
    mu = TUNING.first * zero / n
    # Along each axis of the inputs' second moments what outputs leave room for, so that scales do not matter.
    moments = bounds.weighed(bounds.X).T @ bounds.X / n
    add_reach(moments, bounds.attack, bounds.weights)
    Z, dual = matrices_to_start_from(moments, activation, room, zero / bounds.program.beta)
    attacked = clean = attacked_point = clean_point = None
    y = torch.tensor(bounds.y, device=one.device)
    rows, others = bounds.rows, bounds.clean
    if rows.numel():
        weight = bounds.weights_of(rows)
        attacked = AttackedData(bounds.X[rows], bounds.row_signs, bounds.attack.of(rows), activation, weight)
    if others.numel():
        lifted = torch.hstack([bounds.X[others], one[others, None]])
        clean = CleanData(lifted, bounds.sign[others], activation, bounds.weights_of(others))
        clean_point = interior_loss(bounds.program.loss).side(
            torch.zeros_like(one[others]), y[others], bounds.counts(others), clean.barrier(mu)
        )
    data = Data(activation, bounds.program.beta, attacked, clean)
    if attacked is not None:
        own = attacked.barrier(mu)
        attacked_point = _attacked_start(bounds, one[rows], _goals(bounds), own, data.weights.inequalities * own)
    U = data.weights.matrices * mu * dual
    point = PolynomialPoint(Z, Z.clone(), U, U.clone(), (0.0, 0.0), attacked_point, clean_point)
    order = d if attacked is None else attacked.attack.dimension
    return PolynomialIterate(data, point, torch.eye(order, dtype=torch.float64, device=one.device))


def matrices_to_start_from(moments: Tensor, activation: Activation, room: float, most: float) -> tuple[Tensor, Tensor]:
    """Z, shape (d + 1, d + 1), along the axes of the inputs' second moments, shape (d, d); and its inverse.

    Args:
        moments: With what attacks add to them.
        activation: The network's.
        room: Size of the outputs that each axis allows.
        most: Penalty, over beta, beyond which no network is better than none.
    """
    square, axes = torch.linalg.eigh(moments)
    square, axes = square.clamp(min=0.0), lift(axes)
    size = abs(activation.a) * square + abs(activation.b) * torch.sqrt(square) + abs(activation.c)
    share = torch.clamp(room / size.clamp(min=TINY), max=most) / moments.shape[0]
    share = torch.cat([share, share.sum()[None]])
    return (axes * share) @ axes.T, (axes / share) @ axes.T


def warm_start(
    bounds: Bounds, activation: Activation, network: PolynomialNetwork, cold: PolynomialIterate
) -> PolynomialIterate:
    """A point near a network: some of the cold start's Z and Z' added, attacks and margins centred for a small mu.

    From a network with a gap of a per cent it saves a quarter of a cold start's iterations (111 instead of 159, over
    ten problems to 1e-8); iterates of an interior-point method must stay away from the boundary, where good networks
    are.

    Args:
        bounds: Of the programme.
        activation: The network's.
        network: Where to start.
        cold: The cold start.
    """
    u, alpha = (torch.tensor(part, device=bounds.X.device) for part in (network.u, network.alpha))
    lifted = torch.hstack([u, u.new_ones(u.shape[0], 1)])
    given = [(lifted * torch.clamp(sign * alpha, min=0.0)[:, None]).T @ lifted for sign in (1.0, -1.0)]
    Z, Zp = given[0] + TUNING.added * cold.point.Z, given[1] + TUNING.added * cold.point.Zp
    n, T = bounds.y.size, Z - Zp
    mu = TUNING.near * _sizes(bounds)[0] / n
    y = torch.tensor(bounds.y, device=bounds.X.device)
    data, attacked_point, clean_point = cold.data, None, None
    if data.attacked is not None:
        own, loss = data.attacked.barrier(mu), interior_loss(bounds.program.loss)
        inner = data.weights.inequalities * own
        centred = _centred_pairs if bounds.sided else _centred
        attacked_point = centred(data.attacked, T, loss, _goals(bounds), bounds.counts(bounds.rows), own, inner)
    if data.clean is not None:
        clean_point = interior_loss(bounds.program.loss).side(
            data.clean.values(T), y[bounds.clean], bounds.counts(bounds.clean), data.clean.barrier(mu)
        )
    U, Up = (data.weights.matrices * mu * torch.linalg.inv(part) for part in (Z, Zp))
    return PolynomialIterate(data, PolynomialPoint(Z, Zp, U, Up, (0.0, 0.0), attacked_point, clean_point), cold.frame)


def _sizes(bounds: Bounds) -> tuple[float, float, float]:
    """Mean loss without neurons, the size of outputs that leaves room for better ones, and that of those wanted."""
    nothing = np.zeros_like(bounds.y)
    zero = max(float(np.mean(bounds.loss.value(nothing, bounds.y))), TINY)
    if bounds.loss.margin:
        return zero, TUNING.large, 1.0
    squares = weighted_loss(Squared(), bounds.program.weights).value(nothing, bounds.y)
    size = max(float(np.mean(squares)), TINY) ** 0.5
    return zero, TUNING.large_targets * size, size


def _goals(bounds: Bounds) -> Tensor:
    """Labels of the attacked samples, or of both rows of each the targets times their signs."""
    y = torch.tensor(bounds.y, device=bounds.X.device)[bounds.rows]
    return bounds.row_signs * y if bounds.sided else y


def _attacked_start(bounds: Bounds, one: Tensor, goal: Tensor, mu: Mu, inner: Mu) -> AttackedPoint:
    """``M_i = diag(lam I, size)`` and ``X_i = inner M_i^-1``; the loss's pairs at complementarity mu."""
    q, size = bounds.attack.dimension, _sizes(bounds)[2]
    lam = size * min(1.0, 6.0 / max(q, 1))
    w = -(size + lam) * one
    cov = torch.diag_embed((inner / lam * one)[:, None].expand(-1, q))
    moments = Moments(inner / size * one, one.new_zeros(one.numel(), q), cov.contiguous())
    loss = interior_loss(bounds.program.loss).attacked_side(w, goal, bounds.counts(bounds.rows), mu)
    return AttackedPoint(Pair.centred(lam * one, inner), w, moments, loss)


class _Centring:
    """Attacked samples' variables on the central path of their inequalities, for a given T.

    ``theta (1 - |p|^2) = inner / lam + inner tr D^-1`` is stationarity in lam, ``s theta = inner`` that in w.

    Args:
        data: The samples.
        T: In their frame.
        inner: Complementarity of the inequalities.
    """

    def __init__(self, data: AttackedData, T: Tensor, inner: Mu) -> None:
        self.inner, self.q, self.none = inner, data.attack.dimension, torch.zeros_like(data.y)
        self.data, self.T, self.V = in_own_frame(data, T)
        self._least = _multipliers(self.data, self.T)

    def lam(self, theta: Tensor) -> Tensor:
        """lam, by bisection."""
        inner = self.inner

        def short(trial: Tensor) -> Tensor:
            found = self.data.primal(self.T, trial, self.none)
            rest = theta * (1.0 - (found.attack**2).sum(1)) - inner / trial - inner * (1.0 / found.D).sum(1)
            return (rest < 0.0) | ~(found.D > 0.0).all(1)

        return _bisected(short, self._least, self._least + 4.0 * (inner * (self.q + 1) / theta + 1.0))

    def margins(self, theta: Tensor) -> Tensor:
        """w."""
        return self.data.primal(self.T, self.lam(theta), self.none).s - self.inner / theta

    def balanced(self, lam: Tensor) -> tuple[Tensor, Tensor]:
        """The theta for which lam is stationary, infinite where it is too small for any, and w."""
        at = self.data.primal(self.T, lam, self.none)
        room = 1.0 - (at.attack**2).sum(1)
        inside = (room > 0.0) & (at.D > 0.0).all(1)
        theta = torch.where(inside, self.inner * (1.0 / lam + (1.0 / at.D).sum(1)) / room, math.inf)
        return theta, at.s - self.inner / theta

    def stepped(self, log_step: Tensor) -> Tensor:
        """lam so far from that of the worst attack."""
        return self._least + torch.exp(log_step)

    @property
    def steps(self) -> tuple[Tensor, Tensor]:
        """Logarithms of the smallest such step, and of one with theta as far below the inequalities' as it may be."""
        most = 4.0 * (math.exp(TUNING.range) * (self.q + 1) + 1.0)
        return (EPS * (1.0 + self._least)).log(), torch.full_like(self.none, math.log(most))

    def point(self, theta: Tensor, lam: Tensor, loss: Callable[[Tensor], LossSide]) -> AttackedPoint:
        """All variables, given what the loss makes of w."""
        inner, V = self.inner, self.V
        at = self.data.primal(self.T, lam, self.none)
        w = at.s - inner / theta
        spread = (inner[:, None] if isinstance(inner, Tensor) else inner) / at.D
        moments = Moments(theta, at.attack @ V.T, V @ torch.diag_embed(spread) @ V.T)
        return AttackedPoint(Pair.centred(lam, inner), w, moments, loss(w))


def _centred(
    data: AttackedData, T: Tensor, loss: InteriorLoss, goal: Tensor, N: Count, mu: Mu, inner: Mu
) -> AttackedPoint:
    """For a given T, the samples' variables on the central path, by bisection in lam, which determines theta and w.

    The theta of a lam falls as that grows, and so does w; what the loss makes of w, its pairs at complementarity mu,
    rises.
    """
    at = _Centring(data, T, inner)
    most = TUNING.largest / N

    def too_small(log_step: Tensor) -> Tensor:
        theta, w = at.balanced(at.stepped(log_step))
        return ~((theta <= loss.side(w, goal, N, mu).theta) & (theta <= most))

    lam = at.stepped(_bisected(too_small, *at.steps))
    return at.point(at.balanced(lam)[0], lam, lambda w: loss.side(w, goal, N, mu))


def _centred_pairs(
    data: AttackedData, T: Tensor, loss: InteriorLoss, goal: Tensor, N: Count, mu: Mu, inner: Mu
) -> AttackedPoint:
    """The same where pairs of rows share a residual, near the path.

    Each row would need to know the other's theta: what the loss makes of w and the theta of the inequalities approach
    each other in a few rounds.
    """
    at = _Centring(data, T, inner)
    theta = loss.attacked_side(torch.zeros_like(goal), goal, N, mu).theta
    for _ in range(TUNING.rounds):
        theta = torch.sqrt(theta * loss.attacked_side(at.margins(theta), goal, N, mu).theta)
    return at.point(theta, at.lam(theta), lambda w: loss.attacked_side(w, goal, N, mu))


def _multipliers(data: AttackedData, T: Tensor) -> Tensor:
    """The multipliers lam of the worst attacks, shape (n,)."""
    a, b = data.activation.a, data.activation.b
    half = data.pulled(a * (data.x @ T[:-1, :-1]) + 0.5 * b * T[:-1, -1])
    lam = torch.zeros_like(data.r)
    for side in (1.0, -1.0):
        rows = torch.nonzero(data.y == side)[:, 0]
        if rows.numel():
            found = minimize_in_ball(decompose(side * a * data.seen(T)), side * half[rows], data.r[rows])
            lam[rows] = data.r[rows] ** 2 * found.multiplier
    return lam


def _bisected(below: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where `below` turns false between two bounds, elementwise, from above."""
    for _ in range(TUNING.bisections):
        middle = 0.5 * (low + high)
        wrong = below(middle)
        low, high = torch.where(wrong, middle, low), torch.where(wrong, high, middle)
    return high
