"""``cvxrobust solve | path | tune | evaluate | predict | export | import | demo | bench | reproduce``, and lists."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cvxrobust.bench.cli.commands.backends import backends_app
from cvxrobust.bench.cli.commands.bench import bench_app
from cvxrobust.bench.cli.commands.exchange import export, import_solution
from cvxrobust.bench.cli.commands.networks import SeveralRadii, evaluate, predict
from cvxrobust.bench.cli.commands.paths import path
from cvxrobust.bench.cli.commands.plugins import metrics_app, plugins_app, problems_app
from cvxrobust.bench.cli.commands.reproduce import reproduce_app
from cvxrobust.bench.cli.commands.solve import OptionalPolish, solve
from cvxrobust.bench.cli.commands.tune import tune
from cvxrobust.bench.cli.usage import usage_message, without_empty_paths
from cvxrobust.bench.display import EXIT_FULL, EXIT_INPUT, EXIT_UNUSABLE, clean_errors, fail
from cvxrobust.bench.interrupts import EXIT_INTERRUPTED, SAID
from cvxrobust.bench.streams import OutputLostError, mended

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
app.command(cls=OptionalPolish)(solve)
app.command(cls=SeveralRadii)(evaluate)
app.command()(predict)


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
