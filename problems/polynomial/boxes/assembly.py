"""The conic form of training against boxes, assembled with whole-array operations."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.conic.cones import PSD, NonNegative, smat, svec_indices
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.estimate import ConicSize
from cvxrobust.core.losses.base import LossBlock
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers
from cvxrobust.core.programs.boxes.program import BoxProgram
from cvxrobust.problems.polynomial.assembly import DataRows, Task, assembled, inequality_rows, point_rows
from cvxrobust.problems.polynomial.matrix_variables import FullFrame

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class BoxForm:
    """One linear matrix inequality per sample that is attacked, with a multiplier for every input that is.

    Variables: those of `FullFrame`, lambda (q for each such sample), the loss's. Rows: traces, points of samples whose
    boxes have no width, inequalities in units of the widths, lambda >= 0, loss, PSD.

    Args:
        program: Of one column of labels.
    """

    program: BoxProgram

    @property
    def frame(self) -> FullFrame:
        """The matrix variables."""
        return FullFrame(self.program.X.shape[1])

    @cached_property
    def attacked(self) -> Index:
        """Samples whose boxes have any width."""
        return np.flatnonzero((self.program.boxes.widths > 0.0).any(axis=1))

    @cached_property
    def clean(self) -> Index:
        """The others."""
        return np.setdiff1d(np.arange(self.program.X.shape[0]), self.attacked)

    @property
    def order(self) -> int:
        """Of the inequalities, q + 1."""
        return int(self.program.inputs.size) + 1

    @cached_property
    def size(self) -> ConicSize:
        """Sizes of `assembled`, known before any assembly."""
        d, m, k = self.program.X.shape[1], self.order, self.attacked.size
        rows, columns = self._loss_sizes
        triangle, own = PSD(d + 1).dim, PSD(m).dim
        total = 2 + self.clean.size + k * (own + m - 1) + rows + 2 * triangle
        entries = 2 * self.clean.size * triangle + k * (2 * triangle + own * 2 + d * d + 3 * m) + 2 * triangle
        orders = {d + 1: k + 2} if m == d + 1 else {d + 1: 2, m: k}
        return ConicSize(total, 2 * triangle + k * (m - 1) + columns, entries, orders=orders)

    @cached_property
    def _loss_sizes(self) -> tuple[int, int]:
        """Rows and columns of the loss's block, which grow by the same with every sample."""
        one, two = (loss_by_name(self.program.loss).block(np.zeros(count)) for count in (1, 2))
        further = self.program.X.shape[0] - 1
        rows, columns = one.rhs.size, one.cost.size
        return rows + further * (two.rhs.size - rows), columns + further * (two.cost.size - columns)

    def assembled(self) -> ConicProgram:
        """The programme."""
        program, frame = self.program, self.frame
        labels, k, q = program.labels[:, 0], self.attacked.size, self.order - 1
        loss = program.loss_function
        block = loss.block(labels)
        task = Task(program.X, labels, _nobody(program.X), loss, program.activation, program.beta)
        plain = point_rows(task, block, frame, self.clean, program.X[self.clean])
        none = sparse.csr_array((self.clean.size, k * q))
        spread = sparse.hstack([plain.rows[:, : frame.size], none, plain.rows[:, frame.size :]])
        before, after = (sparse.csr_array((k * q, width)) for width in (frame.size, block.cost.size))
        above = sparse.hstack([before, -sparse.eye_array(k * q), after])
        groups = [
            DataRows(sparse.csr_array(spread), plain.rhs, plain.cones),
            self._inequalities(block),
            DataRows(sparse.csr_array(above), np.zeros(k * q), (NonNegative(k * q),)),
        ]
        return assembled(program.beta, frame, block, k * q, groups)

    def _inequalities(self, block: LossBlock) -> DataRows:
        """Rows of ``svec(M_i)``, what `BoxSDP` says is psd, t for w_i."""
        program, rows = self.program, self.attacked
        (k, q), p = (rows.size, self.order - 1), PSD(self.order).dim
        X, signs = program.X[rows], program.labels[rows, 0]
        T = inequality_rows(X, signs, _everyone(X), program.activation)
        i, j, _ = svec_indices(X.shape[1] + 1)
        inputs = np.append(program.inputs, X.shape[1])
        kept = np.flatnonzero(np.isin(i, inputs) & np.isin(j, inputs))
        whole = PSD(X.shape[1] + 1).dim
        widths = np.hstack([program.boxes.widths[rows], np.ones((k, 1))])
        unit = (widths[:, i[kept]] * widths[:, j[kept]]).ravel()
        chosen = (whole * np.arange(k)[:, None] + kept).ravel()
        T = sparse.csr_array(sparse.diags_array(unit) @ T[chosen])
        a, b, _ = svec_indices(self.order)
        diagonal = np.flatnonzero(a == b)[:q]
        offset, own = p * np.arange(k)[:, None], np.arange(k * q).reshape(k, q)
        at = np.concatenate([(offset + diagonal).ravel(), np.repeat(p * np.arange(k) + p - 1, q)])
        columns = np.concatenate([own.ravel(), own.ravel()])
        lam = sparse.csr_array((np.repeat([-1.0, 1.0], k * q), (at, columns)), shape=(k * p, k * q))
        corner = sparse.csr_array((np.ones(k), (p * np.arange(k) + p - 1, np.arange(k))), shape=(k * p, k))
        rhs = np.zeros(k * p)
        rhs[p - 1 :: p] = -block.shift[rows]
        between = sparse.csr_array((k * p, self.frame.size - T.shape[1]))
        lift = corner @ sparse.csr_array(block.lift[rows])
        held = sparse.csr_array(sparse.hstack([T, between, lam, lift]))
        return DataRows(held, rhs, tuple(PSD(self.order) for _ in range(k)))

    def multipliers(self, y: Array) -> BoxMultipliers:
        """Duals of `assembled`."""
        n, start = self.program.X.shape[0], 2 + self.clean.size
        moments = np.zeros((n, self.order, self.order))
        moments[self.clean, -1, -1] = y[2:start]
        p = PSD(self.order).dim
        moments[self.attacked] = smat(y[start : start + self.attacked.size * p].reshape(-1, p))
        return BoxMultipliers.of_moments(moments)


def _nobody(X: Array) -> AttackBall:
    return AttackBall(2, np.zeros(X.shape[0]), X.shape[1])


def _everyone(X: Array) -> AttackBall:
    """Attacks of radius 1, whose inequalities are in the units of the inputs."""
    return AttackBall(2, np.ones(X.shape[0]), X.shape[1])
