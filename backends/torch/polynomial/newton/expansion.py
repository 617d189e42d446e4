"""The smoothed objective of the path, its gradient and its exact Hessian, as sums over samples.

With ``phi_i`` the packed ``C o E[x; 1][x; 1]'`` of an attacked sample, its label for a sign, the gradient in
``T = T+ - T-`` is ``-sum_i theta_i phi_i`` and the Hessian ``sum_i loss''_i / n phi_i phi_i'`` plus the curvature of
the worst margins. A margin is ``max_lam -lam - h'(W + lam)^-1 h - nu tr exp(-(W + lam) / nu)`` with W and h linear in T
(see `cvxrobust.backends.torch.polynomial.attacks`). With z the attack, ``N = (W + lam)^-1``, ``e`` the half gradient
of ``df`` at the attacked point, and g the divided differences of exp, minus its second differential is

    2 e'N e + 1 / nu sum_kl g_kl dW_kl^2 - (2 z'N e - 1 / nu sum_k exp_k dW_kk)^2 / (2 z'N z + 1 / nu sum_k exp_k),

the last term, what moving lam gains, only where lam is free.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.backends.torch.polynomial.newton.curvature import AttackedBlock, AttackRows, AttackSquares, Curvature
from cvxrobust.backends.torch.polynomial.newton.losses import LOSSES, SmoothLoss
from cvxrobust.backends.torch.polynomial.newton.packing import Packing
from cvxrobust.backends.torch.polynomial.newton.quadric import BlockAttacks, PathMultipliers, Quadric
from cvxrobust.backends.torch.polynomial.samples import StopPass
from cvxrobust.core import PolynomialProgram
from cvxrobust.core.attacks.quadratic import blocks
from cvxrobust.core.losses.base import output_signs
from cvxrobust.core.programs.polynomial.certificate import coefficients
from cvxrobust.core.programs.rows import row_blocks

Array = NDArray[np.float64]
MOST_ROWS = 2**23
"""Numbers in the rows of all samples up to which systems are factored without squaring these."""


@dataclass(frozen=True)
class Expansion:
    """The mean loss about one T, packed, in white inputs.

    Args:
        value: The mean smoothed loss.
        G: ``sum_i theta_i phi_i``, minus the gradient, shape (p,).
        fitted: The Hessian's part that multipliers follow where attacks stay put, ``sum_i loss''_i / n phi_i phi_i'``.
        hessian: All of it; its first rows, if any, are those of `fitted`.
        shift: Roots of the attacks, shape (n,); None where nobody is attacked.
    """

    value: float
    G: Array
    fitted: Curvature
    hessian: Curvature
    shift: Array | None


@dataclass(frozen=True)
class _Samples:
    """A block of samples at one T."""

    rows: slice
    lifted: Array
    features: Array
    attacks: BlockAttacks | None
    loss: SmoothLoss


class PathObjective:
    """Sums over the samples of one column of a programme.

    Args:
        program: What to train.
        task: Column of the labels.
        white: W of `whitening`, shape (d, d).
        stopping: Asked before every block.
    """

    def __init__(self, program: PolynomialProgram, task: int, white: Array, stopping: Callable[[], bool]) -> None:
        d = program.X.shape[1]
        self.program, self.task, self.white, self._stopping = program, task, white, stopping
        self.packing = Packing(d + 1)
        self.target = program.labels[:, task]
        self.sides = output_signs(program.loss_function, self.target)
        self.attacked = program.attack.present
        self._guess: Array | None = None
        self._C = coefficients(program.activation, d)

    def barrier(self, nu: float) -> float:
        """Smoothing of losses and attacks that goes with a barrier of so much for T: both cost about as much."""
        return nu * float(self.white.shape[0] + 1)

    def expand(self, T: Array, nu: float) -> Expansion:
        """The expansion about T, shape (d + 1, d + 1).

        Raises:
            StopPass: Somebody asked to stop.
        """
        n, p = self.target.size, self.packing.size
        quadric, guess = Quadric(T, self.white, self.program.activation, self.program.attack), np.empty(n)
        q = quadric.values.size
        each = 1 + 2 * q if self.attacked else 1
        in_rows = n * each * p <= MOST_ROWS
        value, G = 0.0, np.zeros(p)
        matrix, rows = np.zeros((p, p)), np.empty((n if in_rows else 0, p))
        curved = AttackRows(self.packing, q) if in_rows else AttackSquares(self.packing, q)
        for part in self._blocks(T, quadric, nu):
            theta = part.loss.weight / n
            value += float(part.loss.value.sum()) / n
            G += theta @ part.features
            if in_rows:
                rows[part.rows] = np.sqrt(part.loss.curvature / n)[:, None] * part.features
            else:
                matrix += (part.features.T * (part.loss.curvature / n)) @ part.features
            if part.attacks is not None:
                guess[part.rows] = part.attacks.shift
                curved.add(self._attacked(part, part.attacks, quadric, theta, nu))
        self._guess = guess if self.attacked else None
        fitted = hessian = Curvature(None, rows) if in_rows else Curvature(matrix, None)
        if isinstance(curved, AttackRows) and self.attacked:
            hessian = Curvature(None, np.concatenate([rows, curved.rows()]))
        elif isinstance(curved, AttackSquares) and self.attacked:
            hessian = Curvature(matrix + curved.matrix(), None)
        return Expansion(value, G, fitted, hessian, self._guess)

    def _attacked(
        self, part: "_Samples", attacks: BlockAttacks, quadric: Quadric, theta: Array, nu: float
    ) -> AttackedBlock:
        (a, b, _), d = self.program.activation, self.white.shape[0]
        lifted = part.lifted * np.append(np.full(d, a), 0.5 * b)
        reach = self.sides[part.rows] * self.program.attack.radius[part.rows]
        return AttackedBlock(lifted, attacks, theta, reach, quadric.white, a, self.barrier(nu), quadric.offset)

    def multipliers(self, T: Array, nu: float, change: Array, forces: Array, shift: Array | None) -> PathMultipliers:
        """The multipliers at T, and by how much more they change where T moves and attacks stay put.

        Args:
            T: Shape (d + 1, d + 1).
            nu: Weight of the barriers.
            change: The move, packed, shape (p,).
            forces: Of the samples' rows, where it has more digits of them than follow from the move, shape (n,).
            shift: Of the expansion about T, if the move was made for its attacks.

        Raises:
            StopPass: Somebody asked to stop.
        """
        program = self.program
        quadric, theta = Quadric(T, self.white, program.activation, program.attack), np.empty(self.target.size)
        for part in self._blocks(T, quadric, nu, shift):
            if forces.size:
                moved = np.sqrt(part.loss.curvature * theta.size) * forces[part.rows]
            else:
                moved = part.loss.curvature * (part.features @ change)
            theta[part.rows] = part.loss.weight - moved
        theta = program.loss_function.clip(theta / self.target.size)
        return PathMultipliers(program, self.task, theta, quadric, self.barrier(nu), shift)

    def _blocks(self, T: Array, quadric: Quadric, nu: float, shift: Array | None = None) -> Iterator[_Samples]:
        d, T = self.white.shape[0], self.packing.pack(T)
        for rows, X in row_blocks(self.program.X):
            for piece in blocks(X.shape[0], (d + 1) ** 2):
                if self._stopping():
                    raise StopPass
                here = slice(rows.start + piece.start, rows.start + piece.stop)
                yield self._block(here, X[piece], T, quadric, nu, None if shift is None else shift[here])

    def _block(self, rows: slice, X: Array, T: Array, quadric: Quadric, nu: float, shift: Array | None) -> _Samples:
        d, sides, radius = self.white.shape[0], self.sides[rows], self.program.attack.radius[rows]
        lifted = np.ones((X.shape[0], d + 1))
        lifted[:, :d] = X @ self.white
        features = self.packing.pack(self._C * (lifted[:, :, None] * lifted[:, None, :])) * sides[:, None]
        margins, attacks = features @ T, None
        if self.attacked and (radius > 0.0).any():
            guess, solved = None if self._guess is None else self._guess[rows], shift is not None
            attacks = quadric.attack(X, sides, radius, self.barrier(nu), shift if solved else guess, solved=solved)
            margins = margins + attacks.change
            lifted[:, :d] -= (radius[:, None] * attacks.against) @ quadric.white.T
            moments = lifted[:, :, None] * lifted[:, None, :]
            spread = (radius * radius)[:, None] * attacks.variance
            moments[:, :d, :d] += np.einsum("ik,jk,lk->ijl", spread, quadric.white, quadric.white, optimize=True)
            features = self.packing.pack(self._C * moments) * sides[:, None]
        loss = LOSSES[self.program.loss](margins, self.target[rows], self.barrier(nu))
        if self.program.weights is not None:
            loss = loss.times(self.program.weights[rows])
        return _Samples(rows, lifted, features, attacks, loss)
