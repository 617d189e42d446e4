"""Solution files of semidefinite solvers: dual matrices block by block, read into the rows that the blocks stand for.

SDPA calls our x ``xVec``, the matrix of our slacks ``xMat`` and its dual ``yMat``. By default it prints four digits;
``xPrint`` and ``YPrint`` in its parameter file decide that. CSDP, whose primal is our dual, writes our x first and then
lines ``1`` (the slacks) or ``2`` (their dual) with block, row, column and value.

Source: the SDPA manual (2008), Sec. 7; Borchers (1999), *CSDP, a C library for semidefinite programming*, Optim.
Methods Softw. 11, and its user's guide.
"""

import re

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.errors import InputError
from cvxrobust.core.formats.layout import Index
from cvxrobust.core.formats.parsed import Answer
from cvxrobust.core.formats.words import lines_of, numbers, shown
from cvxrobust.core.formats.write_sdpa import SDPALayout, sdpa_layout

Array = NDArray[np.float64]
PHASES = {
    "pdOPT": Termination.CONVERGED,
    "pINF_dFEAS": Termination.INFEASIBLE,
    "dUNBD": Termination.INFEASIBLE,
    "pdINF": Termination.INFEASIBLE,
    "pFEAS_dINF": Termination.UNBOUNDED,
    "pUNBD": Termination.UNBOUNDED,
}
PUNCTUATION = str.maketrans("{},()", "     ")


def read_sdpa(text: str, program: ConicProgram, written_as: str) -> Answer:
    """Read SDPA's result file.

    Raises:
        InputError: Its dual matrix has not the programme's blocks.
    """
    del written_as  # only SDPA files have such answers
    phase = re.search(r"phase\.value\s*=\s*(\w+)", text)
    said = phase.group(1) if phase else "unknown"
    x = _matrix(text, "xVec")
    termination = PHASES.get(said, Termination.NUMERICAL)
    message = f"SDPA's result file, phase {said}"
    if "yMat" not in text:
        return Answer(x, termination=termination, message=message)
    layout = sdpa_layout(program)
    values = _matrix(text, "yMat")
    sizes = np.array(layout.sizes, dtype=np.intp)
    widths = np.where(sizes < 0, -sizes, sizes**2)
    if values.size != widths.sum():
        raise InputError(f"yMat holds {values.size} numbers, but the programme's blocks have {widths.sum()}.")
    starts = np.cumsum(widths) - widths
    e = layout.entries
    inside = np.where(sizes[e.block] < 0, e.row, e.row * sizes[e.block] + e.column)
    return Answer(x, e.dual(values[starts[e.block] + inside]), termination=termination, message=message)


def _matrix(text: str, name: str) -> Array:
    """The numbers that stand in braces after a name."""
    start = text.index(name) + len(name)
    depth = 0
    for found in re.finditer(r"[{}]", text[start:]):
        depth += 1 if found.group() == "{" else -1
        if depth <= 0:
            break
    else:
        raise InputError(f"{name} has no closing brace; the file is cut short.")
    before, _, inside = text[start : start + found.end()].partition("{")
    if before.strip(" \t\n="):
        raise InputError(f"{name} is followed by {shown(before.strip())} instead of its numbers in braces.")
    first = text.count("\n", 0, start) + before.count("\n") + 1
    return numbers(inside.translate(PUNCTUATION).split("\n"), first)


def read_csdp(text: str, program: ConicProgram, written_as: str) -> Answer:
    """Read CSDP's solution file.

    Raises:
        InputError: It names an entry that the programme's file has not.
    """
    del written_as  # only SDPA files have such answers
    first, *rest = lines_of(text)
    table = _table(rest)
    dual = table[table[:, 0] == 2.0]
    block, row, column = (dual[:, k].astype(np.intp) - 1 for k in (1, 2, 3))
    layout = sdpa_layout(program)
    sizes = np.abs(np.array(layout.sizes, dtype=np.intp))
    if dual.size and (block.min() < 0 or block.max() >= sizes.size or (np.maximum(row, column) >= sizes[block]).any()):
        raise InputError("CSDP's solution file has blocks that the programme's file has not; it answers another one.")
    values = np.zeros(layout.entries.block.size)
    wanted, known = _keys(layout, block, np.maximum(row, column), np.minimum(row, column))
    order = np.argsort(wanted)
    at = np.searchsorted(wanted[order], known)
    # Entries off the arrows multiply zeros.
    hit = (at < wanted.size) & (wanted[order][np.minimum(at, wanted.size - 1)] == known)
    values[order[at[hit]]] = dual[hit, 4]
    return Answer(numbers([first]), layout.entries.dual(values), message="CSDP's solution file")


def _table(lines: list[str]) -> Array:
    """Lines of five numbers: 1 or 2, block, row, column and value."""
    filled = [(place, line) for place, line in enumerate(lines, 2) if line.strip()]
    for place, line in filled:
        if len(line.split()) != 5:
            raise InputError(f"line {place} has {len(line.split())} words, expected five: {shown(line.strip())}.")
    table = numbers(lines, 2).reshape(-1, 5)
    indices = table[:, :4]
    # A float holds whole numbers up to here.
    wrong = ~((indices >= 1.0) & (indices < 2.0**53) & (indices == np.floor(indices))).all(axis=1)
    wrong |= table[:, 0] > 2.0
    if wrong.any():
        place, line = filled[int(np.argmax(wrong))]
        raise InputError(f"line {place} cannot be read: {shown(line.strip())}; expected 1 or 2, block, row and column.")
    triangle = np.column_stack([indices[:, :2], indices[:, 2:].min(axis=1), indices[:, 2:].max(axis=1)])
    _, kept = np.unique(triangle, axis=0, return_index=True)
    if kept.size < len(filled):
        place, line = filled[int(np.setdiff1d(np.arange(len(filled)), kept)[0])]
        raise InputError(f"line {place} gives an entry of a matrix again: {shown(line.strip())}.")
    return table


def _keys(layout: SDPALayout, block: Index, row: Index, column: Index) -> tuple[Index, Index]:
    """One number for each place, of the layout's entries and of those given."""
    width = max(map(abs, layout.sizes), default=1)
    e = layout.entries
    return (e.block * width + e.row) * width + e.column, (block * width + row) * width + column
