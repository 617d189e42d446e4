"""Scores over a grid of hyperparameters, as cross-validation found them."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from cvxrobust.core.errors import InputError
from cvxrobust.core.pictures.canvas import axes_or_new, new_figure, plain, write_picture
from cvxrobust.core.strangers import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Place = tuple[int, int, int]


class Grid(Protocol):
    """What was tried."""

    @property
    def betas(self) -> Sequence[float]:
        """Weights of the penalty."""
        ...

    @property
    def radii(self) -> Sequence[float]:
        """Training radii."""
        ...

    @property
    def gates(self) -> Sequence[int]:
        """Numbers of gates; empty where networks have none."""
        ...


class Scores(Protocol):
    """Scores of a grid, such as `surface_` of a classifier that chooses its own hyperparameters."""

    @property
    def candidates(self) -> Grid:
        """The grid."""
        ...

    @property
    def means(self) -> Any:
        """Over folds, shape (B, R, G)."""
        ...

    @property
    def standard_errors(self) -> Any:
        """Of the means, shape (B, R, G)."""
        ...

    @property
    def gaps(self) -> Any:
        """Certified gaps of training, shape (B, R, G, F)."""
        ...

    @property
    def of_errors(self) -> bool:
        """Whether scores are minus errors, of regression, and no shares."""
        ...

    @property
    def tolerance(self) -> float:
        """The gap that was asked for."""
        ...

    def best(self) -> Place:
        """The place of the best mean."""
        ...


NARROW, HIGH = 4.6, 0.5
"""Inches of a panel's width, and of a line of it."""


def draw_surface(surface: Scores, path: str | Path, title: str = "", chosen: Place | None = None) -> None:
    """Draw mean scores and their standard errors by beta and training radius, a panel for each number of gates.

    Args:
        surface: `surface_` of a fitted classifier, in per cent, or of a regressor, in errors.
        path: Where to, as a PNG.
        title: Above the picture; "" for none.
        chosen: The place that was chosen, `best_index_`; None for the best.

    Raises:
        WriteError: The file cannot be written.
    """
    grid = surface.candidates
    panels = max(1, len(grid.gates))
    width = max(NARROW, 1.5 + 0.9 * len(grid.radii))
    figure = new_figure((0.8 + width * panels, 1.9 + HIGH * len(grid.betas)))
    scale = _scale(surface)
    place = surface.best() if chosen is None else chosen
    for number, axes in enumerate(figure.subplots(1, panels, squeeze=False)[0]):
        _draw(axes, surface, number, scale, place)
    figure.suptitle("\n".join(wrap(plain(title), int(9.5 * figure.get_figwidth()))), fontsize=11)
    write_picture(figure, Path(path))


def plot_surface(
    surface: Scores, ax: "Axes | None" = None, chosen: Place | None = None, gates: int | None = None
) -> "Axes":
    """Draw mean scores and their standard errors by beta and training radius, of one number of gates, into axes.

    Args:
        surface: `surface_` of a fitted classifier.
        ax: Where to; None for a new figure.
        chosen: The place that was chosen; None for the best.
        gates: Which number of gates; None for the one chosen.

    Raises:
        InputError: That number of gates was not tried, or matplotlib is missing.
    """
    grid, place = surface.candidates, surface.best() if chosen is None else chosen
    if gates is not None and not (isinstance(gates, int | np.integer) and gates in grid.gates):
        tried = ", ".join(map(str, grid.gates)) or "none were, so leave it out"
        raise InputError(f"gates is {shown(gates)}; expected a number that was tried: {tried}.")
    number = place[2] if gates is None else list(grid.gates).index(gates)
    size = 1.3 + max(NARROW, 1.5 + 0.9 * len(grid.radii)), 1.9 + HIGH * len(grid.betas)
    axes = axes_or_new(ax, size)
    _draw(axes, surface, number, _scale(surface), place)
    return axes


def _factor(surface: Scores) -> float:
    """What scores are multiplied by: shares make per cent, and minus errors make errors."""
    return -1.0 if surface.of_errors else 100.0


def _scale(surface: Scores) -> tuple[float, float]:
    """The least and the largest score, as they are shown, not the same."""
    low, high = sorted(_factor(surface) * float(bound) for bound in (surface.means.min(), surface.means.max()))
    return low, max(high, low + 1e-9)


def _draw(axes: "Axes", surface: Scores, number: int, scale: tuple[float, float], chosen: Place) -> None:
    grid = surface.candidates
    factor, places = _factor(surface), ".3g" if surface.of_errors else ".1f"
    means, errors = factor * surface.means[..., number], abs(factor) * surface.standard_errors[..., number]
    axes.imshow(means, cmap="viridis", vmin=scale[0], vmax=scale[1], aspect="auto")
    missed = np.asarray(surface.gaps[:, :, number].max(axis=-1) > surface.tolerance)
    middle = 0.5 * (scale[0] + scale[1])
    for b, r in np.ndindex(means.shape):
        words = f"{means[b, r]:{places}} ± {errors[b, r]:{places}}{' *' if missed[b, r] else ''}"
        axes.text(r, b, words, ha="center", va="center", fontsize=8, color="white" if means[b, r] < middle else "black")
    if chosen[2] == number:
        from matplotlib.patches import Rectangle

        corner = (chosen[1] - 0.5, chosen[0] - 0.5)
        axes.add_patch(
            Rectangle(corner, 1.0, 1.0, fill=False, edgecolor="tab:red", linewidth=2.5, clip_on=False, zorder=3)
        )
    axes.set_xticks(range(len(grid.radii)), [f"{radius:.3g}" for radius in grid.radii])
    axes.set_yticks(range(len(grid.betas)), [f"{beta:.3g}" for beta in grid.betas])
    axes.set_xlabel("training radius")
    axes.set_ylabel("beta")
    if grid.gates:
        axes.set_title(f"{grid.gates[number]} gates", fontsize=9)
