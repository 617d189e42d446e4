"""Gated programmes under attacks with a shape: the same method, in their own axes."""

from dataclasses import replace

import numpy as np
import pytest
from random_relu import NORMS, shaped_recipe
from relu_cases import agrees, clear_gates, data

from cvxrobust import AdversarialReLU, Settings, Termination, solve
from cvxrobust.core import get_backend

TIGHT = Settings(tolerance=1e-7)


def certified(problem, **settings):
    result = solve(problem, "ipm", settings=TIGHT.replace(**settings))
    assert not result.complaints
    return result


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("number", range(72))
def test_the_optimum_is_that_of_the_formulas(number):
    recipe = shaped_recipe(number)
    problem = recipe.problem()
    result = certified(problem)
    assert result.quality == "certified"
    agrees(recipe, problem, result.certificate, converged=False)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("formulation", ["cone", "gated"])
def test_cones_that_are_flat_because_a_sample_is_zero_still_hold_neurons(norm, formulation):
    X, y = data(4, n=12)
    X[0] = 0.0
    shapes = [{"scale": np.array([1.0, 0.0, 0.5])}, {"scale": np.array([0.0, 0.0, 2.0])}]
    shapes += [{"directions": np.array([[1.0], [2.0], [-0.5]])}] if norm == 2 else []
    for shape in shapes:
        problem = AdversarialReLU(
            X, y, 0.2, norm=norm, gates=clear_gates(X[1:]), formulation=formulation, beta=1e-3, **shape
        )
        other = solve(problem, "clarabel", settings=TIGHT).certificate
        found = certified(problem)
        assert found.quality == "certified"
        assert found.certificate.upper == pytest.approx(other.upper, rel=1e-6)
        assert found.certificate.upper < 0.99 or formulation == "cone"


@pytest.mark.parametrize("norm", NORMS)
def test_a_ball_of_scale_one_takes_the_same_steps(norm):
    X, y = data(2, n=20)
    ball, ones = (
        AdversarialReLU(X, y, 0.1, norm=norm, n_gates=8, bias=True, scale=scale).program for scale in (None, np.ones(3))
    )
    found = [get_backend("ipm").solve(program, TIGHT) for program in (ball, ones)]
    assert found[0].iterations == found[1].iterations
    assert np.array_equal(found[0].network.u, found[1].network.u)
    assert np.array_equal(found[0].multipliers.theta, found[1].multipliers.theta)


def test_it_starts_near_a_network_and_reports_what_is_true_of_the_programme_that_was_given():
    X, y = data(2, n=30)
    S = np.random.default_rng(0).standard_normal((3, 2))
    problem = AdversarialReLU(X, y, 0.1, norm=2, n_gates=8, bias=True, directions=S)
    cold = certified(problem, tolerance=1e-4)
    again = solve(replace(problem, beta=0.011), "ipm", settings=TIGHT.replace(tolerance=1e-4), warm_start=cold.network)
    assert again.quality == "certified"
    assert not again.complaints
    assert len(cold.trace) > 2
    stopped = certified(problem, max_iterations=3)
    assert stopped.termination is Termination.ITERATION_LIMIT
    assert stopped.certificate.lower <= cold.certificate.upper
