"""Conic programmes whose answers are known by construction, without a reference solver to trust."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero, svec
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.result import Solution, Termination

Array = NDArray[np.float64]

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
"""Every cone, some of them several times, shuffled: a backend that regroups rows must also undo that."""

LINEAR: tuple[Cone, ...] = (NonNegative(25), Zero(3), NonNegative(5))
"""What every solver reads."""

KINDS: Mapping[str, tuple[Cone, ...]] = {
    "Zero": (Zero(2), NonNegative(9), Zero(1), NonNegative(8), Zero(3)),
    "NonNegative": (NonNegative(12), NonNegative(1), NonNegative(7)),
    "SecondOrder": (SecondOrder(4), SecondOrder(1), SecondOrder(2), SecondOrder(7), SecondOrder(3)),
    "PSD": (PSD(2), PSD(4), PSD(1), PSD(3)),
    "Exponential": (Exponential(), Exponential(), Exponential(), Exponential(), Exponential()),
}
"""One kind of cone at a time, in several sizes, so that an error in its translation has nowhere to hide."""


def readable(cones: Sequence[Cone], supported: frozenset[type]) -> tuple[Cone, ...]:
    """Those of the cones that a backend reads, in their order."""
    return tuple(cone for cone in cones if type(cone) in supported)


def planted_program(seed: int, cones: Sequence[Cone] = MIXED, columns: int = 8) -> tuple[ConicProgram, Solution]:
    """A programme and a solution that is optimal by Moreau's decomposition.

    The projection s of a random z and ``y = s - z`` are complementary points of the cone and its dual; b and q are
    then whatever makes both feasible.

    Args:
        seed: Seed of the numbers.
        cones: The cones, in the order of the rows.
        columns: Unknowns.

    Returns:
        The programme, and an optimal primal and dual solution of it.
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


def infeasible_program(cones: Sequence[Cone] = (NonNegative(2),), seed: int = 0, columns: int = 3) -> ConicProgram:
    """A programme without a feasible point, whose dual is feasible.

    With a point y inside the dual cone, ``A'y = 0`` and ``b = -y`` make y a certificate of infeasibility (a theorem of
    alternatives): no s in K satisfies ``y's = y'(b - A x) = -||y||^2 < 0``.

    Args:
        cones: The cones.
        seed: Seed of the numbers.
        columns: Unknowns; fewer where there are not enough rows.
    """
    rng = np.random.default_rng(seed)
    y = np.concatenate([_inside_the_dual(cone) for cone in cones])
    A = rng.standard_normal((y.size, min(columns, y.size - 1)))
    A -= np.outer(y, y @ A) / (y @ y)
    return ConicProgram(rng.standard_normal((A.shape[1],)), sparse.csc_array(A), -y, tuple(cones))


def unbounded_program(cones: Sequence[Cone] = (NonNegative(1),), seed: int = 0, columns: int = 3) -> ConicProgram:
    """A feasible programme without a lower bound: along a direction d the slack grows inwards and the cost falls.

    Args:
        cones: The cones.
        seed: Seed of the numbers.
        columns: Unknowns.
    """
    rng = np.random.default_rng(seed)
    inside = np.concatenate([_inside(cone) for cone in cones])
    d = rng.standard_normal(columns)
    A = rng.standard_normal((inside.size, columns))
    A -= np.outer(A @ d + inside, d) / (d @ d)  # so that A d = -inside
    return ConicProgram(-d, sparse.csc_array(A), inside, tuple(cones))


def _inside(cone: Cone) -> Array:
    """A point in the relative interior of a cone."""
    match cone:
        case SecondOrder():
            return np.eye(1, cone.dim).ravel()
        case PSD():
            return svec(np.eye(cone.order))
        case Exponential():
            return np.array([0.0, 1.0, 2.0])
        case NonNegative():
            return np.ones(cone.dim)
        case _:
            return np.zeros(cone.dim)


def _inside_the_dual(cone: Cone) -> Array:
    """A point inside a dual cone."""
    match cone:
        case Zero():
            return np.ones(cone.dim)
        case Exponential():
            return np.array([-1.0, 0.0, 1.0])  # u < 0 and -u exp(v / u) <= e w, strictly
        case _:
            return _inside(cone)
