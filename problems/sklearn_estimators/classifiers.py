"""The problems as classifiers."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cvxrobust.core.arguments import word
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.robustness.label_proofs import LabelProofs
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.data.features import ShapeArrays
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION
from cvxrobust.problems.polynomial.joint.joint_sdp import JointSDP
from cvxrobust.problems.sklearn_estimators.base import (
    STANDARDIZED,
    Array,
    PolynomialEstimator,
    Range,
    ReLUEstimator,
    Shape,
)
from cvxrobust.problems.sklearn_estimators.classifying import NetworkClassifier
from cvxrobust.problems.sklearn_estimators.rows import TrainingRows

ONE_VERSUS_ALL, JOINT = "one-versus-all", "joint"
MULTICLASS = (ONE_VERSUS_ALL, JOINT)
"""How polynomial networks are trained for more than two classes."""


class PolynomialClassifier(NetworkClassifier, PolynomialEstimator):
    """A two-layer polynomial network, trained to certified global optimality, with scikit-learn's conventions.

    Two classes give one output; more are trained one-versus-all, or all under one loss. See `AdversarialSDP` and
    `JointSDP` for the mathematics.

    Args:
        radius: Attack radius to train against, in the units of `attack_units`, or of the shape that scale,
            covariance or directions give to attacks; 0, or None, is standard training. One for all rows, or one for
            each row of `fit`; where `fit` has `sample_radius`, what that is multiplied by, None for 1.
        beta: Weight of the penalty. The default was the best single value on five tables
            (`bench/studies/reports/hyperparameters.md`).
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``.
        activation: (a, b, c) of ``a t^2 + b t + c``.
        standardize: Standardise the features with the training rows' statistics.
        backend: See `solve`.
        method: See `solve`.
        tolerance: Relative certified gap to reach.
        time_limit: Seconds for each training, of which `fit` has one, and `calibration` up to five more; or None.
        polish: See `solve`.
        class_weight: By label, what the rows of a class count, or ``"balanced"``, as in scikit-learn.
        norm: Norm of the attacks: 2, in which worst cases are exact, or "inf", in which they are bounded (`BoxSDP`).
        scale: By how much an attack of radius 1 may move each feature if it moves no other, shape (d,), or by name or
            number of the feature, 1 for others; 0 for features that attacks cannot touch.
        covariance: Shape (d, d), psd: attacks D have ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q): attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of the three.
        immutable: Features that attacks cannot touch, whatever the scale of the others: names or numbers, or a mask.
        attack_units: What radii and shapes are in: ``"standardized"``, standard deviations of the features (the data's
            units without `standardize`), or ``"data"``, the data's units.
        bounds: With norm "inf" the range that inputs stay in under attack, whatever `attack_units`: the least and the
            largest values, each a number or one for each feature, in the data's units; None for none.
        multiclass: For more than two classes ``"one-versus-all"``, a problem for each, or ``"joint"``, one problem
            whose loss sees the smallest margin of every row. Two classes are the same problem either way.
        calibration: How outputs become the probabilities of `predict_proba`: ``"sigmoid"`` or ``"isotonic"``, learned
            in `fit` from rows held out, which trains five more networks; None for none, but for those that
            ``loss="logistic"`` has of its own.
        random_state: Of the folds of the calibration, and of solvers that draw anything.

    Attributes:
        classes_: The labels, sorted.
        network_: The trained `PolynomialNetwork`; it takes rows as `predict` does, and can be saved.
        result_: The `Result` with certificate, trace and times; `certificate_` is its certificate, `n_iter_` its
            iterations.
        threat_: The `Threat` that answers are about, in the network's units.
        calibrator_: What `calibration` learned, if it is asked for.
        n_features_in_: Number of features; `feature_names_in_` their names, if they have any.
        attack_reach_: By how much an attack may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: ArrayLike | None = None,
        beta: float = 0.03,
        loss: str = "hinge",
        activation: tuple[float, float, float] = DEFAULT_ACTIVATION,
        standardize: bool = True,
        backend: str = "auto",
        method: str = "auto",
        tolerance: float = 1e-4,
        time_limit: float | None = None,
        polish: bool | str | None = None,
        class_weight: ClassWeight = None,
        norm: Norm = 2,
        scale: Shape = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        immutable: object = None,
        attack_units: str = STANDARDIZED,
        multiclass: str = ONE_VERSUS_ALL,
        calibration: str | None = None,
        random_state: Any = 0,
        bounds: Range = None,
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
        self.norm: Norm = norm
        self.scale = scale
        self.covariance = covariance
        self.directions = directions
        self.immutable = immutable
        self.attack_units = attack_units
        self.multiclass = multiclass
        self.calibration = calibration
        self.random_state = random_state
        self.bounds = bounds

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> Any:
        word(self.multiclass, "multiclass", MULTICLASS)
        if self.multiclass == ONE_VERSUS_ALL or self.classes_.size == 2:
            return super()._problem(rows, shape)
        return JointSDP(
            rows.inputs, rows.targets, radius=rows.radius, beta=self.beta, loss=self.loss, activation=self.activation,
            norm=self.norm, scale=shape.scale, covariance=shape.covariance, directions=shape.directions,
            sample_weight=rows.weights,
        )  # fmt: skip

    def _has_likelihood(self) -> bool:
        # The logarithm of a smallest margin's probability is that of no model of several classes.
        alone = self.multiclass != JOINT or getattr(self, "classes_", np.zeros(0)).size == 2
        return alone and super()._has_likelihood()

    def robust_score(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Array:
        """Accuracy that no attack of each radius can take, shape (k,): exact in norm 2, a bound in boxes.

        Shape and units are those of `radius`.
        """
        inputs = self._inputs(X)
        accuracies: Array = self.network_.robust_accuracy(inputs, y, radii)
        if self.bounds is None:
            return accuracies
        proofs, labels = LabelProofs.of(self.network_, inputs, self.threat_), self._labels(y)
        right = self.classes_[proofs.index] == labels
        return np.array([np.mean(right & proofs.held(np.full(right.size, r))) for r in np.atleast_1d(radii)])


class ReLUClassifier(NetworkClassifier, ReLUEstimator):
    """A two-layer ReLU network, trained to certified optimality within its gates, with scikit-learn's conventions.

    Two classes give one output; more are trained one-versus-all. See `AdversarialReLU` for the mathematics.

    Args:
        radius: Attack radius to train against, in the units of `attack_units`, or of the shape that scale,
            covariance or directions give to attacks; 0, or None, is standard training. One for all rows, or one for
            each row of `fit`; where `fit` has `sample_radius`, what that is multiplied by, None for 1.
        norm: Norm of the attack: "inf", 2 or 1.
        beta: Weight of the penalty. The default was the best single value on five tables
            (`bench/studies/reports/hyperparameters.md`).
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``.
        formulation: ``"one-sided"``, ``"cone"`` or ``"gated"``.
        n_gates: Gates to sample; None for one for every five samples per input, from 10 to 50.
        bias: Give every neuron a bias, which attacks do not touch.
        regate: Rounds of regating (one-sided formulation).
        random_state: Of the gates, and of the folds of the calibration.
        standardize: Standardise the features with the training rows' statistics.
        backend: See `solve`.
        method: See `solve`.
        tolerance: Relative certified gap to reach.
        time_limit: Seconds for each training, of which `fit` has one, and `calibration` up to five more; or None.
        class_weight: By label, what the rows of a class count, or ``"balanced"``, as in scikit-learn.
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
        calibration: As for `PolynomialClassifier`.
        seed: What `random_state` was called before.

    Attributes:
        classes_: The labels, sorted.
        network_: The trained `ReLUNetwork`; it takes rows as `predict` does, and can be saved.
        result_: The `Result` with certificate, history, trace and times; `certificate_` is its certificate, `n_iter_`
            its iterations.
        threat_: The `Threat` that answers are about, in the network's units.
        calibrator_: What `calibration` learned, if it is asked for.
        n_features_in_: Number of features; `feature_names_in_` their names, if they have any.
        attack_reach_: By how much an attack may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: ArrayLike | None = None,
        norm: Norm = "inf",
        beta: float = 0.03,
        loss: str = "hinge",
        formulation: Formulation = "one-sided",
        n_gates: int | None = None,
        bias: bool = True,
        regate: int = 0,
        random_state: Any = 0,
        standardize: bool = True,
        backend: str = "auto",
        method: str = "auto",
        tolerance: float = 1e-4,
        time_limit: float | None = None,
        class_weight: ClassWeight = None,
        scale: Shape = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        immutable: object = None,
        attack_units: str = STANDARDIZED,
        bounds: Range = None,
        calibration: str | None = None,
        seed: int | None = None,
    ) -> None:
        self.radius = radius
        self.norm: Norm = norm
        self.beta = beta
        self.loss = loss
        self.formulation: Formulation | None = formulation
        self.n_gates = n_gates
        self.bias = bias
        self.regate = regate
        self.random_state = random_state
        self.standardize = standardize
        self.backend = backend
        self.method = method
        self.tolerance = tolerance
        self.time_limit = time_limit
        self.class_weight = class_weight
        self.scale = scale
        self.covariance = covariance
        self.directions = directions
        self.immutable = immutable
        self.attack_units = attack_units
        self.bounds = bounds
        self.calibration = calibration
        self.seed = seed

    def certified_score(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Array:
        """Accuracy that no attack of each radius can take, by linear relaxation, shape (k,); units as for `radius`."""
        if self.bounds is not None:
            return self._in_range(X, y, radii).certified
        inputs = self._inputs(X)
        accuracies: Array = self.network_.certified_accuracy(inputs, y, radii, self.norm)
        return accuracies

    def attacked_score(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Array:
        """Accuracy under the attacks found at each radius, shape (k,): at least the true robust accuracy."""
        if self.bounds is not None:
            return self._in_range(X, y, radii).attacked
        inputs = self._inputs(X)
        accuracies: Array = self.network_.attacked_accuracy(inputs, y, radii, self.norm)
        return accuracies
