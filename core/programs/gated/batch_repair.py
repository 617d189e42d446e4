"""Multipliers of the ReLUs of many slots of a one-sided programme at once, improved by accelerated projected gradients.

Notation of `cvxrobust.core.programs.gated.certificate`. With theta and the attacks given, slot k's vector is
``B_k = fixed_k + sum_i mu_ik ((2 g_ik - 1) x_i + r_i q_k)``, ``0 <= mu_ik <= theta_i``: a box-constrained least-squares
problem in mu_k, solved for all slots in question by products with X alone (Nesterov's method with the restarts of
O'Donoghue and Candes 2015, *Adaptive restart for accelerated gradient schemes*, Found. Comput. Math. 15), in turn with
the best directions q_k.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]

STEPS = 120
"""Gradient steps, at most."""

WORK = 2_000_000_000
"""Samples times slots times inputs times steps, at most, as long as there is one look at the lengths."""

TURN = 8
"""Steps between two updates of the directions, and two looks at the lengths."""

FALL = 0.02
"""Share of what is missing that has to be gained from look to look."""


@dataclass(frozen=True)
class UnrepairedSlots:
    """Some slots of a one-sided programme, and what of their vectors does not change.

    Args:
        program: A one-sided programme.
        slots: The slots, all of one sign.
        fixed: What does not depend on mu, shape (m, D).
        theta: Multipliers of the margins, shape (n,).
    """

    program: GatedProgram
    slots: NDArray[np.intp]
    fixed: Array
    theta: Array


def shortened(
    given: UnrepairedSlots, mu: Array, q: Array, target: float, stopped: Callable[[], bool] = lambda: False
) -> tuple[Array, Array]:
    """Multipliers and directions of some slots that make their vectors as short as `target`, or nearly shortest.

    No vector gets longer.

    Args:
        given: The slots.
        mu: Where to start, shape (n, m).
        q: Directions to start from, shape (m, d).
        target: Length that is short enough.
        stopped: Asked at every look; once it says so, what has been found is returned.

    Returns:
        mu, shape (n, m), and q, shape (m, d).
    """
    program, sign = given.program, given.program.signs[given.slots[0]]
    rows = np.flatnonzero((program.labels[:, 0] * sign < 0.0) & (given.theta > 0.0))
    best_mu, best_q = mu.copy(), q.copy()
    if rows.size == 0:
        return best_mu, best_q
    part = _Slots(given, rows, q)
    found = part.run(mu[rows], target, stopped)
    best_mu[rows], best_q[:] = found
    return best_mu, best_q


class _Slots:
    """The problem of some slots of one sign, on the samples that they can harm."""

    def __init__(self, given: UnrepairedSlots, rows: NDArray[np.intp], q: Array) -> None:
        self.X, self.attack = given.program.X[rows], given.program.attack.of(rows)
        self.radius, self.extent = self.attack.radius, self.attack.extent
        self.sides = np.where(given.program.gates[np.ix_(rows, given.slots)], 1.0, -1.0)
        self.fixed, self.caps, self.q = given.fixed, given.theta[rows, None], q.copy()
        self.attacked = bool((self.radius > 0.0).any()) and q.shape[1] > 0
        # ||[x_i + r_i q]|| <= ||X|| + ||r|| ||q||.
        reach = self.attack.euclidean_reach
        size = float(np.sqrt(np.linalg.eigvalsh(self.X.T @ self.X)[-1]))
        self.curvature = (size + float(np.linalg.norm(self.radius)) * reach * self.attacked) ** 2

    def vectors(self, mu: Array) -> Array:
        """B of each slot, shape (m, D)."""
        B = self.fixed + (self.sides * mu).T @ self.X
        if self.attacked:
            B[:, : self.q.shape[1]] += (mu.T @ self.extent) * self.q
        return np.asarray(B)

    def slope(self, B: Array) -> Array:
        """Derivative of ``||B||^2 / 2`` in mu, shape (rows, m)."""
        found = self.sides * (self.X @ B.T)
        if self.attacked:
            parts = B[:, : self.q.shape[1]] * self.q
            # Of balls that are not cut off all coordinates count alike.
            found += self.extent @ (parts if self.attack.widths is not None else parts.sum(axis=1, keepdims=True)).T
        return np.asarray(found)

    def run(self, mu: Array, target: float, stopped: Callable[[], bool]) -> tuple[Array, Array]:
        """The best mu, shape (rows, m), and q, shape (m, d), of each slot."""
        mu = np.clip(mu, 0.0, self.caps)
        B = self.vectors(mu)
        best = mu.copy(), self.q.copy(), np.linalg.norm(B, axis=1)
        ahead, momentum = mu, np.ones(mu.shape[1])
        steps = min(STEPS, max(TURN, WORK // max(1, mu.size * self.X.shape[1])))
        for step in range(1, steps + 1):
            new = np.clip(ahead - self.slope(B) / self.curvature, 0.0, self.caps)
            # Momentum that points uphill is dropped, slot by slot.
            uphill = ((ahead - new) * (new - mu)).sum(axis=0) > 0.0
            momentum = np.where(uphill, 1.0, momentum)
            longer = 0.5 * (1.0 + np.sqrt(1.0 + 4.0 * momentum**2))
            ahead = new + np.where(uphill, 0.0, (momentum - 1.0) / longer) * (new - mu)
            mu, momentum = new, longer
            if step % TURN == 0 or step == steps:
                B = self.vectors(mu)
                if self.attacked:
                    self._turn(B, mu)
                    B = self.vectors(mu)
                sizes = np.linalg.norm(B, axis=1)
                if not self._keep(best, mu, sizes, target) or stopped():
                    break
            B = self.vectors(ahead)
        return best[0], best[1]

    def _keep(self, best: tuple[Array, Array, Array], mu: Array, sizes: Array, target: float) -> bool:
        """Remember what is shorter than before; whether any slot still falls towards the target."""
        better = sizes < best[2]
        falling = (best[2] - sizes > FALL * (best[2] - target)) & (sizes > target)
        best[0][:, better], best[1][better], best[2][better] = mu[:, better], self.q[better], sizes[better]
        return bool(falling.any())

    def _turn(self, B: Array, mu: Array) -> None:
        """The directions that shorten the vectors most, mu given."""
        mass = mu.T @ self.extent
        some, d = (mass > 0.0).any(axis=1), self.q.shape[1]
        pulled = np.where(mass > 0.0, B[:, :d] / np.where(mass > 0.0, mass, 1.0), 0.0)
        self.q[some] = self.attack.nearest(self.q[some] - pulled[some])
