"""How far a saved network's numbers are off, and how much further attacks of each radius can push them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.bench.workflows.evaluation import EvaluationRequest
from cvxrobust.bench.workflows.other_models import is_other
from cvxrobust.bench.workflows.requests import describe
from cvxrobust.bench.workflows.robustness import AnyNetwork, load_network, trained_norm
from cvxrobust.bench.workflows.subjects import aligned, chosen_rows, feature_names, label_of
from cvxrobust.bench.workflows.targets import errors
from cvxrobust.bench.workflows.threats import AttackReach, asked_of, threat_of
from cvxrobust.core.errors import InputError

OF_CLASSES = {
    "exact": "--exact", "sanity": "--sanity", "picture": "--picture", "rows_file": "--rows", "bounds": "--bounds",
    "trusted": "--trust-code", "classes": "--classes", "input_shape": "--input-shape",
}  # fmt: skip
"""What can be asked of classifiers alone, by field of the request."""


@dataclass(frozen=True)
class NumbersEvaluation:
    """Errors on the rows named by `part`, in the units of the targets.

    Args:
        request: What was asked for.
        dataset: The data, before the split.
        rows: Those that were evaluated.
        part: Which these are: ``"train"``, ``"test"`` or ``"all"``.
        threat: The attacks: their norm, the unit of radii, and what radius 1 stands for.
        notes: What a reader should know, one sentence each.
        clean: Errors without an attack, see `cvxrobust.bench.workflows.targets.errors`.
        attacked: The same under the attacks of each radius.
    """

    request: EvaluationRequest
    dataset: Dataset
    rows: Dataset
    part: str
    threat: AttackReach
    notes: tuple[str, ...]
    clean: Mapping[str, float]
    attacked: tuple[Mapping[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "network": str(self.request.network),
            "data": describe(self.dataset),
            "split": self.part,
            "rows": self.rows.n_rows,
            "errors": dict(self.clean),
            "norm": self.threat.norm,
            "errors_under_attack": [
                {"radius": radius, **found} for radius, found in zip(self.request.radii, self.attacked, strict=True)
            ],
            "radius_unit": self.threat.unit,
            "threat": self.threat.to_dict(),
            "notes": list(self.notes),
        }


def predicts_numbers(request: EvaluationRequest) -> bool:
    """Whether what is to be evaluated is a network that predicts numbers.

    Raises:
        InputError: The file holds no network.
    """
    return not is_other(request.network) and bool(load_network(request.network).regression)


def evaluate_numbers(request: EvaluationRequest) -> NumbersEvaluation:
    """Evaluate a saved network that predicts numbers.

    Raises:
        InputError: The data cannot be used, does not belong to the network, or something of classifiers is asked for.
    """
    if asked := [option for name, option in OF_CLASSES.items() if getattr(request, name)]:
        raise InputError(
            f"{request.network} predicts numbers, and {', '.join(asked)} can be asked of classifiers alone; leave it "
            "out (`cvxrobust predict --radius` has what attacks can do to every row)."
        )
    network = load_network(request.network)
    norm = trained_norm(network) if request.norm is None else request.norm
    label = request.label or label_of(network, request.data)
    dataset = replace(request.subject, label=label).load(None, targets=True)
    dataset = aligned(dataset, feature_names(network), network.n_features)
    network = asked_of(network, dataset.feature_names, request.subject.shape)
    rows, part, note = chosen_rows(dataset, network, request.split)
    none = np.zeros(rows.n_rows)
    return NumbersEvaluation(
        request, dataset, rows, part, threat_of(network, dataset.feature_names, norm), (*dataset.notes, note),
        errors(network, rows, none, norm),
        tuple(_under_attack(network, rows, none + radius, norm) for radius in request.radii),
    )  # fmt: skip


def _under_attack(network: AnyNetwork, rows: Dataset, radii: Any, norm: Any) -> dict[str, float]:
    """What only attacks make of the errors; of radius 0 the errors as they are."""
    found = errors(network, rows, radii, norm)
    return {name: found[name] for name in ("worst", "certified", "attacked") if name in found} or {
        "worst": found["mean_absolute"]
    }
