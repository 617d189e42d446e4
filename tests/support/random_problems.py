"""Small random training problems, degenerate ones included, each a pure function of its number."""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust import AdversarialSDP, JointSDP, StandardSDP

LOSSES = ("hinge", "squared_hinge", "logistic", "squared")
ACTIVATIONS = (
    (0.09, 0.5, 0.47),
    (1.0, 0.0, 0.0),
    (0.5, 1.0, -0.3),
    (-0.2, 0.4, 0.1),
    (0.3, 0.0, 1.0),
    (2.0, -1.0, 0.5),
)
RADII = (0.0, 1e-3, 0.1, 0.5, 1.0, 2.0)
DEGENERACIES = ("none", "none", "none", "duplicate rows", "constant column", "one class", "n < d", "huge", "tiny")


@dataclass(frozen=True)
class Case:
    """A problem, and whether its data is scaled so that solvers can be expected to be accurate."""

    problem: Any
    degeneracy: str
    well_scaled: bool

    def __str__(self) -> str:
        p = self.problem
        return (
            f"{p.family} {p.loss} {p.activation} r={np.max(p.radius):g} n,d={p.X.shape} beta={p.beta} {self.degeneracy}"
        )


@dataclass(frozen=True)
class Kinds:
    """What a case is of, apart from its random numbers; losses of targets are attacked nowhere here."""

    loss: str
    activation: tuple[float, float, float]
    degeneracy: str
    radius: float | None
    some_radii_are_zero: bool

    @classmethod
    def of(cls, number: int) -> "Kinds":
        """Those of a case: all kinds in turn."""
        loss = LOSSES[number % 4]
        attacked = loss != "squared"
        return cls(
            loss=loss,
            activation=ACTIVATIONS[number // 4 % len(ACTIVATIONS)],
            degeneracy=DEGENERACIES[number // 3 % len(DEGENERACIES)],
            radius=RADII[number // 7 % len(RADII)] if attacked else None,
            some_radii_are_zero=attacked and number % 11 == 0,
        )

    def triples(self) -> set[Any]:
        """Three of its kinds at a time."""
        return set(combinations(vars(self).items(), 3))


def covering(count: int) -> list[int]:
    """Few of the first `count` cases in which any three kinds meet that meet in any of them."""
    triples = {number: Kinds.of(number).triples() for number in range(count)}
    missing, chosen = set().union(*triples.values()), []
    while missing:
        # Of cases that add as much, max takes the first.
        best = max(triples, key=lambda number: len(triples[number] & missing))
        missing -= triples.pop(best)
        chosen.append(best)
    return sorted(chosen)


def random_case(number: int) -> Case:
    """Case `number` of an endless list: losses, radii, activations and degeneracies in turn, the rest random."""
    rng = np.random.default_rng(number)
    kinds = Kinds.of(number)
    loss, activation, degeneracy = kinds.loss, kinds.activation, kinds.degeneracy
    n, d = int(rng.integers(2, 26)), int(rng.integers(1, 7))
    if degeneracy == "n < d":
        n, d = int(rng.integers(1, 4)), int(rng.integers(4, 7))
    X = rng.standard_normal((n, d))
    score = X @ rng.standard_normal(d) + 0.5 * rng.standard_normal(n)
    y = np.where(score > 0, 1.0, -1.0)
    if degeneracy == "duplicate rows":
        again = np.arange(n // 2 + 1)
        X, y, score = np.vstack([X, X[again]]), np.append(y, -y[again]), np.append(score, -score[again])
    if degeneracy == "constant column":
        X[:, 0] = 1.0
    if degeneracy == "one class":
        y[:] = 1.0
    scale = {"huge": 1e4, "tiny": 1e-4}.get(degeneracy, 1.0)
    beta = float(10.0 ** rng.uniform(-3, -0.5))
    if kinds.radius is None:
        problem: Any = StandardSDP(scale * X, score, beta=beta, loss=loss, activation=activation)
    else:
        radius: float | NDArray[np.float64] = scale * kinds.radius
        if kinds.some_radii_are_zero:
            radius = radius * rng.integers(0, 2, y.size)
        problem = AdversarialSDP(scale * X, y, radius=radius, beta=beta, loss=loss, activation=activation)
    return Case(problem, degeneracy, scale == 1.0)


SHAPES = ("scale", "covariance", "directions")


def shape(kind, d, rng):
    """The keyword arguments that describe an ellipsoid in d inputs, of any rank from 1 (of scales 0) to d."""
    if kind == "scale":
        scale = rng.uniform(0.1, 2.0, d)
        scale[rng.permutation(d)[: rng.integers(0, d + 1)]] = 0.0
        return {"scale": scale}
    S = rng.standard_normal((d, rng.integers(1, d + 2))) / np.sqrt(d)
    return {"covariance": S @ S.T} if kind == "covariance" else {"directions": S}


def ellipsoid_arguments(kind, number):
    """Data and keyword arguments of a small problem under attacks in an ellipsoid."""
    rng = np.random.default_rng([number, SHAPES.index(kind)])
    n, d = int(rng.integers(3, 13)), int(rng.integers(2, 6))
    X = rng.standard_normal((n, d)) * rng.uniform(0.3, 2.0)
    radius = rng.uniform(0.0, 1.0, n) * rng.integers(0, 4, n).clip(max=1)
    arguments = {"radius": radius if number % 2 else rng.uniform(0.05, 1.0), "beta": 10.0 ** rng.uniform(-2.5, -0.5)}
    arguments |= {"loss": LOSSES[number % 3], "activation": ACTIVATIONS[number // 3 % 4]}
    return X, rng.choice([-1.0, 1.0], n), arguments | shape(kind, d, rng)


def ellipsoid_problem(kind, number):
    """The problem."""
    X, y, arguments = ellipsoid_arguments(kind, number)
    return AdversarialSDP(X, y, **arguments)


def of_the_set(problem, i, count, rng):
    """Attacked points of sample i, half of them on the boundary, shape (count, d)."""
    attack = problem.attack
    e = rng.standard_normal((count, attack.dimension))
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    e[::2] *= rng.uniform(size=(len(e[::2]), 1)) ** (1.0 / max(attack.dimension, 1))
    return problem.X[i] + attack.radius[i] * attack.pushed(e)


MARGIN_LOSSES = ("hinge", "hinge", "squared_hinge", "logistic")
SHAPES = ("clean", "ball", "radii", "mask", "scale", "covariance", "directions")


def random_joint(number):
    """A problem of up to eight points: every loss, activation and shape of attacks in turn, some with groups."""
    rng = np.random.default_rng(number)
    d, K, n = int(rng.integers(1, 4)), 2 + number % 3, int(rng.integers(5, 9))
    X = rng.standard_normal((n, d)) * rng.choice([0.5, 1.0, 2.0])
    y = np.concatenate([np.arange(K), rng.integers(0, K, n - K)])
    about = joint_samples(rng, y, number) | joint_attacks(rng, SHAPES[number % 7], n, d)
    loss, activation = MARGIN_LOSSES[number // 2 % 4], ACTIVATIONS[number // 3 % 5]
    return JointSDP(X, **about, beta=float(rng.choice([0.005, 0.02, 0.1])), loss=loss, activation=activation)


def joint_samples(rng, y, number):
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


def joint_attacks(rng, shape, n, d):
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


def some_joint_network(problem, seed, count=5, size=0.5):
    """A network of random neurons, each with weights for several classes."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((count, problem.X.shape[1]))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    alpha = size * rng.standard_normal((count, len(problem.classes)))
    return problem.trivial_network().replace(u=u, alpha=alpha)
