"""Heads by gradient descent: a linear layer, two layers, and two layers against attacks on features."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cvxrobust.bench.cifar10.heads.splice import HIDDEN, plain_head

BATCH, RATE, STEPS = 250, 1e-2, 5
EPOCHS = 30
"""Over the features; half as many with attacks, which take several gradients each."""


@dataclass(frozen=True)
class DescentTerms:
    """How a head is trained by Adam on the cross-entropy.

    Args:
        hidden: Neurons; 0 for a linear layer.
        radius: Of l2 attacks on features; 0 for none.
        decay: Weight decay.
        seed: Of weights and order.
    """

    hidden: int = HIDDEN
    radius: float = 0.0
    decay: float = 1e-4
    seed: int = 0


def descend(
    Z: NDArray[np.float64], labels: NDArray[np.int64], classes: int, terms: DescentTerms, device: torch.device
) -> tuple[nn.Module, float]:
    """A trained head in double precision, and its seconds of the processor.

    Args:
        Z: Standardised features, shape (n, d).
        labels: Shape (n,).
        classes: Logits.
        terms: How it is trained.
        device: Where.
    """
    used = time.process_time()
    generator = torch.Generator(device).manual_seed(terms.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(terms.seed)
        head = plain_head(Z.shape[1], classes, terms.hidden).to(device)
    x, y = torch.tensor(Z, dtype=torch.float32, device=device), torch.tensor(labels, device=device)
    epochs, steps = EPOCHS if not terms.radius else EPOCHS // 2, -(-len(x) // BATCH)
    optimizer = torch.optim.Adam(head.parameters(), RATE, weight_decay=terms.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=epochs * steps + 1)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(x), generator=generator, device=device), BATCH):
            points = _attacked(head, x[rows], y[rows], terms.radius, generator) if terms.radius else x[rows]
            optimizer.zero_grad()
            functional.cross_entropy(head(points), y[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    return head.double().eval().requires_grad_(False), time.process_time() - used


def _attacked(head: nn.Module, x: Tensor, y: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """Steps of half the radius up the cross-entropy, in the ball, from a random point of it."""
    moved = torch.empty_like(x).normal_(generator=generator)
    moved *= radius * torch.empty_like(y, dtype=x.dtype).uniform_(generator=generator)[:, None] / _length(moved)
    for _ in range(STEPS):
        moved.requires_grad_()
        (slope,) = torch.autograd.grad(functional.cross_entropy(head(x + moved), y, reduction="sum"), moved)
        moved = moved.detach() + 0.5 * radius * slope / _length(slope)
        moved = moved * (radius / _length(moved)).clamp(max=1.0)
    return x + moved


def _length(x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return length.clamp(min=1e-12)
