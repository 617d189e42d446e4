"""Whether inputs come in raw units, and the sizes of their columns."""

import math

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core import PolynomialProgram
from cvxrobust.core.programs.rows import row_blocks

Array = NDArray[np.float64]
RAW = 10.0
"""Size of the largest column, in units of the smallest spread or of 1, from which on inputs count as raw: descent
misses 1e-6 from 10 on where that is an offset, from 100 on where it is a scale. Standardised columns have 1."""
RIDGE = 1e-10
"""Added to second moments of columns of size 1."""
WIDEST = 30
"""Inputs up to which a step's linear system is small."""


def column_sizes(program: PolynomialProgram) -> tuple[Array, Array]:
    """Root mean squares and standard deviations of the columns, shape (d,) each, from one pass over the inputs."""
    n, d = program.X.shape
    count, mean, spread = 0, np.zeros(d), np.zeros(d)
    for _, X in row_blocks(program.X):
        # Chan, Golub and LeVeque's update: an offset of 1e4 leaves a spread of 1e-3 its digits.
        own, step = X.mean(axis=0), X.shape[0] / (count + X.shape[0])
        spread += ((X - own) ** 2).sum(axis=0) + (own - mean) ** 2 * count * step
        mean, count = mean + (own - mean) * step, count + X.shape[0]
    variance = spread / max(n, 1)
    return np.sqrt(mean * mean + variance), np.sqrt(variance)


def is_raw(program: PolynomialProgram, size: Array, spread: Array) -> bool:
    """Whether Newton's method is worth its while: columns of very different or large sizes, offsets counted.

    Args:
        program: What to train.
        size: Root mean squares of the columns, shape (d,).
        spread: Their standard deviations, shape (d,); columns that hold one value have none.
    """
    varying = spread[spread > 1e-12 * size]
    if program.X.shape[1] > WIDEST or not varying.size or not math.isfinite(float(size.max())):
        return False
    return bool(size.max() > RAW * min(float(varying.min()), 1.0))


def whitening(program: PolynomialProgram, size: Array) -> Array:
    """A matrix W with ``X W`` of second moments 1, but for directions in which there is next to nothing.

    Args:
        program: Its inputs X.
        size: Root mean squares of the columns, shape (d,).

    Returns:
        Shape (d, d): columns divided by their sizes, then combined.
    """
    n, d = program.X.shape
    size = np.where(size > 0.0, size, 1.0)
    moments = RIDGE * np.eye(d)
    for _, X in row_blocks(program.X):
        scaled = X / size
        moments += scaled.T @ scaled / n
    # Large columns first: a neuron's weight of a small column must not be a difference of large numbers.
    order = np.argsort(-size, kind="stable")
    lower = np.linalg.cholesky(moments[np.ix_(order, order)])
    white = np.empty((d, d))
    white[order] = np.linalg.inv(lower).T / size[order, None]
    return white
