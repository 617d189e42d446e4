"""Tables from CSV and NPZ files, checked cell by cell before anything is built on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import is_zipfile

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.errors import InputError

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
"""What an empty cell looks like, in lower case."""

NPZ_NAMES = (("X", "y"), ("images", "labels"))
"""Array names that are recognised in an NPZ file, in this order."""


@dataclass(frozen=True)
class Table:
    """Numbers and labels as a file holds them.

    Args:
        X: Features, shape (n, d), float64.
        labels: One label per row, shape (n,), integers, floats or strings.
        feature_names: Column names, length d.
        notes: What was left out on the way.
    """

    X: NDArray[np.float64]
    labels: NDArray[Any]
    feature_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_table(path: Path, label: str | None, drop_incomplete: bool = False) -> Table:
    """Read a CSV or NPZ file.

    Args:
        path: The file; its ending says what it is.
        label: Name of the label column (array); None takes ``label`` (``y``, then ``labels``).
        drop_incomplete: Leave rows with empty cells out and note it, instead of refusing the file.

    Raises:
        InputError: The file cannot be read, or its content is not a complete table of numbers with labels.
    """
    readers = {".csv": read_csv, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"{path} ends in {path.suffix!r}; expected a .csv or .npz file.")
    if not path.is_file():
        raise InputError(f"there is no file {path}; check the path.")
    table = readers[path.suffix.lower()](path, label, drop_incomplete)
    if table.X.shape[0] == 0 or table.X.shape[1] == 0:
        raise InputError(f"{path} holds {table.X.shape[0]} rows and {table.X.shape[1]} features; both are needed.")
    return table


def read_csv(path: Path, label: str | None, drop_incomplete: bool) -> Table:
    """Read a CSV file with a header line; see `read_table`."""
    frame = read_cells(path)
    column = label if label is not None else "label"
    if column not in frame.columns:
        raise InputError(
            f"{path} has no column {column!r} to take labels from; its columns are {_some(frame.columns)}. "
            "Name the label column with --label, or add a header line if the file has none."
        )
    names = tuple(name for name in frame.columns if name != column)
    if not names:
        raise InputError(f"{path} has no column besides {column!r}; at least one feature is needed.")
    notes: tuple[str, ...] = ()
    missing = _missing_cells(frame)
    # Empty lines that close a file are no rows.
    last = int(np.flatnonzero(~np.all(missing, axis=1)).max(initial=-1)) + 1
    frame, missing = frame.head(last), missing[:last]
    if drop_incomplete and missing.any():
        complete = np.flatnonzero(~np.any(missing, axis=1))
        notes = (f"left out {len(missing) - len(complete)} rows with missing values",)
        frame, missing = frame[complete], missing[complete]
    _refuse_missing(path, frame.columns, missing)
    X = _numbers(path, frame.select(names))
    return Table(X, _parse_labels(frame[column].to_list()), names, notes)


def read_cells(path: Path) -> "pl.DataFrame":
    """The cells of a CSV file as text, stripped of blanks.

    Raises:
        InputError: It cannot be read.
    """
    import polars as pl

    try:
        # As text: a type inferred from the first rows would hide which cell is not a number.
        frame = pl.read_csv(path.read_bytes(), infer_schema=False)
    except (pl.exceptions.PolarsError, OSError, UnicodeError) as error:
        raise InputError(
            f"{path} cannot be read as CSV ({_first_line(error)}); expected UTF-8 text, a header line and "
            "rows of equal length."
        ) from error
    return frame.select(pl.all().fill_null("").str.strip_chars()).rename(str.strip)


def read_columns(path: Path, frame: "pl.DataFrame") -> NDArray[np.float64]:
    """Columns of numbers alone, shape (n, d), all of them there.

    Raises:
        InputError: A cell is empty or no number.
    """
    _refuse_missing(path, frame.columns, _missing_cells(frame))
    return _numbers(path, frame)


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
        raise InputError(f"{path} holds the arrays {_some(there)}; expected {names[0]!r}, of shape (n, d).")
    labels = np.zeros(found.shape[0])
    return _checked_arrays(path, names[0], "y", found, labels).X


def _missing_cells(frame: "pl.DataFrame") -> NDArray[np.bool_]:
    import polars as pl

    found = frame.select(pl.all().str.to_lowercase().is_in(MISSING)).to_numpy()
    return np.array(found, dtype=np.bool_).reshape(frame.shape)


def _refuse_missing(path: Path, columns: Sequence[str], missing: NDArray[np.bool_]) -> None:
    if missing.any():
        rows, bad = np.flatnonzero(missing.any(axis=1)), np.flatnonzero(missing.any(axis=0))
        raise InputError(
            f"{path} has {int(missing.sum())} missing values, in columns "
            f"{_some([columns[int(j)] for j in bad])}, data rows {_some(rows + 1)} (counted from 1, header "
            "excluded); fill them in or remove those rows."
        )


def _numbers(path: Path, frame: "pl.DataFrame") -> NDArray[np.float64]:
    import polars as pl

    numbers = frame.select(pl.all().cast(pl.Float64, strict=False))
    bad = [name for name in numbers.columns if numbers[name].null_count()]
    if bad:
        row = int(np.flatnonzero(numbers[bad[0]].is_null().to_numpy())[0])
        raise InputError(
            f"{path} has columns that are not numbers: {_some(bad)} (for example {frame[bad[0]][row]!r} in "
            f"column {bad[0]!r}, data row {row + 1}); encode them as numbers or remove them, or name the "
            "label column with --label if one of them is it."
        )
    X = numbers.to_numpy().astype(np.float64).reshape(frame.shape)
    _refuse_infinite(path, numbers.columns, X)
    return X


def _refuse_infinite(path: Path, columns: Sequence[str], X: NDArray[np.float64]) -> None:
    bad = ~np.isfinite(X)
    if bad.any():
        rows, cols = np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0))
        raise InputError(
            f"{path} has {int(bad.sum())} NaN or infinite values, in columns "
            f"{_some([columns[int(j)] for j in cols])}, data rows {_some(rows + 1)} (counted from 1); every "
            "value must be a finite number."
        )


def _parse_labels(cells: list[str]) -> NDArray[Any]:
    """Integers if all of them are, else floats, else the strings themselves."""
    for kind in (int, float):
        try:
            values = [kind(cell) for cell in cells]
        except ValueError:
            continue
        if all(np.isfinite(value) for value in values):
            return _whole(np.array(values))
    return np.array(cells)


def _whole(labels: NDArray[Any]) -> NDArray[Any]:
    """1.0 and 1 are the same label."""
    if labels.dtype.kind == "f" and np.all(labels == np.round(labels)) and np.all(np.abs(labels) < 2**53):
        return labels.astype(np.int64)
    return labels


def _read_npz(path: Path, label: str | None, drop_incomplete: bool) -> Table:
    del drop_incomplete  # known sets are CSV files
    if not is_zipfile(path):
        raise InputError(f"{path} is not an NPZ archive; write one with numpy.savez(path, X=..., y=...).")
    try:
        with np.load(path, allow_pickle=False) as archive:
            features, labels = _npz_names(path, archive.files, label)
            X, y = np.asarray(archive[features]), np.asarray(archive[labels])
    except InputError:
        raise
    except Exception as error:  # numpy and zipfile raise many kinds for a damaged archive
        raise InputError(
            f"{path} cannot be read as NPZ ({_first_line(error)}); expected plain numeric arrays, without pickles."
        ) from error
    return _checked_arrays(path, features, labels, X, y)


def _npz_names(path: Path, files: Sequence[str], label: str | None) -> tuple[str, str]:
    for features, default in NPZ_NAMES:
        labels = label if label is not None else default
        if features in files and labels in files:
            return features, labels
    wanted = repr(label) if label is not None else "'y' (or 'labels')"
    raise InputError(
        f"{path} holds the arrays {_some(files)}; expected 'X' (or 'images') and {wanted}; "
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
    flat = X.reshape(X.shape[0], -1).astype(np.float64)
    names = tuple(f"x{j + 1}" for j in range(flat.shape[1]))
    _refuse_infinite(path, names, flat)
    return Table(flat, _whole(y.astype(np.int64) if y.dtype.kind in "iub" else y), names)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _some(items: Sequence[Any] | NDArray[Any], limit: int = 12) -> str:
    shown = ", ".join(str(item) for item in items[:limit])
    return shown if len(items) <= limit else f"{shown}, ... ({len(items)} in all)"
