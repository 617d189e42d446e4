"""Polynomial networks against attacks in the norm inf: Shor's bound of the box itself, in what range inputs have."""

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.boxes.attack import attack_boxes
from cvxrobust.core.attacks.boxes.certify import certified
from cvxrobust.core.attacks.boxes.exact import worst_in_box
from cvxrobust.core.attacks.boxes.margins import Boxes, BoxMargins
from cvxrobust.core.attacks.threat import AttackSet
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.robustness.attacks import Best, Effort
from cvxrobust.core.robustness.contest import Index
from cvxrobust.core.robustness.models import Model, NetworkModel

Array = NDArray[np.float64]
Held = NDArray[np.bool_]
EPS = float(np.finfo(np.float64).eps)


MOST_INPUTS = 2048
"""Of boxes: what is factored has that order, and beyond it the ellipsoid around a box is judged in its place."""


def judges_boxes(network: TwoLayerNetwork, ball: AttackBall) -> bool:
    """Whether attacks are boxes, and such that `BoxCertifier` can judge them of a polynomial network."""
    return ball.geometry.separable and network.n_features <= MOST_INPUTS


def radii_around(network: PolynomialNetwork, attacks: AttackSet) -> Array:
    """Radii of attacks in any norm, shape (n,), below which no label changes in l2 balls or ellipsoids around them.

    In norm 2, where these are the attacks themselves, a label changes beyond.

    Args:
        network: Without a standardizer.
        attacks: Those on the rows, whatever their radius.
    """
    ball = attacks.ball
    distance = np.asarray(network.replace(norm=2, ellipsoid=ball.ellipsoid).distance_to_boundary(attacks.X))
    return np.asarray(distance / around_in_l2(ball))


def around_in_l2(ball: AttackBall) -> float:
    """By what factor the l2 ball or ellipsoid around attacks is larger: ``||e||_2 <= factor ||e||_p``; 1 in norm 2."""
    if ball.geometry.isotropic:
        return 1.0
    return ball.geometry.euclidean_reach(max(ball.dimension, 1)) * (1.0 + 4.0 * EPS)


@dataclass
class BoxCertifier:
    """Polynomial networks, without a standardizer, in boxes.

    A box lies in the box of every larger radius, so radii are halved row by row between what is proved and what is not;
    the l2 ball or ellipsoid around a box says at once where to begin.

    Args:
        network: The network.
        seconds: For exact answers, all rows and radii together; 0 for none.
    """

    network: PolynomialNetwork
    seconds: float

    def __post_init__(self) -> None:
        self.kind: Literal["bound"] = "bound"
        exact = f", then branch and bound within {self.seconds:g} s" if self.seconds else ""
        self.words = f"Shor's bound of the box{exact}"

    def held(self, attacks: AttackSet, index: Index, radii: Array) -> Held:
        """Which rows keep their class at each radius, shape (k, n)."""
        n, order = index.size, np.argsort(radii, kind="stable")
        right = NetworkModel(self.network).predicted(attacks.X) == index
        around = radii_around(self.network, attacks)
        # How many radii of a row are proved, and from which on they are not.
        proved = np.where(right, (around[:, None] > radii[order]).sum(axis=1), 0)
        refuted = np.where(right, radii.size, 0)
        deadline = time.monotonic() + self.seconds
        while (left := np.flatnonzero(proved < refuted)).size:
            asked = (proved[left] + refuted[left]) // 2
            good = self.proved(attacks.of(left).of_radii(radii[order][asked]), index[left], deadline)
            proved[left[good]], refuted[left[~good]] = asked[good] + 1, asked[~good]
        held = np.zeros((radii.size, n), dtype=np.bool_)
        held[order] = np.arange(radii.size)[:, None] < proved
        return held

    def proved(self, attacks: AttackSet, index: Index, deadline: float = np.inf) -> Held:
        """Which rows keep their class at a radius each, shape (n,).

        Args:
            attacks: Of these radii.
            index: The classes, shape (n,).
            deadline: For branch and bound.
        """
        boxes = Boxes.around(attacks.X, attacks.ball, attacks.low, attacks.high)
        held = np.ones(index.size, dtype=np.bool_)
        for quadratic, rows, signs in self.network.contests(index):
            rows, signs = rows[held[rows]], signs[held[rows]]
            if not rows.size:
                continue
            margins = BoxMargins.of_quadratic(quadratic, signs, boxes.of(rows))
            good = certified(margins)
            if self.seconds:
                self._settle(margins, good, deadline)
            held[rows] = good
        return held

    def _settle(self, margins: BoxMargins, good: Held, deadline: float) -> None:
        """Note in `good` what branch and bound proves besides."""
        open_ = np.flatnonzero(~good)
        for place, row in enumerate(open_):
            seconds = (deadline - time.monotonic()) / (open_.size - place)
            if seconds <= 0.0:
                return
            one = margins.rows(np.array([row]))
            good[row] = worst_in_box(one, seconds=seconds, decide=0.0).lower > 0.0


@dataclass(frozen=True)
class CoordinateDescent:
    """The attack that goes with it: exact in every coordinate, from vertices.

    Args:
        network: Without a standardizer.
    """

    network: PolynomialNetwork

    def __call__(self, model: Model, attacks: AttackSet, index: Index, best: Best, effort: Effort) -> None:
        """Betters the best points of rows, whose classes are given."""
        boxes, rng = (
            Boxes.around(attacks.X, attacks.ball, attacks.low, attacks.high),
            np.random.default_rng(effort.seed),
        )
        for quadratic, rows, signs in self.network.contests(index):
            own = boxes.of(rows)
            margins = BoxMargins.of_quadratic(quadratic, signs, own)
            e, _ = attack_boxes(margins, rng, restarts=2 * effort.restarts)
            points = attacks.X.copy()
            points[rows] = attacks.of(rows).moved(margins.points(own, e) - attacks.X[rows])
            best.offer(points, model.margins(points, index))
