"""Conic forms of the polynomial problems, assembled with whole-array operations."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.conic.cones import PSD, Cone, NonNegative, Zero, smat, svec_indices
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.losses.base import Loss, LossBlock
from cvxrobust.core.programs.polynomial.certificate import PointMultipliers
from cvxrobust.core.programs.polynomial.recovery import attacks_from_moments
from cvxrobust.problems.polynomial.matrix_variables import Frame, FullFrame, MatrixVariables, features

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Task:
    """One binary (or regression) training task: what assembly needs to know of a problem."""

    X: Array
    target: Array
    attack: AttackBall
    loss: Loss
    activation: tuple[float, float, float]
    beta: float

    @property
    def signs(self) -> Array:
        """Labels as signs of the output; all +1 where the target is a number."""
        return self.target if self.loss.margin else np.ones_like(self.target)


@dataclass(frozen=True)
class DataRows:
    """Rows of a conic programme that hold data.

    Args:
        rows: Coefficients of the frame's variables, of those between, if any, and of the loss's, shape (m, N).
        rhs: Right-hand sides, shape (m,).
        cones: Where the slacks are, from the first row to the last.
    """

    rows: sparse.csr_array
    rhs: Array
    cones: tuple[Cone, ...]


@dataclass(frozen=True)
class Claims:
    """What outputs have to satisfy at points, or under every attack: ``sign f >= shift + lift v``, v the loss's.

    Args:
        owners: The sample that each claim is about, shape (k,).
        signs: Shape (k,).
        shift: Shape (k,).
        lift: Shape (k, number of the loss's variables).
    """

    owners: Index
    signs: Array
    shift: Array
    lift: sparse.csr_array


def claims(task: Task, block: LossBlock, owners: Index) -> Claims:
    """The claims about some samples: one each about margins; of targets two, all of the upper sides first.

    What a loss of targets sees is a residual ``lift v`` from ``shift``, the target; as it is even and grows, any bound
    of the worst residual will do: ``-f >= -shift - lift v`` and ``f >= shift - lift v``.
    """
    shift, lift = block.shift[owners], sparse.csr_array(block.lift[owners])
    if not block.equality:
        return Claims(owners, task.signs[owners], shift, lift)
    signs = np.repeat([-1.0, 1.0], owners.size)
    both = sparse.csr_array(sparse.vstack([-lift, -lift]))
    return Claims(np.concatenate([owners, owners]), signs, np.concatenate([-shift, shift]), both)


def points_program(task: Task, frame: Frame, owners: Index, points: Array) -> ConicProgram:
    """Training over finitely many points: ``sign f(x_k) >= t_owner`` for each of them.

    Variables: the frame's, then the loss's. Rows: traces, points, loss, PSD (see `point_rows`).
    """
    block = task.loss.block(task.target)
    rows = sided_rows if block.equality and task.attack.present else point_rows
    return assembled(task.beta, frame, block, 0, [rows(task, block, frame, owners, points)])


def lmi_program(task: Task, frame: FullFrame) -> ConicProgram:
    """Training against every attack: one linear matrix inequality per attacked sample and side (S-procedure).

    Variables: the frame's, lambda (one per inequality, in units of ``1 / radius^2``), the loss's. Rows: traces,
    points of the samples with radius 0, LMIs, lambda >= 0, loss, PSD.
    """
    block = task.loss.block(task.target)
    radius = task.attack.radius
    clean = np.flatnonzero(radius == 0.0)
    claimed = claims(task, block, np.flatnonzero(radius > 0.0))
    plain = point_rows(task, block, frame, clean, task.X[clean])
    k = claimed.owners.size
    none = sparse.csr_array((clean.size, k))
    spread = sparse.csr_array(sparse.hstack([plain.rows[:, : frame.size], none, plain.rows[:, frame.size :]]))
    lmi, lmi_rhs = _lmi_rows(task, claimed, frame.d)
    order = task.attack.dimension + 1
    # Without lambda >= 0 the adversary would have to use all of its radius.
    lam = sparse.hstack(
        [sparse.csr_array((k, frame.size)), -sparse.eye_array(k), sparse.csr_array((k, block.cost.size))]
    )
    groups = [
        replace(plain, rows=spread),
        DataRows(lmi, lmi_rhs, tuple(PSD(order) for _ in range(k))),
        DataRows(sparse.csr_array(lam), np.zeros(k), (NonNegative(k),)),
    ]
    return assembled(task.beta, frame, block, k, groups)


def point_rows(task: Task, block: LossBlock, frame: Frame, owners: Index, points: Array) -> DataRows:
    """Rows ``-sign F + lift``, right-hand sides ``-shift``: the slack is ``sign f - t``, its dual is theta."""
    rows = sparse.hstack([_signed_outputs(task, frame, task.signs[owners], points), block.lift[owners]], format="csr")
    cone: Cone = Zero(owners.size) if block.equality else NonNegative(owners.size)
    return DataRows(rows, -block.shift[owners], (cone,))


def sided_rows(task: Task, block: LossBlock, frame: Frame, owners: Index, points: Array) -> DataRows:
    """Rows of the claims about targets at points, the upper sides first, then the lower ones, of all points each."""
    claimed = claims(task, block, owners)
    signed = _signed_outputs(task, frame, claimed.signs, np.vstack([points, points]))
    rows = sparse.hstack([signed, claimed.lift], format="csr")
    return DataRows(rows, -claimed.shift, (NonNegative(claimed.owners.size),))


def _signed_outputs(task: Task, frame: Frame, signs: Array, points: Array) -> sparse.csr_array:
    """``-sign f`` at points, of the frame's variables."""
    F = frame.outputs(points, task.activation)
    signed = sparse.csr_array(F) * -signs[:, None] if sparse.issparse(F) else -signs[:, None] * F
    return sparse.csr_array(signed)


def _lmi_rows(task: Task, claimed: Claims, d: int) -> tuple[sparse.csr_array, Array]:
    """Rows of ``svec(M_i)`` for every claim, and their right-hand sides; see `inequality_rows`."""
    attack, X = task.attack.of(claimed.owners), task.X[claimed.owners]
    T = inequality_rows(X, claimed.signs, attack, task.activation)
    lam, lift, rhs = multiplier_rows(attack, claimed.shift, claimed.lift)
    none = sparse.csr_array((T.shape[0], PSD(d + 1).dim))
    return sparse.csr_array(sparse.hstack([T, none, lam, lift])), rhs


def inequality_rows(
    X: Array, signs: Array, attack: AttackBall, activation: tuple[float, float, float]
) -> sparse.csr_array:
    """What ``svec(M_i)`` holds of T, with the sign of rows, in coordinates D / radius_i: tiny radii stay well scaled.

    ``M_i = [[lam I + r^2 y a T_11, r y (a T_11 x + (b/2) T_12)], [., -lam + y f(x) - t]]``, y the claim's sign and t
    what it claims; in an ellipsoid ``S'`` and ``S`` stand around T_11, and S' before the border.

    Args:
        X: A sample for each inequality, shape (n, d).
        signs: Shape (n,).
        attack: Of n radii above 0.
        activation: (a, b, c).

    Returns:
        Rows one inequality after the other, columns the entries of ``svec T``.
    """
    a, b, _ = activation
    (n, d), y, r = X.shape, signs, attack.radius
    m = d + 1
    p = PSD(m).dim
    rows, columns, _ = svec_indices(m)
    place = np.zeros((m, m), dtype=np.intp)
    place[rows, columns] = place[columns, rows] = np.arange(p)
    inner = np.flatnonzero(rows < d)
    k, j = (index.ravel() for index in np.meshgrid(np.arange(d), np.arange(d), indexing="ij"))
    # In svec coordinates an off-diagonal T_kj is t / sqrt(2) and the row itself carries a factor sqrt(2).
    border = np.where(k == j, np.sqrt(2.0), 1.0)
    last = np.arange(d)
    # Each part: row within the LMI, column, values of shape (n, entries).
    ry = (r * y)[:, None]
    parts: list[tuple[Index, Index, Array]] = [
        (inner, inner, np.repeat(r[:, None] * ry * a, inner.size, axis=1)),
        (place[d, k], place[k, j], ry * a * border * X[:, j]),
        (place[d, last], place[d, last], np.repeat(ry * 0.5 * b, d, axis=1)),
        (np.full(p, p - 1), np.arange(p), y[:, None] * features(X, activation)),
    ]
    offset = (p * np.arange(n))[:, None]
    at = np.concatenate([(offset + row).ravel() for row, _, _ in parts])
    column = np.concatenate([np.broadcast_to(c, (n, c.size)).ravel() for _, c, _ in parts])
    value = np.concatenate([v.ravel() for _, _, v in parts])
    T = sparse.csr_array((-value, (at, column)), shape=(n * p, p))
    if not attack.own_axes:
        return T
    return sparse.csr_array(sparse.kron(sparse.eye_array(n), _seen(attack), format="csr") @ T)


def multiplier_rows(
    attack: AttackBall, shift: Array, lift: sparse.csr_array
) -> tuple[sparse.csr_array, sparse.csr_array, Array]:
    """The rest of these rows: columns of lam, one per inequality, those of the loss, and right-hand sides.

    Args:
        attack: Of n radii above 0.
        shift: What claims start from, shape (n,).
        lift: Their rows of the loss's variables, shape (n, number of these).
    """
    n, q = attack.radius.size, attack.dimension
    p = PSD(q + 1).dim
    rows, columns, _ = svec_indices(q + 1)
    diagonal = np.flatnonzero(rows == columns)[:q]
    offset = (p * np.arange(n))[:, None]
    lam_at = np.concatenate([(offset + diagonal).ravel(), p * np.arange(n) + p - 1])
    lam_column = np.concatenate([np.repeat(np.arange(n), q), np.arange(n)])
    lam = sparse.csr_array((np.repeat([-1.0, 1.0], [n * q, n]), (lam_at, lam_column)), shape=(n * p, n))
    corner = sparse.csr_array((np.ones(n), (p * np.arange(n) + p - 1, np.arange(n))), shape=(n * p, n))
    rhs = np.zeros(n * p)
    rhs[p - 1 :: p] = -shift
    return lam, sparse.csr_array(corner @ lift), rhs


def _seen(attack: AttackBall) -> sparse.csr_array:
    """The matrix of ``M -> E'ME`` on svec vectors, ``E = diag(S, 1)``, shape (q', d') for orders q + 1 and d + 1."""
    S = sparse.csr_array(attack.spanned(None))
    E = sparse.csr_array(sparse.block_diag([S, [[1.0]]]))
    (k, m, w), (i, j, v) = (svec_indices(order) for order in (E.shape[1], E.shape[0]))
    straight = E[i][:, k].multiply(E[j][:, m])
    crossed = E[i][:, m].multiply(E[j][:, k])
    entries = straight + sparse.diags_array((i != j).astype(np.float64)) @ crossed
    return sparse.csr_array((sparse.diags_array(1.0 / v) @ entries @ sparse.diags_array(w)).T)


def assembled(beta: float, frame: MatrixVariables, block: LossBlock, extra: int, data: list[DataRows]) -> ConicProgram:
    """Stack traces, data rows, loss rows and PSD rows; `extra` variables sit between the frame's and the loss's."""
    traces, corner = frame.trace_and_corner
    psd, psd_cones = frame.psd_rows
    width = frame.size + extra + block.cost.size

    def widen(rows: sparse.csr_array, before: int) -> sparse.csr_array:
        count, used = rows.shape
        left, right = sparse.csr_array((count, before)), sparse.csr_array((count, width - before - used))
        return sparse.csr_array(sparse.hstack([left, rows, right]))

    A = sparse.vstack(
        [widen(traces, 0), *(group.rows for group in data), widen(block.rows, frame.size + extra), widen(-psd, 0)],
        format="csc",
    )
    count = traces.shape[0]
    b = np.concatenate([np.zeros(count), *(group.rhs for group in data), block.rhs, np.zeros(psd.shape[0])])
    cones = (Zero(count), *(cone for group in data for cone in group.cones), *block.cones, *psd_cones)
    q = np.concatenate([beta * corner, np.zeros(extra), block.cost])
    return ConicProgram(q, A, b, tuple(cone for cone in cones if cone.dim), block.offset)


def attack_moments(task: Task, duals: Array) -> Array:
    """Duals of the LMIs, in our svec order one after another, as moment matrices in the coordinates of the ball.

    Args:
        task: The task; its samples with radius 0 have no LMI.
        duals: Shape (k * (q + 1)(q + 2) / 2,), k attacked samples.

    Returns:
        Shape (k, q + 1, q + 1).
    """
    q = task.attack.dimension
    moments = smat(duals.reshape(-1, PSD(q + 1).dim))
    radius = task.attack.radius[task.attack.radius > 0.0]
    moments[:, :q, :] *= radius[:, None, None]
    moments[:, :, :q] *= radius[:, None, None]
    return moments


def sided_multipliers(task: Task, clean: Array, duals: Array) -> PointMultipliers:
    """Duals of the LMIs about targets as multipliers on points: they are moments of attacks ``radius z``, z in the
    coordinates of the ball, and so sums over a few of these (`attacks_from_moments`).

    Args:
        task: The task.
        clean: Duals of its samples with radius 0.
        duals: Those of the LMIs, in our svec order one after another: the upper sides, then the lower ones.
    """
    q, radius = task.attack.dimension, task.attack.radius
    still, attacked = np.flatnonzero(radius == 0.0), np.flatnonzero(radius > 0.0)
    weights, owners, points = [clean], [still], [task.X[still]]
    moments = smat(duals.reshape(-1, PSD(q + 1).dim))
    for matrix, owner, side in zip(moments, np.tile(attacked, 2), np.repeat([-1.0, 1.0], attacked.size), strict=True):
        z, mass = attacks_from_moments(matrix)
        weights.append(side * mass)
        owners.append(np.full(mass.size, owner))
        points.append(task.X[owner] + task.attack.pushed(radius[owner] * z))
    return PointMultipliers(np.concatenate(weights), np.concatenate(owners), np.vstack(points))
