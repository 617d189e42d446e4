"""The absolute loss, for regression."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import NonNegative
from cvxrobust.core.losses.base import LossBlock, weighted
from cvxrobust.core.losses.residual import ResidualLoss

Array = NDArray[np.float64]


class Absolute(ResidualLoss):
    """``|t - target|``, for regression that outliers pull no harder than others."""

    name = "absolute"
    bend = 0.0
    steepest = 1.0

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample."""
        return np.abs(t - target)

    def derivative(self, t: Array, target: Array) -> Array:
        """The sign of the residual, 0 at the kink."""
        return np.sign(t - target)

    def block(self, target: Array, weights: Array | None = None) -> LossBlock:
        """Variables (residual, size) with ``t = target + residual`` and ``size >= |residual|``."""
        n = target.size
        eye = sparse.eye_array(n, format="csr")
        rows, lift = sparse.bmat([[eye, -eye], [-eye, -eye]]), sparse.hstack([eye, sparse.csr_array((n, n))])
        cost = np.append(np.zeros(n), weighted(np.full(n, 1.0 / max(n, 1)), weights))
        return LossBlock(
            cost, sparse.csr_array(rows), np.zeros(2 * n), (NonNegative(2 * n),), sparse.csr_array(lift), target,
            equality=True,
        )  # fmt: skip

    def expression(self, t: Any, target: Any) -> Any:
        """In cvxpy."""
        import cvxpy  # for references only

        return cvxpy.abs(t - target)
