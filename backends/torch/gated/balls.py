"""The unit balls of the attacks' norms as smooth methods need them, on tensors: nearest points, smoothed dual norms.

What is exact about them is `cvxrobust.core.attacks.ball`. Attacks with a shape come here in axes of their own, as a
scale of each coordinate (`cvxrobust.core.kit.own_axes`). A smoothed dual norm is within a constant times its width of
what it stands for, and its derivative is a feasible multiplier: in the unit ball of the attack (Nesterov 2005, Smooth
minimization of non-smooth functions).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import Norm


@dataclass(frozen=True)
class SmoothNorm:
    """A smoothed dual norm ``N(g)`` of vectors along the last axis and its derivatives there.

    Args:
        value: ``N`` above 0 at most; shape (...).
        gradient: In the unit ball of the attack's norm, shape (..., d).
        weight: Diagonal part of the second derivative, shape (..., d).
        factor: It takes ``factor * (gradient other' + other gradient') / 2`` off, shape (..., 1).
        other: The gradient, or one carried along that it approaches, shape (..., d).
        parts: What each coordinate has of the value, shape (..., d); None where it is no sum over them.
    """

    value: Tensor
    gradient: Tensor
    weight: Tensor
    factor: Tensor
    other: Tensor
    parts: Tensor | None = None

    def curve(self, V: Tensor) -> Tensor:
        """The second derivative times vectors, shape (..., d)."""
        mine = (self.gradient * V).sum(-1, keepdim=True)
        others = (self.other * V).sum(-1, keepdim=True)
        return self.weight * V - 0.5 * self.factor * (mine * self.other + others * self.gradient)

    def carried(self, V: Tensor) -> Tensor:
        """The gradient that the linearised ``other * root = g`` predicts after a move by V, shape (..., d)."""
        return self.gradient + self.weight * V - self.factor * (self.gradient * V).sum(-1, keepdim=True) * self.other

    @property
    def diagonal(self) -> Tensor:
        """Diagonal of the second derivative, shape (..., d)."""
        return self.weight - self.factor * self.gradient * self.other


class SmoothBall(Protocol):
    """The unit ball of a norm, for smooth methods."""

    @property
    def carries(self) -> bool:
        """Whether smoothed norms make use of gradients carried along."""
        ...

    @property
    def even(self) -> bool:
        """Whether the weights of all coordinates are the same in second derivatives."""
        ...

    @property
    def separable(self) -> bool:
        """Whether second derivatives are diagonal."""
        ...

    @property
    def unit(self) -> float:
        """How far a unit attack goes in the coordinate in which it goes furthest."""
        ...

    def terms(self, d: int) -> int:
        """How many coordinates add up in the dual norm."""
        ...

    def nearest(self, P: Tensor) -> Tensor:
        """The nearest points of the ball, in the coordinates in which it is one."""
        ...

    def support(self, G: Tensor, centre: Tensor, width: float) -> tuple[Tensor, Tensor]:
        """``max_{||p|| <= 1} p'g - width / 2 ||p - centre||^2``, distances in these coordinates, and the maximising p.

        Args:
            G: Vectors, shape (..., d).
            centre: Likewise.
            width: Of the smoothing.
        """
        ...

    def smoothed(self, G: Tensor, width: Tensor, centred: bool, carried: Tensor | None = None) -> SmoothNorm:
        """The dual norm, smoothed.

        Args:
            G: Vectors, shape (..., d).
            width: Of the smoothing, shape (..., 1) or ().
            centred: Shifted so that ``N(0) = 0``, instead of lying above the norm.
            carried: A gradient carried along.
        """
        ...


class _Ball:
    """What those of all norms do alike."""

    @property
    def unit(self) -> float:
        return 1.0

    def nearest(self, P: Tensor) -> Tensor:
        raise NotImplementedError

    def support(self, G: Tensor, centre: Tensor, width: float) -> tuple[Tensor, Tensor]:
        p = self.nearest(torch.add(centre, G, alpha=1.0 / width))
        moved = p - centre
        return (p * G).sum(-1) - 0.5 * width * (moved * moved).sum(-1), p


@dataclass(frozen=True)
class _SmoothBox(_Ball):
    """Of the inf-norm."""

    carries: bool = True
    even: bool = False
    separable: bool = True

    def terms(self, d: int) -> int:
        return d

    def nearest(self, P: Tensor) -> Tensor:
        return P.clamp(-1.0, 1.0)

    def smoothed(self, G: Tensor, width: Tensor, centred: bool, carried: Tensor | None = None) -> SmoothNorm:
        root = torch.sqrt(G * G + width * width)
        parts = root - width if centred else root
        value, gradient = parts.sum(-1), G / root
        other = gradient if carried is None else carried
        weight = torch.maximum((width / root) ** 2, 1.0 - other * gradient) / root
        return SmoothNorm(value, gradient, weight, torch.zeros_like(G[..., :1]), gradient, parts)


@dataclass(frozen=True)
class _SmoothEuclidean(_Ball):
    """Of the 2-norm."""

    carries: bool = True
    even: bool = True
    separable: bool = False

    def terms(self, d: int) -> int:
        return 1

    def nearest(self, P: Tensor) -> Tensor:
        found: Tensor = P / P.norm(dim=-1, keepdim=True).clamp_min(1.0)
        return found

    def smoothed(self, G: Tensor, width: Tensor, centred: bool, carried: Tensor | None = None) -> SmoothNorm:
        root = torch.sqrt((G * G).sum(-1, keepdim=True) + width * width)
        value = (root - width if centred else root)[..., 0]
        gradient = G / root
        other = gradient if carried is None else carried
        return SmoothNorm(value, gradient, (1.0 / root).expand_as(G), 1.0 / root, other)


@dataclass(frozen=True)
class _SmoothCross(_Ball):
    """Of the 1-norm."""

    carries: bool = False
    even: bool = False
    separable: bool = False

    def terms(self, d: int) -> int:
        return 1

    def nearest(self, P: Tensor) -> Tensor:
        """``sign(p) max(|p| - t, 0)`` with the t at which these sum to 1, or 0.

        Convex, that sum falls with t, so Newton's method from the left ends at the root after some five passes
        (Michelot 1986, J. Optim. Theory Appl. 50; Condat 2016, Math. Program. 158): a fourth of what sorting takes.
        """
        size, least = P.abs(), 4.0 * torch.finfo(P.dtype).eps
        threshold = torch.maximum((size.sum(-1, keepdim=True) - 1.0) / P.shape[-1], size.amax(-1, keepdim=True) - 1.0)
        threshold.clamp_(min=0.0)
        # Each pass drops an entry at least, or is the last.
        for _ in range(P.shape[-1] + 1):
            left = torch.sub(size, threshold).clamp_(min=0.0)
            step = (left.sum(-1, keepdim=True) - 1.0) / left.sign().sum(-1, keepdim=True).clamp_(min=1.0)
            if not bool((step > least * threshold).any()):
                break
            threshold += step.clamp_(min=0.0)
        return left.mul_(P.sign())

    def smoothed(self, G: Tensor, width: Tensor, centred: bool, carried: Tensor | None = None) -> SmoothNorm:
        d = max(1, G.shape[-1])
        both = torch.cat([G, -G], -1) / width
        shares = torch.softmax(both, -1)
        least = torch.log(torch.tensor(2.0 * d, dtype=G.dtype)) if centred else 0.0
        value = ((torch.logsumexp(both, -1, keepdim=True) - least) * width)[..., 0]
        up, down = shares[..., : G.shape[-1]], shares[..., G.shape[-1] :]
        return SmoothNorm(value, up - down, (up + down) / width, torch.zeros_like(G[..., :1]) + 1.0 / width, up - down)


SMOOTH_BALLS: dict[Norm, SmoothBall] = {"inf": _SmoothBox(), 2: _SmoothEuclidean(), 1: _SmoothCross()}
"""By the norm of the attack."""


@dataclass(frozen=True)
class _ScaledBall:
    """The image of one under a scale of its coordinates, above 0, shape (d,): points of it are attacks.

    Or one image for each of some vectors: the shape of the scale is then that of what is asked about.
    """

    of: SmoothBall
    scale: Tensor
    unit: float

    @property
    def even(self) -> bool:
        return False

    @property
    def carries(self) -> bool:
        return self.of.carries

    @property
    def separable(self) -> bool:
        return self.of.separable

    def terms(self, d: int) -> int:
        return self.of.terms(d)

    def nearest(self, P: Tensor) -> Tensor:
        return self.scale * self.of.nearest(P / self.scale)

    def support(self, G: Tensor, centre: Tensor, width: float) -> tuple[Tensor, Tensor]:
        value, p = self.of.support(self.scale * G, centre / self.scale, width)
        return value, self.scale * p

    def smoothed(self, G: Tensor, width: Tensor, centred: bool, carried: Tensor | None = None) -> SmoothNorm:
        S = self.scale
        found = self.of.smoothed(S * G, width, centred, None if carried is None else carried / S)
        G, weight, other = S * found.gradient, S * S * found.weight, S * found.other
        return SmoothNorm(found.value, G, weight, found.factor, other, found.parts)


def smooth_ball(attack: AttackBall, like: Tensor) -> SmoothBall:
    """The unit ball of an attack, or its image under a scale of its coordinates.

    Args:
        attack: The attack, perhaps one that scales each of its coordinates.
        like: A tensor of the kind that it is for.
    """
    found, shape = SMOOTH_BALLS[attack.norm], attack.ellipsoid
    if shape is None:
        return found
    scale = torch.as_tensor(shape.scale).to(like)
    return _ScaledBall(found, scale, float(scale.max()))


def cut_off(ball: SmoothBall, widths: Tensor | None) -> SmoothBall:
    """What is left of a box, perhaps a scaled one, for each sample.

    Args:
        ball: The box.
        widths: What is left, of the shape of what is asked about; None for all of it.
    """
    return ball if widths is None else _ScaledBall(ball, widths, ball.unit)


def dual_norm(attack: AttackBall, G: Tensor) -> Tensor:
    """The dual norm of vectors of all inputs, or of those that can be attacked, shape (...), in their precision."""
    own, shape = G[..., : attack.attackable], attack.ellipsoid
    found: Tensor = attack.geometry.dual_norm(own if shape is None else torch.as_tensor(shape.scale).to(G) * own)
    return found
