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


@dataclass(frozen=True)
class Expansion:
    """The mean loss about one T, packed, in white inputs.

    Args:
        value: The mean smoothed loss.
        G: ``sum_i theta_i phi_i``, minus the gradient, shape (p,).
        fitted: The Hessian's part that multipliers follow where attacks stay put, ``sum_i loss''_i / n phi_i phi_i'``,
            shape (p, p).
        hessian: All of it, shape (p, p).
    """

    value: float
    G: Array
    fitted: Array
    hessian: Array


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
        # Entry (j, l) of [dT_11 | dt], shape (d, d + 1), of packed dT.
        rows = self.packing.unpack(np.eye(self.packing.size))[:, :d, :]
        self.rows = np.ascontiguousarray(rows.reshape(self.packing.size, -1).T)
        inner = rows[:, :, :d]
        self.inner = np.ascontiguousarray(inner.reshape(self.packing.size, -1).T)

    def barrier(self, nu: float) -> float:
        """Smoothing of losses and attacks that goes with a barrier of so much for T: both cost about as much."""
        return nu * float(self.white.shape[0] + 1)

    def expand(self, T: Array, nu: float) -> Expansion:
        """The expansion about T, shape (d + 1, d + 1).

        Raises:
            StopPass: Somebody asked to stop.
        """
        n, (p, d) = self.target.size, (self.packing.size, self.white.shape[0])
        quadric, guess = Quadric(T, self.white, self.program.activation, self.program.attack), np.empty(n)
        value, G, fitted = 0.0, np.zeros(p), np.zeros((p, p))
        curved = _AttackCurvature(quadric.values.size, d, p)
        for part in self._blocks(T, quadric, nu):
            theta = part.loss.weight / n
            value += float(part.loss.value.sum()) / n
            G += theta @ part.features
            fitted += (part.features.T * (part.loss.curvature / n)) @ part.features
            if part.attacks is not None:
                guess[part.rows] = part.attacks.shift
                curved.add(self, part, quadric, theta, self.barrier(nu))
        if self.attacked:
            self._guess = guess
        return Expansion(value, G, fitted, fitted + curved.matrix(self, quadric) if self.attacked else fitted)

    def multipliers(self, T: Array, nu: float, change: Array) -> PathMultipliers:
        """The multipliers at T, and by how much more they change where T moves and attacks stay put.

        Args:
            T: Shape (d + 1, d + 1).
            nu: Weight of the barriers.
            change: The move, packed, shape (p,).

        Raises:
            StopPass: Somebody asked to stop.
        """
        program = self.program
        quadric, theta = Quadric(T, self.white, program.activation, program.attack), np.empty(self.target.size)
        for part in self._blocks(T, quadric, nu):
            theta[part.rows] = part.loss.weight - part.loss.curvature * (part.features @ change)
        theta = program.loss_function.clip(theta / self.target.size)
        return PathMultipliers(program, self.task, theta, quadric, self.barrier(nu))

    def _blocks(self, T: Array, quadric: Quadric, nu: float) -> Iterator[_Samples]:
        d, T = self.white.shape[0], self.packing.pack(T)
        for rows, X in row_blocks(self.program.X):
            for piece in blocks(X.shape[0], (d + 1) ** 2):
                if self._stopping():
                    raise StopPass
                yield self._block(slice(rows.start + piece.start, rows.start + piece.stop), X[piece], T, quadric, nu)

    def _block(self, rows: slice, X: Array, T: Array, quadric: Quadric, nu: float) -> _Samples:
        d, sides, radius = self.white.shape[0], self.sides[rows], self.program.attack.radius[rows]
        lifted = np.ones((X.shape[0], d + 1))
        lifted[:, :d] = X @ self.white
        features = self.packing.pack(self._C * (lifted[:, :, None] * lifted[:, None, :])) * sides[:, None]
        margins, attacks = features @ T, None
        if self.attacked and (radius > 0.0).any():
            guess = None if self._guess is None else self._guess[rows]
            attacks = quadric.attack(X, sides, radius, self.barrier(nu), guess)
            margins = margins + attacks.change
            lifted[:, :d] -= (radius[:, None] * attacks.against) @ quadric.white.T
            moments = lifted[:, :, None] * lifted[:, None, :]
            spread = (radius * radius)[:, None] * attacks.variance
            moments[:, :d, :d] += np.einsum("ik,jk,lk->ijl", spread, quadric.white, quadric.white, optimize=True)
            features = self.packing.pack(self._C * moments) * sides[:, None]
        loss = LOSSES[self.program.loss](margins, self.target[rows], self.barrier(nu))
        return _Samples(rows, lifted, features, attacks, loss)


class _AttackCurvature:
    """What the worst margins' own curvature adds to the Hessian.

    Args:
        q: Coordinates of attacks.
        d: Inputs.
        p: Size of packed T.
    """

    def __init__(self, q: int, d: int, p: int) -> None:
        self._straight = np.zeros((q, d + 1, d + 1))
        self._jumps = np.zeros((q, q))
        self._gained = np.zeros((p, p))

    def add(self, objective: PathObjective, part: _Samples, quadric: Quadric, theta: Array, nu: float) -> None:
        """Add a block of samples with these multipliers."""
        attacks, radius, sides = part.attacks, objective.program.attack.radius[part.rows], objective.sides[part.rows]
        assert attacks is not None
        (a, b, _), (d, q) = objective.program.activation, quadric.white.shape
        lifted = part.lifted * np.append(np.full(d, a), 0.5 * b)
        inverse = 1.0 / attacks.gaps
        weights = (2.0 * theta * radius**2)[:, None] * inverse
        for k in range(q):
            self._straight[k] += (lifted.T * weights[:, k]) @ lifted
        exponentials = np.exp(quadric.offset + attacks.gaps / -nu)
        apart = attacks.gaps[:, :, None] - attacks.gaps[:, None, :]
        near = np.abs(apart) <= 1e-6 * nu
        together = 0.5 * (exponentials[:, :, None] + exponentials[:, None, :])
        change = exponentials[:, None, :] - exponentials[:, :, None]
        divided = np.where(near, together, nu * change / np.where(near, 1.0, apart))
        self._jumps += np.einsum("i,ikl->kl", theta * radius**4 * (a * a / nu), divided)
        # What a move of T does to the equation of lam.
        white, pulled = quadric.white, attacks.against * inverse
        moves = np.zeros((radius.size, d + 1, d + 1))
        moves[:, :d] = (2.0 * (sides * radius)[:, None] * (pulled @ white.T))[:, :, None] * lifted[:, None, :]
        thrust = (sides * radius**2 * (a / nu))[:, None] * exponentials
        moves[:, :d, :d] -= np.einsum("ik,jk,lk->ijl", thrust, white, white, optimize=True)
        packed = objective.packing.pack(0.5 * (moves + np.swapaxes(moves, 1, 2)))
        stiffness = 2.0 * np.einsum("ik,ik->i", attacks.against, pulled) + exponentials.sum(axis=1) / nu
        gain = np.where(attacks.free, theta / np.where(attacks.free, stiffness, 1.0), 0.0)
        self._gained += (packed.T * gain) @ packed

    def matrix(self, objective: PathObjective, quadric: Quadric) -> Array:
        """The sum, shape (p, p)."""
        white, (d, q) = quadric.white, quadric.white.shape
        straight = np.einsum("ak,bk,kcd->acbd", white, white, self._straight, optimize=True)
        found = objective.rows.T @ straight.reshape(d * (d + 1), -1) @ objective.rows
        turned = np.einsum("ak,bl->klab", white, white).reshape(q * q, d * d) @ objective.inner
        return np.asarray(found + (turned.T * self._jumps.reshape(-1)) @ turned - self._gained)
