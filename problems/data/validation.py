"""Checks of data and parameters, before any work starts. Inputs are copied, never modified."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError

Array = NDArray[np.float64]


def checked_inputs(X: ArrayLike) -> Array:
    """X as a read-only float64 copy, shape (n, d).

    Raises:
        InputError: X is not a finite numeric table with at least one row and one column.
    """
    if isinstance(X, np.ndarray) and X.dtype == np.float64 and X.flags.owndata and not X.flags.writeable:
        # Nobody else can change it: the parts of a one-versus-all problem share one copy.
        inputs = X
    else:
        inputs = _as_numbers(X)
    if inputs.ndim != 2:
        raise InputError(f"X has {inputs.ndim} dimension(s); expected a table (n, d): use X.reshape(n, -1) for images.")
    if inputs.shape[0] < 1 or inputs.shape[1] < 1:
        raise InputError(f"X has shape {inputs.shape}; expected at least one row and one column.")
    if not np.isfinite(inputs).all():
        row, column = (int(k) for k in np.argwhere(~np.isfinite(inputs))[0])
        raise InputError(
            f"X holds NaN or inf, first at row {row}, column {column}; drop or impute missing values first."
        )
    inputs.setflags(write=False)
    return inputs


def checked_labels(y: ArrayLike, n: int, margin: bool, loss: str) -> tuple[NDArray[Any], tuple[Any, ...] | None]:
    """Labels as the loss needs them, and the classes if there are more than two.

    Args:
        y: Labels, shape (n,).
        n: Number of rows of X.
        margin: Whether the loss is a margin loss (labels) or not (real targets).
        loss: The loss's name, for messages.

    Returns:
        Float labels in {-1, +1} (or real targets) and None; or the labels as given and the sorted classes.

    Raises:
        InputError: Wrong shape, missing values, or two classes that are not -1 and +1.
    """
    labels = _as_labels(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n,):
        raise InputError(f"y has shape {labels.shape}; expected ({n},), one label per row of X.")
    numeric = labels.dtype.kind in "biuf"
    if numeric and not np.isfinite(labels.astype(np.float64)).all():
        raise InputError(
            f"y holds NaN or inf at position {int(np.argmin(np.isfinite(labels)))}; every row needs a label."
        )
    if not margin:
        if not numeric:
            raise InputError(f"y has type {labels.dtype}, but {loss} loss needs real targets.")
        return _frozen(labels.astype(np.float64)), None
    classes = np.unique(labels)
    if numeric and set(classes.tolist()) <= {-1, 1} and labels.dtype.kind != "b":
        return _frozen(labels.astype(np.float64)), None
    if classes.size <= 2:
        raise InputError(
            f"y holds labels {classes.tolist()}, but {loss} loss needs -1 and +1 for two classes; "
            "for 0/1 labels pass 2 * y - 1."
        )
    return _frozen(labels), tuple(classes.tolist())


def checked_radius(radius: ArrayLike, n: int) -> Array:
    """Radii as shape (n,).

    Raises:
        InputError: Not a number or one per row, or negative or not finite.
    """
    try:
        given = np.asarray(radius, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"radius is {radius!r}; expected a number, or one per row of X.") from error
    if given.shape not in ((), (1,), (n,)):
        raise InputError(f"radius has shape {given.shape}; expected one number, or one per row of X, shape ({n},).")
    radii = np.array(np.broadcast_to(given, (n,)))
    if not (np.isfinite(radii).all() and (radii >= 0.0).all()):
        raise InputError(f"radius is {radius!r}; expected a finite attack radius of 0 or more, in the units of X.")
    return _frozen(radii)


def checked_beta(beta: Any) -> float:
    """beta as a float.

    Raises:
        InputError: Not a number above 0.
    """
    try:
        if isinstance(beta, str):
            raise TypeError("a string is not a number")
        weight = float(beta)
    except (TypeError, ValueError) as error:
        raise InputError(f"beta is {beta!r}; expected a number above 0.") from error
    if not (np.isfinite(weight) and weight > 0.0):
        raise InputError(f"beta is {beta!r}; expected a penalty weight above 0.")
    return weight


def checked_activation(activation: Any) -> tuple[float, float, float]:
    """(a, b, c) as floats.

    Raises:
        InputError: Not three finite numbers, or a = 0.
    """
    try:
        if isinstance(activation, str):
            raise TypeError("a string")
        a, b, c = (float(value) for value in activation)
    except (TypeError, ValueError) as error:
        raise InputError(f"activation is {activation!r}; expected (a, b, c) of a t^2 + b t + c.") from error
    if not np.isfinite([a, b, c]).all():
        raise InputError(f"activation is {activation!r}; expected three finite numbers.")
    if a == 0.0:
        raise InputError(
            "activation has a = 0, which makes the network linear and the lifting to matrices inexact; pass a != 0."
        )
    return a, b, c


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.setflags(write=False)
    return array


def _as_numbers(X: ArrayLike) -> Array:
    try:
        # What a masked array hides is missing, not whatever number lies underneath.
        given = np.ma.filled(X.astype(np.float64), np.nan) if isinstance(X, np.ma.MaskedArray) else X
        return np.array(given, dtype=np.float64, order="C")
    except (TypeError, ValueError) as error:
        raise InputError(
            f"X cannot be read as numbers ({error}); encode categories as numbers, fill or drop missing values."
        ) from error


def _as_labels(y: ArrayLike) -> NDArray[Any]:
    """A copy of y of the narrowest type that holds it: tables often carry plain numbers as objects."""
    try:
        labels = np.array(y)
    except ValueError as error:
        raise InputError(f"y cannot be read as labels ({error}); expected one label per row of X.") from error
    if labels.dtype.kind not in "OUS":
        return labels
    # From the original, because NumPy has turned the numbers among strings into strings.
    values = np.array(y, dtype=object).ravel().tolist()
    if any(_missing(value) for value in values):
        raise InputError("y holds missing labels; every row needs a label.")
    if len({isinstance(value, str) for value in values}) > 1:
        raise InputError("y mixes strings and numbers; expected labels of one kind.")
    return np.array(values).reshape(labels.shape)


def _missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # the missing value of pandas does not compare
        return True
