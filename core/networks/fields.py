"""From what a file holds to the fields of a network, each checked, and back."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.complement import Complement
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers

Array = NDArray[np.float64]

LABELS = (str, bytes, bool, int, float, np.bool_, np.integer, np.floating)
"""What labels of networks may be."""


def numbers(arrays: Mapping[str, Any], name: str, *dimensions: int) -> Array:
    """A stored array of finite numbers, in float64.

    Args:
        arrays: Those of the file.
        name: Which one.
        *dimensions: How many dimensions it may have.

    Raises:
        InputError: It is missing or something else.
    """
    if name not in arrays:
        raise InputError(f"it has no {name}")
    found = np.asarray(arrays[name])
    if found.dtype.kind not in "fiu" or found.dtype.itemsize > 8:
        raise InputError(f"{name} has dtype {found.dtype}; expected real numbers in float64")
    if found.ndim not in dimensions:
        raise InputError(f"{name} has shape {found.shape}; expected {' or '.join(map(str, dimensions))} dimensions")
    with np.errstate(over="ignore", invalid="ignore"):
        found = np.ascontiguousarray(found, dtype=np.float64)
    if not np.isfinite(found).all():
        raise InputError(f"{name} holds NaN or infinite numbers")
    return found


def stored_classes(arrays: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """The labels, distinct and of one kind; None where none are stored.

    Raises:
        InputError: They are something else.
    """
    if "classes" not in arrays:
        return None
    found = np.asarray(arrays["classes"])
    if found.ndim != 1 or found.dtype.kind not in "biufUS":
        raise InputError(f"classes have shape {found.shape} and dtype {found.dtype}; expected a list of labels")
    labels = tuple(found.tolist())
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise InputError("classes hold NaN or infinite numbers")
    if len(set(labels)) < len(labels):
        raise InputError(f"classes {labels[:10]!r} are not distinct")
    return labels


def checked_classes(classes: Any, expected: int) -> tuple[Any, ...]:
    """Labels of a network as a tuple, as many as it tells apart.

    Args:
        classes: The labels.
        expected: How many there have to be.

    Raises:
        InputError: They are more or fewer, no list, not distinct, or no numbers and no text.
    """
    if isinstance(classes, np.ndarray) and classes.ndim == 1:
        classes = tuple(classes.tolist())
    if not isinstance(classes, tuple | list):
        raise InputError(f"classes is {shown(classes)}; expected a tuple of {expected} labels, or None.")
    if len(classes) != expected:
        raise InputError(
            f"{len(classes)} classes given for a network that tells {expected} apart: {shown(classes)}; expected "
            f"{expected}."
        )
    for label in classes:
        if not isinstance(label, LABELS) or isinstance(label, np.timedelta64) or label != label:
            raise InputError(f"classes hold {shown(label)}; expected {expected} labels that are numbers or text.")
    if len(set(classes)) < len(classes):
        raise InputError(f"classes {shown(classes)} are not distinct; expected {expected} labels that are.")
    return tuple(classes)


def activation_coefficients(activation: object) -> tuple[float, float, float]:
    """(a, b, c) of ``a t^2 + b t + c`` as floats.

    Raises:
        InputError: They are not three finite numbers.
    """
    try:
        a, b, c = (float(value) for value in as_numbers(activation, "activation"))
    except (TypeError, ValueError) as error:
        raise InputError(f"activation is {shown(activation)}; expected (a, b, c) of a t^2 + b t + c.") from error
    if not np.isfinite([a, b, c]).all():
        raise InputError(f"activation is {shown(activation)}; expected three finite numbers.")
    return a, b, c


def classes_to_store(classes: tuple[Any, ...]) -> NDArray[Any]:
    """Labels as an array that reads back as they are.

    Raises:
        InputError: They are not distinct strings, or not distinct numbers.
    """
    if len({isinstance(label, str) for label in classes}) > 1:  # NumPy would make strings of all
        raise InputError(f"classes {classes!r} mix types; only strings or numbers can be saved.")
    try:
        found = np.asarray(classes)
        same = found.dtype != object and stored_classes({"classes": found}) == tuple(classes)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(f"classes {classes!r} cannot be saved: {error}.") from error
    if not same:
        raise InputError(f"classes {classes!r} mix types; only strings or numbers can be saved.")
    return found


def stored_standardizer(header: Mapping[str, Any], arrays: Mapping[str, Any], width: int) -> Standardizer | None:
    """The standardiser of so many inputs; None where none is stored.

    Raises:
        InputError: A part of it is missing or makes no sense.
    """
    names = header.get("names", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("the names of its inputs are no list of strings")
    if "mean" not in arrays and "scale" not in arrays:
        return None
    mean, scale = numbers(arrays, "mean", 1), numbers(arrays, "scale", 1)
    if mean.shape != (width,) or scale.shape != (width,) or len(names) not in (0, width):
        raise InputError(
            f"mean has shape {mean.shape}, scale {scale.shape} and there are {len(names)} names; expected {width} each"
        )
    if not (scale > 0.0).all():
        raise InputError("scale holds numbers that are not positive")
    return Standardizer(mean, scale, tuple(names))


def stored_ellipsoid(arrays: Mapping[str, Any], width: int) -> Ellipsoid | None:
    """The shape of attacks on so many inputs; None where none is stored.

    Raises:
        InputError: What is stored describes none.
    """
    scale, directions = "attack_scale" in arrays, "attack_directions" in arrays
    return Ellipsoid.of(
        width,
        scale=numbers(arrays, "attack_scale", 1) if scale else None,
        directions=numbers(arrays, "attack_directions", 2) if directions else None,
    )


def stored_complement(arrays: Mapping[str, Any], width: int) -> Complement | None:
    """Where neurons of so many inputs are spread; None where none are.

    Raises:
        InputError: What is stored spans no subspace of them.
    """
    if "subspace" not in arrays:
        return None
    basis = numbers(arrays, "subspace", 2)
    if basis.shape[0] != width:
        raise InputError(f"subspace has shape {basis.shape}; expected {width} rows")
    if "subspace_inputs" not in arrays:
        return Complement(basis)
    own = np.asarray(arrays["subspace_inputs"])
    if own.dtype.kind not in "iu":
        raise InputError(f"subspace_inputs has dtype {own.dtype}; expected whole numbers")
    return Complement(basis, own.astype(np.intp))


def stored_metadata(header: Mapping[str, Any]) -> dict[str, str | int | float]:
    """What is saved along.

    Raises:
        InputError: It is no object of strings and numbers.
    """
    found = header.get("metadata")
    if not isinstance(found, dict):
        raise InputError(f"metadata is {shown(found)}; expected an object")
    for name, value in found.items():
        if not isinstance(value, str | int | float):
            raise InputError(f"metadata {name!r:.40} is {shown(value)}; expected a string or a number")
    return found


def stored_flag(header: Mapping[str, Any], name: str) -> bool:
    """A stored yes or no.

    Raises:
        InputError: It is something else.
    """
    found = header.get(name)
    if not isinstance(found, bool):
        raise InputError(f"{name} is {found!r:.40}; expected true or false")
    return found


def finite_numbers(header: Mapping[str, Any], name: str, count: int) -> tuple[float, ...]:
    """So many numbers of the header.

    Raises:
        InputError: They are something else.
    """
    found = header.get(name)
    if not isinstance(found, list) or len(found) != count or not all(map(_is_finite, found)):
        raise InputError(f"{name} is {found!r:.80}; expected {count} finite numbers")
    return tuple(map(float, found))


def whole_numbers(header: Mapping[str, Any], name: str) -> tuple[int, ...] | None:
    """A list of whole numbers of 0 or more, or nothing.

    Raises:
        InputError: It is something else.
    """
    found = header.get(name)
    if found is None:
        return None
    if not isinstance(found, list) or not all(type(one) is int and one >= 0 for one in found):
        raise InputError(f"{name} is {found!r:.80}; expected whole numbers of 0 or more, or null")
    return tuple(found)


def _is_finite(value: object) -> bool:
    # Whole numbers may be larger than any float.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) if isinstance(value, float) else abs(value) < 10**300
