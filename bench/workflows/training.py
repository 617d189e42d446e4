"""From a request to a trained network with everything needed to evaluate it later, elsewhere."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import some
from cvxrobust.bench.data.dataset import Dataset, load_dataset, stratified_split
from cvxrobust.bench.workflows.output_files import Saved, check_network_file, save_somewhere
from cvxrobust.bench.workflows.requests import TrainingRequest, completed, describe, network_metadata, problem_class
from cvxrobust.bench.workflows.resuming import forget, keeping, start_of
from cvxrobust.bench.workflows.robustness import (
    Range,
    bracketed_accuracies,
    exact_accuracies,
    exactly_judged,
    shares_at_own_radii,
    trained_norm,
)
from cvxrobust.bench.workflows.targets import AS_THEY_ARE, TargetUnits, errors
from cvxrobust.bench.workflows.threats import (
    AttackReach,
    check_by_feature,
    in_range,
    radius_unit,
    threat_of,
)
from cvxrobust.bench.workflows.weights import row_radius, row_weights, stated
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.networks.base import TRAINED_ON
from cvxrobust.core.networks.standardizer import constant_columns

if TYPE_CHECKING:
    from cvxrobust.core.attacks.norms import Norm
    from cvxrobust.core.contracts.result import Callback, Result
    from cvxrobust.core.networks.base import TwoLayerNetwork
    from cvxrobust.core.networks.standardizer import Standardizer


CARRIERS = "gates_that_can_carry_a_neuron"
"""In the report of a cone programme under attack."""


@dataclass(frozen=True)
class Training:
    """A result together with the data it was trained and tested on, with the labels that the network answers with.

    Args:
        request: What was asked for.
        dataset: The data, before the split.
        train: The rows trained on, in the data's units.
        test: The rows held out.
        result: What came of it; its network knows the units and the labels of the data.
        saved: Where the network is, if it was to be saved.
    """

    request: TrainingRequest
    dataset: Dataset
    train: Dataset
    test: Dataset
    result: "Result[Any]"
    saved: Saved | None = None

    @property
    def radius(self) -> float:
        """The radius trained for, the largest where rows have their own; 0 without an adversary."""
        return float(np.max(self._radii(self.train), initial=0.0))

    def _radii(self, rows: Dataset) -> NDArray[np.float64]:
        """The radius of each row, shape (n,)."""
        return np.broadcast_to(np.asarray(row_radius(self.request.parameters, rows), dtype=np.float64), (rows.n_rows,))

    @property
    def norm(self) -> "Norm":
        """Norm of the attacks that the radius is about."""
        return trained_norm(self.result.network)

    @property
    def bounds(self) -> Range | None:
        """The range that inputs stay in, in the data's units."""
        return self.request.range[0]

    @property
    def threat(self) -> AttackReach:
        """The attacks that the radius stands for."""
        return threat_of(self.result.network, self.dataset.feature_names, self.norm, self.radius)

    def accuracies(self) -> dict[str, float]:
        """Clean accuracies and those under attack; without held-out rows, those of the training rows alone.

        Under l2 attacks a polynomial network has an exact accuracy (``robust``); in boxes, and of a ReLU network, there
        are a lower and an upper bound (``certified`` and ``attacked``). Rows with radii of their own are attacked by
        these.
        """
        if self.dataset.regression:
            return {}
        network, radii = self.result.network, [self.radius]
        parts = {"train": self.train} | ({"test": self.test} if self.test.n_rows else {})
        found = {f"{part}_clean": clean_accuracy(network, rows) for part, rows in parts.items()}
        if self.request.radius_column is not None:
            return found | self._by_own_radii(parts)
        for part, rows in parts.items() if self.radius else ():
            if not exactly_judged(network, self.norm):
                (bracket,) = bracketed_accuracies(network, rows, radii, self.norm, self.bounds)
                found |= {f"{part}_certified": bracket.certified, f"{part}_attacked": bracket.attacked}
            else:
                (exact,) = exact_accuracies(network, rows, radii)
                found[f"{part}_robust"] = exact.accuracy
        return found

    def errors(self) -> dict[str, float]:
        """How far predictions of numbers are off, in their units, by part of the rows; nothing for classes.

        See `cvxrobust.bench.workflows.targets.errors`.
        """
        parts = {"train": self.train} | ({"test": self.test} if self.test.n_rows else {})
        return {
            f"{part}_{name}": value
            for part, rows in (parts.items() if self.dataset.regression else ())
            for name, value in errors(self.result.network, rows, self._radii(rows), self.norm, self.bounds).items()
        }

    def _by_own_radii(self, parts: Mapping[str, Dataset]) -> dict[str, float]:
        network = self.result.network
        found: dict[str, float] = {}
        for part, rows in parts.items():
            certified, attacked = shares_at_own_radii(network, rows, self._radii(rows), self.norm, self.bounds)
            if not exactly_judged(network, self.norm):
                found |= {f"{part}_certified": certified, f"{part}_attacked": attacked}
            else:
                found[f"{part}_robust"] = certified
        return found

    def check_saved(self) -> None:
        """Complain, once all is printed, where the network is not where it was asked for.

        Raises:
            WriteError: It is not; the message says where it is.
        """
        if self.saved is not None and self.saved.failure:
            raise self.saved.error()

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        request = self.request
        return {
            "data": describe(self.dataset),
            "split": {
                "test_fraction": request.test_fraction,
                "seed": request.seed,
                "train_rows": self.train.n_rows,
                "test_rows": self.test.n_rows,
            },
            "problem": request.problem,
            "parameters": request.asked,
            "radius_unit": radius_unit(self.result.network),
            "threat": self.threat.to_dict() if self.radius else None,
            "accuracy": self.accuracies(),
            **({"errors": self.errors()} if self.dataset.regression else {}),
            "result": self.result.to_dict(),
            **({"saved": None} if self.saved is None else self.saved.to_dict()),
        }


@dataclass(frozen=True)
class Prepared:
    """A problem to train on, and what became of the data on the way.

    Args:
        request: What was asked for, with the seed and the norm that its problem falls back on.
        dataset: The data, in its own units.
        train: The rows to train on, in the data's units.
        test: The rows held out.
        standardizer: What turns the data's units into the problem's; None if nothing does.
        problem: The problem of the rows to train on.
        units: What the problem's targets are in; of labels nothing.
    """

    request: TrainingRequest
    dataset: Dataset
    train: Dataset
    test: Dataset
    standardizer: "Standardizer | None"
    problem: Any
    units: TargetUnits = AS_THEY_ARE


def prepare(request: TrainingRequest) -> Prepared:
    """Load, split, standardise, and state the problem.

    Raises:
        InputError: The request names something that does not exist, or values that make no problem.
    """
    weighted = {} if request.weight_column is None else {"sample_weight": request.weight_column}
    family = problem_class(request.problem, request.asked | weighted)
    check_by_feature(request.asked)
    ranged = request.range
    request, targets = completed(request, family), request.targets
    if request.save is not None:
        check_network_file(request.save, Path(request.data))
    dataset = load_dataset(
        request.data, request.data_folder, request.label, form=request.form, weight=request.weight_column,
        radius=request.radius_column, targets=targets,
    )  # fmt: skip
    training, test = (
        in_range(part, *ranged) for part in stratified_split(dataset, request.test_fraction, request.seed)
    )
    dataset = _with_constants_named(dataset, training)
    weights = row_weights(request.parameters, training)
    standardizer = fit_standardizer(training, weights) if request.standardize else None
    _check_loss_fits(request, dataset)
    units = TargetUnits.fit(training, weights) if request.standardize else AS_THEY_ARE
    problem = stated(family, request.parameters, units.inward(training), standardizer, weights)
    return Prepared(request, dataset, training, test, standardizer, problem, units)


def train(request: TrainingRequest, callback: "Callback | None" = None) -> Training:
    """Prepare, solve, and save if asked; also after an interruption or a time limit.

    Raises:
        InputError: The request names something that does not exist, or values that make no problem.
    """
    from cvxrobust import solve

    prepared = prepare(request)
    start = start_of(prepared.request, _about(prepared), prepared.problem)
    result = solve(
        prepared.problem,
        backend=request.backend,
        method=request.method,
        settings=request.settings,
        gates="grow" if request.grow else "fixed",
        polish=request.polish,
        callback=callback,
        keep=keeping(request.save, lambda network: _with_data(prepared, network)),
        warm_start=start,
    )
    training = finish(prepared, result)
    if training.saved is not None and training.saved.path is not None:
        forget(training.saved.asked)
    return training


def finish(prepared: Prepared, result: "Result[Any]") -> Training:
    """A result together with its data; its network knows units and labels of the data, and is saved if asked."""
    request, dataset = prepared.request, prepared.dataset
    network = _with_data(prepared, result.network)
    train, test = (in_network_terms(rows, network) for rows in (prepared.train, prepared.test))
    saved = None if request.save is None else save_somewhere(network, request.save)
    return Training(request, dataset, train, test, replace(result, network=network), saved)


def _about(prepared: Prepared) -> dict[str, str | int | float]:
    """What is saved with a network."""
    about = network_metadata(prepared.request, prepared.dataset, prepared.train)
    if prepared.dataset.regression:
        about |= {"target_mean": prepared.units.mean, "target_scale": prepared.units.scale}
    return about


def _with_data(prepared: Prepared, own: "TwoLayerNetwork") -> "TwoLayerNetwork":
    """A problem's network, which from now on knows units and labels of the data."""
    dataset = prepared.dataset
    classless = own.classes is None and own.alpha.ndim == 1 and not dataset.regression
    return own.replace(
        regression=dataset.regression,  # losses of targets fit -1 and +1, too: labels, by sign or by size
        classes=tuple(dataset.classes) if classless else own.classes,
        standardizer=prepared.standardizer,
        metadata={name: value for name, value in {**own.metadata, **_about(prepared)}.items() if name != TRAINED_ON},
    )


def _check_loss_fits(request: TrainingRequest, dataset: Dataset) -> None:
    from cvxrobust.core.discovery.registry import problems

    name = request.parameters.get("loss")
    loss = None if name is None else loss_by_name(str(name))
    if loss is None or loss.margin or len(dataset.classes) <= 2 or "multiclass" in request.parameters:
        return
    start = (
        f"the loss {loss.name!r} fits real numbers, but data set {dataset.name!r} has {len(dataset.classes)} classes; "
        "choose another loss"
    )
    if not isinstance(dataset.classes[0], str):
        start += ", add --regression if these are numbers to be fitted"
    if "multiclass" in problems()[request.problem].parameters:
        raise InputError(f"{start}, or say how it fits labels: --multiclass one-versus-all or vector-output.")
    raise InputError(f"{start}, or sort the rows into two classes.")


def _with_constants_named(dataset: Dataset, training: Dataset) -> Dataset:
    """The data set with a note on columns that carry nothing."""
    names = [dataset.feature_names[column] for column in constant_columns(training.X)]
    if not names:
        return dataset
    note = f"the same value in all training rows, so these columns carry nothing: {some(names)}"
    return replace(dataset, notes=(*dataset.notes, note))


def fit_standardizer(training: Dataset, weights: NDArray[np.float64] | None = None) -> "Standardizer":
    """Means and standard deviations of the training rows alone, so that nothing is learnt from the others."""
    from cvxrobust import Standardizer

    return Standardizer.fit(training.X, training.feature_names if training.named else (), weights)


def in_network_terms(rows: Dataset, network: "TwoLayerNetwork") -> Dataset:
    """The rows with the labels that the network answers with: -1 and +1 are two classes of some other name."""
    if network.classes is None or len(network.classes) != 2 or network.alpha.ndim == 2:
        return rows
    return replace(rows, y=np.asarray(network.classes)[(rows.y > 0.0).astype(np.intp)])


def clean_accuracy(network: "TwoLayerNetwork", dataset: Dataset) -> float:
    """Share of rows that are classified correctly without an attack."""
    predicted: NDArray[Any] = np.asarray(network.predict(dataset.X))
    return float(np.mean(predicted == dataset.y))
