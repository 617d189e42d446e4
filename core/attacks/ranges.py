"""What a range of inputs leaves of boxes: smaller ones, around inputs in the middle of what is left."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import EPS

Array = NDArray[np.float64]

ROOM = 4.0
"""By how many units in the last place of its ends a box is made wider, so that rounding has not made it narrower."""


def cut_off(X: Array, attack: AttackBall, low: Array, high: Array) -> tuple[Array, AttackBall]:
    """Boxes around inputs, cut off where their range ends: their middles, shape (n, d), and attacks around these.

    Coordinates that no range cuts stay as they are to the last digit, and so do the attacks if that is all of them.
    Ends are moved outwards by what rounding may have taken, so that no attack is lost.

    Args:
        X: Inputs in their range, shape (n, d).
        attack: On n inputs, norm inf, not cut off yet.
        low: The least values of inputs, shape (d,).
        high: The largest.
    """
    reach = attack.radius[:, None] * attack.pushed(np.ones(attack.dimension))
    least, most = np.maximum(X - reach, low), np.minimum(X + reach, high)
    cut = (X - reach < low) | (X + reach > high)
    if not cut.any():
        return X, attack
    half, rough = 0.5 * (most - least), ROOM * EPS * np.maximum(np.abs(least), np.abs(most))
    middles = np.where(cut & (half > 0.0), 0.5 * (least + most), X)
    # Boxes around 0 are that exactly: samples that rounding alone tells from 0 have cones without any interior.
    middles = np.where(cut & (np.abs(middles) <= rough), 0.0, middles)
    half = np.where(half > 0.0, half + rough, 0.0)
    share = np.where(cut, half / np.where(cut, reach, 1.0), (reach > 0.0) * 1.0)
    widths = share if attack.ellipsoid is None else share[:, attack.ellipsoid.kept]
    radius = np.where((widths > 0.0).any(axis=1), attack.radius, 0.0)
    if not (radius > 0.0).any():
        return X, replace(attack, radius=radius, ellipsoid=None)
    return middles, replace(attack, radius=radius, widths=widths)
