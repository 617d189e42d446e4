"""What a polynomial problem costs to look at, and a lower bound that needs no eigendecomposition."""

import math

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.losses.base import Loss

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)

AT_ONCE = 4e9
"""Multiplications that a bound at once may take: about a fifth of a second."""

PRODUCT, EIGEN, SAMPLE = 6e-11, 3e-10, 2e-7
"""Seconds per multiplication of a product of matrices, per order cubed of an eigendecomposition, and per sample and
neuron of a worst case; one thread, measured with d = 500 to 2000."""

NEURONS = 30
"""Neurons that a network is taken to have, at most."""


def seconds_of_a_look(n: int, d: int, *, attacked: bool, reducible: bool) -> float:
    """Seconds to judge one network.

    Args:
        n: Samples.
        d: Inputs.
        attacked: Whether there is an attack.
        reducible: Whether problems are written in the span of their rows, if that is worth it.
    """
    order = min(n, d) if reducible else d
    passes = 6.0 if reducible and (order < d or not attacked) else 1.0
    moments = PRODUCT * n * d * order * passes
    return moments + 3.0 * EIGEN * order**3 + (SAMPLE if attacked else 0.1 * SAMPLE) * n * min(order, NEURONS)


def curvature_bound(theta: Array, X: Array) -> float:
    """At least ``||sum_i w_i x_i x_i'||_2`` for all ``|w_i| <= theta_i``.

    That is at most the norm of ``sum_i theta_i x_i x_i'``, which is psd, or of the Gram matrix of its factor, of the
    order of the samples. The norm of a matrix M is at most the Frobenius norm of a power, ``||M^k||_F^(1/k)``: products
    alone. Where these would take long it is at most the trace, ``sum_i theta_i ||x_i||^2``.

    Args:
        theta: Shape (n,), 0 or more.
        X: Shape (n, d).
    """
    n, d = X.shape
    trace: float = float(theta @ np.einsum("ij,ij->i", X, X)) * (1.0 + 4.0 * EPS * (n + d))
    order = min(n, d)
    if float(n) * d * order + 2.0 * float(order) ** 3 > AT_ONCE or not np.isfinite(trace) or trace <= 0.0:
        return trace
    factor = X * np.sqrt(theta / trace)[:, None]  # of trace 1, so that powers neither overflow nor vanish
    M = factor @ factor.T if n <= d else factor.T @ factor
    # Each product adds rounding of at most (order) eps ||M||_F^2 in the Frobenius norm; those before it double.
    error = 4.0 * EPS * (n + d)
    power = 1.0
    for _ in range(2):
        size = float(np.linalg.norm(M))
        M, error, power = M @ M, 2.0 * error * size + error**2 + 2.0 * EPS * order * size**2, 2.0 * power
    size = float(np.linalg.norm(M)) + error
    return min(trace, trace * math.pow(size, 1.0 / power) * (1.0 + 1e-12))


def bound_at_once(X: Array, y: Array, loss: Loss, activation: tuple[float, float, float], beta: float) -> float:
    """A lower bound of the optimum from the multipliers of the network without neurons.

    With ``theta_i = |loss'(0)| / n`` and G as in `cvxrobust.core.programs.polynomial.certificate`, ``|[u; 1]'G[u; 1]|``
    is at most ``|a| ||sum_i +- theta_i x_i x_i'|| + |b| ||sum_i +- theta_i x_i|| + |c| |sum_i +- theta_i|``. The
    samples themselves are attacks, so that this holds under any attack.

    Args:
        X: Shape (n, d).
        y: Labels, or targets, shape (n,).
        loss: The loss.
        activation: (a, b, c).
        beta: Weight of the penalty.
    """
    n = X.shape[0]
    theta = loss.clip(-loss.derivative(np.zeros(n), y) / n)
    signed, size = (theta * y if loss.margin else theta), np.abs(theta)
    a, b, c = (abs(part) for part in activation)
    reach = float(size @ np.linalg.norm(X, axis=1))
    rounding = 8.0 * EPS * (math.sqrt(n) + X.shape[1]) * (reach * b + float(size.sum()) * c)
    gamma = (
        a * curvature_bound(size, X) + b * float(np.linalg.norm(signed @ X)) + c * abs(float(signed.sum())) + rounding
    )
    limit = beta / gamma if gamma > 0.0 else math.inf
    if not np.isfinite(gamma):
        return 0.0  # no loss is negative, and no penalty is
    value = loss.bound(loss.best_scale(theta, y, limit) * theta, y)
    return max(value - 4.0 * EPS * math.sqrt(n) * abs(value), 0.0)
