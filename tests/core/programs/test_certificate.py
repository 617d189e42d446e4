"""Certificates: no multipliers, however wrong, ever prove more than is true."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.certificate import (
    MomentMultipliers,
    PointMultipliers,
    coefficients,
    price_neurons,
    repair_moments,
    repair_points,
)
from cvxrobust.core.programs.polynomial.moments import SecondMoments, SpanMultipliers, repaired_attacks, repaired_theta
from cvxrobust.core.settings import Settings
from cvxrobust.problems.polynomial.adversarial_sdp import AdversarialSDP
from cvxrobust.problems.polynomial.standard_sdp import StandardSDP

ACTIVATIONS = (
    (0.09, 0.5, 0.47),
    (1.0, 0.0, 0.0),
    (-0.3, 0.4, 0.1),
    (0.5, 1.0, -0.7),
    (2.0, -1.0, 0.0),
    (-1.0, 0.0, 0.5),
)
LOSSES = ("hinge", "squared_hinge", "logistic", "squared")
derandomized = settings(derandomize=True, deadline=None, max_examples=15)
seeds = st.integers(0, 2**31)


def random_problem(rng, loss, scale=1.0):
    n, d = int(rng.integers(1, 9)), int(rng.integers(1, 5))
    X = scale * rng.standard_normal((n, d))
    shared = {"beta": float(10.0 ** rng.uniform(-4, 1)), "loss": loss, "activation": ACTIVATIONS[rng.integers(6)]}
    if loss == "squared":
        return StandardSDP(X, rng.standard_normal(n), **shared)
    radius = scale * rng.uniform(0.0, 2.0, n) * rng.integers(0, 2, n)
    return AdversarialSDP(X, rng.choice([-1.0, 1.0], n), radius, **shared)


def random_network(rng, problem):
    m, d = int(rng.integers(0, 6)), problem.X.shape[1]
    u = rng.standard_normal((m, d))
    alpha = rng.standard_normal(m) * 10.0 ** rng.uniform(-6, 2)
    return PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), alpha, problem.activation)


def candidates(rng, problem):
    """Networks with low objectives among them: random ones, the empty one, and line searches along neurons."""
    yield problem.trivial_network()
    for _ in range(4):
        network = random_network(rng, problem)
        for factor in (1.0, 1e-1, 1e-2, 1e-3):
            yield network.replace(alpha=factor * network.alpha)
    # The neurons that pricing proposes improve the empty network most.
    bound = problem.dual(problem.network_multipliers(problem.trivial_network()))
    for sign, neuron in zip((1.0, -1.0), bound.neurons, strict=True):
        if np.linalg.norm(neuron) > 0.0:
            for size in (1e-3, 1e-2, 1e-1, 1.0):
                yield PolynomialNetwork(
                    neuron[None] / np.linalg.norm(neuron), np.array([sign * size]), problem.activation
                )


def random_points(rng, problem):
    """Points of every kind: inside, outside, far outside; several to a sample, none to some."""
    n, d = problem.X.shape
    k = int(rng.integers(1, 3 * n + 1))
    owners = rng.integers(0, n, k)
    moves = rng.standard_normal((k, d))
    moves *= (problem.radius[owners] * rng.choice([0.0, 0.5, 1.0, 1.0 + 1e-15, 3.0], k))[:, None]
    moves /= np.maximum(
        np.linalg.norm(moves, axis=1, keepdims=True) / np.maximum(problem.radius, 1)[owners, None], 1e-3
    )
    weights = rng.uniform(-0.2, 1.0, k) / n * 10.0 ** rng.choice([-3.0, 0.0, 0.0, 3.0])
    return PointMultipliers(weights, owners, problem.X[owners] + moves)


def random_moments(rng, problem):
    """Matrices of no particular kind: not psd, not symmetric, traces of any size."""
    n, d = problem.X.shape
    M = rng.standard_normal((n, d + 1, d + 1)) / n
    if rng.integers(2):
        M = M @ np.swapaxes(M, 1, 2) * n
    corner = rng.uniform(-0.1, 1.0, n) / n
    M[:, d, d] = np.where(rng.random(n) < 0.5, corner, M[:, d, d])
    return MomentMultipliers(M * 10.0 ** rng.uniform(-8, 3, (n, 1, 1)))


def random_span(rng, problem):
    """Random attacks of every kind: a basis of any rank and size, too long ones, negative variances."""
    n, d = problem.X.shape
    k = int(rng.integers(0, d + 3))
    basis = rng.standard_normal((d, k)) * 10.0 ** rng.uniform(-2, 2)
    if rng.integers(2) and 0 < k <= d:
        basis = np.linalg.qr(basis)[0]
    size = problem.radius.max(initial=0.1) / max(k, 1) ** 0.5
    mean = size * rng.choice([0.0, 0.5, 1.0, 30.0], (n, 1)) * rng.standard_normal((n, k))
    variance = size**2 * rng.choice([0.0, 0.5, 1.0, 30.0], (n, 1)) * rng.uniform(-0.05, 1.0, (n, k))
    theta = rng.uniform(-0.2, 1.0, n) / n * 10.0 ** rng.choice([-3.0, 0.0, 0.0, 3.0])
    return SpanMultipliers(theta, basis, mean, variance if rng.integers(2) else None)


def optimum_from_above(rng, problem):
    return min(problem.objective(network) for network in candidates(rng, problem))


# -- the bounds of a certificate -------------------------------------------------------------------------------------


def test_gaps_are_upper_minus_lower():
    certificate = Certificate(2.0, 1.5)
    assert certificate.absolute_gap == 0.5
    assert certificate.relative_gap == 0.25
    assert Certificate(0.0, 0.0).relative_gap == 0.0
    assert Certificate(1.0, 1.0 + 1e-16).absolute_gap == 0.0
    assert Certificate(1.0, 1.0 + 1e-9).relative_gap == 0.0
    assert Certificate(0.0, -1.0).relative_gap > 1e100


@pytest.mark.parametrize(
    "bounds",
    [(math.inf, 0.0), (math.inf, -math.inf), (1.0, -math.inf), (math.nan, 0.0), (1.0, math.nan), (math.nan, math.nan)],
)
def test_bounds_that_are_no_numbers_leave_an_infinite_gap(bounds):
    assert Certificate(*bounds).absolute_gap == math.inf
    assert Certificate(*bounds).relative_gap == math.inf


def test_the_best_of_two_certificates_has_the_tighter_bounds_and_no_nan():
    assert Certificate(3.0, 1.0).best(Certificate(2.0, 0.0)) == Certificate(2.0, 1.0)
    nothing = Certificate(math.nan, math.nan)
    assert Certificate(3.0, 1.0).best(nothing) == Certificate(3.0, 1.0)
    assert nothing.best(Certificate(3.0, 1.0)) == Certificate(3.0, 1.0)


# -- weak duality ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
@derandomized
@given(seed=seeds)
def test_no_point_multipliers_prove_more_than_any_network_attains(loss, seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, loss)
    attained = optimum_from_above(rng, problem)
    for _ in range(8):
        assert problem.lower_bound(random_points(rng, problem)) <= attained


@pytest.mark.parametrize("loss", LOSSES)
@derandomized
@given(seed=seeds)
def test_no_multipliers_on_random_attacks_prove_more_than_any_network_attains(loss, seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, loss)
    attained = optimum_from_above(rng, problem)
    for _ in range(8):
        assert problem.lower_bound(random_span(rng, problem)) <= attained


def test_random_attacks_count_as_much_as_points_with_their_moments():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, "logistic")
        given = random_span(rng, problem)
        theta = repaired_theta(given.theta, loss_by_name("logistic"))
        mean, variance = repaired_attacks(given.mean, given.variance, given.basis, problem.attack)
        variance = np.zeros_like(mean) if variance is None else variance
        lengths = ((mean @ given.basis.T) ** 2).sum(axis=1) + variance @ (given.basis**2).sum(axis=0)
        assert (lengths <= problem.radius**2 * (1.0 + 1e-12)).all()
        weights, owners, points = [], [], []
        for i, j, side in np.ndindex(*variance.shape, 2):
            # k coordinates, one of them moved at a time, by the root of k times its variance, to either side.
            k = variance.shape[1]
            move = mean[i] + (2 * side - 1) * (k * variance[i, j]) ** 0.5 * np.eye(k)[j]
            weights.append(theta[i] / (2 * k))
            owners.append(i)
            points.append(problem.X[i] + given.basis @ move)
        if not weights:
            continue
        # Wherever these lie: only sums of moments matter here, so the radius that points are held to is larger.
        wide = AdversarialSDP(problem.X, problem.y, 1e6, problem.beta, "logistic", problem.activation)
        apart = wide.lower_bound(PointMultipliers(np.array(weights), np.array(owners), np.array(points)))
        assert problem.lower_bound(given) == pytest.approx(apart, rel=1e-9, abs=1e-12)


def test_second_moments_do_not_depend_on_blocks_or_on_who_sums_them():
    rng = np.random.default_rng(3)
    n, d, k = 5000, 60, 4
    X, weights = rng.standard_normal((n, d)), rng.standard_normal(n)
    basis, mean, variance = rng.standard_normal((d, k)), rng.standard_normal((n, k)), rng.random((n, k))
    whole, first, second = (SecondMoments(basis) for _ in range(3))
    whole.add(X, weights, mean, variance)
    first.add(X[:1234], weights[:1234], mean[:1234], variance[:1234])
    second.add(X[1234:], weights[1234:], mean[1234:], variance[1234:])
    first.set_parts(first.parts() + second.parts())
    attacked = np.hstack([X + mean @ basis.T, np.ones((n, 1))])
    direct = (attacked * weights[:, None]).T @ attacked
    direct[:d, :d] += (basis * (weights @ variance)) @ basis.T
    for sums in (whole, first):
        assert sums.matrix() == pytest.approx(direct, rel=1e-10, abs=1e-8)
        assert sums.mass >= np.abs(weights) @ (attacked**2).sum(axis=1)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
@derandomized
@given(seed=seeds)
def test_no_moment_multipliers_prove_more_than_any_network_attains(loss, seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, loss)
    attained = optimum_from_above(rng, problem)
    for _ in range(8):
        assert problem.lower_bound(random_moments(rng, problem)) <= attained


@pytest.mark.parametrize("loss", LOSSES)
@derandomized
@given(seed=seeds)
def test_multipliers_read_off_any_network_prove_no_more_than_any_network_attains(loss, seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, loss)
    attained = optimum_from_above(rng, problem)
    for _ in range(4):
        bound = problem.lower_bound(problem.network_multipliers(random_network(rng, problem)))
        assert math.isfinite(bound)
        assert bound <= attained


def perturbed(rng, multipliers, size):
    """The multipliers with noise relative to the largest of them, and points that have left their places."""

    def noisy(array):
        return array + size * np.abs(array).max(initial=0.0) * rng.standard_normal(array.shape)

    if isinstance(multipliers, MomentMultipliers):
        return MomentMultipliers(noisy(multipliers.moments))
    if isinstance(multipliers, SpanMultipliers):
        parts = (noisy(part) for part in (multipliers.theta, multipliers.basis, multipliers.mean))
        return SpanMultipliers(*parts, np.abs(noisy(np.ones_like(multipliers.mean)) - 1.0))
    return PointMultipliers(noisy(multipliers.weights), multipliers.owners, noisy(multipliers.points))


@pytest.mark.parametrize("loss", LOSSES)
def test_the_multipliers_of_a_solver_prove_almost_all_and_perturbed_ones_never_more(loss):
    # Near the optimum a bound that promised a little too much would be found out.
    for seed in range(6):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, loss)
        solution = get_backend("clarabel").solve(problem.to_conic(), Settings(tolerance=1e-9))
        network, multipliers = problem.recover(solution), problem.multipliers(solution)
        upper = problem.objective(network)
        lower = problem.lower_bound(multipliers)
        assert lower <= upper
        assert lower >= upper - 1e-6 * max(upper, 0.01)
        worst = problem.network_multipliers(network)
        attacks = SpanMultipliers(worst.theta, worst.basis, *worst.attacks(slice(None), problem.X))
        points = PointMultipliers(
            attacks.theta, np.arange(problem.X.shape[0]), problem.X + attacks.mean @ attacks.basis.T
        )
        assert problem.lower_bound(worst) == problem.lower_bound(attacks)
        assert problem.lower_bound(attacks) == pytest.approx(problem.lower_bound(points), rel=1e-12, abs=1e-12)
        for size in (1e-12, 1e-9, 1e-6, 1e-3, 1e-1, 1.0):
            for source in (multipliers, points, attacks):
                assert problem.lower_bound(perturbed(rng, source, size)) <= upper


@pytest.mark.parametrize("scale", [1e-8, 1e-4, 1e4, 1e8])
@pytest.mark.parametrize("loss", LOSSES)
def test_bounds_stay_true_at_extreme_scales_of_the_data(loss, scale):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, loss, scale)
        attained = optimum_from_above(rng, problem)
        kinds = [random_points(rng, problem), problem.network_multipliers(random_network(rng, problem))]
        if loss != "squared":
            kinds.append(random_moments(rng, problem))
        for multipliers in kinds:
            bound = problem.lower_bound(multipliers)
            assert math.isfinite(bound)
            assert bound <= attained


@pytest.mark.parametrize("loss", LOSSES)
def test_a_penalty_too_large_for_any_neuron_closes_the_gap_at_the_empty_network(loss):
    rng = np.random.default_rng(4)
    for _ in range(5):
        problem = random_problem(rng, loss)
        problem = type(problem)(
            **{name: getattr(problem, name) for name in ("X", "y", "loss", "activation")},
            **({} if loss == "squared" else {"radius": problem.radius}),
            beta=1e4,
        )
        network = problem.trivial_network()
        upper, lower = problem.objective(network), problem.lower_bound(problem.network_multipliers(network))
        assert lower <= upper
        assert lower == pytest.approx(upper, rel=1e-13)


def test_the_bound_holds_for_the_exact_sums_even_where_samples_cancel():
    # Far from the origin, and with both labels at every point, the sums are nothing but rounding errors.
    loosest = 0.0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = 100.0 + rng.standard_normal(300)
        X, y = np.concatenate([x, x])[:, None], np.repeat([1.0, -1.0], 300)
        weights = np.tile(rng.uniform(0.0, 1.0, 300) / 600.0, 2)
        weights[300:] *= 1.0 + 1e-15
        problem = StandardSDP(X, y, beta=1e-14, activation=(1.0, 1.0, 1.0))
        bound = problem.lower_bound(PointMultipliers(weights, np.arange(600), X))
        terms = [(Fraction(w) * int(sign), Fraction(v)) for w, sign, v in zip(weights, y, X[:, 0], strict=True)]
        block, border, corner = (sum(w * v**power for w, v in terms) for power in (2, 1, 0))
        gamma = max(abs(block + u * border + corner) for u in (1, -1))
        exact = Fraction(problem.beta) / gamma * sum(Fraction(w) for w in weights)
        assert Fraction(bound) <= exact
        loosest = max(loosest, float(bound / exact))
    assert loosest > 1e-4  # true, and not for being empty


# -- garbage ---------------------------------------------------------------------------------------------------------


GARBAGE = (np.nan, np.inf, -np.inf, 1e308, -1e308, 1e-320, 1e200, 0.0)


@pytest.mark.parametrize("loss", LOSSES)
def test_garbage_among_point_multipliers_never_proves_anything_false(loss):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, loss)
        attained = optimum_from_above(rng, problem)
        given = random_points(rng, problem)
        weights, points = given.weights.copy(), given.points.copy()
        weights[rng.random(weights.size) < 0.5] = rng.choice(GARBAGE)
        points[rng.random(weights.size) < 0.3] = rng.choice(GARBAGE)
        attacks = random_span(rng, problem)
        theta, basis, mean = attacks.theta.copy(), attacks.basis.copy(), attacks.mean.copy()
        theta[rng.random(theta.size) < 0.5] = rng.choice(GARBAGE)
        mean[rng.random(theta.size) < 0.3] = rng.choice(GARBAGE)
        basis[rng.random(basis.shape) < 0.3] = rng.choice(GARBAGE)
        for multipliers in (
            SpanMultipliers(theta, attacks.basis, mean, attacks.variance),
            SpanMultipliers(attacks.theta, basis, attacks.mean, np.full_like(mean, rng.choice(GARBAGE))),
            PointMultipliers(weights, given.owners, given.points),
            PointMultipliers(given.weights, given.owners, points),
            PointMultipliers(weights, given.owners, points),
            PointMultipliers(np.full_like(weights, rng.choice(GARBAGE)), given.owners, points),
        ):
            bound = problem.lower_bound(multipliers)
            assert not math.isnan(bound)
            assert bound <= attained


@pytest.mark.parametrize("value", [1e308, 1e200, 5e-324])
@pytest.mark.parametrize("loss", LOSSES)
def test_weights_near_the_ends_of_the_floats_prove_no_more_than_their_proportions(loss, value):
    X, y = np.array([[1.0], [1.0], [-2.0]]), np.array([1.0, -1.0, 1.0])
    problem = StandardSDP(X, y, loss=loss) if loss == "squared" else AdversarialSDP(X, y, 0.0, loss=loss)
    owners = np.array([0, 0, 0, 1, 2])
    bound = problem.lower_bound(PointMultipliers(np.full(5, value), owners, X[owners]))
    moderate = problem.lower_bound(PointMultipliers(np.ones(5) / 9.0, owners, X[owners]))
    assert math.isfinite(bound)
    # Proportions may change where a domain clips them; the truth does not.
    best = min(
        problem.objective(PolynomialNetwork(np.array([[u]]), np.array([a]), problem.activation))
        for u in (1.0, -1.0)
        for a in np.linspace(-2.0, 2.0, 401)
    )
    assert max(bound, moderate) <= best


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_garbage_among_moment_multipliers_never_proves_anything_false(loss):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, loss)
        attained = optimum_from_above(rng, problem)
        moments = random_moments(rng, problem).moments
        spoilt = moments.copy()
        spoilt[rng.random(spoilt.shape) < 0.1] = rng.choice(GARBAGE)
        whole = np.full_like(moments, rng.choice(GARBAGE))
        for matrices in (spoilt, whole, -moments, 0.0 * moments):
            bound = problem.lower_bound(MomentMultipliers(matrices))
            assert not math.isnan(bound)
            assert bound <= attained


def test_multipliers_are_left_as_they_were():
    rng = np.random.default_rng(0)
    problem = AdversarialSDP(rng.standard_normal((4, 2)), np.array([1.0, -1, 1, -1]), 0.3)
    moments = random_moments(rng, problem)
    for multipliers in (random_points(rng, problem), moments, MomentMultipliers(moments.moments, np.eye(2))):
        before = {name: value.copy() for name, value in vars(multipliers).items() if value is not None}
        problem.lower_bound(multipliers)
        for name, value in before.items():
            assert np.array_equal(getattr(multipliers, name), value)


# -- the repairs -----------------------------------------------------------------------------------------------------


@derandomized
@given(seed=seeds)
def test_repaired_moments_are_those_of_attacks_within_the_radius(seed):
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, "hinge")
    n, d = problem.X.shape
    moments = random_moments(rng, problem).moments
    # A large block with a tiny corner must be shrunk by many orders without losing definiteness.
    moments[0, d, d] = 10.0 ** rng.uniform(-20, -5)
    theta, repaired = repair_moments(MomentMultipliers(moments), problem.attack, loss_by_name("hinge"))
    assert (theta >= 0.0).all()
    assert (theta <= 1.0 / n).all()
    for i in range(n):
        M, r = repaired[i], problem.radius[i]
        assert M[d, d] == pytest.approx(theta[i], rel=1e-12)
        assert np.trace(M[:d, :d]) <= r**2 * theta[i] * (1.0 + 1e-12)
        # Relative to theta, in units of the radius: a psd matrix, and a mean attack within the ball.
        unit = max(r, 1e-150)
        scaled = M / max(theta[i], 1e-280) / np.outer(*[np.append(np.full(d, unit), 1.0)] * 2)
        assert np.linalg.eigvalsh(scaled).min() >= -1e-12
        assert np.linalg.norm(scaled[:d, d]) <= 1.0 + 1e-12


def test_moments_of_real_attacks_are_left_alone():
    rng = np.random.default_rng(2)
    D = rng.standard_normal((5, 3))
    D /= 2.0 * np.linalg.norm(D, axis=1, keepdims=True)
    lifted = np.hstack([D, np.ones((5, 1))])
    moments = 0.1 * lifted[:, :, None] * lifted[:, None, :]
    theta, repaired = repair_moments(MomentMultipliers(moments), AttackBall(2, np.ones(5), 3), loss_by_name("hinge"))
    assert theta == pytest.approx(np.full(5, 0.1))
    assert repaired == pytest.approx(moments, rel=1e-9, abs=1e-15)


def test_what_is_negative_in_a_moment_matrix_is_dropped():
    attack, across = np.array([0.3, 0.4, 1.0]), np.array([0.8, -0.6, 0.0])
    moment = 0.1 * np.outer(attack, attack)
    spoilt = moment - 0.05 * np.outer(across, across)
    theta, repaired = repair_moments(
        MomentMultipliers(spoilt[None]), AttackBall(2, np.ones(1), 2), loss_by_name("hinge")
    )
    assert theta == pytest.approx([0.1])
    assert repaired[0] == pytest.approx(moment, abs=1e-15)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_repaired_points_lie_in_their_balls_and_their_weights_add_up(loss):
    for seed in range(30):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, loss)
        given = random_points(rng, problem)
        theta, weights, points = repair_points(given, problem.X, problem.attack, loss_by_name(loss))
        assert np.bincount(given.owners, weights, minlength=theta.size) == pytest.approx(theta, rel=1e-12)
        assert (weights >= 0.0).all()
        assert np.array_equal(loss_by_name(loss).clip(theta), theta)
        lengths = np.linalg.norm(points - problem.X[given.owners], axis=1)
        radius = problem.radius[given.owners]
        slack = 4e-16 * np.linalg.norm(problem.X[given.owners], axis=1)  # the subtraction rounds, too
        assert (lengths <= radius * (1.0 + 4e-16) + slack).all()
        inside = np.linalg.norm(given.points - problem.X[given.owners], axis=1) <= radius
        assert np.array_equal(points[inside], given.points[inside])


# -- pricing ---------------------------------------------------------------------------------------------------------


def forms(G, u):
    atoms = np.hstack([u, np.ones((u.shape[0], 1))])
    return np.einsum("ij,jk,ik->i", atoms, G, atoms)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_no_sampled_neuron_beats_the_priced_ones(d):
    rng = np.random.default_rng(d)
    for _ in range(20):
        G = rng.standard_normal((d + 1, d + 1))
        G = G + G.T
        neurons, bounds = price_neurons(G)
        sampled = rng.standard_normal((5000, d))
        sampled /= np.linalg.norm(sampled, axis=1, keepdims=True)
        for sign, neuron, bound in zip((1.0, -1.0), neurons, bounds, strict=True):
            values = [
                sign
                * np.einsum(
                    "ij,jk,ik->i", *[np.hstack([u, np.ones((len(u), 1))])] * 1, G, np.hstack([u, np.ones((len(u), 1))])
                )
                for u in (sampled, neuron[None])
            ]
            assert np.linalg.norm(neuron) == pytest.approx(1.0)
            assert values[0].max() <= bound
            assert values[0].max() >= bound - 0.1 * np.linalg.norm(G)
            assert values[1][0] == pytest.approx(bound, rel=1e-12, abs=1e-12)


def test_pricing_what_is_not_finite_bounds_nothing():
    neurons, bounds = price_neurons(np.full((3, 3), np.nan))
    assert np.isinf(bounds).all()
    assert np.isfinite(neurons).all()


def test_coefficients_turn_outer_products_into_outputs():
    a, b, c = 0.3, -0.7, 0.2
    x, u = np.array([0.5, -2.0]), np.array([0.6, 0.8])
    t = x @ u
    lifted, atom = np.append(x, 1.0), np.append(u, 1.0)
    value = (coefficients((a, b, c), 2) * np.outer(lifted, lifted) * np.outer(atom, atom)).sum()
    assert value == pytest.approx(a * t**2 + b * t + c)
