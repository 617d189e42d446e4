"""Free MPS, for programmes that are linear, or turn out to be.

Written are Zero rows as equations and NonNegative rows as ``A x <= b``, with free variables x1, x2, ... and rows r1,
r2, ... in the programme's order. Second-order cones of one or two rows are polyhedral, ``t >= 0`` and ``|v| <= t``,
and become one or two inequalities. Anything else is refused: what solvers understand beyond linear rows differs from
one to the next, and CBF says it once for all. A constant in the objective is the negative right-hand side of its row.
The word FREE after the name is for the readers of COIN-OR; others take no notice.

Source: the format is as described by its readers, for example https://ergo-code.github.io/HiGHS and
https://docs.mosek.com/latest/capi/mps-format.html.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, Cone, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.formats.layout import Layout, LayoutBuilder, diagonal, nonzeros, write_lines, written_in_full

OBJECTIVE = "cost"


@dataclass(frozen=True)
class MPSLayout:
    """Where the rows of a programme stand in an MPS file.

    Args:
        rows: Its rows, in one block.
        senses: ``"E"`` or ``"L"`` for each.
    """

    rows: Layout
    senses: tuple[str, ...]


def mps_layout(program: ConicProgram) -> MPSLayout:
    """Where the rows of a programme stand in an MPS file.

    Raises:
        UnsupportedProgramError: It is not linear.
    """
    curved = sorted({type(cone).__name__ for cone in program.cones if not _polyhedral(cone)})
    if curved:
        raise UnsupportedProgramError(
            f"an MPS file holds linear programmes, but this one has cones {', '.join(curved)}; write a .cbf file, "
            "or .dat-s for semidefinite solvers."
        )
    builder, senses = LayoutBuilder(), list[str]()
    for cone, rows in zip(program.cones, program.blocks, strict=True):
        source = np.arange(rows.start, rows.stop)
        position = diagonal(rows.start, source.size)
        if cone == SecondOrder(2):
            # t + v and t - v.
            builder.add(0, position, np.tile(source, 2), np.array([1.0, 1.0, 1.0, -1.0]), np.array([0, 0, 1, 1]))
        else:
            builder.add(0, position, source)
        senses += ["E" if isinstance(cone, Zero) else "L"] * source.size
    return MPSLayout(builder.layout(program.b.size), tuple(senses))


def _polyhedral(cone: Cone) -> bool:
    return (
        isinstance(cone, Zero | NonNegative)
        or (isinstance(cone, SecondOrder | PSD) and cone.dim <= 1)
        or (isinstance(cone, SecondOrder) and cone.dim == 2)
    )


def write_mps(program: ConicProgram, path: Path) -> None:
    """Write a programme; a path that ends in .gz is compressed.

    Raises:
        UnsupportedProgramError: It is not linear.
        OSError: The file cannot be written.
    """
    found = mps_layout(program)
    rows = [f"r{k + 1}" for k in range(len(found.senses))]
    columns = [f"x{k + 1}" for k in range(program.q.size)]
    A, b = found.rows.rows @ program.A, found.rows.rows @ program.b
    with written_in_full(path) as file:
        file.write(f"* Written by cvxrobust.\nNAME cvxrobust FREE\nROWS\n N {OBJECTIVE}\n")
        if rows:
            write_lines(file, [[f" {sense}" for sense in found.senses], rows])
        file.write("COLUMNS\n")
        entries = nonzeros(sparse.vstack([sparse.csr_array(program.q[None, :]), A]), by_columns=True)
        # A variable exists by its entries: one that has none gets a cost of zero.
        silent = np.setdiff1d(np.arange(program.q.size), entries.col)
        file.writelines(f" {columns[k]} {OBJECTIVE} 0.0\n" for k in silent)
        if entries.nnz:
            names = [OBJECTIVE, *rows]
            at = [f" {columns[k]}" for k in entries.col.tolist()]
            write_lines(file, [at, [names[k] for k in entries.row.tolist()], entries.data])
        file.write("RHS\n")
        if program.offset:
            file.write(f" rhs {OBJECTIVE} {-float(program.offset)!r}\n")
        file.writelines(f" rhs {rows[k]} {float(b[k])!r}\n" for k in np.flatnonzero(b))
        file.write("BOUNDS\n")
        file.writelines(f" FR bound {name}\n" for name in columns)
        file.write("ENDATA\n")
