"""Whether the contract of problem families earns its name: each sabotage of a problem turns the right tests red."""

from dataclasses import replace

import numpy as np
import pytest

from cvxrobust import AdversarialSDP
from cvxrobust.core.testing import ProblemContract
from cvxrobust.core.testing.problem_contract import Reference

RNG = np.random.default_rng(5)
X = RNG.normal(size=(8, 2))
Y = np.where(X[:, 0] + X[:, 1] ** 2 > 0.5, 1.0, -1.0)


class FlattersNetworks(AdversarialSDP):
    def objective(self, network):
        return 0.99 * super().objective(network)


class OverstatesBounds(AdversarialSDP):
    def lower_bound(self, multipliers):
        return super().lower_bound(multipliers) + 1e-3


class RecoversTheTrivialNetwork(AdversarialSDP):
    def recover(self, solution):
        return self.trivial_network()


class ForgetsItsOffset(AdversarialSDP):
    def to_conic(self):
        return replace(super().to_conic(), offset=0.1)


class MiscountsRows(AdversarialSDP):
    @property
    def conic_rows(self):
        return super().conic_rows + 1


class HidesACone(AdversarialSDP):
    @property
    def cones(self):
        return frozenset(list(super().cones)[1:])


class ConsumesItsSeed(AdversarialSDP):
    def to_conic(self):
        program = super().to_conic()
        return replace(program, q=program.q * RNG.uniform(1.0, 1.1))


class SeesNoAttack(AdversarialSDP):
    def pessimize(self, network):
        attacks = super().pessimize(network)
        return replace(attacks, points=self.X)


class BlendsBadly(AdversarialSDP):
    def blend(self, first, second, weight):
        twice = super().blend(first, second, weight)
        return replace(twice, alpha=3.0 * twice.alpha)


class StaysWhereItIs(AdversarialSDP):
    def at(self, *, beta=None, radius=None):
        return super().at(radius=radius)


class SquaresBeta(AdversarialSDP):
    def objective(self, network):
        return super().objective(network) + self.beta**2


class LeavesOutTooMany(AdversarialSDP):
    def matters(self, network, reach):
        return super().matters(network, reach - 1.0)


class ForgetsTheShare(AdversarialSDP):
    def of_rows(self, rows):
        return super().of_rows(rows)[0], 1.0


SABOTAGE = {
    FlattersNetworks: ["the_recovered_network_attains_the_optimum", "bounds_hold_whatever_a_solver_returns"],
    OverstatesBounds: ["the_multipliers_prove_the_optimum", "bounds_hold_whatever_a_solver_returns"],
    RecoversTheTrivialNetwork: ["the_recovered_network_attains_the_optimum"],
    ForgetsItsOffset: ["the_conic_form_has_the_value_of_the_readable_reference"],
    MiscountsRows: ["cones_and_rows_are_known_before_assembly"],
    HidesACone: ["cones_and_rows_are_known_before_assembly"],
    ConsumesItsSeed: ["assembly_repeats_itself"],
    SeesNoAttack: ["the_objective_is_that_of_the_worst_cases"],
    BlendsBadly: ["a_blend_costs_no_more_than_the_mixture"],
    StaysWhereItIs: ["what_a_path_rests_on_holds"],
    SquaresBeta: ["what_a_path_rests_on_holds"],
    LeavesOutTooMany: ["some_samples_bound_all"],
    ForgetsTheShare: ["some_samples_bound_all"],
}


def run(kind, name):
    """One test of the contract, on a problem of this kind."""

    class Contract(ProblemContract):
        def make(self):
            return kind(X, Y, radius=0.2, beta=0.1)

    contract = Contract()
    problem = contract.make()
    known = {"problem": problem, "reference": Reference(problem, contract.tolerance)}
    test = getattr(contract, f"test_{name}")
    return test(**{key: value for key, value in known.items() if key in test.__code__.co_varnames})


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in SABOTAGE.items() for name in names])
def test_sabotage_is_noticed(kind, name):
    run(AdversarialSDP, name)
    with pytest.raises(AssertionError):
        run(kind, name)
