"""What the writers share: how the rows of a programme become the entries of a file, and how lines are written fast."""

import gzip
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cvxrobust.core.conic.cones import ROOT2, svec_indices
from cvxrobust.core.files import whole_file

Array = NDArray[np.float64]
Index = NDArray[np.intp]
NOTHING: Index = np.empty(0, dtype=np.intp)
CHUNK = 200_000
"""Lines that are formatted at a time: enough to be fast, little enough to fit."""


@dataclass(frozen=True)
class Layout:
    """The entries that a file has in place of the slacks s: ``entries = rows @ s``.

    So ``rows @ b - (rows @ A) x`` is what the file says about x. The dual variables Y of the entries are worth
    ``y = rows' (weights o Y)`` to us.

    Args:
        rows: Shape (E, M), sparse.
        block: The block that each entry lies in, counted from 0, shape (E,).
        row: Its row within the block, shape (E,).
        column: Its column within the block, shape (E,); no more than `row`.
        weights: How often it counts in an inner product, shape (E,): twice off the diagonal of a matrix.
    """

    rows: sparse.csr_array
    block: Index
    row: Index
    column: Index
    weights: Array

    def dual(self, entries: Array) -> Array:
        """Our dual variables, shape (M,), from the file's, shape (E,)."""
        return np.asarray(self.rows.T @ (self.weights * entries))


class LayoutBuilder:
    """Collects the entries of a `Layout`, cone by cone."""

    def __init__(self) -> None:
        self._terms: list[tuple[Index, Index, Array]] = [(NOTHING, NOTHING, np.empty(0))]
        self._places: list[tuple[Index, Index, Index]] = [(NOTHING, NOTHING, NOTHING)]
        self._count = 0

    def add(
        self,
        block: int,
        position: tuple[Index, Index],
        source: Index,
        factor: Array | float = 1.0,
        entry: Index | None = None,
    ) -> None:
        """Append entries of one block.

        Args:
            block: The block.
            position: Rows and columns within it, shape (k,) each.
            source: The rows of the programme that they are made of, shape (k,), or one for each term.
            factor: What those are multiplied by.
            entry: Where entries are sums of several rows, which of the k entries each term belongs to.
        """
        row, column = position
        terms = np.arange(row.size) if entry is None else entry
        self._terms.append(
            (self._count + terms, source, np.broadcast_to(np.asarray(factor, dtype=np.float64), terms.shape))
        )
        self._places.append((np.full(row.size, block), row, column))
        self._count += row.size

    def layout(self, program_rows: int) -> Layout:
        """All entries, in the order in which they were added."""
        block, row, column = (np.concatenate([place[k] for place in self._places]) for k in range(3))
        at: Index = np.concatenate([term[0] for term in self._terms])
        source: Index = np.concatenate([term[1] for term in self._terms])
        factor: Array = np.concatenate([term[2] for term in self._terms])
        matrix = sparse.csr_array((factor, (at, source)), shape=(self._count, program_rows))
        return Layout(matrix, block, row, column, np.where(row == column, 1.0, 2.0))


def diagonal(start: int, count: int) -> tuple[Index, Index]:
    """Positions on the diagonal of a block."""
    found = np.arange(start, start + count)
    return found, found


def triangle(order: int) -> tuple[tuple[Index, Index], Array]:
    """Positions of a PSD cone's rows in the lower triangle of its matrix, and the factors that undo svec's scaling."""
    rows, columns, weights = svec_indices(order)
    return (rows, columns), np.where(weights == 1.0, 1.0, 1.0 / ROOT2)


@contextmanager
def written_in_full(path: Path) -> Iterator[TextIO]:
    """A text file that takes its place at the end only, so that an interruption leaves no half of it; .gz compresses.

    Raises:
        WriteError: It cannot be written.
    """
    with whole_file(path) as raw, _compressed(raw, path) as file:
        text = io.TextIOWrapper(file, encoding="ascii", newline="\n")
        yield text
        text.flush()
        text.detach()


@contextmanager
def _compressed(raw: IO[bytes], path: Path) -> Iterator[Any]:
    if path.suffix != ".gz":
        yield raw
        return
    with gzip.GzipFile(path.stem, "wb", compresslevel=6, fileobj=raw) as file:
        yield file


def write_lines(file: TextIO, columns: Sequence[NDArray[Any] | Sequence[str]]) -> None:
    """Lines of columns with a space between: whole numbers, words, or floats in the fewest digits that read back.

    Args:
        file: Where they go.
        columns: Of equal length; arrays of integers or floats, or sequences of words.
    """
    count = len(columns[0])
    for start in range(0, count, CHUNK):
        chunk = slice(start, min(start + CHUNK, count))
        words = [_words(column[chunk]) for column in columns]
        file.write("\n".join(map(" ".join, zip(*words, strict=True))))
        file.write("\n")


def _words(column: NDArray[Any] | Sequence[str]) -> Iterable[str]:
    return map(repr, column.tolist()) if isinstance(column, np.ndarray) else column


def nonzeros(matrix: Any, by_columns: bool = False) -> sparse.coo_array:
    """The entries of a sparse matrix that are not zero, row by row or column by column."""
    found = sparse.csc_array(matrix, copy=True) if by_columns else sparse.csr_array(matrix, copy=True)
    found.eliminate_zeros()
    found.sort_indices()
    return found.tocoo()
