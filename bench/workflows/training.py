"""From a request to a trained network with everything needed to evaluate it later, elsewhere."""

import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import CsvFormat, some
from cvxrobust.bench.data.dataset import Dataset, load_dataset, stratified_split
from cvxrobust.bench.workflows.output_files import Saved, check_network_file, save_somewhere
from cvxrobust.bench.workflows.robustness import bracketed_accuracies, exact_accuracies, trained_norm
from cvxrobust.bench.workflows.threats import (
    DATA_UNIT,
    STANDARDISED_UNIT,
    AttackReach,
    check_by_feature,
    parameter_behind,
    radius_unit,
    threat_of,
)
from cvxrobust.bench.workflows.weights import row_weights, stated
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.networks.base import TRAINED_ON
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.networks.standardizer import constant_columns

if TYPE_CHECKING:
    from cvxrobust.core.attacks.norms import Norm
    from cvxrobust.core.contracts.result import Callback, Result
    from cvxrobust.core.networks.base import TwoLayerNetwork
    from cvxrobust.core.networks.standardizer import Standardizer
    from cvxrobust.core.settings import Settings

FLAGS = {"seed": "--gate-seed", "sample_weight": "--weight-column", "scale": "--immutable, --feature-radius"}
"""Options that are not called like the parameter they set: --seed is the split's."""

CARRIERS = "gates_that_can_carry_a_neuron"
"""In the report of a cone programme under attack."""


@dataclass(frozen=True)
class TrainingRequest:
    """What the command line asks for.

    Args:
        data: Name or path of the data.
        settings: How to solve.
        problem: Name of the problem family.
        parameters: Its keyword parameters, those that were given.
        backend: Name of the backend, or ``"auto"``.
        method: ``"auto"``, ``"direct"`` or ``"cutting-set"``.
        grow: Whether a problem with gates may add some while they lower the optimum.
        polish: Name of the backend that polishes, True for any, None to leave it to the backend ``"auto"``.
        data_folder: Where known sets lie.
        label: Name of the label column.
        test_fraction: Share of the rows held out.
        seed: Of the split, and of the problem's own random choices where its parameters give no other.
        standardize: Whether to standardise with the training rows' statistics.
        save: Where the network goes; None to keep it in memory.
        form: How a CSV file is to be read; None for the usual form.
        weight_column: Name of the column of the rows' weights; None for none.
    """

    data: str
    settings: "Settings"
    problem: str = "adversarial-sdp"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    backend: str = "auto"
    method: str = "auto"
    grow: bool = False
    polish: bool | str | None = None
    data_folder: Path | None = None
    label: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    standardize: bool = True
    save: Path | None = None
    form: CsvFormat | None = None
    weight_column: str | None = None


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
        """The radius trained for; 0 without an adversary."""
        return float(self.request.parameters.get("radius", 0.0))

    @property
    def norm(self) -> "Norm":
        """Norm of the attacks that the radius is about."""
        return trained_norm(self.result.network)

    @property
    def threat(self) -> AttackReach:
        """The attacks that the radius stands for."""
        return threat_of(self.result.network, self.dataset.feature_names, self.norm, self.radius)

    def accuracies(self) -> dict[str, float]:
        """Clean accuracies and those under attack; without held-out rows, those of the training rows alone.

        Under attack a polynomial network has an exact accuracy (``robust``), a ReLU network a lower and an upper bound
        (``certified`` and ``attacked``).
        """
        network, radii = self.result.network, [self.radius]
        parts = {"train": self.train} | ({"test": self.test} if self.test.n_rows else {})
        found = {f"{part}_clean": clean_accuracy(network, rows) for part, rows in parts.items()}
        for part, rows in parts.items() if self.radius else ():
            if isinstance(network, ReLUNetwork):
                (bracket,) = bracketed_accuracies(network, rows, radii, self.norm)
                found |= {f"{part}_certified": bracket.certified, f"{part}_attacked": bracket.attacked}
            else:
                (exact,) = exact_accuracies(network, rows, radii)
                found[f"{part}_robust"] = exact.accuracy
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
            "parameters": dict(request.parameters),
            "radius_unit": radius_unit(self.result.network),
            "threat": self.threat.to_dict() if self.radius else None,
            "accuracy": self.accuracies(),
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
    """

    request: TrainingRequest
    dataset: Dataset
    train: Dataset
    test: Dataset
    standardizer: "Standardizer | None"
    problem: Any


def prepare(request: TrainingRequest) -> Prepared:
    """Load, split, standardise, and state the problem.

    Raises:
        InputError: The request names something that does not exist, or values that make no problem.
    """
    weighted = {} if request.weight_column is None else {"sample_weight": request.weight_column}
    family = problem_class(request.problem, {**request.parameters, **weighted})
    check_by_feature(request.parameters)
    request = completed(request, family)
    if request.save is not None:
        check_network_file(request.save, Path(request.data))
    dataset = load_dataset(
        request.data, request.data_folder, request.label, form=request.form, weight=request.weight_column
    )
    training, test = stratified_split(dataset, request.test_fraction, request.seed)
    dataset = _with_constants_named(dataset, training)
    weights = row_weights(request.parameters, training)
    standardizer = fit_standardizer(training, weights) if request.standardize else None
    _check_loss_fits(request, dataset)
    problem = stated(family, request.parameters, training, standardizer, weights)
    return Prepared(request, dataset, training, test, standardizer, problem)


def train(request: TrainingRequest, callback: "Callback | None" = None) -> Training:
    """Prepare, solve, and save if asked; also after an interruption or a time limit.

    Raises:
        InputError: The request names something that does not exist, or values that make no problem.
    """
    from cvxrobust import solve

    prepared = prepare(request)
    result = solve(
        prepared.problem,
        backend=request.backend,
        method=request.method,
        settings=request.settings,
        gates="grow" if request.grow else "fixed",
        polish=request.polish,
        callback=callback,
    )
    return finish(prepared, result)


def finish(prepared: Prepared, result: "Result[Any]") -> Training:
    """A result together with its data; its network knows units and labels of the data, and is saved if asked."""
    request, dataset = prepared.request, prepared.dataset
    own, about = result.network, network_metadata(prepared.request, prepared.dataset, prepared.train)
    network = own.replace(
        regression=False,  # the squared loss fits -1 and +1 here, so outputs are labels by sign or by size
        classes=tuple(dataset.classes) if own.classes is None and own.alpha.ndim == 1 else own.classes,
        standardizer=prepared.standardizer,
        metadata={name: value for name, value in {**own.metadata, **about}.items() if name != TRAINED_ON},
    )
    train, test = (in_network_terms(rows, network) for rows in (prepared.train, prepared.test))
    saved = None if request.save is None else save_somewhere(network, request.save)
    return Training(request, dataset, train, test, replace(result, network=network), saved)


def problem_class(name: str, given: Mapping[str, Any]) -> Any:
    """The class of a registered problem family that takes the parameters given.

    Raises:
        UnknownNameError: No family has that name.
        InputError: It does not take one of the parameters, or needs one that is not given.
    """
    from cvxrobust.core.discovery.registry import problems

    known = problems()
    if name not in known:
        raise UnknownNameError("problem", name, known)
    description = known[name]
    refused = [parameter for parameter in given if parameter_behind(parameter) not in description.parameters]
    if refused:
        raise InputError(f"problem {name!r} takes no {_flags(refused)}; it takes {_flags(description.parameters)}.")
    family = description.factory()
    signature = inspect.signature(family).parameters
    needed = [
        parameter
        for parameter in description.parameters
        if parameter in signature and signature[parameter].default is inspect.Parameter.empty
    ]
    if missing := [parameter for parameter in needed if parameter not in given]:
        raise InputError(f"problem {name!r} needs {_flags(missing)}; give a value.")
    return family


def _flags(parameters: Iterable[str]) -> str:
    return ", ".join(FLAGS.get(parameter, f"--{parameter.replace('_', '-')}") for parameter in parameters)


def completed(request: TrainingRequest, family: Any) -> TrainingRequest:
    """The request with the seed and the norm that its problem falls back on, so that both are reported and saved.

    Raises:
        InputError: Gates are to grow in a problem that has none.
    """
    from cvxrobust.core.discovery.registry import problems

    if request.grow and not hasattr(family, "grown"):
        raise InputError(f"problem {request.problem!r} has no gates, so --grow does not apply; leave it out.")
    takes, signature = problems()[request.problem].parameters, inspect.signature(family).parameters
    defaults: dict[str, Any] = {}
    if "seed" in takes:
        defaults["seed"] = request.seed
    if "norm" in takes and "norm" in signature and signature["norm"].default is not inspect.Parameter.empty:
        defaults["norm"] = signature["norm"].default
    return replace(request, parameters=defaults | dict(request.parameters))


def _check_loss_fits(request: TrainingRequest, dataset: Dataset) -> None:
    from cvxrobust.core.discovery.registry import problems

    name = request.parameters.get("loss")
    loss = None if name is None else loss_by_name(str(name))
    if loss is None or loss.margin or len(dataset.classes) <= 2 or "multiclass" in request.parameters:
        return
    start = (
        f"the loss {loss.name!r} fits real numbers, but data set {dataset.name!r} has {len(dataset.classes)} classes; "
        "choose another loss, "
    )
    if "multiclass" in problems()[request.problem].parameters:
        raise InputError(f"{start}or say how it fits labels: --multiclass one-versus-all or vector-output.")
    raise InputError(f"{start}or fit real targets with StandardSDP in Python.")


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


def network_metadata(request: TrainingRequest, dataset: Dataset, training: Dataset) -> dict[str, str | int | float]:
    """What is saved with a network: its data, split and problem."""
    parameters = {
        name: value if isinstance(value, str | int | float) else json.dumps(value)
        for name, value in request.parameters.items()
    }
    return {
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "feature_names": json.dumps(dataset.feature_names if dataset.named else ()),
        "class_labels": json.dumps([str(label) for label in dataset.classes]),
        "test_fraction": request.test_fraction,
        "split_seed": request.seed,
        "training_rows": training.n_rows,
        "problem": request.problem,
        "radius_unit": STANDARDISED_UNIT if request.standardize else DATA_UNIT,
        **parameters,
    }


def clean_accuracy(network: "TwoLayerNetwork", dataset: Dataset) -> float:
    """Share of rows that are classified correctly without an attack."""
    predicted: NDArray[Any] = np.asarray(network.predict(dataset.X))
    return float(np.mean(predicted == dataset.y))


def describe(dataset: Dataset) -> dict[str, Any]:
    """What a report says about a data set."""
    return {
        "name": dataset.name,
        "rows": dataset.n_rows,
        "features": dataset.n_features,
        "classes": [str(label) for label in dataset.classes],
        "fingerprint": dataset.fingerprint,
        "notes": list(dataset.notes),
    }
