"""The ReLU problems say what the papers say: against textbook models, grids of attacks, and nonconvex training."""

from dataclasses import replace
from functools import cache
from itertools import pairwise, product

import numpy as np
import pandas as pd
import pytest
from fakes import Fake
from random_relu import FORMS, LOSSES, NORMS, Recipe, any_gates, random_recipe
from scipy.optimize import minimize
from textbook_relu import textbook_value

from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    ConvexReLU,
    InputError,
    PolynomialNetwork,
    Quality,
    ReLUNetwork,
    Settings,
    StandardSDP,
    UnknownNameError,
    solve,
)
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import GatedMultipliers
from cvxrobust.problems.relu.gates.slots import Slots
from cvxrobust.problems.relu.pruning import pruned

SETTINGS = Settings(tolerance=1e-7)
ROUNDING = 1e-12


def data(seed=0, n=16, d=3):
    rng = np.random.default_rng([seed, n, d])
    X = rng.standard_normal((n, d))
    return X, np.where(np.abs(X[:, 0]) - 0.6 + 0.5 * X[:, 1] > 0, 1.0, -1.0)


@cache
def certified(number):
    problem = random_recipe(number).problem()
    return problem, solve(problem, backend="clarabel", settings=SETTINGS)


def optimum(problem, **arguments):
    return solve(problem, backend="clarabel", settings=SETTINGS, **arguments).certificate


def agrees(recipe, problem, certificate, converged=True):
    value = textbook_value(recipe)
    close = 1e-6 * (1.0 + abs(value))
    assert abs(certificate.upper - value) <= close, recipe
    assert certificate.lower <= certificate.upper, recipe
    assert certificate.lower <= value + close, recipe
    # Clarabel may stall early; then the certificate says so.
    assert certificate.upper - certificate.lower <= (close if converged else 1e-3 * (1.0 + abs(value))), recipe


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


def clear_gates(X, count=400, keep=8):
    drawn = np.random.default_rng(0).standard_normal((X.shape[1], count))
    clear = np.abs(X @ drawn).min(axis=0) / np.linalg.norm(drawn, axis=0)
    return drawn[:, np.argsort(-clear)[:keep]]


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


# -- orders between optima --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_larger_radius_never_lowers_the_optimum(norm, form):
    X, y = data(1, n=10)
    bound = {"formulation": form} if form in ("cone", "gated") else {"bound": form}
    gates = clear_gates(X, keep=5)
    # The gates of the mixed bound follow the radius, so optima of different radii are not comparable.
    radii = (0.0, 0.05, 0.2, 0.6) if form != "mixed" else (0.0, 5.0)
    found = [optimum(AdversarialReLU(X, y, r, norm=norm, gates=gates, **bound)) for r in radii]
    for smaller, larger in pairwise(found):
        assert smaller.lower <= larger.upper
        assert larger.upper >= smaller.upper * (1 - 1e-6)
    assert found[-1].upper > found[0].upper * 1.01


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_more_gates_never_raise_the_optimum(radius, loss):
    X, y = data(2, n=14)
    gates = clear_gates(X, keep=8)
    for formulation in ("cone", "one-sided", "gated"):
        if (loss, formulation) == ("squared", "one-sided"):
            continue
        found = [
            optimum(AdversarialReLU(X, y, radius, norm=2, gates=gates[:, :P], loss=loss, formulation=formulation))
            for P in (1, 3, 8)
        ]
        for fewer, more in pairwise(found):
            assert more.upper <= fewer.upper * (1 + 1e-6)
            assert more.lower <= fewer.upper
        assert found[-1].upper < found[0].upper * 0.99


@pytest.mark.parametrize("number", [n for n in range(120) if random_recipe(n).form == "cone"][:20])
def test_cones_cost_more_than_their_violations_and_the_relaxation_costs_least(number):
    problem, result = certified(number)
    upper = result.certificate.upper
    assert optimum(replace(problem, formulation="gated")).upper <= upper * (1 + 1e-6)
    if problem.loss != "squared":
        assert optimum(replace(problem, formulation="one-sided")).upper <= upper * (1 + 1e-6)


@pytest.mark.parametrize("number", range(60))
def test_no_network_does_worse_by_itself_than_its_programme_says(number):
    problem, result = certified(number)
    own = problem.own_objective(result.network)
    assert own.lower <= own.upper
    if problem.formulation == "gated" or problem.labels.shape[1] > 1:
        return
    assert own.upper <= result.certificate.upper * (1 + ROUNDING)
    if problem.formulation == "cone":
        assert own.upper == pytest.approx(result.certificate.upper, rel=1e-9)
        assert own.lower == pytest.approx(own.upper, rel=1e-5)


@pytest.mark.parametrize("slots", [None, "last", "first"])
def test_neurons_that_share_a_slot_are_no_better_than_apart(slots):
    """Their sum would be another network, with a smaller penalty and, where they cancel, smaller losses."""
    X, y = data(n=12)
    rng = np.random.default_rng(0)
    for trial in range(20):
        problem = AdversarialReLU(X, y, 0.2 * (trial % 2), n_gates=8)
        last = problem.size - 1
        u = rng.standard_normal(3)
        known = {None: None, "last": (last, last), "first": (0, 0)}[slots]
        network = ReLUNetwork(np.stack([u, 0.1 * rng.standard_normal(3) - u]), np.array([-1.0, -1.0]), slots=known)
        own = problem.own_objective(network)
        assert problem.objective(network) >= own.upper * (1 - ROUNDING)
        stranger = replace(network, slots=None)
        assert own.upper >= problem.own_objective(stranger).lower * (1 - ROUNDING)


# -- better gates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.0, 0.05, 0.15])
def test_regating_never_raises_the_optimum(radius, norm):
    X, y = data(3, n=18)
    problem = AdversarialReLU(X, y, radius, norm=norm, n_gates=6, beta=0.005)
    first = solve(problem, backend="clarabel", settings=SETTINGS)
    result = solve(replace(problem, regate=4), backend="clarabel", settings=SETTINGS)
    history = result.history
    assert history[0].kind == "given"
    assert history[0].certificate.upper == pytest.approx(first.certificate.upper, rel=1e-9)
    assert 1 < len(history) <= 5
    assert {step.kind for step in history[1:]} == {"regated"}
    assert {step.size for step in history} == {problem.size}
    for step in history:
        assert step.certificate.lower <= step.certificate.upper
        assert step.certificate.relative_gap <= 1e-6
    for before, after in pairwise(history):
        assert after.certificate.upper <= before.certificate.upper
    assert result.certificate == history[-1].certificate
    assert result.certificate.upper < first.certificate.upper * 0.999
    assert result.problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=ROUNDING)
    assert result.problem.own_objective(result.network).upper <= result.certificate.upper * (1 + ROUNDING)


def test_every_round_of_regating_that_was_asked_for_is_run():
    X, y = data(3, n=18)
    problem = ConvexReLU(X, y, n_gates=6, beta=0.005)
    histories = [solve(replace(problem, regate=k), backend="clarabel", settings=SETTINGS).history for k in range(4)]
    # After two rounds no sample gains by changing its gates.
    assert [len(history) for history in histories] == [0, 2, 3, 3]
    for shorter, longer in pairwise(histories[1:]):
        assert [step.certificate for step in shorter] == [step.certificate for step in longer][: len(shorter)]


def test_without_attack_no_regated_optimum_is_below_that_of_all_patterns():
    X, y = data(4, n=9, d=2)
    everything = optimum(ConvexReLU(X, y, "all", beta=0.02))
    result = solve(ConvexReLU(X, y, gates=[[1.0], [0.2]], regate=20, beta=0.02), settings=SETTINGS)
    assert result.certificate.upper >= everything.lower * (1 - 1e-9)
    assert len(result.history) < 21


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(2))
def test_growing_from_one_poor_gate_reaches_the_optimum_of_all_patterns(seed, loss):
    X, y = data(seed, n=9, d=2)
    # One seed needs neurons of the one sign, the other of the other.
    target = (1.0 - 2.0 * seed) * (np.abs(X[:, 0]) - X[:, 1] if loss == "squared" else y)
    poor = [[1.0], [0.3]]
    formulation = "cone" if loss == "squared" else None
    everything = optimum(ConvexReLU(X, target, "all", loss=loss, beta=0.01, formulation=formulation))
    problem = ConvexReLU(X, target, gates=poor, loss=loss, beta=0.01, formulation=formulation, grow=3)
    result = solve(problem, backend="clarabel", settings=SETTINGS, gates="grow")
    sizes = [step.size for step in result.history]
    uppers = [step.certificate.upper for step in result.history]
    assert len(sizes) > 2
    assert sizes == sorted(set(sizes))
    assert uppers == sorted(uppers, reverse=True)
    assert all(step.certificate.lower <= step.certificate.upper for step in result.history)
    assert uppers[-1] < uppers[0] * 0.9
    assert uppers[-1] >= everything.lower * (1 - 1e-9)
    assert uppers[-1] == pytest.approx(everything.upper, rel=1e-5)
    assert result.report["slots"] == sizes[-1] == result.problem.size
    assert result.report["gates"] == 1
    assert result.problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=ROUNDING)


def test_growing_under_attack_lowers_the_optimum_and_ends():
    X, y = data(1, n=12, d=2)
    problem = AdversarialReLU(X, y, 0.1, norm=2, gates=[[1.0, -1.0], [0.3, 0.2]], grow=4, regate=2, beta=0.005)
    result = solve(problem, backend="clarabel", settings=SETTINGS, gates="grow")
    kinds = [step.kind for step in result.history]
    uppers = [step.certificate.upper for step in result.history]
    assert uppers == sorted(uppers, reverse=True)
    assert uppers[-1] < uppers[0] * 0.95
    assert kinds == sorted(kinds, key=["given", "grown", "regated"].index)
    assert kinds.count("grown") < 100
    assert result.problem.own_objective(result.network).upper <= result.certificate.upper * (1 + ROUNDING)


def test_classes_of_a_regated_problem_each_get_gates_of_their_own():
    X, _ = data(n=15, d=2)
    y = np.arange(15) % 3
    result = solve(ConvexReLU(X, y, n_gates=4, regate=2), backend="clarabel", settings=SETTINGS)
    for part in result.parts:
        assert part.certificate.upper <= part.history[0].certificate.upper
    assert result.certificate.upper == pytest.approx(sum(part.certificate.upper for part in result.parts))


# -- networks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("formulation", ["cone", "one-sided"])
@pytest.mark.parametrize("loss", LOSSES)
def test_no_more_neurons_are_kept_than_samples_allow(loss, formulation):
    X, y = data(0, n=5, d=3)
    if (loss, formulation) == ("squared", "one-sided"):
        return
    problem = ConvexReLU(X, y, "all", loss=loss, formulation=formulation, beta=0.01)
    program, rng = problem.program, np.random.default_rng(0)
    result = solve(problem, backend="clarabel", settings=SETTINGS)
    assert result.network.n_neurons <= 6
    # A mixture of all feasible neurons is pruned as well.
    one = problem.point(result.network)
    U = one + 1e-3 * sum(
        problem.point(solve(replace(problem, y=rng.permutation(y)), settings=Settings(tolerance=1e-3)).network)
        for _ in range(6)
    )
    active = (np.abs(U).max(axis=(1, 2)) > 0.0).sum()
    assert active > 6
    fewer = pruned(program, U)
    assert (np.abs(fewer).max(axis=(1, 2)) > 0.0).sum() <= 6
    assert gated.objective(program, fewer) <= gated.objective(program, U) * (1 + 1e-9)


def test_negligible_neurons_are_pruned_under_attack_and_others_are_not():
    X, y = data(n=10)
    problem = AdversarialReLU(X, y, 0.1, n_gates=6)
    rng = np.random.default_rng(0)
    U = rng.standard_normal(problem.program.shape)
    U[3] *= 1e-12
    fewer = pruned(problem.program, U)
    assert (fewer[3] == 0.0).all()
    np.testing.assert_array_equal(np.delete(fewer, 3, axis=0), np.delete(U, 3, axis=0))


def test_networks_are_saved_with_their_slots(tmp_path):
    problem, result = certified(0)
    result.network.save(tmp_path / "network.npz")
    again = ReLUNetwork.load(tmp_path / "network.npz")
    assert again.slots == result.network.slots
    assert again.slots is not None
    assert problem.objective(again) == result.certificate.upper


def test_a_warm_start_gives_the_first_bound():
    problem, result = certified(0)
    heard = []
    again = solve(
        problem, backend="clarabel", warm_start=result, settings=SETTINGS, callback=lambda *bounds: heard.append(bounds)
    )
    assert heard[0][1] == pytest.approx(result.certificate.upper, rel=ROUNDING)
    assert again.certificate.upper <= result.certificate.upper
    from_network = solve(problem, backend="clarabel", warm_start=result.network, settings=SETTINGS)
    assert from_network.certificate.upper <= result.certificate.upper


# -- borders ----------------------------------------------------------------------------------------------------------


def forms_of(X, y):
    yield pd.DataFrame(X), pd.Series(y)
    yield X.astype(np.float32), y.astype(np.int8)
    yield np.asfortranarray(X), list(y)
    yield X.tolist(), y.astype(np.float32)
    frozen = X.copy(), y.copy()
    for part in frozen:
        part.setflags(write=False)
    yield frozen


@pytest.mark.parametrize("formulation", ["cone", "one-sided", "gated"])
def test_the_form_of_the_data_does_not_matter_and_nothing_is_modified(formulation):
    X, y = data(n=12)
    X = X.astype(np.float32).astype(np.float64)
    gates = clear_gates(X, keep=4)
    patterns = np.asfortranarray(X @ gates >= 0.0)
    reference = AdversarialReLU(X, y, 0.1, patterns, formulation=formulation).to_conic()
    for inputs, labels in forms_of(X, y):
        before = pd.DataFrame(inputs).copy(), pd.Series(labels).copy(), patterns.copy()
        radius = np.full(12, 0.1)
        problem = AdversarialReLU(inputs, labels, radius, patterns, formulation=formulation)
        program = problem.to_conic()
        for name in ("q", "b"):
            np.testing.assert_array_equal(getattr(program, name), getattr(reference, name))
        assert (program.A != reference.A).nnz == 0
        assert program.cones == reference.cones
        solve(problem, backend="clarabel", settings=Settings(tolerance=1e-3))
        pd.testing.assert_frame_equal(pd.DataFrame(inputs), before[0])
        pd.testing.assert_series_equal(pd.Series(labels), before[1])
        np.testing.assert_array_equal(patterns, before[2])
        assert (radius == 0.1).all()


@pytest.mark.parametrize("number", range(0, 40, 2))
def test_reordering_samples_changes_nothing(number):
    recipe = random_recipe(number)
    if recipe.source == "sampled":
        recipe = replace(recipe, source="patterns")
    order = np.random.default_rng(number).permutation(len(recipe.X))
    radius = recipe.radius if np.ndim(recipe.radius) == 0 else recipe.radius[order]
    first = optimum(recipe.problem())
    second = optimum(replace(recipe, X=recipe.X[order], y=recipe.y[order], radius=radius).problem())
    assert first.upper == pytest.approx(second.upper, rel=2e-6, abs=1e-8)


@pytest.mark.parametrize("formulation", ["cone", "one-sided", "gated"])
@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_a_first_order_solver_is_certified_too(loss, formulation):
    X, y = data(n=14)
    problem = AdversarialReLU(X, y, 0.05, norm=2, gates=clear_gates(X, keep=5), loss=loss, formulation=formulation)
    result = solve(problem, backend="scs", settings=Settings(tolerance=1e-3, time_limit=20))
    assert result.quality is Quality.CERTIFIED
    reference = optimum(problem)
    assert result.certificate.lower <= reference.upper
    assert result.certificate.upper >= reference.lower


def honest(program, settings):
    return get_backend("clarabel").solve(program, settings)


def noise(program, settings):
    rng = np.random.default_rng(0)
    return Solution(Termination.CONVERGED, x=rng.standard_normal(program.q.size), y=rng.standard_normal(program.b.size))


def filled(value):
    return lambda program, _: Solution(
        Termination.CONVERGED, x=np.full(program.q.size, value), y=np.full(program.b.size, value)
    )


def mis_scaled(program, settings):
    found = honest(program, settings)
    return replace(found, x=2.0 * found.x, y=3.0 * found.y)


def stained(program, settings):
    found = honest(program, settings)
    rng = np.random.default_rng(1)
    return replace(found, y=np.where(rng.random(found.y.size) < 0.3, -1e200, found.y))


def every_third(found):
    return replace(found, y=np.where(np.arange(found.y.size) % 3, found.y, 1e200))


LIARS = {
    "noise": noise,
    "nan": filled(np.nan),
    "1e200": filled(1e200),
    "-1e200": filled(-1e200),
    "1e-200": filled(1e-200),
    "mis-scaled": mis_scaled,
    "stained": stained,
    "spotted": lambda *given: every_third(stained(*given)),
    "nothing": lambda *_: Solution(Termination.CONVERGED),
    "crash": lambda *_: 1 / 0,
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("liar", LIARS)
@pytest.mark.parametrize("number", [1, 15, 24, 30, 52, 43])
def test_a_backend_that_lies_never_gets_a_false_certificate(number, liar):
    problem, result = certified(number)
    found = solve(problem, backend=Fake(LIARS[liar]), settings=Settings(max_iterations=5))
    assert found.certificate.lower <= result.certificate.upper * (1 + 1e-9)
    assert found.certificate.upper >= result.certificate.lower * (1 - 1e-9)
    assert problem.objective(found.network) == pytest.approx(found.certificate.upper, rel=ROUNDING)


def structured_answers():
    z = np.zeros
    yield "wrong shapes", {"multipliers": GatedMultipliers(z(3), z((2, 2)), z(5), z(1))}
    yield "no arrays", {"multipliers": GatedMultipliers(None, None, None, None)}
    yield "no multipliers", {"multipliers": "hello"}
    yield "other inputs", {"network": ReLUNetwork(np.ones((2, 9)), np.ones(2))}
    yield "other outputs", {"network": ReLUNetwork(np.ones((2, 3)), np.ones((2, 4)))}
    yield "slots out of range", {"network": ReLUNetwork(np.ones((2, 3)), np.ones(2), slots=(99, -1))}
    yield "no network", {"network": "hello"}
    cancelling = np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])
    yield "neurons that cancel", {"network": ReLUNetwork(cancelling, -np.ones(2), slots=(9, 9))}
    yield "slots of the wrong sign", {"network": ReLUNetwork(cancelling, -np.ones(2), slots=(0, 1))}


@pytest.mark.parametrize(("name", "answer"), list(structured_answers()), ids=[name for name, _ in structured_answers()])
def test_an_answer_to_the_structured_programme_may_be_anything(name, answer):
    problem = ConvexReLU(*data(n=12), n_gates=8)
    true = optimum(problem)
    backend = Fake(lambda *_: Solution(Termination.CONVERGED, **answer), structured=frozenset({"gated"}))
    found = solve(problem, backend=backend)
    assert found.certificate.lower <= true.upper
    assert found.certificate.upper >= true.lower
    assert problem.own_objective(found.network).upper <= found.certificate.upper * (1 + ROUNDING)


def test_a_start_that_leaves_its_cones_does_not_hide_the_trivial_network():
    problem = ConvexReLU(*data(n=12), n_gates=8, formulation="cone")
    rng = np.random.default_rng(0)
    start = ReLUNetwork(rng.standard_normal((4, 3)), rng.standard_normal(4))
    assert problem.objective(start) == np.inf
    dead = Fake(lambda *_: Solution(Termination.ERROR))
    found = solve(problem, backend=dead, warm_start=start)
    assert found.certificate.upper == problem.objective(problem.trivial_network())
    assert problem.objective(found.network) == found.certificate.upper


# -- errors -----------------------------------------------------------------------------------------------------------

X, Y = data(n=6, d=2)
PATTERNS = X @ np.random.default_rng(0).standard_normal((2, 3)) >= 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patterns": PATTERNS[:5]}, r"patterns has shape \(5, 3\); expected \(6, P\)"),
        ({"patterns": PATTERNS.astype(float)}, "patterns has dtype float64; expected bool"),
        ({"patterns": PATTERNS[:, 0]}, r"patterns has 1 dimension"),
        ({"patterns": ~PATTERNS & PATTERNS}, "none of the 3 activation patterns"),
        ({"patterns": (PATTERNS,)}, "patterns is a tuple of 1; expected an array"),
        ({"patterns": (PATTERNS, PATTERNS[:4])}, r"patterns has shape \(4, 3\); expected \(6, P\)"),
        ({"patterns": "al"}, "unknown patterns 'al'.*Did you mean 'all'"),
        ({"patterns": PATTERNS, "gates": np.ones((2, 1))}, "both patterns and gates are given"),
        ({"gates": np.ones((3, 2))}, r"gates has shape \(3, 2\); expected gate vectors of shape \(2, P\)"),
        ({"gates": np.ones((2, 2)), "bias": True}, r"gates has shape \(2, 2\); .*shape \(3, P\).*bias"),
        ({"gates": np.array([[np.nan], [1.0]])}, "gates holds NaN or inf, first at row 0, column 0"),
        ({"radius": -0.1}, "radius.*-0.1"),
        ({"radius": np.nan}, "radius"),
        ({"radius": np.full(5, 0.1)}, "radius.*6"),
        ({"norm": 3}, "unknown norm '?3'?"),
        ({"norm": "l2"}, "unknown norm 'l2'"),
        ({"beta": 0.0}, "beta"),
        ({"beta": np.inf}, "beta"),
        ({"loss": "hing"}, "unknown loss 'hing'.*Did you mean 'hinge'"),
        ({"formulation": "cones"}, "unknown formulation 'cones'.*Did you mean 'cone'"),
        ({"bound": "soft"}, "unknown bound 'soft'.*soft-cone"),
        ({"bound": "separate", "formulation": "cone"}, "bound='separate' belongs to the one-sided .*; this is 'cone'"),
        ({"bound": "mixed", "patterns": PATTERNS}, "bound='mixed' needs to know where balls cross .*, not patterns="),
        ({"multiclass": "ova"}, "unknown multiclass 'ova'"),
        ({"multiclass": "vector-output"}, "fits all classes at once with the squared loss, not with 'hinge'"),
        ({"loss": "squared", "formulation": "one-sided"}, "one-sided formulation needs a margin loss"),
        ({"loss": "squared", "regate": 1}, "regate=1 belongs to the one-sided formulation; 'cone' keeps its gates"),
        ({"regate": 1, "formulation": "gated"}, "regate=1 belongs to the one-sided formulation"),
        ({"regate": -1}, "regate is -1; expected a whole number of 0 or more"),
        ({"regate": 1.5}, "regate is 1.5; expected a whole number"),
        ({"resample": True}, "resample=True looks for gates whose cones hold neurons"),
        ({"resample": True, "formulation": "cone", "patterns": PATTERNS}, "resample=True draws gates, but patterns"),
        ({"resample": 1}, "resample is 1; expected True or False"),
        ({"bias": 1}, "bias is 1; expected True or False"),
        ({"bias": None}, "bias is None; expected True or False"),
        ({"n_gates": 0}, "n_gates is 0; expected a whole number of 1 or more"),
        ({"n_gates": True}, "n_gates is True; expected a whole number"),
        ({"n_gates": 2.0}, "n_gates is 2.0; expected a whole number"),
        ({"seed": -1}, "seed is -1; expected a whole number of 0 or more"),
        ({"grow": 0}, "grow is 0; expected a whole number of 1 or more"),
        ({"y": Y[:5]}, "y.*5.*6"),
        ({"y": np.where(Y > 0, 1, 0)}, "2 \\* y - 1"),
        ({"y": np.where(Y > 0, np.nan, 1.0)}, "y.*NaN"),
        ({"y": Y[:5], "loss": "squared"}, r"y has shape \(5,\); expected \(6,\) targets"),
        ({"y": np.ones((6, 2, 2)), "loss": "squared"}, r"y has shape \(6, 2, 2\); expected \(6,\) targets"),
        ({"y": np.ones((6, 0)), "loss": "squared"}, r"y has shape \(6, 0\); expected"),
        ({"y": np.array(list("abcabc")), "loss": "squared"}, "y cannot be read as numbers, .*multiclass="),
        ({"y": np.array([1, 2, 3, np.inf, 0, 0]), "loss": "squared"}, "y holds NaN or inf at position 3"),
        ({"X": np.where(X > 1, np.nan, X) * np.nan}, "X.*NaN"),
        ({"X": X[:, 0]}, "X"),
        ({"slots": PATTERNS}, r"slots is ndarray; expected .*Slots\(gates, signs\)"),
        ({"slots": Slots(PATTERNS[:4], np.ones(3))}, r"slots has gates of shape \(4, 3\) .* expected \(6, K\), bool"),
        ({"slots": Slots(PATTERNS * 1.0, np.ones(3))}, "slots has gates of shape .* dtype float64"),
        ({"slots": Slots(PATTERNS, np.ones(2))}, "slots has signs"),
        ({"slots": Slots(PATTERNS, np.zeros(3))}, "slots has signs"),
        ({"slots": Slots(PATTERNS, -np.ones(3)), "formulation": "gated"}, r"slots has signs .*\(1.0,\)"),
    ],
)  # fmt: skip
def test_unusable_parameters_are_refused(arguments, message):
    given = {"X": X, "y": Y, "radius": 0.1} | arguments
    with pytest.raises((InputError, UnknownNameError), match=message):
        _ = AdversarialReLU(**given).program  # which reads the gates


def test_gates_grow_only_where_there_are_gates():
    for problem in (StandardSDP(X, Y), AdversarialSDP(X, Y, radius=0.1)):
        with pytest.raises(InputError, match="has no gates, so gates='grow' does not apply"):
            solve(problem, gates="grow")
    with pytest.raises(UnknownNameError, match=r"unknown gates 'growing'.*Did you mean 'grow'"):
        solve(ConvexReLU(X, Y), gates="growing")
    with pytest.raises(InputError, match="no exact worst case, so method 'cutting-set' does not apply"):
        solve(ConvexReLU(X, Y), method="cutting-set")


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (ReLUNetwork(np.ones((1, 3)), np.ones(1)), "the network has 3 inputs"),
        (ReLUNetwork(np.ones((1, 3)), np.ones(1), bias=True), "bias=True; this problem has bias=False"),
        (ReLUNetwork(np.ones((1, 2)), np.ones((1, 3))), r"outputs of shape \(3,\)"),
        (PolynomialNetwork(np.array([[1.0, 0.0]]), np.ones(1), (1.0, 1.0, 1.0)), "the network is a PolynomialNetwork"),
        ("hello", "warm_start is str; expected a Result or a network"),
    ],
)
def test_starts_that_do_not_fit_are_refused(start, message):
    with pytest.raises(InputError, match=message):
        solve(ConvexReLU(X, Y), warm_start=start)


def test_a_solution_without_a_primal_point_is_refused():
    with pytest.raises(InputError, match="no finite primal point"):
        ConvexReLU(X, Y).recover(Solution(Termination.ERROR))


def test_several_programmes_are_not_one():
    problem = ConvexReLU(X, np.arange(6) % 3)
    with pytest.raises(InputError, match="use its `parts`"):
        _ = problem.program
    assert problem.to_structured() is None


@pytest.mark.parametrize("refinement", [{"regate": 2}, {"grow": 2}])
def test_refined_classes_are_one_problem_again(refinement):
    X, _ = data(n=18)
    y = np.arange(18) % 3
    problem = ConvexReLU(X, y, n_gates=3, **refinement)
    result = solve(problem, gates="grow" if "grow" in refinement else "fixed", settings=Settings(time_limit=20))
    assert result.problem is not None
    assert result.problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    assert result.problem.size == sum(part.history[-1].size for part in result.parts)
    assert [part.problem for part in result.parts if part.problem] != []
    assert result.certificate.upper == pytest.approx(sum(part.certificate.upper for part in result.parts))


def test_slots_without_any_open_gate_are_allowed_and_reported():
    X, y = data(n=12)
    closed = Slots(np.zeros((12, 2), dtype=np.bool_), np.array([1.0, -1.0]))
    result = solve(ConvexReLU(X, y, slots=closed))
    assert result.quality is Quality.CERTIFIED
    assert result.report["gates_from"] == "given slots"
