"""Small random problems whose rows span fewer dimensions than there are inputs, each a pure function of its number."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, StandardSDP

Array = NDArray[np.float64]

MARGIN = ("hinge", "squared_hinge", "logistic")
KINDS = ("plain", "one class", "contradictory rows", "repeated columns", "zeros", "many rows", "three classes")


def wide_data(number: int, rng: np.random.Generator) -> tuple[Array, Any, str]:
    """Inputs, labels and what is odd about them: kinds in turn, the rest random."""
    kind = KINDS[number % len(KINDS)]
    n, d = int(rng.integers(3, 6)), int(rng.integers(8, 12))
    X = rng.standard_normal((n, d))
    if kind == "contradictory rows":
        X = np.vstack([X, X[:2]])
    if kind == "repeated columns":
        X[:, d // 2 :] = X[:, : d - d // 2]
    if kind == "zeros":
        X[0], X[:, 1] = 0.0, 0.0
    if kind == "many rows":
        X = rng.standard_normal((14, 3)) @ rng.standard_normal((3, d))
    y: Any = np.where(rng.random(X.shape[0]) < 0.5, 1.0, -1.0)
    if kind == "contradictory rows":
        y[-2:] = -y[:2]
    if kind == "one class":
        y[:] = y[0]
    if kind == "three classes":
        y = np.arange(X.shape[0]) % 3
    return X, y, kind


def wide_sdp(number: int) -> StandardSDP:
    """Problem `number` of an endless list of polynomial problems: all losses and kinds of data in turn."""
    rng = np.random.default_rng([number, 37])
    X, y, kind = wide_data(number, rng)
    loss = (*MARGIN, "squared")[number % 4]
    if loss == "squared":
        y, loss = (y, "hinge") if kind == "three classes" else (rng.standard_normal(X.shape[0]), loss)
    return StandardSDP(X, y, beta=float(10.0 ** rng.uniform(-2.5, -1.0)), loss=loss)


def wide_attacked_sdp(number: int) -> AdversarialSDP:
    """Problem `number` of an endless list of attacked polynomial problems: radii and weights of their own besides."""
    rng = np.random.default_rng([number, 101])
    X, y, kind = wide_data(number, rng)
    n = X.shape[0]
    loss = (*MARGIN, "squared", "absolute", "huber")[number % 6]
    if loss not in MARGIN:
        y, loss = (y, "hinge") if kind == "three classes" else (rng.standard_normal(n), loss)
    radius = float(rng.choice([0.3, 1.0, 3.0])) * (rng.uniform(0.0, 1.0, n) * rng.integers(0, 2, n) + 0.01 * (n > 3))
    if number % 2:
        radius = np.full(n, radius.max())
    weights = rng.uniform(0.2, 2.0, n) if number % 3 == 0 else None
    activation = ((0.09, 0.5, 0.47), (-0.2, 0.3, 0.1), (0.5, 0.0, 0.0))[int(rng.integers(3))]
    beta = float(10.0 ** rng.uniform(-2.5, -1.0))
    return AdversarialSDP(X, y, radius, beta, loss, activation, sample_weight=weights)


def wide_relu(number: int) -> Any:
    """Problem `number` of an endless list of ReLU problems: losses, formulations, attacks and gates besides."""
    rng = np.random.default_rng([number, 73])
    X, y, kind = wide_data(number, rng)
    n, d = X.shape
    loss, bias = (*MARGIN, "squared")[number % 4], bool(number // 2 % 2)
    formulation = ("one-sided", "cone", "one-sided", "gated")[int(rng.integers(4))]
    if loss == "squared":
        formulation = ("cone", "gated")[int(rng.integers(2))]
    given: dict[str, Any] = {"beta": float(10.0 ** rng.uniform(-2.5, -1.0)), "loss": loss, "bias": bias}
    if loss == "squared" and kind == "three classes":
        given["multiclass"] = ("one-versus-all", "vector-output")[int(rng.integers(2))]
    elif loss == "squared":
        y = rng.standard_normal((n, 2)) if number % 8 == 3 else rng.standard_normal(n)
    gates: list[dict[str, Any]] = [
        {"gates": rng.standard_normal((d + bias, 4))},
        {"patterns": rng.random((n, 3)) < 0.7},
        {"n_gates": 4, "seed": int(rng.integers(100))},
        {"patterns": "all"},
    ]
    given |= {"formulation": formulation} | gates[number // 3 % (4 if n <= 4 else 3)]
    if number % 3 == 0:
        return ConvexReLU(X, y, **given)
    radius = rng.uniform(0.0, 0.6, n) * rng.integers(0, 2, n)
    if formulation == "one-sided":
        given["bound"] = ("soft-cone", "separate")[int(rng.integers(2))]
    return AdversarialReLU(X, y, radius=radius, norm=2, **given)


def unreduced(problem: Any) -> Any:
    """The same problem, programmes of which are in all of its inputs."""
    twin = replace(problem)
    twin.__dict__["span"] = None
    return twin
