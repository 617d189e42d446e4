"""Options of the command line that several commands share, or that belong to one family of problems."""

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="breast-cancer, ionosphere, pima_diabetes, heart_statlog, breast_cancer_wisconsin_original, "
        "or the path of a CSV or NPZ file.",
    ),
]
DataFolder = Annotated[
    Path | None, typer.Option("--data-folder", help="Folder of the named sets. (default: $CVXROBUST_DATA)")
]
Label = Annotated[
    str | None, typer.Option("--label", help="Label column of a CSV file, or label array of an NPZ file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]


GATES = "Options of the ReLU problems"
Norm = Annotated[
    str | None,
    typer.Option("--norm", help="Norm of the attacks: inf, 2 or 1. (default: inf)", rich_help_panel=GATES),
]
Formulation = Annotated[
    str | None,
    typer.Option(
        help="one-sided, cone or gated. (default: one-sided; cone with the squared loss)", rich_help_panel=GATES
    ),
]
Bound = Annotated[
    str | None,
    typer.Option(
        help="Neurons that can only hurt, one-sided formulation under attack: soft-cone, separate or mixed. "
        "(default: soft-cone)",
        rich_help_panel=GATES,
    ),
]
Gates = Annotated[int | None, typer.Option(help="Gates to sample. (default: 50)", rich_help_panel=GATES)]
GateSeed = Annotated[
    int | None,
    typer.Option(
        help="Seed of the sampled gates, for other gates on the same split. (default: that of --seed)",
        rich_help_panel=GATES,
    ),
]
Bias = Annotated[
    bool | None,
    typer.Option("--bias/--no-bias", help="Neurons with a bias. (default: without)", rich_help_panel=GATES),
]
Regate = Annotated[
    int | None,
    typer.Option(
        help="Rounds of better gates for the network found, one-sided formulation. (default: 0)", rich_help_panel=GATES
    ),
]
Resample = Annotated[
    bool | None,
    typer.Option("--resample", help="Keep only gates that can carry a neuron under the attack.", rich_help_panel=GATES),
]
Multiclass = Annotated[
    str | None,
    typer.Option(
        help="More than two classes: one-versus-all, or vector-output with the squared loss. "
        "(default: one-versus-all; the squared loss needs a choice)",
        rich_help_panel=GATES,
    ),
]
Grow = Annotated[
    bool,
    typer.Option("--grow", help="Add gates as long as they lower the programme's optimum.", rich_help_panel=GATES),
]
Polish = Annotated[
    str | None,
    typer.Option(
        "--polish",
        help="Go on with masters on this conic backend where the first one is slow; alone or as auto it picks one. "
        "Polynomial networks only.",
    ),
]
