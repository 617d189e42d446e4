"""Small polynomial problems for the interior-point backend, and what it makes of them."""

import numpy as np

from cvxrobust import AdversarialSDP, Settings
from cvxrobust.core import get_backend
from cvxrobust.core.solving.judging.sanitize import network_of


def cloud(n=40, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.where(np.abs(X[:, 0]) - 0.7 + 0.5 * X[:, 1] + 0.3 * rng.standard_normal(n) > 0, 1.0, -1.0)


def adversarial(n=40, d=5, seed=0, **parameters):
    return AdversarialSDP(*cloud(n, d, seed), **({"radius": 0.3, "beta": 0.01} | parameters))


def solved(problem, monitor=None, warm_start=None, **settings):
    settings = Settings(**({"tolerance": 1e-8, "threads": 1} | settings))
    return get_backend("ipm").solve(problem.to_structured(), settings, monitor, warm_start)


def certified(problem, solution):
    """Both bounds as the problem itself has them."""
    return problem.objective(network_of(problem, solution)), problem.lower_bound(solution.multipliers)
