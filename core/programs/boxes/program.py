"""The structured programme of polynomial networks against attacks in boxes."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.boxes.margins import Boxes, BoxMargins
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.losses.weighted import weighted_loss
from cvxrobust.core.networks.polynomial import PolynomialNetwork

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BoxProgram:
    """Train a two-layer polynomial network against Shor's bound of its worst case in a box, one column of labels each.

    Minimise, for each column, ``mean_i loss(w_i) + beta sum_j |alpha_j|`` over networks f, where w_i is the value of
    the relaxation of ``min labels_i f(x)`` over ``|x_k - centres_ik| <= widths_ik``
    (`cvxrobust.core.attacks.boxes.shor`), at most that minimum.

    Args:
        boxes: Where attacks leave each of n samples.
        labels: In {-1, +1}, shape (n, K).
        loss: Name of a loss of margins in `cvxrobust.core.losses`.
        activation: Coefficients (a, b, c) of ``a t^2 + b t + c``.
        beta: Weight of the penalty.
        weights: What the loss of each sample counts in the mean: above 0 and 1 on average, shape (n,); None for 1.
    """

    boxes: Boxes
    labels: Array
    loss: str
    activation: tuple[float, float, float]
    beta: float
    weights: Array | None = None

    kind: ClassVar[str] = "boxed polynomial"

    @property
    def X(self) -> Array:
        """The centres of the boxes, shape (n, d)."""
        return self.boxes.centres

    @property
    def loss_function(self) -> Loss:
        """The loss itself, of samples with their weights.

        Raises:
            UnknownNameError: There is none of that name.
        """
        return weighted_loss(loss_by_name(self.loss), self.weights)

    @cached_property
    def inputs(self) -> NDArray[np.intp]:
        """The inputs that some box moves, by number, shape (q,)."""
        return np.flatnonzero((self.boxes.widths > 0.0).any(axis=0))

    def margins(self, network: PolynomialNetwork) -> BoxMargins:
        """Margins of a network of one output in the boxes; of one column of labels."""
        return BoxMargins.of_quadratic(network.quadratic(network.alpha), self.labels[:, 0], self.boxes)
