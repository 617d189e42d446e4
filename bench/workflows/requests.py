"""What a training is asked for, which problem that is, and what its network's file says of it."""

import inspect
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.bench.workflows.robustness import Range
from cvxrobust.bench.workflows.threats import DATA_UNIT, RADIUS_COLUMN, STANDARDISED_UNIT, parameter_behind, range_of
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.losses.by_name import loss_by_name

if TYPE_CHECKING:
    from cvxrobust.core.settings import Settings

FLAGS = {"seed": "--gate-seed", "sample_weight": "--weight-column", "scale": "--immutable, --feature-radius"}
"""Options that are not called like the parameter they set: --seed is the split's."""


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
        radius_column: Name of the column of the rows' attack radii, on which the radius among the parameters is then a
            factor; None for none.
        regression: Whether labels are numbers to be fitted, even if they do not look like it.
        resume: Whether to go on from what an earlier try left where `save` says.
        judged_in: The range that rows are in, and are judged in, and what becomes of those outside; None for that of
            the problem, among its parameters.
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
    radius_column: str | None = None
    regression: bool = False
    resume: bool = False
    judged_in: tuple[Range | None, str] | None = None

    @property
    def range(self) -> tuple[Range | None, str]:
        """The range of inputs, in the data's units, and what becomes of rows outside of it.

        Raises:
            InputError: It is empty, or there is no range that rows could lie outside of.
        """
        return range_of(self.parameters) if self.judged_in is None else self.judged_in

    @property
    def targets(self) -> bool | None:
        """Whether labels are numbers to be fitted; None where they are if they look like measurements.

        Raises:
            InputError: They are to be, but the loss is of labels.
        """
        name = self.parameters.get("loss")
        of_labels = name is None or loss_by_name(str(name)).margin
        if self.regression and of_labels:
            given = "there is no --loss" if name is None else f"the loss {name!r} is of labels"
            raise InputError(f"--regression fits numbers, but {given}; give --loss squared, absolute or huber.")
        if self.regression and "multiclass" in self.parameters:
            raise InputError("--regression fits numbers, but --multiclass is about classes; leave one of them out.")
        return False if of_labels or "multiclass" in self.parameters else self.regression or None

    @property
    def asked(self) -> dict[str, Any]:
        """The parameters, and the name of the column of radii where there is one."""
        return {**self.parameters, **({} if self.radius_column is None else {RADIUS_COLUMN: self.radius_column})}


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
    if missing := [parameter for parameter in needed if parameter not in map(parameter_behind, given)]:
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


def network_metadata(request: TrainingRequest, dataset: Dataset, training: Dataset) -> dict[str, str | int | float]:
    """What is saved with a network: its data, split and problem."""
    parameters = {
        name: value if isinstance(value, str | int | float) else json.dumps(value)
        for name, value in request.asked.items()
    }
    if request.radius_column is not None and "radius" in parameters:
        parameters["radius_factor"] = parameters.pop("radius")  # no radius of any row
    if request.label is not None:
        parameters["target" if dataset.regression else "label"] = request.label
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
