"""Lower bounds that points of a path have from each other, at no cost.

Over networks f the optimum is ``p(beta, r) = min_f loss_r(f) + beta penalty(f)``, the loss and the penalty 0 or more.

- *Concave in beta.* For a fixed f the objective is affine in beta, and a minimum of affine functions is concave. So
  between two betas with proved bounds L and L' the line through these is a bound, and so is the upper concave hull of
  all of them, together with p(0) >= 0.
- *Never falling in beta*, because the penalty is 0 or more: beyond the largest beta its bound stays one.
- *Never falling in r*, where attacks of a smaller radius are among those of a larger one (`Parametric.nested`): for
  every f the worst loss grows. So bounds of smaller radii are bounds of larger ones. In r the optimum is not concave.

From above a network is worth its own objective at every point, which `core` evaluates there like any other.

Programmes of ReLU networks with the same gates are of this form in their points: the penalty is a sum of norms, no cone
depends on beta, and worst margins, or the cones themselves, only shrink as r grows.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)


class NeighbourBounds:
    """Proved lower bounds over the plane of beta and radius.

    Args:
        nested: Whether bounds of smaller radii count at larger ones.
    """

    def __init__(self, nested: bool) -> None:
        self._nested = nested
        self._known: dict[float, dict[float, float]] = {}

    def add(self, beta: float, radius: float, lower: float) -> None:
        """Note a bound that has been proved."""
        if np.isfinite(lower):
            row = self._known.setdefault(radius, {})
            row[beta] = max(lower, row.get(beta, 0.0), 0.0)

    def lower(self, beta: float, radius: float) -> float:
        """The best bound that follows at a point; 0 if none does."""
        return max((_hull_at(row, beta) for row in self._rows(radius)), default=0.0)

    def _rows(self, radius: float) -> Iterator[dict[float, float]]:
        for known, row in self._known.items():
            if known == radius or (self._nested and known < radius):
                yield row


def _hull_at(row: dict[float, float], beta: float) -> float:
    """The upper concave hull of (0, 0) and the points of a row, constant from the last one on, less its rounding."""
    if beta in row and len(row) == 1:
        return row[beta]
    points = [(0.0, 0.0), *sorted(row.items())]
    hull: list[tuple[float, float]] = []
    for x, value in points:
        while len(hull) > 1 and _below(hull[-2], hull[-1], (x, value)):
            hull.pop()
        hull.append((x, value))
    at, values = np.array(hull).T
    # What never falls lies above its largest value so far.
    found = float(np.interp(beta, at, np.maximum.accumulate(values)))
    return max(found - 8.0 * EPS * abs(found), row.get(beta, 0.0))


def _below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether the middle point lies on or below the line through the others."""
    (a, f), (b, g), (c, h) = left, middle, right
    return (g - f) * (c - a) <= (h - f) * (b - a)
