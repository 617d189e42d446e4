"""Smooth versions of what is not smooth in gated programmes, on tensors: values and two derivatives.

All are within a constant times their width of what they stand for, and their derivatives are feasible multipliers: of a
ReLU in [0, 1], of a dual norm in the unit ball of the attack (Nesterov 2005, Smooth minimization of non-smooth
functions; the ReLU is that of Chen and Mangasarian 1996).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from cvxrobust.core.attacks.relu_bounds import Norm


def smooth_relu(z: Tensor, width: float, carried: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """``(z + sqrt(z^2 + 4 width^2)) / 2``, between relu(z) and relu(z) + width, with two derivatives."""
    root = torch.sqrt(z * z + 4.0 * width * width)
    # Where z is far below 0, z + root would cancel.
    low = 2.0 * width * width / (root - z).clamp_min(torch.finfo(z.dtype).tiny)
    value = torch.where(z > 0.0, 0.5 * (z + root), low)
    slope = value / root
    second = 2.0 * width * width / root**3
    if carried is not None:
        second = torch.maximum(second, 0.5 * (1.0 - (2.0 * carried - 1.0) * z / root) / root)
    return value, slope, second


def smooth_abs(z: Tensor, width: float) -> tuple[Tensor, Tensor, Tensor]:
    """``sqrt(z^2 + width^2) - width``, with two derivatives."""
    root = torch.sqrt(z * z + width * width)
    return root - width, z / root, width * width / root**3


@dataclass(frozen=True)
class SmoothNorm:
    """A smoothed dual norm ``N(g)`` of vectors along the last axis and its derivatives there.

    Args:
        value: ``N`` above 0 at most; shape (...).
        gradient: In the unit ball of the attack's norm, shape (..., d).
        weight: Diagonal part of the second derivative, shape (..., d).
        factor: It takes ``factor * (gradient other' + other gradient') / 2`` off, shape (..., 1).
        other: The gradient, or one carried along that it approaches, shape (..., d).
    """

    value: Tensor
    gradient: Tensor
    weight: Tensor
    factor: Tensor
    other: Tensor

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


def smooth_norm(G: Tensor, norm: Norm, width: Tensor, centred: bool, carried: Tensor | None = None) -> SmoothNorm:
    """The dual norm of an attack's norm, smoothed.

    Args:
        G: Vectors, shape (..., d).
        norm: Norm of the attack.
        width: Of the smoothing, shape (..., 1) or ().
        centred: Shifted so that ``N(0) = 0``, instead of lying above the norm.
    """
    none = torch.zeros_like(G[..., :1])
    if norm == "inf":
        root = torch.sqrt(G * G + width * width)
        value = (root - width).sum(-1) if centred else root.sum(-1)
        gradient = G / root
        other = gradient if carried is None else carried
        weight = torch.maximum((width / root) ** 2, 1.0 - other * gradient) / root
        return SmoothNorm(value, gradient, weight, none, gradient)
    if norm == 2:
        root = torch.sqrt((G * G).sum(-1, keepdim=True) + width * width)
        value = (root - width if centred else root)[..., 0]
        gradient = G / root
        other = gradient if carried is None else carried
        return SmoothNorm(value, gradient, (1.0 / root).expand_as(G), 1.0 / root, other)
    d = max(1, G.shape[-1])
    both = torch.cat([G, -G], -1) / width
    shares = torch.softmax(both, -1)
    least = torch.log(torch.tensor(2.0 * d, dtype=G.dtype)) if centred else 0.0
    value = ((torch.logsumexp(both, -1, keepdim=True) - least) * width)[..., 0]
    up, down = shares[..., : G.shape[-1]], shares[..., G.shape[-1] :]
    return SmoothNorm(value, up - down, (up + down) / width, none + 1.0 / width, up - down)
