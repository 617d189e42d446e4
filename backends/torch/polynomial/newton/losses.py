"""Losses whose multipliers a barrier keeps inside the domain of the conjugate.

``loss(t) = max_p p (1 - t) - c(p)`` becomes ``max_p p (1 - t) - c(p) + mu b(p)`` with b the logarithm of p, or of p and
1 - p: smooth, with p strictly inside, and self-concordant, as Newton's method likes it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SmoothLoss:
    """A loss of n samples.

    Args:
        value: Shape (n,).
        weight: Minus its derivative in t, shape (n,).
        curvature: Its second derivative in t, shape (n,).
    """

    value: Array
    weight: Array
    curvature: Array

    def times(self, weights: Array) -> "SmoothLoss":
        """The loss of samples with weights, shape (n,)."""
        return SmoothLoss(weights * self.value, weights * self.weight, weights * self.curvature)


def _hinge(slack: Array, barrier: float) -> SmoothLoss:
    """``max_p p slack + mu (log p + log(1 - p))``: p and 1 - p are roots of a quadratic, both without cancellation."""
    q = slack / (2.0 * barrier)
    root, size = np.sqrt(1.0 + q * q), np.abs(q)
    large = 0.5 + 0.5 * size / (1.0 + root)
    small = 0.5 * (1.0 + 1.0 / (root + size)) / (1.0 + root)
    p, rest = np.where(q > 0.0, large, small), np.where(q > 0.0, small, large)
    value = p * slack + barrier * (np.log(p) + np.log(rest))
    return SmoothLoss(value, p, 1.0 / (barrier / (p * p) + barrier / (rest * rest)))


def _squared_hinge(slack: Array, barrier: float) -> SmoothLoss:
    root = np.sqrt(slack * slack + 2.0 * barrier)
    p = np.where(slack > 0.0, slack + root, 2.0 * barrier / np.maximum(root - slack, root))
    value = p * slack - 0.25 * p * p + barrier * np.log(p)
    return SmoothLoss(value, p, 1.0 / (0.5 + barrier / (p * p)))


def _logistic(t: Array) -> SmoothLoss:
    small = np.exp(-np.abs(t)) / (1.0 + np.exp(-np.abs(t)))
    return SmoothLoss(np.logaddexp(0.0, -t), np.where(t > 0.0, small, 1.0 - small), small * (1.0 - small))


def _squared(residual: Array) -> SmoothLoss:
    return SmoothLoss(residual * residual, -2.0 * residual, np.full_like(residual, 2.0))


LOSSES: dict[str, Callable[[Array, Array, float], SmoothLoss]] = {
    "hinge": lambda t, target, barrier: _hinge(1.0 - t, barrier),
    "squared_hinge": lambda t, target, barrier: _squared_hinge(1.0 - t, barrier),
    "logistic": lambda t, target, barrier: _logistic(t),
    "squared": lambda t, target, barrier: _squared(t - target),
}
"""By name: at margins (outputs where labels are targets), shape (n,), given targets, shape (n,), and the barrier's mu,
which the squared and the logistic loss do not need. A loss that is not here has no path, and descends."""
