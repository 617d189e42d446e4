"""Robust decision trees, grown by the `groot-trees` package against boxes, judged here by their leaves."""

import importlib
import sys
import types
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.extras import require
from cvxrobust.core.robustness.contest import Index
from cvxrobust.core.validation import as_numbers, label_array

Array = NDArray[np.float64]


class RobustTree(ClassifierMixin, BaseEstimator):
    """A tree whose splits are chosen for the impurity that attackers leave.

    Source: Vos and Verwer (2021), Efficient training of robust decision trees against adversarial examples,
    arXiv:2012.10438. Attacks in other norms than inf are taken for the box around them.

    Args:
        threat: The attacks; a norm, and a scale for each input if any.
        radius: Of the attacks, 0 or more.
        max_depth: Splits from the root to a leaf at most.
        min_samples_leaf: Rows in a leaf at least.
        seed: Of ties.

    Attributes:
        classes_: The two labels, sorted.
        tree_: The tree of `groot-trees`.
    """

    def __init__(
        self,
        threat: Threat | None = None,
        radius: float = 0.0,
        max_depth: int = 5,
        min_samples_leaf: int = 1,
        seed: int = 0,
    ) -> None:
        self.threat = threat
        self.radius = radius
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train.

        Args:
            X: Inputs, shape (n, d).
            y: Labels of two classes, shape (n,).

        Raises:
            MissingExtraError: `groot-trees` is not installed.
            InputError: There are not two classes, or attacks have directions of their own.
        """
        inputs = as_numbers(X, "X")
        self.classes_, index = np.unique(label_array(y), return_inverse=True)
        if self.classes_.size != 2:
            raise InputError(f"y holds {self.classes_.size} classes; robust trees tell two apart.")
        threat = self.threat or Threat()
        if threat.covariance is not None or threat.directions is not None:
            raise InputError("robust trees know a radius for each input, and no covariance or directions.")
        d = inputs.shape[1]
        scale = np.ones(d) if threat.scale is None else np.asarray(threat.scale, dtype=np.float64)
        self.tree_ = groot_tree()(
            max_depth=self.max_depth,
            min_samples_leaf=self.min_samples_leaf,
            attack_model=(self.radius * scale).tolist(),
            random_state=self.seed,
            compile=False,
        ).fit(inputs, index)
        self.n_features_in_ = d
        return self

    def leaf_boxes(self) -> tuple[Array, Array, Index]:
        """The boxes of the leaves, closed, each shape (L, d), and the class that each predicts, shape (L,)."""
        d = self.n_features_in_
        todo: list[tuple[Any, Array, Array]] = [(self.tree_.root_, np.full(d, -np.inf), np.full(d, np.inf))]
        lows, highs, labels = [], [], []
        while todo:
            node, low, high = todo.pop()
            if node.is_leaf():
                lows.append(low)
                highs.append(high)
                labels.append(int(np.argmax(node.value)))
                continue
            upper, lower = high.copy(), low.copy()
            upper[node.feature] = min(upper[node.feature], node.threshold)
            lower[node.feature] = max(lower[node.feature], node.threshold)
            todo += [(node.left_child, low, upper), (node.right_child, lower, high)]
        return np.array(lows), np.array(highs), np.array(labels, dtype=np.intp)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, shape (n,)."""
        rows = as_numbers(X, "X")
        low, high, labels = self.leaf_boxes()
        # Of two leaves that share a side the lower one has it.
        inside = ((rows[:, None] > low) & (rows[:, None] <= high)).all(axis=-1)
        return np.asarray(self.classes_[labels[inside.argmax(axis=1)]])


def groot_tree() -> Any:
    """The tree of `groot-trees`, which asks NumPy for a name that NumPy 2 has elsewhere.

    Raises:
        MissingExtraError: It is not installed.
    """
    require("groot", "baselines", "robust trees")
    name = "numpy.lib.function_base"
    if name not in sys.modules and not hasattr(np.lib, "function_base"):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].iterable = np.iterable  # type: ignore[attr-defined]
    return importlib.import_module("groot.model").GrootTreeClassifier
