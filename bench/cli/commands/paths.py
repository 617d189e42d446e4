"""``cvxrobust path``: a surface of networks over beta and the radius, every one certified."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.cli.fields import fields_as_options
from cvxrobust.bench.cli.training import TrainingOptions
from cvxrobust.bench.display import (
    EXIT_UNUSABLE,
    clean_errors,
    console,
    make_table,
    percent,
    print_json,
)
from cvxrobust.bench.interrupts import EXIT_INTERRUPTED
from cvxrobust.core.errors import MissingExtraError

if TYPE_CHECKING:
    from cvxrobust.bench.workflows.paths import TrainedPath


# These are what the points differ in, and better gates for one network would be others than those of the path.
@fields_as_options("beta", "radius", "regate")
def path(
    training: TrainingOptions,
    betas: Annotated[
        str, typer.Option("--betas", help="0.1,0.01 or, geometrically, FROM:TO:COUNT.", metavar="BETAS")
    ] = "0.3:0.001:10",
    radii: Annotated[
        str | None, typer.Option("--radii", help="0,0.1,0.3 or, evenly, FROM:TO:COUNT.", metavar="RADII")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of all; a path that was broken off goes on there.", metavar="DIR"),
    ] = None,
    backend: arguments.Backend = "auto",
    tolerance: arguments.Tolerance = 1e-4,
    time_limit: Annotated[
        float | None, typer.Option(help="Of the whole path.", metavar="SECONDS", rich_help_panel=arguments.SOLVER)
    ] = None,
    point_limit: Annotated[
        float | None, typer.Option(help="Of every point.", metavar="SECONDS", rich_help_panel=arguments.SOLVER)
    ] = None,
    threads: arguments.Threads = None,
    as_json: arguments.Json = False,
    quiet: arguments.Quiet = False,
    verbose: arguments.Verbose = False,
) -> None:
    """Train along a path of betas, of radii, or on the grid of both: every network with a certificate of its own.

    Points help each other, so that a surface costs less than its points one by one. Ctrl-C and
    the time limit return (and write) what there is.
    """
    with clean_errors(as_json):
        from cvxrobust.bench.cli.options import parse_values
        from cvxrobust.bench.workflows.paths import PathRequest, train_path
        from cvxrobust.core.settings import Settings

        settings = Settings(
            tolerance=tolerance, time_limit=point_limit, threads=threads, seed=training.seed,
            verbose=verbose and not quiet,
        )  # fmt: skip
        asked = replace(training.request(settings, training.parameters()), backend=backend)
        request = PathRequest(
            asked,
            parse_values(betas, "--betas", geometric=True),
            None if radii is None else parse_values(radii, "--radii", geometric=False),
            time_limit,
            out,
        )
        remarks = console(stderr=True)

        def tell(point: Any) -> None:
            if not quiet and not verbose:  # then the path says it itself, with bounds
                remarks.print(f"beta {point.beta:.4g}, radius {point.radius:.4g}: gap {point.gap:.1e}, {point.origin}")

        found = train_path(request, tell)
        if as_json:
            print_json(found.to_dict())
        else:
            _print_path(found)
        if found.path.termination == "interrupted":
            raise typer.Exit(EXIT_INTERRUPTED)
        if not len(found.path) or any(point.quality == "unusable" for point in found.path):
            raise typer.Exit(EXIT_UNUSABLE)


def _print_path(found: "TrainedPath") -> None:
    rows = [
        [
            f"{point.beta:.4g}", f"{point.radius:.4g}", f"{point.certificate.lower:.6g}",
            f"{point.certificate.upper:.6g}", f"{point.gap:.1e}", str(point.quality), point.network.n_neurons,
            percent(found.worth(point)), str(point.origin), f"{point.seconds:.2f}",
        ]
        for point in found.path
    ]  # fmt: skip
    columns = ("beta", "radius", "lower", "upper", "gap", "quality", "neurons", found.measure, "by", "seconds")
    print(found.path)
    console().print(make_table(f"{found.request.training.problem} on {found.prepared.dataset.name}", columns, rows, 0))
    if found.request.folder is not None:
        kept = "Networks, table and picture" if found.drawn else "Networks and table"
        print(f"{kept} are in {found.request.folder}")
        if len(found.path) and not found.drawn:
            print(f"No picture was drawn: {MissingExtraError('pictures', 'matplotlib', 'plot')}")
