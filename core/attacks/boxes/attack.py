"""Attacks in boxes that are exact in every coordinate: descent from vertices until no single change helps."""

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.boxes.factors import Shape, swept
from cvxrobust.core.attacks.boxes.margins import BoxMargins

Array = NDArray[np.float64]


def attack_boxes(
    margins: BoxMargins, rng: np.random.Generator, *, restarts: int = 8, sweeps: int = 12, first: Array | None = None
) -> tuple[Array, Array]:
    """The worst points found, in coordinates of the boxes, and what margins are there.

    Args:
        margins: Of n samples.
        rng: Of the vertices that descents begin from besides the linearised worst case.
        restarts: How many of these.
        sweeps: Over all coordinates, of each descent.
        first: Points to begin from as well, shape (n, q).

    Returns:
        Shapes (n, q) and (n,).
    """
    n, q = margins.half.shape
    shape = Shape.of(margins.P)
    beginnings = [-np.sign(margins.half), *([] if first is None else [first])]
    beginnings += [rng.choice([-1.0, 1.0], (n, q)) for _ in range(restarts)]
    points, values = np.zeros((n, q)), margins.values.copy()
    for e in beginnings:
        V = np.clip(e, -1.0, 1.0)[:, :, None].copy()
        swept(margins, V, sweeps, shape)
        found = margins.at(V[:, :, 0])
        better = found < values
        points[better], values[better] = V[better, :, 0], found[better]
    return points, values
