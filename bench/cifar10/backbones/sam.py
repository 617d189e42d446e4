"""Sharpness-aware minimisation: gradients are those at the worst weights nearby."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

TINY = 1e-12
"""What keeps a gradient of 0 from being divided by."""


@contextmanager
def at_sharpest(parameters: Iterable[nn.Parameter], rho: float) -> Iterator[None]:
    """Inside the block weights are ``w + rho g / ||g||`` for the gradients g that they have; afterwards w again,
    exactly.

    Whoever takes gradients of the same batch in the block, and then a step of any optimiser, has made a step of
    sharpness-aware minimisation (Foret, Kleiner, Mobahi and Neyshabur, arXiv:2010.01412, Algorithm 1, p = 2). Gradients
    are cleared on entry.

    Args:
        parameters: The weights w, their gradients at hand.
        rho: Radius of the neighbourhood, in the norm of all weights together.
    """
    moved = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in moved if parameter.grad is not None]
    before = [parameter.detach().clone() for parameter in moved]
    with torch.no_grad():
        size = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]))
        for parameter, gradient in zip(moved, gradients, strict=True):
            parameter.add_(gradient * (rho / (size + TINY)))
            parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, weights in zip(moved, before, strict=True):
                parameter.copy_(weights)


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Passes in the block are normalised with their own batch, and leave the running means and variances alone.

    Of several passes over one batch only one should count, and it should not be one that weights or inputs were moved
    for.
    """
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    rates = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, rate in zip(norms, rates, strict=True):
            norm.momentum = rate
