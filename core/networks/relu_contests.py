"""Margins of ReLU networks on many samples, a block of them at a time: their functions, bounds and worst cases."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks import relu_bounds, relu_exact
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.relu_bounds import Array, Contests
from cvxrobust.core.networks.relu_answers import ProvenWorstCase
from cvxrobust.core.validation import label_array

BLOCK = 2_000_000
"""Pre-activations held at a time, to bound memory."""


class Contested(Protocol):
    """What of a ReLU network its margins rest on; inputs are those that it sees itself, standardised already."""

    @property
    def alpha(self) -> Array:
        """Output weights, shape (m,), or (m, K) for K outputs."""
        ...

    def layers(self) -> tuple[Array, Array]:
        """Weights on the inputs, shape (m, d), and biases, shape (m,)."""
        ...

    def margins(self, X: ArrayLike, y: ArrayLike) -> Array:
        """Margins of inputs, shape (n,)."""
        ...


def contests_of(
    network: Contested, inputs: Array, index: NDArray[np.intp], ball: AttackBall
) -> Iterator[tuple[NDArray[np.intp], Contests]]:
    """Blocks of samples, with the functions whose smallest is the margin: one per sample, or one per rival.

    Args:
        network: The network.
        inputs: As it sees them, shape (n, d).
        index: Of their labels, shape (n,).
        ball: The attacks on them.
    """
    V, b = network.layers()
    alpha = network.alpha
    K = 1 if alpha.ndim == 1 else alpha.shape[1]
    rivals = 1 if alpha.ndim == 1 else K - 1
    size = max(1, BLOCK // max(1, rivals * max(V.shape)))
    for start in range(0, inputs.shape[0] if rivals else 0, size):
        rows = np.arange(start, min(start + size, inputs.shape[0]))
        if alpha.ndim == 1:
            C = (2.0 * index[rows, None] - 1.0) * alpha
        else:
            others = (index[rows, None] + np.arange(1, K)) % K
            C = (alpha.T[index[rows], None] - alpha.T[others]).reshape(rows.size * rivals, -1)
        spread = np.repeat(rows, rivals)
        yield rows, Contests(V, b, C, inputs[spread], ball.of(spread))


def lower_margins(
    network: Contested, inputs: Array, index: NDArray[np.intp], ball: AttackBall, steps: int = 20
) -> Array:
    """Certified lower bounds of the margins under every attack, by linear relaxation, shape (n,).

    Args:
        network: The network.
        inputs: As it sees them, shape (n, d); in the middle of what is left where a range cuts boxes off.
        index: Of their labels, shape (n,).
        ball: The attacks on them.
        steps: As `ReLUNetwork.lower_bound` has them.
    """
    lower = np.full(inputs.shape[0], np.inf)
    for rows, contests in contests_of(network, inputs, index, ball):
        lower[rows] = relu_bounds.lower_bounds(contests, steps).reshape(rows.size, -1).min(axis=1)
    return lower


def exact_margins(
    network: Contested,
    inputs: Array,
    y: ArrayLike,
    index: NDArray[np.intp],
    ball: AttackBall,
    time_limit: float | None,
) -> ProvenWorstCase:
    """The attacks that make margins smallest, with proofs, as `ReLUNetwork.exact_worst_case` has them.

    Args:
        network: The network.
        inputs: As it sees them, shape (n, d); in the middle of what is left where a range cuts boxes off.
        y: Their labels, shape (n,).
        index: Of these.
        ball: The attacks on them.
        time_limit: Seconds for all samples together; None for no limit.
    """
    n = inputs.shape[0]
    points, margins = inputs.copy(), network.margins(inputs, y)
    lower, proven = np.full(n, np.inf), np.ones(n, dtype=np.bool_)
    clock = relu_exact.Clock(time_limit, n)
    for rows, contests in contests_of(network, inputs, index, ball):
        found = relu_exact.worst_cases(contests, rows.size, clock)
        candidates = worst_rival(found.points, found.values, rows.size)
        reached = network.margins(candidates, label_array(y)[rows])
        better = reached < margins[rows]
        points[rows[better]], margins[rows[better]] = candidates[better], reached[better]
        lower[rows] = found.lower.reshape(rows.size, -1).min(axis=1)
        tolerance = found.tolerance.reshape(rows.size, -1).max(axis=1)
        proven[rows] = margins[rows] - lower[rows] <= tolerance
    return ProvenWorstCase(points, margins, np.minimum(lower, margins), proven)


def worst_rival(points: Array, values: Array, samples: int) -> Array:
    """Of the points found against the rivals of each sample, the one of the smallest value."""
    by_rival = values.reshape(samples, -1)
    picked = by_rival.argmin(axis=1) + np.arange(samples) * by_rival.shape[1]
    return np.asarray(points[picked])
