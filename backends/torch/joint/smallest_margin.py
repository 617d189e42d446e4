"""The loss of the smallest of a sample's margins, smoothed around multipliers.

A loss of margins is ``max_{S >= 0} -S t - loss*(-S)``, so that of the smallest margin is
``max_{p >= 0} sum_j p_j (-t_j) - loss*(-sum_j p_j)``. With ``- mu / 2 ||p - centre||^2`` it is smooth in t, and with
the last p as the centre this is the proximal method of multipliers, as `PolynomialSmoothing` has it for one margin. The
maximiser is ``p_j = max(0, y_j - tau)`` with ``y = centre + z / mu``, z_j what a margin lacks, and one tau for all that
solves a scalar equation: of the hinge, z = 1 - t, ``sum p <= 1``; of the squared hinge ``sum p = 2 mu tau``; both are
piecewise linear, and of all sets of the largest y the one counts whose root is largest. Of the logistic loss, z = -t,
``sum p = sigmoid(mu tau)``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Tensor = torch.Tensor
HALVINGS = 60
"""Of an interval of length 1: then rounding is all that is left."""


@dataclass(frozen=True)
class SmallestMargin:
    """What the method asks of a loss of the smallest margin.

    Args:
        start: What a margin has to reach for z to be 0.
        threshold: tau in units of mu, of y sorted from the largest down, shape (m, k), and mu.
        conjugate: ``loss*(-S)`` less what z has of it, of S, shape (m,).
        value: The loss of margins.
        vanishes: Whether p is 0 where z is not positive and the centre is 0.
    """

    start: float
    threshold: Callable[[Tensor, float], Tensor]
    conjugate: Callable[[Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    vanishes: bool = True

    def smoothed(self, margins: Tensor, centre: Tensor, mu: float) -> tuple[Tensor, Tensor]:
        """Smoothed losses, shape (m,), and the multipliers p, shape (m, k).

        Args:
            margins: Of the samples, inf where there is none, shape (m, k).
            centre: Shape (m, k), 0 where there is no margin.
            mu: The degree of smoothing.
        """
        z = self.start - margins
        y = centre + z / mu
        tau = self.threshold(y.sort(dim=1, descending=True).values, mu)
        p = (y - tau[:, None]).clamp(min=0.0)
        return self.worth(margins, p) - 0.5 * mu * ((p - centre) ** 2).sum(dim=1), p

    def worth(self, margins: Tensor, p: Tensor) -> Tensor:
        """What multipliers say that losses are at least, shape (m,)."""
        linear = torch.where(p > 0.0, p * (self.start - margins), torch.zeros_like(p))
        return linear.sum(dim=1) - self.conjugate(p.sum(dim=1))

    def losses(self, margins: Tensor) -> Tensor:
        """The losses themselves, shape (m,)."""
        return self.value(margins.amin(dim=1))


def _largest_root(y: Tensor, less: float, more: float) -> Tensor:
    """The largest root of ``sum_{j <= k} (y_j - tau) = less + more tau`` over k, and 0."""
    counts = torch.arange(1, y.shape[1] + 1, dtype=y.dtype, device=y.device)
    return ((y.cumsum(dim=1) - less) / (counts + more)).amax(dim=1).clamp(min=0.0)


def _logistic_threshold(y: Tensor, mu: float) -> Tensor:
    high = y[:, 0].clone()
    low = high - 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        above = (y - middle[:, None]).clamp(min=0.0).sum(dim=1) > torch.sigmoid(mu * middle)
        low, high = torch.where(above, middle, low), torch.where(above, high, middle)
    return 0.5 * (low + high)


def _entropy(total: Tensor) -> Tensor:
    total = total.clamp(max=1.0)  # rounding
    found: Tensor = torch.special.xlogy(total, total) + torch.special.xlog1py(1.0 - total, -total)
    return found


LOSSES: dict[str, SmallestMargin] = {
    "hinge": SmallestMargin(
        1.0, lambda y, mu: _largest_root(y, 1.0, 0.0), torch.zeros_like, lambda t: (1.0 - t).clamp(min=0.0)
    ),
    "squared_hinge": SmallestMargin(
        1.0,
        lambda y, mu: _largest_root(y, 0.0, 2.0 * mu),
        lambda total: 0.25 * total * total,
        lambda t: (1.0 - t).clamp(min=0.0) ** 2,
    ),
    "logistic": SmallestMargin(
        0.0, _logistic_threshold, _entropy, lambda t: torch.nn.functional.softplus(-t), vanishes=False
    ),
}
"""By their names in `cvxrobust.core.losses`: all of margins."""
