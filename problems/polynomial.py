"""What the two polynomial families share: data, recovery of networks, exact objectives and certificates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.certificate import (
    DualBound,
    MomentMultipliers,
    PointMultipliers,
    dual_bound,
    repair_moments,
    repair_points,
    shift_moments,
)
from cvxrobust.core.cones import PSD, NonNegative, Zero
from cvxrobust.core.conic import ConicProgram, join_programs, split_solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses import Loss, loss_by_name
from cvxrobust.core.moments import AttackMultipliers, SecondMoments, SpanMultipliers, span_moments
from cvxrobust.core.networks import PolynomialNetwork
from cvxrobust.core.problem import Attacks
from cvxrobust.core.recovery import neurons_from_matrix
from cvxrobust.core.result import Solution
from cvxrobust.core.structured import PolynomialProgram
from cvxrobust.core.two_layer import TwoLayerNetwork
from cvxrobust.problems.assembly import Task, attack_moments, lmi_program, points_program
from cvxrobust.problems.frames import Frame, FullFrame, SpanFrame
from cvxrobust.problems.validation import (
    checked_activation,
    checked_beta,
    checked_inputs,
    checked_labels,
    checked_radius,
)

if TYPE_CHECKING:
    import cvxpy

Array = NDArray[np.float64]
Atoms = tuple[Array, Array]
Multipliers = PointMultipliers | MomentMultipliers | AttackMultipliers
DEFAULT_ACTIVATION = (0.09, 0.5, 0.47)


@dataclass(frozen=True, eq=False)
class PolynomialProblem:
    """Base of `StandardSDP` and `AdversarialSDP`; see those for the mathematics."""

    X: Any
    y: Any
    radius: Any
    beta: float
    loss: str
    activation: tuple[float, float, float]

    losses: ClassVar[tuple[str, ...]]
    family: ClassVar[str]

    def __post_init__(self) -> None:
        loss = loss_by_name(self.loss, self.losses)
        X = checked_inputs(self.X)
        y, classes = checked_labels(self.y, X.shape[0], loss.margin, self.loss)
        values = {
            "X": X,
            "y": y,
            "radius": checked_radius(self.radius, X.shape[0]),
            "beta": checked_beta(self.beta),
            "activation": checked_activation(self.activation),
            "_classes": classes,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    # -- one-versus-all -----------------------------------------------------------------------------------------

    @property
    def classes(self) -> tuple[Any, ...] | None:
        """The classes of a one-versus-all problem, sorted; None for labels -1 and +1 and for regression."""
        found: tuple[Any, ...] | None = self.__dict__["_classes"]
        return found

    @cached_property
    def parts(self) -> tuple[Self, ...]:
        """The independent binary problems: one per class, or this problem alone."""
        if self.classes is None:
            return (self,)
        return tuple(replace(self, y=np.where(self.y == label, 1.0, -1.0)) for label in self.classes)

    def combine(self, networks: list[PolynomialNetwork]) -> PolynomialNetwork:
        """One network with an output per part from the parts' networks."""
        if self.classes is None:
            return networks[0]
        u = np.vstack([network.u for network in networks])
        alpha = np.zeros((u.shape[0], len(networks)))
        start = 0
        for k, network in enumerate(networks):
            alpha[start : start + network.n_neurons, k] = network.alpha
            start += network.n_neurons
        return PolynomialNetwork(u, alpha, self.activation, self.classes)

    def separate(self, network: TwoLayerNetwork) -> list[PolynomialNetwork]:
        """The parts' networks from a combined one: what `combine` joined.

        Raises:
            InputError: The network is of another kind, or its inputs, outputs or activation are not this problem's.
        """
        network = self._fitting(network)
        if self.classes is None:
            return [network]
        columns = []
        for column in network.alpha.T:
            used = column != 0.0
            columns.append(PolynomialNetwork(network.u[used], column[used], self.activation))
        return columns

    def _fitting(self, network: TwoLayerNetwork) -> PolynomialNetwork:
        if not isinstance(network, PolynomialNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a PolynomialNetwork.")
        shape = () if self.classes is None else (len(self.classes),)
        if network.n_features != self.X.shape[1] or network.alpha.shape[1:] != shape:
            raise InputError(
                f"the network has {network.n_features} inputs and outputs of shape {network.alpha.shape[1:]}; "
                f"this problem needs {self.X.shape[1]} and {shape}."
            )
        if tuple(network.activation) != tuple(self.activation):
            raise InputError(f"the network has activation {network.activation}; this problem has {self.activation}.")
        return network

    # -- the programme ------------------------------------------------------------------------------------------

    @cached_property
    def task(self) -> Task:
        """The problem as assembly sees it; binary and regression problems only."""
        if self.classes is not None:
            raise InputError("a one-versus-all problem is several tasks; use its `parts`.")
        return Task(self.X, self.y, self.radius, self._loss, self.activation, self.beta)

    @property
    def _loss(self) -> Loss:
        return loss_by_name(self.loss)

    @property
    def _frame(self) -> Frame:
        return FullFrame(self.X.shape[1])

    @property
    def cones(self) -> frozenset[type]:
        """The cone types of its programmes, known before any assembly."""
        rows: set[type] = {Zero, PSD} if self.loss == "squared" else {Zero, PSD, NonNegative}
        return frozenset(rows | {type(cone) for cone in self._loss.block(np.ones(1)).cones})

    @property
    def conic_rows(self) -> int:
        """Rows of `to_conic`, known before any assembly."""
        n, d = self.X.shape
        triangle = PSD(d + 1).dim
        attacked = int(np.count_nonzero(self.radius))
        loss_rows = self._loss.block(np.zeros(n)).rhs.size
        one = 2 + attacked * (triangle + 1) + (n - attacked) + loss_rows + 2 * triangle
        return len(self.parts) * int(one)

    def to_conic(self) -> ConicProgram:
        """The convex programme in standard form; one block per class for one-versus-all problems."""
        if self.classes is not None:
            return join_programs([part.to_conic() for part in self.parts])
        if (self.radius > 0.0).any():
            return lmi_program(self.task, FullFrame(self.X.shape[1]))
        n = self.X.shape[0]
        return points_program(self.task, self._frame, np.arange(n), self.X)

    def to_structured(self) -> PolynomialProgram:
        """The same for backends that know the mathematics: one column of labels per class."""
        labels = np.stack([part.y for part in self.parts], axis=1)
        return PolynomialProgram(self.X, labels, self.loss, self.activation, self.radius, self.beta)

    def to_cvxpy(self) -> "cvxpy.Problem":
        """The readable reference: the paper's formulas in cvxpy, slow to compile."""
        from cvxrobust.problems.reference import reference_problem

        return reference_problem(self)

    # -- from a backend's answer to a network and its certificate ------------------------------------------------

    def recover(self, solution: Solution) -> PolynomialNetwork:
        """A network from a primal solution of `to_conic`, exactly feasible whatever the residuals.

        Raises:
            InputError: The solution holds no finite primal point.
        """
        if not solution.has_primal or solution.x is None:
            raise InputError("the solution holds no finite primal point to recover a network from.")
        if self.classes is not None:
            pieces = split_solution(solution, [part.to_conic() for part in self.parts])
            return self.combine([part.recover(s) for part, s in zip(self.parts, pieces, strict=True)])
        frame = self._frame
        return self._network(*frame.matrices(solution.x[: frame.size]))

    def _network(self, Z: Array, Zp: Array) -> PolynomialNetwork:
        (up, positive), (down, negative) = neurons_from_matrix(Z), neurons_from_matrix(Zp)
        u, alpha = np.vstack([up, down]), np.concatenate([positive, -negative])
        return PolynomialNetwork(u, alpha, self.activation, regression=not self._loss.margin)

    def trivial_network(self) -> PolynomialNetwork:
        """The network without neurons: always feasible, so there is always an upper bound."""
        empty = np.empty((0, self.X.shape[1]))
        networks = [
            PolynomialNetwork(empty, np.empty(0), self.activation, regression=not self._loss.margin) for _ in self.parts
        ]
        return self.combine(networks)

    def multipliers(self, solution: Solution) -> Multipliers:
        """Dual information of a solution of `to_conic`, for `lower_bound`."""
        y = solution.y
        if y is None or not solution.has_dual:
            return self.network_multipliers(self.trivial_network())
        n = self.X.shape[0]
        attacked = np.flatnonzero(self.radius > 0.0)
        clean = np.flatnonzero(self.radius == 0.0)
        if attacked.size == 0:
            return PointMultipliers(y[2 : 2 + n], np.arange(n), self.X)
        d = self.X.shape[1]
        moments = np.zeros((n, d + 1, d + 1))
        start = 2 + clean.size
        moments[clean, d, d] = y[2:start]
        length = attacked.size * ((d + 1) * (d + 2) // 2)
        moments[attacked] = attack_moments(self.task, y[start : start + length])
        return MomentMultipliers(moments)

    def network_multipliers(self, network: PolynomialNetwork) -> SpanMultipliers:
        """Multipliers that need no solver: ``theta_i = -loss'(margin_i) / n`` at the worst cases of a network."""
        quadratic = network.quadratic(network.alpha)
        _, lower, moves = quadratic.worst_case(self.X, self.task.signs, self.radius)
        theta = -self._loss.derivative(lower, self.y) / self.X.shape[0]
        return SpanMultipliers(theta, quadratic.vectors, moves)

    def multiplier_candidates(self, solution: Solution, network: PolynomialNetwork) -> Iterator[Multipliers]:
        """The solver's multipliers, the network's own, and the solver's on the network's exact worst cases.

        The last is the best where the solver's weights are accurate but its attacks are not.
        """
        if solution.multipliers is not None:
            yield solution.multipliers
        elif solution.has_dual:
            found = self.multipliers(solution)
            yield found
            if isinstance(found, MomentMultipliers):
                theta = found.moments[:, -1, -1]
                yield PointMultipliers(theta, np.arange(theta.size), self.pessimize(network).points)
        yield self.network_multipliers(network)

    # -- exact evaluation ---------------------------------------------------------------------------------------

    def pessimize(self, network: PolynomialNetwork) -> Attacks:
        """The worst attack on every sample, exactly; `values` are margins (outputs for the squared loss)."""
        if not self._loss.margin:
            return Attacks(self.X, network.decision_function(self.X))
        worst = network.worst_case(self.X, self.y, self.radius)
        return Attacks(worst.points, worst.lower)

    def losses_at(self, values: Array) -> Array:
        """Loss of each sample at its margin (output for the squared loss), shape (n,)."""
        return self._loss.value(values, self.y)

    def objective(self, network: PolynomialNetwork) -> float:
        """The training objective from its definition, the adversary's worst case included, exactly.

        For one-versus-all problems the sum over the classes.
        """
        if self.classes is not None:
            pairs = zip(self.parts, self.separate(network), strict=True)
            return sum(part.objective(column) for part, column in pairs)
        if not self._loss.margin:
            values = network.decision_function(self.X)
        else:
            values = network.worst_margins(self.X, self.y, self.radius)
        return self._objective(network, values)

    def objective_at(self, network: PolynomialNetwork, attacks: Attacks) -> float:
        """`objective`, given the network's own worst cases."""
        return self._objective(network, attacks.values)

    def _objective(self, network: PolynomialNetwork, values: Array) -> float:
        return float(np.mean(self.losses_at(values))) + self.beta * network.penalty

    def lower_bound(self, multipliers: Multipliers) -> float:
        """A bound below the global optimum from any multipliers, repaired to dual feasibility first."""
        return self.dual(multipliers).value

    def dual(self, multipliers: Multipliers) -> DualBound:
        """The lower bound together with the neurons that would improve the network most."""
        task = self.task
        if isinstance(multipliers, MomentMultipliers):
            theta, moments = repair_moments(multipliers, self.radius, task.loss)
            S, mass = shift_moments(moments, self.X, task.signs)
        elif not isinstance(multipliers, PointMultipliers):
            theta, S, mass = span_moments(multipliers, self.X, task.signs, self.radius, task.loss)
        else:
            theta, weights, points = repair_points(multipliers, self.X, self.radius, task.loss)
            sums = SecondMoments(np.empty((self.X.shape[1], 0)))
            sums.add(points, weights * task.signs[multipliers.owners])
            S, mass = sums.matrix(), sums.mass
        return dual_bound(theta, S, mass, loss=task.loss, target=self.y, activation=self.activation, beta=self.beta)

    # -- finitely many attacks, few atoms ------------------------------------------------------------------------

    @property
    def needs_every_sample(self) -> bool:
        """Whether the loss only approaches its infimum, so that masters need a point of every sample."""
        return self.loss == "logistic"

    def losses_at_points(self, network: PolynomialNetwork, owners: NDArray[np.intp], points: Array) -> Array:
        """Loss of the samples `owners` names at given points, shape (k,)."""
        outputs = self.task.signs[owners] * network.decision_function(points)
        return self._loss.value(outputs, self.y[owners])

    def atoms_of(self, network: PolynomialNetwork) -> Atoms:
        """Orthonormal bases of the spans of ``[u; 1]``, for positive and for negative output weights."""
        lifted = np.hstack([network.u, np.ones((network.n_neurons, 1))]).T
        return _orthonormal(lifted[:, network.alpha > 0.0]), _orthonormal(lifted[:, network.alpha < 0.0])

    def extended(self, atoms: Atoms, bound: DualBound, threshold: float) -> Atoms:
        """The spans with the priced neurons added where they violate dual feasibility by more than `threshold` beta."""
        grown = list(atoms)
        for k, violation in enumerate(bound.violations):
            if violation > self.beta * (1.0 + threshold) and np.isfinite(violation):
                grown[k] = _orthonormal(np.hstack([atoms[k], np.append(bound.neurons[k], 1.0)[:, None]]))
        return grown[0], grown[1]

    def blend(self, first: PolynomialNetwork, second: PolynomialNetwork, weight: float) -> PolynomialNetwork:
        """``weight * first + (1 - weight) * second``, refactored into at most 2 (d + 1) neurons."""
        u = np.vstack([first.u, second.u])
        alpha = np.concatenate([weight * first.alpha, (1.0 - weight) * second.alpha])
        lifted = np.hstack([u, np.ones((u.shape[0], 1))])
        Z, Zp = ((lifted * np.maximum(sign * alpha, 0.0)[:, None]).T @ lifted for sign in (1.0, -1.0))
        return self._network(Z, Zp)

    def restricted(self, owners: NDArray[np.intp], points: Array, atoms: Atoms | None = None) -> "RestrictedSDP":
        """The same problem over finitely many attacked points and, optionally, neurons in the span of given atoms.

        Args:
            owners: The sample each point attacks, shape (k,).
            points: Shape (k, d).
            atoms: Orthonormal bases of spans of ``[u; 1]``, for positive and negative output weights, shapes
                (d + 1, k+) and (d + 1, k-); None for no restriction.
        """
        return RestrictedSDP(self, owners, points, atoms)


@dataclass(frozen=True, eq=False)
class RestrictedSDP:
    """A master programme of the cutting-set method; see `PolynomialProblem.restricted`."""

    base: PolynomialProblem
    owners: NDArray[np.intp]
    points: Array
    atoms: Atoms | None

    @cached_property
    def frame(self) -> Frame:
        """The matrix variables."""
        return FullFrame(self.points.shape[1]) if self.atoms is None else SpanFrame(self.atoms)

    def to_conic(self) -> ConicProgram:
        """The master in standard form."""
        return points_program(self.base.task, self.frame, self.owners, self.points)

    def matrices(self, solution: Solution) -> tuple[Array, Array]:
        """Z and Z' of a primal solution."""
        if solution.x is None:
            raise InputError("the solution holds no primal point.")
        return self.frame.matrices(solution.x[: self.frame.size])

    def recover(self, solution: Solution) -> PolynomialNetwork:
        """A network from a primal solution."""
        return self.base._network(*self.matrices(solution))

    def multipliers(self, solution: Solution) -> PointMultipliers:
        """Multipliers of the points from a dual solution."""
        if solution.y is None:
            raise InputError("the solution holds no dual point.")
        rows = slice(2, 2 + self.owners.size)
        return PointMultipliers(solution.y[rows], self.owners, self.points)


def _orthonormal(columns: Array) -> Array:
    """An orthonormal basis of the columns' span, shape (d + 1, rank)."""
    if columns.shape[1] == 0:
        return columns
    basis, sizes, _ = np.linalg.svd(columns, full_matrices=False)
    return np.ascontiguousarray(basis[:, sizes > 1e-6 * sizes[0]])
