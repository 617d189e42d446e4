"""The multipliers of one slot of a gated programme, by least squares.

Notation of `cvxrobust.core.programs.gated.certificate`: ``min_mu ||B_k||`` is a non-negative (cone) or box-constrained
(one-sided) least-squares problem, and q_k follows as the direction that shortens B_k most.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]

REPAIR_ROUNDS = 4
"""Alternations between the multipliers mu of a slot and its direction q (one-sided form)."""

GENERATION_ROUNDS = 60
"""Rounds of column generation for the multipliers of a cone under attack."""


def slot_part(program: GatedProgram, k: int, mu: Array, direction: Array) -> Array:
    """What mu and q add to the vector of a slot, shape (D,)."""
    part = np.where(program.gates[:, k], mu, -mu) @ program.X
    part[: direction.size] += (mu @ program.attack.extent) * direction
    return np.asarray(part)


@dataclass(frozen=True)
class UnrepairedSlot:
    """One slot and output, and the multipliers to start from: B = fixed + sum_i mu_i (turned x_i + r_i q).

    Args:
        program: The programme.
        k: Number of the slot.
        fixed: What of B does not depend on mu, shape (D,).
        mu: Multipliers, shape (n,).
        direction: q, shape (d,).
    """

    program: GatedProgram
    k: int
    fixed: Array
    mu: Array
    direction: Array

    def bracket(self, mu: Array, direction: Array) -> Array:
        """B for such multipliers, shape (D,)."""
        return np.asarray(self.fixed + slot_part(self.program, self.k, mu, direction))


def repair_slot(slot: UnrepairedSlot, rows: NDArray[np.intp], caps: Array | None) -> tuple[Array, Array]:
    """The best mu and q found.

    Args:
        slot: What to repair.
        rows: Samples whose mu may change.
        caps: Their largest mu; None for any.
    """
    program, k, fixed, mu, direction = slot.program, slot.k, slot.fixed, slot.mu, slot.direction
    d = direction.size
    turned = np.where(program.gates[rows, k, None], program.X[rows], -program.X[rows])
    best = mu, direction, float(np.linalg.norm(slot.bracket(mu, direction)))
    attacked = program.attack.of(rows).present
    for _ in range(REPAIR_ROUNDS if attacked else 1):
        generators = turned.copy()
        generators[:, :d] += program.attack.extent[rows] * direction
        found = np.zeros_like(mu)
        found[rows] = _least_squares(generators, fixed, caps, best[0][rows])
        bracket = slot.bracket(found, direction)
        # For this mu, the q that shortens B most lies opposite to it.
        turned_direction = _shortening(program.attack, bracket[:d], found @ program.attack.extent, direction)
        length = float(np.linalg.norm(slot.bracket(found, turned_direction)))
        if not length < best[2]:
            break
        progress = length < 0.999 * best[2]
        best, direction = (found, turned_direction, length), turned_direction
        if not progress:
            break
    return best[0], best[1]


def generated(slot: UnrepairedSlot, target: float) -> tuple[Array, Array]:
    """The mu and q of one attacked cone that make ``||B||`` least, or at most `target`: it need not be less.

    ``B - fixed`` is any point of the dual cone, whose generators are ``turned x_i + r_i q`` over all q in the ball.
    Those that the present residual violates are added, those of weight zero dropped: non-negative least squares by
    column generation. At the optimum B is the projection of `fixed` onto the cone (Moreau).
    """
    from scipy.optimize import nnls  # slow to import, and rarely needed

    program, k, fixed, mu, direction = slot.program, slot.k, slot.fixed, slot.mu, slot.direction
    d, extent = direction.size, program.attack.extent
    turned = np.where(program.gates[:, k, None], program.X, -program.X)
    owners, directions = np.flatnonzero(mu > 0.0), np.tile(direction, (int((mu > 0.0).sum()), 1))
    bracket = slot.bracket(mu, direction)
    best = mu, direction, float(np.linalg.norm(bracket))
    weights = np.empty(0)
    for round_ in range(GENERATION_ROUNDS):
        if best[2] <= target:
            break
        slack = turned @ bracket - program.attack.reaches(bracket)
        worst = -program.attack.maximiser(bracket)
        new = np.flatnonzero(slack < -1e-12 * (1.0 + np.abs(slack).max(initial=0.0)))
        if round_ > 0:
            kept = weights > 0.0
            owners, directions = owners[kept], directions[kept]
        if new.size == 0:
            break
        owners = np.concatenate([owners, new])
        directions = np.vstack([directions, np.tile(worst, (new.size, 1))])
        generators = turned[owners].copy()
        generators[:, :d] += extent[owners] * directions
        try:
            weights, length = nnls(generators.T, -fixed)
        except RuntimeError:
            break
        bracket = fixed + weights @ generators
        if length < best[2]:
            best = *_gathered(extent, owners, directions, weights, direction), float(length)
    return best[0], best[1]


def _gathered(
    extent: Array, owners: NDArray[np.intp], directions: Array, weights: Array, otherwise: Array
) -> tuple[Array, Array]:
    """Weights of samples, and the mean of their directions, which moves as much as they do."""
    mu = np.bincount(owners, weights, minlength=len(extent)).astype(np.float64)
    pull = weights[:, None] * extent[owners]
    total = pull.sum(axis=0)
    return mu, np.where(total > 0.0, (pull * directions).sum(axis=0) / np.where(total > 0.0, total, 1.0), otherwise)


def _least_squares(generators: Array, fixed: Array, caps: Array | None, start: Array) -> Array:
    """Non-negative (or capped) weights that make ``||fixed + weights @ generators||`` small, shape (rows,)."""
    from scipy.optimize import lsq_linear, nnls  # slow to import, and rarely needed

    if generators.shape[0] == 0:
        return np.zeros(0)
    try:
        if caps is None:
            return np.asarray(nnls(generators.T, -fixed)[0])
        found = lsq_linear(generators.T, -fixed, bounds=(0.0, caps), method="bvls", tol=1e-14)
        return np.asarray(np.clip(found.x, 0.0, caps))
    except (RuntimeError, ValueError, np.linalg.LinAlgError):
        return start


def _shortening(attack: AttackBall, bracket: Array, mass: Array, direction: Array) -> Array:
    """The q of the unit ball that makes ``||rest + mass q||`` least, where ``bracket = rest + mass direction``.

    The mass is one number, shape (1,), or, of boxes that are cut off, one for each coordinate, shape (d,).
    """
    if not (mass > 0.0).any():
        return direction
    moved = direction - bracket / np.where(mass > 0.0, mass, 1.0)
    return np.asarray(attack.inside(np.where(mass > 0.0, moved, direction)))
