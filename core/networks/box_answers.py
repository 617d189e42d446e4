"""What polynomial networks answer about attacks in boxes: bounds that are proved, attacks that were found."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.boxes.attack import attack_boxes
from cvxrobust.core.attacks.boxes.bounds import box_bounds
from cvxrobust.core.attacks.boxes.certify import certified
from cvxrobust.core.attacks.boxes.margins import Boxes, BoxMargins
from cvxrobust.core.attacks.quadratic import Quadratic

Array = NDArray[np.float64]
Held = NDArray[np.bool_]
Contest = tuple[Quadratic, NDArray[np.intp], Array]
"""A quadratic whose sign decides, the rows that it concerns, and the signs of their labels in it."""


def found_in_boxes(contests: Sequence[Contest], X: Array, attack: AttackBall) -> tuple[Array, Array]:
    """The worst points found, shape (n, d), and the margins there, shape (n,).

    Args:
        contests: Of the network, for the labels of the rows.
        X: Inputs, shape (n, d).
        attack: In the norm inf, of n radii.
    """
    points, worst, rng = X.copy(), np.full(X.shape[0], np.inf), np.random.default_rng(0)
    for rows, boxes, margins in _apart(contests, X, attack):
        e, values = attack_boxes(margins, rng)
        better = values < worst[rows]
        points[rows[better]] = margins.points(boxes, e)[better]
        worst[rows] = np.minimum(worst[rows], values)
    return points, worst


def lower_in_boxes(contests: Sequence[Contest], X: Array, attack: AttackBall) -> Array:
    """Rigorous lower bounds of margins, shape (n,): Shor's, which may lie below the worst margins."""
    lower = np.full(X.shape[0], np.inf)
    for rows, _, margins in _apart(contests, X, attack):
        lower[rows] = np.minimum(lower[rows], box_bounds(margins).lower)
    return lower


def held_in_boxes(contests: Sequence[Contest], X: Array, attack: AttackBall) -> Held:
    """Which rows surely keep their label, shape (n,)."""
    held = np.ones(X.shape[0], dtype=np.bool_)
    for rows, _, margins in _apart(contests, X, attack):
        held[rows] &= certified(margins)
    return held


def _apart(
    contests: Sequence[Contest], X: Array, attack: AttackBall
) -> Iterator[tuple[NDArray[np.intp], Boxes, BoxMargins]]:
    for quadratic, rows, signs in contests:
        boxes = Boxes.around(X[rows], attack.of(rows))
        yield rows, boxes, BoxMargins.of_quadratic(quadratic, signs, boxes)
