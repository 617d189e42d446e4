"""Tables from CSV and NPZ files, checked cell by cell before anything is built on them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import (
    Cells,
    CsvFormat,
    numbers,
    parse_labels,
    parse_targets,
    read_cells,
    some,
    whole,
)
from cvxrobust.core.errors import InputError
from cvxrobust.core.validation import as_numbers, label_array, look_continuous
from cvxrobust.core.weights import checked_sample_weight
from cvxrobust.problems.data.parameters import checked_radius

NPZ_NAMES = (("X", "y"), ("images", "labels"))
"""Array names that are recognised in an NPZ file, in this order."""

LABEL = "label"
"""The column of labels of a CSV file, where nobody names another."""


@dataclass(frozen=True)
class RowColumns:
    """Columns of a file (arrays of an NPZ file) that say something of rows and are no features.

    Args:
        weights: Name of that of the rows' weights; None for none.
        radii: Name of that of the rows' attack radii; None for none.
        targets: Whether labels are numbers to be fitted; None where they are if they look like measurements.
    """

    weights: str | None = None
    radii: str | None = None
    targets: bool | None = False

    def named(self, path: Path, known: Sequence[str], label: str) -> dict[str, str]:
        """The columns there are to be by what is taken from them, each of its own.

        Raises:
            InputError: The file has no such column, or takes something else from it.
        """
        found = {"labels": label}
        for what, given in (("weights", self.weights), ("radii", self.radii)):
            if given is None:
                continue
            name = given.strip()
            if (other := next((one for one, taken in found.items() if taken == name), None)) is not None:
                raise InputError(f"{path} cannot have {other} and {what} in the same column, {name!r}.")
            if name not in known:
                near = get_close_matches(name, known, n=1)
                guess = f" Did you mean {near[0]!r}?" if near else ""
                raise InputError(
                    f"{path} has no column {name!r} to take {what} from; its columns are {some(known)}.{guess}"
                )
            found[what] = name
        return {what: name for what, name in found.items() if what != "labels"}

    def there(self, known: Sequence[str]) -> "RowColumns":
        """The same without weights where there are none."""
        return self if self.weights is None or self.weights.strip() in known else replace(self, weights=None)

    def wants_targets(self, path: Path, known: Sequence[str], label: str) -> bool:
        """Whether the label column holds targets that are to be read: if asked for, or there.

        Raises:
            InputError: It is asked for and not there.
        """
        if self.targets and label not in known:
            near = get_close_matches(label, known, n=1)
            guess = f" Did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"{path} has no column {label!r} to take targets from; its columns are {some(known)}.{guess}"
            )
        return self.targets is not False and label in known


NO_COLUMNS = RowColumns()


@dataclass(frozen=True)
class Table:
    """Numbers and labels as a file holds them.

    Args:
        X: Features, shape (n, d), float64.
        labels: One label per row, shape (n,), integers, floats or strings; or a number to be fitted, float64.
        feature_names: Column names, length d.
        notes: What was left out on the way.
        named: Whether the names are the file's own; those of arrays are only counted.
        weights: What each row counts, above 0, shape (n,); None where nothing says so.
        radii: Attack radius of each row, 0 or more, shape (n,); None where nothing says so.
        targets: Whether labels are numbers to be fitted.
    """

    X: NDArray[np.float64]
    labels: NDArray[Any]
    feature_names: tuple[str, ...]
    notes: tuple[str, ...] = ()
    named: bool = True
    weights: NDArray[np.float64] | None = None
    radii: NDArray[np.float64] | None = None
    targets: bool = False


def read_table(path: Path, label: str | None, form: CsvFormat | None = None, columns: RowColumns = NO_COLUMNS) -> Table:
    """Read a CSV or NPZ file.

    Args:
        path: The file; its ending says what it is.
        label: Name of the label column (array); None takes ``label`` (``y``, then ``labels``).
        form: How a CSV file is to be read; None for commas, decimal points, and missing values refused.
        columns: What else is said of rows; those of weight 0 are left out.

    Raises:
        InputError: The file cannot be read, or its content is not a complete table of numbers with labels.
    """
    readers = {".csv": read_csv, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} ends in {path.suffix!r}; expected a .csv or .npz file.")
    if not is_file(path):
        raise InputError(f"there is no file {path}; check the path.")
    if form is not None and form != CsvFormat() and path.suffix.lower() != ".csv":
        raise InputError(f"{path} is no CSV file, so there is nothing to say about its cells; leave these options out.")
    table = readers[path.suffix.lower()](path, label, form or CsvFormat(), columns)
    if table.X.shape[0] == 0 or table.X.shape[1] == 0:
        raise InputError(f"{path} holds {table.X.shape[0]} rows and {table.X.shape[1]} features; both are needed.")
    return table


def is_file(path: Path) -> bool:
    """Whether there is such a file, whatever was typed: names that are too long for any are none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_csv(path: Path, label: str | None, form: CsvFormat, columns: RowColumns = NO_COLUMNS) -> Table:
    """Read a CSV file with a header line; see `read_table`."""
    cells = read_cells(path, form)
    column = label.strip() if label is not None else LABEL
    if column not in cells.names:
        other = next((sign for sign in ";\t|" if any(sign in name for name in cells.names)), None)
        raise InputError(
            f"{path} has no column {column!r} to take labels from; its columns are {some(cells.names)}. "
            "Name the label column with --label, or add a header line if the file has none"
            + (f", or give --separator {'tab' if other == chr(9) else repr(other)}." if other else ".")
        )
    place, further = cells.names.index(column), columns.named(path, cells.names, column)
    features = [j for j, name in enumerate(cells.names) if j != place and name not in further.values()]
    if not features:
        raise InputError(f"{path} has no column besides {column!r}; at least one feature is needed.")
    notes: tuple[str, ...] = ()
    missing = cells.missing(form, place)
    if form.drop_incomplete and missing.any():
        complete = np.flatnonzero(~np.any(missing, axis=1))
        notes = (f"left out {len(missing) - len(complete)} rows with missing values",)
        cells, missing = cells.rows(complete), missing[complete]
    _refuse_missing(path, cells.names, missing)
    table = cells.take(features)
    X = numbers(path, table, form)
    _refuse_infinite(path, table.names, X)
    certain, targets = columns.targets is True, None
    if columns.targets is not False:
        targets = parse_targets(path, cells.take([place]), form, certain)
    if targets is None:
        found = Table(X, parse_labels(path, cells.texts[:, place].tolist()), table.names, notes)
    else:
        _refuse_infinite(path, (column,), targets[:, None])
        found = Table(X, targets, table.names, notes, targets=True)
    said = {what: numbers(path, cells.take([cells.names.index(name)]), form)[:, 0] for what, name in further.items()}
    return _with_said(path, found, further, said)


def _with_said(path: Path, table: Table, names: Mapping[str, str], said: Mapping[str, NDArray[Any]]) -> Table:
    """A table with what columns or arrays, by names, say of its rows; those of weight 0 are left out."""
    n = table.X.shape[0]
    if "radii" in said:
        radii = radii_of(path, said["radii"], n, names["radii"])
        table = replace(
            table, radii=radii, notes=(*table.notes, f"{names['radii']!r} is the radius of attacks on a row")
        )
    return table if "weights" not in said else _weighed(path, table, names["weights"], said["weights"])


def radii_of(path: Path, given: NDArray[Any], n: int, name: str) -> NDArray[np.float64]:
    """The radii of n rows that a column or array of a name holds.

    Raises:
        InputError: They are none.
    """
    try:
        return checked_radius(given, n)
    except InputError as error:
        raise InputError(
            f"{path} has unusable radii in {name!r}; expected a finite number of 0 or more in every row."
        ) from error


def _weighed(path: Path, table: Table, name: str, weights: NDArray[Any]) -> Table:
    """A table whose rows weigh what a column or array says; rows of weight 0 are left out."""
    try:
        checked = checked_sample_weight(weights, table.X.shape[0])
    except InputError as error:
        raise InputError(f"{path} has unusable weights in {name!r}: {error}") from error
    kept = np.flatnonzero(checked)
    left_out = table.X.shape[0] - kept.size
    notes = (f"{name!r} is what rows weigh", *((f"left out {left_out} rows of weight 0",) if left_out else ()))
    return replace(
        table, X=table.X[kept], labels=table.labels[kept], notes=(*table.notes, *notes), weights=checked[kept],
        radii=None if table.radii is None else table.radii[kept],
    )  # fmt: skip


def read_columns(path: Path, cells: Cells, form: CsvFormat) -> NDArray[np.float64]:
    """Columns of numbers alone, shape (n, d), all of them there.

    Raises:
        InputError: A cell is empty or no number.
    """
    _refuse_missing(path, cells.names, cells.missing(form, -1))
    found = numbers(path, cells, form)
    _refuse_infinite(path, cells.names, found)
    return found


def inputs_of_npz(path: Path, names: Sequence[str]) -> NDArray[np.float64]:
    """The inputs of an NPZ file, shape (n, d), from the first array with one of these names.

    Raises:
        InputError: It cannot be read, or holds none.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = next((np.asarray(archive[name]) for name in names if name in archive.files), None)
            there = archive.files
    except Exception as error:  # numpy and zipfile raise many kinds for a damaged archive
        raise InputError(
            f"{path} cannot be read as NPZ ({_first_line(error)}); expected plain numeric arrays, without pickles."
        ) from error
    if found is None or found.ndim < 2:
        raise InputError(f"{path} holds the arrays {some(there)}; expected {names[0]!r}, of shape (n, d).")
    labels = np.zeros(found.shape[0])
    return _checked_arrays(path, names[0], "y", found, labels).X


def _refuse_missing(path: Path, columns: Sequence[str], missing: NDArray[np.bool_]) -> None:
    if missing.any():
        rows, bad = np.flatnonzero(missing.any(axis=1)), np.flatnonzero(missing.any(axis=0))
        raise InputError(
            f"{path} has {int(missing.sum())} missing values, in columns "
            f"{some([columns[int(j)] for j in bad])}, data rows {some(rows + 1)} (counted from 1, header "
            "excluded); fill them in or remove those rows."
        )


def _refuse_infinite(path: Path, columns: Sequence[str], X: NDArray[np.float64]) -> None:
    bad = ~np.isfinite(X)
    if bad.any():
        rows, cols = np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0))
        raise InputError(
            f"{path} has {int(bad.sum())} NaN or infinite values, in columns "
            f"{some([columns[int(j)] for j in cols])}, data rows {some(rows + 1)} (counted from 1); every "
            "value must be a finite number."
        )


def _read_npz(path: Path, label: str | None, form: CsvFormat, columns: RowColumns = NO_COLUMNS) -> Table:
    del form  # arrays have none
    if not is_zipfile(path):
        raise InputError(f"{path} is not an NPZ archive; write one with numpy.savez(path, X=..., y=...).")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            features, labels = _npz_names(path, archive.files, label)
            X, y = np.asarray(archive[features]), np.asarray(archive[labels])
            further = columns.named(path, archive.files, labels)
            said = {what: np.asarray(archive[name]) for what, name in further.items()}
    except InputError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for a damaged archive
        # NumPy would advise to load pickles, which may run anything.
        why = "it holds pickled objects" if "pickle" in str(error) else _first_line(error)
        raise InputError(
            f"{path} cannot be read as NPZ ({why}); expected arrays of numbers, without pickles."
        ) from error
    table = _checked_arrays(path, features, labels, X, y)
    if columns.targets is not False:
        table = _with_targets(path, table, labels, certain=columns.targets is True)
    return _with_said(path, table, further, said)


def _with_targets(path: Path, table: Table, name: str, *, certain: bool) -> Table:
    """A table whose labels are numbers to be fitted, if they are known to be or look like it."""
    numeric = table.labels.dtype.kind in "fiu"
    if certain and not numeric:
        raise InputError(f"{path}: {name!r} has dtype {table.labels.dtype}; expected real numbers to be fitted.")
    if not (certain or (numeric and look_continuous(np.unique(table.labels), table.labels.size))):
        return table
    return replace(table, labels=table.labels.astype(np.float64), targets=True)


def _npz_names(path: Path, files: Sequence[str], label: str | None) -> tuple[str, str]:
    for features, default in NPZ_NAMES:
        labels = label if label is not None else default
        if features in files and labels in files:
            return features, labels
    wanted = repr(label) if label is not None else "'y' (or 'labels')"
    raise InputError(
        f"{path} holds the arrays {some(files)}; expected 'X' (or 'images') and {wanted}; "
        "name the label array with --label."
    )


def _checked_arrays(path: Path, features: str, labels: str, X: NDArray[Any], y: NDArray[Any]) -> Table:
    if X.ndim < 2 or y.ndim != 1 or X.shape[0] != y.shape[0]:
        raise InputError(
            f"{path}: {features!r} has shape {X.shape} and {labels!r} has shape {y.shape}; expected (n, d) and (n,)."
        )
    if X.dtype.kind not in "fiub":
        raise InputError(f"{path}: {features!r} has dtype {X.dtype}; expected real numbers.")
    if y.dtype.kind not in "fiubU":
        raise InputError(f"{path}: {labels!r} has dtype {y.dtype}; expected numbers or strings.")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise InputError(f"{path}: {labels!r} has NaN or infinite values; every row needs a label.")
    width = math.prod(X.shape[1:])
    flat = as_numbers(X, repr(features)).reshape(X.shape[0], width)
    names = tuple(f"x{j + 1}" for j in range(width))
    _refuse_infinite(path, names, flat)
    y = label_array(y, repr(labels))
    return Table(flat, whole(y.astype(np.int64) if y.dtype.kind == "b" else y), names, named=False)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
