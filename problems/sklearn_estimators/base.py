"""What all estimators share: data as scikit-learn's conventions have it, the attacks asked for, and training."""

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from cvxrobust.core.contracts.result import Result
from cvxrobust.core.errors import TooLargeError, UnknownNameError
from cvxrobust.core.networks.standardizer import Standardizer, constant_columns
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve
from cvxrobust.core.validation import check_finite_labels, checked_inputs
from cvxrobust.problems.data.features import AskedShape, Features, ShapeArrays
from cvxrobust.problems.data.repeated_rows import merged

Array = NDArray[np.float64]
Shape = ArrayLike | Mapping[Any, float] | None

DATA, STANDARDIZED = "data", "standardized"
ATTACK_UNITS = (STANDARDIZED, DATA)
"""In what radii and shapes of attacks are given."""

_validated: Any = validate_data
"""scikit-learn's conventions: names of columns, their number, the words of its errors.

It reads text as numbers and drops masks, so that what is computed with is what `core.validation` makes of the data. It
ships no types, and what type checkers guess from its defaults is wrong.
"""


class NetworkEstimator(BaseEstimator):
    """Base of the estimators: a subclass has a constructor, says which problem it solves, and what labels are."""

    radius: float
    scale: Shape
    covariance: ArrayLike | None
    directions: ArrayLike | None
    immutable: object
    attack_units: str
    standardize: bool
    backend: str
    method: str
    tolerance: float
    time_limit: float | None
    polish: bool | str | None = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _problem(self, inputs: Array, targets: Array, weights: Array | None, shape: ShapeArrays) -> Any:
        raise NotImplementedError

    def _own_targets(self, targets: Array, weights: Array | None) -> Array:
        """The targets as the problem has them."""
        return targets

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        """Labels or targets as they come, of any shape, none refused by their kind."""
        raise NotImplementedError

    def _train(self, rows: Array, targets: Array, weights: Array | None, **about: Any) -> Self:
        """Train on rows, shape (n, d), all of which count, and keep the network and what was found about the data.

        Args:
            rows: Inputs in the data's units.
            targets: Labels -1 and +1, numbers of classes, or real targets, shape (n,).
            weights: What each row counts, above 0, shape (n,); None for all alike.
            **about: Fields of the network.
        """
        kept, weights = merged(rows, targets, weights)
        rows, targets = rows[kept], targets[kept]
        features = Features(rows.shape[1], tuple(map(str, getattr(self, "feature_names_in_", ()))))
        called = features.names or range(features.count)
        self.constant_features_ = tuple(called[column] for column in constant_columns(rows).tolist())
        standardizer = Standardizer.fit(rows, features.names, weights) if self.standardize else None
        inputs = rows if standardizer is None else standardizer.transform(rows)
        targets = self._own_targets(targets, weights)
        problem = self._problem(inputs, targets, weights, self._shape(features, standardizer))
        settings = Settings(tolerance=self.tolerance, time_limit=self.time_limit)
        self.result_: Result[Any] = solve(
            problem, backend=self.backend, method=self.method, settings=settings, polish=self.polish
        )
        reach = problem.attack.dual_norm(np.eye(rows.shape[1])) * problem.attack.radius.max()
        self.attack_reach_ = reach if standardizer is None else reach * standardizer.scale
        self.network_: Any = self.result_.network.replace(standardizer=standardizer, **about)
        return self

    def _shape(self, features: Features, standardizer: Standardizer | None) -> ShapeArrays:
        """The shape of attacks on inputs that are standardised, as problems take it."""
        if self.attack_units not in ATTACK_UNITS:
            raise UnknownNameError("attack_units", self.attack_units, ATTACK_UNITS)
        asked = AskedShape(self.scale, self.covariance, self.directions, self.immutable)
        own = None if standardizer is None or self.attack_units == STANDARDIZED else standardizer.scale
        return asked.arrays(features, own)

    def _checked(self, X: ArrayLike, *y: ArrayLike) -> tuple[Array, NDArray[Any]]:
        """Inputs and, in training, labels, as `core.validation` reads them."""
        try:
            rows = checked_inputs(X, largest=np.inf)
            labels = column_or_1d(self._labels(y[0]), warn=True) if y else np.zeros(rows.shape[0])
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
