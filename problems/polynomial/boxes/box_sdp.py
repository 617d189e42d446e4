"""Adversarial training of two-layer polynomial networks against attacks in boxes: the norm inf, within a range."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.boxes.margins import Boxes
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic.cones import PSD, NonNegative, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.estimate import ConicSize
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.losses.by_name import LOSSES, loss_by_name
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.boxes.certificate import (
    BoxMultipliers,
    bound_of_boxes,
    evaluated,
    network_multipliers,
    own_bracket,
)
from cvxrobust.core.programs.boxes.program import BoxProgram
from cvxrobust.core.programs.polynomial.certificate import DualBound
from cvxrobust.core.programs.polynomial.recovery import neurons_from_matrix
from cvxrobust.core.summary import Summary
from cvxrobust.core.validation import checked_inputs, checked_labels
from cvxrobust.core.weights import ClassWeight, weighing
from cvxrobust.problems.data.description import activation_words, label_words, problem_summary
from cvxrobust.problems.data.parameters import (
    attack_fields,
    checked_activation,
    checked_beta,
    checked_class_weight,
    checked_radius,
)
from cvxrobust.problems.data.ranges import checked_range, within_range
from cvxrobust.problems.polynomial.boxes.assembly import BoxForm
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION, Activation, PolynomialFamily
from cvxrobust.problems.polynomial.first_bounds import bound_at_once

if TYPE_CHECKING:
    import cvxpy

Array = NDArray[np.float64]

LOOK = 2e-8
"""Seconds that judging a margin in a box takes, per order cubed of its inequality."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class BoxSDP(PolynomialFamily):
    """Train a two-layer network with polynomial activation against every attack in a box.

    The worst case of a quadratic in a box is NP-hard. What is trained is the objective with Shor's bound of it,

        mean_i loss(w_i) + beta sum_j |alpha_j|,    w_i <= min_{|D_k| <= radius_i scale_k} y_i f(x_i + D),

    which is the value of the programme of `StandardSDP` in which margins are replaced by w_i with, for each i and each
    input k that can be moved, a ``lambda_ik >= 0`` such that, with W = diag(radius_i scale) and T = Z - Z',

        [[diag(lambda_i) + y_i W a T_11 W,  y_i W (a T_11 x_i + (b/2) T_12)],
         [               .               ,  y_i f(x_i) - sum_k lambda_ik - w_i]]   is psd.

    That optimum is certified to whatever tolerance is asked for. It is at least the optimum of the objective with true
    worst cases; `report` says between which numbers that objective of the network lies.

    With `bounds`, the range of inputs, a box is cut off where the range ends: other centres and widths, row by row.

    Args:
        X: Inputs, shape (n, d); anything NumPy reads as numbers.
        y: Labels -1 or +1, or two texts (the second in sorted order is positive), shape (n,); more than two classes of
            any kind are trained one-versus-all.
        radius: Attack radius, one for all samples or one per sample, in the units of X, or of `scale`.
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``.
        activation: (a, b, c) with a != 0.
        sample_weight: What each row counts, 0 or more, shape (n,).
        class_weight: By label, what the rows of a class count besides; ``"balanced"`` for classes that count alike.
        scale: By how much an attack of radius 1 may move each input, shape (d,); 0 for those it cannot touch.
        bounds: The least and the largest value of inputs, each a number or of shape (d,); None for no range.
        outside: What becomes of rows outside of it: ``"refuse"`` or ``"clip"``.

    Raises:
        InputError: Data or parameters are unusable; the message says which and what was expected.
    """

    X: Array
    low: Array | None = None
    high: Array | None = None

    losses: ClassVar[tuple[str, ...]] = tuple(name for name, loss in LOSSES.items() if loss.margin)
    family: ClassVar[str] = "box-sdp"

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radius: ArrayLike,
        beta: float = 1e-2,
        loss: str = "hinge",
        activation: Activation = DEFAULT_ACTIVATION,
        *,
        scale: ArrayLike | None = None,
        bounds: tuple[ArrayLike, ArrayLike] | None = None,
        outside: str = "refuse",
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight = None,
    ) -> None:
        margin = loss_by_name(loss, self.losses).margin
        n, d = (rows := checked_inputs(X)).shape
        low, high = checked_range(bounds, d)
        weighed = weighing(sample_weight, checked_class_weight(class_weight, margin, loss), y, n)
        labels, classes = checked_labels(weighed.labels(y), weighed.count(n), margin, loss)
        self._settle(
            X=weighed.of(within_range(rows, low, high, outside)), y=labels, classes=classes,
            radius=weighed.of(checked_radius(radius, n)), sample_weight=weighed.weights, beta=checked_beta(beta),
            loss=loss, activation=checked_activation(activation), low=low, high=high,
            **attack_fields(Threat("inf", scale), d),
        )  # fmt: skip

    def _summary(self) -> Summary:
        labels = label_words(self.y, self.classes, True, "one-versus-all")
        return problem_summary(self, labels, activation_words(self.activation), ranged=self.low is not None)

    def _found(self) -> None:
        """Nothing is found once for all parts."""

    def _found_for(self, other: Self) -> None:
        """Nor for other radii."""

    def _over(self, other: Self, rows: NDArray[np.intp], share: float) -> Self:
        return other._with(beta=self.beta / share)

    # -- programmes ---------------------------------------------------------------------------------------------

    @cached_property
    def attack(self) -> AttackBall:
        """The attacks on the inputs, without the range; where none moves anything, they have radius 0."""
        return AttackBall.of_shape("inf", self.radius, self.X.shape[1], self.ellipsoid)

    @cached_property
    def boxes(self) -> Boxes:
        """Where attacks leave each sample."""
        return Boxes.around(self.X, self.attack, self.low, self.high)

    def to_structured(self) -> BoxProgram:
        """The problem for backends that know the mathematics: one column of labels per class."""
        return self._program_of(np.stack(self.targets, axis=1))

    def _program_of(self, labels: Array) -> BoxProgram:
        return BoxProgram(self.boxes, labels, self.loss, self.activation, self.beta, self.sample_weight)

    @cached_property
    def _program(self) -> BoxProgram:
        return self._program_of(self._alone("programmes").y[:, None])

    @cached_property
    def _form(self) -> BoxForm:
        return BoxForm(self._program_of(self.targets[0][:, None]))

    @property
    def cones(self) -> frozenset[type]:
        """The cone types of its programmes, known before any assembly."""
        rows: set[type] = {Zero, PSD, NonNegative}
        return frozenset(rows | {type(cone) for cone in loss_by_name(self.loss).block(np.ones(1)).cones})

    @property
    def conic_rows(self) -> int:
        """Rows of `to_conic`, known before any assembly."""
        return len(self.targets) * self.conic_size.rows

    @property
    def conic_size(self) -> ConicSize:
        """Sizes of a part's `to_conic`, known before any assembly."""
        return self._form.size

    def _conic(self) -> ConicProgram:
        return self._form.assembled()

    def to_cvxpy(self) -> "cvxpy.Problem":
        """The readable reference: the formulas above in cvxpy, slow to compile."""
        from cvxrobust.problems.polynomial.boxes.reference import box_reference

        return box_reference(self.to_structured())

    # -- from a backend's answer to a network and its certificate -----------------------------------------------

    def _recovered(self, x: Array) -> PolynomialNetwork:
        frame = self._form.frame
        (up, positive), (down, negative) = map(neurons_from_matrix, frame.matrices(x[: frame.size]))
        return self._network_of(np.vstack([up, down]), np.concatenate([positive, -negative]))

    def multipliers(self, solution: Solution) -> BoxMultipliers:
        """Dual information of a solution of `to_conic`, for `lower_bound`."""
        if solution.y is None or not solution.has_dual:
            return self.network_multipliers(self.trivial_network())
        return self._form.multipliers(solution.y)

    def network_multipliers(self, network: PolynomialNetwork) -> BoxMultipliers:
        """Multipliers that need no solver, on the relaxed attacks on a network."""
        return network_multipliers(self._program, network)

    def multiplier_candidates(
        self, solution: Solution, network: PolynomialNetwork, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[BoxMultipliers]:
        """The solver's multipliers, the same on the relaxed attacks on the network, and the network's own."""
        if solution.multipliers is not None:
            yield solution.multipliers
        elif solution.has_dual:
            yield self.multipliers(solution)
        if not stopped():
            yield self.network_multipliers(network)

    # -- exact evaluation ---------------------------------------------------------------------------------------

    def objective(self, network: PolynomialNetwork) -> float:
        """The training objective: Shor's bound of every margin in its box, rounding on the safe side.

        For one-versus-all problems the sum over the classes.
        """
        return float(sum(evaluated(part._program, own).value for part, own in self._apart(network)))

    def report(self, network: PolynomialNetwork) -> dict[str, Any]:
        """Between which numbers the objective of the network's own worst cases lies, ready for JSON."""
        brackets = [own_bracket(part._program, own) for part, own in self._apart(network)]
        least, most = (float(sum(ends)) for ends in zip(*brackets, strict=True))
        return {"box": {"attacked_objective": least, "certified_objective": most}}

    def lower_bound(self, multipliers: BoxMultipliers) -> float:
        """A bound below the global optimum from any multipliers, repaired to dual feasibility first."""
        return float(self.dual(multipliers).value)

    def dual(self, multipliers: BoxMultipliers) -> DualBound:
        """The lower bound together with the neurons that would improve the network most."""
        return bound_of_boxes(self._program, multipliers)

    # -- what a time limit needs --------------------------------------------------------------------------------

    @property
    def look(self) -> float:
        """Seconds that it takes to judge one network, about."""
        order = float(self.to_structured().inputs.size + 1)
        return float(len(self.targets) * LOOK * self.X.shape[0] * order**3)

    def at_once(self) -> Certificate:
        """Bounds of the network without neurons, without any eigendecomposition."""
        zero, loss = np.zeros(self.X.shape[0]), self._loss
        upper = sum(float(np.mean(loss.value(zero, y))) for y in self.targets)
        lower = sum(float(bound_at_once(self.X, y, loss, self.activation, self.beta)) for y in self.targets)
        return Certificate(upper, lower)

    def combine(self, networks: list[PolynomialNetwork]) -> PolynomialNetwork:
        """One network with an output per part from the parts' networks, which knows what attacks it was trained for."""
        return super().combine(networks).replace(norm=self.norm, ellipsoid=self.ellipsoid)
