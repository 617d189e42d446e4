"""Decision trees: the exact distance to another label, in every norm, by a walk over their leaves.

A leaf of a tree is a box with sides along the axes. The nearest of its points has, in each coordinate, the distance to
that side, whatever the norm; so the smallest radius at which an attack reaches the leaf is the norm of these distances,
each in units of its scale. Trees of scikit-learn compare inputs rounded to single precision; rows are taken to be in
every box that rounding may take them to.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.robustness.contest import Index
from cvxrobust.core.robustness.models import is_of_sklearn

Array = NDArray[np.float64]

SINGLE = float(np.finfo(np.float32).eps)
BLOCK = 4_000_000


def is_tree(model: Any) -> bool:
    """Whether a classifier is a fitted decision tree: scikit-learn's with one output, or one that has `leaf_boxes`."""
    if callable(getattr(model, "leaf_boxes", None)):
        return True
    return is_of_sklearn(model, "BaseDecisionTree") and hasattr(model, "tree_") and getattr(model, "n_outputs_", 1) == 1


def leaves(model: Any) -> tuple[Array, Array, Index]:
    """The boxes of the leaves, each shape (L, d), and the class that each predicts, shape (L,).

    Sides are moved outwards by what rounding to single precision may do to an input.
    """
    if callable(getattr(model, "leaf_boxes", None)):
        low, high, labels = model.leaf_boxes()
        return low - _room(low), high + _room(high), labels
    low, high, nodes = leaf_nodes(model.tree_)
    return low, high, model.tree_.value[nodes, 0].argmax(axis=1).astype(np.intp)


def leaf_nodes(tree: Any) -> tuple[Array, Array, Index]:
    """The boxes of the leaves of one of scikit-learn's trees, as `leaves` has them, and their numbers, shape (L,)."""
    d = int(tree.n_features)
    boxes: list[tuple[int, Array, Array]] = [(0, np.full(d, -np.inf), np.full(d, np.inf))]
    lows, highs, nodes = [], [], []
    while boxes:
        node, low, high = boxes.pop()
        left, right = int(tree.children_left[node]), int(tree.children_right[node])
        if left == right:
            lows.append(low)
            highs.append(high)
            nodes.append(node)
            continue
        feature, threshold = int(tree.feature[node]), float(tree.threshold[node])
        room = float(_room(np.array(threshold)))
        upper, lower = high.copy(), low.copy()
        upper[feature] = min(upper[feature], threshold + room)
        lower[feature] = max(lower[feature], threshold - room)
        boxes += [(left, low, upper), (right, lower, high)]
    return np.array(lows), np.array(highs), np.array(nodes, dtype=np.intp)


def reach(low: Array, high: Array, X: Array, ball: AttackBall) -> Array:
    """The smallest radius at which an attack reaches each box from each row, inf where none does, shape (n, L).

    Args:
        low: The least corners of the boxes, shape (L, d).
        high: The largest.
        X: Inputs, shape (n, d).
        ball: The attacks: their norm, and a scale for each input.
    """
    reached, scale = np.ones(X.shape[1], dtype=np.bool_), np.ones(X.shape[1])
    if ball.ellipsoid is not None:
        assert ball.ellipsoid.scale is not None
        scale = np.asarray(ball.ellipsoid.scale)
        reached = scale > 0.0
    away = np.maximum(np.maximum(low - X[:, None], X[:, None] - high), 0.0)
    radius = ball.geometry.size(away[..., reached] / scale[reached])
    return np.where((away[..., ~reached] > 0.0).any(axis=-1), np.inf, radius)


def blocks(n: int, boxes: Array) -> list[slice]:
    """Rows whose distances to all sides of boxes, shape (L, d), fit into memory at a time."""
    size = max(1, BLOCK // max(1, boxes.size))
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def distances(model: Any, X: Array, index: Index, ball: AttackBall) -> tuple[Array, Array]:
    """The smallest radius at which an attack may reach a leaf of another class, and where it does.

    Args:
        model: The tree.
        X: Inputs, shape (n, d).
        index: Their classes, shape (n,).
        ball: The attacks: their norm, and a scale for each input.

    Returns:
        Radii, shape (n,), inf where there is no such leaf; and the attacked inputs, shape (n, d), a little inside the
        leaf, X itself where there is none.
    """
    low, high, labels = leaves(model)
    found, points = np.full(X.shape[0], np.inf), X.copy()
    for rows in blocks(X.shape[0], low):
        radius = np.where(labels == index[rows, None], np.inf, reach(low, high, X[rows], ball))
        nearest = radius.argmin(axis=1)
        found[rows] = radius[np.arange(nearest.size), nearest]
        inner_low, inner_high = (side[nearest] for side in (low + 3.0 * _room(low), high - 3.0 * _room(high)))
        reaching = np.isfinite(found[rows])[:, None]
        points[rows] = np.where(reaching, np.clip(X[rows], inner_low, np.maximum(inner_low, inner_high)), X[rows])
    return found, points


def _room(sides: Array) -> Array:
    """What rounding to single precision may do to an input at these sides, twice over; 0 where there is no side."""
    finite = np.isfinite(sides)
    return np.where(finite, SINGLE * np.abs(np.where(finite, sides, 0.0)) + float(np.finfo(np.float32).tiny), 0.0)
