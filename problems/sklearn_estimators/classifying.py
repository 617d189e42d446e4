"""What classifiers share: labels of any kind, weights of classes, probabilities."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.utils.multiclass import check_classification_targets

from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.base import LikelihoodLoss
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.validation import label_array
from cvxrobust.core.weights import ClassWeight, checked_sample_weight, together
from cvxrobust.problems.data.folds import most_folds, splits
from cvxrobust.problems.data.parameters import checked_radius
from cvxrobust.problems.sklearn_estimators.answers import AnswersAboutLabels, CertifiedLabels
from cvxrobust.problems.sklearn_estimators.base import Array, NetworkEstimator
from cvxrobust.problems.sklearn_estimators.probabilities import (
    FOLDS,
    Calibrator,
    check_calibration,
    log_probabilities,
    where,
)
from cvxrobust.problems.sklearn_estimators.rows import Stated, TrainingRows, one_per_row


def _gives_probabilities(estimator: Any) -> bool:
    if estimator.calibration is not None or estimator._has_likelihood():
        return True
    raise AttributeError(
        f"{type(estimator).__name__} has probabilities with loss='logistic', which are then the model's own, or with "
        f"calibration='sigmoid' or 'isotonic'; loss is {estimator.loss!r} and calibration None. decision_function has "
        "the outputs."
    )


class NetworkClassifier(ClassifierMixin, AnswersAboutLabels, NetworkEstimator):
    """What classifiers share."""

    loss: str
    class_weight: ClassWeight
    calibration: str | None

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sample_radius: ArrayLike | None = None,
    ) -> Self:
        """Train on rows X, shape (n, d), with labels y of any kind, shape (n,).

        Args:
            X: Inputs; a sparse matrix is read as the table that it stands for, where that fits into memory.
            y: Labels.
            sample_weight: What each row counts, 0 or more, shape (n,): 2 is a row twice, 0 leaves it out, also of the
                statistics. Rows that come again with the same label are taken together.
            sample_radius: A radius of the attacks on each row, 0 or more, shape (n,), which `radius` multiplies (None
                for 1). Searches and cross-validation divide it among folds as they do weights.

        Raises:
            ValueError: The data or the attacks are unusable, or there are fewer than two classes.
        """
        check_calibration(self.calibration)
        rows = self._given(X, y, sample_weight, sample_radius)
        check_classification_targets(rows.targets)
        stated = self._stated(self._meant(rows))
        self._solved(stated)
        self._calibrate(rows)
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Outputs of the network, shape (n,), or (n, K) for K > 2 classes."""
        inputs = self._inputs(X)
        outputs: Array = self.network_.decision_function(inputs)
        return outputs

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, shape (n,): by the sign of the output, or the largest one."""
        f = self.decision_function(X)
        index = np.argmax(f, axis=1) if f.ndim == 2 else (f >= 0.0).astype(np.intp)
        return np.asarray(self.classes_[index])

    @where(_gives_probabilities)
    def predict_proba(self, X: ArrayLike) -> Array:
        """Probabilities of the classes, in the order of `classes_`, shape (n, K).

        Without `calibration` there are some with ``loss="logistic"`` alone: ``1 / (1 + exp(-f))`` of the output f, the
        model that this loss fits. Of more than two classes, trained one against all others, each has that of its own
        output, divided by their sum. Penalty and attacks draw outputs to 0: networks that were trained against attacks
        are less sure than their accuracy without attack warrants.

        With `calibration` they are what held-out rows teach: the rows of `fit` in folds, the outputs of each by a
        network trained on the others, and a curve from outputs to frequencies of labels through them all
        (`sklearn.calibration.CalibratedClassifierCV` with ``ensemble=False``). They may then disagree with `predict`
        about rows near the boundary. Of attacks they say nothing; that is what `predict_certified` does.
        """
        outputs = self.decision_function(X)
        if self.calibration is None:
            return np.asarray(np.exp(log_probabilities(self._likelihood(), outputs)))
        return self.calibrator_.probabilities(outputs)

    @where(_gives_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> Array:
        """Logarithms of `predict_proba`, shape (n, K)."""
        if self.calibration is None:
            return log_probabilities(self._likelihood(), self.decision_function(X))
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.predict_proba(X)))

    def score(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        sample_radius: ArrayLike | None = None,
    ) -> float:
        """The share of rows with the right label; with radii, that no attack of a row's own one turns wrong.

        Args:
            X: Inputs, shape (n, d).
            y: Labels, shape (n,).
            sample_weight: What each row counts, shape (n,).
            sample_radius: Of the attacks on each row, in the units of `attack_units`, shape (n,): the share is what is
                certified. None for no attacks.
        """
        if sample_radius is None:
            found = CertifiedLabels(self.predict(X), np.ones(1, dtype=np.bool_))  # nobody attacks
        else:
            radii = checked_radius(sample_radius, self._inputs(X).shape[0], "sample_radius")
            found = self.predict_certified(X, radii)
        right = found.certified & (found.labels == one_per_row(self._labels(y), found.labels.size, "label"))
        weights = None if sample_weight is None else checked_sample_weight(sample_weight, right.size)
        return float(np.average(right, weights=weights))

    def _likelihood(self) -> LikelihoodLoss:
        loss: Any = loss_by_name(self.loss)
        found: LikelihoodLoss = loss
        return found

    def _has_likelihood(self) -> bool:
        """Whether the loss fits a model of the probabilities of labels."""
        return isinstance(loss_by_name(self.loss), LikelihoodLoss)

    def _meant(self, rows: TrainingRows, *, part: bool = False) -> TrainingRows:
        """Rows that count, with what their classes weigh and labels -1 and +1, or numbers of classes.

        Args:
            rows: With labels as they come and their own weights.
            part: Whether they are some of the rows of `fit`: a class of which there is none needs no weight.
        """
        weight, labels = self.class_weight, rows.targets
        if part and isinstance(weight, Mapping):
            weight = {label: number for label, number in weight.items() if label in set(labels.tolist())}
        return self._numbered(replace(rows, weights=together(rows.weights, weight, labels, labels.size)).counted())

    def _numbered(self, rows: TrainingRows) -> TrainingRows:
        """Rows with labels as problems have them: -1 and +1, or numbers of classes."""
        self.classes_, index = np.unique(rows.targets, return_inverse=True)
        if self.classes_.size < 2:
            raise ValueError(f"y holds one class, {self.classes_.tolist()}; a classifier needs at least two classes.")
        numbers = index.astype(np.float64)
        targets = np.where(index == 1, 1.0, -1.0) if self.classes_.size == 2 else numbers
        return replace(rows, targets=targets)

    def _finished(self, network: Any, stated: Stated) -> Any:
        return super()._finished(network, stated).replace(classes=tuple(self.classes_.tolist()))

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        return label_array(y)

    # -- calibration --------------------------------------------------------------------------------------------

    def _calibrate(self, rows: TrainingRows) -> None:
        """Learn probabilities from the rows of `fit`, with labels as they come and their own weights."""
        self.__dict__.pop("calibrator_", None)
        if self.calibration is None:
            return
        rows = rows.counted()
        rows = rows.take(np.isin(rows.targets, self.classes_))  # without classes that weigh nothing
        index = np.searchsorted(self.classes_, rows.targets)
        everyone = np.ones(index.size, dtype=np.bool_)
        count = min(FOLDS, most_folds(rows.inputs, index))
        if count < 2:
            raise InputError(
                f"calibration is {self.calibration!r}, which learns from rows that are held out, but a class has one "
                "row; expected two different ones of each, or calibration=None."
            )
        outputs: Array = np.full(index.shape if self.classes_.size == 2 else (index.size, self.classes_.size), np.nan)
        for train, held in splits(count, rows.inputs, index, everyone, None, self._seed()):
            outputs[held] = self._without(rows.take(train)).decision_function(rows.inputs[held])
        self.calibrator_ = Calibrator(str(self.calibration), outputs, index, rows.weights)

    def _without(self, rows: TrainingRows) -> Any:
        """The network of some of the rows."""
        copy: Any = clone(self)
        for name in ("feature_names_in_", "n_features_in_"):
            if hasattr(self, name):
                setattr(copy, name, getattr(self, name))
        stated = copy._stated(copy._meant(rows, part=True))
        return copy._solved(stated, frames=5).network_
