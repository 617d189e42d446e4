"""Joint training of several classes: one polynomial network whose loss sees the smallest margin of every sample."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic.cones import PSD, NonNegative, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.estimate import ConicSize
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.by_name import LOSSES, loss_by_name
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.joint.certificate import (
    JointBound,
    JointMultipliers,
    JointPoints,
    bound_of_joint,
    network_multipliers,
    network_points,
)
from cvxrobust.core.programs.joint.margins import losses_of, worst_margins
from cvxrobust.core.programs.joint.program import JointProgram
from cvxrobust.core.programs.polynomial.recovery import neurons_from_matrix
from cvxrobust.core.summary import Summarised, Summary
from cvxrobust.core.weights import ClassWeight
from cvxrobust.problems.data.description import activation_words, problem_summary
from cvxrobust.problems.data.parameters import (
    Label,
    checked_activation,
    checked_beta,
    checked_class_weight,
    checked_radius,
    isotropic_attack_fields,
)
from cvxrobust.problems.polynomial.family import DEFAULT_ACTIVATION, UNIT, Activation
from cvxrobust.problems.polynomial.first_bounds import seconds_of_a_look
from cvxrobust.problems.polynomial.joint.assembly import JointForm
from cvxrobust.problems.polynomial.joint.samples import GroupedPoints, checked_penalties

if TYPE_CHECKING:
    import cvxpy

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class JointSDP(Summarised):
    """Train a two-layer polynomial network of one output per class, all classes under one loss, to global optimality.

    The network has outputs ``f_k(x) = sum_j alpha_jk s(x'u_j)`` with ``s(t) = a t^2 + b t + c`` and ``||u_j||_2 = 1``,
    and the largest decides. The objective

        mean_g loss(min_{i in g, k != c_g, ||D||_2 <= radius_i} f_c(x_i + D) - f_k(x_i + D))
            + beta sum_k penalties_k sum_j |alpha_jk|,

    where sample g has class c_g and one or several points x_i, equals the value of a semidefinite programme with a pair
    of matrices for each class and ``T_k = Z_k - Z_k'``:

        min  mean_g loss(w_g) + beta sum_k penalties_k (Z_k,44 + Z_k',44)
        s.t. Z_k, Z_k' psd of order d + 1,  tr Z_k,11 = Z_k,44,  tr Z_k',11 = Z_k',44, and for each point i of sample g
             and each rival k of its class c, with D = T_c - T_k, there is lambda_ik >= 0 with
        [[lambda_ik I + a D_11,  a D_11 x_i + (b/2) D_12], [., <A(x_i), D> - lambda_ik radius_i^2 - w_g]]  psd

    (rows ``<A(x_i), D> >= w_g`` where the radius is 0). Worst case and maximum over rivals commute, because the loss
    sees their margins by the smallest alone, so that nothing is lost: with the hinge this is Crammer and Singer's loss.
    A loss of the vector of margins, such as the cross-entropy, does not commute with them, and is not offered: the same
    inequalities would only bound it.

    With two classes the optimum is that of `AdversarialSDP` with the same beta: any ``Z - Z'`` is a difference
    ``T_2 - T_1`` of the same cost.

    Args:
        X: Points, shape (n, d); anything NumPy reads as numbers.
        y: Labels of any kind, at least two different ones, shape (n,).
        radius: l2 attack radius, one for all points or one per point, in the units of X, or of the shape that scale,
            covariance or directions give to attacks; 0 is standard training.
        beta: Weight of the penalty, above 0.
        loss: ``"hinge"``, ``"squared_hinge"`` or ``"logistic"``, of the smallest margin.
        activation: (a, b, c) with a != 0.
        groups: Whole numbers, shape (n,): rows with the same one are points of one sample, and share one loss, the
            largest of theirs. None for a sample each.
        penalties: What the penalty of each class counts besides beta, above 0, shape (K,), in the order of `classes`;
            None for 1.
        norm: Norm of the attacks: 2.
        scale: By how much an attack of radius 1 may move each input alone, shape (d,); 0 for those it cannot touch.
        covariance: Shape (d, d), psd: attacks D are those with ``D' covariance^-1 D <= radius^2``.
        directions: Shape (d, q): attacks are ``directions @ e`` with ``||e||_2 <= radius``. At most one of the three.
        sample_weight: What each row counts, 0 or more, shape (n,), the same for all points of a sample.
        class_weight: By label, what the samples of a class count besides; ``"balanced"`` for classes that count alike.

    Attributes:
        classes: The labels, sorted.
        labels: The class of each point, a number from 0 to K - 1, shape (n,).
        samples: The sample of each point, from 0 to m - 1, shape (n,).
        groups: The number of each sample among those given, ascending, shape (m,); of its row without groups.
        sample_weight: Of each sample, above 0 and 1 on average, shape (m,); None for all alike.

    Raises:
        InputError: Data or parameters are unusable; the message says which and what was expected.
    """

    X: Array
    y: NDArray[Any]
    radius: Array
    beta: float
    loss: str
    activation: Activation
    groups: Index
    penalties: Array
    norm: Norm
    scale: Array | None
    covariance: Array | None
    directions: Array | None
    sample_weight: Array | None
    classes: tuple[Label, ...] = field(repr=False)
    labels: Index = field(repr=False)
    samples: Index = field(repr=False)
    ellipsoid: Ellipsoid | None = field(repr=False)

    losses: ClassVar[tuple[str, ...]] = tuple(name for name, loss in LOSSES.items() if loss.margin)
    family: ClassVar[str] = "joint-sdp"

    def _summary(self) -> Summary:
        return problem_summary(self, f"{len(self.classes)} classes under one loss", activation_words(self.activation))

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radius: ArrayLike = 0.0,
        beta: float = 1e-2,
        loss: str = "hinge",
        activation: Activation = DEFAULT_ACTIVATION,
        *,
        groups: ArrayLike | None = None,
        penalties: ArrayLike | None = None,
        norm: object = 2,
        scale: ArrayLike | None = None,
        covariance: ArrayLike | None = None,
        directions: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: ClassWeight = None,
    ) -> None:
        weight = checked_class_weight(class_weight, loss_by_name(loss, self.losses).margin, loss)
        points = GroupedPoints.of(X, y, radius, groups, sample_weight, weight)
        self._settle(
            X=points.X, y=points.y, radius=points.radius, beta=checked_beta(beta), loss=loss,
            activation=checked_activation(activation), groups=points.groups, labels=points.labels,
            classes=points.classes, samples=points.samples, sample_weight=points.weights,
            penalties=checked_penalties(penalties, len(points.classes)),
            **isotropic_attack_fields(Threat(norm, scale, covariance, directions), points.X.shape[1]),
        )  # fmt: skip

    def _settle(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def at(self, *, beta: float | None = None, radius: ArrayLike | None = None) -> Self:
        """The same problem with another beta or other radii.

        Args:
            beta: Weight of the penalty, above 0; None for the same.
            radius: One for all points, or one per point that counts, shape (n,); None for the same.

        Raises:
            InputError: They are none.
        """
        other = object.__new__(type(self))
        other._settle(**{one.name: getattr(self, one.name) for one in fields(self)})
        if beta is not None:
            other._settle(beta=checked_beta(beta))
        if radius is not None:
            other._settle(radius=checked_radius(radius, self.X.shape[0]))
        return other

    @property
    def nested(self) -> bool:
        """Whether the optimum never falls as radii grow."""
        return True

    # -- programmes ---------------------------------------------------------------------------------------------

    @cached_property
    def attack(self) -> AttackBall:
        """The attacks on the points; where none moves anything, they are balls of radius 0."""
        return AttackBall.of_shape(2, self.radius, self.X.shape[1], self.ellipsoid)

    @cached_property
    def program(self) -> JointProgram:
        """The problem as a structured programme."""
        return JointProgram(
            self.X, self.labels, self.samples, self.loss, self.activation, self.attack, self.beta, self.penalties,
            self.sample_weight,
        )  # fmt: skip

    @property
    def parts(self) -> tuple[Self, ...]:
        """This problem alone: classes are trained together."""
        return (self,)

    def to_structured(self) -> JointProgram:
        """The same for backends that know the mathematics."""
        return self.program

    @cached_property
    def form(self) -> JointForm:
        """What its conic programme consists of."""
        return JointForm(self.program)

    @property
    def cones(self) -> frozenset[type]:
        """The cone types of its programmes, known before any assembly."""
        rows: set[type] = {Zero, PSD, NonNegative}
        return frozenset(rows | {type(cone) for cone in loss_by_name(self.loss).block(np.ones(1)).cones})

    @property
    def conic_rows(self) -> int:
        """Rows of `to_conic`, known before any assembly."""
        return self.conic_size.rows

    @property
    def conic_size(self) -> ConicSize:
        """Sizes of `to_conic`, known before any assembly."""
        return self.form.size

    def to_conic(self) -> ConicProgram:
        """The convex programme in standard form."""
        return self.form.assembled()

    def to_cvxpy(self) -> "cvxpy.Problem":
        """The readable reference: the formulas above in cvxpy, slow to compile."""
        from cvxrobust.problems.polynomial.joint.reference import joint_reference

        return joint_reference(self.program)

    # -- networks -----------------------------------------------------------------------------------------------

    def recover(self, solution: Solution) -> PolynomialNetwork:
        """A network from a primal solution of `to_conic`, exactly feasible whatever the residuals.

        Raises:
            InputError: The solution holds no finite primal point.
        """
        if not solution.has_primal or solution.x is None:
            raise InputError("the solution holds no finite primal point to recover a network from.")
        frames = self.form.frames
        units, weights = [], []
        for k, pair in enumerate(frames.matrices(solution.x[: frames.size])):
            for sign, (u, alpha) in zip((1.0, -1.0), map(neurons_from_matrix, pair), strict=True):
                units.append(u)
                weights.append(sign * alpha[:, None] * np.eye(len(self.classes))[k])
        return self._network_of(np.vstack(units), np.vstack(weights))

    def trivial_network(self) -> PolynomialNetwork:
        """The network without neurons: always feasible, so there is always an upper bound."""
        return self._network_of(np.empty((0, self.X.shape[1])), np.empty((0, len(self.classes))))

    def _network_of(self, u: Array, alpha: Array) -> PolynomialNetwork:
        return PolynomialNetwork(u, alpha, self.activation, self.classes, ellipsoid=self.ellipsoid)

    def combine(self, networks: list[PolynomialNetwork]) -> PolynomialNetwork:
        """The network of the only part, which knows what labels are called and what attacks it was trained for."""
        own = networks[0].replace(classes=self.classes, regression=False)
        return own.replace(norm=2, ellipsoid=self.ellipsoid)

    def separate(self, network: TwoLayerNetwork) -> list[PolynomialNetwork]:
        """The same network, if it fits.

        Raises:
            InputError: It is of another kind, or its inputs, outputs, classes or activation are not this problem's.
        """
        return [self._own(network)]

    def _own(self, network: TwoLayerNetwork) -> PolynomialNetwork:
        if not isinstance(network, PolynomialNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a PolynomialNetwork.")
        network.check_inner()
        shape, expected = (network.n_features, *network.alpha.shape[1:]), (self.X.shape[1], len(self.classes))
        if shape != expected or network.classes not in (None, self.classes):
            raise InputError(
                f"the network has inputs and outputs {shape} and classes {network.classes}; expected {expected} and "
                f"{self.classes}."
            )
        off = np.abs(np.linalg.norm(network.u, axis=1) - 1.0).max(initial=0.0)
        if network.complement is not None or not off <= UNIT or tuple(network.activation) != self.activation:
            raise InputError(
                f"the network has neurons up to {off:.2g} off unit length and activation {network.activation}; the "
                f"penalty is that of unit neurons, and this problem has {self.activation}: divide them by their "
                "lengths and adapt alpha."
            )
        return network.replace(classes=self.classes, regression=False)

    # -- what answers are worth ---------------------------------------------------------------------------------

    def losses_of(self, network: TwoLayerNetwork) -> Array:
        """Loss of each sample, times its weight, attacks and rivals included exactly, shape (m,).

        Raises:
            InputError: As for `separate`.
        """
        return losses_of(self.program, self._own(network))

    def objective(self, network: TwoLayerNetwork) -> float:
        """The training objective from its definition, the adversary's worst case included, exactly.

        Raises:
            InputError: As for `separate`.
        """
        own = self._own(network)
        return float(np.mean(self.losses_of(own))) + self.beta * self.program.penalty(own.alpha)

    def multipliers(self, solution: Solution) -> JointMultipliers:
        """Dual information of a solution of `to_conic`, for `lower_bound`."""
        if solution.y is None or not solution.has_dual:
            return self.network_multipliers(self.trivial_network())
        return self.form.multipliers(solution.y)

    def network_multipliers(self, network: PolynomialNetwork) -> JointMultipliers:
        """Multipliers that need no solver, on the worst attacks on a network."""
        own = self._own(network)
        return network_multipliers(self.program, own, worst_margins(self.program, own))

    def multiplier_candidates(
        self, solution: Solution, network: PolynomialNetwork, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[JointMultipliers]:
        """The solver's multipliers, the same on the network's exact worst cases, and the network's own."""
        if solution.multipliers is not None:
            yield solution.multipliers
        elif solution.has_dual:
            found = self.multipliers(solution)
            yield found
            if isinstance(found, JointPoints) and self.attack.present and not stopped():
                theta = np.zeros((self.X.shape[0], len(self.classes)))
                np.add.at(theta, (found.owners, found.rivals), np.maximum(found.weights, 0.0))
                yield network_points(self.program, self._own(network), theta)
        yield self.network_multipliers(network)

    def lower_bound(self, multipliers: JointMultipliers) -> float:
        """A bound below the global optimum from any multipliers, repaired to dual feasibility first."""
        return self.dual(multipliers).value

    def dual(self, multipliers: JointMultipliers) -> JointBound:
        """The lower bound together with the neurons that would improve the network most."""
        return bound_of_joint(self.program, multipliers)

    # -- what a time limit needs --------------------------------------------------------------------------------

    @property
    def look(self) -> float:
        """Seconds that it takes to judge one network, about."""
        (n, d), rivals = self.X.shape, len(self.classes) - 1
        return rivals * seconds_of_a_look(n, d, attacked=self.attack.present, reducible=False)

    def at_once(self) -> Certificate:
        """Bounds of the network without neurons, without a pass over the data; no loss is negative."""
        zero = np.zeros(self.program.n_samples)
        return Certificate(float(np.mean(self.program.loss_function.value(zero, zero + 1.0))), 0.0)
