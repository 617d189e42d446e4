"""Attacks that are held, the answers to them, and mixtures of multipliers: bounds that descent alone does not reach."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cvxrobust import Settings, solve
from cvxrobust.backends.torch.boxes.objective import BoxObjective, BoxQuery
from cvxrobust.backends.torch.polynomial.answers import Answers, HeldAttacks, _Held
from cvxrobust.backends.torch.polynomial.mixtures import Multipliers, best_mixture
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers, bound_of_boxes
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


def holding(problem, objective, smoothing):
    program = problem.to_structured()
    return _Held(program, program.labels[:, 0], objective.held, replace(smoothing, attack=0.0))


@pytest.mark.parametrize("seed", range(3))
def test_held_attacks_stay_and_have_a_slope(seed):
    problem = instance(seed)
    objective, neurons, signs, smoothing = moved(problem, seed)
    held = holding(problem, objective, smoothing)
    step = torch.randn(neurons.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    slope = float((held.at(neurons, signs).gradient * step).sum())
    ahead, back = (held.at(neurons + sign * 1e-5 * step, signs).value for sign in (1.0, -1.0))
    assert (ahead - back) / 2e-5 == pytest.approx(slope, rel=1e-4, abs=1e-7)
    # On the network that they were made for they cost what they did, without what the barrier adds.
    sharp = objective.evaluate(BoxQuery(neurons, signs, smoothing))
    again = holding(problem, objective, smoothing).at(neurons, signs)
    shown = objective.loss.first_order(sharp.reached, lambda z: smoothing.relu(z, slice(None)))[1]
    live = sharp.reached > sharp.reached.min() - 1.0  # others were left alone, with bounds for margins
    assert torch.allclose(again.weights[live & (again.weights > 0)], shown[live & (again.weights > 0)], atol=1e-6)
    # Worse attacks than those that are held cost more.
    for _ in range(30):
        free = objective.evaluate(BoxQuery(neurons + step, signs, replace(smoothing, attack=1e-6)))
    assert held.at(neurons + step, signs).value <= free.value + 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_answers_prove_what_holds_and_nearly_what_they_are_worth(seed):
    problem = instance(seed)
    program = problem.to_structured()
    known = solve(problem, backend="ipm", settings=Settings(tolerance=1e-6)).certificate
    objective, neurons, signs, smoothing = moved(problem, seed)
    answers = Answers(program, 0, lambda: False, torch.device("cpu"))
    values = []
    for _ in range(3):
        theta = answers.to(objective.held, neurons, signs, smoothing, known.upper)
        rows = np.arange(theta.size)
        factors, noise = objective.attacks(rows)
        values.append(bound_of_boxes(program, BoxMultipliers(theta, factors, rows, noise)).value)
    assert max(values) <= known.upper
    # Attacks on a random network are not the worst ones, but what they cost is known nearly whole.
    cost = holding(problem, objective, smoothing).at(answers.neurons, answers.signs).value
    assert values[-1] <= cost + 0.05 * known.upper  # the loss is smoothed, from below
    assert values[-1] > cost - 0.1 * known.upper


def test_held_moments_may_lie_in_directions_of_their_own():
    """As those of attacks in balls do: one point for each sample, and variances along a few axes."""
    problem, rng = instance(0), np.random.default_rng(0)
    program, d = problem.to_structured(), problem.X.shape[1]
    n = problem.X.shape[0]
    points, axes, variance = (
        rng.standard_normal((1, n, d)),
        np.linalg.qr(rng.standard_normal((d, 2)))[0],
        rng.random((n, 2)),
    )
    tensor = lambda part: torch.tensor(part, dtype=torch.float64)  # noqa: E731
    smoothing = PolynomialSmoothing(0.1, 0.0, torch.zeros(n, dtype=torch.float64))
    held = _Held(program, program.labels[:, 0], HeldAttacks(*map(tensor, (points, axes, variance))), smoothing)
    v, signs = rng.standard_normal((4, d)), np.array([1.0, -1.0, 1.0, -1.0])
    a, b, c = program.activation
    x, lengths = points[0] @ v.T, np.linalg.norm(v, axis=1)
    outputs = (a * x**2 + b * x * lengths + c * lengths**2) @ signs + variance @ (a * (signs @ (v @ axes) ** 2))
    losses, _ = held.loss.first_order(tensor(program.labels[:, 0] * outputs), lambda z: smoothing.relu(z, slice(None)))
    value = float(losses.mean()) + program.beta * float((lengths**2).sum())
    assert held.met_at(tensor(v), tensor(signs)).value == pytest.approx(value)
    theta, S = held.met[0].theta, held.met[0].moments
    lifted = np.hstack([points[0], np.ones((n, 1))])
    expected = (lifted * (theta * program.labels[:, 0])[:, None]).T @ lifted
    expected[:d, :d] += axes @ np.diag((theta * program.labels[:, 0]) @ variance) @ axes.T
    np.testing.assert_allclose(S, expected, atol=1e-12)


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


def test_large_boxes_are_answered_though_nothing_is_known_yet():
    """No multipliers of a round were worth anything, answers were not asked for, and it gave up at a gap of 0.96."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((24, 8))
    y = np.where(X[:, 0] + X[:, 1] + 0.5 * X[:, 2] * X[:, 3] > 0.0, 1.0, -1.0)
    result = solve(BoxSDP(X, y, 0.5, beta=1e-3), "torch", settings=Settings(tolerance=0.5, max_iterations=600))
    assert result.certificate.relative_gap <= 0.5
