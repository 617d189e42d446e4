"""The structured programme of polynomial networks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import is_of_targets, loss_by_name
from cvxrobust.core.losses.weighted import weighted_loss
from cvxrobust.core.programs.rows import Rows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PolynomialProgram:
    """Train a two-layer polynomial network against l2 attacks, one binary task per column of `labels`.

    Minimise, for each column,
    ``mean_i loss(min_{||D|| <= radius_i} labels_i f(x_i + D)) + beta sum_j |alpha_j|`` over networks f.
    With a loss of targets the labels are these, and the loss is that of the worst output,
    ``max_{||D|| <= radius_i} loss(f(x_i + D), labels_i)``. Where the attacks are in an ellipsoid, D is ``S e`` with
    ``||e|| <= radius_i``: a backend that does not know that does not read ``"ellipsoid"``.

    Args:
        X: Inputs, shape (n, d); an array, or inputs that are read in blocks.
        labels: Labels in {-1, +1}, or targets, shape (n, K).
        loss: Name of a loss in `cvxrobust.core.losses`.
        activation: Coefficients (a, b, c) of ``a t^2 + b t + c``.
        attack: The attacks on each sample, of n radii: l2 balls in the units of X, or an ellipsoid's multiples.
        beta: Weight of the penalty.
        weights: What the loss of each sample counts in the mean: above 0 and 1 on average, shape (n,); None for 1.
    """

    X: Array | Rows
    labels: Array
    loss: str
    activation: tuple[float, float, float]
    attack: AttackBall
    beta: float
    weights: Array | None = None

    @property
    def kind(self) -> str:
        """What backends name that read it: targets under attack, with two sides per sample, are a kind of their own."""
        return "attacked targets" if is_of_targets(self.loss) and self.attack.present else "polynomial"

    @property
    def loss_function(self) -> Loss:
        """The loss itself, of samples with their weights.

        Raises:
            UnknownNameError: There is none of that name.
        """
        return weighted_loss(loss_by_name(self.loss), self.weights)

    @property
    def radius(self) -> Array:
        """Attack radius of each sample, shape (n,): of l2 balls in the units of X, unless `attack` says otherwise."""
        found: Array = self.attack.radius
        return found
