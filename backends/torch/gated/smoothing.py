"""Smooth versions of what is not smooth in gated programmes, on tensors: values and two derivatives.

All are within a constant times their width of what they stand for, and their derivatives are feasible multipliers: of a
ReLU in [0, 1] (Chen and Mangasarian 1996). `cvxrobust.backends.torch.gated.balls` has the dual norms.
"""

import torch
from torch import Tensor


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
