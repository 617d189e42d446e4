"""Training against boxes in cvxpy, formula by formula: the reference that tests compare the vectorised form with."""

from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.core.programs.boxes.program import BoxProgram

if TYPE_CHECKING:
    import cvxpy


def box_reference(program: BoxProgram) -> "cvxpy.Problem":
    """The programme as `BoxSDP` states it, its columns added up."""
    import cvxpy

    parts = [_binary(program, column) for column in program.labels.T]
    objective = cvxpy.Minimize(sum(part.objective.args[0] for part in parts))
    return cvxpy.Problem(objective, [constraint for part in parts for constraint in part.constraints])


def _binary(program: BoxProgram, labels: Any) -> "cvxpy.Problem":
    import cvxpy

    (n, d), (a, b, c) = program.X.shape, program.activation
    Z, Zp = cvxpy.Variable((d + 1, d + 1), PSD=True), cvxpy.Variable((d + 1, d + 1), PSD=True)
    T, worst = Z - Zp, cvxpy.Variable(n)
    constraints: list[Any] = [cvxpy.trace(M[:d, :d]) == M[d, d] for M in (Z, Zp)]
    for i, (x, width, y) in enumerate(zip(program.X, program.boxes.widths, labels, strict=True)):
        half = a * T[:d, :d] @ x + 0.5 * b * T[:d, d]
        f = a * cvxpy.sum(cvxpy.multiply(T[:d, :d], np.outer(x, x))) + b * x @ T[:d, d] + c * T[d, d]
        free = np.flatnonzero(width > 0.0)
        if free.size == 0:
            constraints.append(y * f >= worst[i])
            continue
        lam, W = cvxpy.Variable(free.size, nonneg=True), np.eye(d)[:, free] * width[free]
        border = cvxpy.reshape(y * W.T @ half, (free.size, 1), order="C")
        corner = cvxpy.reshape(y * f - cvxpy.sum(lam) - worst[i], (1, 1), order="C")
        constraints.append(
            cvxpy.bmat([[cvxpy.diag(lam) + y * a * W.T @ T[:d, :d] @ W, border], [border.T, corner]]) >> 0
        )
    losses = program.loss_function.expression(worst, labels)
    return cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(losses) / n + program.beta * (Z[d, d] + Zp[d, d])), constraints)
