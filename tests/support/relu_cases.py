"""ReLU problems solved once for several tests, and what a solution has to agree with."""

from functools import cache

import numpy as np
from random_relu import random_recipe
from textbook_relu import textbook_value

from cvxrobust import Settings, solve

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


def clear_gates(X, count=400, keep=8):
    drawn = np.random.default_rng(0).standard_normal((X.shape[1], count))
    clear = np.abs(X @ drawn).min(axis=0) / np.linalg.norm(drawn, axis=0)
    return drawn[:, np.argsort(-clear)[:keep]]
