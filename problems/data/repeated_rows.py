"""Rows that come several times: what is drawn or counted by rows takes each of them once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.programs.rows import row_blocks

Array = NDArray[np.float64]


def distinct_rows(X: Array) -> NDArray[np.intp]:
    """The first of each of the different rows, ascending; one pass over them where none comes twice.

    Args:
        X: Shape (n, d).
    """
    sums = np.concatenate([_checksums(block) for _, block in row_blocks(X)])
    _, first, group = np.unique(sums, return_index=True, return_inverse=True)
    if first.size == sums.size:
        return np.arange(sums.size)
    # The first row with the same checksum is nearly always the same row.
    like = first[group]
    kept = np.flatnonzero((like == np.arange(like.size)) | (X[like] != X).any(axis=1))
    kinds = np.unique(X[kept], axis=0, return_index=True)[1] if kept.size > first.size else np.arange(kept.size)
    return np.asarray(kept[np.sort(kinds)])


def merged(X: Array, labels: NDArray[Any], weights: Array | None) -> tuple[NDArray[np.intp], Array | None]:
    """Rows that come several times with the same label as one, with their weights added.

    Where that or the weights change anything, rows come in an order that does not depend on the one given: a row that
    comes twice and one of weight 2 make the same data to the last bit.

    Args:
        X: Shape (n, d).
        labels: Numbers, shape (n,).
        weights: Above 0, shape (n,); None for 1.

    Returns:
        The rows to keep, shape (k,), and their weights; all rows as they are, and None, where none comes again and no
        weights are given.
    """
    table = np.column_stack([X, labels])
    if weights is None and distinct_rows(table).size == X.shape[0]:
        return np.arange(X.shape[0]), None
    _, first, group = np.unique(_checksums(table), return_index=True, return_inverse=True)
    if (table != table[first[group]]).any():  # two rows with one checksum
        _, first, group = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return first, np.bincount(group.ravel(), weights, first.size).astype(np.float64)


def _checksums(X: Array) -> NDArray[np.uint64]:
    """A number for each row, the same for the same numbers, in integers: no rounding, whatever the order of sums."""
    bits = np.ascontiguousarray(X + 0.0).view(np.uint64)  # 0 and -0 are one number
    odd = np.arange(1, 2 * bits.shape[1], 2, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    # The low bits of floats are often 0.
    return np.asarray(((bits ^ (bits >> np.uint64(29))) * odd).sum(axis=1, dtype=np.uint64))
