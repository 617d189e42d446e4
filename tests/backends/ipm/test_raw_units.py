"""Inputs as people have them: columns from 1e-3 to 1e4, offsets, streams that nobody has standardised."""

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, AdversarialSDP, Batches, ConvexReLU, Settings, StandardSDP, StreamedSDP, solve
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.programs.polynomial.certificate import PointMultipliers

pytest.importorskip("torch")
PROMPT = Settings(threads=1)


def raw(seed, n=150, d=8, offset=0.0):
    """Inputs and labels of a random quadratic with noise; columns of very different sizes."""
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((n, d))
    score = Z @ rng.standard_normal(d) + 0.5 * Z[:, 0] * Z[:, 1] + 0.5 * rng.standard_normal(n)
    scales = 10.0 ** rng.permutation(np.linspace(-3.0, 4.0, d))
    return (Z + offset * rng.uniform(0.0, 1.0, d)) * scales, np.where(score > 0.0, 1.0, -1.0)


@pytest.mark.parametrize("offset", [0.0, 3.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_columns_of_all_sizes_are_solved_in_their_own_units(seed, offset):
    X, y = raw(seed, offset=offset)
    radius = 0.05 * float(np.median(X.std(axis=0)))
    for problem in (
        StandardSDP(X, y),
        StandardSDP(X, y, loss="squared"),
        StandardSDP(X, y, loss="logistic"),
        AdversarialSDP(X, y, radius=radius),
        AdversarialSDP(X, y, radius=radius, loss="logistic"),
    ):
        result = solve(problem, backend="ipm", settings=PROMPT.replace(tolerance=1e-6))
        assert result.quality == "certified", (problem.loss, result)


def test_bounds_that_rounding_would_spoil_are_summed_more_precisely(monkeypatch):
    X, y = raw(2)
    problem = StandardSDP(X, y)
    solution = get_backend("ipm").solve(problem.to_structured(), PROMPT.replace(tolerance=1e-6))
    precise = problem.lower_bound(solution.multipliers)
    monkeypatch.setattr("cvxrobust.core.programs.polynomial.certificate.PRECISE", np.inf)
    ordinary = problem.lower_bound(solution.multipliers)
    assert ordinary < precise - 1e-6 * abs(precise)
    assert precise <= problem.objective(solution.network)


def test_a_stream_that_fits_into_memory_is_solved_like_any_other():
    X, y = raw(3, offset=3.0)
    source = [(X[start : start + 40], y[start : start + 40]) for start in range(0, 150, 40)]
    problem = StreamedSDP(Batches(lambda: source), radius=0.1, loss="logistic")
    result = solve(problem, settings=PROMPT.replace(tolerance=1e-4))
    assert result.quality == "certified"
    assert result.backend == "ipm"
    whole = solve(AdversarialSDP(X, y, radius=0.1, loss="logistic"), settings=PROMPT.replace(tolerance=1e-4))
    assert result.certificate.lower <= whole.certificate.upper
    assert whole.certificate.lower <= result.certificate.upper
    # Multipliers of either kind are judged block by block, as in memory.
    in_memory = AdversarialSDP(X, y, radius=0.1, loss="logistic")
    moments = get_backend("ipm").solve(problem.to_structured(), PROMPT.replace(tolerance=1e-2)).multipliers
    points = PointMultipliers(np.full(150, 1e-3), np.arange(150), X + 1e-3)
    for multipliers in (moments, points):
        assert problem.lower_bound(multipliers) == pytest.approx(in_memory.lower_bound(multipliers), rel=1e-9)


@pytest.mark.parametrize("family", ["standard", "attacked"])
def test_multipliers_of_relu_networks_keep_the_digits_that_large_columns_need(family):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 10))
    y = np.where(X @ rng.standard_normal(10) + 0.5 * rng.standard_normal(200) > 0.0, 1.0, -1.0)
    X = X * 10.0 ** rng.uniform(-3.0, 4.0, 10)
    problem = ConvexReLU(X, y, n_gates=20) if family == "standard" else AdversarialReLU(X, y, radius=0.1, n_gates=20)
    # Slacks that are computed from the solution alone leave gaps of 6e-6 and 1e-5.
    assert solve(problem, backend="ipm", settings=PROMPT).quality == "certified"
