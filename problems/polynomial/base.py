"""What every polynomial problem has: data, the structured programme, exact objectives and certificates.

Everything here reads the inputs block by block, so they may lie in memory or be read again for every pass.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.certificate import (
    DualBound,
    MomentMultipliers,
    PointMultipliers,
    dual_bound,
    is_spoilt,
    repair_moments,
    repair_points,
    shift_moments,
    sum_slack,
)
from cvxrobust.core.programs.polynomial.moments import AttackMultipliers, SecondMoments, repaired_theta, span_moments
from cvxrobust.core.programs.polynomial.program import PolynomialProgram
from cvxrobust.core.programs.rows import Rows, is_streamed, row_blocks
from cvxrobust.core.validation import checked_inputs, checked_labels
from cvxrobust.problems.data.parameters import checked_activation, checked_beta, checked_radius, class_signs
from cvxrobust.problems.data.row_span import RowSpan, row_span
from cvxrobust.problems.polynomial.coordinates import (
    network_outside,
    network_within,
    neurons_outside,
    outputs_allowance,
    padded,
    slack,
)

Array = NDArray[np.float64]
Multipliers = PointMultipliers | MomentMultipliers | AttackMultipliers
DEFAULT_ACTIVATION = (0.09, 0.5, 0.47)
UNIT = 1e-12
"""How far from 1 rounding may leave the length of a neuron."""


@dataclass(frozen=True)
class NetworkAttacks:
    """Multipliers on the worst attacks on a network, computed again where they are asked for.

    Args:
        theta: Multiplier of each sample, shape (n,).
        quadratic: The network.
        signs: Labels as signs of the output, shape (n,).
        attack: The attacks on each sample.
    """

    theta: Array
    quadratic: Quadratic
    signs: Array
    attack: AttackBall

    @property
    def basis(self) -> Array:
        """Basis of the span of the network's neurons, shape (d, k)."""
        return np.asarray(self.quadratic.vectors)

    def attacks(self, rows: slice, X: Array) -> tuple[Array, Array | None]:
        """The attacks on a block of samples."""
        _, _, moves = self.quadratic.worst_case(X, self.signs[rows], self.attack.of(rows))
        return moves, None


@dataclass(frozen=True, eq=False)
class PolynomialTraining:
    """Base of all polynomial problems; see `StandardSDP` and `AdversarialSDP` for the mathematics."""

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
        X = self.X if isinstance(self.X, Rows) else checked_inputs(self.X)
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
        """The classes, sorted, of labels that are not -1 and +1; None for those and for regression.

        Two make one part, whose positive label is the second; more make one part each.
        """
        found: tuple[Any, ...] | None = self.__dict__["_classes"]
        return found

    @property
    def parts(self) -> tuple[Self, ...]:
        """The independent binary problems: one per class, or this problem alone."""
        return self._parts

    @cached_property
    def _parts(self) -> tuple[Self, ...]:
        return (self,) if self.classes is None else tuple(map(self._relabelled, self.targets))

    @property
    def targets(self) -> list[Array]:
        """The labels of each part, -1 and +1 (or real targets), shape (n,)."""
        return [self.y] if self.classes is None else class_signs(self.y, self.classes)

    def _relabelled(self, y: Array) -> Self:
        """The same problem with other labels."""
        other = replace(self, y=y)
        other.__dict__["span"] = self.span  # found once, for all classes
        return other

    def combine(self, networks: list[PolynomialNetwork]) -> PolynomialNetwork:
        """One network with an output per part from the parts' networks."""
        if self.classes is None:
            return networks[0]
        if len(networks) == 1:
            return networks[0].replace(classes=self.classes)
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
        if network.alpha.ndim == 1:
            return [network if network.classes is None else network.replace(classes=None)]
        columns = []
        for column in network.alpha.T:
            used = column != 0.0
            columns.append(PolynomialNetwork(network.u[used], column[used], self.activation))
        return columns

    def _fitting(self, network: TwoLayerNetwork) -> PolynomialNetwork:
        if not isinstance(network, PolynomialNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a PolynomialNetwork.")
        network.check_inner()
        shape = () if len(self.targets) == 1 else (len(self.targets),)
        if network.n_features != self.X.shape[1] or network.alpha.shape[1:] != shape:
            raise InputError(
                f"the network has {network.n_features} inputs and outputs of shape {network.alpha.shape[1:]}; "
                f"this problem needs {self.X.shape[1]} and {shape}."
            )
        lengths = np.linalg.norm(network.u, axis=1)
        if not (np.abs(lengths - 1.0) <= UNIT).all():
            raise InputError(
                f"the network has neurons of length {lengths.min():.6g} to {lengths.max():.6g}; the penalty is that of "
                "unit neurons: divide them by their lengths and adapt alpha."
            )
        if tuple(network.activation) != tuple(self.activation):
            raise InputError(f"the network has activation {network.activation}; this problem has {self.activation}.")
        return network

    @property
    def attack(self) -> AttackBall:
        """The attacks on the inputs as they were given."""
        return AttackBall(2, self.radius, self.X.shape[1])

    # -- fewer coordinates --------------------------------------------------------------------------------------

    @cached_property
    def span(self) -> RowSpan | None:
        """The span of the rows, where programmes are written in it: in memory, without attack, and if that is worth it.

        `cvxrobust.problems.polynomial.coordinates` says how.
        """
        return None if is_streamed(self.X) or self.attack.present else row_span(self.X, further=1)

    @cached_property
    def coordinates(self) -> Any:
        """The inputs as programmes have them: ``[X V, 0]``, shape (n, k + 1), in the span of the rows; X otherwise."""
        return self.X if self.span is None else padded(self.span)

    def projected(self, network: PolynomialNetwork) -> PolynomialNetwork:
        """A network in the coordinates of the programmes."""
        return network if self.span is None else network_within(self.span, network)

    def lifted(self, network: Any) -> PolynomialNetwork:
        """The network of one in the coordinates of the programmes.

        Raises:
            InputError: It is none.
        """
        if not isinstance(network, PolynomialNetwork):
            raise InputError(f"the network is a {type(network).__name__}; this problem trains a PolynomialNetwork.")
        network.check_inner()
        if self.span is None:
            return network
        if network.n_features != self.span.rank + 1:
            raise InputError(
                f"the network has {network.n_features} inputs; the programme of this problem has {self.span.rank + 1}."
            )
        return network_outside(self.span, network)

    @property
    def _loss(self) -> Loss:
        return loss_by_name(self.loss)

    @property
    def signs(self) -> Array:
        """Labels as signs of the output, shape (n,); all +1 where the target is a number.

        Raises:
            InputError: The problem is one-versus-all.
        """
        if self.classes is not None:
            raise InputError("a one-versus-all problem is several tasks; use its `parts`.")
        labels: Array = self.y
        return labels if self._loss.margin else np.ones_like(labels)

    def to_structured(self) -> PolynomialProgram:
        """The same for backends that know the mathematics: one column of labels per class."""
        labels, X = np.stack([part.y for part in self.parts], axis=1), self.coordinates
        attack = replace(self.attack, attackable=X.shape[1])
        return PolynomialProgram(X, labels, self.loss, self.activation, attack, self.beta)

    def trivial_network(self) -> PolynomialNetwork:
        """The network without neurons: always feasible, so there is always an upper bound."""
        empty = np.empty((0, self.X.shape[1]))
        networks = [
            PolynomialNetwork(empty, np.empty(0), self.activation, regression=not self._loss.margin) for _ in self.parts
        ]
        return self.combine(networks)

    def network_multipliers(self, network: PolynomialNetwork) -> Multipliers:
        """Multipliers that need no solver: ``theta_i = -loss'(margin_i) / n`` at the worst cases of a network."""
        theta = -self._loss.derivative(self._values(network), self.y) / self.X.shape[0]
        if self.span is not None:  # the samples themselves: nobody need know how the network bends
            return PointMultipliers(theta, np.arange(theta.size), self.X)
        return NetworkAttacks(theta, network.quadratic(network.alpha), self.signs, self.attack)

    def multiplier_candidates(
        self, solution: Solution, network: PolynomialNetwork, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Multipliers]:
        """The solver's multipliers and the network's own; none of them takes long to make."""
        if solution.multipliers is not None:
            yield solution.multipliers
        yield self.network_multipliers(network)

    # -- exact evaluation ---------------------------------------------------------------------------------------

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
        network.check_inner()
        return self._objective(network, self._values(network))

    def report(self, network: PolynomialNetwork) -> dict[str, Any]:
        """Whether programmes were in the span of the rows, ready for JSON."""
        return {} if self.span is None else {"reduced": self.span.report()}

    def _values(self, network: PolynomialNetwork) -> Array:
        """What the loss sees: rigorous lower bounds of worst-case margins, or outputs; shape (n,)."""
        if not self._loss.margin:
            return np.concatenate([network.decision_function(block) for _, block in row_blocks(self.X)])
        if self.span is not None:
            return self.signs * network.decision_function(self.X) - outputs_allowance(network, self.X)
        quadratic, signs, attack = network.quadratic(network.alpha), self.signs, self.attack
        found = [quadratic.worst_margins(block, signs[rows], attack.of(rows)) for rows, block in row_blocks(self.X)]
        return np.concatenate(found)

    def _objective(self, network: PolynomialNetwork, values: Array) -> float:
        return float(np.mean(self.losses_at(values))) + self.beta * network.penalty

    def lower_bound(self, multipliers: Multipliers) -> float:
        """A bound below the global optimum from any multipliers, repaired to dual feasibility first."""
        return self.dual(multipliers).value

    def dual(self, multipliers: Multipliers) -> DualBound:
        """The lower bound together with the neurons that would improve the network most."""
        n, d = self.X.shape
        theta, S, mass, error = self._second_moments(multipliers, precise=False)
        if is_spoilt(n, d, mass, self.activation, self.beta):
            theta, S, mass, error = self._second_moments(multipliers, precise=True)
        extra = 0.0 if self.span is None else slack(self.span, theta, self.activation)
        bound = dual_bound(
            theta, S, mass, loss=self._loss, target=self.y, activation=self.activation, beta=self.beta,
            slack=sum_slack(error, self.activation) + extra,
        )  # fmt: skip
        return bound if self.span is None else replace(bound, neurons=neurons_outside(self.span, bound.neurons))

    def _second_moments(self, multipliers: Multipliers, *, precise: bool) -> tuple[Array, Array, float, float]:
        """Repaired multipliers, their signed second moments, the size of what was summed, and what sums may lack."""
        loss, signs = self._loss, self.signs
        if self.span is not None:
            return self._moments_within(self.span, multipliers, precise=precise)
        if isinstance(multipliers, MomentMultipliers):
            theta, moments = repair_moments(multipliers, self.attack, loss)
            return theta, *shift_moments(moments, self.X, signs, multipliers.basis, precise=precise)
        if not isinstance(multipliers, PointMultipliers):
            theta, sums = span_moments(multipliers, self.X, signs, self.attack, loss, precise=precise)
        else:
            theta, weights, points = repair_points(multipliers, self.X, self.attack, loss)
            sums = SecondMoments(np.empty((self.X.shape[1], 0)), precise)
            sums.add(points, weights * signs[multipliers.owners])
        return theta, sums.matrix(), sums.mass, sums.error

    def _moments_within(
        self, span: RowSpan, multipliers: Multipliers, *, precise: bool
    ) -> tuple[Array, Array, float, float]:
        """The same in the span of the rows: without attack, multipliers are one number per sample."""
        loss = self._loss
        if isinstance(multipliers, PointMultipliers):
            weights = np.where(np.isfinite(multipliers.weights), multipliers.weights, 0.0)
            given = np.bincount(multipliers.owners, weights, minlength=self.X.shape[0]).astype(np.float64)
        elif isinstance(multipliers, MomentMultipliers):
            given = multipliers.moments[:, -1, -1]
        else:
            given = multipliers.theta
        theta = repaired_theta(given, loss)
        sums = SecondMoments(np.empty((span.rank + 1, 0)), precise)
        sums.add(self.coordinates, theta * self.signs)
        return theta, sums.matrix(), sums.mass, sums.error
