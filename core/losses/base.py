"""The losses, each once: value, derivative, conjugate, domain and conic form.

A loss acts on ``t``: the margin ``y f(x)`` for margin losses (convex, nonincreasing), the output ``f(x)`` for the
squared loss, which also takes the target. Averages over samples are the caller's.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import Cone, Exponential, NonNegative, SecondOrder
from cvxrobust.core.errors import UnknownNameError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LossBlock:
    """The mean loss of n values t in conic form.

    Minimising ``cost @ v`` subject to ``rows @ v + s = rhs, s in cones`` and ``t_i >= (shift + lift @ v)_i`` (or
    ``=``, where `equality`) gives ``mean_i loss(t_i) = cost @ v + offset``.
    """

    cost: Array
    rows: sparse.csr_array
    rhs: Array
    cones: tuple[Cone, ...]
    lift: sparse.csr_array
    shift: Array
    offset: float = 0.0
    equality: bool = False


class Loss(Protocol):
    """A convex loss of one real variable, vectorised over samples; `target` only matters to the squared loss."""

    name: str
    margin: bool

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample, shape (n,)."""
        ...

    def derivative(self, t: Array, target: Array) -> Array:
        """Derivative (a subgradient at kinks) in t, shape (n,)."""
        ...

    def bound(self, theta: Array, target: Array) -> float:
        """``-mean_i loss*(-n theta_i)``, the bound that multipliers `theta` prove; -inf outside the domain."""
        ...

    def clip(self, theta: Array) -> Array:
        """The nearest multipliers in the domain of the conjugate, shape (n,)."""
        ...

    def best_scale(self, theta: Array, target: Array, limit: float) -> float:
        """The s in [0, limit] that makes ``bound(s * theta)`` largest (or nearly)."""
        ...

    def block(self, target: Array) -> LossBlock:
        """The conic form for n samples."""
        ...


class Hinge:
    """``max(0, 1 - t)``."""

    name = "hinge"
    margin = True

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample."""
        return np.maximum(0.0, 1.0 - t)

    def derivative(self, t: Array, target: Array) -> Array:
        """-1 below the kink, 0 above, -1/2 at it."""
        return -0.5 * (1.0 + np.sign(1.0 - t))

    def bound(self, theta: Array, target: Array) -> float:
        """The sum of the multipliers, each in [0, 1/n]."""
        inside = theta.min(initial=0.0) >= 0.0 and theta.max(initial=0.0) * theta.size <= 1.0 + 1e-14
        return float(theta.sum()) if inside else -np.inf

    def clip(self, theta: Array) -> Array:
        """Into [0, 1/n]."""
        return np.clip(theta, 0.0, 1.0 / theta.size)

    def best_scale(self, theta: Array, target: Array, limit: float) -> float:
        """As large as the domain allows: the bound is linear."""
        largest = float(theta.max(initial=0.0)) * theta.size
        return min(limit, 1.0 / largest) if largest > 0.0 else 0.0

    def block(self, target: Array) -> LossBlock:
        """Variables xi >= 0 with ``t >= 1 - xi``."""
        n = target.size
        eye = sparse.eye_array(n, format="csr")
        return LossBlock(np.full(n, 1.0 / n), -eye, np.zeros(n), (NonNegative(n),), -eye, np.ones(n))


class SquaredHinge:
    """``max(0, 1 - t)^2``."""

    name = "squared_hinge"
    margin = True

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample."""
        return np.maximum(0.0, 1.0 - t) ** 2

    def derivative(self, t: Array, target: Array) -> Array:
        """Twice the violation, negated."""
        return -2.0 * np.maximum(0.0, 1.0 - t)

    def bound(self, theta: Array, target: Array) -> float:
        """``sum theta - n sum theta^2 / 4`` for theta >= 0."""
        if theta.min(initial=0.0) < 0.0:
            return -np.inf
        return float(theta.sum() - 0.25 * theta.size * (theta @ theta))

    def clip(self, theta: Array) -> Array:
        """To nonnegative values."""
        return np.maximum(theta, 0.0)

    def best_scale(self, theta: Array, target: Array, limit: float) -> float:
        """The maximiser of a parabola."""
        curvature = theta.size * float(theta @ theta)
        return min(limit, 2.0 * float(theta.sum()) / curvature) if curvature > 0.0 else 0.0

    def block(self, target: Array) -> LossBlock:
        """Variables (xi, tau) with ``t >= 1 - xi`` and ``||xi||^2 / n <= tau``."""
        n = target.size
        return _square_block(n, -sparse.eye_array(n, format="csr"), np.ones(n), equality=False)


class Logistic:
    """``log(1 + exp(-t))``."""

    name = "logistic"
    margin = True

    def value(self, t: Array, target: Array) -> Array:
        """Loss of each sample, without overflow."""
        return np.logaddexp(0.0, -t)

    def derivative(self, t: Array, target: Array) -> Array:
        """Minus the probability of the wrong label."""
        from scipy.special import expit  # slow to import, and only this loss needs it

        return np.asarray(-expit(-t))

    def bound(self, theta: Array, target: Array) -> float:
        """The mean entropy of the probabilities n theta in [0, 1]."""
        p = theta.size * theta
        if p.min(initial=0.0) < 0.0 or p.max(initial=0.0) > 1.0 + 1e-14:
            return -np.inf
        p = np.minimum(p, 1.0)
        from scipy.special import xlog1py, xlogy

        # 1 - p has lost the digits of a small p, and with them the bound of a small optimum.
        return float(np.mean(-xlogy(p, p) - xlog1py(1.0 - p, -p)))

    def clip(self, theta: Array) -> Array:
        """Into [0, 1/n]."""
        return np.clip(theta, 0.0, 1.0 / theta.size)

    def best_scale(self, theta: Array, target: Array, limit: float) -> float:
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
            lambda s: -self.bound(s * theta, target), bounds=(0.0, limit), options={"xatol": 1e-12 * limit}
        )
        best = float(found.x)
        return max((best, limit), key=lambda s: self.bound(s * theta, target))

    def block(self, target: Array) -> LossBlock:
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
        cost[n : 2 * n] = 1.0 / n
        lift = sparse.csr_array((one, (i, i)), shape=(n, 4 * n))
        matrix = sparse.csr_array((values, (rows, columns)), shape=(7 * n, 4 * n))
        cones: tuple[Cone, ...] = (*(Exponential() for _ in range(2 * n)), NonNegative(n))
        return LossBlock(cost, matrix, rhs, cones, lift, np.zeros(n))


class Squared:
    """``(t - target)^2``, for regression."""

    name = "squared"
    margin = False

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
        return _square_block(target.size, sparse.eye_array(target.size, format="csr"), target, equality=True)


def _square_block(n: int, lift: sparse.csr_array, shift: Array, equality: bool) -> LossBlock:
    """``tau >= ||xi||^2 / n`` as one second-order cone ``(tau + 1, tau - 1, 2 xi / sqrt(n))``."""
    cost = np.zeros(n + 1)
    cost[n] = 1.0
    matrix = sparse.lil_array((n + 2, n + 1))
    matrix[0, n] = matrix[1, n] = -1.0
    matrix[np.arange(2, n + 2), np.arange(n)] = -2.0 / np.sqrt(n)
    rhs = np.zeros(n + 2)
    rhs[0], rhs[1] = 1.0, -1.0
    wide = sparse.hstack([lift, sparse.csr_array((n, 1))], format="csr")
    return LossBlock(cost, matrix.tocsr(), rhs, (SecondOrder(n + 2),), wide, shift, equality=equality)


LOSSES: dict[str, Loss] = {loss.name: loss for loss in (Hinge(), SquaredHinge(), Logistic(), Squared())}


def loss_by_name(name: str, allowed: tuple[str, ...] = tuple(LOSSES)) -> Loss:
    """The loss called `name`.

    Raises:
        UnknownNameError: There is none, or the problem does not offer it.
    """
    if name not in allowed:
        raise UnknownNameError("loss", name, allowed)
    return LOSSES[name]
