"""Robust linear classifiers: the worst case of a linear score is a dual norm, so training against it is convex.

For labels -1 and +1 and attacks ``D = S e``, ``||e||_p <= r``: ``min over x + D of y (w'(x + D) + b) = y (w'x + b) - r
||S'w||_q`` with the dual norm q of p. More classes are trained one against all others.

Source: Xu, Caramanis and Mannor (2009), Robustness and regularization of support vector machines, JMLR 10.
"""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import CvxRobustError, InputError, UnknownNameError
from cvxrobust.core.losses.by_name import MARGIN_LOSSES, loss_by_name
from cvxrobust.core.robustness.models import LinearScores
from cvxrobust.core.validation import as_numbers, label_array

Array = NDArray[np.float64]


class RobustLinear(LinearScores, ClassifierMixin, BaseEstimator):
    """``mean_i loss(y_i (w'x_i + b) - radius ||S'w||_q) + beta/2 ||w||_2^2``, by CVXPY.

    Args:
        threat: The attacks; their `bounds` are not heeded, which makes training against more than there are.
        radius: Of the attacks, 0 or more.
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"`` (a support vector machine), ``"squared_hinge"`` or ``"logistic"``.

    Attributes:
        classes_: The labels, sorted.
        coef_: Weights, shape (1, d), or (K, d) for K > 2 classes.
        intercept_: Offsets, shape (1,) or (K,).
    """

    def __init__(
        self, threat: Threat | None = None, radius: float = 0.0, beta: float = 1e-2, loss: str = "hinge"
    ) -> None:
        self.threat = threat
        self.radius = radius
        self.beta = beta
        self.loss = loss

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train.

        Args:
            X: Inputs, shape (n, d).
            y: Labels, shape (n,).

        Raises:
            InputError: There is one class, or a parameter is none.
            UnknownNameError: There is no such loss of margins.
            CvxRobustError: No solver of CVXPY's solved it.
        """
        if self.loss not in MARGIN_LOSSES:
            raise UnknownNameError("loss", self.loss, MARGIN_LOSSES)
        if not (self.beta > 0.0 and self.radius >= 0.0):
            raise InputError(f"beta is {self.beta!r} and radius {self.radius!r}; expected above 0 and at least 0.")
        inputs = as_numbers(X, "X")
        self.classes_, index = np.unique(label_array(y), return_inverse=True)
        if self.classes_.size < 2:
            raise InputError("y holds one class; a classifier needs at least two.")
        ones = range(1, 2) if self.classes_.size == 2 else range(self.classes_.size)
        found = [self._one(inputs, np.where(index == k, 1.0, -1.0)) for k in ones]
        self.coef_ = np.array([w for w, _ in found])
        self.intercept_ = np.array([b for _, b in found])
        self.n_features_in_ = inputs.shape[1]
        return self

    def _one(self, X: Array, y: Array) -> tuple[Array, float]:
        import cvxpy as cp

        n, d = X.shape
        ball = (self.threat or Threat()).on(X).ball
        w, b = cp.Variable(d), cp.Variable()
        margins: Any = cp.multiply(y, X @ w + b)
        if self.radius > 0.0 and ball.dimension:
            margins = margins - self.radius * cp.norm(ball.axes(d) @ w, ball.geometry.dual)
        losses = loss_by_name(self.loss).expression(margins, y)
        problem = cp.Problem(cp.Minimize(cp.sum(losses) / n + 0.5 * self.beta * cp.sum_squares(w)))
        problem.solve(solver=cp.CLARABEL)
        if w.value is None or b.value is None:
            raise CvxRobustError(f"CVXPY found no robust linear classifier: {problem.status}.")
        return np.asarray(w.value), float(b.value)

    def decision_function(self, X: ArrayLike) -> Array:
        """Scores, shape (n,), or (n, K) for K > 2 classes."""
        scores = as_numbers(X, "X") @ self.coef_.T + self.intercept_
        return np.asarray(scores[:, 0] if scores.shape[1] == 1 else scores)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, shape (n,)."""
        scores = self.decision_function(X)
        index = (scores > 0.0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
        return np.asarray(self.classes_[index])
