"""A loss whose samples count differently."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.losses.base import Loss, LossBlock, PlainLoss
from cvxrobust.core.losses.residual import ResidualLoss

Array = NDArray[np.float64]


class WeightedLoss:
    """``w_i loss(t_i)`` for weights w_i of mean one: its mean over samples is the weighted mean of the loss.

    The conjugate of ``w loss`` is ``w loss*(. / w)``: multipliers theta are in its domain where ``theta_i / w_i`` are
    in the loss's own, and prove ``-mean_i w_i loss*(-n theta_i / w_i)``.

    Args:
        loss: The loss of every sample.
        weights: Above 0 and 1 on average, shape (n,). Values t may also have a column, or an entry, for each of several
            outputs of a sample: shape (n, C), or (n C,) sample by sample.

    Attributes:
        name, margin, attains_infimum: As the loss has them.
    """

    def __init__(self, loss: PlainLoss, weights: Array) -> None:
        self.loss, self.weights = loss, weights
        self.name, self.margin, self.attains_infimum = loss.name, loss.margin, loss.attains_infimum

    def of(self, rows: "slice | NDArray[np.intp]") -> Loss:
        """The losses of some samples, which weigh what they weighed among all."""
        return weighted_loss(self.loss, self.weights[rows])

    def value(self, t: Array, target: Array) -> Array:
        """See `Loss`."""
        return np.asarray(self._like(t) * self.loss.value(t, target))

    def derivative(self, t: Array, target: Array) -> Array:
        """See `Loss`."""
        return np.asarray(self._like(t) * self.loss.derivative(t, target))

    def bound(self, theta: Array, target: Array) -> float:
        """See `Loss`."""
        weights = self._like(theta)
        return self.loss.bound(theta / weights, target, weights)

    def clip(self, theta: Array) -> Array:
        """See `Loss`."""
        weights = self._like(theta)
        return np.asarray(weights * self.loss.clip(theta / weights))

    def best_scale(self, theta: Array, target: Array, limit: float) -> float:
        """See `Loss`."""
        weights = self._like(theta)
        return self.loss.best_scale(theta / weights, target, limit, weights)

    def block(self, target: Array) -> LossBlock:
        """See `Loss`."""
        return self.loss.block(target, self._like(target))

    def expression(self, t: Any, target: Any) -> Any:
        """See `Loss`."""
        import cvxpy  # for references only

        weights = np.tile(self.weights, t.size // self.weights.size)
        return cvxpy.multiply(weights, self.loss.expression(t, target))

    def _like(self, values: Array) -> Array:
        """The weight of each value."""
        if values.ndim == 2:
            return self.weights[:, None]
        outputs = values.size // max(1, self.weights.size)
        return self.weights if outputs == 1 else np.repeat(self.weights, outputs)


class WeightedResidualLoss(WeightedLoss):
    """One of targets, a `ResidualLoss`."""

    def __init__(self, loss: ResidualLoss, weights: Array) -> None:
        super().__init__(loss, weights)
        self.residual = loss

    def bound_apart(self, theta: Array, reach: Array, target: Array) -> float:
        """See `TwoSidedLoss`."""
        weights = self._like(theta)
        return self.residual.bound_apart(theta / weights, reach / weights, target, weights)

    def best_scale_apart(self, theta: Array, reach: Array, target: Array, limit: float) -> float:
        """See `TwoSidedLoss`."""
        weights = self._like(theta)
        return self.residual.best_scale_apart(theta / weights, reach / weights, target, limit, weights)


def loss_of_rows(loss: Loss, rows: "slice | NDArray[np.intp]") -> Loss:
    """What a programme's loss is for some of its samples."""
    return loss.of(rows) if isinstance(loss, WeightedLoss) else loss


def weighted_loss(loss: PlainLoss, weights: Array | None) -> Loss:
    """The loss of samples that weigh so much; as it is without weights."""
    if weights is None:
        return loss
    return WeightedResidualLoss(loss, weights) if isinstance(loss, ResidualLoss) else WeightedLoss(loss, weights)
