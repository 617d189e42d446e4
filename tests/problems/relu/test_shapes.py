"""Attacks with a shape, ``S e``: programme, network and certificate agree in every norm and formulation."""

from dataclasses import replace

import numpy as np
import pytest
from random_relu import NORMS, shaped_recipe
from relu_cases import agrees, data, optimum
from textbook_relu import textbook_value
from wide_cases import unreduced

from cvxrobust import AdversarialReLU, ConvexReLU, InputError, ReLUNetwork, Settings, Standardizer, solve
from cvxrobust.core import Ellipsoid, get_backend

TIGHT = Settings(tolerance=1e-8)
numbers = pytest.mark.parametrize("number", range(0, 72))
"""Every loss with every norm, every form, every shape."""

norms = pytest.mark.parametrize("norm", NORMS)
FORMS = [("one-sided", "soft-cone"), ("one-sided", "separate"), ("one-sided", "mixed"), ("cone", None), ("gated", None)]
forms = pytest.mark.parametrize(("formulation", "bound"), FORMS)


def attacked_points(problem, i, count, rng):
    """Random attacked points of sample i, and corners, shape (2 count, d)."""
    attack, e = problem.attack, rng.standard_normal((count, problem.attack.dimension))
    corners = attack.geometry.maximiser(e)
    inside = attack.geometry.project(e, np.ones(count))
    return problem.X[i] + attack.radius[i] * attack.pushed(np.vstack([corners, inside]))


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@numbers
def test_the_optimum_is_that_of_the_formulas(number):
    recipe = shaped_recipe(number)
    problem = recipe.problem()
    assert problem.conic_rows == problem.to_conic().b.size
    agrees(recipe, problem, optimum(problem), converged=False)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("number", range(0, 72, 5))
def test_the_readable_reference_says_the_same(number):
    recipe = shaped_recipe(number)
    reference = recipe.problem().to_cvxpy()
    tight = {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10}
    assert reference.solve(solver="CLARABEL", **tight) == pytest.approx(textbook_value(recipe), rel=1e-6, abs=1e-7)


@numbers
def test_multipliers_of_the_conic_solution_prove_its_value(number):
    problem = shaped_recipe(number).problem()
    program = problem.to_conic()
    solution = get_backend("clarabel").solve(program, TIGHT)
    value = float(program.q @ solution.x) + program.offset
    bound = problem.dual(problem.multipliers(solution))
    assert bound.value == pytest.approx(value, rel=2e-6, abs=1e-6)
    if problem.span is None:
        untouched = ~shaped_recipe(number).root.any(axis=1)
        for attacks in (bound.multipliers.attacks, bound.multipliers.directions):
            assert not attacks[..., untouched].any()


def numbers_of(count, *, margin):
    """Some recipes with a loss of margins, or of targets, whose programmes are no relaxations."""
    fitting = (n for n in range(200) if margin != (shaped_recipe(n).loss == "squared"))
    return [n for n in fitting if shaped_recipe(n).form != "gated"][:count]


@pytest.mark.parametrize("number", numbers_of(30, margin=True))
def test_no_attack_of_the_set_beats_the_programme_or_the_network(number):
    recipe = shaped_recipe(number)
    problem, rng = recipe.problem(), np.random.default_rng(number)
    network = solve(problem, "clarabel", settings=Settings(tolerance=1e-5)).network
    assert network.norm == problem.norm
    own = problem.own_objective(network)
    certified = network.lower_bound(problem.X, problem.y, problem.radius)
    found = network.attack(problem.X, problem.y, problem.radius)
    margins = np.empty(len(problem.y))
    for i, y in enumerate(problem.y):
        margins[i] = (y * network.decision_function(attacked_points(problem, i, 5_000, rng))).min()
    assert (certified <= margins + 1e-12).all()
    assert (certified <= found.margins + 1e-12).all()
    value = np.mean(problem.loss_function.value(margins, problem.y))
    weight = float(np.linalg.norm(network.u, axis=1) @ np.abs(network.alpha))
    assert value + problem.beta * weight <= own.upper + 1e-9
    assert own.upper <= problem.objective(network) + 1e-9
    moved = found.points - problem.X
    assert problem.attack.contains(moved * (1.0 - 1e-9)).all()
    untouched = ~recipe.root.any(axis=1)
    assert not moved[:, untouched].any()
    exact = network.exact_worst_case(problem.X, problem.y, problem.radius)
    assert exact.proven.all()
    assert (exact.margins <= margins + 1e-6).all()
    assert (exact.lower <= margins + 1e-9).all()
    assert not (exact.points - problem.X)[:, untouched].any()
    settled = problem.own_objective(network, exact=True)
    assert own.lower - 1e-9 <= settled.lower <= settled.upper <= own.upper + 1e-9
    assert settled.upper - settled.lower <= 1e-4 * (1.0 + settled.upper)


@pytest.mark.parametrize("number", numbers_of(12, margin=False))
def test_no_attack_of_the_set_makes_residuals_worse_than_the_programme_says(number):
    problem, rng = shaped_recipe(number).problem(), np.random.default_rng(number)
    network = solve(problem, "clarabel", settings=Settings(tolerance=1e-5)).network
    own, targets = problem.own_objective(network), problem.labels
    worst = np.empty_like(targets)
    for i, target in enumerate(targets):
        points = attacked_points(problem, i, 5_000, rng)
        worst[i] = np.abs(network.decision_function(points).reshape(len(points), -1) - target).max(axis=0)
    alpha = network.alpha.reshape(network.n_neurons, -1)
    weight = float(np.linalg.norm(network.u, axis=1) @ np.linalg.norm(alpha, axis=1))
    assert np.mean((worst**2).sum(axis=1)) + problem.beta * weight <= own.upper + 1e-9
    if targets.shape[1] == 1:  # else penalties are of groups
        assert own.upper <= problem.objective(network) + 1e-9


def test_what_nobody_can_touch_stays_in_the_units_of_the_data():
    X, y = data(5, n=10)
    scaler = Standardizer.fit(100.0 + 7.0 * X)
    problem = AdversarialReLU(scaler.transform(100.0 + 7.0 * X), y, 0.5, norm=1, scale=[1.0, 0.0, 2.0], n_gates=5)
    network = solve(problem, "clarabel").network.replace(standardizer=scaler)
    moved = [network.attack(100.0 + 7.0 * X, y, 0.5).points, network.exact_worst_case(100.0 + 7.0 * X, y, 0.5).points]
    for points in moved:
        assert np.array_equal(points[:, 1], 100.0 + 7.0 * X[:, 1])
        assert (points != 100.0 + 7.0 * X).any()
    inner = network.inner.lower_bound(problem.X, y, 0.5)
    assert network.lower_bound(100.0 + 7.0 * X, y, 0.5) == pytest.approx(inner)


@norms
def test_regating_never_raises_the_optimum(norm):
    for seed in range(4):
        X, y = data(seed, n=14)
        scale = np.random.default_rng(seed).uniform(0.0, 2.0, 3)
        problem = AdversarialReLU(X, y, 0.15, norm=norm, scale=scale, n_gates=4, seed=seed, beta=0.02)
        result = solve(problem, "clarabel", settings=TIGHT)
        better = problem.regated(result.network)
        if better is not None:
            assert optimum(better).upper <= result.certificate.upper + 1e-8


@norms
@forms
def test_a_scale_of_ones_is_no_scale_and_a_constant_is_a_larger_radius(norm, formulation, bound):
    X, y = data(1, n=12)
    given = {"norm": norm, "formulation": formulation, "bound": bound, "n_gates": 6, "beta": 0.02, "bias": True}
    ones, none = (AdversarialReLU(X, y, 0.1, scale=scale, **given) for scale in (np.ones(3), None))
    small, large = AdversarialReLU(X, y, 0.05, scale=np.full(3, 2.0), **given), none
    assert (ones.to_conic().A != none.to_conic().A).nnz == 0
    for one, other in ((ones, none), (small, large)):
        assert np.array_equal(one.program.gates, other.program.gates)
        certificates = optimum(one), optimum(other)
        assert certificates[0].upper == pytest.approx(certificates[1].upper, rel=1e-7)
    network = optimum_network(none)
    for radius in (0.05, 0.1):
        expected = network.lower_bound(X, y, radius)
        assert np.array_equal(expected, ones_network(network).lower_bound(X, y, radius))


def test_where_every_scale_is_zero_nobody_attacks():
    X, y = data(2, n=10)
    given = {"n_gates": 5, "beta": 0.02}
    for norm in NORMS:
        nowhere = AdversarialReLU(X, y, 0.5, norm=norm, scale=np.zeros(3), **given)
        assert not nowhere.attack.present
        assert nowhere.program.attack.shape == "ball"
        expected = optimum(ConvexReLU(X, y, **given))
        assert optimum(nowhere).upper == pytest.approx(expected.upper, rel=1e-7)
        network = solve(nowhere, "clarabel").network
        assert network.ellipsoid.rank == 0
        assert np.array_equal(network.attack(X, y, 5.0).points, X)
        assert np.array_equal(network.exact_worst_case(X, y, 5.0).points, X)
        assert network.lower_bound(X, y, 5.0) == pytest.approx(network.margins(X, y), abs=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("formulation", "bound"), FORMS[1:])
def test_wide_data_are_reduced_to_what_samples_and_few_directions_span(formulation, bound, bias):
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((6, 30)), np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    scale = np.zeros(30)
    scale[[2, 7, 20]] = 1.0, 0.5, 3.0
    S = rng.standard_normal((30, 2))
    given = {"norm": 2, "gates": rng.standard_normal((30 + bias, 6)), "beta": 0.02, "bias": bias}
    given |= {"formulation": formulation, "bound": bound}
    for shape, rank in (({"scale": scale}, 9), ({"directions": S}, 8), ({"directions": np.hstack([S, X[:1].T])}, 8)):
        problem = AdversarialReLU(X, y, rng.uniform(0.0, 0.3, 6), **given, **shape)
        whole = unreduced(problem)
        assert problem.span.rank == rank
        assert whole.program.X.shape[1] == 30 + bias
        solved = [solve(one, "clarabel", settings=TIGHT) for one in (problem, whole)]
        certificates = [result.certificate for result in solved]
        assert certificates[0].upper == pytest.approx(certificates[1].upper, rel=1e-6)
        assert certificates[0].lower == pytest.approx(certificates[1].lower, rel=1e-6)
        assert max(one.lower for one in certificates) <= min(one.upper for one in certificates)
        own = [one.own_objective(solved[0].network) for one in (problem, whole)]
        assert own[0].upper == pytest.approx(own[1].upper, rel=1e-6)
        assert solved[0].network.ellipsoid.n_inputs == 30
        other = solve(problem, "ipm", settings=Settings(tolerance=1e-6)).certificate
        assert other.upper == pytest.approx(certificates[1].upper, rel=1e-5)


def test_wide_data_are_not_reduced_under_attacks_that_go_everywhere():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((5, 12)), np.array([1.0, -1.0, 1.0, -1.0, 1.0])
    given = {"norm": 2, "n_gates": 6, "beta": 0.02}
    ball, ones = (AdversarialReLU(X, y, 0.3, scale=scale, **given) for scale in (None, np.ones(12)))
    assert ball.span is not None
    assert ones.span is None
    assert AdversarialReLU(X, y, 0.3, scale=np.eye(12)[0], norm="inf", n_gates=6).span is None
    assert optimum(ball).upper == pytest.approx(optimum(ones).upper, rel=1e-6)
    # Without radius there is nothing to see of a shape, and the networks keep it.
    clean = AdversarialReLU(X, y, 0.0, scale=np.arange(12.0), **given)
    assert clean.span is not None
    network = solve(clean, "ipm", settings=Settings(tolerance=1e-4)).network
    assert network.ellipsoid.n_inputs == 12
    assert np.isfinite(ball.objective(network))
    assert np.isfinite(clean.own_objective(network).upper)


@norms
def test_classes_gates_that_grow_and_regating_know_the_shape(norm):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((30, 3))
    y = np.array(["a", "b", "c"])[np.argmax(X + 0.3 * rng.standard_normal(X.shape), axis=1)]
    scale = np.array([1.0, 0.0, 0.5])
    problem = AdversarialReLU(X, y, 0.2, norm=norm, scale=scale, n_gates=4, regate=1, beta=0.02)
    result = solve(problem, "clarabel", settings=Settings(tolerance=1e-5), gates="grow")
    assert result.quality == "certified"
    network = result.network
    assert np.array_equal(network.ellipsoid.scale, scale)
    assert network.certified_accuracy(X, y, [0.0, 0.2]) == pytest.approx(
        [np.mean(network.predict(X) == y), np.mean(network.lower_bound(X, y, 0.2) > 0.0)]
    )
    free = network.attack(X, y, 0.2).points[:, 1]
    assert np.array_equal(free, X[:, 1])
    # An input that nobody can touch protects: attacks on all of them do no less.
    everywhere = network.replace(ellipsoid=None).attacked_accuracy(X, y, [0.2])
    assert everywhere <= network.attacked_accuracy(X, y, [0.2])
    part = problem.parts[0]
    regated = part.regated(solve(part, "clarabel").network)
    assert regated is None or regated.attack.shape == part.attack.shape


@norms
def test_gates_drawn_for_cones_can_carry_neurons_under_the_shape(norm):
    X, y = data(4, n=24)
    X[0] = 0.0
    for scale in ([1.0, 0.0, 0.3], [0.0, 0.0, 2.0]):
        problem = AdversarialReLU(
            X, y, 0.1, norm=norm, scale=scale, n_gates=8, formulation="cone", resample=True, bias=True
        )
        assert problem.carriers == problem.gate_set.patterns.shape[1] > 0
        result = solve(problem, "clarabel", settings=Settings(tolerance=1e-6))
        assert result.quality == "certified"


def test_a_sample_of_zeros_leaves_directions_alone():
    """Where the attacked sample is 0, neurons in cones are blind to attacks, which still leaves some."""
    X, y = data(4, n=12)
    X[0] = 0.0
    for shape in ({"directions": np.array([[1.0], [2.0], [-0.5]])}, {"scale": np.array([1.0, 0.0, 1.0])}):
        problem = AdversarialReLU(X, y, 0.2, norm=2, n_gates=8, formulation="cone", resample=True, beta=1e-3, **shape)
        assert problem.carriers > 0
        result = solve(problem, "clarabel", settings=Settings(tolerance=1e-6))
        assert result.quality == "certified"
        assert result.certificate.upper < 0.9
        assert (problem.attack.dual_norm(result.network.u) <= 1e-13).all()


@pytest.mark.parametrize("norm", ["inf", 1])
def test_directions_are_refused_in_other_norms_and_diagonal_covariances_are_scales(norm):
    X, y = data(0, n=8)
    for shape in ({"directions": np.eye(3)}, {"covariance": np.eye(3) + 0.1}):
        with pytest.raises(InputError, match=f"norm is {norm!r}, but attacks in directions of their own, or of a cov"):
            AdversarialReLU(X, y, 0.1, norm=norm, n_gates=4, **shape)
    scaled = AdversarialReLU(X, y, 0.1, norm=norm, n_gates=4, covariance=np.diag([4.0, 0.0, 1.0]))
    assert np.array_equal(scaled.ellipsoid.scale, [2.0, 0.0, 1.0])
    assert scaled.attack.shape == "scaled ball"
    with pytest.raises(InputError, match="scale and covariance are given"):
        AdversarialReLU(X, y, 0.1, norm=norm, n_gates=4, covariance=np.eye(3), scale=np.ones(3))
    with pytest.raises(InputError, match="directions of their own"):
        ReLUNetwork(np.ones((1, 3)), np.ones(1), norm=norm, ellipsoid=Ellipsoid.of(3, directions=np.eye(3)[:, :1]))


def test_a_problem_keeps_its_shape_when_something_else_is_replaced():
    X, y = data(0, n=8)
    S = np.random.default_rng(0).standard_normal((3, 2))
    for shape in ({"directions": S}, {"covariance": S @ S.T}, {"scale": [1.0, 0.0, 2.0]}):
        problem = AdversarialReLU(X, y, 0.1, norm=2, n_gates=4, **shape)
        other = replace(problem, radius=0.4)
        assert np.array_equal(other.attack.seen(np.eye(3)), problem.attack.seen(np.eye(3)))
        assert (other.radius == 0.4).all()


def optimum_network(problem):
    return solve(problem, "clarabel", settings=TIGHT).network


def ones_network(network):
    return network.replace(ellipsoid=Ellipsoid.of(3, scale=np.ones(3)))
