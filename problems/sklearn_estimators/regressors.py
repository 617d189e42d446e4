"""The problems as regressors: losses of targets, attacked or not."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.robustness.target_errors import OutputRange
from cvxrobust.core.validation import as_numbers
from cvxrobust.core.weights import together
from cvxrobust.problems.data.features import ShapeArrays
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION
from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU
from cvxrobust.problems.sklearn_estimators.base import (
    STANDARDIZED,
    Array,
    NetworkEstimator,
    PolynomialEstimator,
    Shape,
    TrainingRows,
)


class _NetworkRegressor(RegressorMixin, NetworkEstimator):
    """What regressors share.

    Targets are standardised as features are: a network without an offset of its own spends its penalty on the mean.
    Outputs of the network are then in standard deviations of the targets, from their mean.
    """

    loss: str

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on rows X, shape (n, d), with real targets y, shape (n,).

        Args:
            X: Inputs; a sparse matrix is read as the table that it stands for, where that fits into memory.
            y: Targets.
            sample_weight: What each row counts, 0 or more, shape (n,): 2 is a row twice, 0 leaves it out, also of the
                statistics. Rows that come again with the same target are taken together.

        Raises:
            ValueError: The data or the attacks are unusable, or the loss is none of targets.
        """
        if loss_by_name(self.loss).margin:
            raise InputError(f"loss is {self.loss!r}, which is of labels; expected 'squared', 'absolute' or 'huber'.")
        inputs, targets = self._checked(X, y)
        weights = together(sample_weight, None, targets, inputs.shape[0])
        self._train(self._counted(inputs, targets, weights))
        about = {"target_mean": self.target_mean_, "target_scale": self.target_scale_}
        self.network_ = self.network_.replace(metadata={**self.network_.metadata, **about})
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Predicted targets, shape (n,), in their own units."""
        inputs = self._inputs(X)
        outputs: Array = self.network_.predict(inputs)
        return np.asarray(self.target_mean_ + self.target_scale_ * outputs)

    def _own_targets(self, targets: Array, weights: Array | None) -> Array:
        self.target_mean_, self.target_scale_ = 0.0, 1.0
        if not self.standardize:
            return targets
        found = Standardizer.fit(targets[:, None], ("y",), weights)
        self.target_mean_, self.target_scale_ = float(found.mean[0]), float(found.scale[0])
        return found.transform(targets[:, None])[:, 0]

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        return as_numbers(y, "y", "expected one real target per row of X")

    def _targeted(self, X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        """Inputs, and targets as the network has them."""
        inputs = self._inputs(X)
        targets = self._labels(y)
        if targets.shape != inputs.shape[:1]:
            raise InputError(f"y has shape {targets.shape}; expected {inputs.shape[:1]}, one target per row of X.")
        return inputs, (targets - self.target_mean_) / self.target_scale_


class PolynomialRegressor(_NetworkRegressor, PolynomialEstimator):
    """A polynomial network that fits real targets, trained to certified global optimality, as scikit-learn has it.

    See `AdversarialSDP` for the mathematics.

    Args:
        radius: l2 attack radius to train against, in the units of `attack_units`, or of the shape that scale,
            covariance or directions give to attacks; 0 is standard training. One for all rows, or one for each row of
            `fit`.
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
        norm: Norm of the attacks: 2, in which they are exact.
        scale: By how much an attack of radius 1 may move each feature if it moves no other, shape (d,), or by name or
            number of the feature, 1 for others; 0 for features that attacks cannot touch.
        covariance: Shape (d, d), psd: attacks D have ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q): attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of the three.
        immutable: Features that attacks cannot touch, whatever the scale of the others: names or numbers, or a mask.
        attack_units: What radii and shapes are in: ``"standardized"``, standard deviations of the features (the data's
            units without `standardize`), or ``"data"``, the data's units.

    Attributes:
        network_: The trained `PolynomialNetwork`; it takes rows as `predict` does, and can be saved. Its outputs are
            standardised targets; `target_mean` and `target_scale` are in its metadata.
        result_: The `Result` with certificate, trace and times.
        target_mean_: Mean of the training targets; 0 without `standardize`.
        target_scale_: Their standard deviation; 1 without `standardize`.
        n_features_in_: Number of features.
        attack_reach_: By how much an attack may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: ArrayLike = 0.0,
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

    def robust_errors(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """The largest ``|f(x + D) - y|`` under every attack of a radius, exactly, shape (n,), in units of the targets.

        Args:
            X: Inputs, shape (n, d).
            y: Targets, shape (n,).
            radius: One, or one per row; shape and units are those of `radius` in training.
        """
        inputs, targets = self._targeted(X, y)
        return self.target_scale_ * OutputRange.under_attack(self.network_, inputs, radius).largest_errors(targets)


class ReLURegressor(_NetworkRegressor):
    """A ReLU network that fits real targets, trained to certified optimality within its gates, as scikit-learn has it.

    See `AdversarialReLU` for the mathematics.

    Args:
        radius: Attack radius to train against, in the units of `attack_units`, or of the shape that scale, covariance
            or directions give to attacks; 0 is standard training. One for all rows, or one for each row of `fit`.
        norm: Norm of the attack: "inf", 2 or 1.
        beta: Weight of the penalty.
        loss: ``"squared"``, ``"absolute"`` or ``"huber"`` (``"huber:M"`` for another threshold than 1.35); under
            attack of the worst error. In standard deviations of the targets (in their own units without `standardize`).
        formulation: ``"cone"`` or ``"gated"``.
        n_gates: Gates to sample; None for one for every five samples per input, from 10 to 50.
        bias: Give every neuron a bias, which attacks do not touch.
        resample: Draw only gates whose cones can carry a neuron under the attack.
        seed: Of the gates.
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

    Attributes:
        network_: The trained `ReLUNetwork`; it takes rows as `predict` does, and can be saved. Its outputs are
            standardised targets; `target_mean` and `target_scale` are in its metadata.
        result_: The `Result` with certificate, history, trace and times.
        target_mean_: Mean of the training targets; 0 without `standardize`.
        target_scale_: Their standard deviation; 1 without `standardize`.
        n_features_in_: Number of features.
        attack_reach_: By how much an attack may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: ArrayLike = 0.0,
        norm: Norm = "inf",
        beta: float = 1e-2,
        loss: str = "squared",
        formulation: Formulation = "cone",
        n_gates: int | None = None,
        bias: bool = True,
        resample: bool = False,
        seed: int = 0,
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
    ) -> None:
        self.radius = radius
        self.norm: Norm = norm
        self.beta = beta
        self.loss = loss
        self.formulation: Formulation | None = formulation
        self.n_gates = n_gates
        self.bias = bias
        self.resample = resample
        self.seed = seed
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

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> AdversarialReLU:
        return AdversarialReLU(
            rows.inputs, rows.targets, rows.radius, norm=self.norm, scale=shape.scale, covariance=shape.covariance,
            directions=shape.directions, beta=self.beta, loss=self.loss, formulation=self.formulation,
            n_gates=self.n_gates, bias=self.bias, resample=self.resample, seed=self.seed, sample_weight=rows.weights,
        )  # fmt: skip

    def certified_errors(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """What ``|f(x + D) - y|`` cannot exceed under attacks of a radius, by linear relaxation, shape (n,).

        Args:
            X: Inputs, shape (n, d).
            y: Targets, shape (n,), in whose units errors are.
            radius: One, or one per row; units are those of `radius` in training.
        """
        inputs, targets = self._targeted(X, y)
        reach = OutputRange.under_attack(self.network_, inputs, radius, self.norm)
        return self.target_scale_ * reach.largest_errors(targets)

    def attacked_errors(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """What ``|f(x + D) - y|`` comes to under the attacks found of a radius, shape (n,): at most the true largest.

        Args:
            X: Inputs, shape (n, d).
            y: Targets, shape (n,), in whose units errors are.
            radius: One, or one per row; units are those of `radius` in training.
        """
        inputs, targets = self._targeted(X, y)
        signed = self.network_.replace(regression=False)
        down, up = (
            signed.attack(inputs, np.full(targets.size, sign), radius, self.norm).margins for sign in (1.0, -1.0)
        )
        return np.asarray(self.target_scale_ * np.maximum(targets - down, -up - targets))
