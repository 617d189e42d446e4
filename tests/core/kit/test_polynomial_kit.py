"""What authors of backends of polynomial programmes are given: networks and multipliers judged, derivatives, rounds."""

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from cvxrobust import AdversarialSDP, PolynomialNetwork, Settings, StandardSDP, Termination
from cvxrobust.core import Monitor, PointMultipliers
from cvxrobust.core.kit import BestSoFar, PolynomialBest, factorised_objective, network_of, scaled_neurons

RNG = np.random.default_rng(0)
X, U = RNG.standard_normal((12, 3)), RNG.standard_normal((4, 3))
Y = np.sign(X[:, 0] * X[:, 1])
NETWORK = PolynomialNetwork(U / np.linalg.norm(U, axis=1, keepdims=True), np.array([1.0, -0.5, 0.3, -2.0]))
PROBLEMS = {
    "attacked": AdversarialSDP(X, Y, radius=np.linspace(0.0, 0.5, 12), loss="logistic"),
    "squared": StandardSDP(X, X[:, 0] ** 2, loss="squared"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_networks_and_multipliers_are_worth_what_their_problem_says(name):
    problem = PROBLEMS[name]
    best = PolynomialBest(problem.to_structured(), Settings())
    found = best.offer_network(NETWORK)
    assert found.value == best.upper == pytest.approx(problem.objective(NETWORK), rel=1e-12)
    bound = best.offer_multipliers(found.multipliers)
    assert bound.value == best.lower == pytest.approx(problem.lower_bound(found.multipliers), rel=1e-12)
    wild = PointMultipliers(10.0 * found.multipliers.weights, found.multipliers.owners, X + 1.0)
    assert best.offer_multipliers(wild).value == pytest.approx(problem.lower_bound(wild), rel=1e-9)
    nothing = best.nothing
    assert (nothing.n_neurons, nothing.regression) == (0, name == "squared")
    assert best.offer_network(nothing).value == pytest.approx(problem.objective(problem.trivial_network()))


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_factorised_objective_has_the_derivative_that_differences_have(name):
    program = PROBLEMS[name].to_structured()
    w, signs = scaled_neurons(NETWORK)
    value, slope = factorised_objective(program, w, signs)
    assert value == pytest.approx(PROBLEMS[name].objective(NETWORK), rel=1e-12)
    for _ in range(3):
        step = 1e-6 * RNG.standard_normal(w.shape)
        there, back = (factorised_objective(program, w + sign * step, signs)[0] for sign in (1.0, -1.0))
        assert 0.5 * (there - back) == pytest.approx(float((slope * step).sum()), rel=1e-4, abs=1e-12)


def test_neurons_come_back_from_their_scales_without_those_that_are_as_good_as_zero():
    program = PROBLEMS["attacked"].to_structured()
    w, signs = scaled_neurons(NETWORK)
    again = network_of(program, np.vstack([w, 1e-9 * w[:1]]), np.append(signs, 1.0))
    assert again.u == pytest.approx(NETWORK.u)
    assert again.alpha == pytest.approx(NETWORK.alpha)


def test_inputs_that_come_in_blocks_are_evaluated_block_by_block():
    class Halves:
        shape = X.shape

        def blocks(self):
            yield slice(0, 5), X[:5]
            yield slice(5, 12), X[5:]

    problem = PROBLEMS["attacked"]
    streamed = replace(problem.to_structured(), X=Halves())
    whole, halves = (PolynomialBest(each, Settings()) for each in (problem.to_structured(), streamed))
    assert halves.offer_network(NETWORK).slope == pytest.approx(whole.offer_network(NETWORK).slope, rel=1e-12)


def test_rounds_go_on_until_there_is_a_reason_to_stop_and_are_reported():
    heard = []

    def rounds(best, most):
        for done in range(most):
            best.offer_primal(f"p{done}", 2.0 - 0.1 * done)
            yield done

    def best(**limits):
        return BestSoFar(Settings(**limits), Monitor(hear=lambda *said: heard.append(said[0])))

    limited = best(max_iterations=3)
    assert limited.run(rounds(limited, 10)) is Termination.ITERATION_LIMIT
    assert (limited.iterations, limited.primal, heard) == (3, "p3", [2.0, 1.9, 1.8, 1.7])
    assert limited.limits == {"tolerance": 1e-6, "max_iterations": 3}
    done = best()
    done.offer_dual("d", 1.5)
    assert done.run(rounds(done, 10)) is Termination.CONVERGED
    given_up = best()
    assert given_up.run(rounds(given_up, 2)) is Termination.NUMERICAL
    assert given_up.iterations == 1


def test_the_time_that_rounds_take_is_kept_back_for_the_last_certificate(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def rounds():
        for done in count():
            yield done
            now[0] += 10.0

    best = BestSoFar(Settings(), Monitor(deadline=100.0))
    assert best.run(rounds(), needed=1.5) is Termination.TIME_LIMIT
    assert best.iterations == 9
    assert best.deadline.reserve == 15.0
    alone = BestSoFar(Settings(time_limit=50.0))
    assert alone.run(rounds()) is Termination.TIME_LIMIT
