"""Scores over a grid of hyperparameters, as cross-validation found them."""

from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from cvxrobust.bench.pictures.canvas import new_figure, plain, write_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cvxrobust.problems.model_selection import ScoreSurface

NARROW, HIGH = 4.6, 0.5
"""Inches of a panel's width, and of a line of it."""


def draw_surface(
    surface: "ScoreSurface", path: str | Path, title: str = "", chosen: tuple[int, int, int] | None = None
) -> None:
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
    means = _factor(surface) * surface.means
    low, high = float(means.min()), float(means.max())
    place = surface.best() if chosen is None else chosen
    for number, axes in enumerate(figure.subplots(1, panels, squeeze=False)[0]):
        _draw(axes, surface, number, (low, max(high, low + 1e-9)), place)
    figure.suptitle("\n".join(wrap(plain(title), int(9.5 * figure.get_figwidth()))), fontsize=11)
    write_picture(figure, Path(path))


def _factor(surface: "ScoreSurface") -> float:
    """What scores are multiplied by: shares make per cent, and minus errors make errors."""
    return -1.0 if surface.of_errors else 100.0


def _draw(
    axes: "Axes", surface: "ScoreSurface", number: int, scale: tuple[float, float], chosen: tuple[int, int, int]
) -> None:
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
        axes.add_patch(Rectangle(corner, 1.0, 1.0, fill=False, edgecolor="tab:red", linewidth=2.5))
    axes.set_xticks(range(len(grid.radii)), [f"{radius:.3g}" for radius in grid.radii])
    axes.set_yticks(range(len(grid.betas)), [f"{beta:.3g}" for beta in grid.betas])
    axes.set_xlabel("training radius")
    axes.set_ylabel("beta")
    if grid.gates:
        axes.set_title(f"{grid.gates[number]} gates", fontsize=9)
