"""What a saved network says of new rows: label, margin and certified radius of each."""

import csv
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.bench.data.unlabelled import load_rows
from cvxrobust.bench.display import spreadsheet_cell
from cvxrobust.bench.workflows.output_files import check_writable
from cvxrobust.bench.workflows.robustness import load_network, trained_norm
from cvxrobust.bench.workflows.subjects import feature_names
from cvxrobust.bench.workflows.threats import asked_of, threat_of
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.errors import InputError


@dataclass(frozen=True)
class PredictionRequest:
    """What the command line asks for.

    Args:
        network: File of the network.
        data: Name or path of the data; labels are not needed.
        out: The CSV file to write; None for standard output.
        data_folder: Where known sets lie.
        label: Name of the label column, to be left aside where the network knows no names.
        norm: Of the attacks that radii are certified against; None for the norm that the network was trained against.
        form: How a CSV file is to be read; None for commas and decimal points.
        weight_column: Name of the column of weights, to be left aside as that of labels.
        immutable: Names of columns that attacks cannot touch; none for the attacks that the network was trained for.
    """

    network: Path
    data: str
    out: Path | None = None
    data_folder: Path | None = None
    label: str | None = None
    norm: Norm | None = None
    form: CsvFormat | None = None
    weight_column: str | None = None
    immutable: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """What a network says of rows.

    Args:
        labels: Shape (n,), the data's own; outputs of a network that does regression.
        margins: By how much the label's output leads, shape (n,); None for regression.
        radii: Radius within which no attack changes the label, shape (n,); None for regression.
        notes: What a reader should know, one sentence each.
    """

    labels: NDArray[Any]
    margins: NDArray[np.float64] | None
    radii: NDArray[np.float64] | None
    notes: tuple[str, ...]

    def to_csv(self) -> str:
        """A header line and a line for each row, which are counted from 1."""
        columns: dict[str, list[Any]] = {"row": list(range(1, self.labels.size + 1))}
        if self.margins is None or self.radii is None:
            columns["output"] = self.labels.tolist()
        else:
            columns["label"] = [_harmless(label) for label in self.labels.tolist()]
            columns |= {"margin": self.margins.tolist(), "certified_radius": self.radii.tolist()}
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(columns)
        lines.writerows(zip(*columns.values(), strict=True))
        return text.getvalue()


def predict(request: PredictionRequest) -> Prediction:
    """Predict for every row of the data.

    Raises:
        InputError: The network or the data cannot be used, they do not belong together, or the file cannot be written.
    """
    if request.out is not None:
        check_writable(request.out, "--out", request.network, Path(request.data))
    network = load_network(request.network)
    norm = trained_norm(network) if request.norm is None else request.norm
    names, width = feature_names(network), network.n_features
    called = names or tuple(f"x{j + 1}" for j in range(width))
    network = asked_of(network, called, {"immutable": request.immutable})
    rows = load_rows(
        request.data, names, width, request.data_folder, request.label, request.form, request.weight_column
    )
    notes = (f"columns left aside: {', '.join(rows.unused[:12])}",) if rows.unused else ()
    if network.regression:
        return Prediction(network.predict(rows.X), None, None, notes)
    radii = network.certified_radius(rows.X, norm)
    labels = network.predict(rows.X)
    margins = network.margins(rows.X, labels)
    if not np.isfinite(margins).all():
        row = int(np.argmin(np.isfinite(margins)))
        raise InputError(
            f"data row {row + 1} of {rows.name!r} holds numbers too large for the network; check its units."
        )
    unit = f"certified radii are l{norm}, in {threat_of(network, called, norm)}"
    return Prediction(labels, margins, radii, (*notes, unit))


def _harmless(label: Any) -> Any:
    """A label as a cell that no spreadsheet runs; numbers, and signs alone, are as they are."""
    if not isinstance(label, str) or len(label) < 2:
        return label
    try:
        number = math.isfinite(float(label))
    except ValueError:
        number = False
    return label if number else spreadsheet_cell(label)
