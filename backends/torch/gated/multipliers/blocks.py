"""What an evaluation of the augmented Lagrangian sums over samples, in pieces that stay in the cache.

Notation of `cvxrobust.backends.torch.gated.multipliers.lagrangian`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cvxrobust.backends.torch.gated.balls import SMOOTH_BALLS, dual_norm, smooth_ball
from cvxrobust.backends.torch.losses import ReLU, torch_loss
from cvxrobust.core import GatedProgram

CHUNK = 120_000
"""Entries of a piece of an (n, K) matrix."""


@dataclass(frozen=True)
class Widths:
    """How much is smoothed.

    Args:
        loss: Of the hinge or the absolute residual, in units of the margin or the residual.
        relu: Of the ReLUs, in the same units.
        sums: Of the dual norms of ``H_i``, in the units of an entry.
        slots: Of the dual norms of the slots, likewise.
    """

    loss: float
    relu: float
    sums: float
    slots: float


@dataclass(frozen=True)
class Centres:
    """Multipliers that the smoothed parts stay close to. Samples and slots are sorted.

    Args:
        loss: Of the losses in the worst values, shape (n,); those of the hinge, in [0, 1], are smoothed.
        outputs: Of the absolute residuals, in [-1, 1], shape (n,); empty for margins.
        relu: Of the ReLUs of the slots that can harm the samples of either label, in [0, 1].
        sums: Of the dual norms of ``y_i H_i``, for residuals of ``H_i``; shape (n, d).
        slots: Of the dual norms of the slots, shape (K, d).
    """

    loss: Tensor
    outputs: Tensor
    relu: tuple[Tensor, Tensor]
    sums: Tensor
    slots: Tensor


@dataclass(frozen=True)
class Label:
    """The samples of one label.

    Args:
        sign: The label.
        rows: Where they are.
        harmful: The slots that can only harm them.
    """

    sign: float
    rows: slice
    harmful: slice


@dataclass(frozen=True)
class Restricted:
    """A programme on some of its slots, as tensors; samples are sorted by label, slots by sign.

    Args:
        program: The whole programme.
        X: Shape (n, D).
        gates: ``y_i s_k g_ik``, for residuals ``s_k g_ik``; shape (n, A).
        targets: The labels as numbers, shape (n,).
        radius: Shape (n, 1).
        labels: The samples of either label.
        attacked: Whether any radius is positive.
        weights: What the loss of each sample counts in the mean, shape (n,); None for all alike.
    """

    program: GatedProgram
    X: Tensor
    gates: Tensor
    targets: Tensor
    radius: Tensor
    labels: tuple[Label, Label]
    attacked: bool
    weights: Tensor | None = None

    def weighed(self, values: Tensor, rows: slice) -> Tensor:
        """What is said of some samples, shape (b,), times their weights."""
        return values if self.weights is None else self.weights[rows] * values

    def pieces(self) -> Iterator[tuple[Label, slice]]:
        """Samples of one label that fit into the cache."""
        size = max(64, CHUNK // max(1, self.gates.shape[1]))
        for label in self.labels:
            for start in range(label.rows.start, label.rows.stop, size):
                yield label, slice(start, min(start + size, label.rows.stop))


class PieceMultipliers(NamedTuple):
    """The maximising multipliers of some samples, in the order of `Centres`."""

    loss: Tensor
    outputs: Tensor
    sums: Tensor
    relu: Tensor


class Sums:
    """What is summed over the pieces of one evaluation."""

    def __init__(self, data: Restricted, centres: Centres, widths: Widths, U: Tensor) -> None:
        self.data, self.centres, self.width, self.U = data, centres, widths, U
        self.loss, self.margin = torch_loss(data.program.loss), data.program.loss_function.margin
        self.ball = smooth_ball(data.program.attack, U)
        self.total = torch.zeros_like(U)
        self.weight = U.new_zeros(U.shape[0])
        self.sizes, self.turns, self.slot_error = U.new_zeros(U.shape[0]), U[:, :0], U.new_zeros(U.shape[0])
        self.error = U.new_zeros(3)
        if data.attacked and data.program.rules.one_sided:
            d = data.program.attackable
            self.sizes, self.turns = self.ball.support(U[:, :d], centres.slots, widths.slots)
            self.slot_error = dual_norm(data.program.attack, U) - (self.turns * U[:, :d]).sum(1)

    def add(self, label: Label, rows: slice, kept: list[PieceMultipliers] | None) -> Tensor:
        """Add samples to everything, and return the sum of their losses."""
        data, U = self.data, self.U
        X, gates, radius = data.X[rows], data.gates[rows], data.radius[rows]
        d, harm = data.program.attackable, label.harmful
        z = H = directions = kappa = turned = reach = None
        if data.attacked:
            H = gates @ U
            margins = (X * H).sum(1)
            sizes, directions = self.ball.support(H[:, :d], self.centres.sums[rows], self.width.sums)
            reach = radius[:, 0] * sizes
        else:
            z = X @ U.T
            margins = (gates * z).sum(1)
        if not self.margin:
            return self._add_residuals(rows, margins - data.targets[rows], reach, H, directions, kept)
        margins = margins if reach is None else margins - reach
        side = 0 if label.sign > 0.0 else 1
        local = slice(rows.start - label.rows.start, rows.stop - label.rows.start)
        excess = None
        if harm.stop > harm.start:
            # A harmful slot's gate enters with a minus: 1 - 2 g.
            turned = 1.0 + 2.0 * gates[:, harm]
            excess = turned * (X @ U[harm].T if z is None else z[:, harm])
            if data.attacked:
                excess = torch.addcmul(excess, radius, self.sizes[harm])
            centre = self.centres.relu[side][local]
            kappa = torch.add(centre, excess, alpha=1.0 / self.width.relu).clamp_(0.0, 1.0)
            moved = kappa - centre
            margins = margins - (kappa * excess).sum(1) + 0.5 * self.width.relu * (moved * moved).sum(1)
        losses, theta = self.loss.first_order(margins, self._relu(rows))
        heavy = data.weighed(theta, rows)
        self._pull(X, gates, radius, heavy, heavy, directions, harm, turned, kappa, z is not None)
        if kept is not None:
            self.error[0] += data.weighed(self.loss.smoothed_off(margins, theta), rows).sum()
            self._judge(heavy, radius, H, directions, excess, kappa)
            none = X[:, :0]
            kept.append(
                PieceMultipliers(
                    theta, theta[:0], none if directions is None else directions, none if kappa is None else kappa
                )
            )
        total: Tensor = data.weighed(losses, rows).sum(dtype=torch.float64)
        return total

    def _add_residuals(
        self,
        rows: slice,
        residuals: Tensor,
        reach: Tensor | None,
        H: Tensor | None,
        directions: Tensor | None,
        kept: list[PieceMultipliers] | None,
    ) -> Tensor:
        """The same for losses of residuals, worst where attacks go the way of the residual."""
        data = self.data
        X, gates, radius = data.X[rows], data.gates[rows], data.radius[rows]
        smoothed = reach is not None or self.loss.of_sizes
        if not smoothed:
            worst, sides = residuals, torch.ones_like(residuals)
        else:
            centre = self.centres.outputs[rows, None]
            sizes, side = SMOOTH_BALLS[2].support(residuals[:, None], centre, self.width.loss)
            # Smoothed from below, an absolute residual may be less than nothing.
            worst, sides = torch.relu(sizes if reach is None else sizes + reach), side[:, 0]
        losses, omega = self.loss.first_order(worst, self._relu(rows))
        heavy = data.weighed(omega, rows)
        self._pull(X, gates, radius, -heavy * sides, heavy, directions, slice(0, 0), None, None, H is None)
        if kept is not None:
            if smoothed:
                self.error[0] += (heavy * (residuals.abs() - sides * residuals)).sum()
            if H is not None and directions is not None:
                self._judge_sums(heavy, radius, H, directions)
            kept.append(PieceMultipliers(omega, sides, X[:, :0] if directions is None else directions, X[:, :0]))
        total: Tensor = data.weighed(losses, rows).sum(dtype=torch.float64)
        return total

    def _relu(self, rows: slice) -> ReLU:
        """The ReLU of the hinges of some samples, close to their centre."""
        centre, width = self.centres.loss[rows], self.width.loss

        def smoothed(z: Tensor) -> tuple[Tensor, Tensor]:
            p = torch.add(centre, z, alpha=1.0 / width).clamp_(0.0, 1.0)
            moved = p - centre
            return p * z - 0.5 * width * moved * moved, p

        return smoothed

    def _pull(
        self,
        X: Tensor,
        gates: Tensor,
        radius: Tensor,
        theta: Tensor,
        omega: Tensor,
        directions: Tensor | None,
        harm: slice,
        turned: Tensor | None,
        kappa: Tensor | None,
        joint: bool,
    ) -> None:
        """Add samples to the derivative."""
        weight = theta[:, None]
        mu = None if kappa is None else weight * kappa
        if joint:
            pull = -weight * gates
            if turned is not None and mu is not None:
                pull[:, harm] += turned * mu
            self.total += pull.T @ X
            return
        points = -weight * X
        if directions is not None:
            points[:, : directions.shape[1]] += (omega[:, None] * radius) * directions
        self.total += gates.T @ points
        if turned is not None and mu is not None:
            self.total[harm] += (turned * mu).T @ X
            self.weight[harm] += (radius.T @ mu)[0]

    def _judge(
        self,
        theta: Tensor,
        radius: Tensor,
        H: Tensor | None,
        directions: Tensor | None,
        excess: Tensor | None,
        kappa: Tensor | None,
    ) -> None:
        """Add samples to the errors that smoothing norms and ReLUs makes."""
        if excess is not None and kappa is not None:
            self.error[1] += theta @ (torch.relu(excess) - kappa * excess).sum(1)
        if H is not None and directions is not None:
            self._judge_sums(theta, radius, H, directions)

    def _judge_sums(self, omega: Tensor, radius: Tensor, H: Tensor, directions: Tensor) -> None:
        G = H[:, : directions.shape[1]]
        lost = dual_norm(self.data.program.attack, G) - (directions * G).sum(1)
        self.error[2] += (omega * radius[:, 0]) @ lost

    def derivative(self) -> Tensor:
        """Of the mean loss in u, shape (A, D)."""
        n = self.data.X.shape[0]
        found = self.total
        if self.turns.shape[1]:
            found[:, : self.turns.shape[1]] += self.weight[:, None] * self.turns
        return found.to(torch.float64) / n

    def errors(self) -> tuple[float, float, float, float]:
        """By how much smoothing lowers the mean loss."""
        n = self.data.X.shape[0]
        hinge, relu, sums = (max(0.0, float(part)) / n for part in self.error)
        return hinge, relu, sums, max(0.0, float(self.weight @ self.slot_error)) / n

    def multipliers(self, kept: list[PieceMultipliers]) -> Centres:
        """The multipliers of the pieces, put together."""
        loss, outputs, directions = (torch.cat(parts) for parts in list(zip(*kept, strict=True))[:3])
        relu = []
        for old, label in zip(self.centres.relu, self.data.labels, strict=True):
            parts = [part.relu for part, (owner, _) in zip(kept, self.data.pieces(), strict=True) if owner == label]
            relu.append(torch.cat(parts) if parts and old.shape[1] else old)
        turns = self.turns if self.turns.shape[1] else self.centres.slots
        return Centres(
            loss, outputs, (relu[0], relu[1]), directions if self.data.attacked else self.centres.sums, turns
        )
