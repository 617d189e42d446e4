"""Regression under attack: the worst error on both sides, losslessly, with a certificate of both sides' multipliers."""

import numpy as np
import pytest
from random_problems import of_the_set, random_case

from cvxrobust import AdversarialSDP, Settings, StandardSDP, solve
from cvxrobust.core import Capabilities, get_backend
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.kit import PolynomialBest, require_structured
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.programs.polynomial.certificate import PointMultipliers

LOSSES = ("squared", "absolute", "huber:0.4")
TIGHT = Settings(tolerance=1e-7, threads=1)
every_loss = pytest.mark.parametrize("loss", LOSSES)


def data(seed, n=9, d=2):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = X[:, 0] ** 2 - X[:, 1] + 0.3 * rng.standard_normal(n)
    y[0] += 5.0  # an outlier
    return X, y


def problem(loss, seed=0, radius=0.3, **sizes):
    X, y = data(seed, **sizes)
    radii = np.full(y.size, radius)
    radii[1] = 0.0
    return AdversarialSDP(X, y, radius=radii, beta=0.05, loss=loss)


def worst_errors(problem, network, tries=4000):
    """The largest error that many attacks on each sample find, shape (n,)."""
    angles = np.linspace(0.0, 2.0 * np.pi, tries)
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    moves = np.concatenate([share * circle for share in (0.0, 0.25, 0.5, 0.75, 1.0)])
    return np.array([np.abs(network.decision_function(x + r * moves) - y).max() for x, y, r in _samples(problem)])


def _samples(problem):
    return zip(problem.X, problem.y, problem.radius, strict=True)


@every_loss
@pytest.mark.parametrize("seed", range(3))
def test_the_programme_is_the_worst_error_of_its_network_and_its_bound(loss, seed):
    part = problem(loss, seed)
    result = solve(part, backend="clarabel", method="direct", settings=TIGHT)
    assert result.quality == "certified"
    assert result.certificate.relative_gap <= 1e-6
    found = loss_by_name(loss).value(worst_errors(part, result.network), np.zeros(part.y.size))
    by_brute_force = float(found.mean()) + part.beta * result.network.penalty
    assert part.objective(result.network) >= by_brute_force
    assert part.objective(result.network) == pytest.approx(by_brute_force, rel=1e-5)


@every_loss
def test_the_formulas_in_cvxpy_agree(loss):
    part = problem(loss, n=6)
    reference = part.to_cvxpy()
    reference.solve(solver="CLARABEL")
    result = solve(part, backend="clarabel", settings=TIGHT)
    assert reference.value == pytest.approx(result.certificate.upper, rel=1e-6)


SHAPES = {
    "scale": {"scale": [0.7, 0.0]},
    "covariance": {"covariance": [[0.5, 0.3], [0.3, 0.4]]},
    "directions": {"directions": [[1.0, 0.5, 0.2], [0.3, -1.0, 0.4]]},
}


@every_loss
@pytest.mark.parametrize("shape", SHAPES)
def test_errors_are_the_worst_of_an_ellipsoid(loss, shape):
    X, y = data(4)
    part = AdversarialSDP(X, y, np.linspace(0.0, 0.5, y.size), beta=0.05, loss=loss, **SHAPES[shape])
    program = part.to_conic()
    assert len(program.b) == part.conic_rows
    solution = get_backend("clarabel").solve(program, TIGHT.replace(tolerance=1e-8))
    value, network = float(program.q @ solution.x) + program.offset, part.recover(solution)
    assert part.objective(network) == pytest.approx(value, rel=1e-6)
    assert part.lower_bound(part.multipliers(solution)) == pytest.approx(value, rel=1e-6)
    assert part.to_cvxpy().solve(solver="CLARABEL") == pytest.approx(value, rel=1e-6)
    masters = solve(part, backend="clarabel", method="cutting-set", settings=TIGHT.replace(tolerance=1e-5))
    assert masters.quality == "certified"
    assert masters.certificate.lower <= value * (1.0 + 1e-6)
    assert masters.certificate.upper >= value * (1.0 - 1e-6)
    worst, rng = np.abs(part.pessimize(network).values - y), np.random.default_rng(0)
    for i in range(y.size):
        tried = np.abs(network.decision_function(of_the_set(part, i, 500, rng)) - y[i])
        assert tried.max() <= worst[i] + 1e-9
    found = PolynomialBest(part.to_structured(), Settings()).offer_network(network)
    assert found.value == pytest.approx(part.objective(network), rel=1e-12)


@every_loss
def test_masters_of_few_points_find_the_same_optimum(loss):
    part = problem(loss, seed=1, n=30)
    direct = solve(part, backend="clarabel", method="direct", settings=TIGHT)
    masters = solve(part, backend="clarabel", method="cutting-set", settings=TIGHT.replace(tolerance=1e-6))
    assert masters.quality == "certified"
    assert masters.certificate.upper == pytest.approx(direct.certificate.upper, rel=3e-6)
    assert masters.certificate.lower <= direct.certificate.upper
    assert direct.certificate.lower <= masters.certificate.upper


@every_loss
def test_radius_zero_is_the_standard_problem_and_more_never_costs_less(loss):
    X, y = data(2)
    plain = solve(StandardSDP(X, y, beta=0.05, loss=loss), backend="clarabel", settings=TIGHT)
    optima = [
        solve(AdversarialSDP(X, y, radius, beta=0.05, loss=loss), backend="clarabel", settings=TIGHT).certificate
        for radius in (0.0, 0.1, 0.4)
    ]
    assert optima[0].upper == pytest.approx(plain.certificate.upper, rel=1e-6)
    assert optima[0].upper < optima[1].lower
    assert optima[1].upper < optima[2].lower


@every_loss
def test_no_multipliers_prove_more_than_the_optimum(loss):
    part = problem(loss)
    optimum = solve(part, backend="clarabel", settings=TIGHT).certificate.upper
    rng = np.random.default_rng(3)
    n, d = part.X.shape
    for size in (1e-3, 0.03, 1.0, 1e6):
        owners = rng.integers(0, n, 4 * n)
        points = part.X[owners] + rng.standard_normal((4 * n, d))
        wild = PointMultipliers(size * rng.standard_normal(4 * n), owners, points)
        assert part.lower_bound(wild) <= optimum
    assert part.lower_bound(part.network_multipliers(part.trivial_network())) <= optimum
    solved = part.multipliers(get_backend("clarabel").solve(part.to_conic(), TIGHT))
    assert len({(owner, side) for owner, side in zip(solved.owners, np.sign(solved.weights), strict=True)}) > n
    assert part.lower_bound(solved) == pytest.approx(optimum, rel=1e-6)
    for _ in range(20):
        others = solved.weights * rng.uniform(0.5, 1.5, solved.weights.size)
        assert part.lower_bound(PointMultipliers(others, solved.owners, solved.points)) <= optimum * (1.0 + 1e-12)


@every_loss
def test_the_kit_judges_networks_as_the_problem_does(loss):
    part = problem(loss)
    network = solve(part, backend="clarabel", settings=TIGHT.replace(tolerance=1e-2)).network
    best = PolynomialBest(part.to_structured(), Settings())
    found = best.offer_network(network)
    assert found.value == pytest.approx(part.objective(network), rel=1e-12)
    bound = part.lower_bound(part.network_multipliers(network))
    assert best.offer_multipliers(found.multipliers).value == pytest.approx(bound, rel=1e-9)


@pytest.mark.parametrize("number", range(18))
def test_bounds_hold_and_methods_agree_in_degenerate_cases_too(number):
    case = random_case(number)
    given, loss = case.problem, LOSSES[number % 3]
    part = AdversarialSDP(given.X, given.y, given.radius, beta=given.beta, loss=loss, activation=given.activation)
    settings = Settings(tolerance=1e-6, max_iterations=None if case.well_scaled else 20, threads=1)
    found = [solve(part, backend="clarabel", method=method, settings=settings) for method in ("direct", "cutting-set")]
    lower, upper = max(r.certificate.lower for r in found), min(r.certificate.upper for r in found)
    assert lower <= upper * (1.0 + 1e-12)
    for result in found:
        assert part.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
        if case.well_scaled:
            assert result.certificate.relative_gap <= 1e-5


def test_backends_that_know_one_side_alone_are_not_given_both():
    program = problem("squared").to_structured()
    with pytest.raises(UnsupportedProgramError, match=r"'plain' reads polynomial programmes, .* 'attacked targets'"):
        require_structured(program, Capabilities(structured=frozenset({"polynomial"})), "plain")


@every_loss
def test_the_default_finishes_where_inputs_outnumber_samples(loss):
    X, y = data(5, n=9, d=30)
    result = solve(AdversarialSDP(X, y, 0.3, beta=0.02, loss=loss), settings=Settings(threads=1))
    assert result.quality == "certified"
    assert result.certificate.relative_gap <= 1e-6
