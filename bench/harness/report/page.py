"""The report as one HTML file that needs nothing else: no network, no other file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from cvxrobust.bench.harness.report.figures import figures
from cvxrobust.bench.harness.report.plotly import plotly_figures, plotly_script
from cvxrobust.bench.harness.report.png import COLORS, DARK_COLORS, DASHES, PARTS
from cvxrobust.bench.harness.report.report import FILTERS, Report, gap, memory, number, plus_minus
from cvxrobust.bench.metrics import GAPS, PHASES
from cvxrobust.core.files import write_whole
from cvxrobust.core.secrets import presentable

TEMPLATES = Path(__file__).parent / "templates"

Column = tuple[str, str, Any, str]
"""Heading, column of the table, how it is written, and what the heading means."""

COLUMNS: tuple[Column, ...] = (
    ("problem", "problem", None, ""),
    ("backend", "backend", None, ""),
    ("gap asked", "tolerance", number, "certified relative gap to reach"),
    ("counts as", "standing", None, "judged from the certificate alone"),
    ("why not certified", "failure", None, ""),
    ("seconds", "seconds", number, "to the gap asked for, assembling included"),
    ("gap", "relative_gap", gap, "certified: (upper - lower) / |upper|"),
    ("gap to best", "gap_to_best", gap, "(upper - best lower bound of all rows) / |best upper|"),
    ("upper", "upper", lambda value: number(value, 8), "exact objective of the network returned"),
    ("lower", "lower", lambda value: number(value, 8), "proved lower bound"),
    *((f"to {at}", f"seconds_to_{at}", number, f"seconds until the certified gap was {at}") for at in GAPS),
    *((phase, phase, number, f"seconds of the phase {phase!r}") for phase in PHASES),
    ("wall", "wall", number, "seconds of the whole call"),
    ("memory", "peak_memory", memory, "high-water mark of resident memory"),
    ("iterations", "iterations", number, "of the solver"),
    ("DIMACS", "dimacs_error", gap, "largest DIMACS error of the raw solution"),
    ("threads", "threads", number, ""),
    ("repeat", "repeat", number, ""),
    ("run", "run", None, ""),
    ("solver said", "termination", None, "its own opinion, which decides nothing"),
    ("reason", "reason", None, ""),
    ("message", "message", None, "the solver's own words"),
)


def write_html(report: Report, path: Path) -> None:
    """Write the report as one HTML file.

    Args:
        report: What it says.
        path: The file.
    """
    write_whole(path, render_html(report))


def render_html(report: Report) -> str:
    """The report as HTML; every text in it is escaped."""
    drawn = figures(report.analysis)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.globals["plus_minus"] = plus_minus
    dashes = [_DASH_NAMES[dash] for dash in DASHES]
    style = {"colors": COLORS, "darkColors": DARK_COLORS, "dashes": dashes, "parts": PARTS}
    return environment.get_template("report.html.jinja").render(
        **report.context,
        figures=drawn,
        figures_json=script_json({"figures": plotly_figures(drawn), "style": style}),
        plotly=Markup(plotly_script().replace("</script", "<\\/script")),
        script=Markup((TEMPLATES / "report.js").read_text(encoding="utf-8")),
        css=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
        headings=[(heading, write is not None, meaning) for heading, _, write, meaning in COLUMNS],
        lines=[
            [_cell(row[column], write) for _, column, write, _ in COLUMNS] for row in report.analysis.table.to_dicts()
        ],
    )


def _shown(value: Any) -> Any:
    return value if isinstance(value, Markup) else presentable(value)


def _presentable(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {name: _presentable(item) for name, item in content.items()}
    return [_presentable(item) for item in content] if isinstance(content, list | tuple) else presentable(content)


def script_json(content: Any) -> Markup:
    """JSON that may stand in a script element: nothing in it can end that."""
    text = json.dumps(_presentable(content), allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


_DASH_NAMES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}


def _cell(value: object, write: Any) -> tuple[str, str | None]:
    """What a cell shows, and the number to sort it by; None for words."""
    if write is None:
        return str(value or ""), None
    return write(value), "" if value is None else repr(value)
