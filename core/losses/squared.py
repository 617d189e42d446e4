"""The squared loss, for regression."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.losses.base import LossBlock, square_block

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

    def bound(self, theta: Array, target: Array) -> float:
        """``theta @ target - n sum theta^2 / 4`` for any theta."""
        return float(theta @ target - 0.25 * theta.size * (theta @ theta))

    def clip(self, theta: Array) -> Array:
        """Nothing to clip: the conjugate is finite everywhere."""
        return theta

    def best_scale(self, theta: Array, target: Array, limit: float) -> float:
        """The maximiser of a parabola."""
        curvature = theta.size * float(theta @ theta)
        if curvature == 0.0:
            return 0.0
        return float(np.clip(2.0 * float(theta @ target) / curvature, 0.0, limit))

    def block(self, target: Array) -> LossBlock:
        """Variables (residual, tau) with ``t = target + residual`` and ``||residual||^2 / n <= tau``."""
        return square_block(target.size, sparse.eye_array(target.size, format="csr"), target, equality=True)

    def expression(self, t: Any, target: Any) -> Any:
        """In cvxpy."""
        import cvxpy  # for references only

        return cvxpy.square(t - target)
