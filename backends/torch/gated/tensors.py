"""A gated programme as tensors, and the linear parts of its objective, for the smoothed objective and its Newton steps.

Notation of `cvxrobust.core.programs.gated.evaluation`.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from cvxrobust.backends.torch.losses import TorchLoss, torch_loss
from cvxrobust.core import GatedProgram

NOTHING = 1e-12
"""A share of a box that counts for none, so that nothing is divided by 0."""


@dataclass(frozen=True)
class SmoothingWidths:
    """How much is smoothed.

    Args:
        values: Of the loss and of the absolute residual, in their units.
        relu: Of the ReLUs of the one-sided form.
        sums: Of the dual norms of ``H_i``.
        slots: Of the dual norms of the slots, shape (K, C, 1).
        lengths: Of the lengths of the slots.
        barrier: Weight tau of the logarithms of the cone form.
    """

    values: float
    relu: float
    sums: float
    slots: Tensor
    lengths: float
    barrier: float


@dataclass(frozen=True)
class Carried:
    """Derivatives of the smoothed parts carried from step to step; they approach those at the point.

    Where a part ``r(z) = sqrt(z^2 + width^2)`` has the derivative w, ``w r(z) = z``. Newton's method on this equation,
    w a variable of its own, has the same right-hand side as on ``w = z / r(z)`` and the curvature ``(1 - w z / r) / r``
    instead of ``(1 - (z / r)^2) / r``, and needs far fewer steps where the width is small (Chan, Golub and Mulet 1999,
    A nonlinear primal-dual method for total variation-based image restoration).

    Args:
        loss: Of a hinge, shape (n, C); those at the point where this or another part is None.
        relu: Of the ReLUs, shape (n, K, 1); None but for the one-sided form.
        lengths: Of the slots' lengths, shape (K, C, D).
        sums: Of the dual norms of ``H_i``, shape (n, C, d); None without attack.
        slots: Of the dual norms of the slots, shape (K, C, d); None without attack.
        barrier: Multipliers of the cone constraints, shape (n, K, C): ``mu slope = tau``; None but for the cone form.
    """

    loss: Tensor | None = None
    relu: Tensor | None = None
    lengths: Tensor | None = None
    sums: Tensor | None = None
    slots: Tensor | None = None
    barrier: Tensor | None = None


@dataclass(frozen=True)
class GatedTensors:
    """A programme on a device.

    Args:
        program: The programme.
        X: Shape (n, D).
        labels: Shape (n, C).
        radius: Shape (n, 1).
        weights: ``s_k g_ik``, shape (n, K).
        turned: The sign that ``x_i'u_k`` has in the ReLU or constraint of (i, k), 0 where there is none; (n, K).
        reach: The radius there, shape (n, K).
        widths: What a range leaves of the box of each sample, above 0, shape (n, 1, d); None for all of it.
        attacked: Whether any radius is positive.
        heavy: What the loss of each sample counts in the mean, shape (n, 1); None for all alike.
    """

    program: GatedProgram
    X: Tensor
    labels: Tensor
    radius: Tensor
    weights: Tensor
    turned: Tensor
    reach: Tensor
    attacked: bool
    heavy: Tensor | None = None
    widths: Tensor | None = None

    @classmethod
    def of(cls, program: GatedProgram, device: str, dtype: torch.dtype) -> Self:
        """The programme's arrays as tensors."""

        def tensor(array: object) -> Tensor:
            return torch.as_tensor(np.array(array, dtype=np.float64), device=device).to(dtype)

        sides = 1.0 - 2.0 * program.gates
        active = program.rules.pairs(program)
        if program.rules.constrains_gates:
            active = active & (program.X != 0.0).any(axis=1, keepdims=True)
        attacked = program.attack.present
        return cls(
            program,
            tensor(program.X),
            tensor(program.labels),
            tensor(program.attack.radius[:, None]),
            tensor(program.gates * program.signs),
            tensor(np.where(active, sides, 0.0)),
            tensor(np.where(active, program.attack.radius[:, None], 0.0)),
            attacked,
            None if program.weights is None else tensor(program.weights[:, None]),
            None if program.attack.widths is None else tensor(program.attack.widths[:, None]).clamp_min(NOTHING),
        )

    def reaches(self, parts: Tensor) -> Tensor:
        """Sums of parts of the slots' coordinates, shape (K, C, d), times what attacks reach in each; (n, K, C)."""
        if self.widths is None:
            return self.reach[..., None] * parts.sum(-1)
        K, C, d = parts.shape
        return self.reach[..., None] * (self.widths[:, 0] @ parts.reshape(K * C, d).T).reshape(-1, K, C)

    def pulls(self, mu: Tensor) -> Tensor:
        """The transpose: sums over samples of mu, shape (n, K, C), times that; shape (K, C, 1), or (K, C, d)."""
        if self.widths is None:
            return torch.einsum("ik,ikc->kc", self.reach, mu)[..., None]
        (n, K, C), w = mu.shape, self.widths[:, 0]
        return ((self.reach[..., None] * mu).reshape(n, K * C).T @ w).reshape(K, C, -1)

    def weighed(self, values: Tensor) -> Tensor:
        """What is said of all samples, shape (n, C), times their weights."""
        return values if self.heavy is None else self.heavy * values

    @property
    def loss(self) -> TorchLoss:
        """The loss."""
        return torch_loss(self.program.loss)

    @property
    def margin(self) -> bool:
        """Whether it is one of margins, not of residuals."""
        return self.program.loss_function.margin

    @property
    def cone(self) -> bool:
        """Whether slots are confined to cones."""
        return self.program.rules.constrains_gates

    @property
    def one_sided(self) -> bool:
        """Whether margins lose what harmful slots may add."""
        return self.program.rules.one_sided


def linear_parts(data: GatedTensors, U: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """``x_i'u_k``, shape (n, K, C), the outputs, (n, C), and under attack ``H_i``, (n, C, d)."""
    (K, C, D), d = U.shape, data.program.attackable
    products = (data.X @ U.reshape(K * C, D).T).reshape(-1, K, C)
    outputs = (data.weights[..., None] * products).sum(1)
    if not data.attacked:
        return products, outputs, None
    return products, outputs, (data.weights @ U[..., :d].reshape(K, C * d)).reshape(-1, C, d)
