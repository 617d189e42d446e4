"""The hinge loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import NonNegative
from cvxrobust.core.losses.base import LossBlock, weighted

Array = NDArray[np.float64]


class Hinge:
    """``max(0, 1 - t)``."""

    name = "hinge"
    margin = True
    attains_infimum = True

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample."""
        return np.maximum(0.0, 1.0 - t)

    def derivative(self, t: Array, target: Array) -> Array:
        """-1 below the kink, 0 above, -1/2 at it."""
        return -0.5 * (1.0 + np.sign(1.0 - t))

    def bound(self, theta: Array, target: Array, weights: Array | None = None) -> float:
        """The sum of the multipliers, each in [0, 1/n]."""
        inside = theta.min(initial=0.0) >= 0.0 and theta.max(initial=0.0) * theta.size <= 1.0 + 1e-14
        return float(weighted(theta, weights).sum()) if inside else -np.inf

    def clip(self, theta: Array) -> Array:
        """Into [0, 1/n]."""
        return np.clip(theta, 0.0, 1.0 / theta.size)

    def best_scale(self, theta: Array, target: Array, limit: float, weights: Array | None = None) -> float:
        """As large as the domain allows: the bound is linear."""
        largest = float(theta.max(initial=0.0)) * theta.size
        return min(limit, 1.0 / largest) if largest > 0.0 else 0.0

    def block(self, target: Array, weights: Array | None = None) -> LossBlock:
        """Variables xi >= 0 with ``t >= 1 - xi``."""
        n = target.size
        eye = sparse.eye_array(n, format="csr")
        return LossBlock(weighted(np.full(n, 1.0 / n), weights), -eye, np.zeros(n), (NonNegative(n),), -eye, np.ones(n))

    def expression(self, t: Any, target: Any) -> Any:
        """In cvxpy."""
        import cvxpy  # for references only

        return cvxpy.pos(1 - t)
