"""The squared loss, for regression."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.losses.base import LossBlock, square_block
from cvxrobust.core.losses.residual import ResidualLoss

Array = NDArray[np.float64]


class Squared(ResidualLoss):
    """``(t - target)^2``, for regression."""

    name = "squared"
    bend = 0.25
    steepest = np.inf

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample."""
        return (t - target) ** 2

    def derivative(self, t: Array, target: Array) -> Array:
        """Twice the residual."""
        return 2.0 * (t - target)

    def block(self, target: Array, weights: Array | None = None) -> LossBlock:
        """Variables (residual, tau) with ``t = target + residual`` and ``||residual||^2 / n <= tau``."""
        return square_block(sparse.eye_array(target.size, format="csr"), target, weights, equality=True)

    def expression(self, t: Any, target: Any) -> Any:
        """In cvxpy."""
        import cvxpy  # for references only

        return cvxpy.square(t - target)
