"""Joint training in cvxpy, formula by formula: the reference that tests compare the vectorised form with."""

from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.core.programs.joint.program import JointProgram

if TYPE_CHECKING:
    import cvxpy


def joint_reference(program: JointProgram) -> "cvxpy.Problem":
    """The programme as `JointSDP` states it."""
    import cvxpy

    (d, K), (a, b, c) = (program.X.shape[1], program.n_classes), program.activation
    S = program.attack.spanned(None) if program.attack.own_axes else np.eye(d)
    q = S.shape[1]
    Z = [[cvxpy.Variable((d + 1, d + 1), PSD=True) for _ in range(2)] for _ in range(K)]
    constraints: list[Any] = [cvxpy.trace(M[:d, :d]) == M[d, d] for pair in Z for M in pair]
    worst = cvxpy.Variable(program.n_samples)
    for x, own, sample, r in zip(program.X, program.labels, program.samples, program.attack.radius, strict=True):
        for rival in set(range(K)) - {int(own)}:
            T = (Z[own][0] - Z[own][1]) - (Z[rival][0] - Z[rival][1])
            half = a * T[:d, :d] @ x + 0.5 * b * T[:d, d]
            f = a * cvxpy.sum(cvxpy.multiply(T[:d, :d], np.outer(x, x))) + b * x @ T[:d, d] + c * T[d, d]
            if r == 0.0:
                constraints.append(f >= worst[sample])
                continue
            lam = cvxpy.Variable(nonneg=True)
            border = cvxpy.reshape(S.T @ half, (q, 1), order="C")
            corner = cvxpy.reshape(f - lam * r**2 - worst[sample], (1, 1), order="C")
            block = lam * np.eye(q) + a * S.T @ T[:d, :d] @ S
            constraints.append(cvxpy.bmat([[block, border], [border.T, corner]]) >> 0)
    losses = program.loss_function.expression(worst, np.ones(program.n_samples))
    penalty = sum(weight * (M[d, d] + N[d, d]) for weight, (M, N) in zip(program.penalties, Z, strict=True))
    return cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(losses) / program.n_samples + program.beta * penalty), constraints)
