"""The cells of CSV text, line by line: what stands between separators, or between quotation marks.

Source: RFC 4180, section 2; lines may end in a line feed alone, and be shorter than the first.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.errors import InputError

TEXTS: Any = np.dtypes.StringDType()
"""Texts of any length in arrays: short ones, as numbers are, take sixteen bytes each."""

BLOCK = 4096
"""Rows that are lists of texts at a time, which take several times as much memory as arrays."""


def cells_of(path: Path, text: str, separator: str) -> tuple[list[str], NDArray[Any]]:
    """The cells of the header line, and those of the rows below, stripped of blanks, shape (n, columns), as `TEXTS`.

    Cells that a short row lacks are empty, and all those of a blank line.

    Args:
        path: Of the file, for messages.
        text: From the header line to the last row.
        separator: What stands between cells.

    Raises:
        InputError: A row has more cells than the header line, or a quotation mark is out of place.
    """
    rows = _rows(path, text, separator)
    header = [cell.strip() for cell in next(rows)]
    width, n = len(header), 0
    texts = np.empty((text.count("\n"), width), dtype=TEXTS)
    while block := list(islice(rows, BLOCK)):
        for number, row in enumerate(block, n + 1):
            if len(row) > width:
                raise InputError(
                    f"{path} cannot be read as CSV: data row {number} has {len(row)} cells, but the header line has "
                    f"{width}."
                )
            row += [""] * (width - len(row))
        texts[n : n + len(block)] = np.strings.strip(np.array(block, dtype=TEXTS))
        n += len(block)
    return header, texts[:n]


def _rows(path: Path, text: str, separator: str) -> Iterator[list[str]]:
    """The cells of one row after the other, the header line first."""
    sign = re.escape(separator)
    cell = re.compile(rf'(?:"([^"]*(?:""[^"]*)*)"|([^"\n{sign}]*))({sign}|\r?\Z)')
    lines = iter(text.split("\n"))
    for number, line in enumerate(lines):
        if '"' not in line:
            yield line.split(separator)
            continue
        # Quoted cells may hold line ends: a row is complete where the marks so far are even.
        parts, marks = [line], line.count('"')
        while marks % 2 and (further := next(lines, None)) is not None:
            parts.append(further)
            marks += further.count('"')
        row = _quoted("\n".join(parts), cell)
        if row is None:
            where = f"data row {number}" if number else "the header line"
            raise InputError(
                f"{path} cannot be read as CSV: a quotation mark is not closed, or stands inside a cell, in {where}; "
                "quote whole cells, and marks within by two."
            )
        yield row


def _quoted(row: str, cell: re.Pattern[str]) -> list[str] | None:
    """The cells of a row with quotation marks; None if one is out of place."""
    cells, place = [], 0
    while found := cell.match(row, place):
        quoted, bare, end = found.groups()
        cells.append(bare if quoted is None else quoted.replace('""', '"'))
        if end in ("", "\r"):
            return cells
        place = found.end()
    return None
