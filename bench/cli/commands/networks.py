"""``cvxrobust evaluate | predict``: what a network that is there already withstands, and what it says of new rows."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.cli.arguments import SourceOptions
from cvxrobust.bench.cli.fields import fields_as_options
from cvxrobust.bench.cli.judging import JudgingOptions
from cvxrobust.bench.cli.options import parse_feature_radii, parse_names, parse_radii, spread_values
from cvxrobust.bench.display import EXIT_UNUSABLE, clean_errors, print_json


class SeveralRadii(TyperCommand):
    """A command whose ``--radius`` takes all the values that follow it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag before each of its values, which is what the parser understands."""
        return super().parse_args(ctx, spread_values(args, "--radius"))


@fields_as_options("radius_column")
def evaluate(
    *,
    network: arguments.SavedModel,
    data: arguments.Data,
    radius: Annotated[
        list[str],
        typer.Option("--radius", help="Radii, in the network's unit; several may follow.", metavar="R ..."),
    ],
    norm: arguments.AskedNorm = None,
    split: Annotated[
        str,
        typer.Option(help="auto (rows held out of its own data, else all), train, test, all.", metavar="PART"),
    ] = "auto",
    source: SourceOptions,
    exact: Annotated[
        bool,
        typer.Option(
            "--exact", help="Settle what bounds of a small ReLU network leave open.", rich_help_panel=arguments.JUDGING
        ),
    ] = False,
    time_limit: Annotated[
        float | None, typer.Option(help="For --exact.", metavar="SECONDS", rich_help_panel=arguments.JUDGING)
    ] = None,
    immutable: arguments.Immutable = None,
    feature_radius: arguments.FeatureRadius = None,
    judging: JudgingOptions,
    as_json: arguments.Json = False,
) -> None:
    """Accuracy of a saved network, or of another's classifier, under attacks of each radius.

    It lies between the certified accuracy, which no attack can lower, and the attacked accuracy,
    which an attack that was found and checked reaches. Of a network that predicts numbers: how far
    they are off, and by how much more under attack. Attacks have the shape trained against, unless
    --immutable or --feature-radius describe another.
    """
    with clean_errors(as_json):
        from cvxrobust.bench.cli.printing import print_evaluation, print_numbers
        from cvxrobust.bench.workflows.evaluation import EvaluationRequest, evaluate_numbers, predicts_numbers
        from cvxrobust.bench.workflows.evaluation import evaluate as evaluate_network
        from cvxrobust.core.attacks.norms import check_norm

        request = EvaluationRequest(
            network,
            data,
            parse_radii(radius),
            split,
            source.data_folder,
            source.label,
            norm=None if norm is None else check_norm(norm),
            exact=exact,
            time_limit=time_limit,
            form=source.form(),
            weight_column=source.weight_column,
            immutable=tuple(parse_names(immutable) or ()),
            feature_radius=parse_feature_radii(feature_radius) or {},
            **judging.parsed(),
        )
        if predicts_numbers(request):
            numbers = evaluate_numbers(request)
            return print_json(numbers.to_dict()) if as_json else print_numbers(numbers)
        evaluation = evaluate_network(request)
        if as_json:
            print_json(evaluation.to_dict())
        else:
            print_evaluation(evaluation)
    if evaluation.sanity is not None and not evaluation.sanity.passed:
        raise typer.Exit(EXIT_UNUSABLE)


@fields_as_options("missing", "drop_incomplete")
def predict(
    *,
    network: arguments.SavedNetwork,
    data: arguments.Data,
    out: Annotated[
        Path | None, typer.Option(help="Write the CSV to this file. (default: standard output)", metavar="FILE")
    ] = None,
    norm: arguments.AskedNorm = None,
    radius: Annotated[
        float | None,
        typer.Option(help="That predicted numbers are bounded under. (default: trained against)", metavar="R"),
    ] = None,
    immutable: arguments.Immutable = None,
    source: SourceOptions,
    quiet: arguments.Quiet = False,
) -> None:
    """Label, margin and certified radius of every row of new data, as CSV.

    No attack within the certified radius changes a row's label. The data needs no labels; columns
    are found by the names that the network was trained on, others are left aside. Of a network that
    predicts numbers: the value, what attacks cannot move it out of, and, where the data holds the
    true number, the largest error they can cause.
    """
    with clean_errors():
        from cvxrobust.bench.workflows.prediction import PredictionRequest
        from cvxrobust.bench.workflows.prediction import predict as predict_rows
        from cvxrobust.core.attacks.norms import check_norm
        from cvxrobust.core.files import write_whole

        form = source.form()
        asked = None if norm is None else check_norm(norm)
        request = PredictionRequest(
            network,
            data,
            out,
            source.data_folder,
            source.label,
            asked,
            form,
            source.weight_column,
            tuple(parse_names(immutable) or ()),
            radius,
            source.radius_column,
        )
        found = predict_rows(request)
        for note in () if quiet else found.notes:
            print(note, file=sys.stderr)
        if out is None:
            print(found.to_csv(), end="")
        else:
            write_whole(out, found.to_csv())
