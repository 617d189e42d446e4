"""What all estimators share: data as scikit-learn's conventions have it, the attacks asked for, and training."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d, validate_data

from cvxrobust.core.arguments import flag
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.contracts.result import Result
from cvxrobust.core.errors import TooLargeError, UnknownNameError
from cvxrobust.core.networks.standardizer import Standardizer, constant_columns
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve
from cvxrobust.core.validation import check_finite_labels, checked_inputs
from cvxrobust.problems.data.features import AskedShape, Features, ShapeArrays
from cvxrobust.problems.data.parameters import checked_radius
from cvxrobust.problems.data.repeated_rows import merged
from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP

Array = NDArray[np.float64]
Shape = ArrayLike | Mapping[Any, float] | None

DATA, STANDARDIZED = "data", "standardized"
NUMPYS = ("could not convert", "setting an array element")
"""Of what scikit-learn says, how that begins which is NumPy's: ours says more."""

ATTACK_UNITS = (STANDARDIZED, DATA)
"""In what radii and shapes of attacks are given."""

_validated: Any = validate_data
"""scikit-learn's conventions: names of columns, their number, the words of its errors.

It reads text as numbers and drops masks, so that what is computed with is what `core.validation` makes of the data. It
ships no types, and what type checkers guess from its defaults is wrong.
"""


@dataclass(frozen=True)
class TrainingRows:
    """What an estimator trains on.

    Args:
        inputs: Shape (n, d); in the data's units as they come, later as the problem has them.
        targets: Labels -1 and +1, numbers of classes, or real targets, shape (n,); labels of any kind as they come.
        weights: What each row counts, shape (n,); None for all alike.
        radius: Of the attacks on all rows, or on each, shape (n,).
    """

    inputs: Array
    targets: NDArray[Any]
    weights: Array | None
    radius: float | Array

    def take(self, rows: NDArray[Any]) -> "TrainingRows":
        """Some of the rows: a mask or indices."""
        return TrainingRows(
            self.inputs[rows],
            self.targets[rows],
            None if self.weights is None else self.weights[rows],
            self.radius[rows] if isinstance(self.radius, np.ndarray) else self.radius,
        )

    def merged(self) -> "TrainingRows":
        """The same with rows that come again, with the same target and radius, as one of their weights added."""
        each = isinstance(self.radius, np.ndarray)
        table = np.column_stack([self.inputs, self.radius]) if each else self.inputs
        kept, weights = merged(table, self.targets, self.weights)
        return replace(self.take(kept), weights=weights)


@dataclass(frozen=True)
class Stated:
    """What an estimator solves.

    Args:
        problem: The problem of its rows.
        rows: The rows as the problem has them.
        shape: Of the attacks, in the units of these rows.
        standardizer: What turned the data's units into the problem's; None if nothing did.
    """

    problem: Any
    rows: TrainingRows
    shape: ShapeArrays
    standardizer: Standardizer | None

    def reach(self) -> Array:
        """By how much attacks may move each feature at most, in the data's units, shape (d,)."""
        attack = self.problem.attack
        found = np.asarray(attack.dual_norm(np.eye(attack.attackable)) * attack.radius.max())
        return found if self.standardizer is None else found * self.standardizer.scale


class NetworkEstimator(BaseEstimator):
    """Base of the estimators: a subclass has a constructor, says which problem it solves, and what labels are."""

    radius: ArrayLike
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

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> Any:
        raise NotImplementedError

    def _own_targets(self, targets: Array, weights: Array | None) -> Array:
        """The targets as the problem has them."""
        return targets

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        """Labels or targets as they come, of any shape, none refused by their kind."""
        raise NotImplementedError

    def _counted(self, inputs: Array, targets: NDArray[Any], weights: Array | None) -> TrainingRows:
        """The rows whose weight is not 0, with the radii of their attacks."""
        radius = self.radius if isinstance(self.radius, float | int) else checked_radius(self.radius, inputs.shape[0])
        found = TrainingRows(inputs, targets, weights, radius)
        return found if weights is None else found.take(weights > 0.0)

    def _train(self, given: TrainingRows, **about: Any) -> Self:
        """Train on rows all of which count, and keep the network and what was found about the data.

        Args:
            given: The rows, with inputs in the data's units.
            **about: Fields of the network.
        """
        return self._solved(self._stated(given), **about)

    def _solved(self, stated: "Stated", **about: Any) -> Self:
        self.result_: Result[Any] = solve(
            stated.problem, backend=self.backend, method=self.method, settings=self._settings(), polish=self.polish
        )
        self.attack_reach_ = stated.reach()
        self.network_: Any = self.result_.network.replace(standardizer=stated.standardizer, **about)
        return self

    def _settings(self) -> Settings:
        """How to solve.

        Raises:
            InputError: The tolerance or the time limit is none.
        """
        return Settings(tolerance=self.tolerance, time_limit=self.time_limit)

    def _stated(self, given: TrainingRows) -> "Stated":
        """The problem of rows all of which count, with inputs in the data's units."""
        rows = given.merged()
        features = Features(rows.inputs.shape[1], tuple(map(str, getattr(self, "feature_names_in_", ()))))
        called = features.names or range(features.count)
        self.constant_features_ = tuple(called[column] for column in constant_columns(rows.inputs).tolist())
        standardizer = Standardizer.fit(rows.inputs, features.names, rows.weights) if self.standardize else None
        inputs = rows.inputs if standardizer is None else standardizer.transform(rows.inputs)
        own = replace(rows, inputs=inputs, targets=self._own_targets(rows.targets, rows.weights))
        shape = self._shape(features, standardizer)
        return Stated(self._problem(own, shape), own, shape, standardizer)

    def _shape(self, features: Features, standardizer: Standardizer | None) -> ShapeArrays:
        """The shape of attacks on inputs that are standardised, as problems take it."""
        flag(self.standardize, "standardize")
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
            return None if str(error).startswith(NUMPYS) else error
        except Exception:  # what it does not foresee has no words of its own
            return None
        return None

    def _inputs(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        rows, _ = self._checked(X)
        return rows  # the network standardises them itself


class PolynomialEstimator(NetworkEstimator):
    """Base of those that train polynomial networks."""

    beta: float
    loss: str
    activation: tuple[float, float, float]
    norm: Norm

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> Any:
        return AdversarialSDP(
            rows.inputs, rows.targets, radius=rows.radius, beta=self.beta, loss=self.loss, activation=self.activation,
            norm=self.norm, scale=shape.scale, covariance=shape.covariance, directions=shape.directions,
            sample_weight=rows.weights,
        )  # fmt: skip
