"""Options of what is trained on what, as the fields of one object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cvxrobust.bench.cli.arguments import (
    ATTACKS,
    FILES,
    GATES,
    Bounds,
    Data,
    FeatureRadius,
    Immutable,
    Outside,
    SourceOptions,
)
from cvxrobust.bench.cli.completion import loss_names, norm_names, problem_names

if TYPE_CHECKING:
    from cvxrobust.bench.workflows.requests import TrainingRequest
    from cvxrobust.core.settings import Settings


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
    bounds: Bounds = None
    outside: Outside = None
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
            "feature_radius": parse_feature_radii(self.feature_radius), "bounds": self.bounds, "outside": self.outside,
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
