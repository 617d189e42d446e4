"""The losses as an interior-point method sees them: what they make of a sample's margin, and their own cones.

Every loss answers a change dw of a sample's margin w by the multiplier ``theta_plus = target - curvature * dw``, its
own slacks and multipliers eliminated in closed form. What a sample adds to the average is one N-th of its loss, N the
number of samples, or where samples have weights of mean one that number over its weight.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from cvxrobust.backends.ipm.complementarity import Pair

Count = int | Tensor
"""N: one for all samples, or one for each, shape (n,)."""

Mu = float | Tensor
"""Complementarity, likewise."""

DRIFT = 1e-8
"""How far margins may drift, relative to those that matter."""


@dataclass(frozen=True)
class LossTarget:
    """``theta_plus = target - curvature * dw``, both of shape (n,)."""

    target: Tensor
    curvature: Tensor
    multipliers: tuple[Tensor, ...] = ()
    """What the multipliers of the loss's own slacks become where those stay."""

    joint: "Joint | None" = None
    """What pairs of rows share; theta and dw are then those of rows, and with drho of the sample ``theta_plus =
    target - curvature * (dw + drho)``."""


@dataclass(frozen=True)
class Joint:
    """A number rho that the two rows of a sample share: their ``theta_plus`` add up to ``slope + stiffness * drho``.

    Where rows answer by ``theta_0 - k (b + drho)``, rows 1 and 2 of a sample, drho is eliminated: what is left of the
    squares ``k_1 (b_1 + drho)^2 + k_2 (b_2 + drho)^2 + B drho^2`` is, with ``S = k_1 + k_2 + B``,

        k_1 (k_2 + B) / S (b_1 - k_2 / (k_2 + B) b_2)^2 + k_2 B / (k_2 + B) b_2^2,

    again without differences of anything large.

    Args:
        slope: Shape (n,).
        stiffness: B, shape (n,).
    """

    slope: Tensor
    stiffness: Tensor

    def shared(self, k: Tensor, alone: Tensor, theta: Tensor | None) -> tuple[Tensor, Tensor]:
        """drho, shape (n,), and the forces ``k (b + drho)``, shape (2 n,).

        Args:
            k: Shape (2 n,).
            alone: Forces without drho, ``k b``, shape (2 n,).
            theta: theta_0, shape (2 n,); None for what is linear in b alone.
        """
        one, two = alone.view(-1, 2).unbind(1)
        k_one, k_two = k.view(-1, 2).unbind(1)
        total = k_one + k_two + self.stiffness
        pull = 0.0 if theta is None else theta.view(-1, 2).sum(1) - self.slope
        first = ((k_two + self.stiffness) * one + k_one * (pull - two)) / total
        second = ((k_one + self.stiffness) * two + k_two * (pull - one)) / total
        return (pull - one - two) / total, torch.stack([first, second], dim=1).reshape(-1)

    def of(self, rows: slice) -> "Joint":
        """Of consecutive rows, all pairs of them whole."""
        samples = slice(rows.start // 2, rows.stop // 2)
        return Joint(self.slope[samples], self.stiffness[samples])

    def mixing(self, k: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Factors a, b, c, shape (n,): of rows ``p = k^1/2 b`` these squares are of ``a p_1 + b p_2`` and ``c p_2``."""
        one, two = k.view(-1, 2).unbind(1)
        stiff = two + self.stiffness
        total = one + stiff
        return torch.sqrt(stiff / total), -torch.sqrt(one * two / (stiff * total)), torch.sqrt(self.stiffness / stiff)

    def mixed(self, k: Tensor, rows: Tensor) -> Tensor:
        """These for rows of shape (2 n, ..)."""
        a, b, c = (factor.view(-1, *[1] * (rows.dim() - 1)) for factor in self.mixing(k))
        one, two = rows.reshape(-1, 2, *rows.shape[1:]).unbind(1)
        return torch.stack([a * one + b * two, c * two], dim=1).flatten(0, 1)

    def unmixed(self, k: Tensor, values: Tensor) -> Tensor:
        """The adjoint, of numbers, shape (2 n,): values of mixed rows to what they say of p."""
        (a, b, c), (one, two) = self.mixing(k), values.view(-1, 2).unbind(1)
        return torch.stack([a * one, b * one + c * two], dim=1).reshape(-1)


class LossSide(Protocol):
    """The state of one loss over n samples, each of which adds one N-th of its own to the average."""

    @property
    def linear(self) -> bool:
        """Whether its optimality conditions are linear, so that primal and dual steps may differ."""
        ...

    def aim(self, mu: Mu, previous: "LossSide | None") -> LossTarget:
        """The target for complementarity mu, corrected by the second-order terms of a `previous` direction."""
        ...

    def move(self, aim: LossTarget, dw: Tensor) -> "LossSide":
        """The direction of its own variables, as a state of the same kind."""
        ...

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """Its complementary pairs."""
        ...

    @property
    def theta(self) -> Tensor:
        """Multipliers of the margins, minus the derivative of the loss over N, shape (n,)."""
        ...

    def step(self, direction: "LossSide", primal: float, dual: float, w: Tensor) -> "LossSide":
        """The state after a step that leads to margins w."""
        ...


@dataclass(frozen=True)
class HingeSide:
    """``min xi / N`` with slacks xi >= 0 and ``s = xi - 1 + w >= 0``."""

    N: Count
    xi: Pair
    s: Pair
    linear = True

    @classmethod
    def start(cls, w: Tensor, N: Count, mu: Mu) -> "HingeSide":
        """On the central path: ``mu / xi + mu / s = 1 / N``."""
        slack = 1.0 - w
        delta = mu * N
        root = torch.sqrt(slack * slack + 4.0 * delta * delta)
        # Of xi and s = xi - slack the larger one by its formula, the other by the equation: no cancellation.
        larger = 0.5 * (slack.abs() + 2.0 * delta + root)
        smaller = delta * larger / (larger - delta)
        xi, s = torch.where(slack > 0.0, larger, smaller), torch.where(slack > 0.0, smaller, larger)
        return cls(N, Pair.centred(xi, mu), Pair.centred(s, mu))

    def aim(self, mu: Mu, previous: "LossSide | None") -> LossTarget:
        """See `LossSide`."""
        last = previous if isinstance(previous, HingeSide) else None
        bound = self.xi.aim(mu, None if last is None else last.xi)
        theta = self.s.aim(mu, None if last is None else last.s)
        A, B = self.s.weight, self.xi.weight
        target = (theta * B + A * (1.0 / self.N - bound)) / (A + B)
        return LossTarget(target, 1.0 / (1.0 / A + 1.0 / B), (bound, theta))

    def move(self, aim: LossTarget, dw: Tensor) -> "HingeSide":
        """See `LossSide`."""
        bound, theta = aim.multipliers
        A, B = self.s.weight, self.xi.weight
        slope = bound + theta - 1.0 / self.N
        # Both changes by formulas of their own: as dxi + dw the second would lose all its digits where A is large.
        dxi, ds = (slope - A * dw) / (A + B), (slope + B * dw) / (A + B)
        return HingeSide(self.N, self.xi.towards(bound, dxi), self.s.towards(theta, ds))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """See `LossSide`."""
        return self.xi, self.s

    @property
    def theta(self) -> Tensor:
        """See `LossSide`."""
        return self.s.multiplier

    def step(self, direction: "LossSide", primal: float, dual: float, w: Tensor) -> "HingeSide":
        """See `LossSide`."""
        assert isinstance(direction, HingeSide)
        xi = self.xi.step(direction.xi, primal, dual)
        s = self.s.step(direction.s, primal, dual)
        return HingeSide(self.N, xi, replace(s, slack=_or(xi.slack - 1.0 + w, s.slack)))


@dataclass(frozen=True)
class SquaredHingeSide:
    """``min xi^2 / N`` with the slack ``s = xi - 1 + w >= 0``."""

    N: Count
    xi: Tensor
    s: Pair
    linear = False

    @classmethod
    def start(cls, w: Tensor, N: Count, mu: Mu) -> "SquaredHingeSide":
        """On the central path: ``2 xi / N = mu / s``."""
        slack = 1.0 - w
        root = torch.sqrt(slack * slack + 2.0 * mu * N)
        # xi and s = xi - slack have the product mu N / 2.
        larger = 0.5 * (slack.abs() + root)
        smaller = 0.5 * mu * N / larger
        xi, s = torch.where(slack > 0.0, larger, smaller), torch.where(slack > 0.0, smaller, larger)
        return cls(N, xi, Pair.centred(s, mu))

    def aim(self, mu: Mu, previous: "LossSide | None") -> LossTarget:
        """See `LossSide`."""
        last = previous if isinstance(previous, SquaredHingeSide) else None
        theta = self.s.aim(mu, None if last is None else last.s)
        A, B = self.s.weight, 2.0 / self.N
        return LossTarget(B * (A * self.xi + theta) / (A + B), 1.0 / (1.0 / A + 1.0 / B), (theta,))

    def move(self, aim: LossTarget, dw: Tensor) -> "SquaredHingeSide":
        """See `LossSide`."""
        (theta,) = aim.multipliers
        A, B = self.s.weight, 2.0 / self.N
        slope = theta - B * self.xi
        dxi, ds = (slope - A * dw) / (A + B), (slope + B * dw) / (A + B)
        return SquaredHingeSide(self.N, dxi, self.s.towards(theta, ds))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """See `LossSide`."""
        return (self.s,)

    @property
    def theta(self) -> Tensor:
        """See `LossSide`."""
        return self.s.multiplier

    def step(self, direction: "LossSide", primal: float, dual: float, w: Tensor) -> "SquaredHingeSide":
        """See `LossSide`."""
        assert isinstance(direction, SquaredHingeSide)
        xi = self.xi + primal * direction.xi
        s = self.s.step(direction.s, primal, dual)
        return SquaredHingeSide(self.N, xi, replace(s, slack=_or(xi - 1.0 + w, s.slack)))


Slopes = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""First and second derivatives of a smooth loss at values t, given targets."""


@dataclass(frozen=True)
class SmoothSide:
    """The mean of a smooth loss at margins, or outputs, w: Newton's own linearisation."""

    N: Count
    w: Tensor
    goal: Tensor
    derivatives: Slopes
    linear = False

    def aim(self, mu: Mu, previous: "LossSide | None") -> LossTarget:
        """See `LossSide`."""
        slope, curvature = self.derivatives(self.w, self.goal)
        return LossTarget(-slope / self.N, torch.clamp(curvature, min=1e-30) / self.N)

    def move(self, aim: LossTarget, dw: Tensor) -> "SmoothSide":
        """See `LossSide`."""
        return replace(self, w=dw)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """See `LossSide`."""
        return ()

    @property
    def theta(self) -> Tensor:
        """See `LossSide`."""
        return -self.derivatives(self.w, self.goal)[0] / self.N

    def step(self, direction: "LossSide", primal: float, dual: float, w: Tensor) -> "SmoothSide":
        """See `LossSide`."""
        assert isinstance(direction, SmoothSide)
        return replace(self, w=_kept(self.w + primal * direction.w, w))


def _kept(updated: Tensor, exact: Tensor) -> Tensor:
    """Margins as steps have moved them, unless they have drifted from what T has: multipliers, which must balance large
    inputs to their last digits, follow from steps alone without what rounding does to T."""
    return torch.where((updated - exact).abs() <= DRIFT * (1.0 + exact.abs()), updated, exact)


def _or(exact: Tensor, updated: Tensor) -> Tensor:
    """The slack as the other variables have it, where rounding leaves that positive."""
    return torch.where(exact > 0.0, exact, updated)
