"""What mixtures of multipliers prove that no single ones of them do.

Multipliers theta_k with signed second moments S_k of their attacks are worth ``D(theta_k)``, concave, where no neuron
violates ``|[u; 1]'(C o S_k)[u; 1]| <= beta``; where one does, scaling by what it violates costs as much of the bound.
Along a descent each is violated somewhere else, and their mixtures are violated by less: of all of them the best is

    max  sum_k w_k D(theta_k)    over  w >= 0,  sum_k w_k <= 1,  |sum_k w_k [u; 1]'(C o S_k)[u; 1]| <= beta for all u,

a linear programme over a few weights, whose cuts are priced neurons (Kelley 1960). By concavity the mixture is worth
at least its value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.programs.polynomial.certificate import DualBound, coefficients

Array = NDArray[np.float64]

ROUNDS = 15
"""Linear programmes, at most."""
CLOSE = 1e-4
"""What the next may promise more, relative to the best bound, if it is to be solved."""


@dataclass(frozen=True)
class Multipliers:
    """Multipliers, and what they sum up to.

    Args:
        theta: Shape (n,).
        moments: Signed second moments of their attacks, shape (d + 1, d + 1).
        value: Of the dual objective, D(theta).
    """

    theta: Array
    moments: Array
    value: float


@dataclass(frozen=True)
class Mixture:
    """The best mixture found.

    Args:
        weights: Of each, shape (k,).
        theta: Shape (n,).
        bound: What it proves.
    """

    weights: Array
    theta: Array
    bound: DualBound


def best_mixture(
    known: Sequence[Multipliers],
    prove: Callable[[Array, Array], DualBound],
    activation: tuple[float, float, float],
    beta: float,
) -> Mixture:
    """The mixture that proves most.

    Args:
        known: One at least.
        prove: What theta and second moments prove, with priced neurons.
        activation: (a, b, c).
        beta: Weight of the penalty.
    """
    thetas, values = np.array([one.theta for one in known]), np.array([one.value for one in known])
    moments = np.array([one.moments for one in known])
    weights = np.zeros(len(known))
    weights[-1] = 1.0
    cuts: list[Array] = []
    best: Mixture | None = None
    for number in range(ROUNDS):
        theta = weights @ thetas
        bound = prove(theta, np.tensordot(weights, moments, 1))
        if best is None or bound.value > best.bound.value:
            best = Mixture(weights, theta, bound)
        cuts += [_seen(moments, u, activation) / beta for u in bound.neurons]
        promised, found = _programme(values, np.array(cuts))
        if found is None or promised <= best.bound.value + CLOSE * abs(best.bound.value):
            break
        # Every other one near the best so far: vertices of a coarse programme lie far out.
        weights = found if number % 2 else 0.5 * (found + best.weights)
    assert best is not None
    return best


def _seen(moments: Array, u: Array, activation: tuple[float, float, float]) -> Array:
    """``[u; 1]'(C o S_k)[u; 1]`` for every k."""
    p = np.append(u, 1.0)
    matrix = coefficients(activation, u.size) * np.outer(p, p)
    return np.asarray(np.tensordot(moments, matrix, 2))


def _programme(values: Array, cuts: Array) -> tuple[float, Array | None]:
    """The value and the weights of the linear programme with some of its cuts; None if it was not solved."""
    from scipy.optimize import linprog

    rows = np.vstack([cuts, -cuts, np.ones((1, values.size))])
    found = linprog(-values, A_ub=rows, b_ub=np.ones(rows.shape[0]), bounds=(0.0, None), method="highs")
    if found.x is None or found.fun is None:
        return np.inf, None
    return -float(found.fun), np.maximum(found.x, 0.0)
