"""What no attack can do, for the classifiers of which that can be said; one class per kind of classifier.

Everything here is a proof up to rounding, which is on the safe side: `Certifier.held` says of rows that they keep their
class against every attack of a radius.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.threat import ROUNDING, AttackSet
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.relu_contests import exact_margins, lower_margins
from cvxrobust.core.robustness import forests, trees
from cvxrobust.core.robustness.boxes import BoxCertifier, judges_boxes, radii_around
from cvxrobust.core.robustness.contest import Index
from cvxrobust.core.robustness.models import Model, NetworkModel, is_linear, linear_scores

Array = NDArray[np.float64]
Held = NDArray[np.bool_]
EPS = float(np.finfo(np.float64).eps)

Kind = Literal["exact", "bound", "none"]
"""What a row that is not certified is: surely attackable, perhaps, or nobody knows."""


class Certifier(Protocol):
    """Proves that rows keep their class."""

    @property
    def kind(self) -> Kind:
        """How much a row without a certificate says."""
        ...

    @property
    def words(self) -> str:
        """What proves it."""
        ...

    def held(self, attacks: AttackSet, index: Index, radii: Array) -> Held:
        """Which rows keep their class at each radius, shape (k, n); those that have another one already do not."""
        ...


@dataclass
class NoCertifier:
    """Nothing can be said of this classifier."""

    kind: Kind = "none"
    words: str = "no certificate is known for this kind of classifier and threat"

    def held(self, attacks: AttackSet, index: Index, radii: Array) -> Held:
        """Nothing."""
        return np.zeros((radii.size, index.size), dtype=np.bool_)


@dataclass
class _Measured:
    """What answers exactly, unless inputs have a range, which it makes no use of.

    Args:
        model: The classifier.
        exact: Whether inputs have no range.
    """

    model: Any
    exact: bool

    @property
    def kind(self) -> Kind:
        """What a row that is not certified is."""
        return "exact" if self.exact else "bound"


class QuadraticCertifier(_Measured):
    """Polynomial networks, without a standardizer: the distance to the boundary is a trust-region subproblem.

    In norm 1, and in boxes of very many inputs, the l2 ball or ellipsoid around the attacks is judged in their place:
    the worst case of a quadratic that bends both ways is at no corner of a cross-polytope.
    """

    @property
    def words(self) -> str:
        """What proves it."""
        return f"trust-region subproblems{'' if self.exact else ', of the l2 ball or ellipsoid around the attacks'}"

    def held(self, attacks: AttackSet, index: Index, radii: Array) -> Held:
        """One distance answers every radius."""
        right = NetworkModel(self.model).predicted(attacks.X) == index
        return np.asarray(right & (radii_around(self.model, attacks) > radii[:, None]))


@dataclass
class ReLUCertifier:
    """ReLU networks: linear relaxation of what changes its sign; rows in between by integer programming, if asked.

    Of the range of inputs boxes make use, norm inf.

    Args:
        network: Without a standardizer.
        seconds: For exact answers, all rows and radii together; 0 for none.
    """

    network: ReLUNetwork
    seconds: float

    def __post_init__(self) -> None:
        self.kind: Kind = "bound"
        exact = f", then exact worst cases within {self.seconds:g} s" if self.seconds else ""
        self.words = f"linear relaxation{exact}"

    def held(self, attacks: AttackSet, index: Index, radii: Array) -> Held:
        """The largest radius first: a certificate holds inside every smaller ball, too."""
        model = NetworkModel(self.network)
        network, labels = model.model, np.asarray(model.classes)[index]
        assert isinstance(network, ReLUNetwork)
        right = model.predicted(attacks.X) == index
        held, done = np.zeros((radii.size, index.size), dtype=np.bool_), np.zeros(index.size, dtype=np.bool_)
        order = np.argsort(-radii, kind="stable")
        for place, k in enumerate(order):
            rows = np.flatnonzero(right & ~done)
            if rows.size:
                X, ball = attacks.of(rows).of_radius(float(radii[k])).cut_off()
                lower = lower_margins(network, X, index[rows], ball)
                if self.seconds and (left := np.flatnonzero(lower <= 0.0)).size:
                    share, own = self.seconds / (radii.size - place), rows[left]
                    found = exact_margins(network, X[left], labels[own], index[own], ball.of(left), share)
                    lower[left] = np.maximum(lower[left], found.lower)
                done[rows] = lower > 0.0
            held[k] = done
        return held


class LinearCertifier(_Measured):
    """Linear classifiers: an attack moves the score of a rival by the dual norm of the difference of weights."""

    @property
    def words(self) -> str:
        """What proves it."""
        return "the dual norm of the weights"

    def held(self, attacks: AttackSet, index: Index, radii: Array) -> Held:
        """The margin against every rival, less what attacks can do to it, and what rounding may, of attacks too."""
        weights, offsets = linear_scores(self.model)
        scores = attacks.X @ weights.T + offsets
        sizes = np.abs(attacks.X) @ np.abs(weights).T + np.abs(offsets)
        held = np.ones((radii.size, index.size), dtype=np.bool_)
        rows, unsure = np.arange(index.size), (2.0 * ROUNDING + 4.0 + attacks.X.shape[1]) * EPS
        for rival in range(weights.shape[0]):
            margin = scores[rows, index] - scores[:, rival]
            difference = weights[index] - weights[rival]
            reach = attacks.ball.dual_norm(difference)
            rounding = unsure * (sizes[rows, index] + sizes[:, rival])
            room = (1.0 + unsure) * reach + unsure * attacks.ball.magnitude(difference)
            held &= (index == rival) | (margin - rounding > radii[:, None] * room)
        return held


class TreeCertifier(_Measured):
    """Decision trees: a walk over their leaves."""

    @property
    def words(self) -> str:
        """What proves it."""
        return "distances to the leaves of other classes"

    def held(self, attacks: AttackSet, index: Index, radii: Array) -> Held:
        """One distance answers every radius; a row in a leaf of another class has none."""
        distance, _ = trees.distances(self.model, attacks.X, index, attacks.ball)
        return np.asarray(distance * (1.0 - 8.0 * attacks.X.shape[1] * EPS) > radii[:, None])


@dataclass
class EnsembleCertifier:
    """Forests and boosted trees of scikit-learn: in every tree the worst of the leaves that an attack may reach.

    Args:
        model: The classifier.
    """

    model: Any
    kind: Kind = "bound"
    words: str = "the worst leaves within reach, tree by tree"

    def held(self, attacks: AttackSet, index: Index, radii: Array) -> Held:
        """Margins against every rival stay above 0 even if each tree answers its worst."""
        return forests.lower_margins(self.model, attacks.X, index, attacks.ball, radii) > 0.0


def certifier_of(model: Model, ball: AttackBall, ranged: bool, seconds: float) -> Certifier:
    """What can certify a classifier against these attacks.

    Args:
        model: The classifier.
        ball: The attacks.
        ranged: Whether inputs have a range, which proofs of networks make use of in boxes alone.
        seconds: For exact answers about ReLU networks, and about polynomial ones in boxes.
    """
    inner = model.inner if isinstance(model, NetworkModel) else model.model
    if isinstance(inner, PolynomialNetwork) and judges_boxes(inner, ball):
        return BoxCertifier(inner, seconds)
    if isinstance(inner, PolynomialNetwork):
        return QuadraticCertifier(inner, ball.geometry.isotropic and not ranged)
    if isinstance(inner, ReLUNetwork):
        return ReLUCertifier(inner, seconds)
    if is_linear(inner):
        return LinearCertifier(inner, not ranged)
    straight = ball.ellipsoid is None or ball.ellipsoid.scale is not None
    if trees.is_tree(inner) and straight:
        return TreeCertifier(inner, not ranged)
    if forests.is_ensemble(inner) and straight:
        return EnsembleCertifier(inner)
    return NoCertifier()
