"""Attacks that are held, the answers to them, and mixtures of multipliers: bounds that descent alone does not reach."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cvxrobust import Settings, solve
from cvxrobust.backends.torch.boxes.answers import Answers
from cvxrobust.backends.torch.boxes.objective import BoxObjective, BoxQuery
from cvxrobust.backends.torch.polynomial.mixtures import Multipliers, best_mixture
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.core.programs.boxes.certificate import bound_of_boxes
from cvxrobust.core.programs.polynomial.certificate import dual_bound
from cvxrobust.problems.polynomial.boxes.box_sdp import BoxSDP

ACTIVATION, BETA = (0.09, 0.5, 0.47), 0.05


def instance(seed, n=40, d=5):
    """A problem of one of the losses, with an input out of reach now and then, and radii of 0."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.where(X[:, 0] * X[:, 1] + 0.5 * X[:, 2] + 0.3 * rng.standard_normal(n) > 0.0, 1.0, -1.0)
    scale = rng.uniform(0.3, 1.5, d) * (rng.random(d) > 0.2)
    radius = rng.uniform(0.05, 0.3, n) * (rng.random(n) > 0.1)
    return BoxSDP(X, y, radius, beta=0.03, scale=scale, loss=("hinge", "squared_hinge", "logistic")[seed % 3])


def moved(problem, seed, sweeps=5):
    """The objective with attacks on a random network, the network, and smoothing."""
    rng, program = np.random.default_rng(seed), problem.to_structured()
    objective = BoxObjective(program, torch.device("cpu"))
    neurons = objective.tensor(0.5 * rng.standard_normal((6, program.X.shape[1])))
    signs = objective.tensor(np.array([1.0, -1.0] * 3))
    smoothing = PolynomialSmoothing(0.1, 0.05, torch.zeros(program.X.shape[0], dtype=torch.float64))
    for _ in range(sweeps):
        objective.evaluate(BoxQuery(neurons, signs, smoothing))
    return objective, neurons, signs, smoothing


@pytest.mark.parametrize("seed", range(3))
def test_held_attacks_stay_and_have_a_slope(seed):
    objective, neurons, signs, smoothing = moved(instance(seed), seed)
    kept = objective.rows.clone(), objective.noise.clone()
    held = replace(smoothing, attack=0.0)
    value = lambda point: objective.evaluate(BoxQuery(point, signs, held), held=True)  # noqa: E731
    step = torch.randn(neurons.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    slope = float((value(neurons).gradient * step).sum())
    ahead, back = (value(neurons + sign * 1e-5 * step).value for sign in (1.0, -1.0))
    assert (ahead - back) / 2e-5 == pytest.approx(slope, rel=1e-4, abs=1e-7)
    assert torch.equal(objective.rows, kept[0])
    assert torch.equal(objective.noise, kept[1])
    # What moves on finds worse attacks for another network.
    for _ in range(20):
        free = objective.evaluate(BoxQuery(neurons + step, signs, replace(held, attack=1e-6))).reached
    objective.rows, objective.noise = kept
    assert (value(neurons + step).reached >= free - 1e-4).all()


@pytest.mark.parametrize("seed", range(6))
def test_answers_prove_what_holds_and_nearly_what_they_are_worth(seed):
    problem = instance(seed)
    program = problem.to_structured()
    known = solve(problem, backend="ipm", settings=Settings(tolerance=1e-6)).certificate
    objective, neurons, signs, smoothing = moved(problem, seed)
    answers = Answers(objective, lambda: False)
    values = [bound_of_boxes(program, answers.to(neurons, signs, smoothing, known.upper)).value for _ in range(3)]
    assert max(values) <= known.upper
    # Attacks on a random network are not the worst ones, but what they cost is known nearly whole.
    assert answers.neurons is not None
    held = BoxQuery(answers.neurons, answers.signs, replace(smoothing, attack=0.0, penalty=1.0))
    cost = objective.evaluate(held, held=True).value
    assert values[-1] <= cost + 0.05 * known.upper  # the loss is smoothed, from below
    assert values[-1] > cost - 0.1 * known.upper


def proofs(seed, count=6, n=30, d=3):
    """Multipliers at random, and what proves their mixtures."""
    rng, loss = np.random.default_rng(seed), LOSSES["hinge"]
    target, points = rng.choice([-1.0, 1.0], n), rng.standard_normal((n, d + 1))
    points[:, d] = 1.0
    known = []
    for _ in range(count):
        theta = rng.random(n) / n
        S = (points * (theta * target)[:, None]).T @ points
        known.append(Multipliers(theta, S, float(loss.bound(theta, target))))

    def prove(theta, S):
        return dual_bound(loss.clip(theta), S, 0.0, loss=loss, target=target, activation=ACTIVATION, beta=BETA)

    return known, prove


@pytest.mark.parametrize("seed", range(8))
def test_the_best_mixture_is_the_best(seed):
    known, prove = proofs(seed)
    found = best_mixture(known, prove, ACTIVATION, BETA)
    assert (found.weights >= 0.0).all()
    np.testing.assert_allclose(found.theta, found.weights @ np.array([one.theta for one in known]))
    rng = np.random.default_rng(seed)
    for weights in [*np.eye(len(known)), *rng.dirichlet(np.full(len(known), 0.5), 300)]:
        theta = weights @ np.array([one.theta for one in known])
        other = prove(theta, np.tensordot(weights, np.array([one.moments for one in known]), 1))
        # A certificate may scale multipliers up as well, which no mixture does.
        scaled_down = min(other.value, float(weights @ [one.value for one in known]))
        assert scaled_down <= found.bound.value * (1.0 + 1e-3)


def test_the_hinge_with_many_inputs_is_trained():
    """Descent alone ended at a gap of 0.43, as what the barrier of attacks adds was taken for smoothing of the loss."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 20))
    y = np.where(X[:, :3].sum(axis=1) + 0.3 * rng.standard_normal(60) > 0.0, 1.0, -1.0)
    found = solve(BoxSDP(X, y, 0.1, beta=0.01), backend="torch", settings=Settings(tolerance=1e-2))
    assert found.quality == "certified", found
