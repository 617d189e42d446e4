"""What the losses of targets have in common: they are even functions of the residual."""

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.losses.base import PlainLoss, weighted

Array = NDArray[np.float64]


class ResidualLoss(PlainLoss):
    """``phi(t - target)``, phi even, convex, 0 at 0, with the conjugate ``phi*(s) = bend s^2`` for ``|s| <= steepest``.

    Under attack such a loss sees the worst residual, which is the larger one of two sides: outputs that are too large,
    and too small. Both have multipliers, ``up_i`` and ``down_i``, 0 or more. With ``theta_i = down_i - up_i``, minus
    the derivative, and ``reach_i = up_i + down_i >= |theta_i|``, for any worst residual rho_i,

        mean_i phi(rho_i)  >=  sum_i reach_i rho_i - mean_i phi*(n reach_i),

    and what is left to bound is linear in the outputs. `bound_apart` and `best_scale_apart` are the two for multipliers
    that know their reach; `bound` and `best_scale` where only one side counts.

    Attributes:
        name: What users call it.
        bend: Of the conjugate: 1/4 where phi is a square around 0, 0 where it has a kink there.
        steepest: The largest slope of phi; infinite where it grows like a square.
    """

    name: str
    bend: float
    steepest: float
    margin = False
    attains_infimum = True

    def bound(self, theta: Array, target: Array, weights: Array | None = None) -> float:
        """``theta @ target - bend n sum theta^2``, for ``n |theta_i| <= steepest``."""
        return self.bound_apart(theta, np.abs(theta), target, weights)

    def bound_apart(self, theta: Array, reach: Array, target: Array, weights: Array | None = None) -> float:
        """``theta @ target - mean_i phi*(n reach_i)``; -inf outside the domain.

        With weights both are per unit of weight: ``sum_i w_i theta_i target_i - mean_i w_i phi*(n reach_i)``.
        """
        if reach.max(initial=0.0) * theta.size > self.steepest * (1.0 + 1e-14):
            return -np.inf
        pull, size = weighted(theta, weights), weighted(reach, weights)
        return float(pull @ target - self.bend * theta.size * (size @ reach))

    def clip(self, theta: Array) -> Array:
        """Into ``[-steepest / n, steepest / n]``."""
        most = self.steepest / max(theta.size, 1)
        return np.clip(theta, -most, most)

    def best_scale(self, theta: Array, target: Array, limit: float, weights: Array | None = None) -> float:
        """The maximiser of a parabola, or of a line, as far as the domain goes."""
        return self.best_scale_apart(theta, np.abs(theta), target, limit, weights)

    def best_scale_apart(
        self, theta: Array, reach: Array, target: Array, limit: float, weights: Array | None = None
    ) -> float:
        """The s in [0, limit] that makes ``bound_apart(s * theta, s * reach)`` largest."""
        linear, largest = float(weighted(theta, weights) @ target), float(reach.max(initial=0.0)) * theta.size
        if linear <= 0.0 or largest == 0.0:
            return 0.0
        limit = min(limit, self.steepest / largest)
        curvature = 2.0 * self.bend * theta.size * float(weighted(reach, weights) @ reach)
        return min(limit, linear / curvature) if curvature > 0.0 else limit
