"""``cvxrobust tune``: hyperparameters chosen by certified accuracy under a threat, and the classifier they make."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.cli.arguments import TrainingOptions, fields_as_options
from cvxrobust.bench.display import (
    EXIT_UNUSABLE,
    Progress,
    clean_errors,
    console,
    make_table,
    percent,
    print_json,
    remark,
)
from cvxrobust.core.secrets import presentable

if TYPE_CHECKING:
    from cvxrobust.bench.workflows.tuning import Tuning

SEARCH = "Options of the search"
"""The panel of the help that they stand in."""

NOT_OF_CLASSIFIERS = (
    "problem", "radius", "radius_column", "beta", "n_gates", "gate_seed", "bound", "resample", "multiclass",
    "regression",
)  # fmt: skip
"""Options of training that are left out: what is chosen here, and what these classifiers do not take."""


@fields_as_options(*NOT_OF_CLASSIFIERS)
def tune(
    training: TrainingOptions,
    threat_radius: Annotated[
        float,
        typer.Option(
            help="Radius of the attacks to withstand, in standard deviations of the training features (or units of the "
            "data with --no-standardize), in the norm --norm."
        ),
    ],
    family: Annotated[str, typer.Option(help="polynomial or relu networks.")] = "polynomial",
    betas: Annotated[
        str | None,
        typer.Option(
            help="Weights of the penalty to try: 0.1,0.01 or, geometrically, FROM:TO:COUNT. (default: 0.1,0.03,0.01)",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    radii: Annotated[
        str | None,
        typer.Option(
            help="Radii to train at: 0,0.1,0.3 or, evenly, FROM:TO:COUNT. (default: 0, 1 and 2 radii of the threat)",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    gates: Annotated[
        str | None,
        typer.Option(
            help="Numbers of gates to try: 10,20 or FROM:TO:COUNT; relu only. (default: as for solve)",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds of the training rows.", rich_help_panel=SEARCH)] = 5,
    rule: Annotated[
        str,
        typer.Option(
            help="best, or one-standard-error for the simplest network within that of the best.", rich_help_panel=SEARCH
        ),
    ] = "best",
    jobs: Annotated[int, typer.Option(help="Folds at a time.", min=1, rich_help_panel=SEARCH)] = 1,
    search_tolerance: Annotated[
        float, typer.Option(help="Certified relative gap at every point tried.", rich_help_panel=SEARCH)
    ] = 1e-3,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keep every point tried in this folder; a search of the same rows goes on from there.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    backend: Annotated[str, typer.Option(help="See `cvxrobust backends list`.")] = "auto",
    method: Annotated[str, typer.Option(help="auto, direct or cutting-set.")] = "auto",
    tolerance: arguments.Tolerance = 1e-6,
    time_limit: Annotated[
        float | None, typer.Option(help="Seconds for each training; what it cuts short is scored, and named.")
    ] = None,
    save: arguments.Save = None,
    picture: Annotated[
        Path | None,
        typer.Option(help="Draw the band of the accuracy under attack, of the rows held out, to this PNG file."),
    ] = None,
    surface: Annotated[
        Path | None, typer.Option(help="Draw the scores of all hyperparameters tried to this PNG file.")
    ] = None,
    as_json: arguments.Json = False,
    quiet: arguments.Quiet = False,
    verbose: arguments.Verbose = False,
) -> None:
    """Choose beta, training radius and gates for a threat, train with them, certify and judge.

    Choice and training use the training rows alone: every combination is trained in every fold, and scored by the
    share of the fold's other rows that are proved to withstand the threat. The accuracies printed at the end are those
    of the rows held out (--test-fraction), which had no part in it.
    """
    with clean_errors(as_json):
        from cvxrobust.bench.workflows.tuning import TuningRequest
        from cvxrobust.core.settings import Settings

        said = verbose and not quiet
        settings = Settings(tolerance=tolerance, time_limit=time_limit, seed=training.seed, verbose=said)
        parameters = training.parameters()
        if family == "relu":
            parameters.setdefault("bias", True)  # as the classifiers have it
        request = replace(training.request(settings, parameters), backend=backend, method=method, save=save)
        numbers = {
            "betas": _numbers(betas, "--betas", geometric=True), "radii": _numbers(radii, "--radii"),
            "gates": _numbers(gates, "--gates"),
        }  # fmt: skip
        search: dict[str, Any] = {name: value for name, value in numbers.items() if value is not None}
        search |= {"cv": folds, "rule": rule, "n_jobs": jobs, "search_tolerance": search_tolerance}
        search |= {"folder": folder}
        _tune(TuningRequest(request, threat_radius, family, search, picture, surface), as_json, quiet)


def _tune(request: Any, as_json: bool, quiet: bool) -> None:
    from cvxrobust.bench.workflows.tuning import tune as tune_classifier

    with Progress(quiet=quiet or request.training.settings.verbose) as progress:
        found = tune_classifier(request, not quiet, progress)
    if as_json:
        print_json(found.to_dict())
    else:
        _print(found, quiet)
    found.training.check_saved()
    if found.training.result.quality == "unusable":
        raise typer.Exit(EXIT_UNUSABLE)


def _numbers(text: str | None, flag: str, *, geometric: bool = False) -> list[float] | None:
    from cvxrobust.bench.cli.options import parse_values

    return None if text is None else parse_values(text, flag, geometric=geometric)


def _print(found: "Tuning", quiet: bool) -> None:
    from cvxrobust.bench.cli.printing import print_training

    for text in () if quiet else found.remarks:
        remark(text)
    grid, surface, threat = found.surface.candidates, found.surface, found.request.threat_radius
    for g in range(grid.shape[2]):
        about = f", {grid.gates[g]} gates" if grid.gates else ""
        folds = f"{surface.scores.shape[-1]} folds of the training rows{about}"
        cells = [
            (f"beta {beta:g}", *(_cell(found, b, r, g) for r in range(len(grid.radii))))
            for b, beta in enumerate(grid.betas)
        ]
        head = ("", *(f"radius {radius:.3g}" for radius in grid.radii))
        console().print(make_table(f"certified accuracy (%) at radius {threat:g}, {folds}", head, cells))
    print("Chosen: " + ", ".join(f"{name} {value:g}" for name, value in found.chosen.items()))
    print_training(found.training, quiet)
    certified, attacked = found.bracket
    print(
        f"Of the rows held out, at least {percent(certified)} and at most {percent(attacked)} withstand "
        f"l{found.request.norm} attacks of radius {threat:g} (by {found.report.certificate})."
    )
    for path in (found.request.picture, found.request.surface):
        if path is not None:
            print(f"Picture: {presentable(str(path))}")


def _cell(found: "Tuning", b: int, r: int, g: int) -> str:
    mean, error = (100.0 * part[b, r, g] for part in (found.surface.means, found.surface.standard_errors))
    return f"{'> ' if found.place == (b, r, g) else ''}{mean:.1f} ± {error:.1f}"
