"""From what the command line and a file say to the problem: weights of rows and classes, attacks by feature and row."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import some
from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.bench.workflows.threats import BOUNDS, BY_FEATURE, RULE, SCALE, as_trained, scale_of
from cvxrobust.core.errors import InputError
from cvxrobust.core.weights import ClassWeight, together
from cvxrobust.problems.data.features import Features

if TYPE_CHECKING:
    from cvxrobust.core.networks.standardizer import Standardizer

Array = NDArray[np.float64]


def row_weights(parameters: Mapping[str, Any], training: Dataset) -> Array | None:
    """What the training rows count by themselves and by their classes, shape (n,); None for all alike.

    Raises:
        InputError: A class is none of the data's.
    """
    return together(training.weights, own_class_weight(parameters, training), training.y, training.n_rows)


def own_class_weight(parameters: Mapping[str, Any], training: Dataset) -> ClassWeight:
    """What classes count, by the labels that the rows have: -1 and +1 where there are two.

    Raises:
        InputError: A class is none of the data's.
    """
    given, classes = parameters.get("class_weight"), training.classes
    if given is not None and training.regression:
        raise InputError("--class-weight is about classes, but the labels are numbers to be fitted; leave it out.")
    if isinstance(given, Mapping):
        own = dict(zip(map(str, classes), (-1.0, 1.0) if len(classes) == 2 else classes, strict=True))
        if unknown := [label for label in given if label not in own]:
            raise InputError(f"--class-weight names {some(unknown)}, but the labels are {some(list(own))}.")
        given = {own[label]: weight for label, weight in given.items()}
    found: ClassWeight = given
    return found


def row_radius(parameters: Mapping[str, Any], rows: Dataset) -> float | Array:
    """The radius of attacks, shape (n,) where rows have their own; that among the parameters is then a factor."""
    if rows.radii is None:
        return float(parameters.get("radius", 0.0))
    return np.asarray(float(parameters.get("radius", 1.0)) * rows.radii)


def stated(
    family: Any,
    given: Mapping[str, Any],
    training: Dataset,
    standardizer: "Standardizer | None",
    weights: Array | None,
) -> Any:
    """The problem of the rows to train on.

    Raises:
        InputError: A feature is none of the data's, or there is no such problem.
    """
    scale = scale_of(given, Features(training.n_features, training.feature_names), standardizer)
    inputs = training.X if standardizer is None else standardizer.transform(training.X)
    parameters = {name: value for name, value in given.items() if name not in ("class_weight", RULE, *BY_FEATURE)}
    if BOUNDS in parameters:
        parameters[BOUNDS] = as_trained(parameters[BOUNDS], training.n_features, standardizer)
    if weights is not None:
        parameters["sample_weight"] = weights
    if scale is not None:
        parameters[SCALE] = scale
    if training.radii is not None:
        parameters["radius"] = row_radius(given, training)
    return family(inputs, training.y, **parameters)
