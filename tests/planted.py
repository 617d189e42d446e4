"""Programmes whose answers are known by construction, without a reference solver to trust."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from cvxrobust.core.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic import ConicProgram
from cvxrobust.core.result import Solution, Termination

# Shuffled, so that a backend which regroups rows must also undo that.
MIXED: tuple[Cone, ...] = (
    PSD(3),
    NonNegative(4),
    Exponential(),
    SecondOrder(3),
    PSD(1),
    Zero(2),
    Exponential(),
    SecondOrder(1),
    PSD(4),
    NonNegative(2),
    Exponential(),
    SecondOrder(4),
)
SYMMETRIC = tuple(cone for cone in MIXED if not isinstance(cone, Exponential))
LINEAR = (NonNegative(25), Zero(3), NonNegative(5))


def planted_program(seed: int, cones: Sequence[Cone] = MIXED, columns: int = 8) -> tuple[ConicProgram, Solution]:
    """A programme and a solution that is optimal by Moreau's decomposition.

    The projection s of a random z and ``y = s - z`` are complementary points of the cone and its dual; b
    and q are then whatever makes both feasible.
    """
    rng = np.random.default_rng(seed)
    rows = sum(cone.dim for cone in cones)
    A = rng.standard_normal((rows, columns)) * (rng.random((rows, columns)) < 0.7)
    frame = ConicProgram(np.zeros(columns), sparse.csc_array(A), np.zeros(rows), tuple(cones))
    z = 2.0 * rng.standard_normal(rows)
    x, s = rng.standard_normal(columns), frame.project(z)
    y = s - z
    program = ConicProgram(-A.T @ y, frame.A, A @ x + s, frame.cones)
    return program, Solution(Termination.CONVERGED, x=x, s=s, y=y)


def infeasible_program() -> ConicProgram:
    """``x >= 1`` and ``x <= -1``."""
    A = sparse.csc_array(np.array([[-1.0], [1.0]]))
    return ConicProgram(np.array([1.0]), A, np.array([-1.0, -1.0]), (NonNegative(2),))


def unbounded_program() -> ConicProgram:
    """Minimise x subject to ``x <= 1``."""
    return ConicProgram(np.array([1.0]), sparse.csc_array([[1.0]]), np.array([1.0]), (NonNegative(1),))
