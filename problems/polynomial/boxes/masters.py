"""Masters of training against boxes: their attacks are relaxed ones, moment matrices that stand for random attacks.

What the relaxation's value at a network is comes with a moment matrix X_i, which bounds the margin of every network
from above as a point does: ``w_i <= labels_i (f(x_i + mean) + sum_c a sum_j alpha_j (D_c'u_j)^2)``, with the mean of
the attack and directions D_c along which it spreads, ``X_i = [m; 1][m; 1]' + sum_c [D_c; 0][D_c; 0]'`` in inputs. An
attack is kept as a row ``(m, D_1, ..., D_SPREAD)`` of moves of the inputs that some box moves.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import NonNegative
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers, second_moments
from cvxrobust.core.programs.boxes.program import BoxProgram
from cvxrobust.problems.polynomial.assembly import DataRows, assembled
from cvxrobust.problems.polynomial.masters import SpanMaster, neurons_of

Array = NDArray[np.float64]
Index = NDArray[np.intp]

SPREAD = 6
"""Directions along which attacks spread, at most: an extreme moment matrix of order q + 1 has a rank r with
``r (r + 1) / 2 <= q + 1``, and what is dropped leaves a moment matrix that is one of an attack, too."""


def moves_of(program: BoxProgram, factors: Array) -> Array:
    """Relaxed attacks as rows, shape (n, (1 + SPREAD) q), from factors of their moments, shape (n, q + 1, p)."""
    n, m, _ = factors.shape
    mean, spread = _apart(factors)
    widths = program.boxes.widths[:, program.inputs]
    found = np.zeros((n, 1 + SPREAD, m - 1))
    found[:, 0] = widths * mean
    found[:, 1 : 1 + spread.shape[1]] = widths[:, None, :] * spread
    return found.reshape(n, -1)


def _apart(factors: Array) -> tuple[Array, Array]:
    """The mean and the directions of attacks, shapes (n, q) and (n, k, q), in units of the widths.

    The same for all factors of a moment matrix, but for signs: rows are turned so that the last is the first unit
    vector, and what is left to the principal axes.
    """
    V, last = factors[:, :-1], factors[:, -1]
    mean = np.einsum("nqp,np->nq", V, last)
    rest = V - mean[:, :, None] * last[:, None, :]
    axes, sizes, _ = np.linalg.svd(rest, full_matrices=False)
    kept = min(SPREAD, sizes.shape[1])
    spread = (axes[:, :, :kept] * sizes[:, None, :kept]).transpose(0, 2, 1)
    largest = np.take_along_axis(spread, np.abs(spread).argmax(axis=2, keepdims=True), axis=2)
    return mean, np.where(largest < 0.0, -spread, spread)


@dataclass(frozen=True)
class Moves:
    """Relaxed attacks, taken apart.

    Args:
        means: Where they lead on average, as inputs, shape (k, d).
        spreads: Directions, shape (k, SPREAD, d).
    """

    means: Array
    spreads: Array

    @classmethod
    def of(cls, program: BoxProgram, owners: Index, points: Array) -> "Moves":
        """From the rows of `moves_of`."""
        k, d = owners.size, program.X.shape[1]
        moves = np.zeros((k, 1 + SPREAD, d))
        moves[:, :, program.inputs] = points.reshape(k, 1 + SPREAD, -1)
        return cls(program.X[owners] + moves[:, 0], moves[:, 1:])

    def outputs(self, network: PolynomialNetwork) -> Array:
        """What a network has for outputs on average, shape (k,)."""
        bent = ((self.spreads @ network.u.T) ** 2).sum(axis=1) @ network.alpha
        return np.asarray(network.decision_function(self.means) + network.activation[0] * bent)


@dataclass(frozen=True, eq=False)
class RestrictedBoxSDP(SpanMaster):
    """A master programme of `cvxrobust.problems.polynomial.boxes.box_sdp.BoxSDP`.

    Args:
        owners, points, atoms: As for `SpanMaster`; points are rows of `moves_of`.
        program: What is trained, of one column of labels.
        network_of: Makes a network of neurons and output weights.
    """

    program: BoxProgram
    network_of: Callable[[Array, Array], PolynomialNetwork]

    @property
    def _penalty(self) -> tuple[float, tuple[float, float, float]]:
        return self.program.beta, self.program.activation

    @property
    def _inputs(self) -> int:
        return int(self.program.X.shape[1])

    def to_conic(self) -> ConicProgram:
        """The master in standard form: a row for each attack, ``-labels E f + lift <= -shift``."""
        program, frame = self.program, self.frame
        a, labels, moves = program.activation[0], program.labels[:, 0], self._moves
        block = program.loss_function.block(labels)
        F = _dense(frame.outputs(moves.means, program.activation))
        for c in range(SPREAD):
            used = np.flatnonzero(np.abs(moves.spreads[:, c]).max(axis=1, initial=0.0) > 0.0)
            F[used] += _dense(frame.outputs(moves.spreads[used, c], (a, 0.0, 0.0)))
        signed = sparse.csr_array(-labels[self.owners][:, None] * F)
        rows = sparse.csr_array(sparse.hstack([signed, block.lift[self.owners]]))
        data = DataRows(rows, -block.shift[self.owners], (NonNegative(self.owners.size),))
        return assembled(program.beta, frame, block, 0, [data])

    @property
    def _moves(self) -> Moves:
        return Moves.of(self.program, self.owners, self.points)

    def recover(self, solution: Solution) -> PolynomialNetwork:
        """A network from a primal solution."""
        return self.network_of(*neurons_of(*self.matrices(solution)))

    def multipliers(self, solution: Solution) -> BoxMultipliers:
        """Multipliers of the attacks from a dual solution."""
        if solution.y is None:
            raise InputError("the solution holds no dual point.")
        k = self.owners.size
        widths = self.program.boxes.widths[np.ix_(self.owners, self.program.inputs)]
        moves = self.points.reshape(k, 1 + SPREAD, -1)
        factors = np.zeros((k, moves.shape[2] + 1, 1 + SPREAD))
        scaled = moves / np.where(widths > 0.0, widths, 1.0)[:, None, :]
        factors[:, :-1], factors[:, -1, 0] = scaled.transpose(0, 2, 1), 1.0
        return BoxMultipliers(solution.y[2 : 2 + k], factors, self.owners)

    def _second_moments(self, solution: Solution) -> Array:
        found = self.multipliers(solution)
        signed = found.theta * self.program.labels[self.owners, 0]
        return second_moments(self.program, signed, found.factors, self.owners)[0]


def _dense(rows: sparse.csr_array | Array) -> Array:
    return np.asarray(rows.toarray() if isinstance(rows, sparse.csr_array) else rows)
