"""The SDPA sparse format, which semidefinite solvers share: linear and PSD cones, and what can be made of them.

A file holds ``min c'x  s.t.  sum_k x_k F_k - F_0  psd`` with symmetric matrices of one block structure. Our slacks
``b - A x`` become that matrix, so ``F_k`` is made of column k of -A, ``F_0`` of -b, and the solver's x is ours:

- NonNegative rows, and all other cones of one row, lie on the diagonal of the first block, which is of linear kind
  (negative size).
- A row of Zero is two such entries, s and -s. That is common practice but leaves the programme no interior, so solvers
  stop a few digits earlier than they would without equations.
- A second-order cone is the arrow matrix ``[[t, v'], [v, t I]]``, which is psd exactly when ``||v||_2 <= t``.
- A PSD cone is a block of its own; off-diagonal entries are svec's divided by sqrt(2).

Exponential cones are refused. The format knows no constant in the objective: it is a remark at the top, and what a
solver prints lacks it. Indices count from 1, and of each matrix the upper triangle is written.

Source: Fujisawa, Fukuda, Kobayashi, Kojima, Nakata, Nakata and Yamashita (2008), *SDPA (SemiDefinite Programming
Algorithm) user's manual, version 7.0.5*, Sec. 5 and 6; Borchers (1999), *SDPLIB 1.2*, Optim. Methods Softw. 11.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cvxrobust.core.conic.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram, require_cones
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.formats.layout import (
    Index,
    Layout,
    LayoutBuilder,
    diagonal,
    nonzeros,
    triangle,
    write_lines,
    written_in_full,
)


@dataclass(frozen=True)
class SDPALayout:
    """Where the rows of a programme stand in an SDPA file.

    Args:
        entries: The entries of the matrices, lower triangle.
        sizes: Sizes of the blocks, that of the linear one negative.
    """

    entries: Layout
    sizes: tuple[int, ...]


def sdpa_layout(program: ConicProgram) -> SDPALayout:
    """Where the rows of a programme stand in an SDPA file.

    Raises:
        UnsupportedProgramError: It has exponential cones, or a cone of somebody else's.
    """
    if any(isinstance(cone, Exponential) for cone in program.cones):
        raise UnsupportedProgramError(
            "the SDPA format has no exponential cones, which the logistic loss needs; write a .cbf file, or choose "
            "another loss."
        )
    require_cones(program, {Zero, NonNegative, SecondOrder, PSD}, "SDPA")
    builder, sizes = LayoutBuilder(), []
    pairs = list(zip(program.cones, program.blocks, strict=True))
    linear = sum(_linear_entries(cone) for cone, _ in pairs)
    if linear:
        sizes.append(-linear)
    at = 0
    for cone, rows in pairs:
        source = np.arange(rows.start, rows.stop)
        if count := _linear_entries(cone):
            both = isinstance(cone, Zero)
            factor = np.repeat([1.0, -1.0], source.size) if both else 1.0
            builder.add(0, diagonal(at, count), np.tile(source, 2) if both else source, factor)
            at += count
    for cone, rows in pairs:
        if rows.start == rows.stop or _linear_entries(cone):
            continue
        source = np.arange(rows.start, rows.stop)
        if isinstance(cone, PSD):
            position, scale = triangle(cone.order)
            builder.add(len(sizes), position, source, scale)
            sizes.append(cone.order)
        else:
            builder.add(len(sizes), *_arrow(source))
            sizes.append(source.size)
    return SDPALayout(builder.layout(program.b.size), tuple(sizes))


def _linear_entries(cone: Cone) -> int:
    if isinstance(cone, Zero):
        return 2 * cone.dim
    return cone.dim if isinstance(cone, NonNegative) or cone.dim == 1 else 0


def _arrow(source: Index) -> tuple[tuple[Index, Index], Index]:
    """``[[t, v'], [v, t I]]``: positions in the lower triangle, and the rows that stand there."""
    order = source.size
    k = np.arange(1, order)
    rows, columns = np.concatenate([np.arange(order), k]), np.concatenate([np.arange(order), np.zeros_like(k)])
    return (rows, columns), np.concatenate([np.full(order, source[0]), source[1:]])


def write_sdpa(program: ConicProgram, path: Path) -> None:
    """Write a programme; a path that ends in .gz is compressed.

    Raises:
        UnsupportedProgramError: It has exponential cones, or a cone of somebody else's.
        OSError: The file cannot be written.
    """
    found = sdpa_layout(program)
    entries = found.entries
    with written_in_full(path) as file:
        file.write(f'"Written by cvxrobust. Add {float(program.offset)!r} to every objective.\n')
        file.write(f"{program.q.size}\n{len(found.sizes)}\n{' '.join(map(str, found.sizes))}\n")
        file.write(" ".join(map(repr, program.q.tolist())) + "\n")
        constant = entries.rows @ program.b
        known = np.flatnonzero(constant)
        if known.size:
            write_lines(file, [np.zeros_like(known), *_places(entries, known), -constant[known]])
        F = nonzeros(entries.rows @ program.A, by_columns=True)
        if F.nnz:
            write_lines(file, [F.col + 1, *_places(entries, F.row.astype(np.intp)), -F.data])


def _places(entries: Layout, at: Index) -> list[Index]:
    """Block, row and column of entries, in the upper triangle and counted from 1."""
    return [entries.block[at] + 1, entries.column[at] + 1, entries.row[at] + 1]
