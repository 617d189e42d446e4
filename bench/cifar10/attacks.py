"""Attacks on pixels that stay on the device: for training, for choosing, and for finding points.

What is reported of test images is not found by these, but by `cvxrobust.evaluate_robustness`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Logits = Callable[[Tensor], Tensor]
LEVEL = 255.0
"""Attacks are given in levels of brightness, of which pixels in [0, 1] have 255."""

OVERSHOOT = 1.25
"""Of the radius, the one step of training (Wong, Rice and Kolter, arXiv:2001.03994, section 4)."""


def margins_of(logits: Tensor, labels: Tensor) -> Tensor:
    """By how much each row's class leads the best other one, shape (n,)."""
    own = logits.gather(1, labels[:, None])[:, 0]
    others = logits.scatter(1, labels[:, None], float("-inf"))
    return own - others.amax(dim=1)


def random_step(loss: Callable[[Tensor], Tensor], x: Tensor, radius: float, generator: torch.Generator) -> Tensor:
    """One step up a loss from a random point: what adversarial training in one step attacks with.

    Args:
        loss: Of the attacked images, one number.
        x: Pixels, shape (n, 3, h, w).
        radius: In the norm inf, in pixels.
        generator: Of the starting points.
    """
    # Of the layout of x, which `rand_like` keeps and `rand` does not.
    noise = torch.empty_like(x).uniform_(-radius, radius, generator=generator).requires_grad_()
    (slope,) = torch.autograd.grad(loss(x + noise), noise)
    moved = (noise.detach() + OVERSHOOT * radius * slope.sign()).clamp_(-radius, radius)
    return (x + moved).clamp_(0.0, 1.0)


@dataclass(frozen=True)
class PixelAttack:
    """Projected steps on the margin in a ball of the norm inf, from the image itself and then from random points.

    Steps shrink from half the radius to nothing; of all that was met the point with the smallest margin counts.

    Args:
        radius: In pixels, of [0, 1].
        steps: From each start.
        restarts: Random starts.
        seed: Of these.
    """

    radius: float
    steps: int = 10
    restarts: int = 0
    seed: int = 0

    def __call__(self, logits: Logits, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Attacked images and their margins, shapes (n, 3, h, w) and (n,).

        Args:
            logits: Of pixels, shape (n, K).
            x: Pixels in [0, 1].
            labels: Shape (n,).
        """
        generator = torch.Generator(x.device).manual_seed(self.seed)
        with torch.no_grad():
            points, smallest = x.clone(), margins_of(logits(x), labels)
        for start in range(self.restarts + 1):
            moved = torch.zeros_like(x)
            if start:
                moved.uniform_(-self.radius, self.radius, generator=generator)
            for k in range(self.steps + 1):
                at = (x + moved).clamp(0.0, 1.0).requires_grad_()
                margins = margins_of(logits(at), labels)
                better = margins.detach() < smallest
                smallest = torch.where(better, margins.detach(), smallest)
                points = torch.where(better[:, None, None, None], at.detach(), points)
                if k == self.steps:
                    break
                (slope,) = torch.autograd.grad(margins.sum(), at)
                step = 0.5 * self.radius * (1.0 - k / self.steps)
                moved = (at.detach() - x - step * slope.sign()).clamp_(-self.radius, self.radius)
        return points, smallest


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows."""
    return functional.cross_entropy(logits, labels)
