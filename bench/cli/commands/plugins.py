"""``cvxrobust plugins list``, ``problems list`` and ``metrics list``: what is installed, and what became of it."""

from typing import Any

import typer

from cvxrobust.bench.cli.arguments import Json
from cvxrobust.bench.display import clean_errors, console, make_table, print_json

plugins_app = typer.Typer(help="Plugins found, the bad ones included, each with the reason.", no_args_is_help=True)
problems_app = typer.Typer(help="Problem families that can be solved.", no_args_is_help=True)
metrics_app = typer.Typer(help="Numbers that can be taken from results.", no_args_is_help=True)


@plugins_app.command("list")
def list_plugins(as_json: Json = False) -> None:
    """Every entry point of the group ``cvxrobust``: what it brings, what is wrong with it, and what it should not do.

    The factory of everything that they offer is called for it.
    """
    with clean_errors(as_json):
        from cvxrobust.core.discovery.hookspecs import API_VERSION
        from cvxrobust.core.discovery.registry import plugins

        rows = [
            {
                "plugin": record.entry,
                "distribution": record.distribution or "registered at run time",
                "status": str(record.status),
                "backends": list(record.backends),
                "problems": list(record.problems),
                "metrics": list(record.metrics),
                "reason": record.reason,
                "remarks": list(record.remarks),
            }
            for record in plugins(examined=True)
        ]
        _show("plugins", f"Plugins (interface {API_VERSION})", rows, as_json)


@problems_app.command("list")
def list_problems(as_json: Json = False) -> None:
    """Every problem family, by the name that ``cvxrobust solve --problem`` takes."""
    with clean_errors(as_json):
        from cvxrobust.core.discovery.registry import problems

        rows = [
            {"name": name, "parameters": list(family.parameters), "summary": family.summary}
            for name, family in problems().items()
        ]
        _show("problems", "Problem families", rows, as_json)


@metrics_app.command("list")
def list_metrics(as_json: Json = False) -> None:
    """Every metric, by the name that ``cvxrobust solve --metric`` takes."""
    with clean_errors(as_json):
        from cvxrobust.core.discovery.registry import metrics

        rows = [
            {"name": name, "unit": metric.unit, "better": metric.better, "summary": metric.summary}
            for name, metric in metrics().items()
        ]
        _show("metrics", "Metrics", rows, as_json)


def _show(key: str, title: str, rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_json({key: rows})
        return
    columns = tuple(rows[0]) if rows else ()
    cells = [[_words(row[column]) for column in columns] for row in rows]
    console().print(make_table(title, columns, cells, left=len(columns)))


def _words(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
