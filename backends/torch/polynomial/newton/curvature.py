"""The Hessian of the smoothed losses: as a matrix, or as the rows whose squares add up to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.backends.torch.polynomial.newton.packing import Packing
from cvxrobust.backends.torch.polynomial.newton.quadric import BlockAttacks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curvature:
    """A positive semidefinite matrix of order p, or its rows.

    Args:
        matrix: Shape (p, p); None where there are rows.
        rows: Shape (k, p), ``rows' rows`` is the matrix; None where there would be too many.
    """

    matrix: Array | None
    rows: Array | None

    def forces(self, known: Array) -> Array:
        """A step's forces, shape (k,): those that are known of the first rows, and 0."""
        found = np.zeros(0 if self.rows is None else self.rows.shape[0])
        found[: known.size] = known[: found.size]
        return found

    def times(self, change: Array, forces: Array) -> Array:
        """The matrix times a change, whose rows have the values `forces` to more digits than follow from it."""
        if self.rows is not None:
            return np.asarray(self.rows.T @ forces)
        assert self.matrix is not None
        return np.asarray(self.matrix @ change)


@dataclass(frozen=True)
class AttackedBlock:
    """A block of b attacked samples at one T.

    Args:
        lifted: ``[a x; b / 2]`` at the attacked points, white, shape (b, d + 1).
        attacks: Their smoothed worst cases.
        theta: Multipliers, shape (b,).
        reach: Radii with the margins' signs, shape (b,).
        white: What white inputs see of the attacks' q axes, in columns, shape (d, q).
        a: Of the activation.
        nu: Smoothing of the attacks.
        offset: Of that smoothing.
    """

    lifted: Array
    attacks: BlockAttacks
    theta: Array
    reach: Array
    white: Array
    a: float
    nu: float
    offset: float

    @property
    def exponentials(self) -> Array:
        """``exp(offset - gaps / nu)``, shape (b, q)."""
        return np.exp(self.offset + self.attacks.gaps / -self.nu)

    @property
    def jumps(self) -> Array:
        """What squares of ``(dT_11)_kl`` weigh, along the axes and summed, shape (q, q)."""
        gaps, exponentials = self.attacks.gaps, self.exponentials
        apart = gaps[:, :, None] - gaps[:, None, :]
        near = np.abs(apart) <= 1e-6 * self.nu
        together = 0.5 * (exponentials[:, :, None] + exponentials[:, None, :])
        change = exponentials[:, None, :] - exponentials[:, :, None]
        divided = np.where(near, together, self.nu * change / np.where(near, 1.0, apart))
        weights = self.theta * self.reach**4 * (self.a * self.a / self.nu)
        return np.asarray(np.einsum("i,ikl->kl", weights, divided))


class AttackSquares:
    """What the worst margins' own curvature adds to the Hessian, summed.

    Args:
        packing: Of matrices of order d + 1.
        q: Coordinates of attacks.
    """

    def __init__(self, packing: Packing, q: int) -> None:
        d, p = packing.order - 1, packing.size
        self.packing, self._white = packing, np.zeros((d, q))
        self._straight, self._jumps, self._gained = np.zeros((q, d + 1, d + 1)), np.zeros((q, q)), np.zeros((p, p))

    def add(self, block: AttackedBlock) -> None:
        """Add a block of samples."""
        attacks, theta, lifted, reach = block.attacks, block.theta, block.lifted, block.reach
        self._white, (d, q), inverse = block.white, block.white.shape, 1.0 / attacks.gaps
        weights = (2.0 * theta * reach**2)[:, None] * inverse
        for k in range(q):
            self._straight[k] += (lifted.T * weights[:, k]) @ lifted
        self._jumps += block.jumps
        # What a move of T does to the equation of lam.
        exponentials, white, pulled = block.exponentials, block.white, attacks.against * inverse
        moves = np.zeros((reach.size, d + 1, d + 1))
        moves[:, :d] = (2.0 * reach[:, None] * (pulled @ white.T))[:, :, None] * lifted[:, None, :]
        thrust = (np.sign(reach) * reach**2 * (block.a / block.nu))[:, None] * exponentials
        moves[:, :d, :d] -= np.einsum("ik,jk,lk->ijl", thrust, white, white, optimize=True)
        packed = self.packing.pack(0.5 * (moves + np.swapaxes(moves, 1, 2)))
        stiffness = 2.0 * np.einsum("ik,ik->i", attacks.against, pulled) + exponentials.sum(axis=1) / block.nu
        gain = np.where(attacks.free, theta / np.where(attacks.free, stiffness, 1.0), 0.0)
        self._gained += (packed.T * gain) @ packed

    def matrix(self) -> Array:
        """The sum, shape (p, p)."""
        white, (d, q), p = self._white, self._white.shape, self.packing.size
        # Entry (j, l) of [dT_11 | dt], shape (d (d + 1), p), of packed dT.
        entries = self.packing.unpack(np.eye(p))[:, :d, :]
        rows = np.ascontiguousarray(entries.reshape(p, -1).T)
        inner = np.ascontiguousarray(entries[:, :, :d].reshape(p, -1).T)
        straight = np.einsum("ak,bk,kcd->acbd", white, white, self._straight, optimize=True)
        found = rows.T @ straight.reshape(d * (d + 1), -1) @ rows
        turned = np.einsum("ak,bl->klab", white, white).reshape(q * q, d * d) @ inner
        return np.asarray(found + (turned.T * self._jumps.reshape(-1)) @ turned - self._gained)


class AttackRows:
    """The same as rows: ``2 q`` of each sample, and one for each pair of axes, which samples share.

    With ``p_k = (2 / gap_k)^1/2 e_k``, ``s_k = (exp_k / nu)^1/2 dW_kk`` and the vector c of ``(2 / gap_k)^1/2 z_k`` and
    ``-(exp_k / nu)^1/2`` the second differential is ``|(p, s)|^2 - (c'(p, s))^2 / |c|^2`` besides the pairs: what a
    free lam gains is a projection, so that nothing is subtracted that need not be.

    Args:
        packing: Of matrices of order d + 1.
        q: Coordinates of attacks.
    """

    def __init__(self, packing: Packing, q: int) -> None:
        self.packing, self._white, self._jumps = packing, np.zeros((packing.order - 1, q)), np.zeros((q, q))
        self._parts: list[Array] = []

    def add(self, block: AttackedBlock) -> None:
        """Add a block of samples."""
        attacks, white, reach = block.attacks, block.white, block.reach
        (d, q), b = white.shape, reach.size
        self._white = white
        self._jumps += block.jumps
        root_theta = np.sqrt(block.theta)
        soft, stiff = np.sqrt(2.0 / attacks.gaps), np.sqrt(block.exponentials / block.nu)
        rows = np.empty((b, 2 * q, self.packing.size))
        sides = np.zeros((q, d + 1))
        sides[:, :d] = white.T
        rows[:, :q] = self.packing.products(sides[None], block.lifted[:, None])
        rows[:, :q] *= ((root_theta * reach)[:, None] * soft)[:, :, None]
        own = root_theta * np.sign(reach) * reach**2 * block.a
        rows[:, q:] = (own[:, None] * stiff)[:, :, None] * self.packing.products(sides, sides)
        column = np.concatenate([soft * attacks.against, -stiff], axis=1)
        length = np.linalg.norm(column, axis=1)
        column *= np.where(attacks.free, 1.0 / np.where(length > 0.0, length, 1.0), 0.0)[:, None]
        rows -= column[:, :, None] * np.einsum("ik,ikp->ip", column, rows)[:, None]
        self._parts.append(rows.reshape(b * 2 * q, -1))

    def rows(self) -> Array:
        """All of them, shape (k, p)."""
        d, q = self._white.shape
        sides = np.zeros((q, d + 1))
        sides[:, :d] = self._white.T
        i, j = np.triu_indices(q, 1)
        weights = np.sqrt(2.0 * np.maximum(self._jumps[i, j], 0.0))
        return np.concatenate([*self._parts, weights[:, None] * self.packing.products(sides[i], sides[j])])
