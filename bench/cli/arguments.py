"""Options that several commands share; those that go together as the fields of one object."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvxrobust.bench.cli.completion import backend_names, data_names, method_names, norm_names

if TYPE_CHECKING:
    from cvxrobust.bench.data.csv_files import CsvFormat

ATTACKS, FILES = "Training", "Data"
SOLVER, GATES, OUTPUT = "Solver", "ReLU problems", "Output"
JUDGING, OTHERS = "How hard to try", "Classifiers of others"
"""Panels of the help that options stand in; those that everybody needs stand before them."""

Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="A named set, a CSV or an NPZ file.",
        metavar="NAME|FILE",
        autocompletion=data_names,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.", rich_help_panel=OUTPUT)]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="A line per report, and what solvers print.", rich_help_panel=OUTPUT)
]
Save = Annotated[Path | None, typer.Option(help="Write the network to this .npz file.", metavar="FILE")]
Backend = Annotated[
    str,
    typer.Option(
        help="As `cvxrobust backends list` names them.",
        metavar="NAME",
        autocompletion=backend_names,
        rich_help_panel=SOLVER,
    ),
]
Method = Annotated[
    str,
    typer.Option(
        help="auto, direct or cutting-set.", metavar="NAME", autocompletion=method_names, rich_help_panel=SOLVER
    ),
]
Tolerance = Annotated[
    float, typer.Option(help="Relative certified gap to reach.", metavar="GAP", rich_help_panel=SOLVER)
]
Threads = Annotated[int | None, typer.Option(help="Of solver and BLAS.", metavar="N", rich_help_panel=SOLVER)]
Immutable = Annotated[
    list[str] | None,
    typer.Option(
        "--immutable",
        help="Columns that attacks cannot touch; repeatable.",
        metavar="NAME,...",
        rich_help_panel=ATTACKS,
    ),
]
FeatureRadius = Annotated[
    list[str] | None,
    typer.Option(
        "--feature-radius",
        help="Reach in this column; repeatable.",
        metavar="NAME=R",
        rich_help_panel=ATTACKS,
    ),
]
Bounds = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--bounds",
        help="Range of inputs, in units of the data.",
        metavar="LOW HIGH",
        rich_help_panel=ATTACKS,
    ),
]
Outside = Annotated[
    str | None,
    typer.Option("--outside", help="Rows outside: refuse (default) or clip.", metavar="RULE", rich_help_panel=ATTACKS),
]
AskedNorm = Annotated[
    str | None,
    typer.Option(
        "--norm",
        help="Norm of attacks: inf, 2 or 1. (default: trained against)",
        metavar="P",
        autocompletion=norm_names,
    ),
]
SavedNetwork = Annotated[Path, typer.Argument(help="A network written by `solve --save`.")]

SavedModel = Annotated[
    Path,
    typer.Argument(help="A network of `solve --save`, or another's classifier (.skops, .joblib, .pkl, .pt, .pt2)."),
]


@dataclass(frozen=True)
class SourceOptions:
    """Where data is found, and how a file of it is to be read."""

    label: Annotated[
        str | None,
        typer.Option("--label", help="Label column. (default: label; a network's own)", metavar="NAME"),
    ] = None
    data_folder: Annotated[
        Path | None,
        typer.Option(
            "--data-folder",
            help="Of the named sets. (default: $CVXROBUST_DATA)",
            metavar="DIR",
            rich_help_panel=FILES,
        ),
    ] = None
    weight_column: Annotated[
        str | None,
        typer.Option(
            "--weight-column", help="Column (array) with what each row counts.", metavar="NAME", rich_help_panel=FILES
        ),
    ] = None
    radius_column: Annotated[
        str | None,
        typer.Option(
            "--radius-column",
            help="Column with each row's radius, on which radii are factors.",
            metavar="NAME",
            rich_help_panel=FILES,
        ),
    ] = None
    separator: Annotated[
        str,
        typer.Option(
            "--separator", help="Between cells of a CSV file: a character or tab.", metavar="C", rich_help_panel=FILES
        ),
    ] = ","
    decimal: Annotated[
        str, typer.Option("--decimal", help="Decimal sign of a CSV file: . or ,", metavar="C", rich_help_panel=FILES)
    ] = "."
    missing: Annotated[
        list[str] | None,
        typer.Option(
            "--missing",
            help="Text of a missing value in a CSV file; repeatable.",
            metavar="TEXT",
            rich_help_panel=FILES,
        ),
    ] = None
    drop_incomplete: Annotated[
        bool, typer.Option("--drop-incomplete", help="Leave rows with missing values out.", rich_help_panel=FILES)
    ] = False

    def form(self) -> "CsvFormat | None":
        """How a CSV file is to be read, None if nothing is said about it.

        Raises:
            InputError: A sign is none.
        """
        from cvxrobust.bench.data.csv_files import CsvFormat

        missing = tuple(self.missing) if self.missing else None
        form = CsvFormat(self.separator, self.decimal, missing, self.drop_incomplete)
        return None if form == CsvFormat() else form
