"""Conic programmes such as practice has them, with answers known by construction: badly scaled, degenerate, infeasible.

What collections of test problems are feared for, in small and made here: units that differ by many powers of ten,
points where neither side is strict, feasible sets without an interior, more optima than one, matrices that a solver
splits up. The planted programmes (`planted`) have none of that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero, smat, svec
from cvxrobust.core.conic.dual import dual_program
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.testing.planted import infeasible_program, planted_program, readable, unbounded_program

Array = NDArray[np.float64]

HARD: tuple[Cone, ...] = (PSD(5), NonNegative(6), SecondOrder(4), PSD(3), Zero(1), NonNegative(3))
"""Cones that are their own duals, or nothing's, so that each programme has an equality form."""

SPREAD = 3.0
"""Units differ by up to so many powers of ten, either way."""


@dataclass(frozen=True)
class HardProgram:
    """A programme and what is true of it.

    Args:
        program: The programme.
        optimum: Its optimal value; None where it has none.
        verdict: What it is, then.
    """

    program: ConicProgram
    optimum: float | None = None
    verdict: Termination = Termination.CONVERGED


def hard_program(kind: str, supported: frozenset[type], equality_form: bool = False, seed: int = 0) -> HardProgram:
    """One of the `KINDS_OF_HARD`, of those of the `HARD` cones that a backend reads.

    Args:
        kind: Which.
        supported: Cone types to make it of.
        equality_form: Make the dual of it, where a solver meets matrix variables and equations instead.
        seed: Seed of the numbers.
    """
    made = KINDS_OF_HARD[kind](readable(HARD, supported), seed)
    if not equality_form:
        return made
    turned = {Termination.INFEASIBLE: Termination.UNBOUNDED, Termination.UNBOUNDED: Termination.INFEASIBLE}
    optimum = None if made.optimum is None else -made.optimum
    return HardProgram(dual_program(made.program), optimum, turned.get(made.verdict, made.verdict))


def rescaled(program: ConicProgram, seed: int, spread: float = SPREAD) -> ConicProgram:
    """The same programme in other units, which leave its optimum and its cones as they are."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([np.empty(0), *(_units(cone, rng, spread) for cone in program.cones)])
    columns = 10.0 ** rng.uniform(-spread, spread, program.q.size)
    A = sparse.diags_array(rows) @ program.A @ sparse.diags_array(columns)
    return ConicProgram(columns * program.q, sparse.csc_array(A), rows * program.b, program.cones, program.offset)


def _units(cone: Cone, rng: np.random.Generator, spread: float) -> Array:
    """Factors of a cone's rows that map it onto itself."""
    match cone:
        case PSD():
            t = 10.0 ** rng.uniform(-0.5 * spread, 0.5 * spread, cone.order)
            indices = np.triu_indices(cone.order)  # svec's lower triangle by columns
            return np.asarray(t[indices[0]] * t[indices[1]])
        case SecondOrder() | Exponential():
            return np.full(cone.dim, 10.0 ** rng.uniform(-spread, spread))
        case _:
            return np.asarray(10.0 ** rng.uniform(-spread, spread, cone.dim))


def _badly_scaled(cones: Sequence[Cone], seed: int) -> HardProgram:
    program, planted = planted_program(seed, cones)
    return HardProgram(rescaled(program, seed), _value(program, planted.x))


def _without_strictness(cones: Sequence[Cone], seed: int) -> HardProgram:
    """Slack and multiplier vanish in the same directions, so interior points lose half of their digits there."""
    rng = np.random.default_rng(seed)
    s, y = (np.concatenate([_corner(cone, side) for cone in cones]) for side in (0, 1))
    A = rng.standard_normal((s.size, 6))
    x = rng.standard_normal(6)
    program = ConicProgram(-A.T @ y, sparse.csc_array(A), A @ x + s, tuple(cones))
    return HardProgram(program, _value(program, x))


def _corner(cone: Cone, side: int) -> Array:
    """Of rank one, on either side another one: what is left belongs to neither."""
    unit = np.zeros(cone.dim)
    match cone:
        case PSD():
            matrix = np.zeros((cone.order, cone.order))
            matrix[side, side] = 1.0
            return svec(matrix)
        case Zero():
            return np.full(cone.dim, float(side))
        case SecondOrder():
            return unit  # the apex, on both sides
        case _:
            unit[side] = 1.0
            return unit


def _without_interior(cones: Sequence[Cone], seed: int) -> HardProgram:
    """Equations written as pairs of inequalities: multipliers may be as large as they like."""
    program, planted = planted_program(seed, cones)
    assert planted.x is not None
    G = np.random.default_rng(seed).standard_normal((2, program.q.size))
    b = G @ planted.x
    A = sparse.vstack([program.A, sparse.csc_array(G), sparse.csc_array(-G)], format="csc")
    wider = ConicProgram(program.q, A, np.concatenate([program.b, b, -b]), (*program.cones, NonNegative(4)))
    return HardProgram(wider, _value(program, planted.x))


def _with_many_optima(cones: Sequence[Cone], seed: int) -> HardProgram:
    """Every unknown comes twice, so that optimal points reach to infinity, and some rows do."""
    program, planted = planted_program(seed, cones)
    twice = sparse.hstack([program.A, program.A], format="csc")
    again = [k for k, cone in enumerate(program.cones) if isinstance(cone, NonNegative | Zero)]
    rows = np.concatenate([np.arange(program.b.size), *(np.arange(s.start, s.stop) for s in _at(program, again))])
    kept = (*program.cones, *(program.cones[k] for k in again))
    copied = ConicProgram(np.tile(program.q, 2), sparse.csc_array(twice[rows]), program.b[rows], kept)
    return HardProgram(copied, _value(program, planted.x))


def _at(program: ConicProgram, numbers: Sequence[int]) -> list[slice]:
    return [program.blocks[k] for k in numbers]


STATES, RANK, GAIN = 4, 2, 50.0


def _of_control(cones: Sequence[Cone], seed: int, coupling: float = 1.0) -> HardProgram:
    """A Lyapunov inequality with entries from 1 to some thousands, and a corner that is zero off its diagonal.

    ``[[-P A - A'P - C'D C, -P B], [-B'P, D]] - t I + M`` psd and ``P + N`` psd for P symmetric and D diagonal. At the
    optimum the slack is ``[[W + Z E^-1 Z', Z], [Z', E]]`` with E diagonal and W not of full rank; `coupling` is the
    size of Z, and that of the multipliers grows with its square. A solver that splits sparse matrices solves
    another programme.
    """
    if not any(isinstance(cone, PSD) for cone in cones):
        return _badly_scaled(cones, seed)
    rng, n = np.random.default_rng(seed), STATES
    A, B, C = (GAIN * rng.standard_normal((n, n)) for _ in range(3))

    def column(P: Array, D: Array, t: float) -> Array:
        block = np.block([[-P @ A - A.T @ P - C.T @ D @ C, -P @ B], [-B.T @ P, D]])
        return np.concatenate([svec(block - t * np.eye(2 * n)), svec(P)])

    none, units = np.zeros((n, n)), np.eye(PSD(n).dim)
    F = np.stack(
        [column(smat(unit), none, 0.0) for unit in units]
        + [column(none, np.diag(unit), 0.0) for unit in np.eye(n)]
        + [column(none, none, 1.0)],
        axis=1,
    )
    x = np.asarray(rng.standard_normal(F.shape[1]))
    Z = coupling * rng.standard_normal((n, n))
    diagonal = 10.0 ** rng.uniform(-1, 1, n)
    W, flat = _singular(rng, n)
    below = Z.T / diagonal[:, None]
    slack = np.block([[W + Z @ below, Z], [Z.T, np.diag(diagonal)]])
    other, other_flat = _singular(rng, n)
    s = np.concatenate([svec(slack), svec(other)])
    y = np.concatenate([svec(_of_columns(rng, np.vstack([flat, -below @ flat]))), svec(_of_columns(rng, other_flat))])
    program = ConicProgram(F.T @ y, sparse.csc_array(-F), s - F @ x, (PSD(2 * n), PSD(n)))
    return HardProgram(program, _value(program, x))


def _singular(rng: np.random.Generator, order: int) -> tuple[Array, Array]:
    """A psd matrix, and a basis of what it takes to zero."""
    root = rng.standard_normal((order, order - RANK))
    return root @ root.T, np.linalg.svd(root)[0][:, order - RANK :]


def _of_columns(rng: np.random.Generator, columns: Array) -> Array:
    """A psd matrix in their span."""
    root = columns @ rng.standard_normal((RANK, RANK))
    return np.asarray(root @ root.T)


def _with_huge_multipliers(cones: Sequence[Cone], seed: int) -> HardProgram:
    """Directions that all but prove it unbounded: only multipliers of size 1e6 stand against them."""
    return _of_control(cones, seed, coupling=100.0)


def _infeasible(cones: Sequence[Cone], seed: int) -> HardProgram:
    return HardProgram(rescaled(infeasible_program(cones, seed), seed, 2.0), verdict=Termination.INFEASIBLE)


def _unbounded(cones: Sequence[Cone], seed: int) -> HardProgram:
    return HardProgram(rescaled(unbounded_program(cones, seed), seed, 2.0), verdict=Termination.UNBOUNDED)


def _value(program: ConicProgram, x: Array | None) -> float:
    assert x is not None
    return float(program.q @ x)


KINDS_OF_HARD: Mapping[str, Callable[[Sequence[Cone], int], HardProgram]] = {
    "badly scaled": _badly_scaled,
    "without strict complementarity": _without_strictness,
    "without an interior": _without_interior,
    "with many optima": _with_many_optima,
    "of control": _of_control,
    "with huge multipliers": _with_huge_multipliers,
    "infeasible in bad units": _infeasible,
    "unbounded in bad units": _unbounded,
}
