"""A gated programme as tensors: only slots that may carry neurons, and only constraints that are not trivial."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cvxrobust.backends.ipm.losses import InteriorLoss, interior_loss
from cvxrobust.core import GatedProgram

PACKED = 16_000_000
"""Entries of products of inputs that are kept, at most; beyond, they are formed anew in blocks of samples."""


@dataclass(frozen=True, eq=False)
class GatedTensors:
    """The tensors of a programme; slots come before samples.

    Args:
        program: The programme, of the slots that are left.
        X: Inputs, shape (n, D).
        y: Labels or targets, shape (n, C).
        radius: Shape (n,); 0 throughout where nothing can be attacked.
        gates: Shape (K, n), 0 or 1.
        signs: Shape (K,).
        live: 1 for the constraints (cone) or ReLUs (one-sided) that count, shape (K, n).
        faces: Projectors onto the subspaces to which vectors are confined, shape (K, D, D); None for no such.
    """

    program: GatedProgram
    X: Tensor
    y: Tensor
    radius: Tensor
    gates: Tensor
    signs: Tensor
    live: Tensor
    faces: Tensor | None = None

    @classmethod
    def of(cls, program: GatedProgram, device: str) -> "GatedTensors":
        """The tensors of a programme with all its slots."""

        def tensor(values: NDArray[np.float64] | NDArray[np.bool_]) -> Tensor:
            return torch.as_tensor(np.array(values, dtype=np.float64, order="C"), device=device)

        X, radius = tensor(program.X), tensor(program.attack.radius)
        if program.attackable == 0:
            radius = torch.zeros_like(radius)
        gates, signs, y = tensor(program.gates.T), tensor(program.signs), tensor(program.labels)
        live = tensor(program.rules.pairs(program).T) * ((X != 0.0).any(1) | (radius > 0.0))
        return cls(program, X, y, radius, gates, signs, live)

    def part(self, kept: NDArray[np.intp], live: Tensor, faces: Tensor | None) -> "GatedTensors":
        """Some of the slots, with the constraints and subspaces of these."""
        at = torch.as_tensor(kept, device=self.X.device)
        program = replace(self.program, gates=self.program.gates[:, kept], signs=self.program.signs[kept])
        return GatedTensors(program, self.X, self.y, self.radius, self.gates[at], self.signs[at], live, faces)

    @cached_property
    def shape(self) -> tuple[int, int, int, int]:
        """Samples, slots, outputs and inputs."""
        return (self.X.shape[0], *self.program.shape)

    @cached_property
    def count(self) -> int | Tensor:
        """By what losses are divided: the number of samples, or where these have weights, over them; shape (n, 1)."""
        n, weights = self.X.shape[0], self.program.weights
        return n if weights is None else n / torch.tensor(weights, device=self.X.device)[:, None]

    @property
    def one_sided(self) -> bool:
        """Whether harmful ReLUs are paid for."""
        return self.program.rules.one_sided

    @property
    def loss(self) -> InteriorLoss:
        """The loss."""
        return interior_loss(self.program.loss)

    @property
    def margin(self) -> bool:
        """Whether it is one of margins."""
        return self.program.loss_function.margin

    @cached_property
    def turned(self) -> Tensor:
        """``2 g - 1``, shape (K, n)."""
        return 2.0 * self.gates - 1.0

    @cached_property
    def signed(self) -> Tensor:
        """``s_k g_ik``, shape (K, n)."""
        return self.gates * self.signs[:, None]

    @cached_property
    def rows(self) -> Tensor:
        """Indices of the samples that are attacked."""
        return torch.nonzero(self.radius > 0.0)[:, 0]

    @cached_property
    def reach(self) -> Tensor:
        """Radii of the samples that are attacked."""
        return self.radius[self.rows]

    @cached_property
    def folds(self) -> Tensor:
        """Indices of the samples whose losses are of a worst residual: those attacked, or all where it has a kink."""
        if self.margin:
            return self.rows[:0]
        return self.rows if self.loss.derivatives is not None else torch.arange(self.X.shape[0], device=self.X.device)

    @cached_property
    def places(self) -> Tensor:
        """The places among these of the samples that are attacked."""
        return torch.arange(self.rows.numel(), device=self.X.device) if self.folds is self.rows else self.rows

    @cached_property
    def capped(self) -> Tensor:
        """Indices of the slots whose dual norm matters to any constraint of theirs."""
        return torch.nonzero((self.live * self.radius).any(1))[:, 0]

    @cached_property
    def packed(self) -> "Packed":
        """Products of inputs, to form second derivatives from."""
        return Packed(self.X)


class Packed:
    """``sum_i weights_i x_i x_i'`` for many weights at once: one product with the upper triangles of the x_i x_i'."""

    def __init__(self, X: Tensor) -> None:
        n, D = X.shape
        self.X, self.upper = X, torch.triu_indices(D, D, device=X.device)
        lookup = torch.zeros((D, D), dtype=torch.long, device=X.device)
        lookup[self.upper[0], self.upper[1]] = torch.arange(self.upper.shape[1], device=X.device)
        self.lookup = torch.maximum(lookup, lookup.T).reshape(-1)
        self.block = max(1, PACKED // max(1, self.upper.shape[1]))
        self.kept = self._products(0, n) if n <= self.block else None

    def _products(self, start: int, end: int) -> Tensor:
        some = self.X[start:end]
        return some[:, self.upper[0]] * some[:, self.upper[1]]

    def __call__(self, weights: Tensor) -> Tensor:
        """The sums for weights of shape (m, n), shape (m, D, D)."""
        (n, D), m = self.X.shape, weights.shape[0]
        if self.kept is not None:
            found = weights @ self.kept
        else:
            found = weights.new_zeros((m, self.upper.shape[1]))
            for start in range(0, n, self.block):
                found += weights[:, start : start + self.block] @ self._products(start, start + self.block)
        return found[:, self.lookup].reshape(m, D, D)
