"""Wide data attacked in few directions, or alike in all inputs but a few: the same problem in few coordinates."""

import numpy as np
import pytest
from random_problems import of_the_set

import cvxrobust
from cvxrobust import AdversarialSDP, Settings, solve
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.programs.polynomial.certificate import MomentMultipliers, PointMultipliers
from cvxrobust.core.programs.polynomial.moments import SpanMultipliers
from cvxrobust.problems.polynomial.base import SharedSpan

TIGHT = Settings(tolerance=1e-7, threads=1)
SHAPES = ("directions", "open inputs", "covariance", "mask", "scales")


def shape(name, d, rng):
    if name == "open inputs":
        return {"scale": np.where(np.isin(np.arange(d), [1, 4]), 1.5, 0.0)}
    if name in ("mask", "scales"):  # most inputs are attacked alike
        scale = np.full(d, 1.0 if name == "mask" else 0.7)
        scale[[1, 4]] = 0.0, 0.0 if name == "mask" else 2.0
        return {"scale": scale}
    S = rng.standard_normal((d, 2))
    return {"directions": S} if name == "directions" else {"covariance": S @ S.T}


def made(name, loss="hinge", seed=0, n=4, d=10):
    rng = np.random.default_rng(seed)
    X, radius = 2.0 * rng.standard_normal((n, d)), np.linspace(0.0, 0.8, n)
    score = X[:, 0] - X[:, 1] + rng.standard_normal(n)
    y = np.where(score > np.median(score), 1.0, -1.0) if loss in ("hinge", "logistic") else score
    return AdversarialSDP(X, y, radius, beta=0.05, loss=loss, **shape(name, d, rng))


def unreduced(problem):
    """The same problem, written in all of its inputs."""
    whole = AdversarialSDP(
        problem.X, problem.y, problem.radius, beta=problem.beta, loss=problem.loss, scale=problem.scale,
        covariance=problem.covariance, directions=problem.directions,
    )  # fmt: skip
    object.__setattr__(whole, "found", SharedSpan(None))
    assert whole.span is None
    return whole


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("directions", "hinge"), ("open inputs", "absolute"), ("covariance", "logistic"), ("mask", "hinge"),
        ("mask", "squared"), ("scales", "logistic"),
    ],
)  # fmt: skip
def test_the_span_has_the_optimum_of_all_inputs(name, loss):
    problem = made(name, loss)
    assert problem.coordinates.shape[1] == 4 + 2 + 1
    whole = unreduced(problem)
    exact = solve(whole, "clarabel", method="direct", settings=TIGHT)
    optimum = exact.certificate
    for backend, method in (
        ("clarabel", "direct"),
        ("clarabel", "cutting-set"),
        ("ipm", "direct"),
        ("torch", "direct"),
    ):
        found = solve(problem, backend, method=method, settings=TIGHT.replace(tolerance=1e-5))
        assert found.certificate.relative_gap <= 2e-5
        assert found.certificate.lower <= optimum.upper * (1.0 + 1e-9)
        assert optimum.lower <= found.certificate.upper * (1.0 + 1e-9)
        # The network is one of all inputs, as good there as was said.
        assert found.network.u.shape[1] == 10
        assert (found.network.complement is not None) == (name in ("mask", "scales"))
        assert whole.objective(found.network) == pytest.approx(found.certificate.upper, rel=1e-9)
    # And the other way round: a network of all inputs loses nothing in the span.
    assert problem.projected(exact.network).n_features == 7
    assert problem.objective(problem.lifted(problem.projected(exact.network))) <= optimum.upper * (1.0 + 1e-9)


@pytest.mark.parametrize("name", SHAPES)
def test_no_multipliers_prove_more_than_the_optimum(name):
    problem = made(name)
    optimum, rng = solve(problem, "ipm", settings=TIGHT).certificate.upper, np.random.default_rng(1)
    q = problem.attack.dimension
    for size in (0.01, 0.2, 1.0):
        weights, owners = size * rng.uniform(0.0, 1.0, 8), np.tile(np.arange(4), 2)
        inside = np.vstack([of_the_set(problem, i, 1, rng) for i in owners])
        anywhere = problem.X[owners] + rng.standard_normal((8, 10))
        for points in (inside, anywhere):
            assert problem.lower_bound(PointMultipliers(weights, owners, points)) <= optimum
        theta, basis = weights[:4], np.linalg.qr(rng.standard_normal((q, 2)))[0]
        attacks = SpanMultipliers(theta, basis, size * rng.standard_normal((4, 2)), rng.uniform(0.0, size, (4, 2)))
        factors = size * rng.standard_normal((4, q + 1, 3))
        for given in (attacks, MomentMultipliers(factors @ np.swapaxes(factors, 1, 2))):
            assert problem.lower_bound(given) <= optimum


@pytest.mark.parametrize("name", ["mask", "scales"])
def test_spread_networks_answer_exactly_about_attacks_that_are_alike_where_they_are(name, tmp_path):
    problem, rng = made(name, seed=3), np.random.default_rng(0)
    network = solve(problem, "ipm", settings=TIGHT).network
    assert network.complement is not None
    X, y = np.vstack([problem.X, rng.standard_normal((4, 10))]), np.tile(problem.y, 2)
    attack = network.replace(ellipsoid=problem.ellipsoid).ellipsoid
    ours = network.worst_case(X, y, 0.8)
    whole = Quadratic.whole(network.u, network.alpha, network.activation, network.complement)
    ball = problem.attack.of(np.zeros(8, dtype=int))
    ball = type(ball)(2, np.full(8, 0.8), 10, attack)
    assert ours.lower == pytest.approx(whole.worst_margins(X, y, ball), rel=1e-9, abs=1e-10)
    assert y * network.decision_function(ours.points) == pytest.approx(ours.margins, rel=1e-9, abs=1e-10)
    assert ball.contains((ours.points - X) * (1.0 - 1e-12)).all()
    assert network.distance_to_boundary(X) == pytest.approx(whole.distance(X, ball), rel=1e-7)
    network.save(tmp_path / "net.npz", standardized=True)
    again = cvxrobust.load(tmp_path / "net.npz")
    assert np.array_equal(again.worst_margins(X, y, 0.8), network.worst_margins(X, y, 0.8))


def test_where_attacks_are_strong_the_share_of_every_direction_matters():
    X, y = 3.0 * np.random.default_rng(0).standard_normal((6, 10)), np.append(-np.ones(5), 1.0)
    X, scale = np.hstack([X, 0.01 * np.arange(6)[:, None]]), np.append(np.ones(10), 2.0)
    problem = AdversarialSDP(X, y, 4.0, beta=0.02, scale=scale)
    optimum = solve(unreduced(problem), "ipm", settings=TIGHT).certificate
    found = solve(problem, "ipm", settings=TIGHT).certificate
    assert max(found.lower, optimum.lower) <= min(found.upper, optimum.upper)
    assert found.upper == pytest.approx(optimum.upper, rel=1e-6)
    inner = problem.inner_attack.ellipsoid.scale
    assert inner.tolist() == [1.0] * 6 + [2.0, 0.5]
    equal = AdversarialSDP(problem.coordinates, y, 4.0, beta=0.02, scale=np.append(inner[:-1], 1.0))
    assert solve(equal, "ipm", settings=TIGHT).certificate.lower > optimum.upper + 1e-4


@pytest.mark.parametrize("opened", [True, False])
def test_wide_data_costs_what_the_rows_cost(opened):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3000))
    y, few = np.where(X[:, 0] > 0.0, 1.0, -1.0), np.arange(3000) < 5
    mask = np.where(few == opened, 1.0, 0.0)
    problem = AdversarialSDP(X, y, 0.5, beta=1.0, scale=mask)
    result = solve(problem, settings=Settings(tolerance=1e-4, threads=1))
    assert result.certificate.relative_gap <= 1e-4
    assert result.report["reduced"] == {"samples": 30, "inputs": 3000, "rank": 35}
    moved = result.network.worst_case(X, y, 0.5).points - X
    assert not moved[:, mask == 0.0].any()


def test_where_attacks_go_in_most_directions_nothing_is_reduced():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4, 10)), np.array([1.0, -1.0, 1.0, -1.0])
    for given in ({"scale": np.arange(10.0)}, {"covariance": np.eye(10) + 0.5}, {"directions": np.eye(10)[:, :9]}):
        assert AdversarialSDP(X, y, 0.3, **given).span is None
