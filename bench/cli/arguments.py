"""Options that several commands share; those that go together as the fields of one object."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvxrobust.bench.cli.completion import (
    backend_names,
    data_names,
    loss_names,
    method_names,
    norm_names,
    problem_names,
)

if TYPE_CHECKING:
    from cvxrobust.bench.data.csv_files import CsvFormat
    from cvxrobust.bench.workflows.requests import TrainingRequest
    from cvxrobust.core.settings import Settings

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


@dataclass(frozen=True)
class JudgingOptions:
    """How a model is judged, and what is to be known of it for that."""

    sanity: Annotated[
        bool,
        typer.Option(
            "--sanity",
            help="Check the evaluation itself at one radius; exit code 1 if it fails.",
            rich_help_panel=JUDGING,
        ),
    ] = False
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows", help="CSV file with what was found about every row.", metavar="FILE", rich_help_panel=OUTPUT
        ),
    ] = None
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture", help="PNG of the bracket against the radius.", metavar="FILE", rich_help_panel=OUTPUT
        ),
    ] = None
    bounds: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--bounds",
            help="Range of inputs, in units of the data: attacks stay in it.",
            metavar="LOW HIGH",
            rich_help_panel=ATTACKS,
        ),
    ] = None
    steps: Annotated[
        int,
        typer.Option("--steps", help="Of iterative attacks, from each start.", metavar="N", rich_help_panel=JUDGING),
    ] = 40
    restarts: Annotated[
        int, typer.Option("--restarts", help="Random starts of attacks.", metavar="N", rich_help_panel=JUDGING)
    ] = 2
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code", help="Load a file that may run any code (a pickle, TorchScript).", rich_help_panel=OTHERS
        ),
    ] = False
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            help="Labels of the data, in the order of the classifier's own.",
            metavar="LABEL,...",
            rich_help_panel=OTHERS,
        ),
    ] = None
    input_shape: Annotated[
        str | None,
        typer.Option(
            "--input-shape",
            help="Of one input of a PyTorch module, such as 3,32,32.",
            metavar="C,H,W",
            rich_help_panel=OTHERS,
        ),
    ] = None

    def parsed(self) -> dict[str, Any]:
        """As fields of an `EvaluationRequest`.

        Raises:
            InputError: A shape is none.
            MissingExtraError: Nothing here draws the picture asked for.
        """
        from cvxrobust.bench.cli.options import parse_shape
        from cvxrobust.core.extras import require

        if self.picture is not None:
            require("matplotlib", "plot", "pictures")
        return {
            "sanity": self.sanity, "rows_file": self.rows, "picture": self.picture, "bounds": self.bounds,
            "steps": self.steps, "restarts": self.restarts, "trusted": self.trust_code,
            "input_shape": parse_shape(self.input_shape),
            "classes": () if self.classes is None else tuple(name.strip() for name in self.classes.split(",")),
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What is trained on what: data, problem and split, whoever solves it then."""

    data: Data
    source: SourceOptions
    problem: Annotated[
        str, typer.Option(help="See `cvxrobust problems list`.", metavar="NAME", autocompletion=problem_names)
    ] = "adversarial-sdp"
    radius: Annotated[
        float | None,
        typer.Option(help="Of attacks, in deviations of the training features.", metavar="R"),
    ] = None
    norm: Annotated[
        str | None,
        typer.Option(help="Of attacks: inf, 2 or 1. (default: the problem's)", metavar="P", autocompletion=norm_names),
    ] = None
    beta: Annotated[
        float | None, typer.Option(help="Weight of the penalty. (default: the problem's)", metavar="BETA")
    ] = None
    loss: Annotated[
        str | None,
        typer.Option(
            help="hinge, ..., or of numbers: squared, absolute, huber.",
            metavar="NAME",
            autocompletion=loss_names,
        ),
    ] = None
    regression: Annotated[
        bool, typer.Option("--regression", help="Labels are numbers to be fitted, whatever they look like.")
    ] = False
    immutable: Immutable = None
    feature_radius: FeatureRadius = None
    class_weight: Annotated[
        list[str] | None,
        typer.Option(
            "--class-weight",
            help="What a class counts: balanced, or by label.",
            metavar="LABEL=W",
            rich_help_panel=ATTACKS,
        ),
    ] = None
    activation: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="a b c of the activation a t^2 + b t + c.", metavar="A B C", rich_help_panel=ATTACKS),
    ] = None
    formulation: Annotated[
        str | None,
        typer.Option(
            help="one-sided, cone or gated. (default: by the loss)",
            metavar="NAME",
            rich_help_panel=GATES,
        ),
    ] = None
    bound: Annotated[
        str | None,
        typer.Option(help="Of one-sided: soft-cone, separate or mixed.", metavar="NAME", rich_help_panel=GATES),
    ] = None
    n_gates: Annotated[
        int | None,
        typer.Option(help="Gates to sample. (default: by rows per input)", metavar="N", rich_help_panel=GATES),
    ] = None
    gate_seed: Annotated[
        int | None,
        typer.Option(help="Other gates on the same split. (default: --seed)", metavar="N", rich_help_panel=GATES),
    ] = None
    bias: Annotated[
        bool | None,
        typer.Option("--bias/--no-bias", help="Neurons with a bias. (default: without)", rich_help_panel=GATES),
    ] = None
    regate: Annotated[
        int | None,
        typer.Option(
            help="Rounds of better gates for the network found. (default: 0)", metavar="N", rich_help_panel=GATES
        ),
    ] = None
    resample: Annotated[
        bool | None,
        typer.Option("--resample", help="Only gates that can carry a neuron under attack.", rich_help_panel=GATES),
    ] = None
    multiclass: Annotated[
        str | None,
        typer.Option(
            help="one-versus-all, or vector-output with a loss of numbers.", metavar="NAME", rich_help_panel=GATES
        ),
    ] = None
    test_fraction: Annotated[
        float, typer.Option(help="Share of rows held out; 0 for none.", metavar="SHARE", rich_help_panel=FILES)
    ] = 0.2
    seed: Annotated[
        int, typer.Option(help="Of the split, and of sampled gates.", metavar="N", rich_help_panel=FILES)
    ] = 0
    standardize: Annotated[
        bool,
        typer.Option(
            "--standardize/--no-standardize",
            help="By the training rows' statistics, or not.",
            rich_help_panel=ATTACKS,
            show_default=False,
        ),
    ] = True

    def parameters(self) -> dict[str, Any]:
        """The parameters of the problem that are given, by the problem's own names.

        Raises:
            InputError: There is no such norm, or a class weight or the radius of a column is none.
        """
        from cvxrobust.bench.cli.options import parse_class_weight, parse_feature_radii, parse_names
        from cvxrobust.core.attacks.norms import check_norm

        found = {
            "norm": None if self.norm is None else check_norm(self.norm), "radius": self.radius, "beta": self.beta,
            "loss": self.loss, "activation": self.activation, "formulation": self.formulation, "bound": self.bound,
            "n_gates": self.n_gates, "seed": self.gate_seed, "bias": self.bias, "regate": self.regate,
            "resample": self.resample, "multiclass": self.multiclass,
            "class_weight": parse_class_weight(self.class_weight), "immutable": parse_names(self.immutable),
            "feature_radius": parse_feature_radii(self.feature_radius),
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not None}

    def request(self, settings: "Settings", parameters: Mapping[str, Any]) -> "TrainingRequest":
        """What is asked for, whoever solves it.

        Args:
            settings: How to solve.
            parameters: Of the problem; `parameters` and any others.

        Raises:
            InputError: A sign of the CSV file is none.
        """
        from cvxrobust.bench.workflows.requests import TrainingRequest

        return TrainingRequest(
            data=self.data,
            settings=settings,
            problem=self.problem,
            parameters=parameters,
            data_folder=self.source.data_folder,
            label=self.source.label,
            test_fraction=self.test_fraction,
            seed=self.seed,
            standardize=self.standardize,
            form=self.source.form(),
            weight_column=self.source.weight_column,
            radius_column=self.source.radius_column,
            regression=self.regression,
        )
