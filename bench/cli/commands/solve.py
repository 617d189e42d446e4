"""``cvxrobust solve``: a network trained, certified, and saved."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.cli.completion import metric_names
from cvxrobust.bench.cli.fields import fields_as_options
from cvxrobust.bench.cli.options import name_optional_values, parse_options
from cvxrobust.bench.cli.training import TrainingOptions
from cvxrobust.bench.display import EXIT_UNUSABLE, Progress, clean_errors, print_json

if TYPE_CHECKING:
    from cvxrobust.bench.workflows.requests import TrainingRequest


class OptionalPolish(TyperCommand):
    """A command whose ``--polish`` may stand alone."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Say what standing alone means, which the parser cannot."""
        return super().parse_args(ctx, name_optional_values(args, "--polish", "auto"))


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
