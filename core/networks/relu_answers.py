"""What is found out about the worst attacks on ReLU networks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class FoundAttack:
    """The most damaging attacks that a search found; others may be worse.

    Args:
        points: Attacked inputs, shape (n, d), in the units of the inputs.
        margins: Margins at those points, shape (n,): upper bounds of the worst margins.
    """

    points: Array
    margins: Array


@dataclass(frozen=True)
class ProvenWorstCase:
    """The most damaging attack on each sample, with proof where time allowed.

    Args:
        points: Attacked inputs, shape (n, d), in the units of the inputs.
        margins: Margins at those points, shape (n,).
        lower: Lower bounds of the margins over the whole ball, shape (n,).
        proven: Whether `lower` and `margins` agree to 1e-5 of the most that the ball could change the margin,
            shape (n,).
    """

    points: Array
    margins: Array
    lower: Array
    proven: NDArray[np.bool_]
