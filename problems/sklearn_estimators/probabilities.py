"""Probabilities of labels: those of the model that a loss fits, and those that held-out rows teach outputs to be."""

import warnings
from collections.abc import Callable
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.utils.metaestimators import available_if

from cvxrobust.core.arguments import word
from cvxrobust.core.losses.base import LikelihoodLoss

Array = NDArray[np.float64]
Method = TypeVar("Method", bound=Callable[..., Any])

CALIBRATIONS = ("sigmoid", "isotonic")
"""How outputs are made probabilities, as `sklearn.calibration.CalibratedClassifierCV` has it: a logistic curve with two
numbers, or any curve that rises, which wants a thousand rows."""

FOLDS = 5
"""Of the rows whose outputs calibration learns from; fewer where a class has fewer rows."""

_made_available: Any = available_if
_calibrated: Any = CalibratedClassifierCV
"""scikit-learn ships no types, and what type checkers guess from its defaults is wrong."""


def where(check: Callable[[Any], bool]) -> Callable[[Method], Method]:
    """A method that an object has where a check of it says so, so that ``hasattr`` is true."""

    def decorated(method: Method) -> Method:
        found: Method = _made_available(check)(method)
        return found

    return decorated


def check_calibration(calibration: str | None) -> None:
    """Refuse what is no way to calibrate.

    Raises:
        UnknownNameError: It is none.
    """
    if calibration is not None:
        word(calibration, "calibration", CALIBRATIONS)


def log_probabilities(loss: LikelihoodLoss, outputs: Array) -> Array:
    """Logarithms of the probabilities of the classes, shape (n, K), that the model of a loss has.

    Of K > 2 classes trained one against all others each has that of its own output, divided by their sum.

    Args:
        loss: The loss.
        outputs: Shape (n,), of the second of two classes; or (n, K).
    """
    if outputs.ndim == 1:
        return np.stack([loss.log_probability(-outputs), loss.log_probability(outputs)], axis=1)
    own = loss.log_probability(outputs)
    return np.asarray(own - np.logaddexp.reduce(own, axis=1, keepdims=True))


class ScoresThemselves(ClassifierMixin, BaseEstimator):
    """A classifier whose inputs are another one's scores already: so scikit-learn calibrates scores of any origin.

    Args:
        classes: How many classes there are, numbers from 0.
    """

    def __init__(self, classes: int = 2) -> None:
        self.classes = classes
        self.classes_ = np.arange(classes)

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Nothing is left to learn."""
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """The scores."""
        scores = np.asarray(X)
        return scores[:, 0] if self.classes == 2 else scores

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """The classes of the largest scores."""
        scores = self.decision_function(X)
        return np.asarray(scores.argmax(axis=1) if scores.ndim == 2 else scores >= 0.0).astype(np.intp)


class Calibrator:
    """Probabilities from outputs of a network, learned from those of networks that had not seen the rows.

    Args:
        method: One of `CALIBRATIONS`.
        outputs: Of rows, by networks that were trained without them, shape (n,) or (n, K).
        index: The classes of these rows, numbers from 0, shape (n,).
        weights: What rows count, shape (n,); None for all alike.
    """

    def __init__(self, method: str, outputs: Array, index: NDArray[np.intp], weights: Array | None) -> None:
        frozen = FrozenEstimator(ScoresThemselves(2 if outputs.ndim == 1 else outputs.shape[1]))
        everything = np.arange(index.size)
        self.model: Any = _calibrated(frozen, method=method, cv=[(everything, everything)], ensemble=False)
        with warnings.catch_warnings():
            # The scores are what they are; weights are for the curve alone.
            warnings.filterwarnings("ignore", "Since FrozenEstimator does not appear to accept sample_weight")
            self.model.fit(_columns(outputs), index, sample_weight=weights)

    def probabilities(self, outputs: Array) -> Array:
        """Of the classes, shape (n, K), from outputs of shape (n,) or (n, K)."""
        return np.asarray(self.model.predict_proba(_columns(outputs)))


def _columns(outputs: Array) -> Array:
    return outputs[:, None] if outputs.ndim == 1 else outputs
