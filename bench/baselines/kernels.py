"""Support vector machines with a quadratic kernel: as quadratics they are polynomial networks, and certified alike."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC

from cvxrobust.core.errors import CvxRobustError, InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.validation import as_numbers, label_array

Array = NDArray[np.float64]

NO_TRACE = 1e-9
"""Trace of a quadratic form, relative to the sum of its absolute eigenvalues, below which none can carry a constant."""


class QuadraticSVC(ClassifierMixin, BaseEstimator):
    """scikit-learn's `SVC` with the kernel ``(gamma x'z / d + coef0)^2``, written as a network.

    Its score is a quadratic ``x'Qx + p'x + q``. With ``s(t) = t^2 + t + c`` the eigenvectors of Q are neurons, two more
    of opposite signs make up for the linear part, and ``c tr Q = q``; from there on everything that is exact about
    polynomial networks is exact about it.

    Args:
        C: What errors cost.
        gamma: Scale of the kernel; of standardised inputs 1 is scikit-learn's ``"scale"``.
        coef0: What is added before the square.

    Attributes:
        classes_: The two labels, sorted.
        svc_: The machine of scikit-learn.
        network_: The same as a `PolynomialNetwork`.
    """

    def __init__(self, C: float = 1.0, gamma: float = 1.0, coef0: float = 1.0) -> None:
        self.C = C
        self.gamma = gamma
        self.coef0 = coef0

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Train.

        Args:
            X: Inputs, shape (n, d).
            y: Labels of two classes, shape (n,).

        Raises:
            InputError: There are not two classes.
            CvxRobustError: The quadratic form has trace 0, so that there is no such network.
        """
        inputs, labels = as_numbers(X, "X"), label_array(y)
        self.classes_ = np.unique(labels)
        if self.classes_.size != 2:
            raise InputError(f"y holds {self.classes_.size} classes; this machine tells two apart.")
        d = inputs.shape[1]
        self.svc_ = SVC(C=self.C, kernel="poly", degree=2, gamma=self.gamma / d, coef0=self.coef0).fit(inputs, labels)
        self.network_ = self._network(d)
        self.n_features_in_ = d
        return self

    def _network(self, d: int) -> PolynomialNetwork:
        weights, vectors = self.svc_.dual_coef_[0], self.svc_.support_vectors_
        gamma = self.gamma / d
        sizes, directions = np.linalg.eigh(gamma**2 * (vectors.T * weights) @ vectors)
        linear = 2.0 * gamma * self.coef0 * weights @ vectors - directions @ sizes
        constant = self.coef0**2 * weights.sum() + self.svc_.intercept_[0]
        if not abs(sizes.sum()) > NO_TRACE * np.abs(sizes).sum():
            raise CvxRobustError("the machine's quadratic form has trace 0, so no network has its constant.")
        length = float(np.linalg.norm(linear))
        axis = linear / length if length > 0.0 else directions[:, 0]
        return PolynomialNetwork(
            np.vstack([directions.T, axis, -axis]),
            np.concatenate([sizes, [0.5 * length, -0.5 * length]]),
            (1.0, 1.0, float(constant / sizes.sum())),
            classes=tuple(self.classes_.tolist()),
        )

    def decision_function(self, X: ArrayLike) -> Array:
        """Scores of the network, shape (n,)."""
        return self.network_.decision_function(X)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, shape (n,)."""
        return self.network_.predict(X)
