"""Small random problems of several classes, each a pure function of its number."""

import numpy as np

from cvxrobust import JointSDP

LOSSES = ("hinge", "hinge", "squared_hinge", "logistic")
ACTIVATIONS = ((0.09, 0.5, 0.47), (1.0, 0.0, 0.0), (0.5, 1.0, -0.3), (-0.2, 0.4, 0.1), (0.3, 0.0, 1.0))
SHAPES = ("clean", "ball", "radii", "mask", "scale", "covariance", "directions")


def random_joint(number):
    """A problem of up to eight points: every loss, activation and shape of attacks in turn, some with groups."""
    rng = np.random.default_rng(number)
    d, K, n = int(rng.integers(1, 4)), 2 + number % 3, int(rng.integers(5, 9))
    X = rng.standard_normal((n, d)) * rng.choice([0.5, 1.0, 2.0])
    y = np.concatenate([np.arange(K), rng.integers(0, K, n - K)])
    about = samples(rng, y, number) | attacks(rng, SHAPES[number % 7], n, d)
    beta, loss, activation = (
        float(rng.choice([0.005, 0.02, 0.1])),
        LOSSES[number // 2 % 4],
        ACTIVATIONS[number // 3 % 5],
    )
    return JointSDP(X, **about, beta=beta, loss=loss, activation=activation)


def samples(rng, y, number):
    """Labels with groups, weights and penalties in some cases."""
    found = {"y": y}
    if number % 4 == 1:  # rows of one class in groups of two, where there are as many
        groups = np.arange(y.size)
        for k in np.unique(y):
            rows = np.flatnonzero(y == k)
            groups[rows] = rows[: (rows.size + 1) // 2].repeat(2)[: rows.size]
        found["groups"] = groups
    if number % 5 == 2:
        found["class_weight"] = {0: 3.0, 1: 0.5}
    if number % 6 == 3:
        found["penalties"] = rng.uniform(0.5, 2.0, np.unique(y).size)
    return found


def attacks(rng, shape, n, d):
    """Radii and shape of the attacks."""
    radius = float(rng.choice([0.1, 0.5, 1.5]))
    match shape:
        case "clean":
            return {}
        case "ball":
            return {"radius": radius}
        case "radii":
            return {"radius": rng.uniform(0.0, radius, n) * (rng.random(n) < 0.7)}
        case "mask":
            return {"radius": radius, "scale": (np.arange(d) % 2 == 0).astype(float)}
        case "scale":
            return {"radius": radius, "scale": rng.uniform(0.2, 2.0, d)}
        case "covariance":
            return {"radius": radius, "covariance": np.cov(rng.standard_normal((d, 9))).reshape(d, d)}
        case _:
            return {"radius": radius, "directions": rng.standard_normal((d, 2))}


def some_network(problem, seed, count=5, size=0.5):
    """A network of random neurons, each with weights for several classes."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((count, problem.X.shape[1]))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    alpha = size * rng.standard_normal((count, len(problem.classes)))
    return problem.trivial_network().replace(u=u, alpha=alpha)
