"""Options that several commands share; those that go together as the fields of one object."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cvxrobust.bench.data.csv_files import CsvFormat
    from cvxrobust.bench.workflows.requests import TrainingRequest
    from cvxrobust.core.settings import Settings

Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="breast-cancer, ionosphere, pima_diabetes, heart_statlog, breast_cancer_wisconsin_original, "
        "or the path of a CSV or NPZ file.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="A line for every report, and what solvers print themselves.")
]
Save = Annotated[Path | None, typer.Option(help="Write the network to this .npz file.")]
Tolerance = Annotated[float, typer.Option(help="Relative certified gap to reach.")]
Immutable = Annotated[
    list[str] | None,
    typer.Option(
        "--immutable",
        help="Columns that attacks cannot touch, by name, with commas between them; repeatable.",
        metavar="NAME,...",
    ),
]
FeatureRadius = Annotated[
    list[str] | None,
    typer.Option(
        "--feature-radius",
        help="By how much an attack of the (largest) --radius may move this column by itself, in units of the data; "
        "repeatable.",
        metavar="NAME=NUMBER",
    ),
]
SavedNetwork = Annotated[Path, typer.Argument(help="A network written by `solve --save`.")]

SavedModel = Annotated[
    Path,
    typer.Argument(
        help="A network written by `solve --save`, or another's classifier: .skops, .joblib or .pkl of scikit-learn, "
        ".pt (TorchScript) or .pt2 (torch.export)."
    ),
]

GATES = "Options of the ReLU problems"
"""The panel of the help that they stand in."""


@dataclass(frozen=True)
class SourceOptions:
    """Where data is found, and how a file of it is to be read."""

    data_folder: Annotated[
        Path | None, typer.Option("--data-folder", help="Folder of the named sets. (default: $CVXROBUST_DATA)")
    ] = None
    label: Annotated[
        str | None, typer.Option("--label", help="Label column of a CSV file, or label array of an NPZ file.")
    ] = None
    weight_column: Annotated[
        str | None,
        typer.Option(
            "--weight-column",
            help="Column of a CSV file, or array of an NPZ file, with what each row counts; 0 leaves it out.",
        ),
    ] = None
    radius_column: Annotated[
        str | None,
        typer.Option(
            "--radius-column",
            help="Column of a CSV file, or array of an NPZ file, with the attack radius of each row; what radii are "
            "given besides multiply it.",
        ),
    ] = None
    separator: Annotated[
        str,
        typer.Option("--separator", help="What stands between cells of a CSV file: a character, or tab.", metavar="C"),
    ] = ","
    decimal: Annotated[str, typer.Option("--decimal", help="Decimal sign of a CSV file: . or ,", metavar="C")] = "."
    missing: Annotated[
        list[str] | None,
        typer.Option(
            "--missing",
            help="Text that stands for a missing value in a CSV file, labels included; repeatable. (default: an empty "
            "cell or ?, and among numbers NA, N/A, nan, null, none)",
            metavar="TEXT",
        ),
    ] = None
    drop_incomplete: Annotated[
        bool,
        typer.Option("--drop-incomplete", help="Leave rows of a CSV file with missing values out, and say how many."),
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
            "--sanity", help="Check the evaluation itself, at one radius; 1 is the exit code if a check fails."
        ),
    ] = False
    rows: Annotated[
        Path | None,
        typer.Option(
            "--rows", help="Write a CSV file with what was found about every row: what it holds, what broke it."
        ),
    ] = None
    picture: Annotated[
        Path | None,
        typer.Option("--picture", help="Draw the bracket against the radius, from 0 on, as a PNG."),
    ] = None
    bounds: Annotated[
        tuple[float, float] | None,
        typer.Option(
            "--bounds", help="The range of inputs, in units of the data: attacks stay in it.", metavar="LOW HIGH"
        ),
    ] = None
    steps: Annotated[int, typer.Option("--steps", help="Steps of iterative attacks from each start.")] = 40
    restarts: Annotated[int, typer.Option("--restarts", help="Random starts of attacks.")] = 2
    trust_code: Annotated[
        bool,
        typer.Option(
            "--trust-code",
            help="Load a file that may run any code as it is loaded (a pickle, TorchScript, an exported programme), as "
            "its writer is trusted.",
        ),
    ] = False
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes",
            help="Labels of the data in the order of a classifier's own, with commas between them. (default: its own; "
            "of a PyTorch module those of the data, sorted)",
            metavar="LABEL,...",
        ),
    ] = None
    input_shape: Annotated[
        str | None,
        typer.Option("--input-shape", help="Shape of one input of a PyTorch module, such as 3,32,32.", metavar="C,H,W"),
    ] = None

    def parsed(self) -> dict[str, Any]:
        """As fields of an `EvaluationRequest`.

        Raises:
            InputError: A shape is none.
        """
        from cvxrobust.bench.cli.options import parse_shape

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
    problem: Annotated[
        str,
        typer.Option(help="standard-sdp, adversarial-sdp, convex-relu, adversarial-relu, or a plugin's."),
    ] = "adversarial-sdp"
    radius: Annotated[
        float | None,
        typer.Option(
            help="Attack radius, in standard deviations of the training features (or units of the data with "
            "--no-standardize), in the norm --norm; with --radius-column a factor on it. (default with it: 1)"
        ),
    ] = None
    norm: Annotated[
        str | None,
        typer.Option(
            "--norm",
            help="Norm of the attacks: inf, 2 or 1; 2 alone for adversarial-sdp. (default: inf; 2 for adversarial-sdp)",
        ),
    ] = None
    immutable: Immutable = None
    feature_radius: FeatureRadius = None
    beta: Annotated[float | None, typer.Option(help="Weight of the penalty. (default: the problem's)")] = None
    loss: Annotated[
        str | None,
        typer.Option(help="hinge, squared_hinge, logistic, squared, absolute or huber. (default: the problem's)"),
    ] = None
    class_weight: Annotated[
        list[str] | None,
        typer.Option(
            "--class-weight",
            help="What the rows of a class count: balanced, or LABEL=NUMBER, repeatable. (default: 1)",
            metavar="balanced|LABEL=NUMBER",
        ),
    ] = None
    activation: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="Coefficients a b c of the activation a t^2 + b t + c.", metavar="A B C"),
    ] = None
    formulation: Annotated[
        str | None,
        typer.Option(
            help="one-sided, cone or gated. (default: one-sided; cone with losses of targets)", rich_help_panel=GATES
        ),
    ] = None
    bound: Annotated[
        str | None,
        typer.Option(
            help="Neurons that can only hurt, one-sided formulation under attack: soft-cone, separate or mixed. "
            "(default: soft-cone)",
            rich_help_panel=GATES,
        ),
    ] = None
    n_gates: Annotated[
        int | None,
        typer.Option(
            help="Gates to sample. (default: one for every five samples per input, from 10 to 50)",
            rich_help_panel=GATES,
        ),
    ] = None
    gate_seed: Annotated[
        int | None,
        typer.Option(
            help="Seed of the sampled gates, for other gates on the same split. (default: that of --seed)",
            rich_help_panel=GATES,
        ),
    ] = None
    bias: Annotated[
        bool | None,
        typer.Option("--bias/--no-bias", help="Neurons with a bias. (default: without)", rich_help_panel=GATES),
    ] = None
    regate: Annotated[
        int | None,
        typer.Option(
            help="Rounds of better gates for the network found, one-sided formulation. (default: 0)",
            rich_help_panel=GATES,
        ),
    ] = None
    resample: Annotated[
        bool | None,
        typer.Option(
            "--resample", help="Keep only gates that can carry a neuron under the attack.", rich_help_panel=GATES
        ),
    ] = None
    multiclass: Annotated[
        str | None,
        typer.Option(
            help="More than two classes: one-versus-all, or vector-output with a loss of targets. "
            "(default: one-versus-all; losses of targets need a choice)",
            rich_help_panel=GATES,
        ),
    ] = None
    regression: Annotated[
        bool,
        typer.Option(
            "--regression",
            help="Labels are numbers to be fitted by a loss of targets, even if they do not look like measurements.",
        ),
    ] = False
    test_fraction: Annotated[float, typer.Option(help="Share of rows held out; 0 trains on all.")] = 0.2
    seed: Annotated[int, typer.Option(help="Seed of the split and, without --gate-seed, of sampled gates.")] = 0
    standardize: Annotated[
        bool, typer.Option("--standardize/--no-standardize", help="Use the training rows' statistics.")
    ] = True
    source: SourceOptions

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


def fields_as_options(*without: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For commands: a parameter that is one of the objects above becomes an option for each of its fields.

    Args:
        *without: Fields that the command has no option for; they are what they are by default.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = signature(command).parameters.values()

        @wraps(command)
        def call(**given: Any) -> None:
            command(**_gathered(own, given))

        call.__signature__ = Signature(list(_spread(own, without)))  # type: ignore[attr-defined]
        return call

    return decorate


def _spread(parameters: Iterable[Parameter], without: tuple[str, ...]) -> Iterator[Parameter]:
    for one in parameters:
        if _is_object(one):
            yield from _spread(signature(one.annotation).parameters.values(), without)
        elif one.name not in without:
            # Keywords alone, because those without a default need not come first.
            yield one.replace(kind=Parameter.KEYWORD_ONLY)


def _gathered(parameters: Iterable[Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for one in parameters:
        if _is_object(one):
            found[one.name] = one.annotation(**_gathered(signature(one.annotation).parameters.values(), given))
        elif one.name in given:
            found[one.name] = given[one.name]
    return found


def _is_object(one: Parameter) -> bool:
    return is_dataclass(one.annotation)
