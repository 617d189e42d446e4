"""Data sets by name or from files, with labels that a problem can take and a repeatable split."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.bundled import load_breast_cancer
from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.bench.data.files import RowColumns, Table, is_file, read_table
from cvxrobust.bench.data.known import BREAST_CANCER, KNOWN_FILES, canonical_name, find_known_file, known_names
from cvxrobust.bench.data.strata import drawn_rows, shuffled_rows
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.validation import EXACT, look_continuous


@dataclass(frozen=True)
class Dataset:
    """Inputs with labels.

    Args:
        X: Inputs in the units of the source, shape (n, d), float64.
        y: Labels, shape (n,): -1.0 and +1.0 for two classes, else members of `classes`; or the numbers to be fitted.
        feature_names: Length d.
        name: The known name, or the file's name.
        classes: The labels of the source, sorted. For two classes they are those of -1 and of +1, in this
            order. Nothing where the labels are numbers to be fitted.
        notes: What a reader should know, one sentence each: rows left out, which label is +1.
        named: Whether the names of the features are the source's own; those of arrays are only counted.
        weights: What each row counts, above 0, shape (n,); None for all alike.
        radii: Attack radius of each row, 0 or more, shape (n,); None where the data does not say.
    """

    X: NDArray[np.float64]
    y: NDArray[Any]
    feature_names: tuple[str, ...]
    name: str
    classes: tuple[Any, ...]
    notes: tuple[str, ...] = ()
    named: bool = True
    weights: NDArray[np.float64] | None = None
    radii: NDArray[np.float64] | None = None

    @property
    def n_rows(self) -> int:
        """Number of samples."""
        return int(self.X.shape[0])

    @property
    def n_features(self) -> int:
        """Number of inputs per sample."""
        return int(self.X.shape[1])

    @property
    def regression(self) -> bool:
        """Whether labels are numbers to be fitted."""
        return not self.classes

    @property
    def fingerprint(self) -> str:
        """A hash of numbers and labels, by which a network recognises the data it was trained on."""
        digest = hashlib.sha256(np.ascontiguousarray(self.X).tobytes())
        digest.update("\n".join(map(str, self.y)).encode())
        return digest.hexdigest()[:32]

    def take(self, rows: NDArray[np.intp]) -> "Dataset":
        """The data set of these rows, in this order."""
        said = {name: values[rows] for name in ("weights", "radii") if (values := getattr(self, name)) is not None}
        return replace(self, X=self.X[rows], y=self.y[rows], **said)


def load_dataset(
    name_or_path: str | os.PathLike[str],
    folder: str | os.PathLike[str] | None = None,
    label: str | None = None,
    classes: Sequence[Any] | None = None,
    form: CsvFormat | None = None,
    weight: str | None = None,
    radius: str | None = None,
    targets: bool | None = False,
) -> Dataset:
    """Load a data set by name, or from a CSV or NPZ file.

    Names: ``breast-cancer`` (Breast Cancer Wisconsin Diagnostic, from scikit-learn; +1 is benign),
    ``ionosphere``, ``pima_diabetes``, ``heart_statlog``, ``breast_cancer_wisconsin_original`` (from a data
    folder, recognised by checksum). CSV files have a header line and a label column; NPZ files hold ``X`` and
    ``y`` (or ``images`` and ``labels``). Two distinct labels become -1 and +1 in sorted order (texts that are numbers,
    such as ``+1`` and ``-1``, by their values); more are kept as they are.

    Args:
        name_or_path: A known name, or the path of a ``.csv`` or ``.npz`` file.
        folder: Where known sets lie; None takes the environment variable ``CVXROBUST_DATA``.
        label: Name of the label column or array; None takes ``label`` (CSV) or ``y`` / ``labels`` (NPZ).
        classes: Labels to expect, (that of -1, that of +1) for two; None takes those found.
        form: How a CSV file is to be read; None for the usual form. Known sets have theirs.
        weight: Name of the column or array of the rows' weights, which is then no feature; None for none.
        radius: Name of the column or array of the rows' attack radii, which is then no feature; None for none.
        targets: Whether labels are numbers to be fitted; None where they are if they look like measurements.

    Raises:
        InputError: The data is missing, damaged, incomplete or not numeric, or its labels are not as
            expected.
        UnknownNameError: Neither a known name nor a file.
    """
    text = os.fspath(name_or_path)
    name = canonical_name(text)
    if name is not None and form is not None:
        raise InputError(f"data set {name!r} is read in its own form; leave out what is said about CSV files.")
    if name == BREAST_CANCER:
        for column, what, flag in ((weight, "weights", "--weight-column"), (radius, "radii", "--radius-column")):
            if column is not None:
                raise InputError(f"data set {name!r} has no column of {what}; leave {flag} out.")
        return _breast_cancer(classes)
    if name is not None:
        path, form = find_known_file(name, folder), CsvFormat(drop_incomplete=KNOWN_FILES[name].drop_incomplete)
    else:
        path = _path(text)
        if not path.suffix and path.name == text and not is_file(path):
            raise UnknownNameError("data set", text, known_names(), "Or pass the path of a CSV or NPZ file.")
    if name is not None and targets:
        raise InputError(f"data set {name!r} has classes, so that there are no numbers to be fitted.")
    table = read_table(path, label, form, RowColumns(weight, radius, False if name is not None else targets))
    return _with_classes(table, name or path.name, classes)


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # the home of nobody
        return Path(text)


def _breast_cancer(classes: Sequence[Any] | None) -> Dataset:
    bundled = load_breast_cancer()
    own = ("malignant", "benign")
    table = Table(bundled.X, np.array(own)[bundled.target], bundled.feature_names)
    # Sorted, "benign" would be -1; scikit-learn's own target has it as the positive class.
    return _with_classes(table, BREAST_CANCER, own if classes is None else classes)


def _with_classes(table: Table, name: str, expected: Sequence[Any] | None) -> Dataset:
    said = (table.named, table.weights, table.radii)
    if table.targets:
        return Dataset(table.X, table.labels, table.feature_names, name, (), table.notes, *said)
    found = [_plain(label) for label in np.unique(table.labels).tolist()]
    found.sort(key=_by_value(found))
    classes = _chosen_classes(found, table.labels.size, name) if expected is None else tuple(map(_plain, expected))
    position = {str(label): k for k, label in enumerate(classes)}
    strangers = [label for label in found if str(label) not in position]
    if strangers:
        raise InputError(
            f"data set {name!r} has labels {strangers[:10]}, but the labels expected are {list(classes)}; "
            "pass data with the same labels."
        )
    codes = np.array([position[str(_plain(label))] for label in table.labels.tolist()], dtype=np.intp)
    notes = table.notes
    if len(classes) == 2:
        y: NDArray[Any] = np.where(codes == 1, 1.0, -1.0)
        if tuple(classes) != (-1, 1):
            notes = (*notes, f"label {classes[1]!r} is +1 and {classes[0]!r} is -1")
    else:
        y = np.array(classes)[codes]
    return Dataset(table.X, y, table.feature_names, name, tuple(classes), notes, *said)


def _plain(label: Any) -> Any:
    """A label as it is written in every file: whole numbers without a point, though others of the file need theirs."""
    return int(label) if isinstance(label, float) and label.is_integer() and abs(label) < EXACT else label


def _by_value(labels: Sequence[Any]) -> Callable[[Any], Any]:
    """What to sort labels by: texts that are all different numbers by these, so that "-1" comes before "+1"."""
    try:
        values = {label: float(label) for label in labels}
    except ValueError:
        return lambda label: label
    exact = all(np.isfinite(value) for value in values.values()) and len(set(values.values())) == len(values)
    return lambda label: values[label] if exact and isinstance(label, str) else label


def _chosen_classes(found: list[Any], n_rows: int, name: str) -> tuple[Any, ...]:
    if len(found) == 1 and found[0] not in (-1, 1):
        raise InputError(
            f"every row of data set {name!r} has the label {found[0]!r}; a classifier needs two labels or "
            "more (a single one is possible if it is -1 or 1)."
        )
    numeric = not isinstance(found[0], str)
    if len(found) > max(20, n_rows // 2) or (numeric and look_continuous(np.array(found), n_rows)):
        raise InputError(
            f"the labels of data set {name!r} have {len(found)} distinct values in {n_rows} rows, so they "
            "look like real numbers rather than classes. Fit them by a loss of targets (--loss squared, absolute or "
            "huber), or name another label column with --label."
        )
    return (-1, 1) if len(found) == 1 else tuple(found)


def stratified_split(dataset: Dataset, test_fraction: float = 0.2, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Training and test rows with the classes, if any, in equal proportion, the same ones for the same seed.

    Args:
        dataset: What to split.
        test_fraction: Share of the rows held out, at least 0 (then the test set is empty) and below 1.
        seed: Of the shuffle.

    Raises:
        InputError: The fraction is out of range, or a class has too few rows to be in both parts.
    """
    if not 0 <= test_fraction < 1:
        raise InputError(f"the test fraction is {test_fraction!r}; expected at least 0 and below 1.")
    if not 0 <= seed < 2**32:
        raise InputError(f"the seed is {seed!r}; expected a whole number from 0 to 4294967295.")
    everything = np.arange(dataset.n_rows)
    if test_fraction == 0:
        return dataset, dataset.take(everything[:0])
    _check_splittable(dataset, test_fraction)
    n_test = _test_rows(dataset, test_fraction)
    if dataset.regression:
        train, test = shuffled_rows(dataset.n_rows, n_test, seed)
    else:
        train, test = drawn_rows(dataset.y.astype(str), n_test, seed)
    return dataset.take(train), dataset.take(test)


def _test_rows(dataset: Dataset, test_fraction: float) -> int:
    return int(np.ceil(test_fraction * dataset.n_rows))


def _check_splittable(dataset: Dataset, test_fraction: float) -> None:
    if dataset.regression:
        if np.ceil(test_fraction * dataset.n_rows) >= dataset.n_rows:
            raise InputError(
                f"a test fraction of {test_fraction} leaves none of the {dataset.n_rows} rows of data set "
                f"{dataset.name!r} to train on; choose a smaller one, or 0."
            )
        return
    labels, counts = np.unique(dataset.y, return_counts=True)
    rarest = int(counts.argmin())
    if counts[rarest] < 2:
        raise InputError(
            f"class {labels[rarest].item()!r} of data set {dataset.name!r} has a single row, but a "
            "stratified split needs two of each class; add rows, merge classes, or train on everything with "
            "--test-fraction 0."
        )
    n_test = _test_rows(dataset, test_fraction)
    if min(n_test, dataset.n_rows - n_test) < labels.size:
        raise InputError(
            f"a test fraction of {test_fraction} splits the {dataset.n_rows} rows of data set "
            f"{dataset.name!r} into {dataset.n_rows - n_test} and {n_test}, fewer than its {labels.size} "
            "classes; choose another fraction."
        )
