"""Accuracy of a saved model under attack, or errors of numbers, on the rows it has not seen where they can be told."""

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.data.csv_files import CsvFormat
from cvxrobust.bench.data.dataset import Dataset
from cvxrobust.bench.display import spreadsheet_cell
from cvxrobust.bench.workflows.other_models import is_other
from cvxrobust.bench.workflows.output_files import check_picture, check_writable
from cvxrobust.bench.workflows.requests import describe
from cvxrobust.bench.workflows.robustness import (
    AccuracyBracket,
    ExactAccuracy,
    brackets,
    exactly_judged,
    load_network,
    settled,
    trained_norm,
)
from cvxrobust.bench.workflows.subjects import (
    AskedSubject,
    Subject,
    aligned,
    chosen_rows,
    feature_names,
    find_subject,
    label_of,
)
from cvxrobust.bench.workflows.targets import errors, under_attack
from cvxrobust.bench.workflows.threats import AttackReach, asked_of, threat_of
from cvxrobust.core.attacks.norms import GEOMETRIES, Norm
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.files import write_whole
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.pictures.band import draw_band
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.report import RobustnessReport
from cvxrobust.core.robustness.sanity import SanityReport, check_sanity
from cvxrobust.core.settings import checked_time_limit

SPLITS = ("auto", "train", "test", "all")

DRAWN = 21
"""Radii of a picture, from 0 to the largest asked for."""

CHECKED_ROWS = 300
"""Rows that an evaluation is checked on: a check attacks each some twenty times as often as the evaluation."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What the command line asks for.

    Args:
        network: File of the network, or of a classifier of others.
        data: Name or path of the data.
        radii: Attack radii, in the network's unit.
        split: ``"auto"`` (held-out rows of the network's own data, else all), ``"train"``, ``"test"``, ``"all"``.
        data_folder: Where known sets lie.
        label: Name of the label column.
        norm: Of the attacks; None for the norm that the network was trained against.
        exact: Settle by mixed-integer proofs what the bounds of a ReLU network leave open.
        time_limit: Seconds for these proofs, all radii together.
        form: How a CSV file is to be read; None for the usual form.
        weight_column: Name of the column of weights, which is no feature; rows of weight 0 are left out, all others
            count alike.
        immutable: Names of columns that attacks cannot touch.
        feature_radius: By how much an attack of the largest radius may move a column, by name, in the data's units.
            Without any of both attacks have the shape that the network was trained for.
        bounds: The range of inputs, in the data's units; None for none.
        outside: What becomes of rows outside of it, ``"refuse"`` or ``"clip"``; None to refuse them.
        trusted: Whether somebody vouches for a file that may run code as it is loaded.
        classes: Labels of the data in the order of a classifier's own; nothing for its own, or sorted.
        input_shape: Of one input of a module that takes no vectors; nothing for vectors.
        steps: Of iterative attacks.
        restarts: Random starts of attacks.
        sanity: Whether the evaluation itself is checked.
        rows_file: Where to write what was found about every row; None for nowhere.
        picture: Where to draw the bracket against the radius, as a PNG, at some radii more than those asked for (with
            `exact` at these alone); None for nowhere.
    """

    network: Path
    data: str
    radii: tuple[float, ...]
    split: str = "auto"
    data_folder: Path | None = None
    label: str | None = None
    norm: Norm | None = None
    exact: bool = False
    time_limit: float | None = None
    form: CsvFormat | None = None
    weight_column: str | None = None
    immutable: tuple[str, ...] = ()
    feature_radius: Mapping[str, float] = field(default_factory=dict)
    bounds: tuple[float, float] | None = None
    outside: str | None = None
    trusted: bool = False
    classes: tuple[str, ...] = ()
    input_shape: tuple[int, ...] = ()
    steps: int = 40
    restarts: int = 2
    sanity: bool = False
    rows_file: Path | None = None
    picture: Path | None = None

    @property
    def judged_radii(self) -> tuple[float, ...]:
        """The radii asked for, and those that a picture needs."""
        if self.picture is None or self.exact:
            return self.radii
        return (*self.radii, *np.linspace(0.0, max(self.radii), DRAWN).tolist())

    @property
    def subject(self) -> AskedSubject:
        """Which model, data and attacks this is about."""
        shape = {
            "immutable": self.immutable, "feature_radius": self.feature_radius,
            "radius": max(self.radii, default=0.0),
        }  # fmt: skip
        return AskedSubject(
            self.network, self.data, self.split, self.data_folder, self.label, self.norm, self.form,
            self.weight_column, shape, self.bounds, self.outside, self.trusted, self.classes, self.input_shape,
        )  # fmt: skip

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UnknownNameError("split", self.split, SPLITS)
        for radius in self.radii:
            if not (radius >= 0 and math.isfinite(radius)):
                raise InputError(f"the radius {radius!r} is no radius; expected finite numbers, 0 or more.")
        if self.time_limit is not None and not self.exact:
            raise InputError("--time-limit limits the proofs of --exact; give both, or neither.")
        checked_time_limit(self.time_limit)
        if self.picture is not None and np.unique(self.judged_radii).size < 2:
            raise InputError("--picture draws a band over radii, but there is one; give one --radius above 0 or more.")
        if self.sanity and not max(self.radii, default=0.0) > 0.0:
            raise InputError("--sanity looks at attacks, but every --radius is 0; give one above 0.")


@dataclass(frozen=True)
class Evaluation:
    """Accuracies on the rows named by `rows`.

    Args:
        request: What was asked for.
        subject: The model, its rows and the attacks on them.
        report: What bounds and attacks found.
        robust: Accuracy under the attacks of each radius: exact where proofs and attacks agree on every row because
            both are exact, else two bounds.
        median_distance: Median l2 distance of the rows to the decision boundary, in the network's unit; None where it
            is not known.
        sanity: Whether the attacks are to be believed; None where nobody asked.
        sanity_radius: The radius at which that was looked into.
    """

    request: EvaluationRequest
    subject: Subject
    report: RobustnessReport
    robust: tuple[ExactAccuracy, ...] | tuple[AccuracyBracket, ...]
    median_distance: float | None
    sanity: SanityReport | None = None
    sanity_radius: float = 0.0

    @property
    def dataset(self) -> Dataset:
        """The data, before the split."""
        return self.subject.dataset

    @property
    def threat(self) -> AttackReach:
        """The attacks: their norm, the unit of radii and distances, and what radius 1 stands for."""
        return self.subject.reach

    @property
    def rows(self) -> str:
        """Which rows were evaluated: ``"train"``, ``"test"`` or ``"all"``."""
        return self.subject.part

    @property
    def n_rows(self) -> int:
        """How many rows were evaluated."""
        return self.subject.rows.n_rows

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know, one sentence each."""
        return (*self.subject.notes, *self.report.notes)

    @property
    def clean(self) -> float:
        """Accuracy without an attack."""
        return float(np.mean(self.report.broken_by != "no attack"))

    @property
    def exact(self) -> bool:
        """Whether accuracies are no brackets."""
        return all(isinstance(found, ExactAccuracy) for found in self.robust)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        sanity = {} if self.sanity is None else {"sanity": self.sanity.to_json() | {"radius": self.sanity_radius}}
        return {
            "network": str(self.request.network),
            "data": describe(self.dataset),
            "split": self.rows,
            "rows": self.n_rows,
            "clean_accuracy": self.clean,
            "norm": self.threat.norm,
            "robust_accuracy": [accuracy.to_dict() for accuracy in self.robust],
            "median_distance": self.median_distance,
            "radius_unit": self.threat.unit,
            "threat": self.threat.to_dict(),
            "evidence": self.report.to_json(),
            **sanity,
            "notes": list(self.notes),
        }

    def rows_csv(self) -> str:
        """A line for each row, counted from 1: what is proved of it, and what broke it where.

        ``certified_radius`` is the largest of the radii asked for at which the row is certified, ``broken_at`` the
        smallest at which an attack was found, ``broken_by`` its name; empty where there is none.
        """
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["row", "label", "certified_radius", "broken_at", "broken_by"])
        report = self.report
        for place, label in enumerate(self.subject.rows.y.tolist()):
            certified, broken = float(report.certified_at[place]), float(report.broken_at[place])
            lines.writerow([
                place + 1,
                spreadsheet_cell(label) if isinstance(label, str) else label,
                "" if math.isnan(certified) else certified,
                "" if math.isinf(broken) else broken,
                report.broken_by[place],
            ])  # fmt: skip
        return text.getvalue()


def evaluate(request: EvaluationRequest) -> Evaluation:
    """Evaluate a saved network, or a classifier of others.

    Raises:
        InputError: The model or the data cannot be used, do not belong together, or a file cannot be written.
    """
    if request.rows_file is not None:
        check_writable(request.rows_file, "--rows", request.network, Path(request.data))
    if request.picture is not None:
        check_picture(request.picture, "--picture", request.network, Path(request.data))
    subject = find_subject(request.subject)
    if request.exact and not isinstance(subject.model, ReLUNetwork):
        raise _nothing_to_settle(request, subject.model)
    if request.exact and request.bounds is not None and not GEOMETRIES[subject.reach.norm].separable:
        raise InputError("--exact proves worst cases in a range in the norm inf alone; leave --bounds out, or --exact.")
    report = evaluate_robustness(
        subject.model, subject.X, subject.rows.y, subject.threat, list(request.judged_radii), classes=subject.classes,
        steps=request.steps, restarts=request.restarts,
    )  # fmt: skip
    robust: tuple[AccuracyBracket, ...] | tuple[ExactAccuracy, ...] = brackets(report, request.radii)
    if report.kind == "exact" and (report.held == report.alive).all():
        robust = tuple(ExactAccuracy(found.radius, found.certified) for found in brackets(report, request.radii))
    if request.exact:
        report, found = settled(report, subject.model, subject.rows, subject.threat, request.time_limit)
        by_radius = dict(zip(report.radii.tolist(), found, strict=True))
        robust = tuple(
            replace(one, settled=by_radius[one.radius]) for one in robust if isinstance(one, AccuracyBracket)
        )
    evaluation = Evaluation(request, subject, report, robust, _median_distance(subject))
    if request.sanity:
        evaluation = _checked(evaluation)
    if request.rows_file is not None:
        write_whole(request.rows_file, evaluation.rows_csv())
    if request.picture is not None:
        draw_band(report, request.picture, f"{request.network.name} on {subject.dataset.name}")
    return evaluation


def _nothing_to_settle(request: EvaluationRequest, model: Any) -> InputError:
    if isinstance(model, PolynomialNetwork):
        return InputError(
            f"{request.network} holds a polynomial network, whose accuracies under l2 attacks are exact anyway, and "
            "bounds in other norms; leave out --exact."
        )
    return InputError(
        f"{request.network} holds a {type(model).__name__}, whose worst cases are exact already or unknown; leave out "
        "--exact."
    )


def _median_distance(subject: Subject) -> float | None:
    network, norm = subject.model, subject.reach.norm
    if not isinstance(network, PolynomialNetwork) or not exactly_judged(network, norm) or subject.threat.bounds:
        return None
    return float(np.median(network.distance_to_boundary(subject.rows.X)))


def _checked(evaluation: Evaluation) -> Evaluation:
    """With the checks, on some rows, at the radius where the most could be wrong: where half are turned wrong."""
    request, subject, report = evaluation.request, evaluation.subject, evaluation.report
    places = np.flatnonzero(report.radii > 0.0)
    half = places[np.argmin(np.abs(report.attacked[places] - 0.5 * evaluation.clean))]
    radius = float(report.radii[half])
    rows = np.random.default_rng(0).permutation(subject.rows.n_rows)[:CHECKED_ROWS]
    sanity = check_sanity(
        subject.model, subject.X[rows], subject.rows.y[rows], subject.threat, radius, classes=subject.classes,
        steps=request.steps, restarts=request.restarts,
    )  # fmt: skip
    return replace(evaluation, sanity=sanity, sanity_radius=radius)


OF_CLASSES = {
    "exact": "--exact", "sanity": "--sanity", "picture": "--picture", "rows_file": "--rows",
    "trusted": "--trust-code", "classes": "--classes", "input_shape": "--input-shape",
}  # fmt: skip
"""What can be asked of classifiers alone, by field of the request."""


@dataclass(frozen=True)
class NumbersEvaluation:
    """Errors on the rows named by `part`, in the units of the targets.

    Args:
        request: What was asked for.
        dataset: The data, before the split.
        rows: Those that were evaluated.
        part: Which these are: ``"train"``, ``"test"`` or ``"all"``.
        threat: The attacks: their norm, the unit of radii, and what radius 1 stands for.
        notes: What a reader should know, one sentence each.
        clean: Errors without an attack, see `cvxrobust.bench.workflows.targets.errors`.
        attacked: The same under the attacks of each radius.
    """

    request: EvaluationRequest
    dataset: Dataset
    rows: Dataset
    part: str
    threat: AttackReach
    notes: tuple[str, ...]
    clean: Mapping[str, float]
    attacked: tuple[Mapping[str, float], ...]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        under = [{"radius": r, **found} for r, found in zip(self.request.radii, self.attacked, strict=True)]
        return {
            "network": str(self.request.network), "data": describe(self.dataset), "split": self.part,
            "rows": self.rows.n_rows, "errors": dict(self.clean), "norm": self.threat.norm,
            "errors_under_attack": under, "radius_unit": self.threat.unit, "threat": self.threat.to_dict(),
            "notes": list(self.notes),
        }  # fmt: skip


def predicts_numbers(request: EvaluationRequest) -> bool:
    """Whether what is to be evaluated is a network that predicts numbers; there must be a network in the file."""
    return not is_other(request.network) and bool(load_network(request.network).regression)


def evaluate_numbers(request: EvaluationRequest) -> NumbersEvaluation:
    """Evaluate a saved network that predicts numbers.

    Raises:
        InputError: The data cannot be used, does not belong to the network, or something of classifiers is asked for.
    """
    if asked := [option for name, option in OF_CLASSES.items() if getattr(request, name)]:
        raise InputError(
            f"{request.network} predicts numbers, and {', '.join(asked)} can be asked of classifiers alone; leave it "
            "out (`cvxrobust predict --radius` has what attacks can do to every row)."
        )
    network = load_network(request.network)
    if request.bounds is not None and isinstance(network, PolynomialNetwork):
        raise InputError(
            f"{request.network} holds a polynomial network of numbers, proofs about which make no use of a range; "
            "leave --bounds out."
        )
    norm = trained_norm(network) if request.norm is None else request.norm
    label = request.label or label_of(network, request.data)
    dataset = replace(request.subject, label=label).load(None, targets=True)
    dataset = aligned(dataset, feature_names(network), network.n_features)
    network = asked_of(network, dataset.feature_names, request.subject.shape)
    chosen, part, note = chosen_rows(dataset, network, request.split)
    rows, none = request.subject.in_range(chosen), np.zeros(chosen.n_rows)
    return NumbersEvaluation(
        request, dataset, rows, part, threat_of(network, dataset.feature_names, norm), (*dataset.notes, note),
        errors(network, rows, none, norm),
        tuple(under_attack(network, rows, none + radius, norm, request.bounds) for radius in request.radii),
    )  # fmt: skip
