"""What `solve` and `evaluate` print for people."""

from cvxrobust.bench.display import console, make_table, percent
from cvxrobust.bench.evaluation import Evaluation
from cvxrobust.bench.training import Training, radius_unit


def print_training(training: Training, quiet: bool) -> None:
    """The result, its bounds and the accuracies; remarks go to stderr."""
    result, out = training.result, console()
    if not quiet:
        _print_remarks(training)
    print(result)
    bounds = result.certificate
    rows = [
        ("training objective (upper bound)", f"{bounds.upper:.10g}"),
        ("optimum is at least (lower bound)", f"{bounds.lower:.10g}"),
        ("certified gap, absolute", f"{bounds.absolute_gap:.2e}"),
        ("certified gap, relative", f"{bounds.relative_gap:.2e}"),
        ("neurons", result.network.n_neurons),
    ]
    names = {
        "train_clean": "clean accuracy, training rows",
        "test_clean": "clean accuracy, held-out rows",
        "train_robust": f"exact accuracy under attack, radius {training.radius:g}, training rows",
        "test_robust": f"exact accuracy under attack, radius {training.radius:g}, held-out rows",
    }
    rows += [(names[name], percent(value)) for name, value in training.accuracies().items()]
    out.print(make_table(f"{training.request.problem} on {training.dataset.name}", ("", "value"), rows))
    if training.radius:
        print(f"Radii are l2, in {radius_unit(result.network)}.")
    if training.request.save is not None:
        print(f"Network saved to {training.request.save}")


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
            remarks.print(note, markup=False)
    for name, reason in result.ignored.items():
        remarks.print(f"setting {name} was not applied: {reason}", markup=False)


def print_evaluation(evaluation: Evaluation) -> None:
    """A table of exact accuracies."""
    out = console()
    pairs = zip(evaluation.request.radii, evaluation.robust, strict=True)
    rows = [("0 (clean)", percent(evaluation.clean))]
    rows += [(f"{radius:g}", percent(accuracy)) for radius, accuracy in pairs]
    title = f"{evaluation.request.network.name} on {evaluation.dataset.name}: {evaluation.n_rows} rows"
    out.print(make_table(title, ("l2 radius", "exact robust accuracy"), rows))
    for note in evaluation.notes:
        out.print(note, markup=False)
    out.print(f"Median distance to the decision boundary: {evaluation.median_distance:.4g}", markup=False)
    out.print(f"Radii and distances are in {evaluation.unit}.", markup=False)
