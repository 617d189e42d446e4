"""The problems as scikit-learn estimators."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.contracts.result import Result
from cvxrobust.core.errors import TooLargeError
from cvxrobust.core.networks.standardizer import Standardizer, constant_columns
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve
from cvxrobust.core.validation import check_finite_labels, checked_inputs, label_array
from cvxrobust.core.weights import ClassWeight, together
from cvxrobust.problems.data.repeated_rows import merged
from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP
from cvxrobust.problems.polynomial.base import DEFAULT_ACTIVATION
from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU

Array = NDArray[np.float64]
_validated: Any = validate_data
"""scikit-learn's conventions: names of columns, their number, the words of its errors.

It reads text as numbers and drops masks, so that what is computed with is what `core.validation` makes of the data. It
ships no types, and what type checkers guess from its defaults is wrong.
"""


class _NetworkClassifier(ClassifierMixin, BaseEstimator):
    """What both estimators share; a subclass has a constructor and says which problem it solves."""

    standardize: bool
    backend: str
    method: str
    tolerance: float
    time_limit: float | None
    class_weight: ClassWeight
    polish: bool | str | None = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _problem(self, inputs: Array, targets: Array, weights: Array | None) -> Any:
        raise NotImplementedError

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on rows X, shape (n, d), with labels y of any kind, shape (n,).

        Args:
            X: Inputs; a sparse matrix is read as the table that it stands for, where that fits into memory.
            y: Labels.
            sample_weight: What each row counts, 0 or more, shape (n,): 2 is a row twice, 0 leaves it out, also of the
                statistics. Rows that come again with the same label are taken together.

        Raises:
            ValueError: The data is unusable, or there are fewer than two classes.
        """
        rows, labels = self._checked(X, y)
        check_classification_targets(labels)
        weights = together(sample_weight, self.class_weight, labels, rows.shape[0])
        if weights is not None:
            rows, labels, weights = rows[weights > 0.0], labels[weights > 0.0], weights[weights > 0.0]
        self.classes_, index = np.unique(labels, return_inverse=True)
        if self.classes_.size < 2:
            raise ValueError(f"y holds one class, {self.classes_.tolist()}; a classifier needs at least two classes.")
        kept, weights = merged(rows, index, weights)
        rows, index = rows[kept], index[kept]
        names = getattr(self, "feature_names_in_", np.arange(rows.shape[1]))
        self.constant_features_ = tuple(names[constant_columns(rows)].tolist())
        standardizer = Standardizer.fit(rows, weights=weights) if self.standardize else None
        inputs = rows if standardizer is None else standardizer.transform(rows)
        targets = 2.0 * index - 1.0 if self.classes_.size == 2 else index.astype(np.float64)
        problem = self._problem(inputs, np.asarray(targets, dtype=np.float64), weights)
        settings = Settings(tolerance=self.tolerance, time_limit=self.time_limit)
        self.result_: Result[Any] = solve(
            problem, backend=self.backend, method=self.method, settings=settings, polish=self.polish
        )
        self.network_: Any = self.result_.network.replace(
            classes=tuple(self.classes_.tolist()), standardizer=standardizer
        )
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Outputs of the network, shape (n,), or (n, K) for K > 2 classes."""
        inputs = self._inputs(X)
        outputs: Array = self.network_.decision_function(inputs)
        return outputs

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Labels, shape (n,)."""
        f = self.decision_function(X)
        index = np.argmax(f, axis=1) if f.ndim == 2 else (f >= 0.0).astype(np.intp)
        return np.asarray(self.classes_[index])

    def _checked(self, X: ArrayLike, *y: ArrayLike) -> tuple[Array, NDArray[Any]]:
        """Inputs and, in training, labels, as `core.validation` reads them."""
        try:
            rows = checked_inputs(X, largest=np.inf)
            labels = column_or_1d(label_array(y[0]), warn=True) if y else np.zeros(rows.shape[0])
            check_consistent_length(rows, labels)
            check_finite_labels(labels)
        except TooLargeError:
            raise
        except ValueError as error:
            raise self._in_own_words(X, *y) or error from None
        _validated(self, X, *y, reset=bool(y), skip_check_array=True)
        return rows, labels

    def _in_own_words(self, X: ArrayLike, *y: ArrayLike) -> Exception | None:
        """What scikit-learn says of data that we refuse, which its conventions ask for; None if it would take it."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _validated(self, X, *y, dtype=np.float64, accept_sparse=True, reset=bool(y))
        except (TypeError, ValueError) as error:
            return error
        except Exception:  # what it does not foresee has no words of its own
            return None
        return None

    def _inputs(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        rows, _ = self._checked(X)
        return rows  # the network standardises them itself


class PolynomialClassifier(_NetworkClassifier):
    """A two-layer polynomial network, trained to certified global optimality, with scikit-learn's conventions.

    Two classes give one output; more are trained one-versus-all. See `AdversarialSDP` for the mathematics.

    Args:
        radius: l2 attack radius to train against, in standard deviations of the features (in the data's units without
            `standardize`); 0 is standard training.
        beta: Weight of the penalty.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``.
        activation: (a, b, c) of ``a t^2 + b t + c``.
        standardize: Standardise the features with the training rows' statistics.
        backend: See `solve`.
        method: See `solve`.
        tolerance: Relative certified gap to reach.
        time_limit: Seconds for the whole fit, or None.
        polish: See `solve`.
        class_weight: By label, what the rows of a class count, or ``"balanced"``, as in scikit-learn.

    Attributes:
        classes_: The labels, sorted.
        network_: The trained `PolynomialNetwork`; it takes rows as `predict` does, and can be saved.
        result_: The `Result` with certificate, trace and times.
        n_features_in_: Number of features.
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: float = 0.0,
        beta: float = 1e-2,
        loss: str = "hinge",
        activation: tuple[float, float, float] = DEFAULT_ACTIVATION,
        standardize: bool = True,
        backend: str = "auto",
        method: str = "auto",
        tolerance: float = 1e-4,
        time_limit: float | None = None,
        polish: bool | str | None = None,
        class_weight: ClassWeight = None,
    ) -> None:
        self.radius = radius
        self.beta = beta
        self.loss = loss
        self.activation = activation
        self.standardize = standardize
        self.backend = backend
        self.method = method
        self.tolerance = tolerance
        self.time_limit = time_limit
        self.polish = polish
        self.class_weight = class_weight

    def _problem(self, inputs: Array, targets: Array, weights: Array | None) -> AdversarialSDP:
        return AdversarialSDP(
            inputs, targets, radius=self.radius, beta=self.beta, loss=self.loss, activation=self.activation,
            sample_weight=weights,
        )  # fmt: skip

    def robust_score(self, X: ArrayLike, y: ArrayLike, radii: float | Sequence[float]) -> Array:
        """Exact accuracy under every l2 attack of each radius, shape (k,); units as for `radius`."""
        inputs = self._inputs(X)
        accuracies: Array = self.network_.robust_accuracy(inputs, y, radii)
        return accuracies


class ReLUClassifier(_NetworkClassifier):
    """A two-layer ReLU network, trained to certified optimality within its gates, with scikit-learn's conventions.

    Two classes give one output; more are trained one-versus-all. See `AdversarialReLU` for the mathematics.

    Args:
        radius: Attack radius to train against, in standard deviations of the features (in the data's units without
            `standardize`); 0 is standard training.
        norm: Norm of the attack: "inf", 2 or 1.
        beta: Weight of the penalty.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``.
        formulation: ``"one-sided"``, ``"cone"`` or ``"gated"``.
        n_gates: Gates to sample; None for one for every five samples per input, from 10 to 50.
        bias: Give every neuron a bias, which attacks do not touch.
        regate: Rounds of regating (one-sided formulation).
        seed: Of the gates.
        standardize: Standardise the features with the training rows' statistics.
        backend: See `solve`.
        method: See `solve`.
        tolerance: Relative certified gap to reach.
        time_limit: Seconds for the whole fit, or None.
        class_weight: By label, what the rows of a class count, or ``"balanced"``, as in scikit-learn.

    Attributes:
        classes_: The labels, sorted.
        network_: The trained `ReLUNetwork`; it takes rows as `predict` does, and can be saved.
        result_: The `Result` with certificate, history, trace and times.
        n_features_in_: Number of features.
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: float = 0.0,
        norm: Norm = "inf",
        beta: float = 1e-2,
        loss: str = "hinge",
        formulation: Formulation = "one-sided",
        n_gates: int | None = None,
        bias: bool = True,
        regate: int = 0,
        seed: int = 0,
        standardize: bool = True,
        backend: str = "auto",
        method: str = "auto",
        tolerance: float = 1e-4,
        time_limit: float | None = None,
        class_weight: ClassWeight = None,
    ) -> None:
        self.radius = radius
        self.norm: Norm = norm
        self.beta = beta
        self.loss = loss
        self.formulation: Formulation | None = formulation
        self.n_gates = n_gates
        self.bias = bias
        self.regate = regate
        self.seed = seed
        self.standardize = standardize
        self.backend = backend
        self.method = method
        self.tolerance = tolerance
        self.time_limit = time_limit
        self.class_weight = class_weight

    def _problem(self, inputs: Array, targets: Array, weights: Array | None) -> AdversarialReLU:
        return AdversarialReLU(
            inputs, targets, self.radius, norm=self.norm, beta=self.beta, loss=self.loss, formulation=self.formulation,
            n_gates=self.n_gates, bias=self.bias, regate=self.regate, seed=self.seed, sample_weight=weights,
        )  # fmt: skip

    def certified_score(self, X: ArrayLike, y: ArrayLike, radii: float | Sequence[float]) -> Array:
        """Accuracy that no attack of each radius can take, by linear relaxation, shape (k,); units as for `radius`."""
        inputs = self._inputs(X)
        accuracies: Array = self.network_.certified_accuracy(inputs, y, radii, self.norm)
        return accuracies

    def attacked_score(self, X: ArrayLike, y: ArrayLike, radii: float | Sequence[float]) -> Array:
        """Accuracy under the attacks found at each radius, shape (k,): at least the true robust accuracy."""
        inputs = self._inputs(X)
        accuracies: Array = self.network_.attacked_accuracy(inputs, y, radii, self.norm)
        return accuracies
