"""The problems as classifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.robustness.attacks import Attack
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.report import RobustnessReport
from cvxrobust.core.robustness.sanity import SanityReport, check_sanity
from cvxrobust.core.validation import label_array
from cvxrobust.core.weights import ClassWeight, together
from cvxrobust.problems.data.features import ShapeArrays
from cvxrobust.problems.polynomial.base import DEFAULT_ACTIVATION
from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU
from cvxrobust.problems.sklearn_estimators.base import (
    DATA,
    STANDARDIZED,
    Array,
    NetworkEstimator,
    PolynomialEstimator,
    Shape,
    TrainingRows,
)

SHOWN = 21
"""Radii of a report where nobody gives others."""


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """What classifiers share."""

    class_weight: ClassWeight
    norm: Norm
    radius: ArrayLike

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Train on rows X, shape (n, d), with labels y of any kind, shape (n,).

        Args:
            X: Inputs; a sparse matrix is read as the table that it stands for, where that fits into memory.
            y: Labels.
            sample_weight: What each row counts, 0 or more, shape (n,): 2 is a row twice, 0 leaves it out, also of the
                statistics. Rows that come again with the same label are taken together.

        Raises:
            ValueError: The data or the attacks are unusable, or there are fewer than two classes.
        """
        inputs, labels = self._checked(X, y)
        check_classification_targets(labels)
        weights = together(sample_weight, self.class_weight, labels, inputs.shape[0])
        rows = self._numbered(self._counted(inputs, labels, weights))
        return self._train(rows, classes=tuple(self.classes_.tolist()))

    def _numbered(self, rows: TrainingRows) -> TrainingRows:
        """Rows with labels as problems have them: -1 and +1, or numbers of classes."""
        self.classes_, index = np.unique(rows.targets, return_inverse=True)
        if self.classes_.size < 2:
            raise ValueError(f"y holds one class, {self.classes_.tolist()}; a classifier needs at least two classes.")
        numbers = index.astype(np.float64)
        targets = np.where(index == 1, 1.0, -1.0) if self.classes_.size == 2 else numbers
        return replace(rows, targets=targets)

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

    def evaluate_robustness(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radii: ArrayLike | None = None,
        threat: Threat | None = None,
        *,
        steps: int = 40,
        restarts: int = 2,
        seed: int = 0,
        exact_seconds: float = 0.0,
        attacks: Mapping[str, Attack] | None = None,
    ) -> RobustnessReport:
        """For every radius a bracket of the accuracy under attack; see `cvxrobust.evaluate_robustness`.

        Args:
            X: Inputs, shape (n, d), as `predict` takes them.
            y: Labels, shape (n,).
            radii: In the units of `attack_units`, shape (k,); None for some from 0 to twice the radius that `fit` was
                about.
            threat: Other attacks; None for those of `fit`: their norm, shape, units and immutable features. What is
                given here is in standard deviations of the features with `standardize`, but for `bounds`.
            steps: As there.
            restarts: As there.
            seed: As there.
            exact_seconds: As there.
            attacks: As there.

        Raises:
            InputError: As there.
        """
        inputs, own = self._inputs(X), self.threat_ if threat is None else threat
        report = evaluate_robustness(
            self.network_, inputs, y, own, self._shown(radii), steps=steps, restarts=restarts, seed=seed,
            exact_seconds=exact_seconds, attacks=attacks,
        )  # fmt: skip
        in_data = threat is None and self.attack_units == DATA and self.standardize
        return replace(report, units="the data's units") if in_data else report

    def _shown(self, radii: ArrayLike | None) -> ArrayLike:
        """Radii of a report where nobody gives others."""
        if radii is not None:
            return radii
        largest = float(np.max(self._own_radius()))
        if not largest > 0.0:
            raise InputError(
                f"{type(self).__name__} was trained at radius 0; expected radii, shape (k,), to judge it at."
            )
        return np.linspace(0.0, 2.0 * largest, SHOWN)

    def _own_radius(self) -> ArrayLike:
        """What `fit` was about."""
        return self.radius

    def check_sanity(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radius: float,
        threat: Threat | None = None,
        *,
        steps: int = 40,
        restarts: int = 2,
        seed: int = 0,
    ) -> SanityReport:
        """Whether what attacks leave of the accuracy at a radius is to be believed; see `cvxrobust.check_sanity`.

        Args:
            X: Inputs, shape (n, d), as `predict` takes them.
            y: Labels, shape (n,).
            radius: In the units of `attack_units`, above 0.
            threat: As for `evaluate_robustness`.
            steps: As there.
            restarts: As there.
            seed: As there.

        Raises:
            InputError: As there.
        """
        inputs, own = self._inputs(X), self.threat_ if threat is None else threat
        return check_sanity(self.network_, inputs, y, own, radius, steps=steps, restarts=restarts, seed=seed)

    @property
    def threat_(self) -> Threat:
        """The attacks that `fit` was about, but for their radius, on inputs as the network sees them."""
        check_is_fitted(self)
        ellipsoid = self.network_.ellipsoid
        if ellipsoid is None:
            return Threat(self.norm)
        return Threat(self.norm, scale=ellipsoid.scale, directions=ellipsoid.directions)

    def _labels(self, y: ArrayLike) -> NDArray[Any]:
        return label_array(y)


class PolynomialClassifier(NetworkClassifier, PolynomialEstimator):
    """A two-layer polynomial network, trained to certified global optimality, with scikit-learn's conventions.

    Two classes give one output; more are trained one-versus-all. See `AdversarialSDP` for the mathematics.

    Args:
        radius: l2 attack radius to train against, in the units of `attack_units`, or of the shape that scale,
            covariance or directions give to attacks; 0 is standard training. One for all rows, or one for each row of
            `fit`.
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
        norm: Norm of the attacks: 2, in which they are exact.
        scale: By how much an attack of radius 1 may move each feature if it moves no other, shape (d,), or by name or
            number of the feature, 1 for others; 0 for features that attacks cannot touch.
        covariance: Shape (d, d), psd: attacks D have ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q): attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of the three.
        immutable: Features that attacks cannot touch, whatever the scale of the others: names or numbers, or a mask.
        attack_units: What radii and shapes are in: ``"standardized"``, standard deviations of the features (the data's
            units without `standardize`), or ``"data"``, the data's units.

    Attributes:
        classes_: The labels, sorted.
        network_: The trained `PolynomialNetwork`; it takes rows as `predict` does, and can be saved.
        result_: The `Result` with certificate, trace and times.
        n_features_in_: Number of features.
        attack_reach_: By how much an attack may move each feature, in the data's units, shape (d,).
        constant_features_: Features that carry nothing, by name or number: one value in all training rows.
    """

    def __init__(
        self,
        *,
        radius: ArrayLike = 0.0,
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
        self.class_weight = class_weight
        self.norm: Norm = norm
        self.scale = scale
        self.covariance = covariance
        self.directions = directions
        self.immutable = immutable
        self.attack_units = attack_units

    def robust_score(self, X: ArrayLike, y: ArrayLike, radii: float | Sequence[float]) -> Array:
        """Exact accuracy under every attack of each radius, shape (k,); shape and units are those of `radius`."""
        inputs = self._inputs(X)
        accuracies: Array = self.network_.robust_accuracy(inputs, y, radii)
        return accuracies


class ReLUClassifier(NetworkClassifier):
    """A two-layer ReLU network, trained to certified optimality within its gates, with scikit-learn's conventions.

    Two classes give one output; more are trained one-versus-all. See `AdversarialReLU` for the mathematics.

    Args:
        radius: Attack radius to train against, in the units of `attack_units`, or of the shape that scale, covariance
            or directions give to attacks; 0 is standard training. One for all rows, or one for each row of `fit`.
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
        scale: By how much an attack of radius 1 may move each feature if it moves no other, shape (d,), or by name or
            number of the feature, 1 for others; 0 for features that attacks cannot touch.
        covariance: Shape (d, d), psd, with norm 2: attacks D have ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q), with norm 2: attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of
            the three.
        immutable: Features that attacks cannot touch, whatever the scale of the others: names or numbers, or a mask.
        attack_units: What radii and shapes are in: ``"standardized"``, standard deviations of the features (the data's
            units without `standardize`), or ``"data"``, the data's units.

    Attributes:
        classes_: The labels, sorted.
        network_: The trained `ReLUNetwork`; it takes rows as `predict` does, and can be saved.
        result_: The `Result` with certificate, history, trace and times.
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
        self.regate = regate
        self.seed = seed
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

    def _problem(self, rows: TrainingRows, shape: ShapeArrays) -> AdversarialReLU:
        return AdversarialReLU(
            rows.inputs, rows.targets, rows.radius, norm=self.norm, scale=shape.scale, covariance=shape.covariance,
            directions=shape.directions, beta=self.beta, loss=self.loss, formulation=self.formulation,
            n_gates=self.n_gates, bias=self.bias, regate=self.regate, seed=self.seed, sample_weight=rows.weights,
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
