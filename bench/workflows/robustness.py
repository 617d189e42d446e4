"""How accurate a network stays under attack: exactly for polynomial networks, between two bounds for ReLU networks."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.core.attacks.norms import GEOMETRIES, Norm, check_norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.load import load
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.relu_answers import ProvenWorstCase
from cvxrobust.core.networks.relu_contests import exact_margins
from cvxrobust.core.robustness.attacks import Attack, Best, Effort, apgd, pgd
from cvxrobust.core.robustness.boxes import CoordinateDescent, judges_boxes
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.label_proofs import LabelProofs
from cvxrobust.core.robustness.models import NetworkModel, places
from cvxrobust.core.robustness.report import RobustnessReport

Array = NDArray[np.float64]
AnyNetwork = PolynomialNetwork | ReLUNetwork
Range = tuple[float, float]
"""The least and the largest value of inputs, in the data's units."""


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
    return check_norm(network.metadata.get("norm", network.norm)) if isinstance(network, ReLUNetwork) else network.norm


def exactly_judged(network: AnyNetwork, norm: Norm) -> bool:
    """Whether robust accuracies are exact: of a quadratic, in a ball or an ellipsoid."""
    return isinstance(network, PolynomialNetwork) and GEOMETRIES[norm].isotropic


def exact_accuracies(network: PolynomialNetwork, rows: Dataset, radii: Sequence[float]) -> tuple[ExactAccuracy, ...]:
    """Under l2 attacks, one for each radius."""
    found = network.robust_accuracy(rows.X, rows.y, list(radii))
    return tuple(ExactAccuracy(radius, float(share)) for radius, share in zip(radii, found, strict=True))


def bracketed_accuracies(
    network: AnyNetwork, rows: Dataset, radii: Sequence[float], norm: Norm, bounds: Range | None = None
) -> tuple[AccuracyBracket, ...]:
    """Certified and attacked accuracy, one pair for each radius, where inputs stay in their range.

    Raises:
        InputError: The norm does not go with the shape of attacks that the network is judged against.
    """
    threat = own_threat(network, norm, bounds)
    return brackets(evaluate_robustness(network, rows.X, rows.y, threat, list(radii)), radii)


def shares_at_own_radii(
    network: AnyNetwork, rows: Dataset, radii: NDArray[np.float64], norm: Norm, bounds: Range | None = None
) -> tuple[float, float]:
    """The share of rows that withstand attacks of the radius of each, shape (n,): what is proved, what attacks leave.

    Both are one where worst cases are exact.
    """
    if bounds is not None:
        return _shares_in_range(network, rows, radii, own_threat(network, norm, bounds))
    if isinstance(network, ReLUNetwork):
        lower = network.lower_bound(rows.X, rows.y, radii, norm)
        reached = network.attack(rows.X, rows.y, radii, norm).margins
    elif exactly_judged(network, norm):
        lower = reached = network.distance_to_boundary(rows.X) - radii
    else:
        worst = network.replace(norm=norm).worst_case(rows.X, rows.y, radii)
        lower, reached = worst.lower, worst.margins
    # A row of margin 0 is right without an attack if its label is the one that zero counts as.
    right = np.asarray(network.predict(rows.X) == rows.y)
    certified, attacked = (np.mean(right & ((room > 0.0) | (radii == 0.0))) for room in (lower, reached))
    return float(certified), float(attacked)


def _shares_in_range(
    network: AnyNetwork, rows: Dataset, radii: NDArray[np.float64], threat: Threat
) -> tuple[float, float]:
    view, proofs = NetworkModel(network), LabelProofs.of(network, rows.X, threat)
    index = places(view.classes, rows.y, rows.n_rows)
    attacks, right = proofs.attacks.of_radii(radii), proofs.index == index
    best = Best.of(view, attacks.X, index)
    tried: list[Attack] = [pgd, apgd]
    if isinstance(view.inner, PolynomialNetwork) and judges_boxes(view.inner, attacks.ball):
        tried.append(CoordinateDescent(view.inner))
    for attack in tried:
        attack(view, attacks, index, best, Effort())
    left = view.predicted(best.points) == index
    return float(np.mean(right & proofs.held(radii))), float(np.mean(right & left))


def own_threat(network: AnyNetwork, norm: Norm, bounds: tuple[float, float] | None = None) -> Threat:
    """Attacks of the shape that a network is judged against.

    Args:
        network: The network.
        norm: Of the attacks.
        bounds: The range of inputs, in the data's units.
    """
    if network.ellipsoid is None:
        return Threat(norm, bounds=bounds)
    return Threat(norm, scale=network.ellipsoid.scale, directions=network.ellipsoid.directions, bounds=bounds)


def brackets(report: RobustnessReport, radii: Sequence[float]) -> tuple[AccuracyBracket, ...]:
    """What a report says of each radius, in the order in which they were asked for."""
    found = zip(report.radii.tolist(), report.certified.tolist(), report.attacked.tolist(), strict=True)
    known = {radius: AccuracyBracket(radius, low, high) for radius, low, high in found}
    return tuple(known[float(radius)] for radius in radii)


def settled(
    report: RobustnessReport, network: ReLUNetwork, rows: Dataset, threat: Threat, time_limit: float | None
) -> tuple[RobustnessReport, tuple[Settled, ...]]:
    """The exact share, for each radius of a report, where proofs end in time; and the report with what they found.

    Args:
        report: What bounds and attacks found.
        network: A small network: the time may grow exponentially with its neurons.
        rows: In the network's terms.
        threat: The attacks.
        time_limit: Seconds for all radii together; each gets a fair share of what is left.
    """
    end = None if time_limit is None else time.perf_counter() + time_limit
    held, alive, points = report.held.copy(), report.alive.copy(), report.points.copy()
    broken_by, broken_at = report.broken_by.copy(), report.broken_at.copy()
    for k, radius in enumerate(report.radii.tolist()):
        left = None if end is None else max(0.0, end - time.perf_counter()) / (len(report.radii) - k)
        # Proofs are only worth their time for the rows on which the two bounds disagree.
        doubtful = np.flatnonzero(alive[k] & ~held[k])
        if radius == 0.0:
            held[k, doubtful] = True  # nothing is done to them
        elif doubtful.size:
            X, y = rows.X[doubtful], rows.y[doubtful]
            worst = _exact_worst_case(network, X, y, radius, threat, left)
            held[: k + 1, doubtful] |= (worst.lower > 0.0) & alive[: k + 1, doubtful]
            lost = doubtful[worst.margins <= 0.0]
            alive[k:, lost], broken_by[lost], broken_at[lost] = False, "exact worst case", radius
            points[lost] = worst.points[worst.margins <= 0.0]
    found = tuple(_share(*pair) for pair in zip(held, alive, strict=True))
    words = f"{report.certificate}, then exact worst cases"
    return replace(
        report, held=held, alive=alive, points=points, broken_by=broken_by, broken_at=broken_at, certificate=words
    ), found


def _exact_worst_case(
    network: ReLUNetwork, X: Array, y: NDArray[Any], radius: float, threat: Threat, time_limit: float | None
) -> ProvenWorstCase:
    """The attacks that make margins smallest, where inputs stay in their range."""
    if threat.bounds is None:
        return network.exact_worst_case(X, y, radius, check_norm(threat.norm), time_limit=time_limit)
    view = NetworkModel(network)
    rows, index = view.inputs(X), places(view.classes, y, len(X))
    attacks = view.stated(threat).on(rows).of_radius(radius)
    assert isinstance(view.inner, ReLUNetwork)
    middles, ball = attacks.cut_off()
    found = exact_margins(view.inner, middles, y, index, ball, time_limit)
    return replace(found, points=view.returned(X, rows, attacks.clipped(found.points)))


def _share(held: NDArray[np.bool_], alive: NDArray[np.bool_]) -> Settled:
    return Settled(float(held.mean()), float(alive.mean()), int((held | ~alive).sum()), held.size)


def load_network(path: Path) -> AnyNetwork:
    """Read a saved network of any family.

    Raises:
        InputError: There is no such file, or it holds no network.
    """
    if not os.path.exists(path):
        raise InputError(f"there is no network file {path}; write one with `cvxrobust solve ... --save {path}`.")
    return load(path)
