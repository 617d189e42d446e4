"""Losses of residuals with a kink, or that grow no faster than a line, as `cvxrobust.backends.ipm.loss_sides` has them.

Such a loss is ``(in^2 + steepest |out|) / N`` or ``steepest |out| / N``, whatever split ``target - w = in + out``
makes least: the Huber and the absolute loss. With ``out = p - m``, p and m at least 0, their multipliers are ``c -
theta`` and ``c + theta``, ``c = steepest / N``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cvxrobust.backends.ipm.complementarity import Pair
from cvxrobust.backends.ipm.growth import Growth
from cvxrobust.backends.ipm.loss_sides import Count, LossSide, LossTarget, Mu

HALVINGS = 60
"""Of an interval in which a number per sample starts."""


@dataclass(frozen=True)
class ResidualSide:
    """The mean of a loss of residuals ``goal - w``, out of a square or beside none.

    Args:
        N: By what the loss of each sample is divided.
        growth: How it grows with the size of the residual, at last like a line.
        goal: Targets, shape (n,).
        rest: What p and m leave of the residual: in, or where nothing is squared what rounding has; shape (n,).
        p: Of outputs that are too small.
        m: Of those that are too large.
    """

    N: Count
    growth: Growth
    goal: Tensor
    rest: Tensor
    p: Pair
    m: Pair

    @property
    def linear(self) -> bool:
        """See `LossSide`."""
        return not self.growth.squared

    @property
    def most(self) -> float | Tensor:
        """c, the largest multiplier."""
        return self.growth.steepest / self.N

    @property
    def soft(self) -> float | Tensor:
        """By how much in grows with theta."""
        return 0.5 * self.N if self.growth.squared else 0.0

    @classmethod
    def start(cls, w: Tensor, goal: Tensor, N: Count, mu: Mu, growth: Growth) -> "ResidualSide":
        """On the central path: ``mu / p = c - theta``, ``mu / m = c + theta``, ``in = N theta / 2``."""
        c, r = growth.steepest / N, goal - w
        if growth.squared:
            soft = 0.5 * N

            def short(theta: Tensor) -> Tensor:
                return soft * theta + mu / (c - theta) - mu / (c + theta) < r

            theta = halved(short, -c * torch.ones_like(w), c * torch.ones_like(w))
            outside = r - soft * theta
        else:
            outside = r
        delta = mu / c
        larger = 0.5 * (outside.abs() + delta + torch.sqrt(outside * outside + delta * delta))
        smaller = delta * larger / (2.0 * larger - delta)
        above = outside > 0.0
        p, m = torch.where(above, larger, smaller), torch.where(above, smaller, larger)
        return cls(N, growth, goal, r - p + m, Pair.centred(p, mu), Pair.centred(m, mu))

    def aim(self, mu: Mu, previous: LossSide | None) -> LossTarget:
        """See `LossSide`."""
        last = previous if isinstance(previous, ResidualSide) else None
        p, m = self.p.aim(mu, None if last is None else last.p), self.m.aim(mu, None if last is None else last.m)
        curvature = 1.0 / (self.soft + 1.0 / self.p.weight + 1.0 / self.m.weight)
        lacking = self.rest - (p - self.most) / self.p.weight + (m - self.most) / self.m.weight
        return LossTarget(curvature * lacking, curvature, (p, m))

    def move(self, aim: LossTarget, dw: Tensor) -> "ResidualSide":
        """See `LossSide`."""
        p, m = aim.multipliers
        A, B, c, soft = self.p.weight, self.m.weight, self.most, self.soft
        both, slope, apart = A + B + soft * A * B, p + m - 2.0 * c, self.rest - dw
        # Both by formulas of their own: as a difference the smaller one would lose all its digits.
        dp = (B * (apart - soft * (c - p)) + slope) / both
        dm = (slope - A * (apart + soft * (c - m))) / both
        return replace(self, rest=-dw - dp + dm, p=self.p.towards(p, dp), m=self.m.towards(m, dm))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """See `LossSide`."""
        return self.p, self.m

    @property
    def theta(self) -> Tensor:
        """See `LossSide`."""
        return 0.5 * (self.m.multiplier - self.p.multiplier)

    def step(self, direction: LossSide, primal: float, dual: float, w: Tensor) -> "ResidualSide":
        """See `LossSide`."""
        assert isinstance(direction, ResidualSide)
        p, m = self.p.step(direction.p, primal, dual), self.m.step(direction.m, primal, dual)
        return replace(self, rest=self.goal - w - p.slack + m.slack, p=p, m=m)


def halved(below: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where `below` turns false between two bounds, elementwise."""
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        wrong = below(middle)
        low, high = torch.where(wrong, middle, low), torch.where(wrong, high, middle)
    return 0.5 * (low + high)
