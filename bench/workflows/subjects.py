"""What an evaluation is about: a network or a classifier of others, the rows that it is judged on, and the attacks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.data.csv_files import CsvFormat, some
from cvxrobust.bench.data.dataset import Dataset, load_dataset, stratified_split
from cvxrobust.bench.data.known import canonical_name
from cvxrobust.bench.workflows.other_models import TRUST, OtherModel, is_other, labels_for, load_other
from cvxrobust.bench.workflows.robustness import AnyNetwork, load_network, own_threat, trained_norm
from cvxrobust.bench.workflows.threats import (
    BOUNDS,
    RULE,
    AttackReach,
    asked_of,
    check_by_feature,
    in_range,
    range_of,
    reach_of,
    scale_of,
    threat_of,
)
from cvxrobust.bench.workflows.training import in_network_terms
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.problems.data.features import Features


@dataclass(frozen=True)
class AskedSubject:
    """Which model, data and attacks are asked for.

    Args:
        network: File of the network, or of a classifier of others.
        data: Name or path of the data.
        split: ``"auto"`` (held-out rows of the network's own data, else all), ``"train"``, ``"test"``,
            ``"all"``.
        data_folder: Where known sets lie.
        label: Name of the label column.
        norm: Of the attacks; None for the norm that the network was trained against.
        form: How a CSV file is to be read; None for the usual form.
        weight_column: Name of the column of weights, which is no feature; rows of weight 0 are left out, all others
            count alike.
        shape: What is asked of features by name, and the radius that this is about: ``immutable``, ``feature_radius``,
            ``radius``. Without any of the first two attacks have the shape that the network was trained for.
        bounds: The range of inputs, in the data's units; None for none.
        outside: What becomes of rows outside of it, ``"refuse"`` or ``"clip"``; None to refuse them.
        trusted: Whether somebody vouches for a file that may run code.
        classes: Labels of the data in the order of a classifier's own; nothing for its own, or sorted.
        input_shape: Of one input of a module that takes no vectors; nothing for vectors.
    """

    network: Path
    data: str
    split: str = "auto"
    data_folder: Path | None = None
    label: str | None = None
    norm: Norm | None = None
    form: CsvFormat | None = None
    weight_column: str | None = None
    shape: Mapping[str, Any] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None
    outside: str | None = None
    trusted: bool = False
    classes: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()

    def in_range(self, rows: Dataset) -> Dataset:
        """The rows, or the nearest in their range.

        Raises:
            InputError: The range is empty, or rows lie outside and that is to be refused.
            UnknownNameError: Nothing of that name can become of rows.
        """
        given = {BOUNDS: self.bounds, RULE: self.outside}
        return in_range(rows, *range_of({name: value for name, value in given.items() if value is not None}))

    def load(self, classes: Sequence[Any] | None, targets: bool = False) -> Dataset:
        """The data, with the labels that are expected, or numbers to be predicted."""
        return load_dataset(
            self.data, self.data_folder, self.label, classes, self.form, self.weight_column, targets=targets
        )


@dataclass(frozen=True)
class Subject:
    """What is judged.

    Args:
        model: The network, or the classifier.
        dataset: The data, before the split.
        rows: Those that are judged, with the model's own labels.
        part: Which these are: ``"train"``, ``"test"`` or ``"all"``.
        threat: The attacks.
        reach: What they are in words.
        notes: What a reader should know, one sentence each.
        classes: Labels of a module, in the order of its outputs; None where the model has its own.
        input_shape: Of one input, where it is no vector.
    """

    model: Any
    dataset: Dataset
    rows: Dataset
    part: str
    threat: Threat
    reach: AttackReach
    notes: tuple[str, ...]
    classes: tuple[Any, ...] | None = None
    input_shape: tuple[int, ...] = ()

    @property
    def X(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The inputs in the shape that the model takes."""
        return self.rows.X.reshape(-1, *self.input_shape) if self.input_shape else self.rows.X


def find_subject(asked: AskedSubject) -> Subject:
    """Read model and data.

    Raises:
        InputError: One cannot be used, or they do not belong together.
    """
    return _other(asked) if is_other(asked.network) else _network(asked)


def _network(asked: AskedSubject) -> Subject:
    if asked.trusted or asked.classes or asked.input_shape:
        raise InputError(
            f"{asked.network} is read as a network of this package, which knows its labels and runs no code; leave out "
            f"{TRUST}, --classes and --input-shape."
        )
    network = load_network(asked.network)
    asked = replace(asked, label=asked.label or label_of(network, asked.data))
    norm = trained_norm(network) if asked.norm is None else asked.norm
    dataset = asked.load(_expected_classes(network))
    dataset = aligned(dataset, feature_names(network), network.n_features)
    network = asked_of(network, dataset.feature_names, asked.shape)
    chosen, part, note = chosen_rows(dataset, network, asked.split)
    chosen = asked.in_range(chosen)
    reach = threat_of(network, dataset.feature_names, norm)
    threat = own_threat(network, norm, asked.bounds)
    return Subject(network, dataset, in_network_terms(chosen, network), part, threat, reach, (*dataset.notes, note))


def _other(asked: AskedSubject) -> Subject:
    if asked.split not in ("auto", "all"):
        raise InputError(f"{asked.network} does not say what it was trained on; leave --split out, for all rows.")
    check_by_feature(asked.shape)
    found = load_other(asked.network, asked.trusted)
    dataset = asked.load(labels_for(found, asked.classes, asked.network))
    width = found.width or (int(np.prod(asked.input_shape)) if asked.input_shape else dataset.n_features)
    dataset = aligned(dataset, found.names, width)
    scale = scale_of(asked.shape, Features(width, dataset.feature_names), None)
    norm: Norm = "inf" if asked.norm is None else asked.norm
    return Subject(
        found.model,
        dataset,
        _in_terms_of(asked.in_range(dataset), found),
        "all",
        Threat(norm, scale=scale, bounds=asked.bounds),
        reach_of(dataset.feature_names, norm, 1.0, Ellipsoid.of(width, scale=scale)),
        (*dataset.notes, "all rows: the model's file does not say which it was trained on"),
        None if found.classes is not None else dataset.classes,
        asked.input_shape,
    )


def _in_terms_of(rows: Dataset, found: OtherModel) -> Dataset:
    """The rows with the labels that the classifier answers with, or a module's."""
    own = rows.classes if found.classes is None else found.classes
    if len(rows.classes) == 2:
        places = (rows.y > 0.0).astype(np.intp)
    else:
        known = {label: place for place, label in enumerate(rows.classes)}
        places = np.array([known[label] for label in rows.y.tolist()], dtype=np.intp)
    return replace(rows, y=np.asarray(own)[places])


def _expected_classes(network: AnyNetwork) -> Sequence[Any] | None:
    """Labels in the network's terms, so that +1 means the same as in training whatever this file holds."""
    if network.classes is not None:
        return tuple(network.classes)
    return _listed(network, "class_labels") or None  # earlier versions kept those of two classes there


def label_of(network: AnyNetwork, data: str) -> str | None:
    """The label column that a network was trained on, where a file is asked about; None for the usual one.

    Args:
        network: The network.
        data: Name or path of the data; named sets have labels of their own.
    """
    stored = network.metadata.get("label", network.metadata.get("target"))
    return None if stored is None or canonical_name(data) is not None else str(stored)


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


def aligned(dataset: Dataset, names: tuple[str, ...], width: int) -> Dataset:
    """The columns that a model was trained on, by name where both have names, whatever these are."""
    own = dataset.feature_names
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


def chosen_rows(dataset: Dataset, network: AnyNetwork, split: str) -> tuple[Dataset, str, str]:
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
