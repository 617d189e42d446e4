"""The largest radius that a bound certifies, input by input."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SMALLEST, LARGEST = 2.0**-20, 2.0**20
"""Radii that are looked at."""

FINE = 0.01
"""How far above what is certified a radius may lie that is not, relative to it."""


def largest_certified(
    holds: Callable[[NDArray[np.intp], Array], NDArray[np.bool_]],
    count: int,
    *,
    known: Array | None = None,
    unit: float = 1.0,
) -> Array:
    """The largest radii found that are certified, shape (count,); 0 where not even the smallest is.

    Each radius that is returned has been certified itself, so nothing is assumed of how a bound depends on radii.

    Args:
        holds: Whether radii, shape (k,), are certified for the inputs of these numbers, shape (k,).
        count: Number of inputs.
        known: Radii certified already, shape (count,), to go on from; None for none.
        unit: What `SMALLEST` and `LARGEST` count, and where to begin: a radius that is neither.
    """
    certified, refused = np.zeros(count) if known is None else known.copy(), np.full(count, np.inf)
    next_radius = np.where(certified > 0.0, 2.0 * certified, unit)
    rows = np.flatnonzero(np.isfinite(certified))
    while rows.size:
        asked = next_radius[rows]
        good = holds(rows, asked)
        certified[rows[good]], refused[rows[~good]] = asked[good], asked[~good]
        low, high = certified[rows], refused[rows]
        # Doubled while all is well, halved while nothing is, then between the two.
        guess = np.where(np.isinf(high), 2.0 * low, np.where(low == 0.0, 0.5 * high, np.sqrt(low * high)))
        next_radius[rows] = guess
        outside = (np.isinf(high) & (guess > LARGEST * unit)) | ((low == 0.0) & (guess < SMALLEST * unit))
        rows = rows[~(outside | ((low > 0.0) & (high <= (1.0 + FINE) * low)))]
    return certified
