"""What hyperparameters are chosen by: what is proved of rows that were held out, under attack."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.arguments import word
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.robustness.certificates import certifier_of
from cvxrobust.core.robustness.label_proofs import LabelProofs
from cvxrobust.core.robustness.models import NetworkModel, places
from cvxrobust.core.robustness.target_errors import OutputRange
from cvxrobust.problems.sklearn_estimators.rows import TrainingRows

Array = NDArray[np.float64]

SQUARED, ABSOLUTE = "squared", "absolute"
ERRORS = (SQUARED, ABSOLUTE)
"""What mean of the largest errors regressors are chosen by."""


class Judge(Protocol):
    """Scores every row held out; larger is better.

    Attributes:
        of_errors: Whether scores are minus errors, and no shares.
    """

    of_errors: ClassVar[bool]

    def __call__(self, network: Any, held: TrainingRows, threat: Threat) -> Array:
        """Scores, shape (n,).

        Args:
            network: With its standardizer and what it knows of labels or targets.
            held: Rows as they come; their radii, or 1, are what that of the threat is multiplied by.
            threat: The attacks, in the network's units.
        """
        ...

    def shown(self, score: float) -> str:
        """A mean score in words."""
        ...


@dataclass(frozen=True)
class CertifiedAccuracy:
    """1 for rows that no attack turns wrong, by proof, 0 for others.

    Args:
        radius: Of the threat.
    """

    radius: float

    of_errors: ClassVar[bool] = False

    def __call__(self, network: Any, held: TrainingRows, threat: Threat) -> Array:
        """See `Judge`; rows of a class that the network has never seen do not count as withstanding."""
        labels, classes = held.targets, NetworkModel(network).classes
        found = np.zeros(labels.size)
        known = np.flatnonzero(np.isin(labels, np.asarray(classes, dtype=labels.dtype)))
        if known.size:
            rows = held.take(known)
            proofs = LabelProofs.of(network, rows.inputs, threat)
            right = proofs.index == places(classes, rows.targets, known.size)
            found[known] = right & proofs.held(_radii(self.radius, rows))
        return found

    def shown(self, score: float) -> str:
        """Per cent."""
        return f"{100.0 * score:.1f} %"


@dataclass(frozen=True)
class WorstError:
    """Minus the largest error that attacks may make, or its square, in units of the targets.

    Args:
        radius: Of the threat.
        error: One of `ERRORS`.
    """

    radius: float
    error: str = SQUARED

    of_errors: ClassVar[bool] = True

    def __post_init__(self) -> None:
        word(self.error, "error", ERRORS)

    def __call__(self, network: Any, held: TrainingRows, threat: Threat) -> Array:
        """See `Judge`."""
        mean, scale = (float(network.metadata[name]) for name in ("target_mean", "target_scale"))
        reached = OutputRange.of_threat(network, held.inputs, _radii(self.radius, held), threat)
        worst = scale * reached.largest_errors((held.targets - mean) / scale)
        return np.asarray(-(worst**2) if self.error == SQUARED else -worst)

    def shown(self, score: float) -> str:
        """The mean."""
        return f"{-score:.4g} ({self.error} error under attack)"


def _radii(radius: float, rows: TrainingRows) -> Array:
    return np.asarray(np.broadcast_to(radius * np.asarray(rows.radius), rows.targets.shape))


def withstands(network: Any, X: Array, labels: NDArray[Any], threat: Threat, radii: Array) -> NDArray[np.bool_]:
    """Rows that no attack of each radius turns wrong, by the proof that `evaluate_robustness` has; shape (k, n).

    Exact for polynomial networks against l2 attacks and ellipsoids, a bound in the other norms and for ReLU networks.
    Rows of a class that the network has never seen do not.

    Args:
        network: With its standardizer and its labels.
        X: Inputs in the units of the data, shape (n, d).
        labels: Shape (n,).
        threat: The attacks, in the network's units, but for the range of inputs.
        radii: Of the attacks, shape (k,), each finite and 0 or more; 0 for none.
    """
    view = NetworkModel(network)
    found = np.zeros((radii.size, labels.size), dtype=np.bool_)
    known = np.flatnonzero(np.isin(labels, np.asarray(view.classes, dtype=labels.dtype)))
    if known.size == 0:
        return found
    rows, index = view.inputs(X[known]), places(view.classes, labels[known], known.size)
    attacks = view.stated(threat).on(rows)
    certifier = certifier_of(view, attacks.ball, attacks.ranged, 0.0)
    held = certifier.held(attacks, index, np.array([attacks.reaching(radius) for radius in radii]))
    # Without an attack nothing need be proved, not even of a row on the boundary.
    found[:, known] = (view.predicted(rows) == index) & (held | (radii == 0.0)[:, None])
    return found
