"""Polynomial problems whose data is in memory: conic programmes, recovery of networks, and masters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic.cones import PSD, NonNegative, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.estimate import ConicSize
from cvxrobust.core.contracts.problem import Attacks
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.losses.weighted import loss_of_rows
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.certificate import DualBound, MomentMultipliers, PointMultipliers, coefficients
from cvxrobust.core.programs.polynomial.evaluation import worst_outputs
from cvxrobust.core.programs.polynomial.recovery import neurons_from_matrix
from cvxrobust.problems.data.attacked_span import directions_of_their_own
from cvxrobust.problems.data.row_span import PAYS
from cvxrobust.problems.polynomial.assembly import Task, attack_moments, lmi_program, points_program, sided_multipliers
from cvxrobust.problems.polynomial.attack_sums import Multipliers
from cvxrobust.problems.polynomial.base import PolynomialTraining
from cvxrobust.problems.polynomial.coordinates import (
    evened,
    neurons_within,
    of_unit_neurons,
    padded,
    points_within,
    span_of_ball,
)
from cvxrobust.problems.polynomial.first_bounds import bound_at_once, seconds_of_a_look
from cvxrobust.problems.polynomial.matrix_variables import (
    COSTLY,
    EvenFrame,
    Frame,
    FullFrame,
    SpanFrame,
    joined,
    orthonormal,
    principal_axes,
    signature,
)

if TYPE_CHECKING:
    import cvxpy

Array = NDArray[np.float64]
Atoms = tuple[Array, Array]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class PolynomialProblem(PolynomialTraining):
    """Base of `StandardSDP` and `AdversarialSDP`, whose data is in memory, so that solvers may have all of it."""

    X: Array

    def _losing(self, network: PolynomialNetwork, reach: float) -> NDArray[np.bool_]:
        if not self._loss.margin:
            return super()._losing(network, reach)
        return np.asarray(self.losses_at(self._values(network) - reach) > 0.0)

    def _over(self, other: Self, rows: NDArray[np.intp], share: float) -> Self:
        return other._with(beta=self.beta / share)

    # -- the programme ------------------------------------------------------------------------------------------

    @cached_property
    def task(self) -> Task:
        """The problem as assembly sees it; binary and regression problems only."""
        one = self._alone("tasks")
        return Task(one.coordinates, one.y, one.inner_attack, one._loss, one.activation, one.beta)

    @cached_property
    def coordinates(self) -> Array:
        """The inputs as programmes have them: ``[X V, 0]``, shape (n, k + 1), in the span of the rows; X otherwise."""
        return self.X if self.span is None else padded(self.span)

    @property
    def _frame(self) -> Frame:
        return FullFrame(self.coordinates.shape[1])

    @property
    def cones(self) -> frozenset[type]:
        """The cone types of its programmes, known before any assembly."""
        rows: set[type] = {Zero, PSD, NonNegative} if self._loss.margin or self.attack.present else {Zero, PSD}
        return frozenset(rows | {type(cone) for cone in loss_by_name(self.loss).block(np.ones(1)).cones})

    @property
    def conic_rows(self) -> int:
        """Rows of `to_conic`, known before any assembly."""
        n, d = self.coordinates.shape
        triangle, inequality = PSD(d + 1).dim, PSD(self.inner_attack.dimension + 1).dim
        attacked = int(np.count_nonzero(self.attack.radius))
        one = 2 + self._sides * attacked * (inequality + 1) + (n - attacked) + self._loss_sizes[0] + 2 * triangle
        return len(self.targets) * int(one)

    @property
    def _sides(self) -> int:
        """Matrix inequalities of an attacked sample: targets can be missed on two sides."""
        return 1 if self._loss.margin else 2

    @cached_property
    def _loss_sizes(self) -> tuple[int, int]:
        """Rows and columns of the loss's block, which grow by the same with every sample."""
        one, two = (loss_by_name(self.loss).block(np.zeros(count)) for count in (1, 2))
        rows, columns = one.rhs.size, one.cost.size
        further = self.X.shape[0] - 1
        return rows + further * (two.rhs.size - rows), columns + further * (two.cost.size - columns)

    @property
    def conic_size(self) -> ConicSize:
        """Sizes of a part's `to_conic`, known before any assembly."""
        n, d = self.coordinates.shape
        attacked, q = int(np.count_nonzero(self.attack.radius)), self.inner_attack.dimension
        triangle = PSD(d + 1).dim
        inequalities = self._sides * attacked
        columns = 2 * triangle + inequalities + self._loss_sizes[1]
        # Margins hold every entry of both matrices; the inequalities hold those of T_11 once, and their last rows all.
        entries = 2 * (n - attacked) * triangle + inequalities * 2 * (triangle + triangle + d * d) + 2 * triangle
        orders = {d + 1: inequalities + 2} if q == d else {d + 1: 2, q + 1: inequalities}
        return ConicSize(self.conic_rows // len(self.targets), columns, entries, orders=orders)

    def _conic(self) -> ConicProgram:
        if self.attack.present:
            return lmi_program(self.task, FullFrame(self.coordinates.shape[1]))
        n = self.X.shape[0]
        return points_program(self.task, self._frame, np.arange(n), self.coordinates)

    def to_cvxpy(self) -> "cvxpy.Problem":
        """The readable reference: the paper's formulas in cvxpy, slow to compile."""
        from cvxrobust.problems.polynomial.reference import reference_problem

        return reference_problem([replace(part.task, X=part.X, attack=part.attack) for part in self.parts])

    # -- from a backend's answer to a network and its certificate ------------------------------------------------

    def _recovered(self, x: Array) -> PolynomialNetwork:
        frame = self._frame
        return self._network(*frame.matrices(x[: frame.size]))

    def _network(self, Z: Array, Zp: Array) -> PolynomialNetwork:
        (up, positive), (down, negative) = neurons_from_matrix(Z), neurons_from_matrix(Zp)
        u, alpha = np.vstack([up, down]), np.concatenate([positive, -negative])
        return self.lifted(self._network_of(u, alpha))

    def multipliers(self, solution: Solution) -> Multipliers:
        """Dual information of a solution of `to_conic`, for `lower_bound`."""
        y = solution.y
        if y is None or not solution.has_dual:
            return self.network_multipliers(self.trivial_network())
        n, attack = self.X.shape[0], self.inner_attack
        attacked = np.flatnonzero(attack.radius > 0.0)
        clean = np.flatnonzero(attack.radius == 0.0)
        if attacked.size == 0:
            return PointMultipliers(y[2 : 2 + n], np.arange(n), self.X)
        q = attack.dimension
        moments = np.zeros((n, q + 1, q + 1))
        start = 2 + clean.size
        length = self._sides * attacked.size * PSD(q + 1).dim
        if not self._loss.margin:
            return sided_multipliers(self.task, y[2:start], y[start : start + length])
        moments[clean, q, q] = y[2:start]
        moments[attacked] = attack_moments(self.task, y[start : start + length])
        return MomentMultipliers(moments)

    def multiplier_candidates(
        self, solution: Solution, network: PolynomialNetwork, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Multipliers]:
        """The solver's multipliers, the network's own, and the solver's on the network's exact worst cases.

        The last is the best where the solver's weights are accurate but its attacks are not.
        """
        if solution.multipliers is None and solution.has_dual:
            found = self.multipliers(solution)
            yield found
            if isinstance(found, PointMultipliers) and self.attack.present and not stopped():
                yield self._on_worst_outputs(found, network)
            if isinstance(found, MomentMultipliers) and not stopped():
                theta = found.moments[:, -1, -1]
                yield PointMultipliers(theta, np.arange(theta.size), self.pessimize(network).points)
        yield from super().multiplier_candidates(solution, network, stopped)

    def _on_worst_outputs(self, found: PointMultipliers, network: PolynomialNetwork) -> PointMultipliers:
        """Multipliers of targets, each side of a sample gathered on the network's own extreme output there."""
        n, one = self.X.shape[0], np.ones(self.X.shape[0])
        quadratic = network.quadratic(network.alpha, self.attack)
        weights, points = [], []
        for side in (-1.0, 1.0):
            mine = np.maximum(side * found.weights, 0.0)
            weights.append(side * np.bincount(found.owners, mine, minlength=n))
            points.append(self._attacked(quadratic, side * one))
        return PointMultipliers(np.concatenate(weights), np.tile(np.arange(n), 2), np.vstack(points))

    def _attacked(self, quadratic: Quadratic, signs: Array) -> Array:
        """Samples where attacks leave ``sign f`` smallest, shape (n, d)."""
        _, _, moves = quadratic.worst_case(self.X, signs, self.attack)
        return np.asarray(quadratic.attacked(self.X, moves, self.attack))

    # -- what a time limit needs ----------------------------------------------------------------------------------

    @property
    def look(self) -> float:
        """Seconds that it takes to judge one network, about."""
        n, d = self.X.shape
        attacked, reducible = self.attack.present, n + directions_of_their_own(self.attack) < PAYS * d
        return len(self.targets) * seconds_of_a_look(n, d, attacked=attacked, reducible=reducible)

    def at_once(self) -> Certificate:
        """Bounds of the network without neurons, without any eigendecomposition."""
        zero = np.zeros(self.X.shape[0])
        upper = sum(float(np.mean(self._loss.value(zero, y))) for y in self.targets)
        lower = sum(bound_at_once(self.X, y, self._loss, self.activation, self.beta) for y in self.targets)
        return Certificate(upper, lower)

    # -- exact evaluation ---------------------------------------------------------------------------------------

    def pessimize(self, network: PolynomialNetwork) -> Attacks:
        """The worst attack on every sample, exactly; `values` are margins (outputs for losses of targets)."""
        if not self._loss.margin and not self.attack.present:
            return Attacks(self.X, network.decision_function(self.X))
        if not self._loss.margin:
            quadratic = network.quadratic(network.alpha, self.attack)
            outputs, moves = worst_outputs(quadratic, self.X, self.y, self.attack)
            return Attacks(quadratic.attacked(self.X, moves, self.attack), outputs)
        own = network.replace(norm=2, ellipsoid=self.attack.ellipsoid)
        worst = own.worst_case(self.X, self.y, self.attack.radius)
        return Attacks(worst.points, worst.lower)

    def mirrored(self, network: PolynomialNetwork, attacks: Attacks) -> Array:
        """The attacks mirrored across the axis along which the adversary gains most by leaving the sample.

        Where the worst case is the hard case of the trust-region subproblem, both are equally bad. Of targets, the
        worst attacks in the other direction: at the optimum many outputs are as much too large as too small.
        """
        if not self.attack.present:
            return attacks.points  # nobody left the samples
        if not self._loss.margin:
            quadratic = network.quadratic(network.alpha, self.attack)
            other = np.where(attacks.values > self.y, 1.0, -1.0)
            return self._attacked(quadratic, other)
        span = span_of_ball(self.span, self.attack) if self.span is not None and self.leaving else None
        network = network if span is not None else of_unit_neurons(network)
        u, moves = self.attack.pulled(network.u), self.attack.coordinates(attacks.points - self.X)
        if span is not None:  # points stand for their mirror images in the complement as well
            u, moves = span.projected(u), span.projected(moves)
        _, axes = np.linalg.eigh((u.T * network.alpha) @ u)
        steepest = np.where((self.signs * self.activation[0] > 0.0)[:, None], axes[:, 0], axes[:, -1])
        mirrored = 2.0 * (moves * steepest).sum(axis=1, keepdims=True) * steepest
        back = mirrored if span is None else span.lifted(mirrored)
        return np.asarray(attacks.points - self.attack.pushed(back))

    def objective_at(self, network: PolynomialNetwork, attacks: Attacks) -> float:
        """`objective`, given the network's own worst cases."""
        return self._objective(network, attacks.values)

    # -- finitely many attacks, few atoms ------------------------------------------------------------------------

    @property
    def needs_every_sample(self) -> bool:
        """Whether the loss only approaches its infimum, so that masters need a point of every sample."""
        return not self._loss.attains_infimum

    def losses_at_points(self, network: PolynomialNetwork, owners: NDArray[np.intp], points: Array) -> Array:
        """Loss of the samples `owners` names at given points, times their weights, shape (k,)."""
        outputs = self.task.signs[owners] * network.decision_function(points)
        return loss_of_rows(self._loss, owners).value(outputs, self.y[owners])

    def atoms_of(self, network: PolynomialNetwork) -> Atoms:
        """The principal axes of Z and of Z': orthonormal bases of the spans of ``[u; 1]``, the heaviest axis first."""
        network = self.projected(network)
        lifted = np.hstack([network.u, np.ones((network.n_neurons, 1))]).T * np.sqrt(np.abs(network.alpha))
        return orthonormal(lifted[:, network.alpha > 0.0]), orthonormal(lifted[:, network.alpha < 0.0])

    def extended(self, atoms: Atoms, bound: DualBound, threshold: float) -> Atoms:
        """The spans with the priced neurons added where they violate dual feasibility by more than `threshold` beta."""
        grown = list(atoms)
        neurons = bound.neurons if self.span is None else neurons_within(self.span, bound.neurons)
        for k, violation in enumerate(bound.violations):
            if violation > self.beta * (1.0 + threshold) and np.isfinite(violation):
                grown[k] = joined(atoms[k], np.append(neurons[k], 1.0))
        return grown[0], grown[1]

    def blend(self, first: PolynomialNetwork, second: PolynomialNetwork, weight: float) -> PolynomialNetwork:
        """``weight * first + (1 - weight) * second``, refactored into at most 2 (d + 1) neurons."""
        first, second = self.projected(first), self.projected(second)
        u = np.vstack([first.u, second.u])
        alpha = np.concatenate([weight * first.alpha, (1.0 - weight) * second.alpha])
        lifted = np.hstack([u, np.ones((u.shape[0], 1))])
        Z, Zp = ((lifted * np.maximum(sign * alpha, 0.0)[:, None]).T @ lifted for sign in (1.0, -1.0))
        return self._network(Z, Zp)

    def restricted(self, owners: NDArray[np.intp], points: Array, atoms: Atoms | None = None) -> "RestrictedSDP":
        """The same problem over finitely many attacked points and, optionally, neurons in the span of given atoms.

        Args:
            owners: The sample each point attacks, shape (k,).
            points: Shape (k, d); the samples themselves where nothing is attacked.
            atoms: Orthonormal bases of spans of ``[u; 1]``, for positive and negative output weights, shapes
                (d + 1, k+) and (d + 1, k-); None for no restriction. In the coordinates of the programmes.
        """
        if self.span is not None:
            inside = self.coordinates[owners] if not self.attack.present else None
            points = points_within(self.span, points, leaving=self.leaving) if inside is None else inside
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
        frame = FullFrame(self.points.shape[1]) if self.atoms is None else SpanFrame(self.atoms)
        return EvenFrame(frame) if self._even else frame

    @property
    def _even(self) -> bool:
        """Whether each point stands for two: attacked, in the span of the rows."""
        return self.base.span is not None and self.base.leaving

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
        count = self.owners.size
        weights = solution.y[2 : 2 + count]
        if not self.base._loss.margin and self.base.attack.present:
            weights = solution.y[2 + count : 2 + 2 * count] - weights
        return PointMultipliers(weights, self.owners, self.points)

    def turned(self, solution: Solution, *, violation: float | None, drop: bool) -> Atoms:
        """The atoms turned to the principal axes of the solution; see `cvxrobust.core.contracts.masters.Turns`."""
        if self.atoms is None:
            raise InputError("a master without atoms has none to turn.")
        turned, beta = [], self.base.beta
        pairs = zip(self.atoms, self.matrices(solution), self.reduced_costs(solution), strict=True)
        for basis, Z, costs in pairs:
            axes = principal_axes(basis, Z, costs, COSTLY * beta if drop else np.inf)
            if violation is not None:
                values, vectors = np.linalg.eigh(costs)
                # ||[u; 1]||^2 = 2.
                for vector in vectors[:, values < -0.5 * violation * beta].T:
                    axes = joined(axes, vector)
            turned.append(axes)
        return turned[0], turned[1]

    def reduced_costs(self, solution: Solution) -> tuple[Array, Array]:
        """``beta e e' + mu J -+ G`` for Z and Z': psd if the multipliers are feasible, zero along what is used."""
        found = self.multipliers(solution)
        d = self.points.shape[1]
        lifted = np.hstack([found.points, np.ones((found.owners.size, 1))])
        signed = found.weights * self.base.signs[found.owners]
        S = (lifted * signed[:, None]).T @ lifted
        G = coefficients(self.base.activation, d) * (evened(S) if self._even else S)
        traces = np.zeros(2) if solution.y is None else solution.y[:2]
        corner = np.zeros((d + 1, d + 1))
        corner[d, d] = self.base.beta
        positive, negative = (
            corner + mu * signature(d) - sign * G for mu, sign in zip(traces, (1.0, -1.0), strict=True)
        )
        return positive, negative
