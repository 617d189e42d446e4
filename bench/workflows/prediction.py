"""What a saved network says of new rows: label, margin and certified radius of each."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.bench.data.files import RowColumns
from cvxrobust.bench.data.unlabelled import Rows, load_rows
from cvxrobust.bench.display import spreadsheet_cell
from cvxrobust.bench.workflows.output_files import check_writable
from cvxrobust.bench.workflows.robustness import AnyNetwork, load_network, trained_norm
from cvxrobust.bench.workflows.subjects import feature_names
from cvxrobust.bench.workflows.targets import TargetUnits, predicted_range
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
        radius: Of the attacks that predicted numbers are to be bounded under; None for what the network was trained
            against. With `radius_column` a factor on it.
        radius_column: Name of the column of the rows' attack radii; None for none.
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
    radius: float | None = None
    radius_column: str | None = None

    def __post_init__(self) -> None:
        if self.radius is not None and not (self.radius >= 0.0 and math.isfinite(self.radius)):
            raise InputError(f"the radius {self.radius!r} is no radius; expected a finite number of 0 or more.")


@dataclass(frozen=True)
class Prediction:
    """What a network says of rows.

    Args:
        columns: By name, shape (n,): ``label`` as in the data, ``margin`` by which its output leads, and
            ``certified_radius`` within which no attack changes it. Of a network that predicts numbers ``value``; under
            attack ``lowest`` and ``highest``, which no attack passes; and where the data holds the true numbers
            ``worst_error``, which no error exceeds in size.
        notes: What a reader should know, one sentence each.
    """

    columns: Mapping[str, NDArray[Any]]
    notes: tuple[str, ...]

    def to_csv(self) -> str:
        """A header line and a line for each row, which are counted from 1."""
        cells = {name: [_harmless(value) for value in values.tolist()] for name, values in self.columns.items()}
        columns = {"row": list(range(1, 1 + max(map(len, cells.values())))), **cells}
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
    if not network.regression and (request.radius is not None or request.radius_column is not None):
        raise InputError(
            f"{request.network} predicts labels, each with the radius up to which it is certified; leave --radius and "
            "--radius-column out."
        )
    target = request.label
    if network.regression and target is None and "target" in network.metadata:
        target = str(network.metadata["target"])
    wanted = (True if request.label else None) if network.regression else False
    columns = RowColumns(request.weight_column, request.radius_column, wanted)
    rows = load_rows(request.data, names, width, request.data_folder, target, request.form, columns)
    notes = (f"columns left aside: {', '.join(rows.unused[:12])}",) if rows.unused else ()
    if network.regression:
        return _numbers(request, network, rows, norm, notes)
    radii = network.certified_radius(rows.X, norm)
    labels = network.predict(rows.X)
    margins = network.margins(rows.X, labels)
    if not np.isfinite(margins).all():
        row = int(np.argmin(np.isfinite(margins)))
        raise InputError(
            f"data row {row + 1} of {rows.name!r} holds numbers too large for the network; check its units."
        )
    unit = f"certified radii are l{norm}, in {threat_of(network, called, norm)}"
    return Prediction({"label": labels, "margin": margins, "certified_radius": radii}, (*notes, unit))


def _numbers(
    request: PredictionRequest, network: AnyNetwork, rows: Rows, norm: Norm, notes: tuple[str, ...]
) -> Prediction:
    """What a network that predicts numbers says, in their units, and what attacks can make of it."""
    called = feature_names(network) or tuple(f"x{j + 1}" for j in range(network.n_features))
    columns = {"value": TargetUnits.of(network).outward(np.asarray(network.predict(rows.X)))}
    own = network.metadata.get("radius", 0.0)
    radius = (1.0 if rows.radii is not None else float(own)) if request.radius is None else request.radius
    radii = np.full(rows.X.shape[0], radius) if rows.radii is None else radius * rows.radii
    reach = predicted_range(network, rows.X, radii, norm)
    if radii.any():
        columns |= {"lowest": reach.low, "highest": reach.high}
        largest = float(radii.max())
        each = "the radius of each row, at most" if rows.radii is not None else "radius"
        about = f"under l{norm} attacks of {each} {largest:g}, in {threat_of(network, called, norm, largest)}"
        notes = (*notes, f"no attack leaves lowest and highest: {about}")
    if rows.targets is not None:
        columns["worst_error"] = reach.largest_errors(rows.targets)
    return Prediction(columns, notes)


def _harmless(label: Any) -> Any:
    """A label as a cell that no spreadsheet runs; numbers, and signs alone, are as they are."""
    if not isinstance(label, str) or len(label) < 2:
        return label
    try:
        number = math.isfinite(float(label))
    except ValueError:
        number = False
    return label if number else spreadsheet_cell(label)
