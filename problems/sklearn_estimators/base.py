"""What all estimators share: data as scikit-learn's conventions have it, the attacks asked for, and training."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import (
    check_consistent_length,
    check_is_fitted,
    check_random_state,
    column_or_1d,
    validate_data,
)

from cvxrobust.core.arguments import flag, word
from cvxrobust.core.attacks.norms import GEOMETRIES, Norm, check_norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.result import Quality, Result
from cvxrobust.core.errors import InputError, TooLargeError
from cvxrobust.core.networks.standardizer import Standardizer, constant_columns
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import check_finite_labels, checked_inputs
from cvxrobust.core.weights import together
from cvxrobust.problems.data.features import AskedShape, Features, ShapeArrays
from cvxrobust.problems.data.parameters import checked_radius, is_random_state
from cvxrobust.problems.data.ranges import checked_range
from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP
from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU
from cvxrobust.problems.sklearn_estimators.rows import Stated, TrainingRows, radii_of_rows

Array = NDArray[np.float64]
Shape = ArrayLike | Mapping[Any, float] | None
Range = tuple[ArrayLike, ArrayLike] | None

DATA, STANDARDIZED = "data", "standardized"
NUMPYS = ("could not convert", "setting an array element")
"""Of what scikit-learn says, how that begins which is NumPy's: ours says more."""

PYTHONS = "float() argument must be"
"""And which is Python's: its conventions have it for arrays of objects."""

ATTACK_UNITS = (STANDARDIZED, DATA)
"""In what radii and shapes of attacks are given."""

LARGEST_SEED = 2**31 - 1

_validated: Any = validate_data
"""scikit-learn's conventions: names of columns, their number, the words of its errors.

It reads text as numbers and drops masks, so that what is computed with is what `core.validation` makes of the data. It
ships no types, and what type checkers guess from its defaults is wrong.
"""


class NetworkEstimator(BaseEstimator):
    """Base of the estimators: a subclass has a constructor, says which problem it solves, and what labels are."""

    radius: ArrayLike | None
    norm: Norm
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
    random_state: Any
    polish: bool | str | None = None
    bounds: Range = None

    result_: Result[Any]
    network_: Any

    @property
    def certificate_(self) -> Certificate:
        """How far the network can be from the best of its kind on the rows of `fit`: bounds of the optimum."""
        check_is_fitted(self)
        return self.result_.certificate

    @property
    def n_iter_(self) -> int:
        """Iterations of the solver, in all."""
        check_is_fitted(self)
        return int(self.result_.iterations)

    @property
    def threat_(self) -> Threat:
        """The attacks that `fit` was about, but for their radius, on inputs as the network sees them."""
        check_is_fitted(self)
        return self._threat

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    # -- what subclasses say ------------------------------------------------------------------------------------

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> Any:
        raise NotImplementedError

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        """Labels or targets as they come, of any shape, none refused by their kind."""
        raise NotImplementedError

    def _meant(self, rows: TrainingRows) -> TrainingRows:
        """The rows that count, with labels as problems have them, from rows with labels as they come."""
        raise NotImplementedError

    def _own_targets(self, targets: Array, weights: Array | None) -> Array:
        """The targets as the problem has them."""
        return targets

    def _finished(self, network: Any, stated: Stated) -> Any:
        """A network of a problem with what is known about the data."""
        return network.replace(standardizer=stated.standardizer)

    def _asked_radius(self) -> tuple[ArrayLike | None, str]:
        """The radius that the constructor was given, and what it is called there."""
        return self.radius, "radius"

    # -- training -----------------------------------------------------------------------------------------------

    def _given(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, sample_radius: ArrayLike | None
    ) -> TrainingRows:
        """Rows with labels as they come and their own weights, those that do not count among them."""
        inputs, labels = self._checked(X, y)
        weights = together(sample_weight, None, labels, inputs.shape[0])
        radius, name = self._asked_radius()
        return TrainingRows(inputs, labels, weights, radii_of_rows(radius, sample_radius, inputs.shape[0], name))

    def _solved(self, stated: Stated, frames: int = 3) -> Self:
        """Train, keep the network and what was found about the data, and warn where that was not certified.

        Args:
            stated: What to train on.
            frames: From this one to the caller of `fit`, whose line the warning names.
        """
        settings = Settings(tolerance=self.tolerance, time_limit=self.time_limit, seed=self._seed())
        self.result_ = solve(
            stated.problem, backend=self.backend, method=self.method, settings=settings, polish=self.polish
        )
        self.network_ = self._finished(self.result_.network, stated)
        self._judged_by(stated, self.norm, stated.rows.radius)
        if self.result_.quality is not Quality.CERTIFIED:
            warnings.warn(
                f"the training was not certified to {self.tolerance:g} ({self.result_}). Its network is kept as it is; "
                "give a longer time_limit (None for none), a larger tolerance, or another backend.",
                ConvergenceWarning,
                stacklevel=frames,
            )
        return self

    def _judged_by(self, stated: Stated, norm: Norm, radius: float | Array) -> None:
        """Keep what attacks the answers are about."""
        norm = check_norm(norm)
        self._threat = replace(stated.threat(norm), bounds=self.bounds)
        self._radii = float(np.min(radius)), float(np.max(radius))
        self.attack_reach_ = stated.reach(norm, self._radii[1])

    def _stated(self, given: TrainingRows) -> Stated:
        """The problem of rows all of which count, with inputs in the data's units."""
        flag(self.standardize, "standardize")
        rows = given.merged()
        features = Features(rows.inputs.shape[1], tuple(map(str, getattr(self, "feature_names_in_", ()))))
        called = features.names or range(features.count)
        self.constant_features_ = tuple(called[column] for column in constant_columns(rows.inputs).tolist())
        standardizer = Standardizer.fit(rows.inputs, features.names, rows.weights) if self.standardize else None
        inputs = rows.inputs if standardizer is None else standardizer.transform(rows.inputs)
        own = replace(rows, inputs=inputs, targets=self._own_targets(rows.targets, rows.weights))
        return Stated(self._problem, own, self._shape(features, standardizer), standardizer)

    def _shape(self, features: Features, standardizer: Standardizer | None) -> ShapeArrays:
        """The shape of attacks on inputs that are standardised, as problems take it."""
        word(self.attack_units, "attack_units", ATTACK_UNITS)
        asked = AskedShape(self.scale, self.covariance, self.directions, self.immutable)
        own = None if standardizer is None or self.attack_units == STANDARDIZED else standardizer.scale
        return replace(asked.arrays(features, own), bounds=self._range(features.count, standardizer))

    def _range(self, d: int, standardizer: Standardizer | None) -> tuple[Array, Array] | None:
        """The range of d inputs that are standardised, from that of the data."""
        if self.bounds is None:
            return None
        if not GEOMETRIES[check_norm(self.norm)].separable:
            raise InputError(
                f"bounds are given, which proofs make use of in boxes alone, but norm is {shown(self.norm)}; expected "
                'norm="inf", or bounds=None.'
            )
        low, high = (np.asarray(end) for end in checked_range(self.bounds, d))
        if standardizer is None:
            return low, high
        # As rows are, so that those at the ends of the range stay there.
        return (low - standardizer.mean) / standardizer.scale, (high - standardizer.mean) / standardizer.scale

    def _seed(self) -> int:
        """Of everything random; a whole number is itself."""
        given = self.random_state
        if not is_random_state(given):
            raise InputError(
                f"random_state is {shown(given)}; expected a whole number of 0 or more, below 2^32, None or a "
                "numpy.random.RandomState."
            )
        return int(given) if isinstance(given, Integral) else int(check_random_state(given).randint(LARGEST_SEED))

    # -- answers ------------------------------------------------------------------------------------------------

    def _radius_of_rows(self, radius: ArrayLike | None, n: int) -> Array:
        """The radii of attacks on n rows, shape (n,): those that are given, or that of `fit`."""
        if radius is not None:
            return np.asarray(checked_radius(radius, n))
        least, most = self._radii
        if least < most:
            raise InputError(
                f"{type(self).__name__} was fitted with a radius for each row, from {least:g} to {most:g}, which are "
                "those of other rows; expected radius, one number or one per row of X."
            )
        return np.full(n, most)

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
        """What scikit-learn says of data that we refuse, which its conventions ask for.

        None if it would take it, or says it in NumPy's or Python's words: its conventions are about arrays.
        """
        array = isinstance(X, np.ndarray) and X.ndim > 0
        if not array and not isinstance(X, list | tuple) and not getattr(X, "shape", None):
            return None  # nothing that could be a table
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _validated(self, X, *y, dtype=np.float64, accept_sparse=True, reset=bool(y))
        except (TypeError, ValueError) as error:
            foreign = NUMPYS if array else (*NUMPYS, PYTHONS)
            return None if str(error).startswith(foreign) else error
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

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> Any:
        return AdversarialSDP(
            rows.inputs, rows.targets, radius=rows.radius, beta=self.beta, loss=self.loss, activation=self.activation,
            norm=self.norm, scale=shape.scale, covariance=shape.covariance, directions=shape.directions,
            bounds=shape.bounds, sample_weight=rows.weights,
        )  # fmt: skip


class ReLUEstimator(NetworkEstimator):
    """Base of those that train ReLU networks."""

    beta: float
    loss: str
    formulation: Formulation | None
    n_gates: int | None
    bias: bool
    seed: int | None = None
    regate: int = 0
    resample: bool = False

    def _seed(self) -> int:
        if self.seed is None:
            return super()._seed()
        warnings.warn("seed is now called random_state, as in scikit-learn; pass that.", FutureWarning, stacklevel=4)
        return int(self.seed)

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> AdversarialReLU:
        return AdversarialReLU(
            rows.inputs, rows.targets, rows.radius, norm=self.norm, scale=shape.scale, covariance=shape.covariance,
            directions=shape.directions, bounds=shape.bounds, beta=self.beta, loss=self.loss,
            formulation=self.formulation,
            n_gates=self.n_gates, bias=self.bias, regate=self.regate, resample=self.resample, seed=self._seed(),
            sample_weight=rows.weights,
        )  # fmt: skip
