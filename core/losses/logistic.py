"""The logistic loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import Cone, Exponential, NonNegative
from cvxrobust.core.losses.base import LossBlock, weighted

Array = NDArray[np.float64]


class Logistic:
    """``log(1 + exp(-t))``."""

    name = "logistic"
    margin = True
    attains_infimum = False

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample, without overflow."""
        return np.logaddexp(0.0, -t)

    def log_probability(self, t: Array) -> Array:
        """Of the label, in the model that this loss fits: ``1 / (1 + exp(-t))``."""
        return np.asarray(-np.logaddexp(0.0, -t))

    def derivative(self, t: Array, target: Array) -> Array:
        """Minus the probability of the wrong label."""
        from scipy.special import expit  # slow to import, and only this loss needs it

        return np.asarray(-expit(-t))

    def bound(self, theta: Array, target: Array, weights: Array | None = None) -> float:
        """The mean entropy of the probabilities n theta in [0, 1]."""
        p = theta.size * theta
        if p.min(initial=0.0) < 0.0 or p.max(initial=0.0) > 1.0 + 1e-14:
            return -np.inf
        p = np.minimum(p, 1.0)
        from scipy.special import xlog1py, xlogy

        # 1 - p has lost the digits of a small p, and with them the bound of a small optimum.
        entropies = np.asarray(-xlogy(p, p) - xlog1py(1.0 - p, -p), dtype=np.float64)
        return float(np.mean(weighted(entropies, weights)))

    def clip(self, theta: Array) -> Array:
        """Into [0, 1/n]."""
        return np.clip(theta, 0.0, 1.0 / theta.size)

    def best_scale(self, theta: Array, target: Array, limit: float, weights: Array | None = None) -> float:
        """By bounded scalar search: any scale is valid, so its precision does not matter to rigour."""
        largest = float(theta.max(initial=0.0)) * theta.size
        if largest <= 0.0:
            return 0.0
        limit = min(limit, 1.0 / largest)
        # Entropy grows until p = 1/2, so below that for all samples the limit itself is best.
        if largest * limit <= 0.5:
            return limit
        from scipy.optimize import minimize_scalar  # slow to import, and only this loss needs it

        found = minimize_scalar(
            lambda s: -self.bound(s * theta, target, weights), bounds=(0.0, limit), options={"xatol": 1e-12 * limit}
        )
        best = float(found.x)
        return max((best, limit), key=lambda s: self.bound(s * theta, target, weights))

    def block(self, target: Array, weights: Array | None = None) -> LossBlock:
        """Variables (t, tau, u, v): ``u >= exp(-t - tau)``, ``v >= exp(-tau)``, ``u + v <= 1``.

        Rows come sample by sample: two exponential cones each, then the n sums.
        """
        n = target.size
        i = np.arange(n)
        one = np.ones(n)
        # Row 6i..6i+2 is (-t - tau, 1, u), row 6i+3..6i+5 is (-tau, 1, v); s = rhs - rows @ v.
        entries = [
            (6 * i, i, one),
            (6 * i, n + i, one),
            (6 * i + 2, 2 * n + i, -one),
            (6 * i + 3, n + i, one),
            (6 * i + 5, 3 * n + i, -one),
            (6 * n + i, 2 * n + i, one),
            (6 * n + i, 3 * n + i, one),
        ]
        rows, columns, values = (np.concatenate(part) for part in zip(*entries, strict=True))
        rhs = np.zeros(7 * n)
        rhs[6 * i + 1] = rhs[6 * i + 4] = rhs[6 * n + i] = 1.0
        cost = np.zeros(4 * n)
        cost[n : 2 * n] = weighted(np.full(n, 1.0 / n), weights)
        lift = sparse.csr_array((one, (i, i)), shape=(n, 4 * n))
        matrix = sparse.csr_array((values, (rows, columns)), shape=(7 * n, 4 * n))
        cones: tuple[Cone, ...] = ((Exponential(),) * (2 * n)) + (NonNegative(n),)
        return LossBlock(cost, matrix, rhs, cones, lift, np.zeros(n))

    def expression(self, t: Any, target: Any) -> Any:
        """In cvxpy."""
        import cvxpy  # for references only

        return cvxpy.logistic(-t)
