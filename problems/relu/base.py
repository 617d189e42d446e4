"""What the two ReLU families share: programme, recovery of networks, exact objectives and certificates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.arguments import flag, whole
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.estimate import ConicSize
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import (
    GatedBound,
    GatedMultipliers,
    fits,
    gated_bound,
    network_multipliers,
    tightened,
)
from cvxrobust.core.programs.gated.cones import ConeInterior, can_carry
from cvxrobust.core.programs.gated.program import GatedProgram
from cvxrobust.problems.data.attacked_span import span_under, uncertainty_under
from cvxrobust.problems.relu import choices as relu_choices
from cvxrobust.problems.relu import recovery as relu_recovery
from cvxrobust.problems.relu.assembly import GatedForm
from cvxrobust.problems.relu.coordinates import is_within
from cvxrobust.problems.relu.data import ReLUData
from cvxrobust.problems.relu.fields import SharedGates
from cvxrobust.problems.relu.first_bounds import bound_at_once, seconds_of_a_look
from cvxrobust.problems.relu.gates.cones import resampled
from cvxrobust.problems.relu.gates.pricing import price
from cvxrobust.problems.relu.gates.regating import regated
from cvxrobust.problems.relu.gates.slots import Slots
from cvxrobust.problems.relu.own_objective import OwnObjective, own_objective

if TYPE_CHECKING:
    import cvxpy

Array = NDArray[np.float64]
LOOSE = 1e-7
"""Multipliers whose bound loses more than this fraction to scaling are worth a repair by least squares."""

NOTHING_CARRIED = (
    'no gate can carry a neuron under this attack: try resample=True, bias=True, or solve(..., gates="grow")'
)
"""Advice where the best network of a programme says nothing."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class ReLUProblem(ReLUData):
    """Base of `ConvexReLU` and `AdversarialReLU`; see those for the mathematics and the parameters."""

    def _losing(self, network: ReLUNetwork, reach: float) -> NDArray[np.bool_]:
        # Cones are those of all samples, whatever their losses.
        if self.rules.constrains_gates or not self.loss_function.margin:
            return super()._losing(network, reach)
        margins = gated.values(self.program, self.point(network)) - reach
        return np.asarray(self.loss_function.value(margins, self.labels)[:, 0] > 0.0)

    def _over(self, other: Self, rows: NDArray[np.intp], share: float) -> Self:
        found = SharedGates(self.gate_set, span_under(other.attack, other.X))
        other = other._with(beta=self.beta / share, found=found)
        if self.one_versus_all:
            return other._with(refined=tuple(part.of_rows(rows)[0] for part in self.parts))
        return other._with(slots=Slots(self.program.gates[rows], self.program.signs))

    # -- the programme ------------------------------------------------------------------------------------------

    @cached_property
    def program(self) -> GatedProgram:
        """The problem as a gated programme; not for one-versus-all problems, which are several."""
        slots = self._alone("programmes").slots
        if slots is None:
            slots = relu_choices.slots(self, self.gate_set, self.labels)
        return GatedProgram(
            self.coordinates, self.labels, self.loss, slots.gates, slots.signs, self._attack_within, self.beta,
            self.formulation, self.bias,
            None if self.span is None else uncertainty_under(self.attack, self.span), self.sample_weight,
        )  # fmt: skip

    @cached_property
    def given_program(self) -> GatedProgram:
        """The programme on the data as it was given: what networks are judged by."""
        return self.program if self.span is None else replace(self.program, X=self.inputs, attack=self.attack)

    @property
    def _attack_within(self) -> AttackBall:
        """The attacks in the coordinates of programmes."""
        return self.attack if self.span is None else self.attack.within(self.span.basis)[0]

    @cached_property
    def carrying(self) -> NDArray[np.intp]:
        """The slots that the conic form keeps: under attack, cones that admit no neuron are left out beforehand.

        A solver need not find out again that their neurons are zero. Bounds do not rest on this: certificates are
        about all slots, and multipliers for those left out are found by least squares.
        """
        K = self.program.signs.size
        if not self.rules.constrains_gates or not self.attack.present:
            return np.arange(K)
        return np.array([k for k in range(K) if self._carries(self.program.gates[:, k])], dtype=np.intp)

    def _carries(self, pattern: NDArray[np.bool_]) -> bool:
        key = pattern.tobytes()
        if key not in self._carrier_memory:
            self._carrier_memory[key] = can_carry(self.coordinates, pattern, self._attack_within)
        return self._carrier_memory[key]

    def _fresh_carriers(self) -> NDArray[np.bool_] | None:
        """For attacked cones, further patterns that can carry a neuron: what prices well otherwise rarely can."""
        if not self.rules.constrains_gates or not self.attack.present:
            return None
        try:
            seed = self.seed + self.program.signs.size
            found = resampled(self.coordinates, 2 * self.grow, seed, self._attack_within)
        except InputError:
            return None
        return found.patterns

    @cached_property
    def _carrier_memory(self) -> dict[bytes, bool]:
        return {}

    @cached_property
    def form(self) -> GatedForm:
        """The conic form; nothing is assembled before `to_conic`."""
        kept = self.carrying
        return GatedForm(replace(self.program, gates=self.program.gates[:, kept], signs=self.program.signs[kept]))

    @property
    def cones(self) -> frozenset[type]:
        """The cone types of its programmes, known before any assembly."""
        return frozenset(type(cone) for part in self.parts for cone in part.form.cones if cone.dim)

    @property
    def conic_rows(self) -> int:
        """Rows of `to_conic`, known before any assembly."""
        return sum(sum(part.form.heights) for part in self.parts)

    @property
    def conic_size(self) -> ConicSize:
        """Sizes of a part's `to_conic`, known before any assembly."""
        return self.parts[0].form.size

    def _conic(self) -> ConicProgram:
        return self.form.assemble()

    def to_structured(self) -> GatedProgram | None:
        """The same for backends that know the mathematics; None for one-versus-all problems, which are several."""
        return None if self.one_versus_all else self.program

    def to_cvxpy(self) -> "cvxpy.Problem":
        """The readable reference: the formulas in cvxpy, slow to compile."""
        from cvxrobust.problems.relu.reference import reference_problem

        return reference_problem([part.given_program for part in self.parts])

    # -- from a backend's answer to a network and its certificate ------------------------------------------------

    def _recovered(self, x: Array) -> ReLUNetwork:
        U = np.zeros(self.program.shape)
        U[self.carrying] = self.form.point(x)
        return self.network_at(U)

    def network_at(self, U: Array) -> ReLUNetwork:
        """The network of a point of the programme, shape (K, C, D), moved into the cones and pruned first."""
        return self.lifted(relu_recovery.network(self.program, U, self._cone_memory, **self.network_fields()))

    @cached_property
    def _cone_memory(self) -> dict[bytes, ConeInterior | None]:
        return {}

    def point(self, network: ReLUNetwork) -> Array:
        """The point of the programme that a network stands for, shape (K, C, D)."""
        return gated.from_network(self.program, self.projected(network))

    def objective(self, network: ReLUNetwork) -> float:
        """The programme's objective at a network: what the certificate bounds.

        No less than the network's own objective, but for the gated relaxation, and for several outputs, whose group
        penalty is below the sum of their neurons' norms. Neurons sit in the slots that they name. For one-versus-all
        problems the sum over the classes. Infinite if a neuron fits no slot, or leaves its cone.
        """
        return sum(gated.network_objective(part.given_program, own) for part, own in self._apart(network))

    def own_objective(self, network: ReLUNetwork, *, exact: bool = False, seed: int = 0) -> OwnObjective:
        """The nonconvex training objective of a network, its own gates and worst attacks: a lower and an upper bound.

        Without attack both are the same. Under attack the lower one comes from attacks that were found, the upper one
        from certified margins.

        Args:
            network: Any network that fits.
            exact: Settle the worst cases by mixed-integer programming; small networks only.
            seed: Of the attacks' random starts.
        """
        flag(exact, "exact")
        whole(seed, "seed", 0)
        pairs = self._apart(network)
        return sum((part._nonconvex(own, exact, seed) for part, own in pairs), OwnObjective(0.0, 0.0))

    def _nonconvex(self, network: ReLUNetwork, exact: bool, seed: int) -> OwnObjective:
        if self.span is not None and is_within(self.span, network):
            return own_objective(self.program, self.projected(network), exact=exact, seed=seed)
        return own_objective(self.given_program, network, exact=exact, seed=seed)

    def multipliers(self, solution: Solution) -> GatedMultipliers:
        """Dual information of a solution of `to_conic`, for `lower_bound`."""
        if solution.y is None or not solution.has_dual:
            return self.network_multipliers(self.trivial_network())
        found, kept = self.form.multipliers(solution.y), self.carrying
        mu = np.zeros((found.mu.shape[0], *self.program.shape[:2]))
        mu[:, kept] = found.mu
        directions = np.zeros((*self.program.shape[:2], self.program.attackable))
        directions[kept] = found.directions
        return replace(found, mu=mu, directions=directions)

    def network_multipliers(self, network: ReLUNetwork) -> GatedMultipliers:
        """Multipliers that need no solver, read off a network."""
        return network_multipliers(self.program, self.point(network))

    def multiplier_candidates(
        self, solution: Solution, network: ReLUNetwork, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[GatedMultipliers]:
        """The solver's multipliers and the network's own, each also repaired by least squares where scaling costs."""
        given, loose = solution.multipliers, True
        if fits(self.program, given) or (given is None and solution.has_dual):
            found: GatedMultipliers = self.multipliers(solution) if given is None else given
            yield found
            loose = self._is_loose(found)
            if loose:
                yield tightened(self.program, found, LOOSE, stopped)
        own = self.network_multipliers(network)
        yield own
        if loose and not stopped() and self._is_loose(own):
            yield tightened(self.program, own, LOOSE, stopped)

    def _is_loose(self, multipliers: GatedMultipliers) -> bool:
        return bool(self.dual(multipliers).violations.max(initial=0.0) > self.beta * (1.0 + LOOSE))

    def lower_bound(self, multipliers: GatedMultipliers) -> float:
        """A bound below the programme's optimum from any multipliers, repaired to dual feasibility first."""
        return self.dual(multipliers).value

    def dual(self, multipliers: GatedMultipliers) -> GatedBound:
        """The lower bound together with what each slot could still gain."""
        return gated_bound(self.program, multipliers)

    @property
    def look(self) -> float:
        """Seconds that it takes to judge and report one network, about."""
        attacked = self.attack.present
        tables = self.patterns if isinstance(self.patterns, tuple) else (self.patterns,)
        shapes = [*(np.asarray(table).shape for table in (*tables, self.gates)), (0, self.n_gates)]
        gates = max(shape[1] for shape in shapes if len(shape) == 2)
        slots = 2 * gates if self.slots is None else np.size(self.slots.signs)
        cones = gates if attacked and self.rules.constrains_gates else 0
        n, d = self.inputs.shape
        spanned = not self.attack.present or self.attack.geometry.isotropic
        one = seconds_of_a_look(n, d, int(slots), attacked=attacked, spanned=spanned, cones=cones)
        # Making the parts would find their gates.
        return one * sum(int(labels[0].size) for labels in self.targets)

    def at_once(self) -> Certificate:
        """Bounds of the network without neurons, without any gates."""
        loss, targets = self.loss_function, [labels.reshape(self.X.shape[0], -1) for labels in self.targets]
        upper = sum(float(np.mean(loss.value(np.zeros_like(labels), labels).sum(axis=1))) for labels in targets)
        lower = (bound_at_once(self.inputs, labels, loss, self.beta) for labels in targets)
        return Certificate(upper, sum(lower))

    @property
    def size(self) -> int:
        """Number of slots, over all classes."""
        return sum(int(part.program.signs.size) for part in self.parts)

    # -- better gates -------------------------------------------------------------------------------------------

    def with_slots(self, slots: Slots) -> Self:
        """The same problem with other slots."""
        return replace(self, slots=slots)._with(found=self._found())

    def regated(self, network: ReLUNetwork) -> Self | None:
        """The problem with better gates for this network (`problems.relu.gates.regating`); None if none are better."""
        if not self.rules.one_sided:
            return None
        gates = regated(self.program, self.point(network))
        return None if gates is None else self.with_slots(Slots(gates, self.program.signs))

    def grown(self, network: ReLUNetwork, solution: Solution | None) -> Self | None:
        """The problem with half as many gates again, or `grow`, those violated most; None if none are found."""
        candidates = [self.network_multipliers(network)]
        if solution is not None:
            candidates = list(self.multiplier_candidates(solution, network))
        bound = max((self.dual(multipliers) for multipliers in candidates), key=lambda found: found.value)
        found = price(
            self.program,
            _scaled(bound),
            max(self.grow, self.program.signs.size // 2),
            self.seed + self.program.signs.size,
            self.point(network).reshape(-1, self.program.shape[2]),
            self._fresh_carriers(),
        )
        if found.signs.size == 0:
            return None
        return self.with_slots(Slots(self.program.gates, self.program.signs).with_more(found.gates, found.signs))

    @cached_property
    def carriers(self) -> int:
        """How many of the patterns can carry a neuron that no attack moves out of its cone."""
        return sum(self._carries(pattern) for pattern in self.gate_set.patterns.T)

    def report(self, network: ReLUNetwork) -> dict[str, Any]:
        """What a user wants to know of gates and network, ready for JSON."""
        found, own = self.gate_set, self.own_objective(network)
        programs = [part.program for part in self.parts]
        said: dict[str, Any] = {
            "formulation": programs[0].formulation,
            "gates_from": found.source,
            "gates_asked": found.asked,
            "gates_duplicate": found.duplicates,
            "gates_empty": found.empty,
            "gates": int(found.patterns.shape[1]),
            "slots": sum(int(program.signs.size) for program in programs),
            "network_objective_at_least": own.lower,
            "network_objective_at_most": own.upper,
        }
        if self.span is not None:
            said["reduced"] = self.span.report()
        if self.rules.constrains_gates and bool((self.radius > 0.0).any()):
            said["gates_that_can_carry_a_neuron"] = self.carriers
            if self.carriers == 0:
                said["advice"] = NOTHING_CARRIED
        return said


def _scaled(bound: GatedBound) -> GatedMultipliers:
    m, s = bound.multipliers, bound.scale
    omega = None if m.omega is None else s * m.omega
    return replace(m, theta=s * m.theta, mu=s * m.mu, omega=omega)
