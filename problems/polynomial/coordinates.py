"""Polynomial training without an adversary in rank(X) + 1 coordinates: exactly the same problem.

Let V (d, k) be an orthonormal basis of the span of the rows, k < d. The loss sees a neuron u as ``x_i'u = (V'x_i)'p``
with ``p = V'u`` alone, and the penalty does not see it at all: of ``||u|| = 1`` there remains ``||p|| <= 1``. The data
``[X V, 0]`` says that: a unit neuron ``(p, q)`` in k + 1 coordinates has any such p, and q, which meets zeros only, is
what its length lacks. Without that column ``||p|| = 1`` would be another problem, whose optimum may be higher. In
matrices: an optimal Z may be averaged over the orthogonal maps of the complement, ``Z = [[V A V' + tau (I - VV'), V b],
[., c]]`` with ``tr A + (d - k) tau = c``, and programmes see A, b, c and the trace of the rest, for which one number
stands.

Back in d inputs each neuron is ``u = V p + q w``, w one unit vector orthogonal to the rows (`RowSpan.normal`) for all
neurons. Any w, or a w for every neuron, gives the same outputs on the data and the same penalty, so the network is as
optimal as any. Under attack it would not do: attacks leave the span, there the curvature ``tau`` must be spread evenly
over the d - k directions, and the ball becomes an ellipsoid. So problems with an adversary are not reduced here.

**Certificate.** In ``gamma = max_{||u|| = 1} |sum_i w_i y_i s(x_i'u)|`` the products are those of some (p, q) in the
k + 1 coordinates up to `RowSpan.uncertainty`, t_i: gamma is at most what it is there plus ``sum_i |w_i| t_i
(|a| (2 ||x_i|| + 3 t_i) + |b|)``.

Source: Bartan and Pilanci, arXiv:2101.02429, for the programme; the reduction is ours.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.problems.data.row_span import EPS, RowSpan

Array = NDArray[np.float64]


def padded(span: RowSpan) -> Array:
    """``[X V, 0]``, shape (n, k + 1)."""
    return np.hstack([span.coordinates, np.zeros((span.coordinates.shape[0], 1))])


def neurons_within(span: RowSpan, u: Array) -> Array:
    """Unit neurons ``(p, q)`` that do on the data what the unit neurons u do, shape (m, d) to (m, k + 1)."""
    inside = span.projected(u)
    outside = np.linalg.norm(u - span.lifted(inside), axis=1)
    return _unit(np.hstack([inside, np.copysign(outside, u @ span.normal)[:, None]]))


def neurons_outside(span: RowSpan, u: Array) -> Array:
    """Unit neurons ``V p + q w`` from unit neurons (p, q), shape (m, k + 1) to (m, d)."""
    return _unit(u @ np.column_stack([span.basis, span.normal]).T)


def network_within(span: RowSpan, network: PolynomialNetwork) -> PolynomialNetwork:
    """A network in the coordinates of `padded`."""
    return replace(network, u=neurons_within(span, network.u))


def network_outside(span: RowSpan, network: PolynomialNetwork) -> PolynomialNetwork:
    """The network of d inputs that one in the coordinates of `padded` stands for."""
    return replace(network, u=neurons_outside(span, network.u))


def outputs_allowance(network: PolynomialNetwork, X: Array) -> Array:
    """At least what rounding may add to the outputs of a network with unit neurons, shape (n,); for X of shape (n, d).

    Products with the neurons cost n d each; the span of the neurons, which attacks need, would cost d times their
    number squared.
    """
    (a, b, c), (m, d) = network.activation, network.u.shape
    lengths = np.linalg.norm(X, axis=1)
    sizes = 3.0 * abs(a) * lengths**2 + 2.0 * abs(b) * lengths + abs(c)
    return np.asarray((8.0 + d**0.5 + m**0.5) * EPS * float(np.abs(network.alpha).sum()) * sizes)


def slack(span: RowSpan, theta: Array, activation: tuple[float, float, float]) -> float:
    """What gamma may lack in the coordinates of `padded` for multipliers theta, shape (n,)."""
    a, b, _ = activation
    away = span.uncertainty()
    lengths = np.linalg.norm(span.coordinates, axis=1)
    return float(np.abs(theta) @ (away * (abs(a) * (2.0 * lengths + 3.0 * away) + abs(b))))


def _unit(u: Array) -> Array:
    lengths = np.sqrt(np.einsum("ij,ij->i", u, u))[:, None]
    return np.asarray(u / np.where(lengths > 0.0, lengths, 1.0))
