"""Averages of multipliers of gated programmes: what is noise in them cancels, and the bound is concave.

Notation of `cvxrobust.core.programs.gated.certificate`. In terms of theta, ``theta_i p_i``, mu and ``mu_ik q_k`` the
vectors B_k are linear and the constraints convex, so that an average of multipliers is feasible again, has the averages
of the B_k, and proves at least the average of the bounds.
"""

import math

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core import GatedMultipliers, GatedProgram
from cvxrobust.core.programs.gated.certificate import best_scaled, lengths

Array = NDArray[np.float64]
SHARES = 17
"""Shares tried at once."""
ZOOMS = 3
"""How often the search looks closer."""


def average(program: GatedProgram, first: GatedMultipliers, second: GatedMultipliers, share: float) -> GatedMultipliers:
    """``1 - share`` of the first multipliers and `share` of the second."""
    mu = (1.0 - share) * first.mu
    mu += share * second.mu
    pulls = [np.einsum("i,ikc->kc", program.attack.radius, m.mu) for m in (first, second)]
    weights = first.reach, second.reach
    return GatedMultipliers(
        (1.0 - share) * first.theta + share * second.theta,
        _mean((1.0 - share) * weights[0], first.attacks, share * weights[1], second.attacks),
        mu,
        _mean((1.0 - share) * pulls[0], first.directions, share * pulls[1], second.directions),
        _omega(program, first, second, share),
    )


def _omega(program: GatedProgram, first: GatedMultipliers, second: GatedMultipliers, share: float) -> Array | None:
    """The average of what the attacks weigh, where that is not the size of the average theta."""
    given = first.omega is not None or second.omega is not None or program.attack.present
    return None if program.loss_function.margin or not given else (1.0 - share) * first.reach + share * second.reach


def _mean(weight: Array, one: Array, other_weight: Array, other: Array) -> Array:
    total = weight + other_weight
    part = np.divide(other_weight, total, out=np.full_like(total, 0.5), where=total > 0.0)[..., None]
    return np.asarray((1.0 - part) * one + part * other)


def proves(program: GatedProgram, m: GatedMultipliers, B: Array) -> float:
    """About what bound multipliers give; `cvxrobust.core` has the last word."""
    return _proves(program, m.theta, m.omega, float(lengths(B).max(initial=0.0)))


def _proves(program: GatedProgram, theta: Array, omega: Array | None, longest: float) -> float:
    limit = program.beta / longest if longest > 0.0 else math.inf
    return best_scaled(program, theta, omega, limit)[0]


def best_share(
    program: GatedProgram, first: GatedMultipliers, B: Array, second: GatedMultipliers, C: Array
) -> tuple[float, float]:
    """The share of the second multipliers that proves most, and about what that is.

    Args:
        program: What they belong to.
        first: The first multipliers.
        B: Their vectors, shape (K, C, D).
        second: The second multipliers.
        C: Their vectors.
    """
    squares, products, others = ((x * y).sum(axis=(1, 2)) for x, y in ((B, B), (B, C), (C, C)))

    def worth(share: float) -> float:
        lengths = (1.0 - share) ** 2 * squares + 2.0 * share * (1.0 - share) * products + share**2 * others
        longest = math.sqrt(max(float(lengths.max(initial=0.0)), 0.0))
        omega = _omega(program, first, second, share)
        return _proves(program, (1.0 - share) * first.theta + share * second.theta, omega, longest)

    low, high, best = 0.0, 1.0, (-math.inf, 0.0)
    for _ in range(ZOOMS):
        shares = np.linspace(low, high, SHARES)
        best = max(best, *((worth(float(share)), float(share)) for share in shares))
        step = (high - low) / (SHARES - 1)
        low, high = max(0.0, best[1] - step), min(1.0, best[1] + step)
    return best[1], best[0]
