"""Accuracy of a saved network under attack, on the rows it has not seen where they can be told."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.data.csv_files import CsvFormat, some
from cvxrobust.bench.data.dataset import Dataset, load_dataset, stratified_split
from cvxrobust.bench.workflows.robustness import (
    AccuracyBracket,
    AnyNetwork,
    ExactAccuracy,
    bracketed_accuracies,
    exact_accuracies,
    exactly_judged,
    load_network,
    settled_accuracies,
    trained_norm,
)
from cvxrobust.bench.workflows.threats import AttackReach, asked_of, threat_of
from cvxrobust.bench.workflows.training import clean_accuracy, describe, in_network_terms
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.networks.polynomial import PolynomialNetwork

SPLITS = ("auto", "train", "test", "all")


@dataclass(frozen=True)
class EvaluationRequest:
    """What the command line asks for.

    Args:
        network: File of the network.
        data: Name or path of the data.
        radii: Attack radii, in the network's unit.
        split: ``"auto"`` (held-out rows of the network's own data, else all), ``"train"``, ``"test"``,
            ``"all"``.
        data_folder: Where known sets lie.
        label: Name of the label column.
        norm: Of the attacks; None for the norm that the network was trained against.
        exact: Settle by mixed-integer proofs what the bounds of a ReLU network leave open.
        time_limit: Seconds for these proofs, all radii together.
        form: How a CSV file is to be read; None for the usual form.
        weight_column: Name of the column of weights, which is no feature; rows of weight 0 are left out, all others
            count alike.
        immutable: Names of columns that attacks cannot touch.
        feature_radius: By how much an attack of the largest radius may move a column, by name, in the data's units.
            Without any of both attacks have the shape that the network was trained for.
    """

    network: Path
    data: str
    radii: tuple[float, ...]
    split: str = "auto"
    data_folder: Path | None = None
    label: str | None = None
    norm: Norm | None = None
    exact: bool = False
    time_limit: float | None = None
    form: CsvFormat | None = None
    weight_column: str | None = None
    immutable: tuple[str, ...] = ()
    feature_radius: Mapping[str, float] = field(default_factory=dict)

    @property
    def shape(self) -> dict[str, Any]:
        """What is asked of features by name, and the radius that this is about."""
        largest = max(self.radii, default=0.0)
        return {"immutable": self.immutable, "feature_radius": self.feature_radius, "radius": largest}

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UnknownNameError("split", self.split, SPLITS)
        for radius in self.radii:
            if not (radius >= 0 and math.isfinite(radius)):
                raise InputError(f"the radius {radius!r} is no radius; expected finite numbers, 0 or more.")
        if self.time_limit is not None and not self.exact:
            raise InputError("--time-limit limits the proofs of --exact; give both, or neither.")
        if self.time_limit is not None and not self.time_limit > 0:
            raise InputError(f"time_limit is {self.time_limit!r}; expected seconds above 0.")


@dataclass(frozen=True)
class Evaluation:
    """Accuracies on the rows named by `rows`.

    Args:
        request: What was asked for.
        dataset: The data, before the split.
        rows: Which rows were evaluated: ``"train"``, ``"test"`` or ``"all"``.
        n_rows: How many these are.
        clean: Accuracy without an attack.
        threat: The attacks: their norm, the unit of radii and distances, and what radius 1 stands for.
        robust: Accuracy under the attacks of each radius: exact for a polynomial network under l2 attacks, else
            two bounds.
        median_distance: Median l2 distance of the rows to the decision boundary, in the network's unit; None for a ReLU
            network, where it is not known.
        notes: What a reader should know, one sentence each.
    """

    request: EvaluationRequest
    dataset: Dataset
    rows: str
    n_rows: int
    clean: float
    threat: AttackReach
    robust: tuple[ExactAccuracy, ...] | tuple[AccuracyBracket, ...]
    median_distance: float | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        return {
            "network": str(self.request.network),
            "data": describe(self.dataset),
            "split": self.rows,
            "rows": self.n_rows,
            "clean_accuracy": self.clean,
            "norm": self.threat.norm,
            "robust_accuracy": [accuracy.to_dict() for accuracy in self.robust],
            "median_distance": self.median_distance,
            "radius_unit": self.threat.unit,
            "threat": self.threat.to_dict(),
            "notes": list(self.notes),
        }


def evaluate(request: EvaluationRequest) -> Evaluation:
    """Evaluate a saved network.

    Raises:
        InputError: The network or the data cannot be used, or do not belong together.
    """
    network = load_network(request.network)
    norm = trained_norm(network) if request.norm is None else request.norm
    if isinstance(network, PolynomialNetwork):
        _check_polynomial(request)
    classes = _expected_classes(network)
    dataset = load_dataset(
        request.data, request.data_folder, request.label, classes, request.form, request.weight_column
    )
    dataset = _align(dataset, network)
    network = asked_of(network, dataset.feature_names, request.shape)
    chosen, rows, note = _choose_rows(dataset, network, request.split)
    chosen = in_network_terms(chosen, network)
    return Evaluation(
        request,
        dataset,
        rows,
        chosen.n_rows,
        clean_accuracy(network, chosen),
        threat_of(network, dataset.feature_names, norm),
        _under_attack(request, network, chosen, norm),
        _median_distance(network, chosen, norm),
        (*dataset.notes, note),
    )


def _check_polynomial(request: EvaluationRequest) -> None:
    if request.exact:
        raise InputError(
            f"{request.network} holds a polynomial network, whose accuracies under l2 attacks are exact anyway, and "
            "bounds in other norms; leave out --exact."
        )


def _under_attack(
    request: EvaluationRequest, network: AnyNetwork, rows: Dataset, norm: Norm
) -> tuple[ExactAccuracy, ...] | tuple[AccuracyBracket, ...]:
    if isinstance(network, PolynomialNetwork) and exactly_judged(network, norm):
        return exact_accuracies(network, rows, request.radii)
    brackets = bracketed_accuracies(network, rows, request.radii, norm)
    if not request.exact or isinstance(network, PolynomialNetwork):
        return brackets
    settled = settled_accuracies(network, rows, request.radii, norm, request.time_limit)
    return tuple(replace(bracket, settled=found) for bracket, found in zip(brackets, settled, strict=True))


def _median_distance(network: AnyNetwork, rows: Dataset, norm: Norm) -> float | None:
    if not isinstance(network, PolynomialNetwork) or not exactly_judged(network, norm):
        return None
    return float(np.median(network.distance_to_boundary(rows.X)))


def _expected_classes(network: AnyNetwork) -> Sequence[Any] | None:
    """Labels in the network's terms, so that +1 means the same as in training whatever this file holds."""
    if network.classes is not None:
        return tuple(network.classes)
    return _listed(network, "class_labels") or None  # earlier versions kept those of two classes there


def feature_names(network: AnyNetwork) -> tuple[str, ...]:
    """Names of the inputs that the network was trained on; none where its file holds none."""
    if network.standardizer is not None and network.standardizer.names:
        return tuple(network.standardizer.names)
    return _listed(network, "feature_names")


def _listed(network: AnyNetwork, name: str) -> tuple[str, ...]:
    """Strings that the network's file lists; none where it lists nothing.

    Raises:
        InputError: It holds something else there.
    """
    try:
        found = json.loads(str(network.metadata.get(name, "[]")))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InputError(f"the network's file says {name} {network.metadata[name]!r:.60}; expected a list of names.")
    return tuple(found)


def _align(dataset: Dataset, network: AnyNetwork) -> Dataset:
    """The columns the network was trained on, by name where both have names, whatever these are."""
    width = network.n_features
    names, own = feature_names(network), dataset.feature_names
    counted = tuple(f"x{j + 1}" for j in range(width))
    if not names and dataset.named and set(own) == set(counted):
        names = counted  # what the columns of arrays are called in messages
    if not names or not dataset.named or names == own:
        if dataset.n_features != width:
            raise InputError(
                f"data set {dataset.name!r} has {dataset.n_features} features, but the network takes "
                f"{width}; pass data with the columns it was trained on."
            )
        return dataset
    if missing := [name for name in names if name not in own]:
        raise InputError(
            f"data set {dataset.name!r} lacks {len(missing)} of the {width} columns that the network was "
            f"trained on: {', '.join(missing[:12])}; pass data with the same column names."
        )
    columns = [own.index(name) for name in names]
    unused = [name for name in own if name not in names]
    left_out = f", {some(unused)} left out" if unused else ""
    return replace(
        dataset,
        X=dataset.X[:, columns],
        feature_names=names,
        notes=(*dataset.notes, f"columns were matched by name{left_out}"),
    )


def _choose_rows(dataset: Dataset, network: AnyNetwork, split: str) -> tuple[Dataset, str, str]:
    """The rows to evaluate, which part they are, and a sentence that says why."""
    stored = network.metadata
    if split == "all":
        return dataset, "all", "all rows, as asked"
    if stored.get("data_fingerprint") != dataset.fingerprint:
        if split == "auto":
            return dataset, "all", "all rows: this is not the data that the network was trained on"
        raise InputError(
            f"--split {split} needs the data that the network was trained on "
            f"({stored.get('data', 'unknown')!r}, unchanged), but {dataset.name!r} differs from it; use "
            "--split all."
        )
    try:
        fraction, seed = float(stored["test_fraction"]), int(stored["split_seed"])
    except (KeyError, ValueError, OverflowError) as error:
        raise InputError("the network's file does not say how its data was split; use --split all.") from error
    training, test = stratified_split(dataset, fraction, seed)
    if split == "train":
        return training, "train", "the rows trained on"
    if test.n_rows:
        return test, "test", "the rows held out in training"
    if split == "auto":
        return dataset, "all", "all rows: the network was trained on every one of them"
    raise InputError("the network was trained on every row, so none are held out; use --split all.")
