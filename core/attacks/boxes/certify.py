"""Which samples keep their class in their boxes: cheap answers first, for thousands of samples at a time."""

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.boxes.factors import Shape, multipliers_of, proved, starts, swept
from cvxrobust.core.attacks.boxes.margins import BoxMargins
from cvxrobust.core.attacks.boxes.shor import shor_bounds

Array = NDArray[np.float64]
Held = NDArray[np.bool_]

SMALL = 48
"""Coordinates up to which interior points cost no more than sweeps and factorisations."""

COLUMNS = 3
"""Of moment matrices in sweeps; two have stationary points that are none of the relaxation."""

ROUNDS = (10, 40)
"""Sweeps before multipliers are tried, and how many more before they are again."""

ATTACK = 4
"""Sweeps of the attack that comes first."""

ASTRAY = 17
"""Seed of what keeps the columns of factors apart: bounds hold whatever it is."""


def certified(margins: BoxMargins, above: float = 0.0) -> Held:
    """For which samples it is proved that margins in their boxes lie above a number, shape (n,).

    Samples that a coordinate-wise attack brings to that number or below are nobody's to prove. For the others
    multipliers come from factors of moment matrices, and where these leave it open from interior points.

    Args:
        margins: Of n samples.
        above: The number.
    """
    held = margins.values > above
    if margins.size == 0 or not held.any():
        return np.asarray(held)
    shape, rng = Shape.of(margins.P), np.random.default_rng(ASTRAY)
    rows = np.flatnonzero(held)
    held[rows] = False
    own = margins.rows(rows)
    rows = rows[swept(own, starts(own, 1, rng), ATTACK, shape) > above]
    if margins.size > SMALL:
        good, unsure = _by_factors(margins.rows(rows), above, shape, rng)
        held[rows[good]] = True
        rows = rows[unsure]
    if rows.size:
        held[rows] = shor_bounds(margins.rows(rows), decide=above).lower > above
    return np.asarray(held)


def _by_factors(margins: BoxMargins, above: float, shape: Shape, rng: np.random.Generator) -> tuple[Held, Held]:
    """What factors prove, and what they leave open, shapes (n,)."""
    V = starts(margins, COLUMNS, rng)
    good, unsure = np.zeros(V.shape[0], dtype=np.bool_), np.ones(V.shape[0], dtype=np.bool_)
    for sweeps in ROUNDS:
        left = np.flatnonzero(unsure)
        if not left.size:
            break
        own, factors = margins.rows(left), V[left]
        relaxed = swept(own, factors, sweeps, shape)
        V[left] = factors
        good[left] = proved(own, multipliers_of(own, factors, shape), above)
        # What a relaxed point brings below, no relaxation proves.
        unsure[left] = ~good[left] & (relaxed > above)
    return good, unsure
