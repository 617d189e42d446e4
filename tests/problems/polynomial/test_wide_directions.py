"""Wide data attacked in few directions of its own: the same problem in the span of rows and directions, losslessly."""

import numpy as np
import pytest
from random_problems import of_the_set

from cvxrobust import AdversarialSDP, Settings, solve
from cvxrobust.core.programs.polynomial.certificate import PointMultipliers
from cvxrobust.problems.polynomial.base import SharedSpan

TIGHT = Settings(tolerance=1e-7, threads=1)
SHAPES = ("directions", "open inputs", "covariance")


def shape(name, d, rng):
    if name == "open inputs":
        return {"scale": np.where(np.isin(np.arange(d), [1, 4]), 1.5, 0.0)}
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
    [("directions", "hinge"), ("open inputs", "absolute"), ("covariance", "logistic"), ("directions", "squared")],
)
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
        assert found.network.complement is None
        assert whole.objective(found.network) == pytest.approx(found.certificate.upper, rel=1e-9)
    # And the other way round: a network of all inputs loses nothing in the span.
    assert problem.projected(exact.network).n_features == 7
    assert problem.objective(problem.lifted(problem.projected(exact.network))) <= optimum.upper * (1.0 + 1e-9)


@pytest.mark.parametrize("name", SHAPES)
def test_no_multipliers_prove_more_than_the_optimum(name):
    problem = made(name)
    optimum, rng = solve(problem, "ipm", settings=TIGHT).certificate.upper, np.random.default_rng(1)
    for size in (0.01, 0.2, 1.0):
        weights, owners = size * rng.uniform(0.0, 1.0, 8), np.tile(np.arange(4), 2)
        inside = np.vstack([of_the_set(problem, i, 1, rng) for i in owners])
        anywhere = problem.X[owners] + rng.standard_normal((8, 10))
        for points in (inside, anywhere):
            assert problem.lower_bound(PointMultipliers(weights, owners, points)) <= optimum


def test_wide_data_in_few_directions_costs_what_the_rows_cost():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3000))
    y, mask = np.where(X[:, 0] > 0.0, 1.0, -1.0), np.where(np.arange(3000) < 5, 1.0, 0.0)
    problem = AdversarialSDP(X, y, 0.5, beta=1.0, scale=mask)
    result = solve(problem, settings=Settings(tolerance=1e-4, threads=1))
    assert result.certificate.relative_gap <= 1e-4
    assert result.report["reduced"] == {"samples": 30, "inputs": 3000, "rank": 35}
    moved = result.network.worst_case(X, y, 0.5).points - X
    assert not moved[:, 5:].any()


def test_where_attacks_go_in_most_directions_nothing_is_reduced():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((4, 10)), np.array([1.0, -1.0, 1.0, -1.0])
    for given in ({"scale": np.arange(10.0)}, {"covariance": np.eye(10) + 0.5}, {"directions": np.eye(10)[:, :9]}):
        assert AdversarialSDP(X, y, 0.3, **given).span is None
