"""Epigraphs ``N(v) <= h`` of the dual norms of attacks, and what is left of them when all else is eliminated.

N is the 1-norm against attacks in the inf-norm: further variables a with ``a_j >= |v_j|`` and ``sum a <= h``. It is the
2-norm against the 2-norm, a second-order cone, and the inf-norm against the 1-norm, ``|v_j| <= h``. Where attacks have
scales, v stands for the vector times these; in forms, delta, b and tau take them up.

In the normal equations an epigraph is a quadratic form in (v, h, a). After a is eliminated it reads

    sum_j delta_j v_j^2 + alpha (h - b'v)^2 - gamma (tau'v)^2,

in closed form. With weights p+ of ``a + v``, p- of ``a - v`` and p0 of ``h - sum a``, S = p+ + p- and D = p+ - p-:

- 1-norm: ``delta = 4 p+ p- / S``, ``b = -D / S``, ``1 / alpha = 1 / p0 + sum 1 / S``, ``gamma = 0``: sums of positive
  terms only.
- inf-norm: ``delta = S``, ``alpha = sum S``, ``b = -D / alpha``, ``tau = b``, ``gamma = alpha``.
- 2-norm, scaled by (eta, w) of `scaling`: with ``c = 2 w0^2 - 1 = 1 + 2 ||w1||^2``, ``delta = 1 / eta^2``,
  ``alpha = c / eta^2``, ``b = 2 w0 w1 / c``, ``tau = w1``, ``gamma = 2 / (c eta^2)``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from cvxrobust.backends.ipm.gated.scaling import Scaling
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import Norm

Parts = Mapping[str, Tensor]


@dataclass(frozen=True)
class Form:
    """What is left of epigraphs: a quadratic form in (v, h).

    Args:
        delta: Shape (.., d).
        alpha: Shape (..).
        b: Shape (.., d).
        gamma: Shape (..); None for 0.
        tau: Shape (.., d); None where gamma is.
        inverse: ``1 / S``, shape (.., d), where there are further variables.
    """

    delta: Tensor
    alpha: Tensor
    b: Tensor
    gamma: Tensor | None = None
    tau: Tensor | None = None
    inverse: Tensor | None = None

    def reduce(self, rv: Tensor, rh: Tensor, ra: Tensor | None) -> tuple[Tensor, Tensor]:
        """Right-hand sides of v and h after a is eliminated."""
        if ra is None or self.inverse is None:
            return rv, rh
        moved = self.alpha * (ra * self.inverse).sum(-1)
        return rv + self.b * (ra - moved[..., None]), rh + moved

    def block(self) -> Tensor:
        """Second derivatives in v, shape (.., d, d)."""
        found = torch.diag_embed(self.delta) + self.alpha[..., None, None] * self.b[..., :, None] * self.b[..., None, :]
        if self.gamma is not None and self.tau is not None:
            found = found - self.gamma[..., None, None] * self.tau[..., :, None] * self.tau[..., None, :]
        return found

    def further(self, v: Tensor, h: Tensor, ra: Tensor) -> Tensor:
        """The further variables a, given v and h."""
        inverse = torch.zeros_like(ra) if self.inverse is None else self.inverse
        pull = self.alpha * (h - (self.b * v).sum(-1) - (ra * inverse).sum(-1))
        return (ra + pull[..., None]) * inverse + self.b * v


class Epigraph(Protocol):
    """A family of epigraphs of one dual norm, of vectors v along the last axis of a shape (.., d).

    Each has a name, with which those of its slacks begin, and this shape.
    """

    @property
    def lines(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the slacks that are half-lines."""
        ...

    @property
    def balls(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the slacks that are second-order cones."""
        ...

    @property
    def extra(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of the further variables."""
        ...

    def slack(self, v: Tensor, h: Tensor, a: Tensor | None) -> dict[str, Tensor]:
        """The slacks."""
        ...

    def adjoint(self, z: Parts) -> tuple[Tensor, Tensor, Tensor | None]:
        """The adjoint of `slack`: parts that belong to v, h and a."""
        ...

    def form(self, scaling: Scaling) -> Form:
        """The quadratic form that is left of them."""
        ...

    def least(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        """The smallest h (and a)."""
        ...

    def above(self, v: Tensor, cost: Tensor, mu: Tensor) -> tuple[Tensor, Tensor | None]:
        """An h (and a) above the norm of v: (nearly) on the central path where h costs `cost`."""
        ...


@dataclass(frozen=True)
class _SumEpigraph:
    """Of the 1-norm."""

    name: str
    shape: tuple[int, ...]

    @property
    def lines(self) -> dict[str, tuple[int, ...]]:
        return {f"{self.name}+": self.shape, f"{self.name}-": self.shape, f"{self.name}0": self.shape[:-1]}

    @property
    def balls(self) -> dict[str, tuple[int, ...]]:
        return {}

    @property
    def extra(self) -> dict[str, tuple[int, ...]]:
        return {f"{self.name}a": self.shape}

    def slack(self, v: Tensor, h: Tensor, a: Tensor | None) -> dict[str, Tensor]:
        a = torch.zeros_like(v) if a is None else a
        return {f"{self.name}+": a + v, f"{self.name}-": a - v, f"{self.name}0": h - a.sum(-1)}

    def adjoint(self, z: Parts) -> tuple[Tensor, Tensor, Tensor | None]:
        up, down, top = z[f"{self.name}+"], z[f"{self.name}-"], z[f"{self.name}0"]
        return up - down, top, up + down - top[..., None]

    def form(self, scaling: Scaling) -> Form:
        up, down = scaling.of[f"{self.name}+"], scaling.of[f"{self.name}-"]
        both, difference = up + down, up - down
        inverse = 1.0 / both
        alpha = 1.0 / (1.0 / scaling.of[f"{self.name}0"] + inverse.sum(-1))
        return Form(4.0 * up * down * inverse, alpha, -difference * inverse, inverse=inverse)

    def least(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        a = v.abs()
        return a.sum(-1), a

    def above(self, v: Tensor, cost: Tensor, mu: Tensor) -> tuple[Tensor, Tensor | None]:
        width = mu / cost
        a = width[..., None] + torch.sqrt(width[..., None] ** 2 + v**2)
        return a.sum(-1) + width, a


@dataclass(frozen=True)
class _LengthEpigraph:
    """Of the 2-norm."""

    name: str
    shape: tuple[int, ...]

    @property
    def lines(self) -> dict[str, tuple[int, ...]]:
        return {}

    @property
    def balls(self) -> dict[str, tuple[int, ...]]:
        return {self.name: (*self.shape[:-1], 1 + self.shape[-1])}

    @property
    def extra(self) -> dict[str, tuple[int, ...]]:
        return {}

    def slack(self, v: Tensor, h: Tensor, a: Tensor | None) -> dict[str, Tensor]:
        return {self.name: torch.cat([h[..., None], v], dim=-1)}

    def adjoint(self, z: Parts) -> tuple[Tensor, Tensor, Tensor | None]:
        part = z[self.name]
        return part[..., 1:], part[..., 0], None

    def form(self, scaling: Scaling) -> Form:
        return ball_form(scaling, self.name)

    def least(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        return torch.sqrt((v**2).sum(-1)), None

    def above(self, v: Tensor, cost: Tensor, mu: Tensor) -> tuple[Tensor, Tensor | None]:
        width = mu / cost
        return 0.5 * width + torch.sqrt(0.25 * width**2 + (v**2).sum(-1)), None


@dataclass(frozen=True)
class _LargestEpigraph:
    """Of the inf-norm."""

    name: str
    shape: tuple[int, ...]

    @property
    def lines(self) -> dict[str, tuple[int, ...]]:
        return {f"{self.name}+": self.shape, f"{self.name}-": self.shape}

    @property
    def balls(self) -> dict[str, tuple[int, ...]]:
        return {}

    @property
    def extra(self) -> dict[str, tuple[int, ...]]:
        return {}

    def slack(self, v: Tensor, h: Tensor, a: Tensor | None) -> dict[str, Tensor]:
        top = h[..., None]
        return {f"{self.name}+": top + v, f"{self.name}-": top - v}

    def adjoint(self, z: Parts) -> tuple[Tensor, Tensor, Tensor | None]:
        up, down = z[f"{self.name}+"], z[f"{self.name}-"]
        return up - down, (up + down).sum(-1), None

    def form(self, scaling: Scaling) -> Form:
        up, down = scaling.of[f"{self.name}+"], scaling.of[f"{self.name}-"]
        both, difference = up + down, up - down
        alpha = both.sum(-1)
        b = -difference / alpha[..., None]
        return Form(both, alpha, b, alpha, b)

    def least(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        return v.abs().amax(-1), None

    def above(self, v: Tensor, cost: Tensor, mu: Tensor) -> tuple[Tensor, Tensor | None]:
        width = mu / cost
        return v.abs().amax(-1) + 2.0 * v.shape[-1] * width, None


@dataclass(frozen=True)
class _ScaledEpigraph:
    """Of a norm of ``scale * v``: attacks go further in some coordinates than in others."""

    of: Epigraph
    scale: Tensor

    @property
    def lines(self) -> dict[str, tuple[int, ...]]:
        return self.of.lines

    @property
    def balls(self) -> dict[str, tuple[int, ...]]:
        return self.of.balls

    @property
    def extra(self) -> dict[str, tuple[int, ...]]:
        return self.of.extra

    def slack(self, v: Tensor, h: Tensor, a: Tensor | None) -> dict[str, Tensor]:
        return self.of.slack(self.scale * v, h, a)

    def adjoint(self, z: Parts) -> tuple[Tensor, Tensor, Tensor | None]:
        v, h, a = self.of.adjoint(z)
        return self.scale * v, h, a

    def form(self, scaling: Scaling) -> Form:
        found = self.of.form(scaling)
        tau = None if found.tau is None else self.scale * found.tau
        return replace(found, delta=self.scale**2 * found.delta, b=self.scale * found.b, tau=tau)

    def least(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.of.least(self.scale * v)

    def above(self, v: Tensor, cost: Tensor, mu: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.of.above(self.scale * v, cost, mu)


EPIGRAPHS: dict[Norm, Callable[[str, tuple[int, ...]], Epigraph]] = {
    "inf": _SumEpigraph,
    2: _LengthEpigraph,
    1: _LargestEpigraph,
}
"""By the norm of the attack."""


def epigraph(attack: AttackBall, where: Tensor, name: str, *shape: int) -> Epigraph:
    """Epigraphs of an attack's dual norm, for vectors of its coordinates along the last axis of a shape (*shape, d).

    Args:
        attack: The attack, a ball, or one that scales each of its coordinates (`cvxrobust.core.kit.own_axes`).
        where: A tensor of the device.
        name: Begins the names of its slacks.
        shape: How many vectors there are.
    """
    found = EPIGRAPHS[attack.norm](name, (*shape, attack.attackable))
    ellipsoid = attack.ellipsoid
    return found if ellipsoid is None else _ScaledEpigraph(found, torch.tensor(ellipsoid.scale, device=where.device))


def ball_form(scaling: Scaling, name: str) -> Form:
    """The quadratic form that is left of a second-order cone ``||v|| <= h``."""
    ball = scaling.balls[name]
    size = (ball.w1**2).sum(-1)
    c, scale = 1.0 + 2.0 * size, 1.0 / ball.eta**2
    b = (2.0 * ball.w0 / c)[..., None] * ball.w1
    return Form(scale[..., None].expand(ball.w1.shape), scale * c, b, 2.0 * scale / c, ball.w1)
