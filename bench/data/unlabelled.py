"""Rows to predict for: inputs alone, by the names that a network knows; whatever else a file holds is left aside."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import CsvFormat, read_cells
from cvxrobust.bench.data.dataset import load_dataset
from cvxrobust.bench.data.files import NPZ_NAMES, inputs_of_npz, is_file, read_columns
from cvxrobust.bench.data.known import canonical_name
from cvxrobust.core.errors import InputError

LABEL = "label"
"""The column of labels, where nobody names another."""


@dataclass(frozen=True)
class Rows:
    """Inputs without labels.

    Args:
        X: Shape (n, d), in the data's units.
        name: The known name, or the file's name.
        unused: Names of the columns that were left aside.
    """

    X: NDArray[np.float64]
    name: str
    unused: tuple[str, ...] = ()


def load_rows(
    name_or_path: str,
    names: Sequence[str],
    width: int,
    folder: Path | None = None,
    label: str | None = None,
    form: CsvFormat | None = None,
    weight: str | None = None,
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
        weight: Name of the column of weights, if there is one.

    Raises:
        InputError: The data cannot be read, lacks a column, or has values that are missing or no numbers.
        UnknownNameError: Neither a known name nor a file.
    """
    path = Path(name_or_path).expanduser()
    suffix = path.suffix.lower()
    if canonical_name(name_or_path) is not None or suffix not in (".csv", ".npz"):
        dataset = load_dataset(name_or_path, folder, label, form=form)
        found, own = dataset.X, dataset.feature_names
        if names and sorted(names) == sorted(own):
            found = found[:, [own.index(name) for name in names]]
        return _fitting(Rows(found, dataset.name), width)
    if not is_file(path):
        raise InputError(f"there is no file {path}; check the path.")
    if suffix == ".npz":
        return _fitting(Rows(inputs_of_npz(path, [features for features, _ in NPZ_NAMES]), path.name), width)
    form = form or CsvFormat()
    cells = read_cells(path, form)
    if missing := [name for name in names if name not in cells.names]:
        raise InputError(
            f"data set {path.name!r} lacks {len(missing)} of the {width} columns that the network was trained on: "
            f"{', '.join(missing[:12])}; pass data with the same column names."
        )
    chosen = list(names) or [name for name in cells.names if name not in (label or LABEL, weight)]
    unused = tuple(name for name in cells.names if name not in chosen)
    table = cells.take([cells.names.index(name) for name in chosen])
    return _fitting(Rows(read_columns(path, table, form), path.name, unused), width)


def _fitting(rows: Rows, width: int) -> Rows:
    if rows.X.shape[1] != width or not rows.X.shape[0]:
        raise InputError(
            f"data set {rows.name!r} has {rows.X.shape[0]} rows of {rows.X.shape[1]} inputs, but the network takes "
            f"{width}; pass data with the columns it was trained on."
        )
    return rows
