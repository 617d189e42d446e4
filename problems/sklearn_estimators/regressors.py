"""The problems as regressors: losses of targets, attacked or not."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cvxrobust.core.attacks.norms import GEOMETRIES, Norm, check_norm
from cvxrobust.core.errors import InputError
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.robustness.target_errors import OutputRange
from cvxrobust.problems.data.features import ShapeArrays
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION
from cvxrobust.problems.sklearn_estimators.base import (
    STANDARDIZED,
    Array,
    PolynomialEstimator,
    Range,
    ReLUEstimator,
    Shape,
)
from cvxrobust.problems.sklearn_estimators.regressing import NetworkRegressor
from cvxrobust.problems.sklearn_estimators.rows import TrainingRows


class PolynomialRegressor(NetworkRegressor, PolynomialEstimator):
    """A polynomial network that fits real targets, trained to certified global optimality, as scikit-learn has it.

    See `AdversarialSDP` for the mathematics.

    Args:
        radius: Attack radius to train against, in the units of `attack_units`, or of the shape that scale,
            covariance or directions give to attacks; 0, or None, is standard training. One for all rows, or one for
            each row of `fit`; where `fit` has `sample_radius`, what that is multiplied by, None for 1.
        beta: Weight of the penalty.
        loss: ``"squared"``, ``"absolute"`` or ``"huber"`` (``"huber:M"`` for another threshold than 1.35); under
            attack of the worst error. In standard deviations of the targets (in their own units without `standardize`).
        activation: (a, b, c) of ``a t^2 + b t + c``.
        standardize: Standardise features and targets with the training rows' statistics. Networks of this kind have no
            offset, so that a mean far from 0 costs them much.
        backend: See `solve`.
        method: See `solve`.
        tolerance: Relative certified gap to reach.
        time_limit: Seconds for the whole fit, or None.
        polish: See `solve`.
        norm: Norm of the attacks: 2, in which they are exact. (Against boxes, norm "inf", polynomial networks are
            trained for classes only; `predict_interval` of `PolynomialRegressorCV` judges in other norms.)
        scale: By how much an attack of radius 1 may move each feature if it moves no other, shape (d,), or by name or
            number of the feature, 1 for others; 0 for features that attacks cannot touch.
        covariance: Shape (d, d), psd: attacks D have ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q): attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of the three.
        immutable: Features that attacks cannot touch, whatever the scale of the others: names or numbers, or a mask.
        attack_units: What radii and shapes are in: ``"standardized"``, standard deviations of the features (the data's
            units without `standardize`), or ``"data"``, the data's units.
        random_state: Of solvers that draw anything.

    Attributes:
        network_: The trained `PolynomialNetwork`; it takes rows as `predict` does, and can be saved. Its outputs are
            standardised targets; `target_mean` and `target_scale` are in its metadata.
        result_: The `Result` with certificate, trace and times; `certificate_` is its certificate, `n_iter_` its
            iterations.
        threat_: The `Threat` that answers are about, in the network's units.
        target_mean_: Mean of the training targets; 0 without `standardize`.
        target_scale_: Their standard deviation; 1 without `standardize`.
        n_features_in_: Number of features; `feature_names_in_` their names, if they have any.
        attack_reach_: By how much an attack may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: ArrayLike | None = None,
        beta: float = 1e-2,
        loss: str = "squared",
        activation: tuple[float, float, float] = DEFAULT_ACTIVATION,
        standardize: bool = True,
        backend: str = "auto",
        method: str = "auto",
        tolerance: float = 1e-4,
        time_limit: float | None = None,
        polish: bool | str | None = None,
        norm: Norm = 2,
        scale: Shape = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        immutable: object = None,
        attack_units: str = STANDARDIZED,
        random_state: Any = 0,
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
        self.norm: Norm = norm
        self.scale = scale
        self.covariance = covariance
        self.directions = directions
        self.immutable = immutable
        self.attack_units = attack_units
        self.random_state = random_state

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> Any:
        if not GEOMETRIES[check_norm(self.norm)].isotropic:
            raise InputError(
                f"norm is {self.norm!r}, but polynomial networks are trained on real targets against l2 attacks and "
                f"ellipsoids only; expected norm=2. ReLURegressor trains in every norm, and PolynomialRegressorCV(norm="
                f"{self.norm!r}) chooses the l2 radius to train at by proved errors in that norm."
            )
        return super()._problem(rows, shape)

    def robust_errors(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """The largest ``|f(x + D) - y|`` under every attack of a radius, exactly, shape (n,), in units of the targets.

        Args:
            X: Inputs, shape (n, d).
            y: Targets, shape (n,).
            radius: One, or one per row; shape and units are those of `radius` in training.
        """
        return self._largest_errors(X, y, radius)


class ReLURegressor(NetworkRegressor, ReLUEstimator):
    """A ReLU network that fits real targets, trained to certified optimality within its gates, as scikit-learn has it.

    See `AdversarialReLU` for the mathematics.

    Args:
        radius: Attack radius to train against, in the units of `attack_units`, or of the shape that scale,
            covariance or directions give to attacks; 0, or None, is standard training. One for all rows, or one for
            each row of `fit`; where `fit` has `sample_radius`, what that is multiplied by, None for 1.
        norm: Norm of the attack: "inf", 2 or 1.
        beta: Weight of the penalty.
        loss: ``"squared"``, ``"absolute"`` or ``"huber"`` (``"huber:M"`` for another threshold than 1.35); under
            attack of the worst error. In standard deviations of the targets (in their own units without `standardize`).
        formulation: ``"cone"`` or ``"gated"``.
        n_gates: Gates to sample; None for one for every five samples per input, from 10 to 50.
        bias: Give every neuron a bias, which attacks do not touch.
        resample: Draw only gates whose cones can carry a neuron under the attack.
        random_state: Of the gates.
        standardize: Standardise features and targets with the training rows' statistics. Networks of this kind have no
            offset, so that a mean far from 0 costs them much.
        backend: See `solve`.
        method: See `solve`.
        tolerance: Relative certified gap to reach.
        time_limit: Seconds for the whole fit, or None.
        scale: By how much an attack of radius 1 may move each feature if it moves no other, shape (d,), or by name or
            number of the feature, 1 for others; 0 for features that attacks cannot touch.
        covariance: Shape (d, d), psd, with norm 2: attacks D have ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q), with norm 2: attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of
            the three.
        immutable: Features that attacks cannot touch, whatever the scale of the others: names or numbers, or a mask.
        attack_units: What radii and shapes are in: ``"standardized"``, standard deviations of the features (the data's
            units without `standardize`), or ``"data"``, the data's units.
        bounds: With norm "inf" the range that inputs stay in under attack, whatever `attack_units`: the least and the
            largest values, each a number or one for each feature, in the data's units; None for none.
        seed: What `random_state` was called before.

    Attributes:
        network_: The trained `ReLUNetwork`; it takes rows as `predict` does, and can be saved. Its outputs are
            standardised targets; `target_mean` and `target_scale` are in its metadata.
        result_: The `Result` with certificate, history, trace and times; `certificate_` is its certificate, `n_iter_`
            its iterations.
        threat_: The `Threat` that answers are about, in the network's units.
        target_mean_: Mean of the training targets; 0 without `standardize`.
        target_scale_: Their standard deviation; 1 without `standardize`.
        n_features_in_: Number of features; `feature_names_in_` their names, if they have any.
        attack_reach_: By how much an attack may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: ArrayLike | None = None,
        norm: Norm = "inf",
        beta: float = 1e-2,
        loss: str = "squared",
        formulation: Formulation = "cone",
        n_gates: int | None = None,
        bias: bool = True,
        resample: bool = False,
        random_state: Any = 0,
        standardize: bool = True,
        backend: str = "auto",
        method: str = "auto",
        tolerance: float = 1e-4,
        time_limit: float | None = None,
        scale: Shape = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        immutable: object = None,
        attack_units: str = STANDARDIZED,
        bounds: Range = None,
        seed: int | None = None,
    ) -> None:
        self.radius = radius
        self.norm: Norm = norm
        self.beta = beta
        self.loss = loss
        self.formulation: Formulation | None = formulation
        self.n_gates = n_gates
        self.bias = bias
        self.resample = resample
        self.random_state = random_state
        self.standardize = standardize
        self.backend = backend
        self.method = method
        self.tolerance = tolerance
        self.time_limit = time_limit
        self.scale = scale
        self.covariance = covariance
        self.directions = directions
        self.immutable = immutable
        self.attack_units = attack_units
        self.bounds = bounds
        self.seed = seed

    def certified_errors(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """What ``|f(x + D) - y|`` cannot exceed under attacks of a radius, by linear relaxation, shape (n,).

        Args:
            X: Inputs, shape (n, d).
            y: Targets, shape (n,), in whose units errors are.
            radius: One, or one per row; units are those of `radius` in training.
        """
        return self._largest_errors(X, y, radius)

    def attacked_errors(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """What ``|f(x + D) - y|`` comes to under the attacks found of a radius, shape (n,): at most the true largest.

        Args:
            X: Inputs, shape (n, d).
            y: Targets, shape (n,), in whose units errors are.
            radius: One, or one per row; units are those of `radius` in training.
        """
        inputs, targets = self._targeted(X, y)
        found = OutputRange.found(self.network_, inputs, radius, self.threat_)
        return np.asarray(self.target_scale_ * found.largest_errors(targets))
