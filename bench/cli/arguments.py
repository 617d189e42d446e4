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
Separator = Annotated[
    str,
    typer.Option("--separator", help="What stands between cells of a CSV file: a character, or tab.", metavar="C"),
]
Decimal = Annotated[str, typer.Option("--decimal", help="Decimal sign of a CSV file: . or ,", metavar="C")]
Missing = Annotated[
    list[str] | None,
    typer.Option(
        "--missing",
        help="Text that stands for a missing value in a CSV file, labels included; repeatable. (default: an empty cell "
        "or ?, and among numbers NA, N/A, nan, null, none)",
        metavar="TEXT",
    ),
]
DropIncomplete = Annotated[
    bool,
    typer.Option("--drop-incomplete", help="Leave rows of a CSV file with missing values out, and say how many."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Problem = Annotated[
    str,
    typer.Option(help="standard-sdp, adversarial-sdp, convex-relu, adversarial-relu, or a plugin's."),
]
Radius = Annotated[
    float | None,
    typer.Option(
        help="Attack radius, in standard deviations of the training features (or units of the data with "
        "--no-standardize); l2 for adversarial-sdp, in the norm --norm for adversarial-relu."
    ),
]
Beta = Annotated[float | None, typer.Option(help="Weight of the penalty. (default: the problem's)")]
Loss = Annotated[str | None, typer.Option(help="hinge, squared_hinge, logistic or squared. (default: the problem's)")]
Activation = Annotated[
    tuple[float, float, float] | None,
    typer.Option(help="Coefficients a b c of the activation a t^2 + b t + c.", metavar="A B C"),
]
TestFraction = Annotated[float, typer.Option(help="Share of rows held out; 0 trains on all.")]
Seed = Annotated[int, typer.Option(help="Seed of the split and, without --gate-seed, of sampled gates.")]
Standardize = Annotated[bool, typer.Option("--standardize/--no-standardize", help="Use the training rows' statistics.")]
Save = Annotated[Path | None, typer.Option(help="Write the network to this .npz file.")]
Tolerance = Annotated[float, typer.Option(help="Relative certified gap to reach.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]


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
Gates = Annotated[
    int | None,
    typer.Option(
        help="Gates to sample. (default: one for every five samples per input, from 10 to 50)", rich_help_panel=GATES
    ),
]
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
    typer.Option(
        "--grow",
        help="Add gates as long as a round of them lowers the programme's optimum by a hundredth.",
        rich_help_panel=GATES,
    ),
]
Polish = Annotated[
    str | None,
    typer.Option(
        "--polish",
        help="Go on with masters on this conic backend where the first one is slow; alone or as auto it picks one. "
        "Polynomial networks only.",
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--parameter",
        help="Any parameter that the problem takes (`cvxrobust problems list`), such as a plugin's own; repeatable.",
        metavar="NAME=VALUE",
    ),
]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Also print this metric (`cvxrobust metrics list`); repeatable.", metavar="NAME"),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto, for backends that have a choice.")]
Dtype = Annotated[str, typer.Option(help="Precision of the iterates, float64 or float32.")]
