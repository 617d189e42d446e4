"""Tables of numbers and labels as callers bring them: whoever takes any asks here, so that all refuse the same.

Lists, arrays, tensors on any device, data frames and series are read, and sparse matrices as the tables they stand for.
What is no real number is refused, never turned into one: text (also text that looks like a number), complex numbers,
dates, NaT, what a masked array hides.
"""

import os
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from cvxrobust.core.environment import total_memory
from cvxrobust.core.errors import InputError, TooLargeError
from cvxrobust.core.strangers import shown

Array = NDArray[np.float64]

ADVICE = "encode categories as numbers, fill or drop missing values"
"""What to do about a table that holds something else than numbers."""

SORTS = {
    "U": "text",
    "S": "bytes",
    "T": "text",
    "c": "complex numbers",
    "M": "dates",
    "m": "lengths of time",
    "V": "records",
    "O": "objects",
}
"""What arrays hold that are no real numbers, by NumPy's kinds."""

LARGEST = 1e100
"""Beyond this size inputs are refused: sums of their squares, and products of these, must stay finite."""

EXACT = 2**53
"""Up to here a float64 holds every whole number."""

DEEPEST = 4
"""Lists within lists that are looked into: no table has more dimensions."""

TABLE_SHARE = 0.25
"""Of the machine's memory that a sparse matrix may take as a table: it is standardised and copied besides."""

FEW, MANY = 3, 20
"""Different labels that are classes however few rows there are: fractions, and whole numbers."""


def as_numbers(values: Any, name: str, advice: str = ADVICE) -> Array:
    """Any array of real numbers in float64, row by row in memory; what is masked or None becomes NaN.

    Args:
        values: The numbers.
        name: What messages call them.
        advice: What to do where they are none.

    Raises:
        InputError: Something is no real number, or the shape is ragged.
    """
    given, hidden = _array(values, name, advice)
    if given.dtype.kind == "O":
        _check_objects(given, name, advice)
    elif given.dtype.kind not in "biuf":
        raise InputError(f"{name} cannot be read as numbers ({_example(given)}); {advice}.")
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = np.asarray(given, dtype=np.float64, order="C")
    except Exception as error:  # numbers of other makers convert themselves, or fail to
        raise InputError(f"{name} cannot be read as numbers ({error}); {advice}.") from error
    if hidden is None:
        return numbers
    return np.asarray(np.where(hidden, np.nan, numbers))


def checked_inputs(X: ArrayLike, largest: float = LARGEST) -> Array:
    """X as a read-only float64 copy, shape (n, d): what problems are made of.

    Args:
        X: The inputs.
        largest: How large they may be; what is standardised afterwards may be larger.

    Raises:
        InputError: X is not a finite numeric table with at least one row and one column, or too large to compute with.
    """
    _check_no_file(X)
    if isinstance(X, np.ndarray) and X.dtype == np.float64 and X.flags.owndata and not X.flags.writeable:
        # Nobody else can change it: the parts of a one-versus-all problem share one copy.
        inputs = as_numbers(X, "X")
    else:
        numbers = as_numbers(X, "X")
        # Lists and sparse matrices are converted into memory of our own; whatever else may have handed out its own.
        shared = isinstance(X, np.ndarray) and np.may_share_memory(numbers, X)
        ours = isinstance(X, list | np.ndarray) or sparse.issparse(X)
        inputs = numbers if ours and not shared else numbers.copy()
    if inputs.ndim != 2:
        raise _no_table(X, inputs.ndim)
    if inputs.shape[0] < 1 or inputs.shape[1] < 1:
        raise InputError(f"X has shape {inputs.shape}; expected at least one row and one column.")
    check_finite(inputs, "X", "drop or impute missing values first")
    check_sizes(inputs, largest)
    return frozen(inputs)


def _check_no_file(X: Any) -> None:
    if isinstance(X, str | bytes | os.PathLike):
        raise InputError(f"X is {shown(X)}; expected a table of numbers (n, d): read the file first.")


def _no_table(X: Any, dimensions: int) -> InputError:
    """What numbers are that are no table."""
    if dimensions == 0:
        return InputError(f"X is {shown(X)}; expected a table (n, d).")
    if dimensions > 1:
        return InputError(f"X has {dimensions} dimensions; expected a table (n, d): use X.reshape(n, -1) for images.")
    return InputError("X has 1 dimension; expected a table (n, d): use X.reshape(-1, 1), or (1, -1) for one row.")


def checked_rows(X: ArrayLike, width: int, taker: str) -> Array:
    """X as float64, shape (n, width), not copied where it is that: what networks are asked about. No row is fine.

    Args:
        X: The rows.
        width: How many columns there must be.
        taker: Who takes the rows, for messages.

    Raises:
        InputError: X is not a finite numeric table of that width.
    """
    _check_no_file(X)
    rows = as_numbers(X, "X")
    if rows.ndim == 0:
        raise InputError(f"X is {shown(X)}; {taker} (n, {width}).")
    if rows.ndim != 2 or rows.shape[1] != width:
        raise InputError(f"X has shape {rows.shape}; {taker} (n, {width}).")
    check_finite(rows, "X", "impute missing values first")
    return rows


def check_finite(table: Array, name: str, advice: str) -> None:
    """Refuse a table, shape (n, d), with NaN or infinite values, by the place of the first.

    Raises:
        InputError: It holds some.
    """
    if not np.isfinite(table).all():
        row, column = (int(k) for k in np.argwhere(~np.isfinite(table))[0])
        raise InputError(f"{name} holds NaN or inf, first at row {row}, column {column}; {advice}.")


def check_sizes(X: Array, largest: float = LARGEST) -> None:
    """Refuse inputs, shape (n, d), that networks cannot compute with.

    Raises:
        InputError: One is larger.
    """
    if max(X.max(initial=0.0), -X.min(initial=0.0)) > largest:
        row, column = (int(k) for k in np.argwhere(np.abs(X) > largest)[0])
        raise InputError(
            f"X holds {X[row, column]:.3g} at row {row}, column {column}, whose square is too large to compute with; "
            "divide columns by their sizes first, for example with Standardizer.fit(X).transform(X)."
        )


def label_array(y: ArrayLike, name: str = "y", wanted: str = "labels are numbers or strings") -> NDArray[Any]:
    """Labels as an array of whole numbers, floats, bools or text, of the narrowest type that holds them.

    Tables often carry plain numbers as objects. Infinite values and NaN among floats are left to the caller, who may
    say where they are.

    Args:
        y: Labels of any shape.
        name: What messages call them.
        wanted: What is expected, for messages.

    Raises:
        InputError: Labels are missing or masked, of different kinds, or neither numbers nor text.
    """
    if sparse.issparse(y):
        raise InputError(f"{name} is a sparse matrix; expected one label per row of X: pass {name}.toarray().ravel().")
    given, hidden = _array(y, name, "expected one label per row of X", "as labels ")
    if hidden is not None and hidden.any():
        place = int(np.argmax(hidden.ravel()))
        raise InputError(f"{name} holds missing labels (masked, at position {place}); every row needs a label.")
    if given.dtype.kind == "U":
        _check_text(given, name)
    if isinstance(y, np.ndarray) and given.dtype.kind in "biufU" and not isinstance(y, np.ma.MaskedArray):
        return given
    if given.dtype.kind in "SUOTMm" or (given.dtype.kind == "f" and isinstance(y, Sequence)):
        return _narrowed(y, given, name, wanted)
    if given.dtype.kind not in "biuf":
        raise _no_labels(given, name, wanted)
    return given


def check_finite_labels(labels: NDArray[Any], what: str = "label") -> None:
    """Refuse labels or targets, shape (n,), with NaN or infinite values, by the place of the first.

    Raises:
        InputError: They hold some.
    """
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        place = int(np.argmin(np.isfinite(labels)))
        raise InputError(f"y holds NaN or inf at position {place}; every row needs a {what}.")


def checked_labels(
    y: ArrayLike,
    n: int,
    margin: bool,
    loss: str,
    instead: str = "use loss='squared' (StandardSDP, ConvexReLU)",
) -> tuple[NDArray[Any], tuple[Any, ...] | None]:
    """Labels as the loss needs them, and the classes where labels are not -1 and +1.

    Args:
        y: Labels, shape (n,).
        n: Number of rows of X.
        margin: Whether the loss is a margin loss (labels) or not (real targets).
        loss: The loss's name, for messages.
        instead: What to do with real targets that were taken for classes.

    Returns:
        Float labels in {-1, +1} (or real targets) and None; or the labels as given and the sorted classes: three or
        more of any kind, or two that are text, of which the second is the positive one.

    Raises:
        InputError: Wrong shape, missing values, two numbers that are not -1 and +1, or real targets for a margin loss.
    """
    wanted = "labels are numbers or strings" if margin else f"{loss} loss needs real targets"
    labels = label_array(y, wanted=wanted)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (n,):
        raise InputError(f"y has shape {labels.shape}; expected ({n},), one label per row of X.")
    check_finite_labels(labels)
    numeric = labels.dtype.kind in "biuf"
    if not margin:
        if not numeric:
            raise _no_labels(labels, "y", wanted)
        return frozen(labels.astype(np.float64)), None
    classes = np.unique(labels)
    if numeric and set(classes.tolist()) <= {-1, 1} and labels.dtype.kind != "b":
        return frozen(labels.astype(np.float64)), None
    if classes.size < 2 or (classes.size == 2 and numeric):
        raise InputError(
            f"y holds labels {classes.tolist()}, but {loss} loss needs -1 and +1 for two classes; "
            "for 0/1 labels pass 2 * y - 1."
        )
    if numeric and look_continuous(classes, n):
        raise InputError(
            f"y holds {classes.size} different numbers in {n} rows, which look like real targets rather than classes, "
            f"but {loss} loss needs classes here; {instead}, or sort the targets into classes first."
        )
    return frozen(np.array(labels)), tuple(classes.tolist())


def look_continuous(values: NDArray[Any], n: int) -> bool:
    """Whether different numbers, shape (k,), among the labels of n rows are measurements rather than classes."""
    fractions = bool((values != np.round(values)).any())
    return bool(values.size > max(FEW if fractions else MANY, n // 2))


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """The same array, from now on read-only."""
    array.setflags(write=False)
    return array


def _array(values: Any, name: str, advice: str, what: str = "as numbers ") -> tuple[NDArray[Any], NDArray[Any] | None]:
    """What is given as a plain array, and which of it is masked; None if nothing can be."""
    if _masked_within(values):
        raise InputError(f"{name} is a list that holds masked values; {advice}.")
    if sparse.issparse(values):
        return _table(values, name), None
    try:
        if isinstance(values, np.ma.MaskedArray):
            return np.array(values.data), np.array(np.ma.getmaskarray(values))
        # Tensors come to the host; a frame's own conversion is the one that knows its columns.
        return np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values), None
    except Exception as error:  # what is handed over converts itself, and may fail in its own ways
        raise InputError(f"{name} cannot be read {what}({_said(error)}); {advice}.") from error


def _said(error: Exception) -> str:
    """What went wrong; of lists that make no table in our own words."""
    text = str(error).rstrip(".")
    return "its rows are not all of one length" if "inhomogeneous" in text else text


def _table(values: Any, name: str) -> NDArray[Any]:
    """The table that a sparse matrix of SciPy stands for.

    Raises:
        TooLargeError: It would take too much of this machine's memory; the message says how much.
    """
    needed, memory = 8.0 * float(np.prod(values.shape, dtype=np.float64)), total_memory()
    if needed > TABLE_SHARE * memory:
        shape = " x ".join(f"{size:,}" for size in values.shape)
        raise TooLargeError(
            f"{name} is a sparse matrix of {shape} with {values.nnz:,} entries, which takes {needed / 2**30:.1f} GiB "
            f"as a table, and this machine has {memory / 2**30:.1f} GiB, {TABLE_SHARE:.0%} of it for that; keep "
            "fewer columns (frequent categories), or pass rows in blocks (Batches for StreamedSDP, slices to networks)."
        )
    return np.asarray(values.toarray())


def _masked_within(values: Any, depth: int = 0) -> bool:
    """Whether a list holds masked arrays, whose masks NumPy would drop; it reads no lists deeper than `DEEPEST`."""
    if not isinstance(values, list | tuple) or depth == DEEPEST:
        return False
    if any(isinstance(value, np.ma.MaskedArray) and bool(np.ma.getmaskarray(value).any()) for value in values):
        return True
    return any(isinstance(value, list | tuple) and _masked_within(value, depth + 1) for value in values)


def _check_objects(given: NDArray[Any], name: str, advice: str) -> None:
    """Refuse objects that are no real numbers, even if they can be made some: NumPy would read text."""
    kinds = {type(value) for value in given.ravel().tolist()}
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        real = issubclass(kind, Real | Decimal | np.bool_) and not issubclass(kind, np.timedelta64)
        if not real and kind is not type(None):
            value = next(v for v in given.ravel().tolist() if type(v) is kind)
            raise InputError(f"{name} cannot be read as numbers (it holds {shown(value)}); {advice}.")


def _example(given: NDArray[Any]) -> str:
    """What an array holds that is no real number, in words."""
    sort = SORTS.get(given.dtype.kind, f"values of type {given.dtype}")
    if given.dtype.kind not in "UST" or not given.size:
        return f"it holds {sort}"
    # The first that is no number says more than one that looks like one.
    values = given.ravel().tolist()
    return f"it holds {sort}, such as {shown(next((v for v in values if not _looks_numeric(v)), values[0]))}"


def _looks_numeric(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _narrowed(y: Any, given: NDArray[Any], name: str, wanted: str) -> NDArray[Any]:
    # From the original, because NumPy has turned the numbers among strings into strings.
    values = np.array(y, dtype=object).ravel().tolist() if given.dtype.kind != "O" else given.ravel().tolist()
    if given.dtype.kind != "f" and any(_missing(value) for value in values):
        raise InputError(f"{name} holds missing labels; every row needs a label.")
    if not values:
        return given
    if len({isinstance(value, str) for value in values}) > 1:
        raise InputError(f"{name} mixes strings and numbers; expected labels of one kind.")
    for value in values:
        if not isinstance(value, str | bool | int | float | np.bool_ | np.integer | np.floating) or isinstance(
            value, np.timedelta64
        ):
            raise _no_labels(given, name, wanted, value)
        if isinstance(value, str) and "\0" in value:
            raise InputError(f"{name} holds a label with a NUL character, {shown(value)}; NumPy would drop it.")
    labels = np.array(values)
    if labels.dtype.kind == "U":
        _check_text(labels, name)
    large = any(isinstance(value, int | np.integer) and abs(int(value)) > EXACT for value in values)
    if labels.dtype.kind == "O" or (large and labels.dtype.kind == "f"):
        raise InputError(
            f"{name} holds whole numbers that no integer type holds together, beyond {EXACT}; pass them as strings."
        )
    return labels.reshape(given.shape)


def _check_text(labels: NDArray[Any], name: str) -> None:
    """Refuse text that no file could hold: halves of characters, and numbers of none, as damaged files have them."""
    if labels.dtype.itemsize and labels.size:
        codes = np.ascontiguousarray(labels, dtype=labels.dtype.newbyteorder("=")).reshape(-1).view(np.uint32)
        if ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes <= 0xDFFF))).any():
            raise InputError(f"{name} holds text that is no Unicode; write it anew.")


def _no_labels(given: NDArray[Any], name: str, wanted: str, value: Any = None) -> InputError:
    found = SORTS.get(given.dtype.kind, str(given.dtype)) if value is None or given.dtype.kind != "O" else shown(value)
    return InputError(f"{name} holds {found}, but {wanted}; turn them into such first.")


def _missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # the missing value of pandas does not compare
        return True
    except ValueError:  # an array of many
        return False
