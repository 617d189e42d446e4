"""Which rows withstand a threat, by proof: what hyperparameters are chosen by."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.robustness.certificates import certifier_of
from cvxrobust.core.robustness.models import NetworkModel, places
from cvxrobust.problems.data.features import ShapeArrays

Array = NDArray[np.float64]


def threat_of_shape(norm: Norm, shape: ShapeArrays) -> Threat:
    """The attacks of a shape in the units of a network."""
    return Threat(norm, scale=shape.scale, covariance=shape.covariance, directions=shape.directions)


def withstands(network: Any, X: Array, labels: NDArray[Any], threat: Threat, radii: Array) -> NDArray[np.bool_]:
    """Rows that no attack of each radius turns wrong, by the proof that `evaluate_robustness` has; shape (k, n).

    Exact for polynomial networks against l2 attacks and ellipsoids, a bound in the other norms and for ReLU networks.
    Rows of a class that the network has never seen do not.

    Args:
        network: With its standardizer and its labels.
        X: Inputs in the units of the data, shape (n, d).
        labels: Shape (n,).
        threat: The attacks, in the network's units.
        radii: Of the attacks, shape (k,), each finite and 0 or more; 0 for none.
    """
    view = NetworkModel(network)
    found = np.zeros((radii.size, labels.size), dtype=np.bool_)
    known = np.flatnonzero(np.isin(labels, np.asarray(view.classes, dtype=labels.dtype)))
    if known.size == 0:
        return found
    rows, index = view.inputs(X[known]), places(view.classes, labels[known], known.size)
    attacks = threat.on(rows)
    certifier = certifier_of(view, attacks.ball, attacks.ranged, 0.0)
    held = certifier.held(attacks, index, np.array([attacks.reaching(radius) for radius in radii]))
    # Without an attack nothing need be proved, not even of a row on the boundary.
    found[:, known] = (view.predicted(rows) == index) & (held | (radii == 0.0)[:, None])
    return found
