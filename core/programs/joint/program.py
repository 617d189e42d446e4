"""The structured programme of polynomial networks whose loss sees all classes of a sample at once."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.losses.weighted import weighted_loss

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class JointProgram:
    """Train a two-layer polynomial network of K outputs f_k, one per class, against l2 attacks.

    Rows of X are points of samples; the points of a sample have its class c and share one loss, that of the smallest
    margin over points i, rivals k and attacks. Minimise over networks

        mean_g loss(min_{i in g, k != c, ||D|| <= radius_i} f_c(x_i + D) - f_k(x_i + D))
            + beta sum_k penalties_k sum_j |alpha_jk|.

    With the hinge this is the loss of Crammer and Singer (2001, *On the algorithmic implementation of multiclass
    kernel-based vector machines*, JMLR 2, 265-292). A loss of margins never increases, so that the loss of the smallest
    margin is the largest loss, and worst cases and the maximum over rivals commute.

    Args:
        X: Points, shape (n, d).
        labels: The class of each point, from 0 to K - 1, shape (n,).
        samples: The sample of each point, from 0 to m - 1, shape (n,).
        loss: Name of a loss of margins in `cvxrobust.core.losses`.
        activation: Coefficients (a, b, c) of ``a t^2 + b t + c``.
        attack: The attacks on each point, of n radii: l2 balls in the units of X, or an ellipsoid's multiples.
        beta: Weight of the penalty.
        penalties: What the penalty of each class counts besides, above 0, shape (K,).
        weights: What the loss of each sample counts in the mean: above 0 and 1 on average, shape (m,); None for 1.
    """

    X: Array
    labels: Index
    samples: Index
    loss: str
    activation: tuple[float, float, float]
    attack: AttackBall
    beta: float
    penalties: Array
    weights: Array | None = None

    kind: ClassVar[str] = "polynomial"
    multiclass: ClassVar[str] = "joint"
    """By which backends are refused that train one class against the others."""

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self.penalties.size)

    @cached_property
    def n_samples(self) -> int:
        """m."""
        return int(self.samples.max(initial=-1)) + 1

    @property
    def loss_function(self) -> Loss:
        """The loss itself, of samples with their weights.

        Raises:
            UnknownNameError: There is none of that name.
        """
        return weighted_loss(loss_by_name(self.loss), self.weights)

    @cached_property
    def rows_of(self) -> tuple[Index, ...]:
        """The points of each class, ascending."""
        return tuple(np.flatnonzero(self.labels == k) for k in range(self.n_classes))

    def penalty(self, alpha: Array) -> float:
        """``sum_k penalties_k sum_j |alpha_jk|`` of output weights, shape (neurons, K)."""
        return float(np.abs(alpha).sum(axis=0) @ self.penalties)
