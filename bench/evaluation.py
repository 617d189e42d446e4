"""Exact robust accuracy of a saved network, on the rows it has not seen where they can be told."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.bench.data import Dataset, load_dataset, stratified_split
from cvxrobust.bench.training import clean_accuracy, describe, in_network_units, radius_unit
from cvxrobust.core.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from cvxrobust.core.networks import PolynomialNetwork

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
    """

    network: Path
    data: str
    radii: tuple[float, ...]
    split: str = "auto"
    data_folder: Path | None = None
    label: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """Exact accuracies on the rows named by `rows`.

    Args:
        request: What was asked for.
        dataset: The data, before the split.
        rows: Which rows were evaluated: ``"train"``, ``"test"`` or ``"all"``.
        n_rows: How many these are.
        clean: Accuracy without an attack.
        robust: Accuracy under the worst attack of each radius.
        median_distance: Median l2 distance of the rows to the decision boundary, in the network's unit.
        unit: The unit of radii and distances.
        notes: What a reader should know, one sentence each.
    """

    request: EvaluationRequest
    dataset: Dataset
    rows: str
    n_rows: int
    clean: float
    robust: tuple[float, ...]
    median_distance: float
    unit: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        pairs = zip(self.request.radii, self.robust, strict=True)
        return {
            "network": str(self.request.network),
            "data": describe(self.dataset),
            "split": self.rows,
            "rows": self.n_rows,
            "clean_accuracy": self.clean,
            "robust_accuracy": [{"radius": radius, "accuracy": accuracy} for radius, accuracy in pairs],
            "median_distance": self.median_distance,
            "radius_unit": self.unit,
            "notes": list(self.notes),
        }


def evaluate(request: EvaluationRequest) -> Evaluation:
    """Evaluate a saved network.

    Raises:
        InputError: The network or the data cannot be used, or do not belong together.
    """
    if request.split not in SPLITS:
        raise UnknownNameError("split", request.split, SPLITS)
    for radius in request.radii:
        if not (radius >= 0 and math.isfinite(radius)):
            raise InputError(f"the radius {radius!r} is no radius; expected finite numbers, 0 or more.")
    network = load_network(request.network)
    dataset = load_dataset(request.data, request.data_folder, request.label, _expected_classes(network))
    dataset = _align(dataset, network)
    chosen, rows, note = _choose_rows(dataset, network, request.split)
    chosen = in_network_units(chosen, network.standardizer)
    return Evaluation(
        request,
        dataset,
        rows,
        chosen.n_rows,
        clean_accuracy(network, chosen),
        tuple(map(float, network.robust_accuracy(chosen.X, chosen.y, list(request.radii)))),
        float(np.median(network.distance_to_boundary(chosen.X))),
        radius_unit(network),
        (*dataset.notes, note),
    )


def load_network(path: Path) -> "PolynomialNetwork":
    """Read a saved network.

    Raises:
        InputError: There is no such file, or it holds no network.
    """
    from cvxrobust import PolynomialNetwork

    if not path.is_file():
        raise InputError(f"there is no network file {path}; write one with `cvxrobust solve ... --save {path}`.")
    try:
        return PolynomialNetwork.load(path)
    except InputError:
        raise
    except Exception as error:  # a damaged archive raises many kinds
        raise InputError(
            f"{path} cannot be read as a network ({error}); expected a file written by `--save` or `network.save`."
        ) from error


def _expected_classes(network: "PolynomialNetwork") -> Sequence[Any] | None:
    """Labels in the network's terms, so that +1 means the same as in training whatever this file holds."""
    if network.classes is not None and len(network.classes) > 2:
        return tuple(network.classes)
    stored = network.metadata.get("class_labels")
    return None if stored is None else tuple(json.loads(str(stored)))


def _feature_names(network: "PolynomialNetwork") -> tuple[str, ...]:
    if network.standardizer is not None and network.standardizer.names:
        return tuple(network.standardizer.names)
    return tuple(json.loads(str(network.metadata.get("feature_names", "[]"))))


def _align(dataset: Dataset, network: "PolynomialNetwork") -> Dataset:
    """The columns the network was trained on, by name where both have names."""
    width = network.u.shape[1]
    names, own = _feature_names(network), dataset.feature_names
    unnamed = own == tuple(f"x{j + 1}" for j in range(len(own)))
    if not names or unnamed or names == own:
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
    return replace(
        dataset,
        X=dataset.X[:, columns],
        feature_names=names,
        notes=(*dataset.notes, "columns were matched by name"),
    )


def _choose_rows(dataset: Dataset, network: "PolynomialNetwork", split: str) -> tuple[Dataset, str, str]:
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
    fraction, seed = float(stored["test_fraction"]), int(stored["split_seed"])
    training, test = stratified_split(dataset, fraction, seed)
    if split == "train":
        return training, "train", "the rows trained on"
    if test.n_rows:
        return test, "test", "the rows held out in training"
    if split == "auto":
        return dataset, "all", "all rows: the network was trained on every one of them"
    raise InputError("the network was trained on every row, so none are held out; use --split all.")
