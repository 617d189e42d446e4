"""The dual of a conic programme as a programme of its own: the same numbers, shown to a solver from the other side."""

import numpy as np
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram, require_cones


def dual_program(program: ConicProgram) -> ConicProgram:
    """``min b'y - offset  s.t.  A'y = -q,  y in K*``; its optimum is the programme's, negated.

    Equations come first, then the cones in their order. So what is a matrix inequality in the programme is a matrix
    variable here, and a programme without a feasible point becomes one without a bound.

    Raises:
        UnsupportedProgramError: A cone that is neither its own dual nor Zero.
    """
    require_cones(program, {Zero, NonNegative, SecondOrder, PSD}, "the dual form")
    kept = [not isinstance(cone, Zero) for cone in program.cones]  # the dual of Zero is no constraint
    rows = np.repeat(kept, [cone.dim for cone in program.cones])
    unit = -sparse.eye_array(program.b.size, format="csr")[np.flatnonzero(rows)]
    cones = tuple(cone for cone, keep in zip(program.cones, kept, strict=True) if keep)
    return ConicProgram(
        program.b,
        sparse.vstack([program.A.T, unit], format="csc"),
        np.concatenate([-program.q, np.zeros(int(rows.sum()))]),
        (Zero(program.q.size), *cones),
        -program.offset,
    )
