"""ReLU networks: attacks and bounds against brute force and known answers, labels, files, torch."""

import json
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
import torch

from cvxrobust.core.attacks import relu_bounds, relu_exact
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.networks import relu_contests
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.standardizer import Standardizer

NORMS = ("inf", 2, 1)
CLASSES = ("ash", "birch", "cedar")


def random_network(d, outputs=1, seed=0, neurons=6, bias=False, **fields):
    rng = np.random.default_rng([d, outputs, seed])
    u = rng.standard_normal((neurons, d + bias))
    alpha = rng.standard_normal((neurons, outputs) if outputs > 1 else neurons)
    return ReLUNetwork(u, alpha, bias, **fields)


def by_definition(network, x):
    extended = [*x, 1.0] if network.bias else x
    outputs = 0.0
    for u, alpha in zip(network.u, network.alpha, strict=True):
        outputs = outputs + alpha * max(0.0, sum(p * q for p, q in zip(u, extended, strict=True)))
    return outputs


def length(D, norm):
    return np.linalg.norm(D, ord=np.inf if norm == "inf" else norm, axis=1)


def grid(d, norm):
    """Points that cover the unit ball, its corners included, in one or two dimensions."""
    axis = np.linspace(-1.0, 1.0, 101)
    if d == 1:
        return axis[:, None]
    square = np.array(list(product(axis, axis)))
    if norm == "inf":
        return square
    # Shrink each square's surface to that of the ball: a radial map that keeps the centre.
    size = length(square, norm)
    return square * (length(square, "inf") / np.where(size > 0.0, size, 1.0))[:, None]


def instances(d):
    """Networks with inputs and labels: one output and three classes, with bias and without."""
    rng = np.random.default_rng(d)
    for seed, bias in enumerate((False, True)):
        X = rng.standard_normal((6, d))
        yield random_network(d, 1, seed, bias=bias), X, rng.choice([-1.0, 1.0], 6)
        yield random_network(d, 3, seed, bias=bias, classes=CLASSES), X, rng.choice(CLASSES, 6)


def diamond(d, sign):
    """``sign * sum_k |x_k|``."""
    return ReLUNetwork(np.vstack([np.eye(d), -np.eye(d)]), np.full(2 * d, float(sign)))


# -- outputs and labels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_outputs_are_those_of_the_definition(outputs, bias):
    network = random_network(4, outputs, bias=bias)
    X = np.random.default_rng(1).standard_normal((10, 4))
    found = network.decision_function(X)
    assert found.shape == ((10,) if outputs == 1 else (10, 3))
    assert found == pytest.approx(np.array([by_definition(network, x) for x in X]), rel=1e-12)
    assert (network.n_neurons, network.n_features) == (6, 4)


@pytest.mark.parametrize("outputs", [1, 3])
def test_the_penalty_is_weight_decay_and_smallest_when_neurons_are_balanced(outputs):
    network = random_network(3, outputs, bias=True)
    inner = np.linalg.norm(network.u, axis=1)
    outer = np.linalg.norm(network.alpha.reshape(6, -1), axis=1)
    assert network.penalty == pytest.approx(0.5 * (inner @ inner + outer @ outer))
    factor = np.sqrt(outer / inner)
    outputs_first = network.alpha.T / factor
    balanced = network.replace(u=network.u * factor[:, None], alpha=outputs_first.T)
    X = np.random.default_rng(0).standard_normal((5, 3))
    assert balanced.decision_function(X) == pytest.approx(network.decision_function(X))
    assert balanced.penalty == pytest.approx(inner @ outer)
    assert balanced.penalty < network.penalty


def test_labels_follow_the_sign_and_zero_counts_as_positive():
    network = ReLUNetwork(np.array([[1.0], [-1.0]]), np.array([1.0, -1.0]))  # x
    X = np.array([[1.0], [-0.5], [0.0]])
    assert network.predict(X).tolist() == [1.0, -1.0, 1.0]
    assert network.replace(classes=("no", "yes")).predict(X).tolist() == ["yes", "no", "yes"]


def test_labels_of_several_outputs_are_the_largest_and_the_first_in_a_tie():
    network = ReLUNetwork(np.eye(2), np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]]))
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert network.predict(X).tolist() == [0, 2]
    assert network.replace(classes=CLASSES).predict(X).tolist() == ["ash", "cedar"]


def test_margins_are_signed_outputs_or_the_lead_over_the_best_rival():
    X = np.random.default_rng(0).standard_normal((6, 2))
    network = random_network(2)
    y = np.array([1, -1, 1, -1, -1, 1])
    assert network.margins(X, y) == pytest.approx(y * network.decision_function(X))
    several = random_network(2, 3, classes=CLASSES)
    f = several.decision_function(X)
    expected = [f[i, i % 3] - max(f[i, k] for k in range(3) if k != i % 3) for i in range(6)]
    assert several.margins(X, [CLASSES[i % 3] for i in range(6)]) == pytest.approx(expected)


def test_regression_predicts_the_output_itself():
    network = random_network(2, regression=True)
    X = np.random.default_rng(0).standard_normal((5, 2))
    assert np.array_equal(network.predict(X), network.decision_function(X))
    for accuracy in (network.certified_accuracy, network.attacked_accuracy):
        with pytest.raises(InputError, match=r"replace\(regression=False\)"):
            accuracy(X, np.ones(5), [0.0])


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_without_neurons_is_constant_zero(norm):
    for alpha in (np.empty(0), np.empty((0, 3))):
        network = ReLUNetwork(np.empty((0, 2)), alpha)
        X = np.ones((3, 2))
        labels = network.predict(X)
        assert not network.decision_function(X).any()
        assert network.penalty == 0.0
        assert not network.lower_bound(X, labels, 1.0, norm).any()
        exact = network.exact_worst_case(X, labels, 1.0, norm)
        assert not network.attack(X, labels, 1.0, norm).margins.any()
        assert not exact.margins.any()
        assert not exact.lower.any()
        assert exact.proven.all()
        # A margin of 0 proves nothing, but nothing is found against it either.
        assert network.certified_accuracy(X, labels, [0.0, 0.5], norm).tolist() == [1.0, 0.0]
        assert network.attacked_accuracy(X, labels, [0.0, 0.5], norm).tolist() == [1.0, 1.0]
        assert not network.to_torch()(torch.ones(3, 2, dtype=torch.float64)).any()


# -- the adversary ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_projections_are_the_nearest_points_of_the_ball(norm):
    rng = np.random.default_rng(0)
    D = rng.standard_normal((200, 4)) * rng.uniform(0.1, 3.0, (200, 1))
    radius = np.concatenate([np.zeros(5), rng.uniform(0.1, 3.0, 195)])
    ball = AttackBall(norm, radius, 4)
    near = ball.project(D)
    assert (length(near, norm) <= radius * (1.0 + 1e-12)).all()
    inside = length(D, norm) <= radius
    assert inside.any()
    assert near[inside] == pytest.approx(D[inside])
    others = ball.sample(rng)
    assert (length(others, norm) <= radius * (1.0 + 1e-12)).all()
    for point in (others, radius[:, None] * ball.maximiser(D - near)):
        assert (np.einsum("ij,ij->i", D - near, point - near) <= 1e-12).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_steepest_direction_attains_the_dual_norm(norm):
    G = np.vstack([np.random.default_rng(0).standard_normal((50, 4)), np.zeros((1, 4))])
    ball = AttackBall(norm, np.ones(51), 4)
    z = ball.maximiser(G)
    assert (length(z, norm) <= 1.0 + 1e-12).all()
    assert np.einsum("ij,ij->i", G, z) == pytest.approx(ball.dual_norm(G))
    others = ball.sample(np.random.default_rng(1))
    assert (np.einsum("ij,ij->i", G, others) <= ball.dual_norm(G)).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("d", [1, 2])
def test_bounds_enclose_the_worst_case_and_a_grid_cannot_beat_it(d, norm):
    cover = grid(d, norm)
    crossed = 0
    for network, X, y in instances(d):
        for radius in (1e-3, 0.3, 2.0):
            clean, lower = network.margins(X, y), network.lower_bound(X, y, radius, norm)
            found, exact = network.attack(X, y, radius, norm), network.exact_worst_case(X, y, radius, norm)
            for points, margins in ((found.points, found.margins), (exact.points, exact.margins)):
                assert (length(points - X, norm) <= radius * (1.0 + 1e-12)).all()
                assert network.margins(points, y) == pytest.approx(margins, rel=1e-12, abs=1e-12)
            assert exact.proven.all()
            assert (lower <= exact.lower + 1e-12).all()
            assert (exact.lower <= exact.margins).all()
            assert exact.lower == pytest.approx(exact.margins, abs=1e-4 * max(radius, 0.1))
            assert (exact.margins <= found.margins + 1e-6).all()
            assert (found.margins <= clean).all()
            sampled = np.array(
                [
                    network.margins(x + radius * cover, np.full(len(cover), label)).min()
                    for x, label in zip(X, y, strict=True)
                ]
            )
            assert (exact.lower <= sampled).all()
            assert sampled == pytest.approx(exact.margins, abs=0.5 * radius)
            assert (sampled <= exact.margins + 0.04 * (clean - exact.margins) + 1e-5).all()
            crossed += int((exact.margins - lower > 1e-3).sum())
    assert crossed > 0  # or every instance would have been linear


@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_worst_case_of_a_sum_of_absolute_values_is_known(d):
    X = np.zeros((1, d))
    reach = {"inf": float(d), 2: d**0.5, 1: 1.0}
    for norm in NORMS:
        down = diamond(d, -1).exact_worst_case(X, np.ones(1), 0.5, norm)
        assert down.margins == pytest.approx([-0.5 * reach[norm]], rel=1e-5)
        assert down.lower == pytest.approx([-0.5 * reach[norm]], rel=1e-4)
        # Upwards the minimum lies inside the ball, where the gradient vanishes.
        up = diamond(d, 1).exact_worst_case(X + 0.05, np.ones(1), 0.5, norm)
        assert up.margins == pytest.approx([0.0], abs=1e-4)
        assert up.lower == pytest.approx([0.0], abs=1e-4)
        assert down.proven.all()
        assert up.proven.all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_solvers_need_no_attack_to_start_from(norm):
    cover = grid(2, norm)
    decided = 0
    for seed in range(12):
        network = random_network(2, neurons=7, seed=seed, bias=True)
        alpha = network.alpha - (seed % 3)  # more and more neurons that push down
        X = np.random.default_rng(seed).standard_normal((1, 2))
        V, b = network.u[:, :-1], network.u[:, -1]
        contest = relu_bounds.Contests(V, b, alpha[None], X, AttackBall(norm, np.array([1.0]), 2))
        ball = relu_exact.UnitBall.of(contest)
        points = X + cover
        values = np.maximum(points @ V.T + b, 0.0) @ alpha
        assert [ball.value(z) for z in cover[::999]] == pytest.approx(values[::999])
        if norm == 2:
            z, bound = relu_exact.branch_and_bound(ball, np.inf, np.inf)
        else:
            z, bound = relu_exact.mixed_integer(ball, np.inf)
        assert length(z[None], norm) <= 1.0 + 1e-12
        assert bound <= values.min()
        assert ball.value(z) <= values.min() + 1e-6 * ball.scale
        assert bound == pytest.approx(ball.value(z), abs=1e-5 * ball.scale)
        decided += int((ball.c < 0.0).sum() > 2)
    assert decided > 3


def test_poorly_optimised_multipliers_make_bounds_loose_but_never_wrong(monkeypatch):
    monkeypatch.setattr(relu_exact, "TUNING", replace(relu_exact.TUNING, last_barrier=1.0))
    network = random_network(2, neurons=7, bias=True)
    V, b, X = network.u[:, :-1], network.u[:, -1], np.zeros((1, 2))
    contest = relu_bounds.Contests(V, b, network.alpha[None], X, AttackBall(2, np.array([1.0]), 2))
    ball = relu_exact.UnitBall.of(contest)
    z, bound = relu_exact.branch_and_bound(ball, np.inf, np.inf)
    assert bound <= min(ball.value(point) for point in grid(2, 2)[::7])
    assert bound < ball.value(z) - 1e-3 * ball.scale


@pytest.mark.parametrize("norm", ["inf", 1])
def test_the_worst_case_is_that_of_the_best_activation_pattern(norm):
    """Every pattern of the neurons gives a linear programme; together they are the definition."""
    from scipy.optimize import linprog

    network = random_network(3, neurons=5, bias=True)
    X = np.random.default_rng(5).standard_normal((4, 3))
    radius, V, b = 0.8, network.u[:, :-1], network.u[:, -1]
    exact = network.exact_worst_case(X, np.ones(4), radius, norm)
    ball = np.array(list(product((-1.0, 1.0), repeat=3))) if norm == 1 else np.vstack([np.eye(3), -np.eye(3)])
    for x, margin in zip(X, exact.margins, strict=True):
        best = np.inf
        for pattern in product((0.0, 1.0), repeat=5):
            active, sides = np.array(pattern), 1.0 - 2.0 * np.array(pattern)
            t = V @ x + b
            programme = linprog(
                (network.alpha * active) @ V,
                A_ub=np.vstack([ball, sides[:, None] * V]),
                b_ub=np.concatenate([np.full(len(ball), radius), -sides * t]),
                bounds=(None, None),
            )
            if programme.status == 0:
                best = min(best, programme.fun + (network.alpha * active) @ t)
        assert margin == pytest.approx(best, abs=1e-5)


def test_the_bias_is_out_of_reach():
    network = ReLUNetwork(np.array([[1.0, -2.0, 100.0]]), np.array([1.0]), bias=True)
    X, y = np.array([[1.0, 1.0]]), np.ones(1)
    for norm, dual in (("inf", 3.0), (2, 5.0**0.5), (1, 2.0)):
        expected = pytest.approx([99.0 - 0.5 * dual], rel=1e-9)
        assert network.lower_bound(X, y, 0.5, norm) == expected
        assert network.attack(X, y, 0.5, norm).margins == expected
        exact = network.exact_worst_case(X, y, 0.5, norm)
        assert exact.margins == expected
        assert exact.points.shape == (1, 2)


@pytest.mark.parametrize("norm", NORMS)
def test_radii_may_differ_and_radius_zero_changes_nothing(norm):
    radii = np.array([0.0, 0.1, 0.5, 0.0, 2.0, 1.0])
    for network, X, y in instances(2):
        lower, found = network.lower_bound(X, y, radii, norm), network.attack(X, y, radii, norm)
        exact = network.exact_worst_case(X, y, radii, norm)
        for k, radius in enumerate(radii):
            row = slice(k, k + 1)
            assert lower[k] == pytest.approx(network.lower_bound(X[row], y[row], radius, norm)[0], rel=1e-9)
            alone = network.exact_worst_case(X[row], y[row], [radius], norm)
            assert exact.margins[k] == pytest.approx(alone.margins[0], abs=1e-4)
        still = radii == 0.0
        clean = network.margins(X, y)[still]
        assert np.array_equal(found.points[still], X[still])
        assert np.array_equal(exact.points[still], X[still])
        for margins in (lower, found.margins, exact.margins, exact.lower):
            assert margins[still] == pytest.approx(clean, rel=1e-12, abs=1e-12)
        assert exact.proven.all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_relaxation_is_exact_where_no_neuron_changes_its_sign(norm):
    for network, X, y in instances(5):
        t = X @ network.layers()[0].T + network.layers()[1]
        reach = AttackBall(norm, radius=np.ones(1), attackable=5).dual_norm(network.layers()[0])
        radius = 0.9 * (np.abs(t) / reach).min(axis=1)
        lower, found = network.lower_bound(X, y, radius, norm), network.attack(X, y, radius, norm)
        assert (lower < network.margins(X, y)).all()
        assert lower == pytest.approx(found.margins, rel=1e-12, abs=1e-12)
        exact = network.exact_worst_case(X, y, radius, norm)
        assert exact.proven.all()
        assert exact.lower == pytest.approx(lower, abs=1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_steps_tighten_the_relaxation_to_the_best_slopes(norm):
    # With positive output weights the margin is convex, so that the best slopes leave no gap.
    network = random_network(3, neurons=8, bias=True)
    network = network.replace(alpha=np.abs(network.alpha))
    X, y = np.random.default_rng(0).standard_normal((8, 3)), np.ones(8)
    exact = network.exact_worst_case(X, y, 0.7, norm).margins
    gaps = np.array([exact - network.lower_bound(X, y, 0.7, norm, steps=steps) for steps in (0, 10, 300)])
    assert (gaps >= -1e-6).all()
    assert (np.diff(gaps, axis=0) <= 1e-12).all()
    assert gaps[0].max() > 0.2
    assert gaps[2].max() < 0.03


@pytest.mark.parametrize("outputs", [1, 2])
def test_lower_bounds_hold_for_the_exact_function_even_where_neurons_cancel(outputs):
    rng = np.random.default_rng(8)
    u = rng.standard_normal((40, 4))
    u[20:] = u[:20] + 1e-9 * rng.standard_normal((20, 4))
    alpha = rng.standard_normal(20)
    alpha = np.concatenate([alpha, -alpha])
    network = ReLUNetwork(u, alpha if outputs == 1 else np.stack([alpha, np.zeros(40)], axis=1), bias=True)
    X = rng.standard_normal((40, 3))
    labels = network.predict(X)
    lower, margins = network.lower_bound(X, labels, 0.0), network.margins(X, labels)

    def exactly(x):
        parts = Fraction(0)
        for row, weight in zip(u.tolist(), alpha.tolist(), strict=True):
            t = sum((Fraction(p) * Fraction(q) for p, q in zip(row, [*x, 1.0], strict=True)), Fraction(0))
            parts += Fraction(weight) * max(t, Fraction(0))
        return parts

    index = np.where(labels == 1, 1, -1) if outputs == 1 else np.where(labels == 0, 1, -1)
    missed = 0
    for x, sign, margin, bound in zip(X.tolist(), index.tolist(), margins, lower, strict=True):
        true = sign * exactly(x)
        assert Fraction(float(bound)) <= true
        missed += Fraction(float(margin)) > true
    assert missed > 0  # or the allowance for rounding would be idle


@pytest.mark.parametrize("norm", NORMS)
def test_a_larger_radius_never_helps(norm):
    for network, X, y in instances(2):
        radii = np.linspace(0.0, 2.0, 4)
        worst = np.array([network.exact_worst_case(X, y, radius, norm).margins for radius in radii])
        assert (np.diff(worst, axis=0) <= 1e-4).all()


def test_attacks_are_repeatable_and_more_starts_help():
    network = random_network(6, 3, neurons=30, bias=True)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 6)), rng.integers(0, 3, 40)
    first, again = (network.attack(X, y, 0.5, seed=1) for _ in range(2))
    assert np.array_equal(first.points, again.points)
    assert not np.array_equal(first.points, network.attack(X, y, 0.5, seed=2).points)
    single = network.attack(X, y, 0.5, restarts=0)
    assert first.margins.sum() < single.margins.sum() < network.margins(X, y).sum()


@pytest.mark.parametrize("norm", NORMS)
def test_a_time_limit_leaves_bounds_that_hold(norm):
    rng = np.random.default_rng(0)
    network = ReLUNetwork(rng.standard_normal((80, 20)), 0.5 - np.abs(rng.standard_normal(80)))
    X, y = rng.standard_normal((2, 20)), np.ones(2)
    for time_limit in (0.0, 0.1):
        found = network.exact_worst_case(X, y, 1.0, norm, time_limit=time_limit)
        assert (found.lower >= network.lower_bound(X, y, 1.0, norm) - 1e-9).all()
        assert (found.lower <= found.margins).all()
        assert found.margins == pytest.approx(network.margins(found.points, y))
        if time_limit == 0.0:
            assert not found.proven.any()
            assert (found.lower < found.margins - 0.1).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_true_robust_accuracy_lies_between_certified_and_attacked(outputs, norm):
    rng = np.random.default_rng(outputs)
    names = CLASSES if outputs == 3 else None
    network = random_network(4, outputs, bias=True, neurons=15, classes=names)
    X = rng.standard_normal((60, 4))
    y = np.where(rng.random(60) < 0.9, network.predict(X), rng.choice(names or [-1.0, 1.0], 60))
    radii = np.array([0.0, 1e-3, 0.03, 0.1, 0.3, 3.0])
    certified = network.certified_accuracy(X, y, radii, norm)
    attacked = network.attacked_accuracy(X, y, radii, norm)
    true = np.mean(network.exact_worst_case(X[:30], y[:30], 0.1, norm).margins > 0.0)
    assert network.certified_accuracy(X[:30], y[:30], 0.1, norm)[0] <= true
    assert true <= network.attacked_accuracy(X[:30], y[:30], 0.1, norm)[0]
    assert certified[0] == attacked[0] == np.mean(network.predict(X) == y)
    assert (certified <= attacked).all()
    for fractions in (certified, attacked):
        assert (np.diff(fractions) <= 0.0).all()
        assert fractions[-1] < fractions[1]
    assert 0.0 < certified[3] <= np.mean(network.lower_bound(X, y, 0.1, norm) > 0.0) + 1e-12
    # The order of the radii is the caller's.
    assert np.array_equal(network.certified_accuracy(X, y, radii[::-1], norm), certified[::-1])
    assert np.array_equal(network.attacked_accuracy(X, y, radii[::-1], norm), attacked[::-1])


def test_blocks_of_samples_do_not_change_the_answers(monkeypatch):
    network, X, y = list(instances(2))[3]
    whole = network.lower_bound(X, y, 0.5), network.exact_worst_case(X, y, 0.5).margins
    monkeypatch.setattr(relu_contests, "BLOCK", 30)
    index, ball = network._label_index(y, 6), AttackBall("inf", np.ones(6), 2)
    assert len(list(relu_contests.contests_of(network, X, index, ball))) == 3
    assert network.lower_bound(X, y, 0.5) == pytest.approx(whole[0], rel=1e-9)
    assert network.exact_worst_case(X, y, 0.5).margins == pytest.approx(whole[1], abs=1e-4)
    assert (network.attack(X, y, 0.5).margins >= whole[1] - 1e-4).all()


# -- torch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_the_torch_module_computes_the_same_function_and_has_gradients(outputs, bias):
    network = random_network(3, outputs, bias=bias)
    X = np.random.default_rng(0).standard_normal((7, 3))
    module = network.to_torch()
    x = torch.tensor(X, requires_grad=True)
    y = module(x)
    assert y.detach().numpy() == pytest.approx(network.decision_function(X), rel=1e-12)
    y.sum().backward()
    assert x.grad.shape == (7, 3)
    assert x.grad.any()
    assert all(parameter.grad is not None for parameter in module.parameters())
    before = network.u.copy()
    with torch.no_grad():
        module.u.mul_(2.0)  # a copy: training the module on leaves the certified network alone
    assert np.array_equal(network.u, before)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network",
    [
        random_network(3),
        random_network(3, regression=True, bias=True),
        random_network(2, classes=("benign", "malignant")),
        random_network(2, 3, classes=(1.5, 2.5, 4.0), bias=True),
        random_network(2, 3, standardizer=Standardizer(np.array([1.0, -2.0]), np.array([0.5, 1e-9]), ("é", "b b"))),
        random_network(2, standardizer=Standardizer(np.zeros(2), np.ones(2)), metadata={"n": 3, "gap": 1e-7, "s": "ü"}),
        random_network(4, 3, neurons=0),
    ],
    ids=["plain", "regression", "strings", "floats", "names", "metadata", "empty"],
)
def test_a_saved_network_comes_back_the_same(network, tmp_path):
    path = tmp_path / "network.npz"
    network.save(path)
    with np.load(path, allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)
    again = ReLUNetwork.load(str(path))
    for name in ("u", "alpha"):
        assert np.array_equal(getattr(again, name), getattr(network, name))
    for name in ("bias", "classes", "regression", "metadata"):
        assert getattr(again, name) == getattr(network, name)
    assert (again.standardizer is None) == (network.standardizer is None)
    if network.standardizer is not None:
        assert np.array_equal(again.standardizer.mean, network.standardizer.mean)
        assert np.array_equal(again.standardizer.scale, network.standardizer.scale)
        assert again.standardizer.names == network.standardizer.names
    X = np.ones((2, network.n_features))
    assert np.array_equal(again.predict(X), network.predict(X))


def test_labels_of_mixed_types_cannot_be_saved(tmp_path):
    with pytest.raises(InputError, match="mix types"):
        random_network(2, classes=(1, "b")).save(tmp_path / "network.npz")
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_relu_networks_are_refused(tmp_path):
    path = tmp_path / "network.npz"
    random_network(2).save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    header = json.loads(str(arrays["header"]))
    for content in (b"", b"junk" * 50, path.read_bytes()[:-80]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not a network saved by cvxrobust"):
            ReLUNetwork.load(path)
    np.savez(path, **(arrays | {"u": np.array([{"a": 1}, None], dtype=object)}))
    with pytest.raises(InputError, match=r"is not a network saved by cvxrobust.*allow_pickle"):
        ReLUNetwork.load(path)
    np.savez(path, **(arrays | {"header": np.array(json.dumps(header | {"format": 99}))}))
    with pytest.raises(InputError, match="in format 99, but this version reads 'relu' up to format 5; upgrade"):
        ReLUNetwork.load(path)
    PolynomialNetwork(np.eye(2), np.ones(2)).save(path)
    with pytest.raises(InputError, match="holds a polynomial network, not a ReLU one"):
        ReLUNetwork.load(path)


# -- bad input -------------------------------------------------------------------------------------------------------


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"u has shape \(2, 3\) and alpha \(3,\)"):
        ReLUNetwork(np.ones((2, 3)), np.ones(3))
    with pytest.raises(InputError, match=r"expected \(m, d\)"):
        ReLUNetwork(np.ones((2, 3)), np.ones((2, 1, 1)))
    with pytest.raises(InputError, match=r"u has shape \(2, 1\); expected at least one column besides the bias"):
        ReLUNetwork(np.ones((2, 1)), np.ones(2), bias=True)
    with pytest.raises(InputError, match="3 classes given for a network that tells 2 apart"):
        random_network(2, classes=CLASSES)


@pytest.mark.parametrize("method", ["attack", "lower_bound", "exact_worst_case"])
def test_attacks_that_make_no_sense_are_refused(method):
    network = random_network(2, bias=True)
    call = getattr(network, method)
    X, y = np.ones((3, 2)), np.ones(3)
    with pytest.raises(InputError, match=r"X has shape \(3, 3\); this network takes \(n, 2\)"):
        call(np.ones((3, 3)), y, 0.1)
    with pytest.raises(InputError, match="NaN or inf, first at row 1, column 0"):
        call(np.array([[0.0, 1.0], [np.nan, 0.0], [1.0, 1.0]]), y, 0.1)
    with pytest.raises(InputError, match=r"y holds labels \[0.0\], but this network knows \[-1.0, 1.0\]"):
        call(X, np.array([1.0, 0.0, -1.0]), 0.1)
    with pytest.raises(InputError, match=r"y has shape \(2,\); expected \(3,\)"):
        call(X, np.ones(2), 0.1)
    with pytest.raises(InputError, match=r"radius has shape \(2,\)"):
        call(X, y, [0.1, 0.2])
    for radius in (-0.1, np.inf, np.nan):
        with pytest.raises(InputError, match=r"radius holds .*; expected radii of 0 or more"):
            call(X, y, radius)
    for norm in ("l2", 3, True, [1, 2]):
        with pytest.raises(UnknownNameError, match=r"unknown norm .*known: 1, 2, inf\..*Write norm="):
            call(X, y, 0.1, norm)


def test_settings_that_make_no_sense_are_refused():
    network = random_network(2)
    X, y = np.ones((3, 2)), np.ones(3)
    with pytest.raises(InputError, match="steps is 0; expected a whole number of 1 or more"):
        network.attack(X, y, 0.1, steps=0, restarts=2)
    with pytest.raises(InputError, match="restarts is -1; expected a whole number of 0 or more"):
        network.attack(X, y, 0.1, restarts=-1)
    with pytest.raises(InputError, match="steps is -1; expected a whole number of 0 or more"):
        network.lower_bound(X, y, 0.1, steps=-1)
    for time_limit in (-1.0, np.nan):
        with pytest.raises(InputError, match="expected seconds of 0 or more, or None"):
            network.exact_worst_case(X, y, 0.1, time_limit=time_limit)
    for accuracy in (network.certified_accuracy, network.attacked_accuracy):
        with pytest.raises(InputError, match="radii hold -1; expected finite values"):
            accuracy(X, y, [0.1, -1.0])
        with pytest.raises(UnknownNameError, match="unknown norm 'l1'"):
            accuracy(X, y, [0.0], "l1")


def test_a_margin_of_zero_counts_for_the_class_that_zero_predicts():
    network = ReLUNetwork(np.empty((0, 2)), np.empty(0))
    X = np.random.default_rng(0).standard_normal((6, 2))
    y = np.array([1.0, 1.0, -1.0, 1.0, -1.0, -1.0])
    np.testing.assert_array_equal(network.attacked_accuracy(X, y, [0.0, 0.5]), [0.5, 0.5])
    assert (network.certified_accuracy(X, y, [0.5]) <= 0.5).all()
