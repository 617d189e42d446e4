"""How accurate a network stays under attack: exactly for polynomial networks, between two bounds for ReLU networks."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.core.attacks.norms import GEOMETRIES, Norm, check_norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.load import load
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.robustness.evaluate import evaluate_robustness

AnyNetwork = PolynomialNetwork | ReLUNetwork


@dataclass(frozen=True)
class ExactAccuracy:
    """Exact share of rows that no attack within a radius turns wrong."""

    radius: float
    accuracy: float

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"radius": self.radius, "accuracy": self.accuracy}


@dataclass(frozen=True)
class Settled:
    """What is left of a bracket once worst cases are proven.

    Args:
        at_least: Share of rows proven to be right under every attack.
        at_most: Share of rows for which no successful attack is known.
        proven: Number of rows of which it is known whether an attack succeeds.
        rows: Number of rows.
    """

    at_least: float
    at_most: float
    proven: int
    rows: int


@dataclass(frozen=True)
class AccuracyBracket:
    """Two bounds on the share of rows that no attack within a radius turns wrong.

    Args:
        radius: Of the attack.
        certified: Lower bound: rows certified by linear relaxation.
        attacked: Upper bound: rows that every attack tried left right.
        settled: The bracket after mixed-integer proofs, where they were asked for.
    """

    radius: float
    certified: float
    attacked: float
    settled: Settled | None = None

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        found = {"radius": self.radius, "certified": self.certified, "attacked": self.attacked}
        if self.settled is None:
            return found
        exact = self.settled
        return found | {
            "exact": {
                "at_least": exact.at_least,
                "at_most": exact.at_most,
                "rows_proven": exact.proven,
                "rows": exact.rows,
            }
        }


def trained_norm(network: AnyNetwork) -> Norm:
    """The norm of the attacks that a network was trained against; inf for ReLU networks that saw none."""
    return check_norm(network.metadata.get("norm", network.norm)) if isinstance(network, ReLUNetwork) else 2


def exactly_judged(network: AnyNetwork, norm: Norm) -> bool:
    """Whether robust accuracies are exact: of a quadratic, in a ball or an ellipsoid."""
    return isinstance(network, PolynomialNetwork) and GEOMETRIES[norm].isotropic


def exact_accuracies(network: PolynomialNetwork, rows: Dataset, radii: Sequence[float]) -> tuple[ExactAccuracy, ...]:
    """Under l2 attacks, one for each radius."""
    found = network.robust_accuracy(rows.X, rows.y, list(radii))
    return tuple(ExactAccuracy(radius, float(share)) for radius, share in zip(radii, found, strict=True))


def bracketed_accuracies(
    network: AnyNetwork, rows: Dataset, radii: Sequence[float], norm: Norm
) -> tuple[AccuracyBracket, ...]:
    """Certified and attacked accuracy, one pair for each radius.

    Raises:
        InputError: The norm does not go with the shape of attacks that the network is judged against.
    """
    threat = Threat(norm)
    if network.ellipsoid is not None:
        threat = Threat(norm, scale=network.ellipsoid.scale, directions=network.ellipsoid.directions)
    report = evaluate_robustness(network, rows.X, rows.y, threat, list(radii))
    found = zip(report.radii.tolist(), report.certified.tolist(), report.attacked.tolist(), strict=True)
    brackets = {radius: AccuracyBracket(radius, low, high) for radius, low, high in found}
    return tuple(brackets[float(radius)] for radius in radii)


def settled_accuracies(
    network: ReLUNetwork, rows: Dataset, radii: Sequence[float], norm: Norm, time_limit: float | None
) -> tuple[Settled, ...]:
    """The exact share, for each radius, where proofs end in time.

    Args:
        network: A small network: the time may grow exponentially with its neurons.
        rows: In the network's units.
        radii: Of the attacks.
        norm: Of the attacks.
        time_limit: Seconds for all radii together; each gets a fair share of what is left.
    """
    end = None if time_limit is None else time.perf_counter() + time_limit
    found = []
    for k, radius in enumerate(radii):
        left = None if end is None else max(0.0, end - time.perf_counter()) / (len(radii) - k)
        found.append(_settled(network, rows, radius, norm, left))
    return tuple(found)


def _settled(network: ReLUNetwork, rows: Dataset, radius: float, norm: Norm, time_limit: float | None) -> Settled:
    n = rows.n_rows
    right = np.flatnonzero(np.asarray(network.predict(rows.X)) == rows.y)
    if radius == 0.0:
        return Settled(right.size / n, right.size / n, n, n)
    X, y = rows.X[right], rows.y[right]
    safe = network.lower_bound(X, y, radius, norm) > 0.0
    lost = network.attack(X, y, radius, norm).margins <= 0.0
    # Proofs are only worth their time for the rows on which the two bounds disagree.
    unsettled = np.flatnonzero(~(safe | lost))
    if unsettled.size:
        worst = network.exact_worst_case(X[unsettled], y[unsettled], radius, norm, time_limit=time_limit)
        safe[unsettled], lost[unsettled] = worst.lower > 0.0, worst.margins <= 0.0
    doubtful = int(np.count_nonzero(~(safe | lost)))
    return Settled(float(safe.sum()) / n, float((~lost).sum()) / n, n - doubtful, n)


def load_network(path: Path) -> AnyNetwork:
    """Read a saved network of any family.

    Raises:
        InputError: There is no such file, or it holds no network.
    """
    if not os.path.exists(path):
        raise InputError(f"there is no network file {path}; write one with `cvxrobust solve ... --save {path}`.")
    return load(path)
