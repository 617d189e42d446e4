"""A path: what optima are between, along betas or radii."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.paths.result import PathResult
from cvxrobust.core.pictures.canvas import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]


def plot_path(path: PathResult[Any], ax: "Axes | None" = None) -> "Axes":
    """Draw the optimum between its bounds along betas, a line per radius; along radii where there is one beta.

    Points that were not certified to the tolerance are circled. Points that were not reached are missing.

    Args:
        path: From `solve_path`.
        ax: Axes to draw into; None for a new figure.

    Raises:
        InputError: No point was reached, or matplotlib is missing.
    """
    if not len(path):
        raise InputError(f"the path has no points, it ended by its {path.termination}; give it more time.")
    axes = axes_or_new(ax)
    along_betas = path.betas.size > 1 or path.radii.size == 1
    x, others = (path.betas, path.radii) if along_betas else (path.radii, path.betas)
    lower, upper, gap = (table if along_betas else table.T for table in (path.lower, path.upper, path.gap))
    order, largest = np.argsort(x), max(float(others.max()), 1e-300)
    for place in np.argsort(others):
        colour = shade(float(others[place]) / largest)
        axes.fill_between(x[order], lower[order, place], upper[order, place], color=colour, alpha=0.4, linewidth=0.0)
        label = f"{others[place]:.3g}"
        axes.plot(x[order], upper[order, place], color=colour, marker=".", linewidth=1.2, label=label)
    missed = gap > path.tolerance
    if missed.any():
        at = np.argwhere(missed)
        axes.plot(
            x[at[:, 0]], upper[missed], "o", markersize=9, markerfacecolor="none", markeredgecolor="tab:red",
            label=f"gap above {path.tolerance:g}",
        )  # fmt: skip
    axes.set_xlabel("beta" if along_betas else "radius of attacks in training")
    if along_betas and bool((x > 0.0).all()):
        axes.set_xscale("log")
    axes.set_ylabel("optimum, between its bounds")
    axes.grid(alpha=0.3)
    axes.legend(title="radius" if along_betas else "beta", fontsize="small", ncols=1 + others.size // 6)
    return axes


def shade(share: float) -> tuple[float, float, float]:
    """Of a line for one of several radii: from blue to red."""
    return 0.15 + 0.7 * share, 0.25, 0.75 - 0.6 * share
