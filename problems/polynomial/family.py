"""What every family of polynomial problems has: activation, penalty and attacks, and which networks are its own."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.losses.weighted import weighted_loss
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.summary import Summary
from cvxrobust.problems.data.description import activation_words, label_words, problem_summary
from cvxrobust.problems.one_versus_all import OneVersusAll

Array = NDArray[np.float64]
Activation = tuple[float, float, float]
DEFAULT_ACTIVATION = (0.09, 0.5, 0.47)
UNIT = 1e-12
"""How far from 1 rounding may leave the length of a neuron."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class PolynomialFamily(OneVersusAll[PolynomialNetwork]):
    """Base of all polynomial problems, one class against all others, whatever is known of worst cases."""

    beta: float
    loss: str
    activation: Activation
    norm: Norm = 2
    scale: Array | None = None
    covariance: Array | None = None
    directions: Array | None = None
    ellipsoid: Ellipsoid | None = field(init=False, repr=False, default=None)

    losses: ClassVar[tuple[str, ...]]
    family: ClassVar[str]

    def _summary(self) -> Summary:
        labels = label_words(self.y, self.classes, self._loss.margin, "one-versus-all")
        return problem_summary(self, labels, activation_words(self.activation))

    @property
    def _loss(self) -> Loss:
        return weighted_loss(loss_by_name(self.loss), self.sample_weight)

    @property
    def signs(self) -> Array:
        """Labels as signs of the output, shape (n,); all +1 where the target is a number.

        Raises:
            InputError: The problem is one-versus-all.
        """
        labels = self._alone("tasks").y
        return labels if self._loss.margin else np.ones_like(labels)

    def _own(self, network: object) -> PolynomialNetwork:
        if not isinstance(network, PolynomialNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a PolynomialNetwork.")
        network.check_inner()
        return network

    def _check_fit(self, network: PolynomialNetwork) -> None:
        lengths = np.linalg.norm(network.u, axis=1)
        spread = network.complement is not None  # these may be shorter
        if not ((lengths <= 1.0 + UNIT) & (spread | (lengths >= 1.0 - UNIT))).all():
            raise InputError(
                f"the network has neurons of length {lengths.min():.6g} to {lengths.max():.6g}; the penalty is that of "
                "unit neurons: divide them by their lengths and adapt alpha."
            )
        if tuple(network.activation) != tuple(self.activation):
            raise InputError(f"the network has activation {network.activation}; this problem has {self.activation}.")

    def _blank(self) -> PolynomialNetwork:
        return self._network_of(np.empty((0, self.X.shape[1])), np.empty(0))

    def _network_of(self, u: Array, alpha: Array) -> PolynomialNetwork:
        """A network of a single problem."""
        return PolynomialNetwork(u, alpha, self.activation, regression=not self._loss.margin)
