"""``cvxrobust solve | path | tune | evaluate | predict | export | import | demo | bench | reproduce``, and lists."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.cli.arguments import JudgingOptions, SourceOptions, TrainingOptions
from cvxrobust.bench.cli.commands.backends import backends_app
from cvxrobust.bench.cli.commands.bench import bench_app
from cvxrobust.bench.cli.commands.exchange import export, import_solution
from cvxrobust.bench.cli.commands.paths import path
from cvxrobust.bench.cli.commands.plugins import metrics_app, plugins_app, problems_app
from cvxrobust.bench.cli.commands.reproduce import reproduce_app
from cvxrobust.bench.cli.commands.tune import tune
from cvxrobust.bench.cli.completion import metric_names
from cvxrobust.bench.cli.fields import fields_as_options
from cvxrobust.bench.cli.options import (
    name_optional_values,
    parse_feature_radii,
    parse_names,
    parse_options,
    parse_radii,
    spread_values,
)
from cvxrobust.bench.cli.usage import usage_message, without_empty_paths
from cvxrobust.bench.display import (
    EXIT_FULL,
    EXIT_INPUT,
    EXIT_UNUSABLE,
    Progress,
    clean_errors,
    fail,
    print_json,
)
from cvxrobust.bench.interrupts import EXIT_INTERRUPTED, SAID
from cvxrobust.bench.streams import OutputLostError, mended

if TYPE_CHECKING:
    from cvxrobust.bench.workflows.requests import TrainingRequest

app = typer.Typer(
    name="cvxrobust",
    help="Train two-layer networks, standard or adversarial, to certified global optimality.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(backends_app, name="backends")
app.add_typer(problems_app, name="problems")
app.add_typer(metrics_app, name="metrics")
app.add_typer(plugins_app, name="plugins")
app.add_typer(bench_app, name="bench")
app.add_typer(reproduce_app, name="reproduce")
app.command("export")(export)
app.command("import")(import_solution)
app.command()(tune)
app.command("path")(path)


class SeveralRadii(TyperCommand):
    """A command whose ``--radius`` takes all the values that follow it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag before each of its values, which is what the parser understands."""
        return super().parse_args(ctx, spread_values(args, "--radius"))


class OptionalPolish(TyperCommand):
    """A command whose ``--polish`` may stand alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Say what standing alone means, which the parser cannot."""
        return super().parse_args(ctx, name_optional_values(args, "--polish", "auto"))


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"cvxrobust {version('cvxrobust')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train two-layer networks, standard or adversarial, to certified global optimality."""


@app.command(cls=OptionalPolish)
@fields_as_options()
def solve(
    training: TrainingOptions,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter",
            help="Any parameter that the problem takes; repeatable.",
            metavar="NAME=VALUE",
            rich_help_panel=arguments.ATTACKS,
        ),
    ] = None,
    grow: Annotated[
        bool,
        typer.Option(
            "--grow", help="Add gates while a round of them lowers the optimum.", rich_help_panel=arguments.GATES
        ),
    ] = False,
    backend: arguments.Backend = "auto",
    method: arguments.Method = "auto",
    polish: Annotated[
        str | None,
        typer.Option(
            "--polish",
            help="Hand over to masters on this conic backend, or any.",
            metavar="[NAME]",
            rich_help_panel=arguments.SOLVER,
        ),
    ] = None,
    tolerance: arguments.Tolerance = 1e-6,
    time_limit: Annotated[
        float | None,
        typer.Option(help="The best network by then is kept.", metavar="SECONDS", rich_help_panel=arguments.SOLVER),
    ] = None,
    threads: arguments.Threads = None,
    max_iterations: Annotated[
        int | None,
        typer.Option(help="Of the solver, or rounds.", metavar="N", rich_help_panel=arguments.SOLVER),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="Native option of the backend; repeatable.",
            metavar="NAME=VALUE",
            rich_help_panel=arguments.SOLVER,
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, mps or auto.", metavar="NAME", rich_help_panel=arguments.SOLVER)
    ] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Of iterates: float64 or float32.", metavar="NAME", rich_help_panel=arguments.SOLVER)
    ] = "float64",
    save: arguments.Save = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from what an earlier try left where --save says.")
    ] = False,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            "--metric",
            help="Print this metric, too; repeatable.",
            metavar="NAME",
            autocompletion=metric_names,
            rich_help_panel=arguments.OUTPUT,
        ),
    ] = None,
    as_json: arguments.Json = False,
    quiet: arguments.Quiet = False,
    verbose: arguments.Verbose = False,
) -> None:
    """Train a network and certify how far it can be from the best of its kind.

    Ctrl-C and the time limit return and save the best network so far; killed, --resume goes on.
    """
    with clean_errors(as_json):
        from cvxrobust.core.settings import Settings

        parameters = training.parameters() | parse_options(parameter or [], "--parameter")
        settings = Settings(
            tolerance=tolerance,
            time_limit=time_limit,
            threads=threads,
            max_iterations=max_iterations,
            seed=training.seed,
            device=device,
            dtype=dtype,
            verbose=verbose and not quiet,
            options=parse_options(option or []),
        )
        request = replace(
            training.request(settings, parameters),
            backend=backend,
            method=method,
            grow=grow,
            polish=True if polish == "auto" else polish,
            save=save,
            resume=resume,
        )
        _solve(request, metric or [], as_json, quiet)


def _solve(request: "TrainingRequest", metrics: Sequence[str], as_json: bool, quiet: bool) -> None:
    from cvxrobust.bench.cli.printing import print_measurements, print_training
    from cvxrobust.bench.workflows.training import train
    from cvxrobust.core.discovery.measurement import check_metrics, measure

    check_metrics(metrics)
    with Progress(quiet=quiet or request.settings.verbose) as progress:
        training = train(request, progress)
    measured = measure(training.result, metrics)
    if as_json:
        print_json(training.to_dict() | {"metrics": measured.values, "metric_failures": measured.failures})
    else:
        print_training(training, quiet)
        print_measurements(measured)
    training.check_saved()
    result = training.result
    if result.quality == "unusable" or (result.unfinished is not None and result.quality != "certified"):
        raise typer.Exit(EXIT_UNUSABLE)


@app.command(cls=SeveralRadii)
@fields_as_options("radius_column")
def evaluate(
    *,
    network: arguments.SavedModel,
    data: arguments.Data,
    radius: Annotated[
        list[str],
        typer.Option("--radius", help="Radii, in the network's unit; several may follow.", metavar="R ..."),
    ],
    norm: arguments.AskedNorm = None,
    split: Annotated[
        str,
        typer.Option(help="auto (rows held out of its own data, else all), train, test, all.", metavar="PART"),
    ] = "auto",
    source: SourceOptions,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Settle what bounds of a small ReLU network leave open.", rich_help_panel=arguments.JUDGING
        ),
    ] = False,
    time_limit: Annotated[
        float | None, typer.Option(help="For --exact.", metavar="SECONDS", rich_help_panel=arguments.JUDGING)
    ] = None,
    immutable: arguments.Immutable = None,
    feature_radius: arguments.FeatureRadius = None,
    judging: JudgingOptions,
    as_json: arguments.Json = False,
) -> None:
    """Accuracy of a saved network, or of another's classifier, under attacks of each radius.

    It lies between the certified accuracy, which no attack can lower, and the attacked accuracy,
    which an attack that was found and checked reaches. Of a network that predicts numbers: how far
    they are off, and by how much more under attack. Attacks have the shape trained against, unless
    --immutable or --feature-radius describe another.
    """
    with clean_errors(as_json):
        from cvxrobust.bench.cli.printing import print_evaluation, print_numbers
        from cvxrobust.bench.workflows.evaluation import EvaluationRequest, evaluate_numbers, predicts_numbers
        from cvxrobust.bench.workflows.evaluation import evaluate as evaluate_network
        from cvxrobust.core.attacks.norms import check_norm

        request = EvaluationRequest(
            network,
            data,
            parse_radii(radius),
            split,
            source.data_folder,
            source.label,
            norm=None if norm is None else check_norm(norm),
            exact=exact,
            time_limit=time_limit,
            form=source.form(),
            weight_column=source.weight_column,
            immutable=tuple(parse_names(immutable) or ()),
            feature_radius=parse_feature_radii(feature_radius) or {},
            **judging.parsed(),
        )
        if predicts_numbers(request):
            numbers = evaluate_numbers(request)
            return print_json(numbers.to_dict()) if as_json else print_numbers(numbers)
        evaluation = evaluate_network(request)
        if as_json:
            print_json(evaluation.to_dict())
        else:
            print_evaluation(evaluation)
    if evaluation.sanity is not None and not evaluation.sanity.passed:
        raise typer.Exit(EXIT_UNUSABLE)


@app.command()
@fields_as_options("missing", "drop_incomplete")
def predict(
    *,
    network: arguments.SavedNetwork,
    data: arguments.Data,
    out: Annotated[
        Path | None, typer.Option(help="Write the CSV to this file. (default: standard output)", metavar="FILE")
    ] = None,
    norm: arguments.AskedNorm = None,
    radius: Annotated[
        float | None,
        typer.Option(help="That predicted numbers are bounded under. (default: trained against)", metavar="R"),
    ] = None,
    immutable: arguments.Immutable = None,
    source: SourceOptions,
    quiet: arguments.Quiet = False,
) -> None:
    """Label, margin and certified radius of every row of new data, as CSV.

    No attack within the certified radius changes a row's label. The data needs no labels; columns
    are found by the names that the network was trained on, others are left aside. Of a network that
    predicts numbers: the value, what attacks cannot move it out of, and, where the data holds the
    true number, the largest error they can cause.
    """
    with clean_errors():
        from cvxrobust.bench.workflows.prediction import PredictionRequest
        from cvxrobust.bench.workflows.prediction import predict as predict_rows
        from cvxrobust.core.attacks.norms import check_norm
        from cvxrobust.core.files import write_whole

        form = source.form()
        asked = None if norm is None else check_norm(norm)
        request = PredictionRequest(
            network,
            data,
            out,
            source.data_folder,
            source.label,
            asked,
            form,
            source.weight_column,
            tuple(parse_names(immutable) or ()),
            radius,
            source.radius_column,
        )
        found = predict_rows(request)
        for note in () if quiet else found.notes:
            print(note, file=sys.stderr)
        if out is None:
            print(found.to_csv(), end="")
        else:
            write_whole(out, found.to_csv())


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for pictures, numbers and networks.", metavar="DIR")] = Path("demo"),
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Standard against adversarial training on Breast Cancer Wisconsin: a table and a picture for each activation."""
    with clean_errors():
        from cvxrobust.bench.demo.breast_cancer import run

        if not run(out, quiet):
            raise typer.Exit(EXIT_UNUSABLE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit.

    0 done, 1 unusable, 2 bad input, 3 regression, 70 defect, 74 nothing more can be written, 130 interrupted. A reader
    that leaves before the end, as ``head`` does, is no error.

    Args:
        arguments: What follows the program's name; None takes ``sys.argv``.
    """
    with mended(process_ends=arguments is None):
        try:
            code = _run(sys.argv[1:] if arguments is None else list(arguments))
            sys.stdout.flush()
        except OutputLostError as lost:
            code = 0 if lost.reader_left else fail(f"standard output takes no more: {lost}.", EXIT_FULL).exit_code
    sys.exit(code)


def _run(given: list[str]) -> int:
    try:
        code = app(args=without_empty_paths(app, given), standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return fail(SAID, EXIT_INTERRUPTED).exit_code
    except OutputLostError:
        raise
    except BrokenPipeError:
        return 0  # somebody else's reader has left
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        if type(error).__name__ == "NoArgsIsHelpError":  # the help has been printed
            return EXIT_INPUT
        return fail(usage_message(error, given), EXIT_INPUT).exit_code
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
