"""What `solve` and `evaluate` print for people."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cvxrobust.bench.display import console, make_table, percent
from cvxrobust.bench.workflows.evaluation import Evaluation, NumbersEvaluation
from cvxrobust.bench.workflows.output_files import Saved
from cvxrobust.bench.workflows.robustness import AccuracyBracket, ExactAccuracy, Range, exactly_judged
from cvxrobust.bench.workflows.training import CARRIERS, Training
from cvxrobust.core.discovery.registry import metrics
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.secrets import presentable

if TYPE_CHECKING:
    from cvxrobust.core.contracts.result import Result
    from cvxrobust.core.discovery.measurement import Measurements


ROWS = {"train": "training rows", "test": "held-out rows"}

UNDER_ATTACK = {
    "worst": "mean of the largest errors under attack (exact)",
    "certified": "mean of the largest errors under attack (upper bound)",
    "attacked": "mean of the errors that attacks reached (lower bound)",
}
ERROR_NAMES = {
    "mean_absolute": "mean absolute error",
    "root_mean_square": "root mean square error",
    "explained": "share of the variance explained (R^2)",
    **UNDER_ATTACK,
}
"""What errors of predicted numbers are called, by their names in `cvxrobust.bench.workflows.targets.errors`."""


def print_training(training: Training, quiet: bool) -> None:
    """The result, its bounds and the accuracies; remarks go to stderr."""
    result, out = training.result, console()
    if not quiet:
        _print_remarks(training)
    print(result)
    relu = isinstance(result.network, ReLUNetwork)
    rows = [*_bounds(training), ("neurons", result.network.n_neurons)]
    rows += _about_gates(result.report) if relu else []
    rows += _about_coordinates(result.report)
    rows += [(_accuracy_name(training, name), percent(value)) for name, value in training.accuracies().items()]
    rows += [(_error_name(training, name), f"{value:.6g}") for name, value in training.errors().items()]
    out.print(make_table(f"{training.request.problem} on {training.dataset.name}", ("", "value"), rows))
    if history := _rounds(result):
        out.print(make_table("programmes solved", ("", "slots", "upper bound", "relative gap", "after"), history))
    if any(part.history and part.history[-1].certificate != part.certificate for part in result.parts or (result,)):
        print("A round was cut short: the network is that of the round before it.")
    if relu:
        _print_scope(result.report)
    if training.radius:
        print(f"Radii are l{training.norm}, in {presentable(str(training.threat))}.")
    if training.radius and training.bounds is not None and training.request.judged_in is None:
        print(f"Attacked inputs stay {range_words(training.bounds)}.")
    if training.saved is not None:
        _print_saved(training.saved)


def range_words(bounds: Range) -> str:
    """A range of inputs in words."""
    return f"between {bounds[0]:g} and {bounds[1]:g}, in units of the data"


def _print_saved(saved: Saved) -> None:
    if saved.path is not None:
        print(f"Network saved to {saved.path}")
        return
    print(f"The network could not be saved. This is its file in base64, for `base64 -d > {saved.asked}`:")
    print(saved.content)


def print_measurements(measured: "Measurements") -> None:
    """The metrics asked for; nothing where none were."""
    known = metrics()
    rows = [
        (name, "none" if value is None else f"{value:.6g} {known[name].unit}".strip())
        for name, value in measured.values.items()
    ]
    if rows:
        console().print(make_table("metrics", ("", "value"), rows))
    for name, reason in measured.failures.items():
        print(presentable(f"The metric {name} failed: {reason}"))


def _bounds(training: Training) -> list[tuple[str, object]]:
    """Of a polynomial network's objective, or of a programme that bounds it: of boxes, or behind a ReLU network."""
    bounds = training.result.certificate
    words = ("training objective (upper bound)", "optimum is at least (lower bound)")
    if not exactly_judged(training.result.network, training.norm):
        words = ("programme's objective (upper bound)", "programme's optimum is at least (lower bound)")
    return [
        (words[0], f"{bounds.upper:.10g}"),
        (words[1], f"{bounds.lower:.10g}"),
        ("certified gap, absolute", f"{bounds.absolute_gap:.2e}"),
        ("certified gap, relative", f"{bounds.relative_gap:.2e}"),
    ]


def _about_coordinates(report: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Of programmes that were written in the span of the rows."""
    if (reduced := report.get("reduced")) is None:
        return []
    return [("solved in the span of the rows", f"rank {reduced['rank']} of {reduced['inputs']} inputs")]


def _about_gates(report: Mapping[str, Any]) -> list[tuple[str, object]]:
    """What a ReLU problem reports of its gates; nothing where it reports nothing."""
    if not report:
        return []
    found, source, asked = report["gates"], report["gates_from"], report["gates_asked"]
    left_out = f"{report['gates_duplicate']} duplicate, {report['gates_empty']} empty"
    rows: list[tuple[str, object]] = [
        (f"gates ({source}: {asked}, of these {left_out})", found),
        ("slots of the programme", report["slots"]),
    ]
    if (carriers := report.get(CARRIERS)) is not None:
        rows.append(("gates that can carry a neuron under attack", f"{carriers} of {found}"))
    return rows


def _error_name(training: Training, name: str) -> str:
    part, kind = name.split("_", 1)
    about = f", {_radius_name(training)}" if kind in UNDER_ATTACK else ""
    return f"{ERROR_NAMES[kind]}{about}, {ROWS[part]}"


def _radius_name(training: Training) -> str:
    if training.request.radius_column is not None:
        return f"radius of each row (at most {training.radius:g})"
    return f"radius {training.radius:g}"


def _accuracy_name(training: Training, name: str) -> str:
    part, kind = name.split("_")
    rows = ROWS[part]
    if kind == "clean":
        return f"clean accuracy, {rows}"
    words = {
        "robust": "exact accuracy under attack",
        "certified": "certified accuracy under attack (lower bound)",
        "attacked": "attacked accuracy (upper bound)",
    }
    return f"{words[kind]}, {_radius_name(training)}, {rows}"


def _rounds(result: "Result[Any]") -> list[tuple[object, ...]]:
    """A row for each programme of a sequence; none where there was but one. The classes of one-versus-all count on."""
    rows: list[tuple[object, ...]] = []
    for number, part in enumerate(result.parts or (result,)):
        classes = result.network.classes
        start = f"class {classes[number]}: " if result.parts and classes is not None else ""
        rows += [
            (
                f"{start}{step.kind} gates",
                step.size,
                f"{step.certificate.upper:.10g}",
                f"{step.certificate.relative_gap:.2e}",
                f"{step.elapsed:.2f} s",
            )
            for step in (part.history if len(part.history) > 1 else ())
        ]
    return rows


def _print_scope(report: Mapping[str, Any]) -> None:
    """What the bounds of a ReLU network are about, and what they are not."""
    if not report:
        return
    below = report.get("objective_below_given_programme_by", 0.0)
    if below > 0.0:
        floor = report["given_programme_at_least"]
        print(f"The optimum on the gates first given is at least {floor:.8g}; better gates are {below:.2g} below that.")
    low, high = report["network_objective_at_least"], report["network_objective_at_most"]
    own = f"is {high:.8g}" if low == high else f"lies within [{low:.8g}, {high:.8g}]"
    print(
        f"The bounds are about the gated programme ({report['formulation']}): all networks with neurons in its slots."
    )
    print(f"The network's own training objective, worst attacks included, {own}.")


def _print_remarks(training: Training) -> None:
    remarks = console(stderr=True)
    dataset, result = training.dataset, training.result
    remarks.print(
        f"{dataset.name}: {dataset.n_rows} rows, {dataset.n_features} features; trained on "
        f"{training.train.n_rows}, "
        f"held out {training.test.n_rows}",
        markup=False,
    )
    said = f"{result.backend} says: {result.message}" if result.message else ""
    for note in (*dataset.notes, result.selection, said):
        if note:
            remarks.print(presentable(note), markup=False)
    for name, reason in result.ignored.items():
        remarks.print(presentable(f"setting {name} was not applied: {reason}"), markup=False)


def print_evaluation(evaluation: Evaluation) -> None:
    """A table of accuracies: exact ones, or certified and attacked ones; then who proved and broke what."""
    out = console()
    columns = _accuracy_columns(evaluation)
    clean = [percent(evaluation.clean) if "rows" not in column else "" for column in columns[1:]]
    rows = [("0 (clean)", *clean)]
    rows += [(f"{found.radius:g}", *_accuracy_cells(found)) for found in evaluation.robust]
    title = f"{evaluation.request.network.name} on {evaluation.dataset.name}: {evaluation.n_rows} rows"
    out.print(make_table(title, columns, rows))
    for note in evaluation.notes:
        out.print(presentable(note), markup=False)
    if not evaluation.exact:
        print("Robust accuracy is at least the certified and at most the attacked accuracy.")
    proof = evaluation.report.certificate
    proof = proof.capitalize() if evaluation.report.kind == "none" else f"Certified by {proof}"
    out.print(f"{proof}.", markup=False)
    out.print(f"Turned wrong by: {evaluation.report.breakers}.", markup=False)
    if evaluation.median_distance is None:
        out.print(f"Radii are in {presentable(str(evaluation.threat))}.", markup=False)
    else:
        out.print(f"Median distance to the decision boundary: {evaluation.median_distance:.4g}", markup=False)
        out.print(f"Radii and distances are in {presentable(str(evaluation.threat))}.", markup=False)
    if evaluation.sanity is not None:
        out.print(f"Is that to be believed? At radius {evaluation.sanity_radius:g}:", markup=False)
        out.print(str(evaluation.sanity), markup=False)


def print_numbers(evaluation: NumbersEvaluation) -> None:
    """A table of how far predictions are off, and how far attacks can push them."""
    out = console()
    kinds = [name for name in UNDER_ATTACK if any(name in found for found in evaluation.attacked)]
    cells = [
        (f"{radius:g}", *(f"{found[name]:.6g}" if name in found else "" for name in kinds))
        for radius, found in zip(evaluation.request.radii, evaluation.attacked, strict=True)
    ]
    title = f"{evaluation.request.network.name} on {evaluation.dataset.name}: {evaluation.rows.n_rows} rows"
    out.print(make_table(title, (f"l{evaluation.threat.norm} radius", *(UNDER_ATTACK[name] for name in kinds)), cells))
    for name, value in evaluation.clean.items():
        print(f"{ERROR_NAMES[name]}: {value:.6g}")
    for note in evaluation.notes:
        out.print(presentable(note), markup=False)
    out.print(f"Radii are in {presentable(str(evaluation.threat))}.", markup=False)


def _accuracy_columns(evaluation: Evaluation) -> tuple[str, ...]:
    first = f"l{evaluation.threat.norm} radius"
    if evaluation.exact:
        return (first, "exact robust accuracy")
    bracket = (first, "certified accuracy (lower bound)", "attacked accuracy (upper bound)")
    return (*bracket, "proven, at least", "proven, at most", "rows proven") if evaluation.request.exact else bracket


def _accuracy_cells(found: ExactAccuracy | AccuracyBracket) -> tuple[str, ...]:
    if isinstance(found, ExactAccuracy):
        return (percent(found.accuracy),)
    cells = (percent(found.certified), percent(found.attacked))
    if found.settled is None:
        return cells
    exact = found.settled
    return (*cells, percent(exact.at_least), percent(exact.at_most), f"{exact.proven} of {exact.rows}")
