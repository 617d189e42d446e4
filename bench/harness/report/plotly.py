"""Figures as plotly's JSON: data and layout, without colours, which the page chooses for light and dark."""

import html
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from cvxrobust.bench.harness.report.figures import Curve, Figure, Figures

MARKERS = {"good": "circle", "bad": "x", "": "circle"}

WIDE, MOST_TICKS = 300.0, 12
"""A logarithmic axis that spans more than this factor has ticks at powers of ten alone; and about so many at most."""

LINE = 26
"""Characters of a line of a name."""


def plotly_script() -> str:
    """The whole of plotly's script, to be inlined once; nothing is loaded from elsewhere."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def plotly_figures(figures: Figures) -> dict[str, dict[str, Any]]:
    """Every figure by its key, as plotly's data and layout.

    Traces name the number of their backend (``meta.color``) or what a part of a bar stands for (``meta.part``); the
    page turns those into colours.
    """
    order = {name: number for number, name in enumerate(figures.backends)}
    return {figure.key: _figure(figure, order) for figure in figures.every()}


def _figure(figure: Figure, order: Mapping[str, int]) -> dict[str, Any]:
    data = _bars(figure) if figure.categories else [_curve(curve, order, figure) for curve in figure.curves]
    layout: dict[str, Any] = {
        "xaxis": _axis(figure.x_label, figure.x_log, [value for curve in figure.curves for value in curve.x]),
        "yaxis": _axis(figure.y_label, figure.y_log, [value for curve in figure.curves for value in curve.y]),
        "height": 130 + 34 * len(figure.categories) if figure.categories else 420,
    }
    if figure.categories:
        layout |= {"barmode": "stack"}
        layout["yaxis"] |= {"autorange": "reversed", "type": "category"}
    elif figure.y_label.startswith("share"):
        layout["yaxis"] |= {"range": [-0.02, 1.04]}
    layout["shapes"] = [
        {
            "type": "line",
            "xref": "paper",
            "x0": 0,
            "x1": 1,
            "y0": level,
            "y1": level,
            "line": {"width": 1, "dash": "dot"},
        }
        for level in figure.levels
    ]
    return {"data": data, "layout": layout}


def _axis(label: str, logarithmic: bool, values: Sequence[float]) -> dict[str, Any]:
    plain: dict[str, Any] = {"title": {"text": escape(label)}, "automargin": True}
    if not logarithmic:
        return plain | {"rangemode": "tozero"}
    at = ticks(min(values, default=1.0), max(values, default=10.0))
    return plain | {"type": "log", "tickvals": list(at), "ticktext": list(at.values()), "tickfont": {"size": 11}}


def ticks(low: float, high: float) -> dict[float, str]:
    """Places on a logarithmic axis and what stands there: powers of ten, or 1, 2 and 5 times them on short axes."""
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    wide = high > WIDE * low
    step = max(1, (last - first) // MOST_TICKS)
    found = [(factor, power) for power in range(first, last + 1, step if wide else 1) for factor in (1, 2, 5)]
    return {
        factor * 10.0**power: f"{factor * 10.0**power:g}" if -3 <= power < 4 else f"{factor}e{power}"
        for factor, power in found
        if factor == 1 or not wide
    }


def _bars(figure: Figure) -> list[dict[str, Any]]:
    names = [in_lines(name) for name in figure.categories]
    return [
        {
            "type": "bar", "orientation": "h", "name": escape(part), "x": list(values), "y": names,
            "meta": {"part": part}, "hovertemplate": f"%{{y}}: %{{x:.4~g}} {escape(part)}<extra></extra>",
        }
        for part, values in figure.bars
    ]  # fmt: skip


def _curve(curve: Curve, order: Mapping[str, int], figure: Figure) -> dict[str, Any]:
    mode = "+".join([*(["lines"] if curve.line else []), *(["markers"] if curve.points or curve.end else [])])
    name = in_lines(f"{curve.name} ({curve.note})" if curve.note and curve.note != "fit" else curve.name)
    trace: dict[str, Any] = {
        "type": "scatter", "mode": mode, "name": name, "x": list(curve.x), "y": list(curve.y),
        "legendgroup": escape(curve.name), "showlegend": curve.note != "fit",
        "meta": {"color": order[curve.name]},
        "hovertemplate": f"{escape(figure.x_label)} %{{x:.4~g}}<br>{escape(figure.y_label)} %{{y:.3~g}}",
        "line": {"width": 2, "shape": "hv" if curve.steps else "linear"},
    }  # fmt: skip
    if curve.note == "fit":
        trace["line"]["dash"] = "dot"
    if curve.end:
        trace["marker"] = _last_only(curve.x, curve.end)
    elif curve.points:
        trace["marker"] = {"size": 8}
    return trace


def _last_only(x: Sequence[float], end: str) -> dict[str, Any]:
    return {"size": [0] * (len(x) - 1) + [10], "symbol": MARKERS[end], "opacity": 1, "line": {"width": 0}}


def in_lines(text: str) -> str:
    """A name, broken where it is long: it stands beside a picture that needs the room."""
    return "<br>".join(map(escape, textwrap.wrap(text, LINE) or [text]))


def escape(text: str) -> str:
    """Plain text for plotly, which reads a little HTML in names and labels."""
    return html.escape(text, quote=False)
