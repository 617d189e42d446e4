"""Losses of worst residuals, with two rows for each sample: outputs that are too small, and too large.

Rows come in pairs, the first of sign +1 and the second of sign -1. With margins ``w <= sign f`` the worst residual is
the least rho with ``u = rho + w - sign target >= 0`` in both rows, and its loss phi costs one N-th. Multipliers theta
of the two u add up to ``phi'(rho) / N``, whose change with rho both rows feel: `Joint`.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cvxrobust.backends.ipm.complementarity import Pair
from cvxrobust.backends.ipm.growth import Growth
from cvxrobust.backends.ipm.loss_sides import Count, Joint, LossSide, LossTarget, Mu
from cvxrobust.backends.ipm.residual_sides import HALVINGS


@dataclass(frozen=True)
class WorstSide:
    """The mean loss of k worst residuals.

    Args:
        N: By what the loss of each sample is divided.
        growth: phi.
        goal: Targets times signs, shape (2 k,).
        rho: Shape (k,).
        u: Shape (2 k,).
        out: Shape (k,), with ``(steepest - 2 in) / N``; None where it is no variable.
    """

    N: Count
    growth: Growth
    goal: Tensor
    rho: Tensor
    u: Pair
    out: Pair | None

    @property
    def linear(self) -> bool:
        """See `LossSide`."""
        return not self.growth.squared

    @classmethod
    def start(cls, w: Tensor, goal: Tensor, N: Count, mu: Mu, growth: Growth) -> "WorstSide":
        """On the central path.

        With h half the difference of the rows' ``w - goal`` and m the mean of the two u, the products are
        ``mu = theta u``, and ``2 mu m / (m^2 - h^2) = phi'(rho) / N`` falls on the left as m grows, where the right
        side rises.
        """
        N = N[::2] if isinstance(N, Tensor) else N
        own = mu[::2] if isinstance(mu, Tensor) else mu
        first, second = _sides(w - goal)
        half, mean = 0.5 * (first - second), 0.5 * (first + second)
        least = half.abs()

        def slope(rho: Tensor) -> Tensor:
            return growth_slope(growth, rho, N, own)

        def short(above: Tensor) -> Tensor:
            return own * (1.0 / above + 1.0 / (above + 2.0 * least)) > slope(least + above - mean)

        high = torch.ones_like(half)
        for _ in range(HALVINGS):
            high = torch.where(short(high), 4.0 * high, high)
        # On the left there is at least mu / above.
        low = torch.minimum(own / slope(least + high - mean), high)
        for _ in range(HALVINGS):
            middle = torch.sqrt(low * high)
            wrong = short(middle)
            low, high = torch.where(wrong, middle, low), torch.where(wrong, high, middle)
        above = torch.sqrt(low * high)
        rho = least + above - mean
        larger = above + 2.0 * least
        pair = torch.where(half > 0.0, larger, above), torch.where(half > 0.0, above, larger)
        u = Pair.centred(torch.stack(pair, dim=1).reshape(-1), mu)
        out = Pair.centred(rho - _inside(growth, rho, N, own), own) if growth.lines else None
        return cls(N, growth, goal, rho, u, out)

    def aim(self, mu: Mu, previous: LossSide | None) -> LossTarget:
        """See `LossSide`."""
        last = previous if isinstance(previous, WorstSide) else None
        theta, zero = self.u.aim(mu, None if last is None else last.u), torch.zeros_like(self.rho)
        square = 2.0 / self.N
        multipliers: tuple[Tensor, ...] = (theta,)
        if self.out is not None:
            mu = mu[::2] if isinstance(mu, Tensor) else mu
            rest, own = self.out.aim(mu, None if last is None else last.out), self.out.weight
            steep = self.growth.steepest / self.N - rest + own * (self.rho - self.out.slack)
            joint, multipliers = Joint(square * steep / (square + own), square * own / (square + own)), (theta, rest)
        elif self.growth.squared:
            joint = Joint(square * self.rho, zero + square)
        else:
            joint = Joint(zero + self.growth.steepest / self.N, zero)
        return LossTarget(theta, self.u.weight, multipliers, joint)

    def move(self, aim: LossTarget, dw: Tensor) -> "WorstSide":
        """See `LossSide`."""
        assert aim.joint is not None
        theta, A = aim.multipliers[0], self.u.weight
        drho, seen = aim.joint.shared(A, A * dw, theta)
        out = self.out
        if out is not None:
            rest, own, square = aim.multipliers[1], out.weight, 2.0 / self.N
            lacking = rest - self.growth.steepest / self.N + square * (self.rho - out.slack)
            out = out.towards(rest, (lacking + square * drho) / (square + own))
        return replace(self, rho=drho, u=self.u.towards(theta, seen / A), out=out)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """See `LossSide`."""
        return (self.u,) if self.out is None else (self.u, self.out)

    @property
    def theta(self) -> Tensor:
        """See `LossSide`."""
        return self.u.multiplier

    def step(self, direction: LossSide, primal: float, dual: float, w: Tensor) -> "WorstSide":
        """See `LossSide`."""
        assert isinstance(direction, WorstSide)
        u, rho, out = self.u.step(direction.u, primal, dual), self.rho + primal * direction.rho, self.out
        exact = rho.repeat_interleave(2) + w - self.goal
        if out is not None and direction.out is not None:
            out = out.step(direction.out, primal, dual)
        return replace(self, rho=rho, u=replace(u, slack=torch.where(exact > 0.0, exact, u.slack)), out=out)


def growth_slope(growth: Growth, rho: Tensor, N: Count, mu: Mu) -> Tensor:
    """What the multipliers of both rows add up to on the central path."""
    if growth.squared:
        return 2.0 * _inside(growth, rho, N, mu) / N
    return torch.zeros_like(rho) + growth.steepest / N


def _inside(growth: Growth, rho: Tensor, N: Count, mu: Mu) -> Tensor:
    """in on the central path: ``(rho - in) (steepest - 2 in) = mu N``."""
    if not growth.lines:
        return rho
    most = 0.5 * growth.steepest
    return 0.5 * (rho + most - torch.sqrt((rho - most) ** 2 + 2.0 * mu * N))


def _sides(rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows[::2], rows[1::2]
