"""The ReLU problems say what the papers say: against textbook models, grids of attacks, and nonconvex training."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from random_relu import FORMS, LOSSES, NORMS, Recipe, any_gates, random_recipe
from relu_cases import ROUNDING, SETTINGS, agrees, certified, clear_gates, data, optimum
from scipy.optimize import minimize
from textbook_relu import textbook_value

from cvxrobust import (
    AdversarialReLU,
    ConvexReLU,
    Settings,
    solve,
)
from cvxrobust.core.discovery.registry import get_backend

# -- the textbook -----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("number", range(120))
def test_the_optimum_is_that_of_the_textbook(number):
    recipe = random_recipe(number)
    problem, result = certified(number)
    agrees(recipe, problem, result.certificate, result.termination == "converged")
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=ROUNDING)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("number", range(0, 60, 2))
def test_gates_of_no_order_have_the_optimum_of_the_same_formula(number):
    recipe = any_gates(number)
    problem = recipe.problem()
    result = solve(problem, backend="clarabel", settings=SETTINGS)
    agrees(recipe, problem, result.certificate, result.termination == "converged")


def test_random_recipes_cover_what_they_should_and_most_train_something():
    recipes = [random_recipe(number) for number in range(120)]
    seen = {(r.loss, r.norm, r.form) for r in recipes}
    assert seen >= set(product(LOSSES[:3], NORMS, FORMS)) | set(product(LOSSES[3:], NORMS, ("cone", "gated")))
    attacked = {(r.loss, r.form, bool(np.max(r.radius) > 0)) for r in recipes}
    assert attacked >= set(product(LOSSES[:3], FORMS, (False, True)))
    assert {r.degeneracy for r in recipes} >= {"duplicate patterns", "one class", "n < d", "zero row"}
    assert {r.source for r in recipes} == {"patterns", "pair", "gates", "sampled"}
    assert any(np.ndim(r.radius) for r in recipes)
    assert any(r.y.ndim == 2 for r in recipes)
    trained = [certified(number)[1].network.n_neurons > 0 for number in range(120)]
    assert np.mean(trained) > 0.85


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("number", [0, 3, 7, 13, 25, 38, 50, 59, 61])
def test_the_readable_reference_has_the_same_value(number):
    problem, result = certified(number)
    assert problem.to_cvxpy().solve(solver="CLARABEL") == pytest.approx(result.certificate.upper, rel=2e-6, abs=2e-6)
    program = problem.to_conic()
    assert program.q @ result.solution.x + program.offset == pytest.approx(result.certificate.upper, rel=1e-6, abs=1e-7)
    assert len(program.b) == problem.conic_rows
    assert {type(cone) for cone in program.cones} == problem.cones


@pytest.mark.parametrize("loss", ["hinge", "squared"])
def test_classes_are_trained_one_versus_all(loss):
    X, _ = data(n=15, d=2)
    y = np.array(["ant", "bee", "cat"])[np.arange(15) % 3]
    chosen = {"multiclass": "one-versus-all"} if loss == "squared" else {}
    problem = ConvexReLU(X, y, loss=loss, gates=np.random.default_rng(0).standard_normal((2, 5)), **chosen)
    result = solve(problem, backend="clarabel", settings=SETTINGS)
    form = "cone" if loss == "squared" else "soft-cone"
    binary = Recipe(X, y, problem.gate_set.vectors, loss, form, 0.0, "inf", 0.01, False, "gates")
    singles = [replace(binary, y=np.where(y == name, 1.0, -1.0)) for name in problem.classes]
    total = sum(textbook_value(single) for single in singles)
    assert result.certificate.upper == pytest.approx(total, rel=1e-6)
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=ROUNDING)
    assert problem.own_objective(result.network).upper <= result.certificate.upper * (1 + ROUNDING)
    assert result.network.alpha.shape[1] == 3
    assert set(result.network.predict(X)) <= {"ant", "bee", "cat"}
    again = problem.combine(problem.separate(result.network))
    np.testing.assert_array_equal(again.u, result.network.u)
    np.testing.assert_array_equal(again.alpha, result.network.alpha)
    assert again.slots == result.network.slots
    joint = problem.recover(get_backend("clarabel").solve(problem.to_conic(), Settings()))
    assert problem.objective(joint) == pytest.approx(total, rel=1e-5)


def test_labels_fitted_by_the_squared_loss_are_targets_of_minus_and_plus_one():
    X, _ = data(n=15, d=2)
    y = np.array(["ant", "bee", "cat"])[np.arange(15) % 3]
    problem = ConvexReLU(X, y, loss="squared", multiclass="vector-output", n_gates=6)
    targets = np.where(y[:, None] == np.array(["ant", "bee", "cat"]), 1.0, -1.0)
    plain = ConvexReLU(X, targets, loss="squared", n_gates=6)
    first, second = (solve(p, backend="clarabel", settings=SETTINGS) for p in (problem, plain))
    assert first.certificate.upper == pytest.approx(second.certificate.upper, rel=1e-9)
    assert set(first.network.predict(X)) <= {"ant", "bee", "cat"}
    np.testing.assert_allclose(second.network.predict(X), second.network.decision_function(X))


# -- grids of attacks, and nonconvex training -------------------------------------------------------------------------


def ball(norm, d, count):
    """A grid of the unit ball whose rim holds the worst attacks on linear functions, nearly."""
    if d == 1:
        return np.linspace(-1.0, 1.0, 41)[:, None]
    inside = np.stack(np.meshgrid(*[np.linspace(-1, 1, 13)] * d), axis=-1).reshape(-1, d)
    order = {"inf": np.inf, 2: 2, 1: 1}[norm]
    inside = inside[np.linalg.norm(inside, order, axis=1) <= 1.0 + 1e-12]
    if d == 2:
        angles = np.arange(count) * 2 * np.pi / count
        rim = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    else:
        heights, angles = 1 - (2 * np.arange(count) + 1) / count, np.pi * (1 + 5**0.5) * np.arange(count)
        around = np.sqrt(1 - heights**2)
        rim = np.stack([around * np.cos(angles), around * np.sin(angles), heights], axis=1)
    return np.vstack([inside, rim / np.linalg.norm(rim, order, axis=1)[:, None]])


def worst_on_grid(problem, network, moves):
    """The training objective of a network, attacked at the points of a grid only."""
    f = np.stack([
        network.decision_function(x + r * moves) for x, r in zip(problem.X, problem.radius, strict=True)
    ])  # fmt: skip
    y = problem.labels
    if problem.loss == "squared":
        fit = (np.abs(f - y).max(axis=1) ** 2).mean()
    else:
        t = (y * f).min(axis=1)
        hinge = np.maximum(0.0, 1.0 - t)
        fit = {"hinge": hinge, "squared_hinge": hinge**2, "logistic": np.logaddexp(0.0, -t)}[problem.loss].mean()
    return fit + problem.beta * float(np.linalg.norm(network.u, axis=1) @ np.abs(network.alpha))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_cone_optimum_is_the_worst_loss_of_its_network_over_the_balls(d, norm, loss):
    X, y = data(d, n=8, d=d + 1)
    X = X[:, :d] + 0.3 * np.sign(X[:, :d])
    problem = AdversarialReLU(
        X, y, radius=0.15, norm=norm, gates=clear_gates(X), loss=loss, formulation="cone", beta=0.003
    )
    result = solve(problem, backend="clarabel", settings=SETTINGS)
    assert result.network.n_neurons > 0
    seen = worst_on_grid(problem, result.network, ball(norm, d, 4000 if d == 2 else 12_000))
    assert seen <= result.certificate.upper * (1 + ROUNDING)
    assert seen == pytest.approx(result.certificate.upper, rel=1e-3 if d == 3 else 1e-5)
    own = problem.own_objective(result.network)
    assert own.upper == pytest.approx(result.certificate.upper, rel=1e-9)
    assert own.lower == pytest.approx(own.upper, rel=1e-6)


@pytest.mark.parametrize("bound", ["soft-cone", "separate", "mixed"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_one_sided_optimum_bounds_the_worst_loss_of_its_network_over_the_balls(d, norm, bound):
    X, y = data(d, n=10, d=d + 1)
    gates = np.random.default_rng(d).standard_normal((d + 1, 6))
    problem = AdversarialReLU(
        X[:, :d], y, radius=0.3, norm=norm, gates=gates, bound=bound, bias=True, beta=0.003, loss=LOSSES[d - 1]
    )
    result = solve(problem, backend="clarabel", settings=SETTINGS)
    assert result.network.n_neurons > 0
    seen = worst_on_grid(problem, result.network, ball(norm, d, 2000))
    own, exact = (problem.own_objective(result.network, exact=exact) for exact in (False, True))
    assert own.lower <= own.upper <= result.certificate.upper * (1 + ROUNDING)
    assert seen <= exact.upper * (1 + 1e-6)
    assert own.lower <= exact.upper * (1 + 1e-6)
    assert exact.lower <= own.upper * (1 + 1e-6)
    assert exact.upper - exact.lower <= 1e-4 * exact.upper
    # The grid misses little of what mixed-integer programming finds.
    assert seen >= exact.lower * (1 - 5e-3)


def nonconvex(X, y, loss, beta, width, seed):
    """Weight-decayed training by L-BFGS; the best objective of the restarts."""
    n, d = X.shape
    best = np.inf
    for restart in range(6):
        rng = np.random.default_rng([seed, restart])

        def objective(flat):
            u, alpha = flat[: width * d].reshape(width, d), flat[width * d :]
            z = X @ u.T
            f = np.maximum(z, 0.0) @ alpha
            if loss == "squared":
                value, slope = (f - y) ** 2, 2 * (f - y)
            elif loss == "squared_hinge":
                t = np.maximum(1 - y * f, 0.0)
                value, slope = t**2, -2 * y * t
            else:
                value, slope = np.logaddexp(0.0, -y * f), -y / (1 + np.exp(y * f))
            slope = slope / n
            by_u = (((z > 0) * alpha).T * slope) @ X + beta * u
            by_alpha = np.maximum(z, 0.0).T @ slope + beta * alpha
            return value.mean() + 0.5 * beta * (flat @ flat), np.concatenate([by_u.ravel(), by_alpha])

        start = rng.standard_normal(width * (d + 1))
        found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 3000, "ftol": 1e-13})
        best = min(best, found.fun)
    return best


@pytest.mark.parametrize("loss", LOSSES[1:])
@pytest.mark.parametrize("seed", range(2))
def test_with_all_patterns_the_optimum_is_that_of_nonconvex_training(loss, seed):
    X, y = data(seed, n=7, d=2)
    target = np.abs(X[:, 0]) - 0.5 * X[:, 1] if loss == "squared" else y
    best = nonconvex(X, target, loss, 0.02, 20, seed)
    for formulation in ("cone", "one-sided"):
        if (loss, formulation) == ("squared", "one-sided"):
            continue
        found = optimum(ConvexReLU(X, target, "all", loss=loss, beta=0.02, formulation=formulation))
        assert best >= found.lower - 1e-9
        assert best == pytest.approx(found.upper, rel=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_mixed_gates_of_harmful_neurons_are_closed_where_a_ball_crosses_their_boundary(norm):
    X, y = data(n=20, d=2)
    vectors, moves = np.random.default_rng(0).standard_normal((3, 12)), ball(norm, 2, 4000)
    problem = AdversarialReLU(X, y, 0.4, norm=norm, gates=vectors, bias=True, bound="mixed")
    inside = np.einsum("nmd,dp->nmp", X[:, None] + 0.4 * moves, vectors[:2]) + vectors[2]
    crossed = np.tile((inside.min(axis=1) < 0.0) & (inside.max(axis=1) > 0.0), 2)
    # On either side of a tangent the grid may err.
    clear = np.tile(np.minimum(np.abs(inside.min(axis=1)), np.abs(inside.max(axis=1))) > 1e-3, 2)
    patterns, harmful = np.tile(problem.inputs @ vectors >= 0.0, 2), y[:, None] * problem.program.signs < 0.0
    np.testing.assert_array_equal(problem.program.gates[clear], (patterns & ~(harmful & crossed))[clear])
    assert 0.2 < crossed.mean() < 0.8


@pytest.mark.parametrize("norm", NORMS)
def test_radius_zero_is_training_without_an_attack(norm):
    X, y = data(n=14)
    for formulation in ("cone", "one-sided", "gated"):
        plain = optimum(ConvexReLU(X, y, n_gates=7, formulation=formulation))
        zero = optimum(AdversarialReLU(X, y, 0.0, n_gates=7, formulation=formulation, norm=norm))
        assert zero.upper == pytest.approx(plain.upper, rel=1e-6)
    separate = optimum(AdversarialReLU(X, y, 0.0, n_gates=7, bound="separate", norm=norm))
    assert separate.upper == pytest.approx(optimum(ConvexReLU(X, y, n_gates=7)).upper, rel=1e-6)


def test_with_all_patterns_the_one_sided_optimum_is_the_cones():
    X, y = data(n=9, d=2)
    for loss in LOSSES[:3]:
        cone = optimum(ConvexReLU(X, y, "all", loss=loss, formulation="cone"))
        one_sided = optimum(ConvexReLU(X, y, "all", loss=loss))
        assert one_sided.upper == pytest.approx(cone.upper, rel=1e-6)
