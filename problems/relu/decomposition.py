"""Cone decompositions: a vector that a gate does not fit, as the difference of two that it fits.

Without its cone constraints a slot's vector u need not keep its gate, and no neuron stands for it. But u = v - w with v
and w in the cone of the gate (`gates.cones`) gives two neurons with the same outputs, for the penalty
``||v||_2 + ||w||_2``. Source: Mishkin, Sahiner and Pilanci (2022), Fast convex optimization for two-layer ReLU
networks: equivalent model classes and cone decompositions, arXiv:2202.01331, Sec. 3.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.programs.gated.cones import ConeInterior, GateCone, lowest, nonnegative_weights, well_inside
from cvxrobust.core.programs.gated.evaluation import EPS, FEASIBLE

Array = NDArray[np.float64]
Patterns = NDArray[np.bool_]
Pair = tuple[Array, Array]

CLOSE = 1e-9
"""Violation of a constraint, relative to the vector, that is left to a shift into the cone."""

ROUNDS = 100
"""Most rounds of cuts, each a nonnegative least-squares problem."""

REWEIGHTINGS = 10
"""Most pairs that are tried."""

CLOSER = 1e-6
"""Relative gain of a pair on the one before that asks for another."""

CUSHION = 4.0 * EPS
"""Slack, relative to the vector, that rounding in other sums does not use up."""


@dataclass(frozen=True)
class Decomposition:
    """``u = v - w``, up to rounding.

    Args:
        v: Shape (D,).
        w: Shape (D,).
        exact: Whether both are in the cone, up to rounding; otherwise v = u and w = 0.
    """

    v: Array
    w: Array
    exact: bool


def decompose(
    u: Array,
    X: Array,
    pattern: Patterns,
    attack: AttackBall,
    inside: ConeInterior | None = None,
) -> Decomposition:
    """Two vectors of a pattern's cone with difference u and a small sum of lengths.

    The least ``||v|| + ||w||`` is found by least squares with weights from the lengths of the pair before, beginning
    with the shortest w; each pair is then moved along the cone's interior until it is in the cone.

    Args:
        u: The vector, shape (D,).
        X: Inputs, shape (n, D).
        pattern: Shape (n,).
        attack: The attacks on each sample.
        inside: The cone's interior, if it is known.
    """
    size = float(np.abs(u).max(initial=0.0))
    none = np.zeros_like(u)
    if size == 0.0 or not np.isfinite(size):
        return Decomposition(u, none, size == 0.0)
    cone = GateCone.of(X, pattern, attack)
    unit = u / size
    if cone.flat and not _blind(cone, unit):
        return Decomposition(u, none, False)
    if _holds(cone, unit, -FEASIBLE):
        return Decomposition(u, none, True)
    if _holds(cone, -unit, -FEASIBLE):
        return Decomposition(none, -u, True)
    inside = inside or well_inside(cone)
    pairs = [found for pair in _candidates(cone, unit) if (found := _moved_inside(cone, pair, inside)) is not None]
    if not pairs:
        return Decomposition(u, none, False)
    v, w = min(pairs, key=lambda pair: float(np.linalg.norm(pair[0]) + np.linalg.norm(pair[1])))
    return Decomposition(v * size, w * size, True)


def _candidates(cone: GateCone, u: Array) -> Iterator[Pair]:
    """Pairs with difference u that are in the cone or near it."""
    share, least = 0.0, np.inf
    for _ in range(REWEIGHTINGS):
        point = _shortest(cone, u, share)
        if point is None:
            break
        v, w = point + (1.0 - share) * u, point - share * u
        yield v, w
        # ||v||^2 / ||v_before|| + ||w||^2 / ||w_before|| is, up to constants, the squared length of w + share u.
        size_v, size_w = float(np.linalg.norm(v)), float(np.linalg.norm(w))
        if size_v + size_w >= (1.0 - CLOSER) * least:
            break
        share, least = size_w / (size_v + size_w), size_v + size_w
    yield u, np.zeros_like(u)


def _shortest(cone: GateCone, u: Array, share: float) -> Array | None:
    """The shortest p with ``p + (1 - share) u`` and ``p - share u`` in the cone, nearly; None if none was found.

    A quadratic programme over cuts, to which the violated ones are added until hardly any is.
    """
    offsets = ((1.0 - share) * u, -share * u)
    point = np.zeros_like(u)
    rows, limits = np.empty((0, u.size)), np.empty(0)
    for _ in range(ROUNDS):
        violated = False
        for offset in offsets:
            vector = point + offset
            worst = lowest(cone.slacks(vector), u.size + 1, -CLOSE * float(np.linalg.norm(vector)))
            cuts = cone.cuts(vector, worst)
            rows, limits = np.vstack([rows, cuts]), np.append(limits, -cuts @ offset)
            violated |= worst.size > 0
        if not violated:
            return point
        found = _least_distance(rows, limits)
        if found is None:
            return None
        point, active = found
        rows, limits = rows[active], limits[active]
    return point


def _least_distance(G: Array, h: Array) -> tuple[Array, NDArray[np.bool_]] | None:
    """The shortest p with ``G p >= h`` and the rows that hold it; None if there is none, or none of moderate length.

    Source: Lawson and Hanson (1974), Solving least squares problems, Sec. 23.4.
    """
    target = np.eye(G.shape[1] + 1)[-1]
    system = np.vstack([G.T, h])
    weights = nonnegative_weights(system, target)
    if (target - system @ weights)[-1] <= CLOSE**1.5:
        return None
    active = weights > 0.0
    # The residual holds p as well, but of a long p hardly a digit.
    return np.asarray(np.linalg.lstsq(G[active], h[active])[0], dtype=np.float64), active


def _moved_inside(cone: GateCone, pair: Pair, inside: ConeInterior | None) -> Pair | None:
    """The pair plus the same multiple, nearly the least, of a vector well inside, so that both are in the cone."""
    if inside is None:
        return pair if all(_holds(cone, vector, -FEASIBLE) for vector in pair) else None

    def moved(far: float) -> Pair:
        return pair[0] + far * inside.direction, pair[1] + far * inside.direction

    def arrived(far: float) -> bool:
        return all(_holds(cone, vector, CUSHION) for vector in moved(far))

    if arrived(0.0):
        return pair
    lacking = -min(float(cone.slacks(vector).min(initial=0.0)) for vector in pair)
    low, high = 0.0, (lacking + EPS) / inside.margin
    while not arrived(high):
        low, high = high, 2.0 * high
        if not np.isfinite(high):
            return None
    # Once inside, always inside: the direction is in the cone, which is convex.
    for _ in range(50):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if arrived(middle) else (middle, high)
    return moved(high)


def _blind(cone: GateCone, u: Array) -> bool:
    """Whether attacks see nothing of a vector."""
    return float(cone.there.dual_norm(u)) <= cone.there.unnoticed * float(np.linalg.norm(u))


def _holds(cone: GateCone, u: Array, least: float) -> bool:
    """Whether all slacks of a vector are at least so much, relative to its length."""
    if cone.flat and not _blind(cone, u):
        return False
    return bool((cone.slacks(u) >= least * float(np.linalg.norm(u))).all())
