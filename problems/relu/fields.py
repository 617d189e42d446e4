"""The data and the parameters of the ReLU problems, checked and in their final form."""

from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.ranges import cut_off
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import LOSSES, loss_by_name
from cvxrobust.core.losses.weighted import weighted_loss
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.programs.gated.formulations import FORMULATIONS, GateRules
from cvxrobust.core.programs.gated.program import Formulation
from cvxrobust.core.summary import Summary, counted
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.data.description import label_words, problem_summary
from cvxrobust.problems.data.ranges import OUTSIDE
from cvxrobust.problems.data.row_span import RowSpan
from cvxrobust.problems.one_versus_all import OneVersusAll
from cvxrobust.problems.relu.gates.patterns import GateSet
from cvxrobust.problems.relu.gates.slots import Bound, Slots

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ReLUArguments:
    """What `ConvexReLU` and `AdversarialReLU` are asked for, as it is given."""

    X: ArrayLike
    y: ArrayLike
    radius: ArrayLike
    patterns: ArrayLike | None
    _: KW_ONLY
    threat: Threat
    beta: float
    loss: str
    formulation: Formulation | None
    bound: str | None = None
    gates: ArrayLike | None
    n_gates: int | None
    seed: int
    bias: bool
    regate: int
    multiclass: str | None
    resample: bool = False
    slots: Slots | None
    grow: int
    grow_gain: float
    sample_weight: ArrayLike | None = None
    class_weight: ClassWeight = None
    outside: str = OUTSIDE[0]


@dataclass(frozen=True)
class SharedGates:
    """What a problem found for all others on the same data: its classes, and itself with other gates."""

    gate_set: GateSet
    span: RowSpan | None


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ReLUFields(OneVersusAll[ReLUNetwork]):
    """The fields of `ConvexReLU` and `AdversarialReLU`; see those for what they mean."""

    X: Array
    patterns: ArrayLike | None
    _: KW_ONLY
    norm: Norm
    scale: Array | None
    covariance: Array | None
    directions: Array | None
    beta: float
    loss: str
    formulation: Formulation
    bound: Bound | None
    gates: ArrayLike | None
    n_gates: int
    seed: int
    bias: bool
    regate: int
    multiclass: str | None
    resample: bool
    slots: Slots | None
    grow: int
    grow_gain: float
    low: Array | None = field(init=False, repr=False, default=None)
    high: Array | None = field(init=False, repr=False, default=None)
    ellipsoid: Ellipsoid | None = field(init=False, repr=False, default=None)
    found: SharedGates | None = field(init=False, repr=False, default=None)

    losses: ClassVar[tuple[str, ...]] = tuple(LOSSES)
    family: ClassVar[str]

    def _summary(self) -> Summary:
        fitted = "one-versus-all" if self.multiclass is None else self.multiclass
        labels = label_words(self.y, self.classes, self.loss_function.margin, fitted)
        gates = "gates given" if self.gates is not None or self.patterns is not None else counted(self.n_gates, "gate")
        network = f"{self.formulation} form, {gates}{', bias' if self.bias else ''}"
        return problem_summary(self, labels, network, ranged=self.low is not None)

    @property
    def loss_function(self) -> Loss:
        """The loss itself, of samples with their weights."""
        return weighted_loss(loss_by_name(self.loss), self.sample_weight)

    @property
    def rules(self) -> GateRules:
        """The formulation itself."""
        return FORMULATIONS[self.formulation]

    @cached_property
    def _attacked(self) -> tuple[Array, AttackBall]:
        attack = AttackBall.of_shape(self.norm, self.radius, self.X.shape[1], self.ellipsoid)
        if self.low is None or self.high is None or not attack.present:
            return self.X, attack
        return cut_off(self.X, attack, self.low, self.high)

    @property
    def attack(self) -> AttackBall:
        """The attacks on the middles, once all about them is checked; where none moves anything, balls of radius 0."""
        return self._attacked[1]

    @property
    def middles(self) -> Array:
        """The inputs around which attacks reach, shape (n, d): X, but where a range of inputs cuts off its boxes."""
        return self._attacked[0]

    @cached_property
    def inputs(self) -> Array:
        """The middles with the constant of the bias as their last column, if there is one; shape (n, D)."""
        found = np.asarray(self.middles)
        return np.hstack([found, np.ones((found.shape[0], 1))]) if self.bias else found
