"""Rows to predict for: inputs alone, by the names that a network knows; whatever else a file holds is left aside."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import CsvFormat, read_cells
from cvxrobust.bench.data.dataset import load_dataset
from cvxrobust.bench.data.files import (
    LABEL,
    NO_COLUMNS,
    NPZ_NAMES,
    RowColumns,
    inputs_of_npz,
    is_file,
    radii_of,
    read_columns,
)
from cvxrobust.bench.data.known import canonical_name
from cvxrobust.core.errors import InputError
from cvxrobust.core.validation import as_numbers


@dataclass(frozen=True)
class Rows:
    """Inputs without labels.

    Args:
        X: Shape (n, d), in the data's units.
        name: The known name, or the file's name.
        unused: Names of the columns that were left aside.
        targets: The numbers that ought to be predicted, shape (n,), where they were asked for and there.
        radii: Attack radius of each row, shape (n,); None where none were asked for.
    """

    X: NDArray[np.float64]
    name: str
    unused: tuple[str, ...] = ()
    targets: NDArray[np.float64] | None = None
    radii: NDArray[np.float64] | None = None


def load_rows(
    name_or_path: str,
    names: Sequence[str],
    width: int,
    folder: Path | None = None,
    label: str | None = None,
    form: CsvFormat | None = None,
    columns: RowColumns = NO_COLUMNS,
) -> Rows:
    """The inputs of a data set that is known by name, or of a CSV or NPZ file; labels may be missing or unknown.

    Columns of a CSV file are found by name. Where there are no names to go by, as in arrays, they are those of the file
    in its order, but for the labels.

    Args:
        name_or_path: A known name, or the path of a ``.csv`` or ``.npz`` file.
        names: Of the inputs, in their order; empty where they have none.
        width: How many inputs there are.
        folder: Where known sets lie.
        label: Name of the label column, if there is one.
        form: How a CSV file is to be read; None for commas and decimal points.
        columns: What else is said of rows: weights are left aside, if they are there, and radii read; so is the label
            column where targets are True, and where they are None if it is there and holds numbers.

    Raises:
        InputError: The data cannot be read, lacks a column, or has values that are missing or no numbers.
        UnknownNameError: Neither a known name nor a file.
    """
    path = Path(name_or_path).expanduser()
    suffix = path.suffix.lower()
    if canonical_name(name_or_path) is not None or suffix not in (".csv", ".npz"):
        dataset = load_dataset(name_or_path, folder, label, form=form, radius=columns.radii)
        found, own = dataset.X, dataset.feature_names
        if names and sorted(names) == sorted(own):
            found = found[:, [own.index(name) for name in names]]
        return _fitting(Rows(found, dataset.name, radii=dataset.radii), width)
    if not is_file(path):
        raise InputError(f"there is no file {path}; check the path.")
    if suffix == ".npz":
        rows = Rows(inputs_of_npz(path, [features for features, _ in NPZ_NAMES]), path.name)
        return _fitting(_said_by_arrays(path, rows, label, columns), width)
    form = form or CsvFormat()
    cells = read_cells(path, form)
    if missing := [name for name in names if name not in cells.names]:
        raise InputError(
            f"data set {path.name!r} lacks {len(missing)} of the {width} columns that the network was trained on: "
            f"{', '.join(missing[:12])}; pass data with the same column names."
        )
    further = columns.there(cells.names).named(path, cells.names, label or LABEL)
    said = {what: name for what, name in further.items() if what == "radii"}
    if columns.wants_targets(path, cells.names, label or LABEL):
        said["targets"] = label or LABEL
    chosen = list(names) or [name for name in cells.names if name not in (label or LABEL, *further.values())]
    table = cells.take([cells.names.index(name) for name in chosen])
    read = {}
    for what, name in said.items():
        with suppress(InputError) if what == "targets" and not columns.targets else nullcontext():
            read[what] = read_columns(path, cells.take([cells.names.index(name)]), form)[:, 0]
    taken = {*chosen, *(said[what] for what in read)}
    unused = tuple(name for name in cells.names if name not in taken)
    rows = Rows(read_columns(path, table, form), path.name, unused)
    return _fitting(_with_said(path, rows, read, further), width)


def _said_by_arrays(path: Path, rows: Rows, label: str | None, columns: RowColumns) -> Rows:
    """With what further arrays of an NPZ file say of the rows."""
    with np.load(path, allow_pickle=False) as archive:
        there = archive.files
        names = [label] if label else [own for _, own in NPZ_NAMES]
        name = next((one for one in names if one in there), names[0])
        further = columns.there(there).named(path, there, name)
        said = {what: name for what, name in further.items() if what == "radii"}
        if columns.wants_targets(path, there, name) and (columns.targets or archive[name].dtype.kind in "fiu"):
            said["targets"] = name
        read = {what: as_numbers(archive[name], repr(name)) for what, name in said.items()}
    return _with_said(path, rows, read, said)


def _with_said(path: Path, rows: Rows, read: Mapping[str, NDArray[np.float64]], names: Mapping[str, str]) -> Rows:
    """The rows with targets and radii, as far as these were read from columns or arrays of some names."""
    n, targets, radii = rows.X.shape[0], read.get("targets"), read.get("radii")
    if targets is not None and targets.shape != (n,):
        raise InputError(f"{path}: targets have shape {targets.shape}; expected ({n},), one per row.")
    return replace(rows, targets=targets, radii=None if radii is None else radii_of(path, radii, n, names["radii"]))


def _fitting(rows: Rows, width: int) -> Rows:
    if rows.X.shape[1] != width or not rows.X.shape[0]:
        raise InputError(
            f"data set {rows.name!r} has {rows.X.shape[0]} rows of {rows.X.shape[1]} inputs, but the network takes "
            f"{width}; pass data with the columns it was trained on."
        )
    return rows
