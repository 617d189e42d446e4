"""The squared hinge loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.losses.base import LossBlock, square_block, weighted

Array = NDArray[np.float64]


class SquaredHinge:
    """``max(0, 1 - t)^2``."""

    name = "squared_hinge"
    margin = True
    attains_infimum = True

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample."""
        return np.maximum(0.0, 1.0 - t) ** 2

    def derivative(self, t: Array, target: Array) -> Array:
        """Twice the violation, negated."""
        return -2.0 * np.maximum(0.0, 1.0 - t)

    def bound(self, theta: Array, target: Array, weights: Array | None = None) -> float:
        """``sum theta - n sum theta^2 / 4`` for theta >= 0."""
        if theta.min(initial=0.0) < 0.0:
            return -np.inf
        heavy = weighted(theta, weights)
        return float(heavy.sum() - 0.25 * theta.size * (heavy @ theta))

    def clip(self, theta: Array) -> Array:
        """To nonnegative values."""
        return np.maximum(theta, 0.0)

    def best_scale(self, theta: Array, target: Array, limit: float, weights: Array | None = None) -> float:
        """The maximiser of a parabola."""
        heavy = weighted(theta, weights)
        curvature = theta.size * float(heavy @ theta)
        return min(limit, 2.0 * float(heavy.sum()) / curvature) if curvature > 0.0 else 0.0

    def block(self, target: Array, weights: Array | None = None) -> LossBlock:
        """Variables (xi, tau) with ``t >= 1 - xi`` and ``||xi||^2 / n <= tau``."""
        n = target.size
        return square_block(-sparse.eye_array(n, format="csr"), np.ones(n), weights, equality=False)

    def expression(self, t: Any, target: Any) -> Any:
        """In cvxpy."""
        import cvxpy  # for references only

        return cvxpy.square(cvxpy.pos(1 - t))
