"""Small problems for the torch backend, and settings that keep checkpoints."""

import numpy as np

from cvxrobust import AdversarialSDP, Settings, StandardSDP


def small_problem(n=60, d=6, radius=0.3, seed=0, loss="hinge", classes=2):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    score = X @ rng.standard_normal((d, classes)) + 0.5 * rng.standard_normal((n, classes))
    if loss == "squared":
        return StandardSDP(X, score[:, 0], loss=loss)
    y = np.where(score[:, 0] > 0.0, 1.0, -1.0) if classes == 2 else score.argmax(axis=1)
    return AdversarialSDP(X, y, radius=radius, loss=loss)


def keeping(folder, tolerance=1e-4, **settings):
    options = {"checkpoint": str(folder), "checkpoint_every": 0.0, **settings.pop("options", {})}
    return Settings(tolerance=tolerance, threads=1, options=options, **settings)
