"""Inputs that are read block by block: arrays in memory, and data sets too large for it."""

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.quadratic import blocks

Array = NDArray[np.float64]


@runtime_checkable
class Rows(Protocol):
    """Inputs that come in blocks, in the same order every time they are read."""

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and inputs per sample."""
        ...

    def blocks(self) -> Iterator[tuple[slice, Array]]:
        """Consecutive rows with their place: ``(slice, array of shape (rows, d))``, from the first to the last."""
        ...


def row_blocks(X: "Array | Rows", width: int = 0) -> Iterator[tuple[slice, Array]]:
    """Blocks of the rows of an array, small enough for a processor's cache, or those that the data comes in.

    Args:
        X: An array of shape (n, d), or inputs that are read in blocks.
        width: Columns of the widest temporary; d if that is larger.
    """
    if isinstance(X, np.ndarray):
        for rows in blocks(X.shape[0], max(width, X.shape[1])):
            yield rows, X[rows]
    else:
        yield from X.blocks()


def is_streamed(X: Any) -> bool:
    """Whether inputs are read in blocks instead of lying in memory."""
    return not isinstance(X, np.ndarray)
