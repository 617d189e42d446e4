"""The problems as classifiers."""

from collections.abc import Sequence

from numpy.typing import ArrayLike

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP
from cvxrobust.problems.polynomial.base import DEFAULT_ACTIVATION
from cvxrobust.problems.relu.adversarial_relu import AdversarialReLU
from cvxrobust.problems.sklearn_estimators.base import Array, NetworkClassifier


class PolynomialClassifier(NetworkClassifier):
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


class ReLUClassifier(NetworkClassifier):
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
