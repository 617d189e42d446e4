"""``cvxrobust reproduce``: the paper's experiments again, with baselines, chosen and judged alike."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.display import clean_errors, fail, remark
from cvxrobust.bench.interrupts import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from cvxrobust.bench.cifar10.study import CifarRequest
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
        str | None,
        typer.Option("--tables", help="Some of diagnostic, original, ionosphere, pima, heart, mnist. (default: all)"),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Some of the methods, separated by commas. (default: all)")
    ] = None,
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
    """Our methods and baselines on six tables by nested cross-validation, with the same budget for all.

    Every fit is a row that is on the disk before the next begins: after a crash, --resume goes on. The report, over the
    splits that are complete, comes last.
    """
    with clean_errors():
        from cvxrobust.bench.studies.common import require_reporting

        require_reporting()
        from cvxrobust.bench.reproduce.fits import StudyTerms
        from cvxrobust.bench.reproduce.methods import TrainingTerms
        from cvxrobust.bench.reproduce.study import StudyRequest

        request = StudyRequest(
            out,
            _names("--tables", names),
            _names("--methods", methods),
            seeds,
            StudyTerms(folds, budget, TrainingTerms(tolerance, time_limit)),
            jobs,
            dask,
            None if data_folder is None else str(data_folder.expanduser().resolve()),
            resume,
            retry,
        )
        _carry_out(request, quiet)


def _names(option: str, text: str | None, between: str = ",") -> tuple[str, ...]:
    """Names of an option, none where it is not given.

    Raises:
        InputError: It is given, and names nothing.
    """
    found = tuple(name.strip() for name in (text or "").split(between) if name.strip())
    if text is not None and not found:
        from cvxrobust.core.errors import InputError

        raise InputError(f"{option} got {text!r}, which names nothing; leave it out for all.")
    return found


def _numbers(option: str, text: str | None) -> tuple[float, ...]:
    from cvxrobust.core.errors import InputError

    try:
        return tuple(float(part) for part in _names(option, text))
    except ValueError as error:
        raise InputError(f"{option} got {text!r}; expected numbers, for example {option} 0.05,0.1.") from error


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
def cifar10(
    out: Annotated[Path, typer.Option(help="Folder of the study.")] = Path("runs/cifar10"),
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder of CIFAR-10: six .npz files, the published batches, or their archive; or synthetic, for a "
            "trial of some seconds. (default: $CVXROBUST_DATA)"
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the archive if the folder has none.")] = False,
    width: Annotated[int | None, typer.Option(help="Of the network; 64 is the paper's. (default: 32)")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of SGD and of sharpness-aware minimisation. (default: 6)")] = None,
    subset: Annotated[int | None, typer.Option(help="Training images. (default: all)")] = None,
    rhos: Annotated[
        str | None, typer.Option(help="Of sharpness-aware minimisation, separated by commas. (default: 0.05,0.1)")
    ] = None,
    heads: Annotated[
        str | None, typer.Option(help="Some of the heads, separated by semicolons. (default: all)")
    ] = None,
    head_seconds: Annotated[float | None, typer.Option(help="For each chosen head. (default: 300)")] = None,
    tuning_seconds: Annotated[float | None, typer.Option(help="For each setting tried. (default: 20)")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Certified gap of heads. (default: 0.01)")] = None,
    test_images: Annotated[int | None, typer.Option(help="That are attacked. (default: 2000)")] = None,
    steps: Annotated[int | None, typer.Option(help="Of iterative attacks on these. (default: 20)")] = None,
    restarts: Annotated[int | None, typer.Option(help="Random starts of these. (default: 1)")] = None,
    outside_images: Annotated[
        int | None, typer.Option(help="That slower attacks have, AutoAttack where it is installed. (default: 200)")
    ] = None,
    deciding_images: Annotated[
        int | None, typer.Option(help="That are attacked to choose settings of heads. (default: 500)")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Of points in pixel space, and of backbone and head in turn. (default: 3)")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Of everything random, from 0.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, cuda or auto.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="Of convolutions in training: float32, bfloat16, or auto, whichever is faster here.")
    ] = "auto",
    threads: Annotated[int | None, typer.Option(help="Of everything. (default: the machine's)")] = None,
    stages: Annotated[
        str | None,
        typer.Option(
            help="Some of backbones, features, heads, evaluation, collisions, oracle, alternating. (default: all)",
        ),
    ] = None,
    quiet: arguments.Quiet = False,
) -> None:
    """Convex heads on a PreAct ResNet-18, against its own layer and other heads, under attacks on pixels.

    Every epoch and every head is on the disk before the next begins: after a kill the same command goes on. The report,
    of what there is, comes last.
    """
    with clean_errors():
        from cvxrobust.bench.studies.common import require_reporting

        require_reporting()
        from cvxrobust.bench.cifar10.study import CifarRequest, terms_of

        asked = {
            "width": width, "epochs": epochs, "subset": subset, "rhos": _numbers("--rhos", rhos) or None,
            "head_seconds": head_seconds, "tuning_seconds": tuning_seconds, "tolerance": tolerance,
            "test_images": test_images, "steps": steps, "restarts": restarts, "outside_images": outside_images,
            "deciding_images": deciding_images,
            "rounds": rounds,
            "threads": threads,
        }  # fmt: skip
        given = {name: value for name, value in asked.items() if value is not None}
        request = CifarRequest(
            out, data, terms_of(out, data, given, dtype, device), seeds, device, _names("--stages", stages),
            _names("--heads", heads, ";"), download,
        )  # fmt: skip
        _carry_out_cifar(request, quiet)


def _carry_out_cifar(request: "CifarRequest", quiet: bool) -> None:
    from cvxrobust.bench.cifar10.study import run_cifar

    try:
        run_cifar(request, (lambda words: None) if quiet else remark)
    except KeyboardInterrupt:
        raise fail("interrupted; what is done is kept. Go on with the same command", EXIT_INTERRUPTED) from None
    _report(request.out, request.out)


@reproduce_app.command()
def report(
    study: Annotated[Path, typer.Argument(help="Folder of a study, complete or not.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the page and its pictures. (default: the study's)")
    ] = None,
    pack: Annotated[
        Path | None, typer.Option(help="Also put manifest and rows into this folder, compact.", metavar="DIR")
    ] = None,
) -> None:
    """Write tables.md or cifar10.md, and pictures, from the rows that there are.

    Of tables figures are over the splits on which every method is complete, and the page says how many these are.
    """
    with clean_errors():
        from cvxrobust.bench.studies.common import require_reporting

        require_reporting()
        from cvxrobust.bench.cifar10.store import CifarStore, holds_cifar
        from cvxrobust.bench.reproduce.journal import Journal

        _report(study, study if out is None else out)
        if pack is not None:
            (CifarStore if holds_cifar(study) else Journal)(study).pack_into(pack)


def _report(study: Path, out: Path) -> None:
    from cvxrobust.bench.cifar10.store import CifarStore, holds_cifar

    if holds_cifar(study):
        from cvxrobust.bench.cifar10.report import write_cifar_report

        written = write_cifar_report(CifarStore(study), out)
    else:
        from cvxrobust.bench.reproduce.report import write_report
        from cvxrobust.bench.reproduce.study import read_study

        written = write_report(*read_study(study), out, "tables")
    for path in written:
        print(path)
