"""How a solve got on: the certified gap against time."""

from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.result import Result
from cvxrobust.core.pictures.canvas import COLOURS, axes_or_new, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALLEST = 1e-16
"""What a gap of 0 is drawn as."""


def plot_gap(result: Result[Any], ax: "Axes | None" = None) -> "Axes":
    """Draw the certified relative gap of a result against seconds: it holds until it improves.

    Where another way went on, or gates were refined, a line says when; a refined programme begins with a gap of its
    own.

    Args:
        result: From `solve`.
        ax: Axes to draw into; None for a new figure.

    Raises:
        InputError: matplotlib is missing.
    """
    axes = axes_or_new(ax)
    # Results that share axes have colours of their own.
    colour = COLOURS[len(axes.get_lines()) % len(COLOURS)]
    seconds = [point.elapsed for point in result.trace]
    gaps = [Certificate(point.upper, point.lower).relative_gap for point in result.trace]
    end = max([result.times.wall, *seconds])
    # The last bounds hold to the end; a result without a trace has nothing but these.
    x, y = np.array([*seconds, end]), np.array([*gaps, result.certificate.relative_gap])
    y = np.where(np.isfinite(y), np.maximum(y, SMALLEST), np.nan)
    label = f"{result.backend}/{result.method}: {result.quality}, gap {result.certificate.relative_gap:.1e}"
    axes.step(x, y, where="post", color=colour, linewidth=1.5, label=plain(label))
    axes.plot(x[-1:], y[-1:], marker="o", color=colour, markersize=5)
    for number, (when, words) in enumerate(_turns(result), 1):
        axes.axvline(when, color=COLOURS[number % len(COLOURS)], linestyle=":", linewidth=1.2, label=plain(words))
    axes.set_yscale("log")
    axes.set_xlim(left=0.0)
    axes.set_xlabel("seconds")
    axes.set_ylabel("certified relative gap")
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize="small")
    return axes


def _turns(result: Result[Any]) -> list[tuple[float, str]]:
    """When something else began, and what."""
    steps = zip(result.history, result.history[1:], strict=False)
    refined = [(step.elapsed, f"{later.kind} gates") for step, later in steps]
    if refined or not result.phases:
        return refined
    ends = np.cumsum([phase.times.wall for phase in result.phases])
    return [
        (float(end), f"{phase.backend}/{phase.method}") for end, phase in zip(ends, result.phases[1:], strict=False)
    ]
