"""What attacks surely leave alone of what a network answers, row by row, each row with a radius of its own."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.largest_radius import largest_certified
from cvxrobust.core.attacks.threat import AttackSet, Threat
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.relu_contests import lower_margins
from cvxrobust.core.robustness.boxes import BoxCertifier, judges_boxes, radii_around
from cvxrobust.core.robustness.contest import Index
from cvxrobust.core.robustness.models import NetworkModel

Array = NDArray[np.float64]
Held = NDArray[np.bool_]


@dataclass(frozen=True)
class LabelProofs:
    """Which attacks surely leave the labels of a network as they are.

    Of polynomial networks distances to the boundary say it, exactly in l2 and ellipsoids; in boxes Shor's bound does,
    in norm 1, and in boxes of very many inputs, the l2 ball or ellipsoid around the attacks. Of ReLU networks linear
    relaxation does. Rounding is on the safe side. Only boxes make use of the range of inputs.

    Args:
        network: Without a standardizer, with classes 0, 1, ... of its outputs.
        attacks: Those on the rows, whatever their radius, in the network's units.
        index: The number of each row's label, shape (n,): what the network itself says.
    """

    network: PolynomialNetwork | ReLUNetwork
    attacks: AttackSet
    index: Index

    @classmethod
    def of(cls, network: PolynomialNetwork | ReLUNetwork, X: ArrayLike, threat: Threat) -> "LabelProofs":
        """About the labels that a network gives to rows.

        Args:
            network: With its standardizer, if it has one.
            X: Inputs as the network takes them, shape (n, d).
            threat: The attacks; in the network's units, but for the range of inputs.

        Raises:
            InputError: Shapes do not fit, rows lie outside of their range, or the network predicts numbers.
        """
        view = NetworkModel(network)
        rows = view.inputs(X)
        return cls(view.inner, view.stated(threat).on(rows), view.predicted(rows))

    @property
    def ball(self) -> AttackBall:
        """How the rows may be moved."""
        return self.attacks.ball

    def held(self, radius: Array) -> Held:
        """Which rows keep their label against every attack of their radius, shape (n,)."""
        held = (radius == 0.0) | (self._around > radius) | (not self.attacks.movable)
        rows = np.flatnonzero(~held)
        if rows.size:
            held[rows] = self._proved(rows, radius[rows])
        return np.asarray(held)

    def radius(self) -> Array:
        """Up to which radius every row keeps its label, shape (n,): inf if no attack changes it, 0 if none is proved.

        Of polynomial networks in l2 and ellipsoids the distance to the nearest input with another label, less the last
        digit; otherwise, to one per cent, the largest radius that is proved.
        """
        n = self.index.size
        if not self.attacks.movable:
            return np.full(n, np.inf)
        around = self._around
        # At the distance itself there may be another label already.
        known = np.where(np.isfinite(around), np.nextafter(around, 0.0), np.inf)
        if not self._looks_further:
            return known
        return largest_certified(self._proved, n, known=known, unit=self.ball.usual_radius)

    @property
    def _looks_further(self) -> bool:
        """Whether there is more to prove than distances do."""
        return isinstance(self.network, ReLUNetwork) or judges_boxes(self.network, self.ball)

    @cached_property
    def _around(self) -> Array:
        """Radii below which no label changes, by distances to the boundary of a polynomial network; else 0."""
        if isinstance(self.network, ReLUNetwork):
            return np.zeros(self.index.size)
        return radii_around(self.network, self.attacks)

    def _proved(self, rows: Index, radius: Array) -> Held:
        """Which of some rows keep their label at a radius each, by what looks further than distances."""
        if not self._looks_further:
            return np.zeros(rows.size, dtype=np.bool_)
        attacks = self.attacks.of(rows).of_radii(radius)
        if isinstance(self.network, PolynomialNetwork):
            return BoxCertifier(self.network, 0.0).proved(attacks, self.index[rows])
        X, ball = attacks.cut_off()
        return np.asarray(lower_margins(self.network, X, self.index[rows], ball) > 0.0)
