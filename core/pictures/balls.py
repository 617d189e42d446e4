"""Balls of attacks in two inputs: discs, squares, diamonds, ellipses, segments, whatever their norm and shape."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.threat import AttackSet
from cvxrobust.core.robustness.certificates import certifier_of
from cvxrobust.core.robustness.models import Model, NetworkModel

Array = NDArray[np.float64]

CORNERS = 96
"""Directions in which a ball is looked at."""

STEPS = 128
"""Radii at which rows of other classifiers than ours are asked for, up to the largest that matters."""


def shadow(attacks: AttackSet, features: tuple[int, int], units: Array) -> Array:
    """What attacks of radius 1 can do to two inputs: the corners of their shadow, a convex polygon, shape (k, 2).

    In every direction of the two inputs the attack that goes furthest is a corner of it: of balls of the norms inf and
    1 all of them, of ellipsoids `CORNERS` that lie on it.

    Args:
        attacks: On inputs as the classifier sees them.
        features: The two inputs.
        units: What 1 in each of these is in the units that are drawn, shape (d,).
    """
    # Not along an axis, where corners of a box, or an input that cannot be moved, would leave it open what is furthest.
    angles = 2.0 * np.pi * (np.arange(CORNERS) + 0.37) / CORNERS
    across, along = features
    alone = np.eye(attacks.X.shape[1])[[across, along]]
    # In units of how far either input goes, so that a flat ellipse has corners where it bends.
    reach = np.asarray(attacks.ball.dual_norm(alone)) if attacks.movable else np.zeros(2)
    turned = np.stack([np.cos(angles), np.sin(angles)], axis=1) / np.where(reach > 0.0, reach, 1.0)
    G = turned @ alone
    if not attacks.movable or not attacks.ball.pulled(G).any():
        return np.zeros((1, 2))
    furthest = np.nan_to_num(np.asarray(attacks.ball.maximiser(G)))[:, features] * units[list(features)]
    new = np.ones(CORNERS, dtype=np.bool_)
    new[1:] = np.abs(np.diff(furthest, axis=0)).max(axis=1) > 1e-12 * np.abs(furthest).max()
    return np.asarray(furthest[new])


def certified_at(view: Model, attacks: AttackSet, radii: Array) -> NDArray[np.bool_]:
    """Which rows surely keep the class that is predicted, each within a radius of its own, shape (n,).

    Args:
        view: The classifier.
        attacks: On all rows.
        radii: Shape (n,).
    """
    index = view.predicted(attacks.X)
    certifier = certifier_of(view, attacks.ball, attacks.ranged, 0.0)
    asked, place = np.unique([attacks.reaching(radius) for radius in radii], return_inverse=True)
    held = certifier.held(attacks, index, asked)
    return np.asarray(held[place.reshape(-1), np.arange(index.size)])


def largest_certified_radii(view: Model, attacks: AttackSet, most: float) -> Array:
    """The largest radius of each row within which it surely keeps the class that is predicted, shape (n,).

    Of our networks it is what they say themselves; of others one of `STEPS` radii.

    Args:
        view: The classifier.
        attacks: On all rows.
        most: Beyond this radius it matters no longer.
    """
    if isinstance(view, NetworkModel):
        ball = attacks.ball
        network = replace(view.inner, norm=ball.norm, ellipsoid=ball.ellipsoid)
        return np.minimum(network.certified_radius(attacks.X), most)
    index = view.predicted(attacks.X)
    asked = np.linspace(0.0, most, STEPS + 1)[1:]
    held = certifier_of(view, attacks.ball, attacks.ranged, 0.0).held(attacks, index, asked)
    return np.asarray(np.append(0.0, asked)[held.cumprod(axis=0).sum(axis=0)])
