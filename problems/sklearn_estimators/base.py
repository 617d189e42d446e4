"""What the classifiers share: data as scikit-learn's conventions have it, and training."""

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from cvxrobust.core.contracts.result import Result
from cvxrobust.core.errors import TooLargeError
from cvxrobust.core.networks.standardizer import Standardizer, constant_columns
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve
from cvxrobust.core.validation import check_finite_labels, checked_inputs, label_array
from cvxrobust.core.weights import ClassWeight, together
from cvxrobust.problems.data.repeated_rows import merged

Array = NDArray[np.float64]
_validated: Any = validate_data
"""scikit-learn's conventions: names of columns, their number, the words of its errors.

It reads text as numbers and drops masks, so that what is computed with is what `core.validation` makes of the data. It
ships no types, and what type checkers guess from its defaults is wrong.
"""


class NetworkClassifier(ClassifierMixin, BaseEstimator):
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
