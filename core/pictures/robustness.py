"""The band of one network on rows of a caller's."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.threat import Threat, checked_threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.pictures.band import plot_band
from cvxrobust.core.pictures.canvas import check_axes
from cvxrobust.core.robustness.evaluate import evaluate_robustness

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

STEPS = 11
"""Radii where none are given."""


def plot_robustness(
    network: Any,
    X: ArrayLike,
    y: ArrayLike,
    radii: ArrayLike | None = None,
    threat: object = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Evaluate a network under attack and draw the band; see `TwoLayerNetwork.plot_robustness`.

    Raises:
        InputError: Data, radii or the threat do not fit, it tells no classes apart, or matplotlib is missing.
    """
    check_axes(ax)
    if network.regression:
        raise InputError(
            "the network predicts numbers, and a band of accuracy is about classes; take replace(regression=False) to "
            "judge its sign."
        )
    asked = own_threat(network) if threat is None else checked_threat(threat)
    report = evaluate_robustness(network, X, y, asked, _radii(network, X) if radii is None else radii)
    return plot_band(report, ax)


def own_threat(network: Any) -> Threat:
    """Attacks like those that a network was trained for, in its units."""
    shape: Ellipsoid | None = network.ellipsoid
    if shape is None:
        return Threat(network.norm)
    return Threat(network.norm, scale=shape.scale, directions=shape.directions)


def _radii(network: Any, X: ArrayLike) -> Array:
    """From 0 to where the last certificate ends, and a little further."""
    reach = np.asarray(network.certified_radius(X))
    largest = float(reach[np.isfinite(reach)].max(initial=0.0))
    return np.linspace(0.0, 1.05 * largest or 1.0, STEPS)
