"""From a request to a trained network with everything needed to evaluate it later, elsewhere."""

import inspect
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data import Dataset, load_dataset, stratified_split
from cvxrobust.core.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from cvxrobust.core.networks import PolynomialNetwork
    from cvxrobust.core.result import Callback, Result
    from cvxrobust.core.settings import Settings
    from cvxrobust.core.standardizer import Standardizer

STANDARDISED_UNIT = "standard deviations of the training features"
DATA_UNIT = "units of the data"


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
        data_folder: Where known sets lie.
        label: Name of the label column.
        test_fraction: Share of the rows held out.
        seed: Of the split.
        standardize: Whether to standardise with the training rows' statistics.
        save: Where the network goes; None to keep it in memory.
    """

    data: str
    settings: "Settings"
    problem: str = "adversarial-sdp"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    backend: str = "auto"
    method: str = "auto"
    data_folder: Path | None = None
    label: str | None = None
    test_fraction: float = 0.2
    seed: int = 0
    standardize: bool = True
    save: Path | None = None


@dataclass(frozen=True)
class Training:
    """A result together with the data it was trained and tested on, in the network's own units."""

    request: TrainingRequest
    dataset: Dataset
    train: Dataset
    test: Dataset
    result: "Result[Any]"

    @property
    def radius(self) -> float:
        """The radius trained for; 0 without an adversary."""
        return float(self.request.parameters.get("radius", 0.0))

    def accuracies(self) -> dict[str, float]:
        """Clean and exact robust accuracies; without held-out rows, those of the training rows alone."""
        network, radii = self.result.network, [self.radius]
        parts = {"train": self.train} | ({"test": self.test} if self.test.n_rows else {})
        found = {f"{part}_clean": clean_accuracy(network, rows) for part, rows in parts.items()}
        if self.radius:
            for part, rows in parts.items():
                found[f"{part}_robust"] = float(network.robust_accuracy(rows.X, rows.y, radii)[0])
        return found

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
            "accuracy": self.accuracies(),
            "result": self.result.to_dict(),
            "saved": None if request.save is None else str(request.save),
        }


def train(request: TrainingRequest, callback: "Callback | None" = None) -> Training:
    """Load, split, standardise, solve, and save if asked; also after an interruption or a time limit.

    Raises:
        InputError: The request names something that does not exist, or values that make no problem.
    """
    from cvxrobust import solve

    family = problem_class(request.problem, request.parameters)
    if request.save is not None:
        check_writable(request.save)
    dataset = load_dataset(request.data, request.data_folder, request.label)
    training, test = stratified_split(dataset, request.test_fraction, request.seed)
    standardizer = fit_standardizer(training) if request.standardize else None
    training, test = in_network_units(training, standardizer), in_network_units(test, standardizer)
    _check_loss_fits(request.parameters, dataset)
    problem = family(training.X, training.y, **request.parameters)
    result = solve(
        problem, backend=request.backend, method=request.method, settings=request.settings, callback=callback
    )
    network = replace(
        result.network,
        regression=False,  # the squared loss fits -1 and +1 here, so the sign of the output is a label
        standardizer=standardizer,
        metadata=network_metadata(request, dataset, training),
    )
    if request.save is not None:
        network.save(request.save)
    return Training(request, dataset, training, test, replace(result, network=network))


def problem_class(name: str, given: Mapping[str, Any]) -> Any:
    """The class of a registered problem family that takes the parameters given.

    Raises:
        UnknownNameError: No family has that name.
        InputError: It does not take one of the parameters, or needs one that is not given.
    """
    from cvxrobust.core.registry import problems

    known = problems()
    if name not in known:
        raise UnknownNameError("problem", name, known)
    description = known[name]
    refused = [parameter for parameter in given if parameter not in description.parameters]
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


def _flags(parameters: Any) -> str:
    return ", ".join(f"--{parameter.replace('_', '-')}" for parameter in parameters)


def check_writable(path: Path) -> None:
    """Find out before hours of solving whether a file can be written.

    Raises:
        InputError: It cannot, with the reason.
    """
    if path.suffix != ".npz":
        raise InputError(f"a network is saved as .npz, but --save names {path}; end the name in .npz.")
    if path.is_dir():
        raise InputError(f"--save names {path}, which is a folder; give the name of a file.")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"--save names {path}, which cannot be overwritten; choose another file.")
    try:
        # A trial file also finds read-only and full file systems, which permission bits do not show.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".cvxrobust-"):
            pass
    except OSError as error:
        raise InputError(
            f"--save names {path}, but nothing can be written to {path.parent} ({error.strerror}); "
            "choose another folder or create it first."
        ) from error


def _check_loss_fits(parameters: Mapping[str, Any], dataset: Dataset) -> None:
    if parameters.get("loss") == "squared" and len(dataset.classes) > 2:
        raise InputError(
            f"the loss 'squared' fits real numbers, but data set {dataset.name!r} has "
            f"{len(dataset.classes)} classes; choose another loss, or fit real targets with StandardSDP in "
            "Python."
        )


def fit_standardizer(training: Dataset) -> "Standardizer":
    """Means and standard deviations of the training rows alone, so that nothing is learnt from the others."""
    from cvxrobust import Standardizer

    return Standardizer.fit(training.X, training.feature_names)


def in_network_units(dataset: Dataset, standardizer: "Standardizer | None") -> Dataset:
    """The data as the network takes it: standardised, or as it is."""
    return dataset if standardizer is None else replace(dataset, X=standardizer.transform(dataset.X))


def network_metadata(request: TrainingRequest, dataset: Dataset, training: Dataset) -> dict[str, str | int | float]:
    """What is saved with a network: its data, split and problem."""
    parameters = {
        name: value if isinstance(value, str | int | float) else json.dumps(value)
        for name, value in request.parameters.items()
    }
    return {
        "data": dataset.name,
        "data_fingerprint": dataset.fingerprint,
        "feature_names": json.dumps(dataset.feature_names),
        "class_labels": json.dumps([str(label) for label in dataset.classes]),
        "test_fraction": request.test_fraction,
        "split_seed": request.seed,
        "training_rows": training.n_rows,
        "problem": request.problem,
        "radius_unit": STANDARDISED_UNIT if request.standardize else DATA_UNIT,
        **parameters,
    }


def radius_unit(network: "PolynomialNetwork") -> str:
    """In which unit the network's radii and distances are."""
    return DATA_UNIT if network.standardizer is None else STANDARDISED_UNIT


def clean_accuracy(network: "PolynomialNetwork", dataset: Dataset) -> float:
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
