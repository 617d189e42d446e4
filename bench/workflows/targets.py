"""Numbers that are to be predicted: their units in training, and how far predictions are off, attacked or not."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.bench.workflows.robustness import AnyNetwork, Range, exactly_judged, own_threat
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.robustness.target_errors import OutputRange

Array = NDArray[np.float64]


@dataclass(frozen=True)
class TargetUnits:
    """What a network's outputs are in: the targets less their mean, in standard deviations.

    A network without an offset of its own would spend its penalty on the mean.

    Args:
        mean: Of the training targets; 0 for targets as they are.
        scale: Their standard deviation; 1 for targets as they are.
    """

    mean: float = 0.0
    scale: float = 1.0

    @classmethod
    def fit(cls, training: Dataset, weights: Array | None) -> "TargetUnits":
        """Of the training rows alone; of labels none."""
        if not training.regression:
            return cls()
        found = Standardizer.fit(training.y[:, None], ("the targets",), weights)
        return cls(float(found.mean[0]), float(found.scale[0]))

    @classmethod
    def of(cls, network: AnyNetwork) -> "TargetUnits":
        """Those that a network's file tells."""
        about = network.metadata
        return cls(float(about.get("target_mean", 0.0)), float(about.get("target_scale", 1.0)))

    def inward(self, rows: Dataset) -> Dataset:
        """The rows with targets as a network has them; labels stay."""
        return replace(rows, y=(rows.y - self.mean) / self.scale) if rows.regression else rows

    def outward(self, outputs: Array) -> Array:
        """Outputs of a network in the targets' units, shape (n,)."""
        return np.asarray(self.mean + self.scale * outputs)


AS_THEY_ARE = TargetUnits()


def predicted_range(
    network: AnyNetwork, X: Array, radius: float | Array, norm: Norm, bounds: Range | None = None
) -> OutputRange:
    """What predictions cannot leave under attack, in the targets' units, where inputs stay in their range."""
    units = TargetUnits.of(network)
    if bounds is None:
        found = OutputRange.under_attack(network, X, radius, norm)
    else:
        found = OutputRange.of_threat(network, X, radius, own_threat(network, norm, bounds))
    return OutputRange(units.outward(found.low), units.outward(found.high))


def errors(
    network: AnyNetwork, rows: Dataset, radii: Array, norm: Norm, bounds: Range | None = None
) -> dict[str, float]:
    """How far predictions are off, in the targets' units.

    Args:
        network: The network.
        rows: With their targets.
        radii: Of the attacks on each row, shape (n,); all 0 for none.
        norm: Of the attacks.
        bounds: The range that inputs stay in, in the data's units, of ReLU networks; None for none.

    Returns:
        ``mean_absolute``, ``root_mean_square``, and ``explained``, the share of the targets' variance (R^2). Under
        attack also means of the largest absolute errors: ``worst`` of a polynomial network under l2 attacks,
        exactly; in other norms and of ReLU networks ``certified``, which the true mean cannot exceed; and of ReLU
        networks ``attacked``, which attacks that were found reach.
    """
    units = TargetUnits.of(network)
    off = units.outward(np.asarray(network.predict(rows.X))) - rows.y
    found = {
        "mean_absolute": float(np.abs(off).mean()), "root_mean_square": float(np.sqrt(np.mean(off**2))),
        "explained": explained(off, rows.y),
    }  # fmt: skip
    if not radii.any():
        return found
    certified = float(predicted_range(network, rows.X, radii, norm, bounds).largest_errors(rows.y).mean())
    if not isinstance(network, ReLUNetwork):
        return found | {"worst" if exactly_judged(network, norm) else "certified": certified}
    ends = OutputRange.found(network, rows.X, radii, own_threat(network, norm, bounds))
    reached = OutputRange(units.outward(ends.low), units.outward(ends.high)).largest_errors(rows.y)
    return found | {"certified": certified, "attacked": float(reached.mean())}


def under_attack(
    network: AnyNetwork, rows: Dataset, radii: Array, norm: Norm, bounds: Range | None = None
) -> dict[str, float]:
    """What only attacks make of `errors`; of radius 0 the errors as they are."""
    found = errors(network, rows, radii, norm, bounds)
    worst = {"worst": found["mean_absolute"]}
    return {name: found[name] for name in ("worst", "certified", "attacked") if name in found} or worst


def explained(off: Array, targets: Array) -> float:
    """The share of the targets' variance that predictions explain; of targets without any 1 if nothing is off, else 0.

    Args:
        off: Predictions less targets, shape (n,).
        targets: Shape (n,).
    """
    spread = float(np.sum((targets - targets.mean()) ** 2))
    return 1.0 - float(off @ off) / spread if spread else float(not off.any())
