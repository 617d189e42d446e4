"""The band between what is proved of a classifier's accuracy under attack and what attacks found."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.pictures.canvas import COLOURS, axes_or_new, new_picture, plain, write_picture
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
    _check(reports)
    figure, axes = new_picture()
    plot_bands(reports, axes, marks)
    axes.set_title(plain(title))
    write_picture(figure, Path(path))


def plot_bands(
    reports: Mapping[str, RobustnessReport], ax: "Axes | None" = None, marks: Mapping[str, float] | None = None
) -> "Axes":
    """Draw the bands of several classifiers, or of several threats, into axes.

    Args:
        reports: By what they are called.
        ax: Where to; None for a new figure.
        marks: Radii to draw a line at, by what they are called.

    Raises:
        InputError: There is no report, one has fewer than two radii, or matplotlib is missing.
    """
    _check(reports)
    axes = axes_or_new(ax)
    for number, (name, report) in enumerate(reports.items()):
        _draw(axes, plain(name), report, COLOURS[number % len(COLOURS)])
    for number, (name, radius) in enumerate((marks or {}).items()):
        axes.axvline(radius, color="black", linestyle=(":", "-.", "--")[number % 3], linewidth=1.2, label=plain(name))
    units = dict.fromkeys(report.units for report in reports.values())
    axes.set_xlabel(f"radius of attacks, in {' or '.join(map(plain, units))}")
    rows = dict.fromkeys(str(report.held.shape[1]) for report in reports.values())
    axes.set_ylabel(f"accuracy under attack on {' or '.join(rows)} rows (%)")
    axes.set_xlim(
        min(float(report.radii[0]) for report in reports.values()),
        max(float(report.radii[-1]) for report in reports.values()),
    )
    axes.set_ylim(0.0, 102.0)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    return axes


def plot_band(report: RobustnessReport, ax: "Axes | None" = None, name: str = "") -> "Axes":
    """Draw certified and attacked accuracy against the radius of attacks, and what lies between them, into axes.

    Args:
        report: From `evaluate_robustness`.
        ax: Where to; None for a new figure.
        name: What the legend calls it.

    Raises:
        InputError: The report has fewer than two radii, or matplotlib is missing.
    """
    return plot_bands({name: report}, ax)


def _check(reports: Mapping[str, RobustnessReport]) -> None:
    if not reports or any(report.radii.size < 2 for report in reports.values()):
        raise InputError("a band is drawn over two radii at least; evaluate at more, for example 0, 0.1, 0.2 and 0.3.")


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
