"""The conic form of joint training, assembled with whole-array operations.

Every class k has matrices Z_k and Z_k', and ``T_k = Z_k - Z_k'``. A point of class c and a rival k give what one sample
gives in a binary problem, on ``T_c - T_k``: a row without attack, a linear matrix inequality under attack (the
S-procedure, lossless). All of a sample's claims are about the same value of its loss.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.conic.cones import PSD, Cone, NonNegative, smat
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.estimate import ConicSize
from cvxrobust.core.losses.base import LossBlock
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.programs.joint.certificate import JointPoints
from cvxrobust.core.programs.joint.program import JointProgram
from cvxrobust.core.programs.polynomial.recovery import attacks_from_moments
from cvxrobust.problems.polynomial.assembly import DataRows, assembled, inequality_rows, multiplier_rows
from cvxrobust.problems.polynomial.matrix_variables import FullFrame, features

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class ClassFrames:
    """Variables of all classes, those of `FullFrame` for each in turn.

    Args:
        d: Number of inputs.
        penalties: What the penalty of each class counts, shape (K,).
    """

    d: int
    penalties: Array

    @property
    def one(self) -> FullFrame:
        """The variables of one class."""
        return FullFrame(self.d)

    @property
    def size(self) -> int:
        """Number of scalar variables."""
        return self.penalties.size * self.one.size

    @property
    def trace_and_corner(self) -> tuple[sparse.csr_array, Array]:
        """Two trace equalities a class, and the costs of all."""
        traces, corner = self.one.trace_and_corner
        return _repeated(traces, self.penalties.size), np.outer(self.penalties, corner).ravel()

    @property
    def psd_rows(self) -> tuple[sparse.csr_array, tuple[Cone, ...]]:
        """Z_k, then Z_k', class by class."""
        rows, cones = self.one.psd_rows
        return _repeated(rows, self.penalties.size), cones * self.penalties.size

    def matrices(self, variables: Array) -> list[tuple[Array, Array]]:
        """Z and Z' of each class, each of shape (d + 1, d + 1)."""
        return [self.one.matrices(part) for part in variables.reshape(self.penalties.size, -1)]


def _repeated(rows: sparse.csr_array, count: int) -> sparse.csr_array:
    return sparse.csr_array(sparse.kron(sparse.eye_array(count), rows, format="csr"))


@dataclass(frozen=True)
class Pairs:
    """Some points, each against each of its rivals.

    Args:
        rows: The point of each pair, shape (N,).
        rivals: The rival, shape (N,).
    """

    rows: Index
    rivals: Index

    @classmethod
    def of(cls, program: JointProgram, rows: Index) -> "Pairs":
        """All pairs of these points."""
        rivals = np.arange(program.n_classes)
        wanted = rivals != program.labels[rows][:, None]
        return cls(np.repeat(rows, program.n_classes - 1), np.nonzero(wanted)[1])


@dataclass(frozen=True)
class JointForm:
    """A joint programme as a conic one.

    Rows: traces, pairs of the points with radius 0, inequalities of the others, their lambda >= 0, loss, PSD.

    Args:
        program: The programme.
    """

    program: JointProgram

    @property
    def frames(self) -> ClassFrames:
        """The matrix variables, which come first."""
        return ClassFrames(self.program.X.shape[1], self.program.penalties)

    @cached_property
    def clean(self) -> Pairs:
        """The pairs of points with radius 0."""
        return Pairs.of(self.program, np.flatnonzero(self.program.attack.radius == 0.0))

    @cached_property
    def attacked(self) -> Pairs:
        """The pairs of the others."""
        return Pairs.of(self.program, np.flatnonzero(self.program.attack.radius > 0.0))

    def assembled(self) -> ConicProgram:
        """The programme in standard form."""
        program, block = self.program, self._block
        clean, attacked = self.clean, self.attacked
        k, size = attacked.rows.size, self.frames.size
        shift, lift = self._claims(block, clean)
        outputs = self._contrast(sparse.csr_array(-features(program.X[clean.rows], program.activation)), clean)
        groups = [DataRows(_beside(outputs, k, lift), -shift, (NonNegative(shift.size),))]
        if k:
            attack = self._attack(attacked)
            shift, lift = self._claims(block, attacked)
            T = inequality_rows(program.X[attacked.rows], np.ones(k), attack, program.activation)
            lam, lifted, rhs = multiplier_rows(attack, shift, lift)
            rows = sparse.csr_array(sparse.hstack([self._contrast(T, attacked), lam, lifted]))
            groups.append(DataRows(rows, rhs, (PSD(attack.dimension + 1),) * k))
            # Without lambda >= 0 the adversary would have to use all of its radius.
            parts = [sparse.csr_array((k, size)), -sparse.eye_array(k), sparse.csr_array((k, block.cost.size))]
            groups.append(DataRows(sparse.csr_array(sparse.hstack(parts)), np.zeros(k), (NonNegative(k),)))
        return assembled(program.beta, self.frames, block, k, groups)

    @property
    def size(self) -> ConicSize:
        """Sizes of `assembled`, known before any assembly."""
        program, K = self.program, self.program.n_classes
        (_, d), q = program.X.shape, program.attack.dimension
        n, k = self.clean.rows.size, self.attacked.rows.size
        triangle, inequality = PSD(d + 1).dim, PSD(q + 1).dim
        loss_rows, loss_columns = self._loss_sizes
        rows = 2 * K + n + k * (inequality + 1) + loss_rows + 2 * K * triangle
        entries = 2 * n * triangle + k * 2 * (triangle + triangle + d * d) + 3 * K * triangle
        orders = {d + 1: 2 * K}
        orders[q + 1] = orders.get(q + 1, 0) + k
        return ConicSize(rows, 2 * K * triangle + k + loss_columns, entries, orders=orders)

    def multipliers(self, y: Array) -> JointPoints:
        """Duals of `assembled` on points: those of inequalities are moments of attacks, sums over a few of these."""
        program, (clean, attacked) = self.program, (self.clean, self.attacked)
        start = 2 * program.n_classes
        weights, rows, rivals = [y[start : start + clean.rows.size]], [clean.rows], [clean.rivals]
        points, start, order = [program.X[clean.rows]], start + clean.rows.size, PSD(program.attack.dimension + 1).dim
        moments = smat(y[start : start + attacked.rows.size * order].reshape(-1, order))
        for matrix, row, rival in zip(moments, attacked.rows, attacked.rivals, strict=True):
            z, mass = attacks_from_moments(matrix)
            weights.append(mass)
            rows.append(np.full(mass.size, row))
            rivals.append(np.full(mass.size, rival))
            points.append(program.X[row] + program.attack.pushed(program.attack.radius[row] * z))
        return JointPoints(np.concatenate(weights), np.concatenate(rows), np.concatenate(rivals), np.vstack(points))

    @property
    def _block(self) -> LossBlock:
        return self.program.loss_function.block(np.ones(self.program.n_samples))

    @property
    def _loss_sizes(self) -> tuple[int, int]:
        """Rows and columns of the loss's block, which grow by the same with every sample."""
        one, two = (loss_by_name(self.program.loss).block(np.zeros(count)) for count in (1, 2))
        (rows, columns), further = (one.rhs.size, one.cost.size), self.program.n_samples - 1
        return rows + further * (two.rhs.size - rows), columns + further * (two.cost.size - columns)

    def _attack(self, pairs: Pairs) -> AttackBall:
        return self.program.attack.of(pairs.rows)

    def _claims(self, block: LossBlock, pairs: Pairs) -> tuple[Array, sparse.csr_array]:
        """What margins are to be at least, ``shift + lift v``, v the loss's variables."""
        owners = self.program.samples[pairs.rows]
        return block.shift[owners], sparse.csr_array(block.lift[owners])

    def _contrast(self, rows: sparse.csr_array, pairs: Pairs) -> sparse.csr_array:
        """Rows about ``svec T``, as many for each pair, as rows of all variables about ``T_own - T_rival``."""
        own, count = self.program.labels[pairs.rows], rows.shape[0] // max(pairs.rows.size, 1)
        parts = []
        for k in range(self.program.n_classes):
            sign = np.repeat((own == k) - 1.0 * (pairs.rivals == k), count)
            parts += [sparse.diags_array(sign) @ rows, sparse.csr_array(rows.shape)]
        found = sparse.csr_array(sparse.hstack(parts))
        found.eliminate_zeros()
        return found


def _beside(rows: sparse.csr_array, between: int, lift: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(sparse.hstack([rows, sparse.csr_array((rows.shape[0], between)), lift]))
