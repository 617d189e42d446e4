"""The structured programme of polynomial networks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import is_of_targets, loss_by_name
from cvxrobust.core.programs.rows import Rows

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PolynomialProgram:
    """Train a two-layer polynomial network against l2 attacks, one binary task per column of `labels`.

    Minimise, for each column,
    ``mean_i loss(min_{||D|| <= radius_i} labels_i f(x_i + D)) + beta sum_j |alpha_j|`` over networks f.
    With a loss of targets the labels are these, and the loss is that of the worst output,
    ``max_{||D|| <= radius_i} loss(f(x_i + D), labels_i)``.

    Args:
        X: Inputs, shape (n, d); an array, or inputs that are read in blocks.
        labels: Labels in {-1, +1}, or targets, shape (n, K).
        loss: Name of a loss in `cvxrobust.core.losses`.
        activation: Coefficients (a, b, c) of ``a t^2 + b t + c``.
        attack: The attacks on each sample, in the units of X: l2 balls of n radii.
        beta: Weight of the penalty.
    """

    X: Array | Rows
    labels: Array
    loss: str
    activation: tuple[float, float, float]
    attack: AttackBall
    beta: float

    @property
    def kind(self) -> str:
        """What backends name that read it: targets under attack, with two sides per sample, are a kind of their own."""
        return "attacked targets" if is_of_targets(self.loss) and self.attack.present else "polynomial"

    @property
    def loss_function(self) -> Loss:
        """The loss itself.

        Raises:
            UnknownNameError: There is none of that name.
        """
        return loss_by_name(self.loss)

    @property
    def radius(self) -> Array:
        """l2 attack radius of each sample, shape (n,), in the units of X."""
        found: Array = self.attack.radius
        return found
