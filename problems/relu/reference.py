"""The ReLU problems in cvxpy, formula by formula: the reference that the vectorised forms can be compared with."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cvxrobust.core.programs.gated.evaluation import goals
from cvxrobust.core.programs.gated.program import GatedProgram

if TYPE_CHECKING:
    import cvxpy


def reference_problem(programs: Sequence[GatedProgram]) -> "cvxpy.Problem":
    """The programmes of `cvxrobust.core.programs.gated.evaluation` in cvxpy, added up."""
    import cvxpy

    found = [_single(program) for program in programs]
    objective = cvxpy.Minimize(sum(single.objective.args[0] for single in found))
    return cvxpy.Problem(objective, [constraint for single in found for constraint in single.constraints])


def _single(program: GatedProgram) -> "cvxpy.Problem":
    import cvxpy

    (K, C, D), n = program.shape, program.X.shape[0]
    axes, q = program.attack.axes(D).T, program.attack.geometry.dual
    boxes = np.ones((n, program.attack.dimension)) if program.attack.widths is None else program.attack.widths
    U = [cvxpy.Variable((K, D)) for _ in range(C)]
    turn = 2.0 * program.gates - 1.0
    constraints: list[cvxpy.Constraint] = []
    values = []
    for c in range(C):
        sizes = [cvxpy.norm(U[c] @ axes @ np.diag(boxes[i]), q, axis=1) for i in range(n)]
        if program.rules.constrains_gates:
            constraints += [
                cvxpy.multiply(turn[i], U[c] @ program.X[i]) >= program.attack.radius[i] * sizes[i] for i in range(n)
            ]
        for i in range(n):
            x, r = program.X[i], program.attack.radius[i]
            H = (program.gates[i] * program.signs) @ U[c]
            reach = r * cvxpy.norm(cvxpy.multiply(boxes[i], H @ axes), q)
            if not program.loss_function.margin:
                values.append(cvxpy.abs(x @ H - program.labels[i, c]) + reach)
                continue
            margin = program.labels[i, 0] * (x @ H) - reach
            if program.rules.one_sided:
                harmful = (program.labels[i, 0] * program.signs < 0.0).astype(float)
                margin -= harmful @ cvxpy.pos(cvxpy.multiply(-turn[i], U[c] @ x) + r * sizes[i])
            values.append(margin)
    losses = program.loss_function.expression(cvxpy.hstack(values), goals(program).T.ravel())
    groups = cvxpy.norm(cvxpy.hstack(U) if C > 1 else U[0], 2, axis=1)
    return cvxpy.Problem(cvxpy.Minimize(cvxpy.sum(losses) / n + program.beta * cvxpy.sum(groups)), constraints)
