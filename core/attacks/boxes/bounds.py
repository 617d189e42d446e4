"""Bounds of margins in boxes, with the relaxed attacks that go with them: factors first, then interior points."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.boxes.factors import Shape, multipliers_of, proved, starts, swept
from cvxrobust.core.attacks.boxes.margins import BoxMargins
from cvxrobust.core.attacks.boxes.shor import shor_bounds

Array = NDArray[np.float64]

COLUMNS = 3
"""Of factors where sweeps suffice."""

SWEEPS = 12
"""Before it is asked which samples are beyond interest."""

ASTRAY = 17
"""Seed of what keeps the columns of factors apart: bounds hold whatever it is."""


@dataclass(frozen=True)
class BoxBounds:
    """What is known of margins in boxes.

    Args:
        lower: Rigorous bounds of the margins, shape (n,).
        factors: Of the relaxed attacks, in units of the widths, the constant last, shape (n, q + 1, p).
    """

    lower: Array
    factors: Array


def box_bounds(margins: BoxMargins, *, tolerance: float = 1e-8, enough: float | None = None) -> BoxBounds:
    """Bounds of all margins, near the values of the relaxation.

    Args:
        margins: Of n samples.
        tolerance: How near, relative to what boxes can change.
        enough: A margin beyond which nobody asks for more; None for never.
    """
    n, q = margins.values.size, margins.size
    if q == 0:
        return BoxBounds(margins.values, np.ones((n, 1, 1)))
    lower, factors = np.full(n, -np.inf), np.zeros((n, q + 1, q + 1))
    asked = np.arange(n)
    if enough is not None:
        shape, V = Shape.of(margins.P), starts(margins, min(COLUMNS, q + 1), np.random.default_rng(ASTRAY))
        swept(margins, V, SWEEPS, shape)
        good = proved(margins, multipliers_of(margins, V, shape), enough)
        lower[good] = np.nextafter(enough, np.inf)
        factors[good, :q, : V.shape[2]], factors[good, q, 0] = V[good], 1.0
        asked = asked[~good]
    if asked.size:
        found = shor_bounds(margins.rows(asked), tolerance=tolerance, moments=True)
        assert found.moments is not None
        lower[asked], factors[asked] = found.lower, np.linalg.cholesky(found.moments)
    return BoxBounds(lower, factors)
