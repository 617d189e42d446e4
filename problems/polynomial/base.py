"""What every polynomial problem has: data, the structured programme, exact objectives and certificates.

Everything here reads the inputs block by block, so they may lie in memory or be read again for every pass.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.certificate import (
    DualBound,
    PointMultipliers,
    dual_bound,
    is_spoilt,
    sum_slack,
)
from cvxrobust.core.programs.polynomial.evaluation import bound_of, worst_outputs
from cvxrobust.core.programs.polynomial.moments import AttackSums
from cvxrobust.core.programs.polynomial.program import PolynomialProgram
from cvxrobust.core.programs.rows import Rows, row_blocks
from cvxrobust.core.validation import checked_inputs, checked_labels
from cvxrobust.core.weights import ClassWeight, weighing
from cvxrobust.problems.data.attacked_span import span_for_quadratics
from cvxrobust.problems.data.batches import rows_kept
from cvxrobust.problems.data.parameters import (
    checked_activation,
    checked_beta,
    checked_class_weight,
    checked_radius,
    isotropic_attack_fields,
)
from cvxrobust.problems.data.row_span import RowSpan
from cvxrobust.problems.polynomial.attack_sums import Multipliers, attack_sums, sample_sums
from cvxrobust.problems.polynomial.coordinates import (
    attack_within,
    evened,
    leaves,
    network_outside,
    network_within,
    neurons_outside,
    of_unit_neurons,
    outputs_allowance,
    padded,
    slack,
)
from cvxrobust.problems.polynomial.family import Activation, PolynomialFamily
from cvxrobust.problems.polynomial.multipliers_within import multipliers_within

Array = NDArray[np.float64]


@dataclass(frozen=True)
class NetworkAttacks:
    """Multipliers on the worst attacks on a network, computed again where they are asked for.

    Args:
        theta: Multiplier of each sample, shape (n,).
        quadratic: The network.
        signs: 1 where attacks lower the output, -1 where they raise it, shape (n,).
        attack: The attacks on each sample.
    """

    theta: Array
    quadratic: Quadratic
    signs: Array
    attack: AttackBall

    @property
    def basis(self) -> Array:
        """Basis of what attacks see of the span of the network's neurons, shape (q, k)."""
        return np.asarray(self.quadratic.seen_by(self.attack).axes)

    def attacks(self, rows: slice, X: Array) -> tuple[Array, Array | None]:
        """The attacks on a block of samples."""
        _, _, moves = self.quadratic.worst_case(X, self.signs[rows], self.attack.of(rows))
        return moves, None


@dataclass(frozen=True)
class SharedSpan:
    """What a one-versus-all problem found for all of its classes."""

    span: RowSpan | None


@dataclass(frozen=True, eq=False, init=False, repr=False)
class PolynomialTraining(PolynomialFamily):
    """Base of all polynomial problems with exact worst cases; see `StandardSDP` and `AdversarialSDP`."""

    found: SharedSpan | None = field(init=False, repr=False, default=None)

    def __init__(
        self, X: ArrayLike | Rows, y: ArrayLike, radius: ArrayLike, beta: float, loss: str, activation: Activation,
        sample_weight: ArrayLike | None, class_weight: ClassWeight, threat: Threat | None = None,
    ) -> None:  # fmt: skip
        margin = loss_by_name(loss, self.losses).margin
        rows = X if isinstance(X, Rows) else checked_inputs(X)
        n, d = rows.shape
        weighed = weighing(sample_weight, checked_class_weight(class_weight, margin, loss), y, n)
        labels, classes = checked_labels(weighed.labels(y), weighed.count(n), margin, loss)
        self._settle(
            X=rows_kept(rows, weighed), y=labels, classes=classes, radius=weighed.of(checked_radius(radius, n)),
            sample_weight=weighed.weights, beta=checked_beta(beta), loss=loss,
            activation=checked_activation(activation), **isotropic_attack_fields(threat or Threat(), d),
        )  # fmt: skip

    # -- one-versus-all -----------------------------------------------------------------------------------------

    def _found(self) -> SharedSpan:
        return SharedSpan(self.span)

    def _found_for(self, other: Self) -> SharedSpan | None:
        # Spans are those of the rows, for all attacks that are alike in every direction.
        return self._found() if other.attack.isotropic == self.attack.isotropic else None

    def combine(self, networks: list[PolynomialNetwork]) -> PolynomialNetwork:
        """One network with an output per part from the parts' networks, which knows what attacks it was trained for."""
        return super().combine(self._alike(networks)).replace(norm=2, ellipsoid=self.ellipsoid)

    def _alike(self, networks: list[PolynomialNetwork]) -> list[PolynomialNetwork]:
        """Networks that can be one: none of them is worse, and all are spread over one complement, or none is."""
        first, *others = (network.complement for network in networks)
        if all(first is one or (first is not None and one is not None and first.agrees(one)) for one in others):
            return networks
        return [self.lifted(self.projected(network)) for network in networks]

    @cached_property
    def attack(self) -> AttackBall:
        """The attacks on the inputs as they were given; where none moves anything, they are balls of radius 0."""
        if self.ellipsoid is not None and self.ellipsoid.rank == 0:
            return AttackBall(2, np.zeros_like(self.radius), self.X.shape[1])
        ellipsoid = self.ellipsoid if (self.radius > 0.0).any() else None
        return AttackBall(2, self.radius, self.X.shape[1], ellipsoid)

    # -- fewer coordinates --------------------------------------------------------------------------------------

    @cached_property
    def span(self) -> RowSpan | None:
        """The span in which programmes are written: of rows in memory, unattacked, in l2 balls or in few directions.

        That is, if it is worth it. `cvxrobust.problems.polynomial.coordinates` says how.
        """
        if self.found is not None:
            return self.found.span
        return span_for_quadratics(self.attack, self.X, further=1) if isinstance(self.X, np.ndarray) else None

    @cached_property
    def leaving(self) -> bool:
        """Whether attacks leave the span, if there is one, and networks are spread over what is outside."""
        return self.span is not None and leaves(self.span, self.attack)

    @cached_property
    def coordinates(self) -> Array | Rows:
        """The inputs as programmes have them: ``[X V, 0]``, shape (n, k + 1), in the span of the rows; X otherwise."""
        return self.X if self.span is None else padded(self.span)

    @cached_property
    def inner_attack(self) -> AttackBall:
        """The attacks in the coordinates of the programmes: in an ellipsoid of them, where there are any."""
        return self.attack if self.span is None else attack_within(self.span, self.attack)

    def projected(self, network: PolynomialNetwork) -> PolynomialNetwork:
        """A network in the coordinates of the programmes, of unit neurons."""
        if self.span is None:
            return of_unit_neurons(network)
        return network_within(self.span, network, attacked=self.leaving)

    def lifted(self, network: object) -> PolynomialNetwork:
        """The network of one in the coordinates of the programmes.

        Raises:
            InputError: It is none.
        """
        own = self._own(network)
        if self.span is None:
            return own
        if own.n_features != self.span.rank + 1:
            raise InputError(
                f"the network has {own.n_features} inputs; the programme of this problem has {self.span.rank + 1}."
            )
        return network_outside(self.span, own, attacked=self.leaving)

    def to_structured(self) -> PolynomialProgram:
        """The same for backends that know the mathematics: one column of labels per class."""
        return self._own_program(np.stack(self.targets, axis=1))

    def _own_program(self, labels: Array) -> PolynomialProgram:
        return PolynomialProgram(
            self.coordinates, labels, self.loss, self.activation, self.inner_attack, self.beta, self.sample_weight
        )

    def network_multipliers(self, network: PolynomialNetwork) -> Multipliers:
        """Multipliers that need no solver: ``theta_i = -loss'(margin_i) / n`` at the worst cases of a network.

        Of targets ``-loss'(output_i) / n``, negative where the worst output is too large.
        """
        if self.span is not None and not self.attack.present and isinstance(self.X, np.ndarray):
            # The samples themselves: nobody need know how the network bends.
            theta = -self._loss.derivative(self._values(network), self.y) / self.X.shape[0]
            return PointMultipliers(theta, np.arange(theta.size), self.X)
        own, attack = self.projected(network), self.inner_attack
        quadratic = own.quadratic(own.alpha, attack)
        seen = self._values(network) if self.span is None else self._seen(quadratic, self.coordinates, attack)
        theta = -self._loss.derivative(seen, self.y) / self.X.shape[0]
        signs = self.signs if self._loss.margin else np.where(theta < 0.0, -1.0, 1.0)
        return NetworkAttacks(theta, quadratic, signs, attack)

    def multiplier_candidates(
        self, solution: Solution, network: PolynomialNetwork, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Multipliers]:
        """The solver's multipliers and the network's own; none of them takes long to make."""
        if solution.multipliers is not None:
            yield solution.multipliers
        yield self.network_multipliers(network)

    # -- exact evaluation ---------------------------------------------------------------------------------------

    def losses_at(self, values: Array) -> Array:
        """Loss of each sample, times its weight, at its margin (output for losses of targets), shape (n,)."""
        return self._loss.value(values, self.y)

    def objective(self, network: PolynomialNetwork) -> float:
        """The training objective from its definition, the adversary's worst case included, exactly.

        For one-versus-all problems the sum over the classes.
        """
        return sum(part._objective(own, part._values(own)) for part, own in self._apart(network))

    def report(self, network: PolynomialNetwork) -> dict[str, Any]:
        """Whether programmes were in the span of the rows, ready for JSON."""
        return {} if self.span is None else {"reduced": self.span.report()}

    def _values(self, network: PolynomialNetwork) -> Array:
        """What the loss sees: rigorous bounds of worst-case margins, or of the worst outputs; shape (n,)."""
        if not self._loss.margin and not self.attack.present:
            return np.concatenate([network.decision_function(block) for _, block in row_blocks(self.X)])
        if self.span is not None and not self.attack.present and isinstance(self.X, np.ndarray):
            return self.signs * network.decision_function(self.X) - outputs_allowance(network, self.X)
        return self._seen(network.quadratic(network.alpha, self.attack), self.X, self.attack)

    def _seen(self, quadratic: Quadratic, X: Array | Rows, attack: AttackBall) -> Array:
        """The same of a quadratic, on inputs as they are or in the coordinates of the programmes."""
        signs, y = self.signs, self.y
        if self._loss.margin:
            found = [quadratic.worst_margins(block, signs[rows], attack.of(rows)) for rows, block in row_blocks(X)]
        else:
            found = [worst_outputs(quadratic, block, y[rows], attack.of(rows))[0] for rows, block in row_blocks(X)]
        return np.concatenate(found)

    def _objective(self, network: PolynomialNetwork, values: Array) -> float:
        return float(np.mean(self.losses_at(values))) + self.beta * network.penalty

    def lower_bound(self, multipliers: Multipliers) -> float:
        """A bound below the global optimum from any multipliers, repaired to dual feasibility first."""
        return self.dual(multipliers).value

    def dual(self, multipliers: Multipliers) -> DualBound:
        """The lower bound together with the neurons that would improve the network most."""
        if self.span is None and isinstance(multipliers, PointMultipliers):
            return bound_of(self._own_program(self.y[:, None]), multipliers)
        n, d = self.X.shape
        sums = self._sums(multipliers, precise=False)
        if is_spoilt(n, d, sums.mass, self.activation, self.beta):
            sums = self._sums(multipliers, precise=True)
        extra = 0.0 if self.span is None else slack(self.span, sums.weights, self.activation, self.attack)
        bound = dual_bound(
            sums.theta, sums.second_moments, sums.mass, loss=self._loss, target=self.y, activation=self.activation,
            beta=self.beta, slack=sum_slack(sums.error, self.activation) + extra, reach=sums.reach,
        )  # fmt: skip
        return bound if self.span is None else replace(bound, neurons=neurons_outside(self.span, bound.neurons))

    def _sums(self, multipliers: Multipliers, *, precise: bool) -> AttackSums:
        """What multipliers come to, in the coordinates of the programmes."""
        inputs, signs, loss = self.coordinates, self.signs, self._loss
        if self.span is None or not isinstance(self.X, np.ndarray):
            return attack_sums(multipliers, inputs, signs, self.attack, loss, precise=precise)
        assert isinstance(inputs, np.ndarray)
        if not self.attack.present:
            return sample_sums(multipliers, inputs, signs, loss, precise=precise)
        own = multipliers_within(self.span, self.X, multipliers, self.attack)
        found = attack_sums(own, inputs, signs, self.inner_attack, loss, precise=precise)
        if not self.leaving:
            return found
        return replace(found, second_moments=evened(found.second_moments))
