"""The general tongue between problems and backends: conic programmes in standard form."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, Cone
from cvxrobust.core.errors import InputError, UnsupportedProgramError

Array = NDArray[np.float64]


class Iterate(Protocol):
    """What a programme asks of a solution: primal variables, slacks and dual variables, None where there are none."""

    @property
    def x(self) -> Array | None: ...  # noqa: D102

    @property
    def s(self) -> Array | None: ...  # noqa: D102

    @property
    def y(self) -> Array | None: ...  # noqa: D102


S = TypeVar("S", bound=Iterate)


@dataclass(frozen=True)
class ConicProgram:
    """``min q'x + offset  s.t.  A x + s = b,  s in K = K_1 x ... x K_m``.

    Its dual is ``max -b'y + offset  s.t.  A'y + q = 0,  y in K*``.

    Args:
        q: Costs, shape (N,).
        A: Constraint matrix, shape (M, N), sparse.
        b: Right-hand sides, shape (M,).
        cones: K's factors, in the order of the rows; their dims sum to M.
        offset: Constant added to the objective.

    Raises:
        InputError: Shapes do not agree, or an entry is not finite.
    """

    q: Array
    A: sparse.csc_array
    b: Array
    cones: tuple[Cone, ...]
    offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", np.ascontiguousarray(self.q, dtype=np.float64))
        object.__setattr__(self, "b", np.ascontiguousarray(self.b, dtype=np.float64))
        matrix = sparse.csc_array(self.A, dtype=np.float64)
        if not matrix.has_canonical_format:
            # Solvers disagree about entries that appear twice. The copy is for the caller's sake.
            matrix = matrix.copy()
            matrix.sum_duplicates()
        object.__setattr__(self, "A", matrix)
        object.__setattr__(self, "cones", tuple(self.cones))
        rows, columns = self.A.shape
        if self.q.shape != (columns,) or self.b.shape != (rows,):
            raise InputError(
                f"A has shape {self.A.shape}, so q needs shape ({columns},) and b ({rows},); "
                f"got {self.q.shape} and {self.b.shape}."
            )
        if (total := sum(cone.dim for cone in self.cones)) != rows:
            raise InputError(f"the cones take {total} rows, but A has {rows}.")
        if not (np.isfinite(self.q).all() and np.isfinite(self.b).all() and np.isfinite(self.A.data).all()):
            raise InputError("q, A and b must be finite; check the data for NaN, inf or overflow.")

    @property
    def blocks(self) -> tuple[slice, ...]:
        """The rows of each cone."""
        ends = np.cumsum([0, *(cone.dim for cone in self.cones)])
        return tuple(slice(int(start), int(stop)) for start, stop in pairwise(ends))

    def project(self, z: Array) -> Array:
        """The nearest point of K to `z`, shape (M,)."""
        return _blockwise([cone.project(z[rows]) for cone, rows in zip(self.cones, self.blocks, strict=True)])

    def project_dual(self, z: Array) -> Array:
        """The nearest point of the dual cone to `z`, shape (M,)."""
        return _blockwise([cone.project_dual(z[rows]) for cone, rows in zip(self.cones, self.blocks, strict=True)])

    def dimacs_errors(self, solution: Iterate) -> tuple[float, ...]:
        """The six DIMACS errors of a solution, NaN where it lacks what they need.

        In order: primal residual, distance of s to K, dual residual, distance of y to K*, relative duality
        gap, relative complementarity (Mittelmann 2003, *An independent benchmarking of SDP and SOCP solvers*,
        Math. Program. 95, with the dual written for this standard form).
        """
        nan = float("nan")
        primal = distance_s = dual = distance_y = gap = complementarity = nan
        # Solvers mark what they have not got by NaN, and no eigenvalue routine takes that.
        x, s, y = (
            part if part is not None and np.isfinite(part).all() else None
            for part in (solution.x, solution.s, solution.y)
        )
        size_b = 1.0 + float(np.abs(self.b).max(initial=0))
        size_q = 1.0 + float(np.abs(self.q).max(initial=0))
        if x is not None and s is not None:
            primal = float(np.linalg.norm(self.A @ x + s - self.b)) / size_b
            distance_s = _distance(s, self.project) / size_b
        if y is not None:
            dual = float(np.linalg.norm(self.A.T @ y + self.q)) / size_q
            distance_y = _distance(y, self.project_dual) / size_q
        if x is not None and y is not None and s is not None:
            primal_value, dual_value = float(self.q @ x), -float(self.b @ y)
            scale = 1.0 + abs(primal_value) + abs(dual_value)
            gap, complementarity = (primal_value - dual_value) / scale, float(s @ y) / scale
        return primal, distance_s, dual, distance_y, gap, complementarity


def _distance(point: Array, project: Callable[[Array], Array]) -> float:
    """How far a point is from its projection; NaN where it is so large that there is none."""
    try:
        return float(np.linalg.norm(point - project(point)))
    except np.linalg.LinAlgError:
        return float("nan")


def require_cones(program: ConicProgram, supported: Collection[type], backend: str) -> None:
    """Refuse a programme with cones that a backend cannot read.

    Raises:
        UnsupportedProgramError: Names the missing cones and what the backend does read.
    """
    require_cone_types({type(cone) for cone in program.cones}, supported, backend)


def require_cone_types(needed: Collection[type], supported: Collection[type], backend: str) -> None:
    """`require_cones` for cone types that are known before there is a programme.

    Raises:
        UnsupportedProgramError: Names the missing cones and what the backend does read.
    """
    missing = sorted(cone.__name__ for cone in needed if cone not in supported)
    if missing:
        readable = ", ".join(sorted(cone.__name__ for cone in supported)) or "none"
        raise UnsupportedProgramError(
            f"backend {backend!r} cannot read the cones {', '.join(missing)} of this programme "
            f"(it reads {readable}); choose a backend that does, see `cvxrobust backends list`."
        )


def row_order(program: ConicProgram, order: Sequence[type]) -> tuple[NDArray[np.intp], tuple[Cone, ...]]:
    """Rows and cones grouped by type, for solvers that demand a fixed order of cones.

    Args:
        program: The programme.
        order: The cone types in the order wanted; all of the programme's must appear.

    Returns:
        `rows` with ``A[rows]`` in the order wanted, and the cones in that order.
    """
    ranked = sorted(range(len(program.cones)), key=lambda k: order.index(type(program.cones[k])))
    blocks = program.blocks
    rows = [np.arange(blocks[k].start, blocks[k].stop) for k in ranked]
    return (
        np.concatenate(rows).astype(np.intp) if rows else np.empty(0, dtype=np.intp),
        tuple(program.cones[k] for k in ranked),
    )


def join_programs(programs: Sequence[ConicProgram]) -> ConicProgram:
    """Independent programmes as one: the sum of their objectives, block-diagonal constraints."""
    return ConicProgram(
        np.concatenate([program.q for program in programs]),
        sparse.block_diag([program.A for program in programs], format="csc"),
        np.concatenate([program.b for program in programs]),
        tuple(cone for program in programs for cone in program.cones),
        sum(program.offset for program in programs),
    )


def split_solution(solution: S, programs: Sequence[ConicProgram]) -> list[S]:
    """The solutions of the programmes that `join_programs` joined."""
    columns = np.cumsum([program.q.size for program in programs])[:-1]
    rows = np.cumsum([program.b.size for program in programs])[:-1]

    def pieces(vector: Array | None, ends: NDArray[np.intp]) -> list[Array | None]:
        return [None] * len(programs) if vector is None else list(np.split(vector, ends))

    parts = zip(pieces(solution.x, columns), pieces(solution.s, rows), pieces(solution.y, rows), strict=True)
    whole: Any = solution  # a dataclass, which its protocol cannot say
    return [replace(whole, x=x, s=s, y=y) for x, s, y in parts]


def upper_triangle_order(order: int) -> NDArray[np.intp]:
    """Positions in our svec (lower triangle by columns) of the upper triangle's entries by columns."""
    position = np.zeros((order, order), dtype=np.intp)
    columns, rows = np.triu_indices(order)
    position[rows, columns] = position[columns, rows] = np.arange(PSD(order).dim)
    lower_rows, lower_columns = np.tril_indices(order)
    return np.asarray(position[lower_columns, lower_rows])


def _blockwise(parts: list[Array]) -> Array:
    return np.concatenate(parts) if parts else np.empty(0)
