"""The Conic Benchmark Format, which holds every cone there is here.

Written are versions 1, or 2 where there are exponential cones. The programme appears as affine constraints on free
variables: ``b - A x`` in L= (Zero), L+ (NonNegative), Q (SecondOrder), EXP (Exponential), and PSDCON for PSD. Two
conventions differ from ours. EXP has ``u_0 >= u_1 exp(u_2 / u_1)``, so its three rows come in reverse. Matrices are
plain lower triangles, so off-diagonal entries are svec's divided by sqrt(2). Indices count from 0.

Source: Friberg (2016), *CBLIB 2014: a benchmark library for conic mixed-integer and continuous optimization*, Math.
Program. Comput. 8, and the format's reference at https://cblib.zib.de/format.html.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from cvxrobust.core.conic.cones import PSD, Cone, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram, require_cones
from cvxrobust.core.formats.layout import (
    Layout,
    LayoutBuilder,
    diagonal,
    nonzeros,
    triangle,
    write_lines,
    written_in_full,
)

CONES: dict[type, str] = {Zero: "L=", NonNegative: "L+", SecondOrder: "Q", Exponential: "EXP"}


@dataclass(frozen=True)
class CBFLayout:
    """Where the rows of a programme stand in a CBF file.

    Args:
        scalar: The scalar constraints, in one block.
        cones: Names and sizes of their cones, in order.
        matrix: The entries of the matrix constraints, a block each.
        orders: Their orders.
    """

    scalar: Layout
    cones: tuple[tuple[str, int], ...]
    matrix: Layout
    orders: tuple[int, ...]


def cbf_layout(program: ConicProgram) -> CBFLayout:
    """Where the rows of a programme stand in a CBF file.

    Raises:
        UnsupportedProgramError: It has a cone of somebody else's.
    """
    require_cones(program, {*CONES, PSD}, "CBF")
    scalar, matrix = LayoutBuilder(), LayoutBuilder()
    cones: list[tuple[str, int]] = []
    orders: list[int] = []
    height = 0
    for cone, rows in zip(program.cones, program.blocks, strict=True):
        source = np.arange(rows.start, rows.stop)
        if not source.size:
            continue
        if isinstance(cone, PSD) and cone.order > 1:
            position, factor = triangle(cone.order)
            matrix.add(len(orders), position, source, factor)
            orders.append(cone.order)
        else:
            scalar.add(0, diagonal(height, source.size), source[::-1] if isinstance(cone, Exponential) else source)
            cones.append((_name(cone), source.size))
            height += source.size
    return CBFLayout(scalar.layout(program.b.size), tuple(cones), matrix.layout(program.b.size), tuple(orders))


def _name(cone: Cone) -> str:
    # Of one row both are half-lines. Readers may not expect that: MOSEK 11.2's runs matrices of order 1 together.
    return "L+" if cone in (SecondOrder(1), PSD(1)) else CONES[type(cone)]


def write_cbf(program: ConicProgram, path: Path) -> None:
    """Write a programme; a path that ends in .gz is compressed.

    Raises:
        UnsupportedProgramError: It has a cone of somebody else's.
        OSError: The file cannot be written.
    """
    found = cbf_layout(program)
    with written_in_full(path) as file:
        version = 2 if any(name == "EXP" for name, _ in found.cones) else 1
        file.write(f"# Written by cvxrobust.\nVER\n{version}\n\nOBJSENSE\nMIN\n\n")
        _write_structure(file, program, found)
        _write_objective(file, program)
        _write_scalar(file, program, found.scalar)
        _write_matrix(file, program, found.matrix)


def _write_structure(file: TextIO, program: ConicProgram, found: CBFLayout) -> None:
    if columns := program.q.size:
        file.write(f"VAR\n{columns} 1\nF {columns}\n\n")
    if found.orders:
        file.write(f"PSDCON\n{len(found.orders)}\n" + "".join(f"{order}\n" for order in found.orders) + "\n")
    if found.cones:
        file.write(f"CON\n{sum(size for _, size in found.cones)} {len(found.cones)}\n")
        file.writelines(f"{name} {size}\n" for name, size in found.cones)
        file.write("\n")


def _write_objective(file: TextIO, program: ConicProgram) -> None:
    costly = np.flatnonzero(program.q)
    if costly.size:
        file.write(f"OBJACOORD\n{costly.size}\n")
        write_lines(file, [costly, program.q[costly]])
        file.write("\n")
    if program.offset:
        file.write(f"OBJBCOORD\n{float(program.offset)!r}\n\n")


def _write_scalar(file: TextIO, program: ConicProgram, layout: Layout) -> None:
    A = nonzeros(layout.rows @ program.A)
    if A.nnz:
        file.write(f"ACOORD\n{A.nnz}\n")
        write_lines(file, [A.row, A.col, -A.data])
        file.write("\n")
    b = layout.rows @ program.b
    known = np.flatnonzero(b)
    if known.size:
        file.write(f"BCOORD\n{known.size}\n")
        write_lines(file, [known, b[known]])
        file.write("\n")


def _write_matrix(file: TextIO, program: ConicProgram, layout: Layout) -> None:
    H = nonzeros(layout.rows @ program.A)
    if H.nnz:
        file.write(f"HCOORD\n{H.nnz}\n")
        at = H.row
        write_lines(file, [layout.block[at], H.col, layout.row[at], layout.column[at], -H.data])
        file.write("\n")
    D = layout.rows @ program.b
    known = np.flatnonzero(D)
    if known.size:
        file.write(f"DCOORD\n{known.size}\n")
        write_lines(file, [layout.block[known], layout.row[known], layout.column[known], D[known]])
        file.write("\n")
