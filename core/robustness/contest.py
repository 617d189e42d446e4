"""Margins of scores: by how much a class leads the nearest other one."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def contest(scores: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Index]:
    """Margins ``f_y - max_k f_k`` over the other classes, and the class that is nearest; of one score, ``+-f``.

    Args:
        scores: Shape (n,) or (n, K).
        index: Classes, shape (n,).
        rivals: The other classes that count, shape (n,); None for those that are nearest.

    Returns:
        Shapes (n,) and (n,).
    """
    if scores.ndim == 1:
        return np.where(index == 1, scores, -scores), 1 - index
    rows = np.arange(index.size)
    if rivals is None:
        others = scores.copy()
        others[rows, index] = -np.inf
        rivals = np.asarray(others.argmax(axis=1))
    return np.asarray(scores[rows, index] - scores[rows, rivals]), rivals
