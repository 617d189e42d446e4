"""Figures and axes, and files of them."""

from pathlib import Path
from typing import TYPE_CHECKING

from cvxrobust.core.arguments import instance
from cvxrobust.core.extras import require
from cvxrobust.core.files import whole_file
from cvxrobust.core.secrets import presentable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("tab:blue", "tab:orange", "tab:green", "tab:red", "tab:purple", "tab:brown", "tab:pink", "tab:gray")
"""Of what is compared, in its order; the ninth starts anew."""


def axes_or_new(ax: "Axes | None", size: tuple[float, float] | None = None) -> "Axes":
    """The axes given, or those of a new figure of pyplot's, which notebooks show by themselves.

    Args:
        ax: Axes to draw into.
        size: Inches of a new figure; None for what matplotlib is set to.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: What is given are no axes.
    """
    check_axes(ax)
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=size, layout="constrained")[1]


def check_axes(ax: object) -> None:
    """Refuse, before anything is computed, what nothing can be drawn into.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: What is given are no axes.
    """
    require_matplotlib()
    if ax is not None:
        from matplotlib.axes import Axes

        instance(ax, "ax", Axes, "axes of matplotlib, such as those of pyplot.subplots(), or None for a new figure")


def require_matplotlib() -> None:
    """Refuse to draw where nothing can.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require("matplotlib", "plot", "pictures")


def new_picture(size: tuple[float, float] = (8.0, 5.0)) -> "tuple[Figure, Axes]":
    """An empty figure with one plot, of so many inches."""
    figure = new_figure(size)
    return figure, figure.add_subplot()


def new_figure(size: tuple[float, float]) -> "Figure":
    """An empty figure of so many inches, for a file.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    require_matplotlib()
    # Figure and canvas by hand: pyplot would choose a window system and keep global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_picture(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG.

    Raises:
        WriteError: The file cannot be written.
    """
    # No date, no version of the library: the same numbers give the same file.
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=150, metadata={"Software": None})


def plain(text: object) -> str:
    """Words of others, without what matplotlib would read as mathematics."""
    return str(presentable(str(text))).replace("\\", "/").replace("$", r"\$").lstrip("_")
