"""The polynomial problems in cvxpy, formula by formula: the reference that tests compare the vectorised forms with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.problems.polynomial.assembly import Task

if TYPE_CHECKING:
    import cvxpy


def reference_problem(tasks: Sequence[Task]) -> "cvxpy.Problem":
    """The tasks, as `StandardSDP` and `AdversarialSDP` state them, in cvxpy, added up."""
    import cvxpy

    reference = _binary(tasks[0])
    for task in tasks[1:]:
        other = _binary(task)
        objective = cvxpy.Minimize(reference.objective.args[0] + other.objective.args[0])
        reference = cvxpy.Problem(objective, reference.constraints + other.constraints)
    return reference


def _binary(task: Task) -> "cvxpy.Problem":
    import cvxpy

    n, d = task.X.shape
    a, b, c = task.activation
    S = task.attack.spanned(None) if task.attack.own_axes else np.eye(d)
    q = S.shape[1]
    Z, Zp = cvxpy.Variable((d + 1, d + 1), PSD=True), cvxpy.Variable((d + 1, d + 1), PSD=True)
    T = Z - Zp
    constraints: list[Any] = [cvxpy.trace(M[:d, :d]) == M[d, d] for M in (Z, Zp)]
    values: list[cvxpy.Expression] = []
    targets = not task.loss.margin

    def worst(y: float, r: float, half_gradient: Any, f: Any) -> Any:
        """The smallest ``y f`` over a ball, or its image under S."""
        w, lam = cvxpy.Variable(), cvxpy.Variable(nonneg=True)
        border = cvxpy.reshape(y * S.T @ half_gradient, (q, 1), order="C")
        corner = cvxpy.reshape(-lam * r**2 + y * f - w, (1, 1), order="C")
        block = lam * np.eye(q) + y * a * S.T @ T[:d, :d] @ S
        constraints.append(cvxpy.bmat([[block, border], [border.T, corner]]) >> 0)
        return w

    for x, y, r in zip(task.X, task.target, task.attack.radius, strict=True):
        half_gradient = a * T[:d, :d] @ x + 0.5 * b * T[:d, d]
        f = a * cvxpy.sum(cvxpy.multiply(T[:d, :d], np.outer(x, x))) + b * x @ T[:d, d] + c * T[d, d]
        if r == 0.0:
            values.append(f if targets else y * f)
        elif targets:
            residual = cvxpy.Variable()
            above, below = (sign * worst(sign, r, half_gradient, f) for sign in (-1.0, 1.0))
            constraints += [residual >= above - y, residual >= y - below]
            values.append(y + residual)
        else:
            values.append(worst(y, r, half_gradient, f))
    losses = task.loss.expression(cvxpy.hstack(values), task.target)
    objective = cvxpy.sum(losses) / n + task.beta * (Z[d, d] + Zp[d, d])
    return cvxpy.Problem(cvxpy.Minimize(objective), constraints)
