"""The band between what is proved of a classifier's accuracy under attack and what attacks found."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.pictures.canvas import COLOURS, new_picture, plain, write_picture
from cvxrobust.core.errors import InputError
from cvxrobust.core.robustness.report import RobustnessReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


def draw_band(
    report: RobustnessReport, path: str | Path, title: str = "", marks: Mapping[str, float] | None = None
) -> None:
    """Draw certified and attacked accuracy against the radius of attacks, and what lies between them, as a PNG.

    Args:
        report: From `evaluate_robustness`.
        path: Where to.
        title: Above the picture; "" for none.
        marks: Radii to draw a line at, by what they are called.

    Raises:
        InputError: The report has fewer than two radii.
        WriteError: The file cannot be written.
    """
    draw_bands({"": report}, path, title, marks)


def draw_bands(
    reports: Mapping[str, RobustnessReport],
    path: str | Path,
    title: str = "",
    marks: Mapping[str, float] | None = None,
) -> None:
    """Draw the bands of several classifiers, or of several threats, in one picture.

    Args:
        reports: By what they are called.
        path: Where to, as a PNG.
        title: Above the picture; "" for none.
        marks: Radii to draw a line at, by what they are called.

    Raises:
        InputError: There is no report, or one has fewer than two radii.
        WriteError: The file cannot be written.
    """
    if not reports or any(report.radii.size < 2 for report in reports.values()):
        raise InputError("a band is drawn over two radii at least; evaluate at more, for example 0, 0.1, 0.2 and 0.3.")
    figure, axes = new_picture()
    for number, (name, report) in enumerate(reports.items()):
        _draw(axes, plain(name), report, COLOURS[number % len(COLOURS)])
    for number, (name, radius) in enumerate((marks or {}).items()):
        axes.axvline(radius, color="black", linestyle=(":", "-.", "--")[number % 3], linewidth=1.2, label=plain(name))
    units = dict.fromkeys(report.units for report in reports.values())
    axes.set_xlabel(f"radius of attacks, in {' or '.join(map(plain, units))}")
    rows = dict.fromkeys(str(report.held.shape[1]) for report in reports.values())
    axes.set_ylabel(f"accuracy under attack on {' or '.join(rows)} rows (%)")
    axes.set_title(plain(title))
    axes.set_xlim(
        min(float(report.radii[0]) for report in reports.values()),
        max(float(report.radii[-1]) for report in reports.values()),
    )
    axes.set_ylim(0.0, 102.0)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    write_picture(figure, Path(path))


def band(report: RobustnessReport) -> tuple[Array, Array, Array]:
    """Where the true accuracy can lie between the radii, too: what is certified at one holds at all smaller ones, what
    attacks reach at one they reach at all larger ones.

    Returns:
        Radii, each but the first and the last twice, and the lower and the upper end there, each of shape (2k - 2,).
    """
    radii = np.repeat(report.radii, 2)[1:-1]
    return radii, np.repeat(report.certified[1:], 2), np.repeat(report.attacked[:-1], 2)


def _draw(axes: "Axes", name: str, report: RobustnessReport, colour: str) -> None:
    radii, low, high = band(report)
    start = f"{name}: " if name else ""
    axes.fill_between(radii, 100.0 * low, 100.0 * high, color=colour, alpha=0.18, linewidth=0.0)
    curves = [("attacked", "--", report.attacked)]
    if report.kind != "none":
        curves.insert(0, ("certified", "-", report.certified))
    for word, dash, share in curves:
        axes.plot(report.radii, 100.0 * share, dash, color=colour, linewidth=1.5, marker=".", label=f"{start}{word}")
