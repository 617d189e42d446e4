"""Gated programmes: margins are bounded from below, certificates from any multipliers, and networks are points."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from random_relu import any_gates, random_recipe
from scipy.optimize import nnls

from cvxrobust import ReLUNetwork, Settings, UnsupportedProgramError, solve
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import (
    GatedMultipliers,
    brackets,
    gated_bound,
    network_multipliers,
    tightened,
)
from cvxrobust.core.programs.gated.program import GatedProgram
from cvxrobust.problems.relu import recovery as relu_recovery

SETTINGS = Settings(tolerance=1e-7)


def recipe(number):
    """Gates from patterns and gates of no order in turn."""
    return (random_recipe if number % 2 else any_gates)(number // 2)


@cache
def solved(number):
    problem = recipe(number).problem()
    return problem, solve(problem, backend="clarabel", settings=SETTINGS)


def random_program(seed, norm, bias=False, n=7, d=3, K=6, loss="hinge", formulation="one-sided"):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d + bias))
    if bias:
        X[:, -1] = 1.0
    signs = rng.choice([-1.0, 1.0], K)
    radius = rng.uniform(0.0, 0.8, n) * (rng.random(n) < 0.8)
    y = rng.choice([-1.0, 1.0], (n, 1))
    attack = AttackBall(norm, radius, d)
    return GatedProgram(X, y, loss, rng.random((n, K)) < 0.5, signs, attack, 0.05, formulation, bias), rng


def unattacked(program):
    return replace(program.attack, radius=np.zeros_like(program.radius))


def attacks(rng, norm, d, count=400):
    """Points of the unit ball: inside, on its rim, and all corners."""
    Z = rng.standard_normal((count, d))
    order = {"inf": np.inf, 2: 2, 1: 1}[norm]
    rim = Z / np.linalg.norm(Z, order, axis=1)[:, None]
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * d)).reshape(d, -1).T if norm == "inf" else np.eye(d)
    return np.vstack([rim, rng.random((count, 1)) * rim, corners, -corners])


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("seed", range(8))
def test_no_attack_pushes_a_margin_below_its_bound_whatever_the_gates(seed, norm, bias):
    program, rng = random_program(seed, norm, bias)
    moves = attacks(rng, norm, 3)
    for _ in range(5):
        U = rng.standard_normal(program.shape) * (rng.random((program.shape[0], 1, 1)) < 0.7)
        network, bounds = gated.to_network(program, U), gated.values(program, U)[:, 0]
        for x, y, r, bound in zip(program.X, program.labels[:, 0], program.radius, bounds, strict=True):
            margins = y * network.decision_function(x[:3] + r * moves)
            assert margins.min() >= bound - 1e-12 * (1.0 + abs(bound))


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("seed", range(4))
def test_without_attack_the_bound_is_the_margin_where_helpful_gates_are_the_signs(seed, norm):
    program, rng = random_program(seed, norm)
    U = rng.standard_normal(program.shape)
    signs = (program.X @ U[:, 0].T) > 0.0
    gates = np.where(gated.harmful(program), rng.random(signs.shape) < 0.5, signs)
    still = replace(program, gates=gates, attack=unattacked(program))
    margins = program.labels[:, 0] * gated.to_network(program, U).decision_function(program.X)
    np.testing.assert_allclose(gated.values(still, U)[:, 0], margins, atol=1e-12)


@pytest.mark.parametrize("number", [n for n in range(0, 120) if random_recipe(n).form == "cone"][:24])
def test_the_worst_attack_on_a_cone_feasible_point_attains_its_bound(number):
    """And the soft cone says the same there."""
    problem = random_recipe(number).problem()
    program, d = problem.program, problem.X.shape[1]
    rng = np.random.default_rng(number)
    U = relu_recovery.into_cones(program, rng.standard_normal(program.shape), {})
    assert gated.is_feasible(program, U)
    network, found = problem.network_at(U), gated.values(program, problem.point(problem.network_at(U)))
    H = gated.sums(problem.given_program, gated.from_network(problem.given_program, network))
    moves = attacks(rng, problem.norm, d)
    for i, (x, r) in enumerate(zip(problem.X, problem.radius, strict=True)):
        f = network.decision_function(x + r * moves).reshape(len(moves), -1)
        direction = H[i, :, :d] / np.maximum(np.linalg.norm(H[i, :, :d], axis=1, keepdims=True), 1e-300)
        if problem.norm == "inf":
            direction = np.sign(H[i, :, :d])
        if problem.norm == 1:
            direction = np.zeros_like(direction)
            largest = np.abs(H[i, :, :d]).argmax(axis=1)
            direction[np.arange(len(largest)), largest] = np.sign(H[i, np.arange(len(largest)), largest])
        ends = [
            network.decision_function(x + sign * r * direction).reshape(len(direction), -1) for sign in (-1.0, 1.0)
        ]  # fmt: skip
        for c in range(program.shape[1]):
            reached = np.array([end[c, c] for end in ends])
            if program.loss == "squared":
                assert np.abs(f[:, c] - program.labels[i, c]).max() <= found[i, c] + 1e-9
                assert np.abs(reached - program.labels[i, c]).max() == pytest.approx(found[i, c], abs=1e-9)
            else:
                assert (program.labels[i, 0] * f[:, c]).min() >= found[i, c] - 1e-9
                assert (program.labels[i, 0] * reached).min() == pytest.approx(found[i, c], abs=1e-9)
    if program.loss != "squared":
        soft = replace(program, formulation="one-sided")
        np.testing.assert_allclose(gated.values(soft, U), gated.values(program, U), atol=1e-12)


def test_an_unknown_formulation_is_refused_not_taken_for_another():
    program, _ = random_program(0, 2)
    with pytest.raises(UnsupportedProgramError, match="'conical' is none of"):
        gated.require_meaning(replace(program, formulation="conical"))


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("seed", range(6))
def test_bounds_of_margins_are_concave_and_grow_with_the_neurons(seed, norm):
    program, rng = random_program(seed, norm, bias=bool(seed % 2))
    for _ in range(20):
        first, second, t = rng.standard_normal(program.shape), rng.standard_normal(program.shape), rng.random()
        ends = gated.values(program, first), gated.values(program, second)
        between = gated.values(program, t * first + (1 - t) * second)
        assert (between >= t * ends[0] + (1 - t) * ends[1] - 1e-12).all()
        np.testing.assert_allclose(gated.values(program, 3.0 * first), 3.0 * ends[0], atol=1e-11)


def test_separate_and_soft_cone_bounds_are_as_published():
    program, rng = random_program(3, 2)
    U, X, r, y = rng.standard_normal(program.shape), program.X, program.radius, program.labels[:, 0]
    u, D = U[:, 0], program.gates.astype(float)
    for i in range(7):
        helpful, harmful = program.signs == y[i], program.signs == -y[i]
        sizes = np.linalg.norm(u, axis=1)
        v, w = D[i, helpful] @ u[helpful], D[i, harmful] @ u[harmful]
        soft = X[i] @ (v - w) - r[i] * np.linalg.norm(v - w)
        soft -= np.maximum((1 - 2 * D[i]) * (u @ X[i]) + r[i] * sizes, 0.0)[harmful].sum()
        assert gated.values(program, U)[i, 0] == pytest.approx(soft, abs=1e-12)
        zeroed = replace(program, gates=program.gates & ~gated.harmful(program))
        separate = X[i] @ v - r[i] * np.linalg.norm(v) - np.maximum(u @ X[i] + r[i] * sizes, 0.0)[harmful].sum()
        assert gated.values(zeroed, U)[i, 0] == pytest.approx(separate, abs=1e-12)


# -- networks and points ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_network_remembers_the_point_it_came_from(outputs):
    program, rng = random_program(0, 2)
    if outputs > 1:
        labels = rng.standard_normal((7, 3))
        program = replace(program, labels=labels, loss="squared", formulation="cone")
    U = rng.standard_normal(program.shape) * 10.0 ** rng.integers(-6, 6, program.shape[0])[:, None, None]
    U[2] = 0.0
    network = gated.to_network(program, U)
    np.testing.assert_allclose(gated.from_network(program, network), U, rtol=1e-14)
    assert network.n_neurons == (program.shape[0] - 1) * outputs
    assert 2 not in network.slots
    sizes = np.linalg.norm(network.u, axis=1), np.linalg.norm(network.alpha.reshape(len(network.u), -1), axis=1)
    np.testing.assert_allclose(*sizes)


def test_outputs_of_a_feasible_point_are_those_of_its_network():
    problem, result = solved(2 * next(n for n in range(60) if random_recipe(n).form == "cone") + 1)
    U = problem.point(result.network)
    f = np.einsum("id,icd->ic", problem.inputs, gated.sums(problem.program, U))
    expected = result.network.decision_function(problem.X).reshape(f.shape)
    np.testing.assert_allclose(f, expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_a_network_that_knows_no_slots_goes_where_its_signs_agree(seed):
    program, rng = random_program(seed, 2)
    patterns = np.unique(program.X @ rng.standard_normal((3, 40)) >= 0.0, axis=1)[:, 1:4]
    program = replace(program, gates=np.hstack([patterns, patterns]), signs=np.repeat([1.0, -1.0], 3))
    U = relu_recovery.into_cones(
        replace(program, formulation="cone", attack=unattacked(program)), rng.standard_normal(program.shape), {}
    )
    U[rng.integers(0, 6)] = 0.0
    network = gated.to_network(program, U)
    order = rng.permutation(network.n_neurons)
    stranger = ReLUNetwork(network.u[order], network.alpha[order])
    np.testing.assert_allclose(gated.from_network(program, stranger), U, rtol=1e-12, atol=1e-14)
    assert gated.objective(program, gated.from_network(program, stranger)) == pytest.approx(gated.objective(program, U))


def test_a_neuron_finds_no_slot_of_the_other_sign():
    program, rng = random_program(0, 2)
    positive = replace(program, signs=np.ones(6))
    network = ReLUNetwork(rng.standard_normal((2, 3)), np.array([1.0, -1.0]))
    assert gated.holds(program, network)
    assert not gated.holds(positive, network)
    assert gated.holds(positive, ReLUNetwork(network.u[:1], network.alpha[:1]))
    assert gated.holds(replace(positive, formulation="gated"), network)


# -- certificates -----------------------------------------------------------------------------------------------------


def every(multipliers, change):
    """The multipliers, every array of them changed."""
    parts = {name.name: getattr(multipliers, name.name) for name in fields(multipliers)}
    return GatedMultipliers(**{name: None if part is None else change(part) for name, part in parts.items()})


def garbage(rng, honest):
    """Multipliers that nobody should trust, by name."""

    def noise(part):
        return rng.standard_normal(part.shape)

    def stained(value):
        return lambda part: np.where(rng.random(part.shape) < 0.2, value, part)

    yield "noise", every(honest, noise)
    yield "large noise", every(honest, lambda part: 50.0 * noise(part))
    yield "negative", every(honest, np.negative)
    yield "perturbed", every(honest, lambda part: part * (1.0 + 0.3 * noise(part)))
    yield "shuffled", every(honest, rng.permutation)
    for value in (np.nan, np.inf, -np.inf, 1e200, -1e200, 1e-200):
        yield f"all {value}", every(honest, lambda part, value=value: np.full(part.shape, value))
        yield f"some {value}", every(honest, stained(value))
    for factor in (1e-120, 0.3, 4.0, 1e120):
        yield f"times {factor}", every(honest, lambda part, factor=factor: factor * part)
    ones = np.ones_like(honest.theta)
    yield "wrong signs", replace(honest, theta=honest.theta * rng.choice([-1.0, 1.0], honest.theta.shape))
    yield "theta too large", replace(honest, theta=honest.theta + 2.0 * ones, omega=None)
    yield "attacks too large", replace(honest, attacks=7.0 * honest.attacks)
    yield "directions too large", replace(honest, directions=7.0 * honest.directions)
    yield "attacks on the samples' side", replace(honest, attacks=-honest.attacks)
    yield "mu everywhere", replace(honest, mu=honest.mu + np.abs(noise(honest.mu)))
    yield "mu only", replace(honest, theta=0.0 * ones, omega=None)
    yield "no mu", replace(honest, mu=0.0 * honest.mu)
    yield "no omega", replace(honest, omega=0.0 * ones)
    yield "negative omega", replace(honest, omega=-np.abs(honest.theta))
    yield "large omega", replace(honest, omega=1e3 * ones)


def shortened(program, multipliers, limited):
    """The multipliers with the mu that make every B_k short, of any sign and size unless `limited` to positive ones."""
    B, _ = brackets(program, replace(multipliers, mu=np.zeros_like(multipliers.mu)))
    mu, turn = multipliers.mu.copy(), np.where(program.gates, 1.0, -1.0)
    for k, c in np.ndindex(B.shape[:2]):
        generators = turn[:, k, None] * program.X
        generators[:, : program.attackable] += program.radius[:, None] * multipliers.directions[k, c]
        free = nnls(generators.T, -B[k, c])[0] if limited else np.linalg.lstsq(generators.T, -B[k, c])[0]
        mu[:, k, c] = free
    return replace(multipliers, mu=mu)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("number", range(60))
def test_no_multipliers_prove_more_than_the_truth(number):
    problem, result = solved(number)
    program, rng = problem.program, np.random.default_rng(number)
    attained = result.certificate.upper
    # Feasible points, near the optimum and far from it, have no smaller value than any bound.
    best = problem.point(result.network)
    for _ in range(20):
        point = best * rng.uniform(0.8, 1.2, best.shape) + 10.0 ** rng.uniform(-6, 0) * rng.standard_normal(best.shape)
        attained = min(attained, gated.objective(program, point))
    honest = problem.multipliers(result.solution)
    limit = attained + 1e-13 * (1.0 + abs(attained))
    feasible = gated_bound(program, honest).multipliers
    ambitious = gated_bound(program, replace(feasible, theta=np.ones_like(honest.theta), omega=None)).multipliers
    tempting = {
        f"mu of {names}": shortened(program, m, limited)
        for names, m, limited in (
            ("any sign", feasible, False),
            ("any size", feasible, True),
            ("any sign, large theta", ambitious, False),
            ("any size, large theta", ambitious, True),
        )
    }
    for name, multipliers in (*garbage(rng, honest), *tempting.items()):
        bound = gated_bound(program, multipliers)
        assert bound.value <= limit, name
        assert bound.violations.shape == program.signs.shape, name
        better = gated_bound(program, tightened(program, multipliers))
        assert better.value <= limit, name
        assert better.value >= bound.value - 1e-9 * (1.0 + abs(bound.value)), name
    own = gated_bound(program, network_multipliers(program, best))
    assert own.value <= limit
    for _ in range(3):
        somewhere = network_multipliers(program, rng.standard_normal(program.shape))
        assert gated_bound(program, somewhere).value <= limit


@pytest.mark.parametrize("number", range(0, 120, 3))
def test_the_multipliers_of_a_solver_prove_its_optimum(number):
    problem, result = solved(number)
    found = max(problem.lower_bound(m) for m in problem.multiplier_candidates(result.solution, result.network))
    # Clarabel stalls on one of these.
    tolerance = 2e-6 if result.termination == "converged" else 1e-3
    assert found == pytest.approx(result.certificate.upper, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("number", range(40))
def test_a_common_factor_on_multipliers_that_are_too_large_costs_nothing(number):
    """Scaling is what makes multipliers feasible, so none is needed beforehand; a cap of the loss may bind first."""
    problem, result = solved(number)
    honest = problem.multipliers(result.solution)
    bound = problem.lower_bound(honest)
    for factor in (1e-3, 1e-60):
        smaller = problem.lower_bound(
            replace(
                honest,
                theta=factor * honest.theta,
                mu=factor * honest.mu,
                omega=None if honest.omega is None else factor * honest.omega,
            )
        )
        assert smaller == pytest.approx(bound, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("size", [1e50, 1e99, 1e150, 1e200, 1e300])
def test_multipliers_too_small_to_be_squared_are_scaled_all_the_same(size):
    """Those of a sample that is zero count for nothing, however large; the others must not vanish beside them."""
    program, _ = random_program(1, 2, formulation="cone")
    X = program.X.copy()
    X[0] = 0.0
    program = replace(program, X=X, attack=unattacked(program))
    ones = replace(
        network_multipliers(program, np.zeros(program.shape)), theta=np.full((7, 1), 1.0 / 7), mu=np.zeros((7, 6, 1))
    )
    large = replace(ones, mu=np.where(np.arange(7)[:, None, None] == 0, size, ones.mu))
    assert gated_bound(program, large).value == pytest.approx(gated_bound(program, ones).value, rel=1e-6)


def smooth(number):
    found = random_recipe(number)
    return found.loss != "hinge" and np.max(found.radius) == 0.0


@pytest.mark.parametrize("number", [2 * n + 1 for n in range(90) if smooth(n)])
def test_where_the_loss_is_smooth_an_optimal_network_proves_itself_optimal(number):
    problem, result = solved(number)
    program = problem.program
    point = problem.point(result.network) if program.formulation != "gated" else problem.form.point(result.solution.x)
    own = tightened(program, network_multipliers(program, point))
    assert gated_bound(program, own).value == pytest.approx(result.certificate.upper, rel=1e-3)


def missing_mu(formulation):
    """Programmes whose certificates live on mu: most neurons would pay for themselves without the constraints."""
    for number in range(200):
        found = random_recipe(number)
        one_sided = found.form in ("soft-cone", "separate", "mixed")
        if (one_sided if formulation == "one-sided" else found.form == "cone") and found.degeneracy == "none":
            yield 2 * number + 1


@pytest.mark.parametrize("formulation", ["cone", "one-sided"])
def test_least_squares_find_multipliers_that_are_missing(formulation):
    gained = []
    for number in list(missing_mu(formulation))[:24]:
        problem, result = solved(number)
        honest = problem.multipliers(result.solution)
        bare = replace(honest, mu=np.zeros_like(honest.mu), directions=np.zeros_like(honest.directions))
        before, after = (problem.lower_bound(m) for m in (bare, tightened(problem.program, bare)))
        lost = result.certificate.lower - before
        if lost > 1e-3 * result.certificate.upper:
            gained.append((after - before) / lost)
    assert len(gained) > 12
    assert min(gained) > 0.1
    assert np.mean(np.array(gained) > 0.999) > 0.75


def test_only_slots_above_the_threshold_are_repaired():
    problem, result = solved(next(missing_mu("one-sided")))
    honest = problem.multipliers(result.solution)
    bare = replace(honest, mu=np.zeros_like(honest.mu))
    repaired = tightened(problem.program, bare)
    over = problem.dual(bare).violations > problem.beta
    assert over.any()
    changed = (repaired.mu != 0.0).any(axis=(0, 2))
    assert not changed[~over].any()
    untouched = tightened(problem.program, bare, threshold=1e6)
    assert (untouched.mu == 0.0).all()


def test_a_programme_without_slots_is_bounded_by_the_loss_of_nothing():
    program, _ = random_program(0, 2)
    empty = replace(program, gates=program.gates[:, :0], signs=program.signs[:0])
    bound = gated_bound(empty, network_multipliers(empty, np.zeros((0, 1, 3))))
    assert bound.value == pytest.approx(1.0)
    assert gated.objective(empty, np.zeros((0, 1, 3))) == 1.0
