"""``cvxrobust export`` and ``cvxrobust import``: programmes for outside solvers, and their answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.cli.fields import fields_as_options
from cvxrobust.bench.cli.training import TrainingOptions
from cvxrobust.bench.display import EXIT_UNUSABLE, clean_errors, console, print_json

if TYPE_CHECKING:
    from cvxrobust.bench.workflows.exchange import Export
    from cvxrobust.bench.workflows.training import Training


# Better gates for the network found are no part of the programme.
@fields_as_options("regate")
def export(
    program: Annotated[
        Path, typer.Argument(help="File to write: .cbf (every cone), .dat-s (SDPA) or .mps (linear); .gz may follow.")
    ],
    training: TrainingOptions,
    as_json: arguments.Json = False,
    quiet: arguments.Quiet = False,
) -> None:
    """Write the conic programme of a training problem, so that any outside solver can be tried.

    Beside it goes PROGRAM.npz, with the data and all else that `import` needs to score answers.
    More than two classes become one programme, of independent blocks.
    """
    with clean_errors(as_json):
        from cvxrobust.bench.workflows.exchange import export_program
        from cvxrobust.core.settings import Settings

        request = training.request(Settings(), training.parameters())
        remarks = console(stderr=True)
        written = export_program(request, program, lambda text: None if quiet else remarks.print(text, markup=False))
        if as_json:
            print_json(written.to_dict())
        else:
            _print_export(written)


def import_solution(
    program: Annotated[Path, typer.Argument(help="The file that `export` wrote.")],
    solution: Annotated[
        Path,
        typer.Argument(
            help="What a solver answered: MOSEK's, SDPA's, CSDP's or HiGHS's solution file, lines of names and values, "
            "or numbers as .txt, .csv, .npy, .npz or .json."
        ),
    ],
    save: arguments.Save = None,
    tolerance: arguments.Tolerance = 1e-6,
    as_json: arguments.Json = False,
    quiet: arguments.Quiet = False,
) -> None:
    """Score an outside solver's answer: its network, and how far that can be from the best of its kind.

    The bounds are this package's own, as those of `solve`; the answer may be wrong, inaccurate
    or incomplete.
    """
    with clean_errors(as_json):
        from cvxrobust.bench.cli.printing import print_training
        from cvxrobust.bench.workflows.exchange import import_solution as score_solution

        training = score_solution(program, solution, save, tolerance)
        if as_json:
            print_json(training.to_dict())
        else:
            print_training(training, quiet)
            _print_errors(training)
        training.check_saved()
        if training.result.quality == "unusable":
            raise typer.Exit(EXIT_UNUSABLE)


def _print_export(written: "Export") -> None:
    program = written.program
    cones = ", ".join(f"{count} x {kind}" if count > 1 else kind for kind, count in written.cones.items())
    print(
        f"{written.path}: {program.b.size:,} rows, {program.q.size:,} columns, {program.A.nnz:,} nonzeros; "
        f"{written.size:,} bytes in {written.seconds:.1f} s"
    )
    print(f"Cones: {cones}.")
    print(f"What scoring needs is in {written.sidecar}; keep the two together.")
    if program.offset and written.written_as.name == "sdpa":
        print(f"The format has no constants: add {program.offset:.10g} to the objectives that a solver prints.")
    print(f"Solve it, for example by `{written.written_as.example(written.path)}`, then")
    print(f"    cvxrobust import {written.path} {written.written_as.answer(written.path)}")


def _print_errors(training: "Training") -> None:
    errors = training.result.dimacs_errors
    if errors:
        print(f"DIMACS errors of the solution file: {', '.join(f'{error:.1e}' for error in errors)}")
