"""Regating: better gates for a one-sided programme at the point that it has reached.

Every row of gates gives a valid lower bound of its sample's margin (see `cvxrobust.core.programs.gated.evaluation`), so
each sample may pick, among any rows, the one whose bound is largest at the present point. The present row is always
among them: the value there cannot rise, and neither can the optimum. Repeated, this is a convex-concave procedure that
starts from the optimum of a convex programme (Lipp and Boyd 2016, *Variations and extension of the convex-concave
procedure*, Optim. Eng. 17).
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.programs.gated.evaluation import harmful, values
from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]

WORTHWHILE = 1e-9
"""A margin must gain more than this for its sample to change gates: smaller gains are rounding, and would never end."""


def regated(program: GatedProgram, U: Array) -> NDArray[np.bool_] | None:
    """Gates, shape (n, K), under which no margin is smaller at U; None if no sample gains by changing.

    Tried for every sample: for its helpful slots the present gates or the signs of ``x_i'u_k``; for its harmful ones
    the present gates, these signs, 0, or the signs where the ball does not cross the boundary and 0 where it does.
    Slots that hold no neuron keep their gates.

    Args:
        program: A one-sided programme.
        U: The point, shape (K, 1, D).
    """
    u = U[:, 0]
    z = program.X @ u.T
    reach = program.attack.reaches(u)
    used = np.linalg.norm(u, axis=1) > 0.0
    signs = np.where(used, z > 0.0, program.gates)
    nothing = np.zeros_like(program.gates)
    careful = np.where(used, signs & (np.abs(z) >= reach), program.gates)
    bad = harmful(program)
    best, margins = program.gates, values(program, U)[:, 0]
    start = margins + WORTHWHILE * (1.0 + np.abs(margins))
    margins = start
    for helpful_gates in (program.gates, signs):
        for harmful_gates in (program.gates, signs, careful, np.where(used, nothing, program.gates)):
            gates = np.where(bad, harmful_gates, helpful_gates)
            found = values(replace(program, gates=gates), U)[:, 0]
            better = found > margins
            best = np.where(better[:, None], gates, best)
            margins = np.where(better, found, margins)
    return best if bool((margins > start).any()) else None
