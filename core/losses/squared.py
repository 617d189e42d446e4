"""The squared loss, for regression."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.losses.base import LossBlock, square_block, weighted

Array = NDArray[np.float64]


class Squared:
    """``(t - target)^2``, for regression."""

    name = "squared"
    margin = False
    attains_infimum = True

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample."""
        return (t - target) ** 2

    def derivative(self, t: Array, target: Array) -> Array:
        """Twice the residual."""
        return 2.0 * (t - target)

    def bound(self, theta: Array, target: Array, weights: Array | None = None) -> float:
        """``theta @ target - n sum theta^2 / 4`` for any theta."""
        heavy = weighted(theta, weights)
        return float(heavy @ target - 0.25 * theta.size * (heavy @ theta))

    def clip(self, theta: Array) -> Array:
        """Nothing to clip: the conjugate is finite everywhere."""
        return theta

    def best_scale(self, theta: Array, target: Array, limit: float, weights: Array | None = None) -> float:
        """The maximiser of a parabola."""
        heavy = weighted(theta, weights)
        curvature = theta.size * float(heavy @ theta)
        if curvature == 0.0:
            return 0.0
        return float(np.clip(2.0 * float(heavy @ target) / curvature, 0.0, limit))

    def block(self, target: Array, weights: Array | None = None) -> LossBlock:
        """Variables (residual, tau) with ``t = target + residual`` and ``||residual||^2 / n <= tau``."""
        return square_block(sparse.eye_array(target.size, format="csr"), target, weights, equality=True)

    def expression(self, t: Any, target: Any) -> Any:
        """In cvxpy."""
        import cvxpy  # for references only

        return cvxpy.square(t - target)
