"""Samples labelled by random networks, for studies of speed; NumPy is all they need."""

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def quadratic_teacher(n: int, d: int) -> tuple[Array, Array]:
    """Standard normal inputs, shape (n, d); labels of a random quadratic, a tenth of them flipped, shape (n,)."""
    rng = np.random.default_rng(n + d)
    X = rng.standard_normal((n, d))
    low = rng.standard_normal((d, 3))
    score = ((X @ low) ** 2 @ np.array([1.0, -1.0, 0.5])) / d + X @ rng.standard_normal(d) / d**0.5
    flipped = np.where(rng.random(n) < 0.1, -1.0, 1.0)
    return X, flipped * np.where(score > np.median(score), 1.0, -1.0)


def relu_teacher(n: int, d: int, seed: int = 0) -> tuple[Array, Array]:
    """Standard normal inputs, shape (n, d); labels of a random ReLU network, a tenth of them flipped, shape (n,)."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    hidden, output = rng.standard_normal((8, d)) / math.sqrt(d), np.tile([1.0, -1.0], 4)
    f = np.maximum(X @ hidden.T, 0.0) @ output
    y = np.where(f > np.median(f), 1.0, -1.0)
    return X, np.where(rng.random(n) < 0.1, -y, y)


def product_rule(n: int, d: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Standard normal inputs, shape (n, d); noisy values of a linear rule with one product of two, shape (n,)."""
    X = rng.standard_normal((n, d))
    score = X @ rng.standard_normal(d) / d**0.5 + 0.5 * X[:, 0] * X[:, 1]
    return X, score + 0.5 * rng.standard_normal(n)
