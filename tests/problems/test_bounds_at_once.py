"""Bounds that cost hardly any, for whoever has to be back in time."""

from dataclasses import replace

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, Settings, StandardSDP, solve
from cvxrobust.core.contracts.weight import Weighed

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4))
Y = np.where(X @ RNG.standard_normal(4) + 0.5 * RNG.standard_normal(40) > 0.0, 1.0, -1.0)


@pytest.mark.parametrize(
    "problem",
    [
        StandardSDP(X, Y),
        StandardSDP(X[:3], Y[:3], loss="logistic"),
        StandardSDP(X, X[:, 0], loss="squared"),
        StandardSDP(X, np.arange(40) % 3),
        AdversarialSDP(X, Y, radius=0.3, loss="squared_hinge"),
        ConvexReLU(X, Y, n_gates=5),
        ConvexReLU(X, Y, n_gates=5, formulation="cone", loss="logistic", bias=True),
        ConvexReLU(X, Y, n_gates=5, formulation="gated"),
        ConvexReLU(X, X[:, :2], n_gates=5, loss="squared"),
        ConvexReLU(X, np.arange(40) % 3, n_gates=5),
        AdversarialReLU(X, Y, radius=0.05, n_gates=5, norm=1),
        AdversarialReLU(X, X[:, 1], radius=0.05, n_gates=5, loss="squared", formulation="gated", norm=2),
    ],
    ids=lambda problem: f"{type(problem).__name__} {problem.loss} {np.unique(problem.y).size}",
)
@pytest.mark.parametrize("beta", [1e-3, 0.1, 10.0])
def test_bounds_at_once_hold(problem, beta):
    problem = replace(problem, beta=beta)
    assert isinstance(problem, Weighed)
    bounds = problem.at_once()
    optimum = solve(problem, backend="ipm", settings=Settings(tolerance=1e-7, threads=1)).certificate
    assert optimum.relative_gap < 1e-5
    assert 0.0 < bounds.lower <= optimum.upper
    assert bounds.upper == pytest.approx(problem.objective(problem.trivial_network()), rel=1e-12)
    if beta == 10.0:
        assert bounds.lower == pytest.approx(bounds.upper, rel=1e-9)  # nothing is worth a neuron
