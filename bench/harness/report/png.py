"""Figures as PNG pictures, for Markdown; drawn without a display."""

import math
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cvxrobust.bench.harness.report.figures import Curve, Figure, Figures
from cvxrobust.core.files import whole_file
from cvxrobust.core.secrets import presentable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLORS = ("#1f77b4", "#d95f02", "#1b9e77", "#cc3d85", "#8a6d00", "#7b5bd6", "#5f6b73", "#a6431f", "#3a8fb7", "#5b8c2a")
"""Of backends, by their rank; the eleventh starts anew with another dash."""

DARK_COLORS = (
    "#62b1ee",
    "#ff9a52",
    "#4fcf9f",
    "#f07ab8",
    "#d9b43a",
    "#ad96ff",
    "#a9b6c0",
    "#e08a68",
    "#8fd0f0",
    "#a3d873",
)
"""The same on a dark page."""

PARTS = {
    "certified": "#1b9e77", "inaccurate": "#e6ab02", "failed": "#c0392b", "contradicted": "#8e24aa",
    "assemble": "#8da0cb", "setup": "#e6ab02", "solve": "#1f77b4", "certify": "#1b9e77",
}  # fmt: skip

DASHES = ("-", "--", "-.", ":")
PANELS = 12
"""Gap figures on one picture."""

PICTURES = 4
"""Pictures of gap figures at most; the page for browsers has them all."""


def write_pictures(figures: Figures, folder: Path, stem: str) -> dict[str, Path]:
    """Draw everything.

    Args:
        figures: What to draw.
        folder: Where the files go.
        stem: What their names begin with.

    Returns:
        Files by what they show: ``counts``, ``phases``, ``profile-1``, ``scaling-1``, ``gaps-1`` and so on.
    """
    order = {name: number for number, name in enumerate(figures.backends)}
    files = {}
    for figure in (figures.counts, figures.phases, *figures.profiles, *figures.scalings):
        files[figure.key] = folder / f"{stem}-{figure.key}.png"
        _write([figure], order, files[figure.key])
    for number, chosen in enumerate(gap_pages(figures.gaps), 1):
        files[f"gaps-{number}"] = folder / f"{stem}-gaps-{number}.png"
        _write(chosen, order, files[f"gaps-{number}"])
    return files


def gap_pages(gaps: Sequence[Figure]) -> list[Sequence[Figure]]:
    """The gap figures that pictures show, by picture."""
    return [gaps[start : start + PANELS] for start in range(0, min(len(gaps), PANELS * PICTURES), PANELS)]


def _write(figures: Sequence[Figure], order: dict[str, int], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    columns = 2 if len(figures) in (2, 4) else min(len(figures), 3)
    lines = -(-len(figures) // columns)
    size = (4.0 * columns, 3.0 * lines + 0.6) if len(figures) > 1 else (7.0, _height(figures[0]))
    canvas = Canvas(figsize=size, layout="constrained")
    FigureCanvasAgg(canvas)
    grid = canvas.subplots(lines, columns, squeeze=False).ravel()
    for axes, figure in zip(grid, figures, strict=False):
        _draw(axes, figure, order, small=len(figures) > 1)
    for axes in grid[len(figures) :]:
        axes.axis("off")
    if len(figures) > 1:
        _shared_legend(canvas, grid)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a box in its place must do
        # No date, no version of the library: the same rows give the same file.
        with whole_file(path) as file:
            canvas.savefig(file, format="png", dpi=110, metadata={"Software": None})


def _height(figure: Figure) -> float:
    return 1.4 + 0.34 * len(figure.categories) if figure.categories else 4.4


def _draw(axes: "Axes", figure: Figure, order: dict[str, int], small: bool) -> None:
    axes.set_title(_wrapped(figure.title, 46 if small else 80), fontsize=7 if small else 10)
    axes.set_xlabel(figure.x_label, fontsize=7 if small else 9)
    axes.set_ylabel(figure.y_label, fontsize=7 if small else 9)
    axes.tick_params(labelsize=7 if small else 8)
    if figure.categories:
        _draw_bars(axes, figure)
    else:
        _draw_curves(axes, figure, order)
    if not small and axes.get_legend_handles_labels()[0]:
        beside = bool(figure.categories) or len(figure.curves) > 6
        place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {"loc": "best"}
        axes.legend(fontsize=8, frameon=False, **place)


def _draw_bars(axes: "Axes", figure: Figure) -> None:
    places = list(range(len(figure.categories)))
    starts = [0.0] * len(places)
    for part, values in figure.bars:
        axes.barh(places, values, left=starts, label=part, color=PARTS[part], height=0.7)
        starts = [start + value for start, value in zip(starts, values, strict=True)]
    axes.set_yticks(places, [_plain(name) for name in figure.categories])
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _draw_curves(axes: "Axes", figure: Figure, order: dict[str, int]) -> None:
    from matplotlib.ticker import NullFormatter

    for logarithmic, name, axis in ((figure.x_log, "x", axes.xaxis), (figure.y_log, "y", axes.yaxis)):
        if logarithmic:
            axes.set(**{f"{name}scale": "log", f"{name}lim": _decades(figure, name)})
            axis.set_minor_formatter(NullFormatter())
            if figure.levels:  # many small panels: minor ticks would take most of the time
                axes.minorticks_off()
    if figure.y_label.startswith("share"):
        axes.set_ylim(-0.02, 1.04)
    for level in figure.levels:
        axes.axhline(level, color="#888888", linewidth=0.7, linestyle=":")
    for curve in figure.curves:
        _draw_curve(axes, curve, order[curve.name])
    if not figure.curves:
        axes.text(0.5, 0.5, "no certified gap", transform=axes.transAxes, ha="center", fontsize=8)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


def _decades(figure: Figure, name: str) -> tuple[float, float]:
    """Limits of a logarithmic axis that hold every point and a power of ten at least."""
    values = [value for curve in figure.curves for value in (curve.x if name == "x" else curve.y)]
    values += figure.levels if name == "y" else ()
    low, high = min(values, default=1.0), max(values, default=10.0)
    below, above = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    roomy = (low / 1.4, high * 1.4)
    return roomy if high >= 10 * low else (min(10.0**below, roomy[0]), max(10.0**above, roomy[1]))


def _draw_curve(axes: "Axes", curve: Curve, number: int) -> None:
    color, dash = COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]
    style = ":" if curve.note == "fit" else dash if curve.line else "none"
    name = "_fit" if curve.note == "fit" else _plain(curve.name)
    if curve.note.startswith("power"):
        name += f" ({curve.note})"
    axes.plot(
        curve.x, curve.y, color=color, linestyle=style, label=name, linewidth=1.5, markersize=5,
        marker="o" if curve.points else "", drawstyle="steps-post" if curve.steps else "default",
    )  # fmt: skip
    if curve.end:
        axes.plot(curve.x[-1], curve.y[-1], color=color, marker="o" if curve.end == "good" else "x", markersize=6)


def _shared_legend(canvas: Any, grid: Iterable["Axes"]) -> None:
    """One legend for all panels, below them."""
    known = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if known:
        names = sorted(known)
        handles = [known[name] for name in names]
        canvas.legend(handles, names, loc="outside lower center", ncols=min(4, len(known)), fontsize=8, frameon=False)


def _plain(text: str) -> str:
    """Without what matplotlib would read as mathematics, and nobody could read; a leading underscore hides a name."""
    return str(presentable(text.replace("\\", "/"))).replace("\\", "/").replace("$", r"\$").lstrip("_")


def _wrapped(text: str, width: int) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(_plain(text), width)[:3])
