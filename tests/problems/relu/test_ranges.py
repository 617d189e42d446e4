"""Boxes that a range of inputs cuts off: programme, network and certificate agree with what their corners say."""

import itertools
from dataclasses import dataclass, replace
from functools import cache

import cvxpy as cp
import numpy as np
import pytest

from cvxrobust import AdversarialReLU, ConvexReLU, InputError, Settings, UnsupportedProgramError, solve
from cvxrobust.core import get_backend
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import GatedMultipliers
from cvxrobust.core.testing import check_problem

TIGHT = Settings(tolerance=1e-8)
FORMS = (
    {},
    {"bound": "separate"},
    {"bound": "mixed", "loss": "squared_hinge"},
    {"loss": "logistic", "bias": True},
    {"formulation": "cone"},
    {"formulation": "cone", "loss": "squared", "bias": True},
    {"formulation": "gated", "loss": "absolute"},
    {"formulation": "gated", "bias": True},
)
numbers = pytest.mark.parametrize("number", range(16))
LOSSES = {
    "hinge": lambda m: cp.pos(1.0 - m),
    "squared_hinge": lambda m: cp.square(cp.pos(1.0 - m)),
    "logistic": lambda m: cp.logistic(-m),
    "squared": cp.square,
    "absolute": lambda m: m,
}


@dataclass(frozen=True)
class Case:
    """A problem, and by itself what its attacks are: ends of boxes, shape (n, d)."""

    problem: AdversarialReLU
    least: np.ndarray
    most: np.ndarray


@cache
def case(number: int) -> Case:
    """A small problem: inputs on and near the ends of their range, some radii 0, some scales."""
    rng, form = np.random.default_rng(number), FORMS[number % len(FORMS)]
    n, d = 9, 3
    low, high = rng.uniform(-1.0, 0.0, d), rng.uniform(0.5, 1.5, d)
    X = rng.uniform(low, high, (n, d))
    X[0], X[1] = low, np.where(rng.random(d) < 0.5, low, high)
    if number % 5 == 1:
        low[0], high[1] = -np.inf, np.inf
    y = rng.normal(size=n) if form.get("loss") in ("squared", "absolute") else np.where(rng.random(n) < 0.5, -1.0, 1.0)
    radius = rng.uniform(0.0, 0.5, n) * (rng.random(n) < 0.85)
    scale = np.array([1.0, 0.0, 0.7]) if number % 3 == 1 else None
    problem = AdversarialReLU(
        X, y, radius, bounds=(low, high), scale=scale, n_gates=3, seed=number, beta=0.01, **form
    )  # fmt: skip
    reach = radius[:, None] * (np.ones(d) if scale is None else scale)
    return Case(problem, np.maximum(X - reach, low), np.minimum(X + reach, high))


def corners(one: Case) -> list[np.ndarray]:
    """The corners of all boxes, each shape (n, D)."""
    n, d = one.least.shape
    last = np.ones((n, int(one.problem.bias)))
    choices = itertools.product((False, True), repeat=d)
    return [np.hstack([np.where(up, one.most, one.least), last]) for up in choices]


def programme(one: Case) -> cp.Problem:
    """The convex programme, every worst case taken over corners."""
    problem, program = one.problem, one.problem.program
    gates, signs = program.gates.astype(float), program.signs
    U = cp.Variable((signs.size, program.shape[2]))
    H, y, turn = (gates * signs) @ U, program.labels[:, 0], 2.0 * gates - 1.0
    outputs = [cp.sum(cp.multiply(points, H), axis=1) for points in corners(one)]
    slopes = [cp.multiply(turn, points @ U.T) for points in corners(one)]
    constraints = [slope >= 0 for slope in slopes] if problem.formulation == "cone" else []
    if problem.loss_function.margin:
        seen = cp.minimum(*(cp.multiply(y, f) for f in outputs))
        if problem.formulation == "one-sided":
            harmful = (y[:, None] * signs < 0.0).astype(float)
            seen -= cp.sum(cp.multiply(harmful, cp.maximum(*(cp.pos(-slope) for slope in slopes))), axis=1)
    else:
        seen = cp.maximum(*(cp.abs(f - y) for f in outputs))
    fit = cp.sum(LOSSES[problem.loss](seen)) / y.size
    return cp.Problem(cp.Minimize(fit + problem.beta * cp.sum(cp.norm(U, 2, axis=1))), constraints)


@cache
def optimum(number: int):
    return solve(case(number).problem, backend="clarabel", settings=TIGHT)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@numbers
def test_the_optimum_is_that_over_the_corners_of_the_boxes(number):
    reference = programme(case(number))
    value = reference.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    found = optimum(number).certificate
    assert found.relative_gap <= 1e-6
    assert found.upper == pytest.approx(value, rel=1e-6, abs=1e-7)
    assert found.lower == pytest.approx(value, rel=1e-6, abs=1e-7)


@pytest.mark.filterwarnings("ignore:Solution may be inaccurate")
@pytest.mark.parametrize("number", range(0, 16, 3))
def test_the_readable_reference_says_the_same(number):
    assert case(number).problem.to_cvxpy().solve(solver="CLARABEL") == pytest.approx(
        optimum(number).certificate.upper, rel=1e-5, abs=1e-6
    )


@numbers
def test_no_corner_is_worse_for_a_network_than_its_objective_says(number):
    one, network = case(number), optimum(number).network
    problem, program = one.problem, one.problem.program
    outputs = np.stack([network.decision_function(points[:, : one.least.shape[1]]) for points in corners(one)])
    y, loss = program.labels[:, 0], problem.loss_function
    worst = (y * outputs).min(axis=0) if loss.margin else np.abs(outputs - y).max(axis=0)
    attacked = float(np.mean(loss.value(worst, y if loss.margin else np.zeros_like(y))))
    attacked += problem.beta * float(np.linalg.norm(network.u, axis=1) @ np.abs(network.alpha))
    own = problem.own_objective(network, exact=True)
    assert own.lower <= own.upper * (1.0 + 1e-12)
    assert own.upper >= attacked - 1e-9
    if problem.formulation != "gated":
        assert problem.objective(network) >= own.lower - 1e-9
    if problem.formulation == "cone":
        # There the network is linear in every box.
        assert problem.objective(network) == pytest.approx(attacked, rel=1e-9)


@pytest.mark.parametrize("number", [*range(8), 13])
def test_torch_finds_the_same(number):
    found = solve(case(number).problem, backend="torch", settings=Settings(tolerance=1e-5))
    assert found.termination.value == "converged"
    assert found.certificate.lower <= optimum(number).certificate.upper * (1.0 + 1e-12)
    assert found.certificate.upper >= optimum(number).certificate.lower * (1.0 - 1e-12)


@numbers
def test_any_multipliers_prove_no_more_than_the_optimum(number):
    problem, rng = case(number).problem, np.random.default_rng(number)
    (n, d), (K, C, _) = problem.program.X.shape, problem.program.shape
    d = problem.program.attackable
    parts = (rng.normal(size=(n, C)) / n, rng.normal(size=(n, C, d)), rng.random((n, K, C)), rng.normal(size=(K, C, d)))
    own = problem.network_multipliers(optimum(number).network)
    for multipliers in (GatedMultipliers(*parts), own, replace(own, attacks=parts[1], directions=parts[3])):
        assert problem.lower_bound(multipliers) <= optimum(number).certificate.upper * (1.0 + 1e-9)


@pytest.mark.parametrize("number", [4, 5, 12])
def test_multipliers_are_repaired_as_well_as_can_be(number):
    problem = case(number).problem
    conic = get_backend("clarabel").solve(problem.to_conic(), TIGHT)
    found = problem.multipliers(conic)
    for spoilt in (replace(found, mu=0.0 * found.mu), replace(found, directions=0.0 * found.directions)):
        repaired = list(problem.multiplier_candidates(replace(conic, multipliers=spoilt), optimum(number).network))
        assert max(map(problem.lower_bound, repaired)) >= optimum(number).certificate.lower * (1.0 - 0.05) - 1e-9


def test_a_wide_range_changes_nothing_at_all():
    one = case(0).problem
    plain = AdversarialReLU(one.X, one.y, one.radius, n_gates=3)
    for bounds in ((-np.inf, np.inf), (-100.0, np.full(3, 100.0))):
        ranged = AdversarialReLU(one.X, one.y, one.radius, n_gates=3, bounds=bounds)
        assert ranged.attack.shape == "ball"
        assert (ranged.to_conic().A != plain.to_conic().A).nnz == 0
        assert "inputs in a range" in repr(ranged)


@pytest.mark.parametrize("form", [{}, {"formulation": "cone"}, {"formulation": "cone", "loss": "squared"}])
def test_a_column_with_one_value_is_one_that_attacks_cannot_touch(form):
    rng = np.random.default_rng(3)
    X, y = rng.uniform(0.2, 0.8, (12, 3)), np.where(rng.random(12) < 0.5, -1.0, 1.0)
    X[:, 1] = 0.4
    low, high = np.array([-9.0, 0.4, -9.0]), np.array([9.0, 0.4, 9.0])
    ranged = AdversarialReLU(X, y, 0.1, bounds=(low, high), n_gates=4, **form)
    masked = AdversarialReLU(X, y, 0.1, scale=[1.0, 0.0, 1.0], n_gates=4, **form)
    values = [solve(one, backend="clarabel", settings=TIGHT).certificate.upper for one in (ranged, masked)]
    assert values[0] == pytest.approx(values[1], rel=1e-7)


def test_a_range_without_any_room_leaves_no_attack():
    rng = np.random.default_rng(4)
    X, y = np.tile([0.2, 0.7], (8, 1)), np.where(rng.random(8) < 0.5, -1.0, 1.0)
    problem = AdversarialReLU(X, y, 0.3, bounds=([0.2, 0.7], [0.2, 0.7]), n_gates=4)
    assert not problem.attack.present
    assert problem.own_objective(problem.trivial_network()).upper == 1.0
    clean = ConvexReLU(X, y, n_gates=4)
    values = [solve(one, backend="clarabel", settings=TIGHT).certificate.upper for one in (problem, clean)]
    assert values[0] == pytest.approx(values[1], rel=1e-7)


@pytest.mark.parametrize("formulation", ["cone", "gated"])
def test_where_a_middle_is_zero_neurons_are_blind_to_what_is_attacked_there_alone(formulation):
    X = np.array([[-0.1, 0.0, 0.0], [0.0, 0.6, 0.5], [0.0, -0.5, 0.7], [0.0, 0.4, -0.6], [0.9, 0.1, 0.4]])
    y, radius = np.array([1.0, 1.0, -1.0, -1.0, 1.0]), np.array([0.3, 0.0, 0.0, 0.0, 0.2])
    low, high = np.array([-0.2, -9.0, -9.0]), np.full(3, 9.0)
    problem = AdversarialReLU(
        X, y, radius, scale=[1.0, 0.0, 0.0], bounds=(low, high), n_gates=6, beta=0.005, formulation=formulation,
        loss="squared",
    )  # fmt: skip
    assert problem.attack.shape == "cut box"
    assert np.allclose(problem.middles[0], 0.0)
    found = solve(problem, backend="clarabel", settings=TIGHT)
    assert found.certificate.relative_gap <= 1e-6
    reach = radius[:, None] * [1.0, 0.0, 0.0]
    reference = programme(Case(problem, np.maximum(X - reach, low), np.minimum(X + reach, high)))
    assert reference.solve(solver="CLARABEL") == pytest.approx(found.certificate.upper, rel=1e-6)
    if formulation == "cone":
        assert np.allclose(found.network.u[:, 0], 0.0, atol=1e-12)
        assert found.network.u[:, 1:].any()


def test_rows_outside_are_refused_or_clipped():
    X, y = np.array([[0.5, 0.5], [1.2, -0.1], [0.1, 0.9]]), np.array([1.0, -1.0, 1.0])
    with pytest.raises(InputError, match="1 of 3 rows of X, the first of them row 1, lie outside of bounds"):
        AdversarialReLU(X, y, 0.1, bounds=(0, 1))
    clipped = AdversarialReLU(X, y, 0.1, bounds=(0, 1), outside="clip")
    assert np.array_equal(clipped.X, np.clip(X, 0.0, 1.0))
    assert np.allclose(clipped.middles, [[0.5, 0.5], [0.95, 0.05], [0.1, 0.9]])
    assert np.allclose(clipped.attack.extent, [[0.1, 0.1], [0.05, 0.05], [0.1, 0.1]])


@pytest.mark.parametrize("norm", [1, 2])
def test_other_balls_are_not_cut_off(norm):
    with pytest.raises(InputError, match=r'bounds are given, but norm is .*; give norm="inf", or leave bounds out'):
        AdversarialReLU(np.zeros((2, 2)), [1.0, -1.0], 0.1, norm=norm, bounds=(0, 1))


def test_the_interior_point_method_says_that_it_does_not_read_them():
    problem = case(0).problem
    with pytest.raises(UnsupportedProgramError, match="does not read attacks in a cut box"):
        get_backend("ipm").solve(problem.to_structured(), Settings())
    found = solve(problem)
    assert found.quality.value == "certified"
    assert found.backend != "ipm"


@pytest.mark.parametrize("number", [0, 4, 7])
def test_a_larger_radius_never_lowers_the_optimum(number):
    problem = case(number).problem
    values = [
        solve(problem.at(radius=r), backend="clarabel", settings=TIGHT).certificate for r in (0.0, 0.05, 0.2, 5.0)
    ]
    assert all(less.lower <= more.upper + 1e-9 for less, more in itertools.pairwise(values))
    # Beyond the range nothing is left to gain.
    further = solve(problem.at(radius=50.0), backend="clarabel", settings=TIGHT).certificate
    assert further.upper == pytest.approx(values[-1].upper, rel=1e-6)


def test_several_classes_gates_and_rows_keep_the_range():
    rng = np.random.default_rng(6)
    X, y = rng.uniform(0.0, 1.0, (18, 3)), np.arange(18) % 3
    problem = AdversarialReLU(X, y, 0.15, bounds=(0, 1), n_gates=4, regate=1, beta=0.01)
    found = solve(problem, backend="clarabel")
    assert found.quality.value == "certified"
    rows = np.arange(0, 18, 2)
    some, share = problem.of_rows(rows)
    assert share == 0.5
    assert np.array_equal(some.middles, problem.middles[rows])
    assert all(part.attack.shape == "cut box" for part in some.parts)
    grown = solve(AdversarialReLU(X, y, 0.15, bounds=(0, 1), n_gates=2, grow=2, beta=0.01), gates="grow")
    assert grown.quality.value == "certified"


def test_gates_are_found_whose_cones_hold_neurons():
    rng = np.random.default_rng(7)
    X, y = rng.uniform(0.0, 1.0, (20, 3)), rng.normal(size=20)
    problem = AdversarialReLU(
        X, y, 0.04, bounds=(0, 1), n_gates=5, resample=True, formulation="cone", loss="squared", bias=True, beta=0.01
    )
    assert problem.carriers == len(problem.gate_set.patterns.T) > 1
    network = solve(problem, backend="clarabel", settings=TIGHT).network
    assert gated.is_feasible(problem.program, problem.point(network))


@pytest.mark.parametrize("form", [{}, {"formulation": "gated", "loss": "squared"}])
def test_the_contract_of_problems_holds(form):
    rng = np.random.default_rng(8)
    X = rng.uniform(0.0, 1.0, (12, 2))
    y = np.where(X.sum(axis=1) > 1.0, 1.0, -1.0)
    problem = AdversarialReLU(X, y, 0.1, bounds=(0, 1), n_gates=3, beta=0.02, **form)
    assert problem.attack.shape == "cut box"
    check_problem(lambda: problem)
