"""Forests and boosted trees: lower bounds of margins under attack, tree by tree.

The scores of these classifiers are sums over trees of a vector that depends on the leaf alone. Whatever an attack of a
radius does, each tree answers with one of the leaves that it reaches from the row; taking the worst of these in every
tree, as if attacks on different trees were different ones, bounds every margin from below. The bound is exact for one
tree and weak for many. Where leaves are and what reaches them: `cvxrobust.core.robustness.trees`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.robustness import trees
from cvxrobust.core.robustness.contest import Index
from cvxrobust.core.robustness.models import is_of_sklearn

Array = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class _Part:
    """One tree: the boxes of its leaves, shape (L, d), and what each adds to the scores, shape (L, K)."""

    tree: Any
    low: Array
    high: Array
    nodes: Index
    values: Array


def is_ensemble(model: Any) -> bool:
    """Whether a classifier is a fitted forest, or boosted trees from a constant, of scikit-learn, with one output."""
    if is_of_sklearn(model, "ForestClassifier", "predict_proba"):
        return hasattr(model, "estimators_") and getattr(model, "n_outputs_", 1) == 1
    boosted = is_of_sklearn(model, "GradientBoostingClassifier", "decision_function")
    return boosted and hasattr(model, "estimators_") and getattr(model, "init", "given") in (None, "zero")


def lower_margins(model: Any, X: Array, index: Index, ball: AttackBall, radii: Array) -> Array:
    """What the margin of each row is at least, against every attack of each radius, shape (k, n).

    Args:
        model: The classifier.
        X: Inputs, shape (n, d).
        index: Their classes, shape (n,).
        ball: The attacks: their norm, and a scale for each input.
        radii: Shape (k,).
    """
    parts = _forest(model) if hasattr(model, "predict_proba") and not _is_boosted(model) else _boosting(model)
    n, K, rows = X.shape[0], len(model.classes_), np.arange(X.shape[0])
    given = model.predict_proba(X) if not _is_boosted(model) else model.decision_function(X)
    scores = np.column_stack([np.zeros(n), given]) if given.ndim == 1 else given
    lower = np.repeat((scores[rows, index][:, None] - scores)[None], radii.size, axis=0)
    size = np.abs(scores).max(initial=0.0) + sum(float(np.abs(part.values).max(initial=0.0)) for part in parts)
    # Distances that rounding may have made too long count as reached.
    reaching = radii * (1.0 + 8.0 * X.shape[1] * EPS)
    for part in parts:
        for block in trees.blocks(n, part.low):
            lower[:, block] -= _drops(part, X[block], index[block], ball, reaching)
    lower[:, rows, index] = np.inf
    return np.asarray(lower.min(axis=2) - 16.0 * (len(parts) + K) * EPS * size)


def _drops(part: _Part, X: Array, index: Index, ball: AttackBall, radii: Array) -> Array:
    """By how much a tree lowers the lead over each class at most, shape (k, n, K)."""
    found = trees.reach(part.low, part.high, X, ball)
    order = np.argsort(found, axis=1, kind="stable")
    count = (found[:, :, None] <= radii).sum(axis=1)
    own = part.values[np.searchsorted(part.nodes, part.tree.apply(X.astype(np.float32)))]
    rows, drops = np.arange(X.shape[0]), np.zeros((radii.size, X.shape[0], part.values.shape[1]))
    for rival in range(part.values.shape[1]):
        leads = part.values[:, index].T - part.values[:, rival]
        worst = np.minimum.accumulate(np.take_along_axis(leads, order, axis=1), axis=1)
        here = own[rows, index] - own[:, rival]
        for k in range(radii.size):
            # The leaf that a row is in is within reach of every radius.
            least = np.where(count[:, k] > 0, worst[rows, np.maximum(count[:, k] - 1, 0)], here)
            drops[k, :, rival] = here - np.minimum(least, here)
    return drops


def _part(tree: Any, values: Array) -> _Part:
    low, high, nodes = trees.leaf_nodes(tree)
    order = np.argsort(nodes)
    return _Part(tree, low[order], high[order], nodes[order], values[nodes[order]])


def _is_boosted(model: Any) -> bool:
    return is_of_sklearn(model, "GradientBoostingClassifier", "decision_function")


def _forest(model: Any) -> list[_Part]:
    """Shares of classes in leaves, averaged."""
    found = []
    for one in model.estimators_:
        shares = one.tree_.value[:, 0] / one.tree_.value[:, 0].sum(axis=1, keepdims=True)
        found.append(_part(one.tree_, shares / len(model.estimators_)))
    return found


def _boosting(model: Any) -> list[_Part]:
    """Steps of the score of one class each; with two classes of that of the second."""
    K, found = len(model.classes_), []
    for stage in model.estimators_:
        for k, one in enumerate(stage):
            values = np.zeros((one.tree_.node_count, K))
            values[:, 1 if K == 2 else k] = model.learning_rate * one.tree_.value[:, 0, 0]
            found.append(_part(one.tree_, values))
    return found
