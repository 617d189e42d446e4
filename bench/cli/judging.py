"""Options of how a model is judged, as the fields of one object."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cvxrobust.bench.cli.arguments import JUDGING, OTHERS, OUTPUT, Bounds, Outside


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
    bounds: Bounds = None
    outside: Outside = None
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
            "outside": self.outside,
            "steps": self.steps, "restarts": self.restarts, "trusted": self.trust_code,
            "input_shape": parse_shape(self.input_shape),
            "classes": () if self.classes is None else tuple(name.strip() for name in self.classes.split(",")),
        }  # fmt: skip
