"""The Huber loss, for regression."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import NonNegative
from cvxrobust.core.losses.base import LossBlock, square_block, weighted
from cvxrobust.core.losses.residual import ResidualLoss

Array = NDArray[np.float64]

THRESHOLD = 1.35
"""By default, as in scikit-learn: with normal residuals of unit deviation 95 % as efficient as squares (Huber 1981)."""


class Huber(ResidualLoss):
    """``r^2`` for residuals ``|r| <= M``, ``2 M |r| - M^2`` beyond, for regression with outliers.

    That is cvxpy's ``huber(r, M)``, and the H of scikit-learn's ``HuberRegressor`` with ``epsilon = M``, which counts
    residuals in units of a scale that it fits as well: here M is in the units of the targets.

    Args:
        threshold: M, above 0.
    """

    bend = 0.25

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold, self.steepest = threshold, 2.0 * threshold
        self.name = "huber" if threshold == THRESHOLD else f"huber:{threshold!r}"

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample."""
        size = np.abs(t - target)
        inside = np.minimum(size, self.threshold)
        return inside * (2.0 * size - inside)

    def derivative(self, t: Array, target: Array) -> Array:
        """Twice the residual, cut off at the threshold."""
        return 2.0 * np.clip(t - target, -self.threshold, self.threshold)

    def block(self, target: Array, weights: Array | None = None) -> LossBlock:
        """Variables (inside, tau, outside, size): ``t = target + inside + outside``, ``||inside||^2 / n <= tau`` and
        ``size >= |outside|``, which costs 2 M each."""
        n = target.size
        eye = sparse.eye_array(n, format="csr")
        square = square_block(eye, target, weights, equality=True)
        rows = sparse.block_diag([square.rows, sparse.bmat([[eye, -eye], [-eye, -eye]])])
        lift = sparse.hstack([square.lift, eye, sparse.csr_array((n, n))])
        sizes = weighted(np.full(n, self.steepest / max(n, 1)), weights)
        cost = np.concatenate([square.cost, np.zeros(n), sizes])
        return LossBlock(
            cost, sparse.csr_array(rows), np.append(square.rhs, np.zeros(2 * n)),
            (*square.cones, NonNegative(2 * n)), sparse.csr_array(lift), target, equality=True,
        )  # fmt: skip

    def expression(self, t: Any, target: Any) -> Any:
        """In cvxpy."""
        import cvxpy  # for references only

        threshold: Any = self.threshold  # their default makes checkers expect a whole number
        return cvxpy.huber(t - target, threshold)
