"""Programmes of others in the SDPA sparse format, which collections of test problems are published in (SDPLIB).

A file holds ``min c'x  s.t.  sum_k x_k F_k - F_0  psd``, block by block. That matrix becomes our slacks ``b - A x``, a
psd cone for each block and nonnegative rows for each diagonal one (of negative size), so x and the optimum are the
file's. What `write_sdpa` writes, with the remarks there about the format and its sources, is read as well, but Zero and
second-order cones come back as the blocks that stand for them, and offsets not at all.
"""

import gzip
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, ROOT2, Cone, NonNegative
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.errors import InputError

Index = NDArray[np.intp]
REMARKS = ('"', "*")
PUNCTUATION = str.maketrans("{},()", "     ")
FORTRAN = str.maketrans("Dd", "ee")
WHOLE = re.compile(r"[\s{},()]*([+-]?\d+)")


def read_sdpa_program(path: str | os.PathLike[str]) -> ConicProgram:
    """Read a programme; .gz is decompressed.

    Raises:
        InputError: The file is not in this format; says what was expected, and in which entry.
        OSError: It cannot be read.
    """
    file = Path(path)
    raw = file.read_bytes()
    try:
        text = (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode("ascii")
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError) as error:
        raise InputError(f"{file} is no SDPA file: {error}.") from None
    lines = [line for line in text.splitlines() if line.strip()]
    while lines and lines[0].lstrip().startswith(REMARKS):
        lines.pop(0)
    unknowns, blocks = (_whole(lines[k] if k < len(lines) else "", what, file) for k, what in _COUNTS)
    words = " ".join(lines[2:]).translate(PUNCTUATION).split()
    sizes = _numbers(words[:blocks], blocks, "block sizes", file)
    costs = _numbers(words[blocks : blocks + unknowns], unknowns, "costs", file)
    rest = words[blocks + unknowns :]
    if (sizes == 0).any() or (sizes != np.rint(sizes)).any():
        raise InputError(f"{file}: block sizes are {sizes.tolist()}; expected whole numbers other than 0.")
    if len(rest) % 5:
        raise InputError(f"{file}: the entries hold {len(rest)} numbers; expected five for each. Is it cut short?")
    table = _numbers(rest, len(rest), "entries", file).reshape(-1, 5)
    return _program(table, costs, sizes.astype(np.intp), file)


_COUNTS = ((0, "the number of unknowns"), (1, "the number of blocks"))


def _whole(line: str, what: str, file: Path) -> int:
    """The number that a line begins with; words may follow."""
    found = WHOLE.match(line)
    if found is None or int(found.group(1)) < 1:
        raise InputError(f"{file} is no SDPA file: its line {line.strip()[:40]!r} should begin with {what}.")
    return int(found.group(1))


def _numbers(words: Sequence[str], count: int, what: str, file: Path) -> NDArray[np.float64]:
    if len(words) < count:
        raise InputError(f"{file} ends within its {what}: {len(words)} of {count} are there.")
    try:
        found = np.array([word.translate(FORTRAN) for word in words], dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{file}: its {what} hold a word that is no number: {error}.") from None
    if not np.isfinite(found).all():
        raise InputError(f"{file}: its {what} hold a number that is not finite.")
    return found


def _program(table: NDArray[np.float64], costs: NDArray[np.float64], sizes: Index, file: Path) -> ConicProgram:
    places = table[:, :4]
    matrix, block, row, column = places.astype(np.intp).T
    order = np.abs(sizes)
    known = (matrix >= 0) & (matrix <= costs.size) & (block >= 1) & (block <= sizes.size)
    width = order[np.where(known, block - 1, 0)]
    known &= (np.minimum(row, column) >= 1) & (np.maximum(row, column) <= width)
    known &= (places == np.rint(places)).all(axis=1)
    known &= (row == column) | (sizes[np.where(known, block - 1, 0)] > 0)
    if not known.all():
        number = int(np.flatnonzero(~known)[0])
        raise InputError(
            f"{file}: entry {number + 1}, {' '.join(f'{value:g}' for value in table[number])}, is no place of its "
            f"matrices; expected a matrix of 0 to {costs.size}, a block of 1 to {sizes.size}, and a row and a column "
            "within it, equal ones if its size is negative."
        )
    cones: tuple[Cone, ...] = tuple(PSD(int(size)) if size > 0 else NonNegative(int(-size)) for size in sizes)
    starts = np.cumsum([0, *(cone.dim for cone in cones)])
    # svec stacks the lower triangle by columns; files hold the upper one, and a few the lower.
    i, j = np.maximum(row, column) - 1, np.minimum(row, column) - 1
    inside = np.where(sizes[block - 1] > 0, j * width - j * (j - 1) // 2 + i - j, i)
    at = starts[block - 1] + inside
    if np.unique(np.stack([matrix, at]), axis=1).shape[1] < at.size:
        raise InputError(f"{file} gives an entry of a symmetric matrix twice; expected one triangle.")
    entries = -table[:, 4] * np.where(i == j, 1.0, ROOT2)
    constant = matrix == 0
    b = np.zeros(starts[-1])
    b[at[constant]] = entries[constant]
    A = sparse.csc_array(
        (entries[~constant], (at[~constant], matrix[~constant] - 1)), shape=(int(starts[-1]), costs.size)
    )
    return ConicProgram(costs, A, b, cones)
