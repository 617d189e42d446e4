"""How far attacks can move the outputs of networks that predict numbers, and so their errors; every bound a proof."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks import relu_bounds
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import Norm, check_norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.relu_contests import contests_of, lower_margins
from cvxrobust.core.robustness.boxes import around_in_l2, judges_boxes
from cvxrobust.core.robustness.models import NetworkModel
from cvxrobust.core.validation import as_numbers

Array = NDArray[np.float64]

STEPS, RESTARTS = 20, 5
"""Of attacks: gradient steps from each start, and random starts besides the input itself."""


@dataclass(frozen=True)
class OutputRange:
    """What outputs of a network cannot leave under attack.

    Args:
        low: Shape (n,), rounding on the safe side.
        high: Shape (n,).
    """

    low: Array
    high: Array

    @classmethod
    def under_attack(
        cls, network: PolynomialNetwork | ReLUNetwork, X: ArrayLike, radius: ArrayLike, norm: Norm | None = None
    ) -> Self:
        """Exactly in l2 and ellipsoids of polynomial networks, but for rounding; of ReLU networks by linear relaxation.

        Of polynomial networks in boxes by Shor's bound; in norm 1, and in boxes of very many inputs, in the l2 ball or
        ellipsoid around the attacks.

        Args:
            network: Of one output.
            X: Inputs as the network takes them, shape (n, d).
            radius: One, or one per row, in the network's units.
            norm: Of the attacks; None for the network's own.

        Raises:
            InputError: The network has several outputs, or shapes or radii do not fit.
        """
        if network.alpha.ndim != 1:
            raise InputError(f"the network has {network.alpha.shape[1]} outputs; expected one, of a number.")
        n, asked = np.shape(X)[0], check_norm(network.norm if norm is None else norm)
        signed = network.replace(regression=False, classes=None)
        up, down = np.ones(n), -np.ones(n)
        if isinstance(signed, ReLUNetwork):
            return cls(signed.lower_bound(X, up, radius, asked), -signed.lower_bound(X, down, radius, asked))
        ball = AttackBall(asked, np.zeros(n), network.n_features, network.ellipsoid)
        if not (ball.geometry.isotropic or judges_boxes(network, ball)):
            radius, asked = around_in_l2(ball) * as_numbers(radius, "radius"), 2
        judged = signed.replace(norm=asked)
        return cls(judged.worst_margins(X, up, radius), -judged.worst_margins(X, down, radius))

    @classmethod
    def of_threat(
        cls, network: PolynomialNetwork | ReLUNetwork, X: ArrayLike, radius: ArrayLike, threat: Threat
    ) -> Self:
        """The same under other attacks than the network's own.

        Of the range of inputs boxes make use, norm inf, and ReLU networks.

        Args:
            network: Of one output.
            X: Inputs as the network takes them, shape (n, d).
            radius: One, or one per row, in the network's units.
            threat: In the network's units, but for the range of inputs.

        Raises:
            InputError: As `under_attack`, the threat does not fit the network, or rows lie outside of their range.
        """
        if isinstance(network, ReLUNetwork) and threat.bounds is not None:
            inner, inputs, ball = _in_range(network, X, radius, threat)
            high, low = (lower_margins(inner, inputs, np.full(len(inputs), k), ball) for k in (0, 1))
            return cls(low, -high)
        attacks = replace(threat, bounds=None).on(np.zeros((1, network.n_features)))
        ball = attacks.ball
        plain = network.replace(ellipsoid=None)
        shaped = plain if ball.ellipsoid is None else plain.replace(norm=2).replace(ellipsoid=ball.ellipsoid)
        return cls.under_attack(shaped, X, radius if attacks.movable else 0.0, ball.norm)

    @classmethod
    def found(cls, network: ReLUNetwork, X: ArrayLike, radius: ArrayLike, threat: Threat) -> Self:
        """How far attacks move outputs that are found from both ends: what is in between they can reach.

        Args:
            network: Of one output.
            X: Inputs as the network takes them, shape (n, d).
            radius: One, or one per row, in the network's units.
            threat: In the network's units, but for the range of inputs.

        Raises:
            InputError: As `of_threat`.
        """
        inner, inputs, ball = _in_range(network, X, radius, threat)
        f, ends = network.decision_function(X), []
        for sign in (1.0, -1.0):
            least = sign * f
            for number, (rows, contests) in enumerate(contests_of(inner, inputs, np.full(len(f), sign > 0.0), ball)):
                _, values = relu_bounds.attack(contests, STEPS, RESTARTS, np.random.default_rng([0, number]))
                least[rows] = np.minimum(least[rows], values)
            ends.append(sign * least)
        return cls(*ends)

    def largest_errors(self, targets: Array) -> Array:
        """What no attack makes ``|f - y|`` exceed, shape (n,), for targets y, shape (n,), in units of the outputs."""
        return np.asarray(np.maximum(targets - self.low, self.high - targets))


def _in_range(
    network: ReLUNetwork, X: ArrayLike, radius: ArrayLike, threat: Threat
) -> tuple[ReLUNetwork, Array, AttackBall]:
    """The network without its standardizer, and the attacks that the range of inputs leaves, with their middles."""
    if network.alpha.ndim != 1:
        raise InputError(f"the network has {network.alpha.shape[1]} outputs; expected one, of a number.")
    view = NetworkModel(network.replace(regression=False, classes=None))
    rows, inner = view.inputs(X), view.inner
    assert isinstance(inner, ReLUNetwork)
    attacks, radii = view.stated(threat).on(rows), network._radii(radius, len(rows))
    return inner, *attacks.of_radii(radii if attacks.movable else 0.0 * radii).cut_off()
