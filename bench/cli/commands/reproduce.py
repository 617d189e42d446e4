"""``cvxrobust reproduce``: the paper's experiments again, with baselines, chosen and judged alike."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.display import EXIT_INTERRUPTED, clean_errors, fail, remark

if TYPE_CHECKING:
    from cvxrobust.bench.reproduce.study import StudyRequest
    from cvxrobust.bench.studies.common import Row

reproduce_app = typer.Typer(help="The paper's experiments again, with baselines.", no_args_is_help=True)


@reproduce_app.command()
def tables(
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/tables"),
    data_folder: Annotated[
        Path | None, typer.Option(help="Folder of the named data sets. (default: $CVXROBUST_DATA)")
    ] = None,
    names: Annotated[
        str, typer.Option("--tables", help="Some of diagnostic,original,ionosphere,pima,heart. (default: all)")
    ] = "",
    methods: Annotated[str, typer.Option(help="Some of the methods, separated by commas. (default: all)")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Splits into training and test rows.")] = 5,
    folds: Annotated[int, typer.Option(min=2, help="Inner folds, made of training rows alone.")] = 3,
    budget: Annotated[int, typer.Option(min=1, help="Settings of every method, 12 at most.")] = 12,
    tolerance: Annotated[float, typer.Option(help="Relative certified gap to train to.")] = 1e-3,
    time_limit: Annotated[float, typer.Option(help="Seconds for a fit, the same for all methods.")] = 60.0,
    jobs: Annotated[int, typer.Option(min=1, help="Fits at a time; more than one disturbs their times.")] = 1,
    dask: Annotated[
        str | None,
        typer.Option(
            help="Fit on the workers of this dask scheduler. Trust it and all who can reach it: what its workers send "
            "back can run code here.",
            metavar="ADDRESS",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a study; what is there is not done again.")] = (
        False
    ),
    retry: Annotated[bool, typer.Option("--retry", help="With --resume: try again what failed.")] = False,
    quiet: arguments.Quiet = False,
) -> None:
    """Our methods and baselines on five tables by nested cross-validation, with the same budget for all.

    Every fit is a row that is on the disk before the next begins: after a crash, --resume goes on. The report, over the
    splits that are complete, comes last.
    """
    with clean_errors():
        from cvxrobust.bench.reproduce.fits import StudyTerms
        from cvxrobust.bench.reproduce.methods import TrainingTerms
        from cvxrobust.bench.reproduce.study import StudyRequest

        request = StudyRequest(
            out,
            _names(names),
            _names(methods),
            seeds,
            StudyTerms(folds, budget, TrainingTerms(tolerance, time_limit)),
            jobs,
            dask,
            None if data_folder is None else str(data_folder.expanduser().resolve()),
            resume,
            retry,
        )
        _carry_out(request, quiet)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _carry_out(request: "StudyRequest", quiet: bool) -> None:
    from cvxrobust.bench.reproduce.study import run_study

    def told(row: "Row", left: int) -> None:
        what = row["failure"] or f"{row['seconds']:.2f} s"
        where = "test" if row["fold"] < 0 else f"fold {row['fold']}"
        if not quiet:
            remark(f"{row['table']} {row['seed']} {row['method']} {row['place']} {where}: {what}; {left} left")

    try:
        run_study(request, told)
    except KeyboardInterrupt:
        said = f"interrupted; what is done is kept. Go on with --out {request.out} --resume"
        raise fail(said, EXIT_INTERRUPTED) from None
    _report(request.out, request.out)


@reproduce_app.command()
def report(
    study: Annotated[Path, typer.Argument(help="Folder of a study, complete or not.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page and its pictures. (default: the study's)")
    ] = None,
    pack: Annotated[
        Path | None, typer.Option(help="Also put manifest and rows into this folder, compressed.", metavar="DIR")
    ] = None,
) -> None:
    """Write tables.md and a picture for every table from the rows that there are.

    Figures are over the splits on which every method is complete, and the page says how many these are.
    """
    with clean_errors():
        from cvxrobust.bench.reproduce.journal import Journal

        _report(study, study if out is None else out)
        if pack is not None:
            Journal(study).pack_into(pack)


def _report(study: Path, out: Path) -> None:
    from cvxrobust.bench.reproduce.report import write_report
    from cvxrobust.bench.reproduce.study import read_study

    for path in write_report(*read_study(study), out, "tables"):
        print(path)
