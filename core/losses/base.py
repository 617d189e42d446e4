"""What every loss has.

A loss acts on ``t``: the margin ``y f(x)`` for margin losses (convex, nonincreasing), the output ``f(x)`` for losses of
targets, which also take the target. Averages over samples are the caller's.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import Cone, SecondOrder

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
    """A convex loss of one real variable, vectorised over samples; `target` only matters to losses of targets.

    Attributes:
        name: What users call it.
        margin: Whether it is one of margins, whose labels are signs. Else labels are targets, and it is a
            `cvxrobust.core.losses.residual.ResidualLoss`, or one of samples with weights.
        attains_infimum: Whether some t has the least value; else every sample pulls, however large its margin.
    """

    name: str
    margin: bool
    attains_infimum: bool

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

    def expression(self, t: Any, target: Any) -> Any:
        """The loss of each sample in cvxpy, of an expression t; for references that are easy to read."""
        ...


@runtime_checkable
class TwoSidedLoss(Loss, Protocol):
    """A loss of targets, whose multipliers may come from both sides of them (`cvxrobust.core.losses.residual`)."""

    def bound_apart(self, theta: Array, reach: Array, target: Array) -> float:
        """``theta @ target - mean_i phi*(n reach_i)``; -inf outside the domain."""
        ...

    def best_scale_apart(self, theta: Array, reach: Array, target: Array, limit: float) -> float:
        """The s in [0, limit] that makes ``bound_apart(s * theta, s * reach)`` largest."""
        ...


@runtime_checkable
class LikelihoodLoss(Loss, Protocol):
    """A loss of margins that is minus the logarithm of a probability, that of the label."""

    def log_probability(self, t: Array) -> Array:
        """Logarithm of the probability of the label, shape (n,); those of both labels add up to 1."""
        ...


class PlainLoss(Loss, Protocol):
    """A loss that has a name of its own: every sample counts alike, unless weights say otherwise.

    `weights` are above 0 and 1 on average, shape (n,), and theta is then what multipliers are per unit of weight:
    `cvxrobust.core.losses.weighted` makes a `Loss` of both.
    """

    def bound(self, theta: Array, target: Array, weights: Array | None = None) -> float:
        """``-mean_i weights_i loss*(-n theta_i)``; -inf outside the domain."""
        ...

    def best_scale(self, theta: Array, target: Array, limit: float, weights: Array | None = None) -> float:
        """The s in [0, limit] that makes ``bound(s * theta)`` largest (or nearly)."""
        ...

    def block(self, target: Array, weights: Array | None = None) -> LossBlock:
        """The conic form of ``mean_i weights_i loss(t_i)``."""
        ...


def weighted(values: Array, weights: Array | None) -> Array:
    """What is said of each sample, times its weight; as it is without weights."""
    return values if weights is None else weights * values


def output_signs(loss: Loss, labels: Array) -> Array:
    """The sign with which each sample's loss sees the output: its label, or 1 where labels are targets."""
    return labels if loss.margin else np.ones_like(labels)


def square_block(lift: sparse.csr_array, shift: Array, weights: Array | None = None, *, equality: bool) -> LossBlock:
    """``tau >= ||xi||^2 / n`` as one second-order cone ``(tau + 1, tau - 1, 2 xi / sqrt(n))``; xi times its weights'
    roots."""
    n = shift.size
    cost = np.zeros(n + 1)
    cost[n] = 1.0
    rows, columns = np.concatenate([[0, 1], np.arange(2, n + 2)]), np.concatenate([[n, n], np.arange(n)])
    roots = None if weights is None else np.sqrt(weights)
    values = np.concatenate([[-1.0, -1.0], weighted(np.full(n, -2.0 / np.sqrt(n)), roots)])
    matrix = sparse.csr_array((values, (rows, columns)), shape=(n + 2, n + 1))
    rhs = np.zeros(n + 2)
    rhs[0], rhs[1] = 1.0, -1.0
    wide = sparse.hstack([lift, sparse.csr_array((n, 1))], format="csr")
    return LossBlock(cost, matrix, rhs, (SecondOrder(n + 2),), wide, shift, equality=equality)
