"""Euclidean projection onto the exponential cone ``cl{(r, s, t): s > 0, s exp(r / s) <= t}``.

Outside the easy regions, z = p + d with p on the boundary of the cone and d on the boundary of its polar, and
both are functions of one ratio rho = r_p / s_p (Friberg 2023, *Projection onto the exponential cone: a
univariate root-finding problem*, Optimization Methods and Software 38, Theorem 3.1):

    p(rho) = a(rho) (rho, 1, exp(rho)),           a(rho) = ((rho - 1) r + s) / (rho^2 - rho + 1),
    d(rho) = c(rho) (1, 1 - rho, -exp(-rho)),     c(rho) = (r - rho s) / (rho^2 - rho + 1).

The first two coordinates of z are matched for every rho; the third gives the equation ``h(rho) = 0`` below,
which increases on the interval where a and c are positive.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LIMIT = 500.0
"""exp(LIMIT) does not overflow, and exp(-LIMIT) is nothing beside any other number here."""


def project_exponential(z: Array) -> Array:
    """The nearest point of the exponential cone to `z`, shape (3,)."""
    r, s, t = (float(value) for value in z)
    if _inside(r, s, t):
        return np.array([r, s, t])
    if _inside_polar(r, s, t):
        return np.zeros(3)
    if r <= 0.0 and s <= 0.0:
        return np.array([r, 0.0, max(t, 0.0)])
    scale = max(abs(r), abs(s), abs(t))
    return scale * _boundary_point(r / scale, s / scale, t / scale)


def _inside(r: float, s: float, t: float) -> bool:
    if s > 0.0:
        return t > 0.0 and r <= s * (np.log(t) - np.log(s))
    return s == 0.0 and r <= 0.0 and t >= 0.0


def _inside_polar(r: float, s: float, t: float) -> bool:
    if r > 0.0:
        return t < 0.0 and s <= r * (1.0 + np.log(-t) - np.log(r))
    return r == 0.0 and s <= 0.0 and t <= 0.0


def _boundary_point(r: float, s: float, t: float) -> Array:
    def cone_part(rho: float) -> float:
        return ((rho - 1.0) * r + s) / (rho * rho - rho + 1.0)

    def polar_part(rho: float) -> float:
        return (r - rho * s) / (rho * rho - rho + 1.0)

    def h(rho: float) -> float:
        return float(cone_part(rho) * np.exp(rho) - polar_part(rho) * np.exp(-rho) - t)

    low, high = _interval(r, s)
    # Beyond the limit one of the two exponentials vanishes, and the answer is known without a root.
    if low > LIMIT:
        return np.array([0.0, 0.0, max(t, 0.0)])
    if high < -LIMIT:
        return np.array([r, s, 0.0])
    low, high = max(low, -LIMIT), min(high, LIMIT)
    if h(low) >= 0.0:
        rho = low
    elif h(high) <= 0.0:
        rho = high
    else:
        from scipy.optimize import brentq  # slow to import, and seldom needed

        rho = float(brentq(h, low, high, xtol=1e-15, rtol=4 * float(np.finfo(float).eps), maxiter=1000))
    if rho <= 0.0:
        weight = max(cone_part(rho), 0.0)
        return np.array([weight * rho, weight, weight * np.exp(rho)])
    # Here exp(rho) would magnify the rounding of a small weight, so the third coordinate comes first.
    third = max(t + polar_part(rho) * np.exp(-rho), 0.0)
    weight = third * np.exp(-rho)
    return np.array([weight * rho, weight, third])


def _interval(r: float, s: float) -> tuple[float, float]:
    """Where both parts are nonnegative: ``(rho - 1) r + s >= 0`` and ``r - rho s >= 0``."""
    low, high = -np.inf, np.inf
    if r > 0.0:
        low = max(low, 1.0 - s / r)
    elif r < 0.0:
        high = min(high, 1.0 - s / r)
    if s > 0.0:
        high = min(high, r / s)
    elif s < 0.0:
        low = max(low, r / s)
    return low, high
