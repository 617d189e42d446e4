"""``cvxrobust tune``: hyperparameters chosen by certified accuracy under a threat, and the classifier they make."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.cli.fields import fields_as_options
from cvxrobust.bench.cli.training import TrainingOptions
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

SEARCH = "Search"
"""The panel of the help that they stand in."""

NOT_OF_CLASSIFIERS = (
    "problem", "radius", "radius_column", "beta", "n_gates", "gate_seed", "bound", "resample", "multiclass",
)  # fmt: skip
"""Options of training that are left out: what is chosen here, and what these classifiers do not take."""


@fields_as_options(*NOT_OF_CLASSIFIERS)
def tune(
    training: TrainingOptions,
    threat_radius: Annotated[float, typer.Option(help="Of the attacks to withstand.", metavar="R")],
    family: Annotated[str, typer.Option(help="polynomial or relu networks.", metavar="NAME")] = "polynomial",
    betas: Annotated[
        str | None,
        typer.Option(
            help="To try: 0.1,0.01 or FROM:TO:COUNT. (default: 0.1,0.03,0.01)", metavar="BETAS", rich_help_panel=SEARCH
        ),
    ] = None,
    radii: Annotated[
        str | None,
        typer.Option(
            help="To train at. (default: 0, 1 and 2 radii of the threat)", metavar="RADII", rich_help_panel=SEARCH
        ),
    ] = None,
    gates: Annotated[
        str | None,
        typer.Option(help="To try, of relu: 10,20 or FROM:TO:COUNT.", metavar="NUMBERS", rich_help_panel=SEARCH),
    ] = None,
    folds: Annotated[int, typer.Option(help="Of the training rows.", metavar="N", rich_help_panel=SEARCH)] = 5,
    rule: Annotated[
        str,
        typer.Option(help="best or one-standard-error.", metavar="NAME", rich_help_panel=SEARCH),
    ] = "best",
    jobs: Annotated[int, typer.Option(help="Folds at a time.", metavar="N", min=1, rich_help_panel=SEARCH)] = 1,
    search_tolerance: Annotated[
        float, typer.Option(help="Certified gap at every point tried.", metavar="GAP", rich_help_panel=SEARCH)
    ] = 1e-3,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keep points here; a search of the same rows goes on.", metavar="DIR", rich_help_panel=SEARCH
        ),
    ] = None,
    backend: arguments.Backend = "auto",
    method: arguments.Method = "auto",
    tolerance: arguments.Tolerance = 1e-6,
    time_limit: Annotated[
        float | None,
        typer.Option(help="For each training.", metavar="SECONDS", rich_help_panel=arguments.SOLVER),
    ] = None,
    save: arguments.Save = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="PNG of the accuracy under attack, of rows held out.", metavar="FILE", rich_help_panel=arguments.OUTPUT
        ),
    ] = None,
    surface: Annotated[
        Path | None,
        typer.Option(
            help="PNG of the scores of all hyperparameters tried.", metavar="FILE", rich_help_panel=arguments.OUTPUT
        ),
    ] = None,
    as_json: arguments.Json = False,
    quiet: arguments.Quiet = False,
    verbose: arguments.Verbose = False,
) -> None:
    """Choose beta, training radius and gates for a threat, train with them, certify and judge.

    Every combination is trained in every fold of the training rows, and scored by the share of
    the others that are proved to withstand the threat. What is printed at the end is about the
    rows held out (--test-fraction), which had no part in it.
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
        what = "largest errors" if surface.of_errors else "certified accuracy (%)"
        console().print(make_table(f"{what} at radius {threat:g}, {folds}", head, cells))
    print("Chosen: " + ", ".join(f"{name} {value:g}" for name, value in found.chosen.items()))
    if surface.at_ends:
        print(f"Beyond the grid there may be better ones: {'; '.join(surface.at_ends)}.")
    print_training(found.training, quiet)
    _print_held_out(found)
    for path in (found.request.picture, found.request.surface):
        if path is not None:
            print(f"Picture: {presentable(str(path))}")


def _print_held_out(found: "Tuning") -> None:
    """What the network is worth on rows that had no part in the choice."""
    from cvxrobust.bench.cli.printing import ERROR_NAMES, range_words

    threat, known = found.request.threat_radius, found.held_out
    if found.report is None:
        for name, value in found.errors.items():
            print(f"{ERROR_NAMES[name]}, held-out rows, l{found.request.norm} radius {threat:g}: {value:.6g}")
        return
    print(
        f"Of the rows held out, at least {percent(known['certified_at_threat'])} and at most "
        f"{percent(known['attacked_at_threat'])} withstand l{found.request.norm} attacks of radius {threat:g} (by "
        f"{found.report.certificate})."
    )
    if (bounds := found.training.bounds) is not None:
        print(f"Inputs under these attacks stay {range_words(bounds)}.")


def _cell(found: "Tuning", b: int, r: int, g: int) -> str:
    surface = found.surface
    mean, error = (float(part[b, r, g]) for part in (surface.means, surface.standard_errors))
    shown = f"{-mean:.4g} ± {error:.2g}" if surface.of_errors else f"{100.0 * mean:.1f} ± {100.0 * error:.1f}"
    return f"{'> ' if found.place == (b, r, g) else ''}{shown}"
