"""What a ReLU problem costs to look at, and a lower bound that needs no gates."""

import math

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.losses.base import Loss

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)

PRODUCT, ENTRY, ATTACK, CARRIER = 1.5e-10, 3e-8, 2.5e-7, 3e-7
"""Seconds per multiplication of products over slots; per sample and slot of a bound; per sample and slot of the attacks
that bracket a network's own objective; per entry of the inputs to find out whether a gate can carry a neuron. One
thread."""

MOVES = 1e-6
"""Seconds per entry of the inputs to keep those attacks in their balls; twice that in the 1-norm, which sorts."""


def seconds_of_a_look(n: int, d: int, slots: int, *, attacked: bool, spanned: bool, cones: int) -> float:
    """Seconds to judge one network and to report it.

    Args:
        n: Samples.
        d: Inputs.
        slots: Signed gates.
        attacked: Whether there is an attack.
        spanned: Whether the programme is written in the span of the rows, if that is smaller.
        cones: Gates of which it matters whether they can carry a neuron under attack.
    """
    order = min(n, d) if spanned else d
    span = 6.0 * PRODUCT * n * d * order if spanned and n < d else 0.0
    passes = (10.0 * PRODUCT * order + ENTRY) * n * slots
    attacks = (20.0 * PRODUCT * d + ATTACK) * n * slots + MOVES * n * d if attacked else 0.0
    return span + passes + attacks + CARRIER * n * d * cones


def bound_at_once(X: Array, labels: Array, loss: Loss, beta: float) -> float:
    """A lower bound of every formulation's optimum from the multipliers of the network without neurons.

    Whatever the gates, the vectors of `cvxrobust.core.programs.gated.certificate` at no attack and no multipliers of
    cones or ReLUs are sums over some of the ``theta_i y_i x_i``, at most ``sum_i ||theta_i||_2 ||x_i||_2`` long.

    Args:
        X: Inputs, shape (n, D), with the constant of a bias.
        labels: Shape (n, C).
        loss: The loss.
        beta: Weight of the penalty.
    """
    n, C = labels.shape
    target = labels.ravel()
    theta = loss.clip(-loss.derivative(np.zeros(n * C), target) / (n * C))
    reach = C * float(np.linalg.norm(theta.reshape(n, C), axis=1) @ np.linalg.norm(X, axis=1)) * (1.0 + 8.0 * EPS * n)
    limit = beta / reach if reach > 0.0 else math.inf
    if not np.isfinite(reach):
        return 0.0  # no loss is negative, and no penalty is
    value = C * loss.bound(loss.best_scale(theta, target, limit) * theta, target)
    return max(float(value) - 4.0 * EPS * math.sqrt(n * C) * abs(float(value)), 0.0)
