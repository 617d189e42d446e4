"""Attacks in words, as objects that are about them are shown."""

import numpy as np
from numpy.typing import ArrayLike

from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.summary import counted


def norm_words(norm: object, ellipsoid: Ellipsoid | None = None) -> str:
    """The balls of attacks: ``l2 attacks``, and what they cannot touch."""
    words = f"l{norm} attacks"
    if ellipsoid is None:
        return words
    shape = "scaled" if ellipsoid.scale is not None else counted(ellipsoid.rank, "direction")
    fixed = ellipsoid.immutable
    kept = f", {len(fixed)} of {ellipsoid.n_inputs} inputs immutable" if fixed else ""
    return f"{words} ({shape}{kept})"


def attack_words(norm: object, radius: ArrayLike, ellipsoid: Ellipsoid | None = None) -> str:
    """The attacks of samples: ``l2 attacks of radius 0.1``, or that there are none.

    Args:
        norm: Their norm.
        radius: Of all, or of each, shape (n,).
        ellipsoid: Their shape; None for balls.
    """
    radii = np.asarray(radius, dtype=np.float64)
    if not radii.any():
        return "no attacks"
    low, high = float(radii.min()), float(radii.max())
    return f"{norm_words(norm, ellipsoid)} of radius {low:g}{f' to {high:g}' if high > low else ''}"
