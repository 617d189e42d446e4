"""A reader of the Conic Benchmark Format that shares no code with whatever wrote the file.

Written from the format's description (Friberg 2016, *CBLIB 2014: a benchmark library for conic mixed-integer and
continuous optimization*, Math. Program. Comp. 8, with its reference manual; the MOSEK manuals repeat it as "The CBF
Format"). A file describes

    min or max  c'x + sum_j <C_j, X_j> + c0
    subject to  sum_j <F_ij, X_j> + a_i'x + b_i,  taken together by cones   (CON)
                sum_j x_j H_ij + D_i  positive semidefinite                 (PSDCON)
                x in a product of cones (VAR),  X_j positive semidefinite   (PSDVAR)

`read` gives the numbers, with every symmetric matrix as a vector of its own; `to_conic` makes a `ConicProgram` of them
and keeps what is needed to translate its solution back.

Anything that is not understood is an error, so that a test cannot pass over it. Only the first instance of a file is
read: what follows CHANGE is another one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from solver_files.cbf_blocks import COORDINATES, Blocks, CBFError, blocks

from cvxrobust.core.conic.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram

Array = NDArray[np.float64]
ROOT2 = 2.0**0.5


@dataclass(frozen=True)
class CBF:
    """One instance, symmetric matrices stacked as vectors.

    The variables are ``v = (x, svec X_1, svec X_2, ...)`` and the rows ``G v + h = (scalar constraints in the file's
    order, svec of the first matrix constraint, ...)``. `svec` is the lower triangle by columns, off the diagonal
    times sqrt(2), so that inner products of matrices are those of their vectors.

    Args:
        version: The number after VER.
        maximise: Whether OBJSENSE is MAX.
        variables: Cone names and sizes of the scalar variables, in order.
        constraints: Cone names and sizes of the scalar constraints, in order.
        psd_variables: Orders of the matrix variables.
        psd_constraints: Orders of the matrix constraints.
        integers: Indices of the scalar variables that must be integers.
        powers: Parameters of power cones, by ``"POWCONES"`` and ``"POW*CONES"``.
        c: Costs of v.
        offset: Constant of the objective.
        G: Coefficients of the rows.
        h: Constants of the rows.
    """

    version: int
    maximise: bool
    variables: tuple[tuple[str, int], ...]
    constraints: tuple[tuple[str, int], ...]
    psd_variables: tuple[int, ...]
    psd_constraints: tuple[int, ...]
    integers: tuple[int, ...]
    powers: Mapping[str, tuple[tuple[float, ...], ...]]
    c: Array
    offset: float
    G: sparse.csr_array
    h: Array


def read(path: str | Path) -> CBF:
    """The instance in a file.

    Raises:
        CBFError: Says in which block and why.
    """
    return parse(Path(path).read_text(encoding="utf-8"))


def parse(text: str) -> CBF:
    """The instance in a text; see `read`."""
    found = blocks(text)
    if found.version is None or found.maximise is None:
        raise CBFError("VER and OBJSENSE must be there.")
    return _assembled(found)


def _assembled(found: Blocks) -> CBF:
    """Put the coordinates where they belong."""
    variables, constraints = found.scalar.get("VAR", ()), found.scalar.get("CON", ())
    psd_variables, psd_constraints = found.orders.get("PSDVAR", ()), found.orders.get("PSDCON", ())
    columns, rows = _Layout(variables, psd_variables), _Layout(constraints, psd_constraints)

    def entries(word: str) -> tuple[list[NDArray[np.intp]], Array]:
        places, values = found.entries.get(word, (np.zeros((0, COORDINATES[word]), dtype=np.intp), np.zeros(0)))
        return list(places.T), values

    def placed(parts: list[tuple[list[NDArray[np.intp]], Array]], shape: tuple[int, ...]) -> sparse.coo_array:
        where = [np.concatenate([part[0][k] for part in parts]) for k in range(len(shape))]
        if np.unique(np.ravel_multi_index(tuple(where), shape)).size < where[0].size:
            raise CBFError("an entry is given twice.")
        return sparse.coo_array((np.concatenate([part[1] for part in parts]), tuple(where)), shape=shape)

    (j,), a = entries("OBJACOORD")
    (matrix, p, q), F = entries("OBJFCOORD")
    costs = [([columns.scalar(j)], a), ([columns.entry(matrix, p, q)], F * _weights(p, q))]
    (i, j), a = entries("ACOORD")
    (r, matrix, p, q), F = entries("FCOORD")
    (s, k, u, v), H = entries("HCOORD")
    (m,), b = entries("BCOORD")
    (t, f, g), D = entries("DCOORD")
    coefficients = [
        ([rows.scalar(i), columns.scalar(j)], a),
        ([rows.scalar(r), columns.entry(matrix, p, q)], F * _weights(p, q)),
        ([rows.entry(s, u, v), columns.scalar(k)], H * _weights(u, v)),
    ]
    constants = [([rows.scalar(m)], b), ([rows.entry(t, f, g)], D * _weights(f, g))]
    assert found.version is not None
    return CBF(
        found.version,
        bool(found.maximise),
        variables,
        constraints,
        psd_variables,
        psd_constraints,
        tuple(columns.scalar(np.array(found.integers, dtype=np.intp)).tolist()),
        found.powers,
        placed(costs, (columns.total,)).toarray(),
        float(entries("OBJBCOORD")[1].sum()),
        sparse.csr_array(placed(coefficients, (rows.total, columns.total))),
        placed(constants, (rows.total,)).toarray(),
    )


def _weights(i: NDArray[np.intp], j: NDArray[np.intp]) -> Array:
    return np.where(i == j, 1.0, ROOT2)


class _Layout:
    """Where scalars and the entries of matrices are in one long vector."""

    def __init__(self, cones: tuple[tuple[str, int], ...], orders: tuple[int, ...]) -> None:
        self.scalars = sum(size for _, size in cones)
        self.orders = np.array(orders, dtype=np.intp)
        sizes = self.orders * (self.orders + 1) // 2
        self.starts = self.scalars + np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
        self.total = int(self.starts[-1])

    def scalar(self, index: NDArray[np.intp]) -> NDArray[np.intp]:
        if ((index < 0) | (index >= self.scalars)).any():
            raise CBFError(f"an index is not below {self.scalars}, the number of scalars.")
        return index

    def entry(self, matrix: NDArray[np.intp], i: NDArray[np.intp], j: NDArray[np.intp]) -> NDArray[np.intp]:
        """Places of matrix entries in either triangle."""
        if ((matrix < 0) | (matrix >= self.orders.size)).any():
            raise CBFError(f"an index is not below {self.orders.size}, the number of matrices.")
        row, column, order = np.maximum(i, j), np.minimum(i, j), self.orders[matrix]
        if ((column < 0) | (row >= order)).any():
            raise CBFError("an entry is outside its matrix.")
        return self.starts[matrix] + column * order - column * (column - 1) // 2 + row - column


@dataclass(frozen=True)
class Conic:
    """A file's instance as a `ConicProgram`, with the way back.

    With ``g = (rows G v + h of the file, v)``, the programme's slacks are ``s = T g``; so a dual y of the programme is
    the dual ``T'y`` of g, in the sign that makes ``c - [G; I]' T'y = 0`` (`sense` times the file's costs for c).

    Args:
        program: Its variables are v.
        sense: 1 where the file minimises, -1 where it maximises: the programme always minimises.
        T: From g to the slacks.
        cbf: The instance.
    """

    program: ConicProgram
    sense: int
    T: sparse.csr_array
    cbf: CBF

    def objective(self, v: Array) -> float:
        """The file's objective at v, in the file's sense."""
        return float(self.cbf.c @ v) + self.cbf.offset

    def duals(self, y: Array) -> tuple[Array, Array]:
        """The duals of the file's rows and of its variables v, from those of the programme."""
        both = self.T.T @ y
        return both[: self.cbf.h.size], both[self.cbf.h.size :]


def to_conic(cbf: CBF) -> Conic:
    """The continuous programme of an instance.

    Raises:
        CBFError: It has integers, or a cone that `ConicProgram` cannot express.
    """
    if cbf.integers:
        raise CBFError("the instance has integer variables.")
    psd_rows = [("PSD", order) for order in cbf.psd_constraints]
    psd_columns = [("PSD", order) for order in cbf.psd_variables]
    made = [_domain(name, size) for name, size in (*cbf.constraints, *psd_rows, *cbf.variables, *psd_columns)]
    nothing = sparse.csr_array((0, 0))  # SciPy stacks no empty lists
    T = sparse.csr_array(sparse.block_diag([nothing, *(block for block, _ in made)], format="csr"))
    everything = sparse.vstack([cbf.G, sparse.eye_array(cbf.c.size)])
    constants = np.concatenate([cbf.h, np.zeros(cbf.c.size)])
    sense = -1 if cbf.maximise else 1
    cones = tuple(cone for _, cone in made if cone is not None)
    A = sparse.csc_array(-(T @ everything))
    A.eliminate_zeros()
    return Conic(ConicProgram(sense * cbf.c, A, T @ constants, cones, sense * cbf.offset), sense, T, cbf)


def _rotation(size: int) -> Array:
    """From ``2 g0 g1 >= |g2...|^2`` to ``s0 >= |s1...|``."""
    T = np.eye(size)
    T[:2, :2] = np.array([[1.0, 1.0], [1.0, -1.0]]) / ROOT2
    return T


# EXP is {g0 >= g1 exp(g2 / g1)}, ours {s2 >= s1 exp(s0 / s1)}. Its dual, {g0 >= -g2 exp(g1 / g2 - 1)}, becomes ours by
# s = (g2 - g1, -g2, g0), for then s1 exp(s0 / s1) = -g2 exp(g1 / g2 - 1).
_EXPONENTIAL = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
_DUAL_EXPONENTIAL = np.array([[0.0, -1.0, 1.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])

Block = tuple[Any, Cone | None]
DOMAINS: dict[str, Callable[[int], Block]] = {
    "F": lambda size: (sparse.csr_array((0, size)), None),
    "L=": lambda size: (sparse.eye_array(size), Zero(size)),
    "L+": lambda size: (sparse.eye_array(size), NonNegative(size)),
    "L-": lambda size: (-sparse.eye_array(size), NonNegative(size)),
    "Q": lambda size: (sparse.eye_array(size), SecondOrder(size)),
    "QR": lambda size: (_rotation(size), SecondOrder(size)),
    "EXP": lambda size: (_EXPONENTIAL, Exponential()),
    "EXP*": lambda size: (_DUAL_EXPONENTIAL, Exponential()),
    "PSD": lambda order: (sparse.eye_array(PSD(order).dim), PSD(order)),
    "SVECPSD": lambda size: (sparse.eye_array(size), PSD(int(((8 * size + 1) ** 0.5 - 1) / 2 + 0.5))),
}


def _domain(name: str, size: int) -> Block:
    if name not in DOMAINS:
        raise CBFError(f"no cone of a ConicProgram expresses {name}.")
    if size < {"QR": 2, "Q": 1}.get(name, 0):
        raise CBFError(f"cone {name} cannot have size {size}.")
    block, cone = DOMAINS[name](size)
    columns = PSD(size).dim if name == "PSD" else size
    if block.shape[1] != columns or (cone is not None and cone.dim != block.shape[0]):
        raise CBFError(f"cone {name} cannot have size {size}.")
    return block, cone
