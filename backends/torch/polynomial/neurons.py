"""The factorised neurons ``v = sqrt(alpha) u`` of a polynomial network: how they begin, multiply and merge."""

import math

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core import AttackBall, neurons_from_matrix
from cvxrobust.core.programs.polynomial.certificate import DualBound

Array = NDArray[np.float64]
NEAR = 0.95
"""Cosine between two neurons that describe the same direction."""
FAR = math.sqrt(2.0 - 2.0 * NEAR)
"""The distance of unit vectors with that cosine."""
SHORTEST, LONGEST = 1e-2, 0.3
"""Length of a neuron that joins, in units of the root mean square of the others of its sign."""
FEWER = 5
"""Merging pays where it saves at least one neuron of so many: quasi-Newton's memory is lost."""


def random_neurons(X: Array, activation: tuple[float, float, float], count: int, seed: int) -> tuple[Array, Array]:
    """As many neurons of either sign, so small that together they change outputs by about 1.

    Returns:
        Neurons v_j in rows, shape (2 count, d), and the signs of their output weights, shape (2 count,).
    """
    u = np.random.default_rng(seed).standard_normal((2 * count, X.shape[1]))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    a, b, c = activation
    t = X @ u.T
    size = float(np.mean(np.abs((a * t + b) * t + c))) * 2 * count
    return np.sqrt(1.0 / max(size, 1e-8)) * u, np.repeat([1.0, -1.0], count)


def with_priced_neurons(
    neurons: Array, signs: Array, bound: DualBound, beta: float, threshold: float, attack: AttackBall
) -> tuple[Array, Array]:
    """The neurons, and the priced one of each sign where it would help and no neuron is near it, to attacks neither.

    Args:
        neurons: v_j in rows, shape (m, d).
        signs: Signs of the output weights, shape (m,).
        bound: The certificate's priced neurons.
        beta: Weight of the penalty.
        threshold: What their violation must exceed.
        attack: The attacks.
    """
    lengths = np.linalg.norm(neurons, axis=1)
    alive = lengths > 1e-4 * lengths.max(initial=0.0)
    parts, kinds = [neurons], [signs]
    for sign, u, violation in zip((1.0, -1.0), bound.neurons, bound.violations, strict=True):
        mine = alive & (signs == sign)
        near = neurons[mine] @ u > NEAR * lengths[mine]
        if attack.own_axes:
            # What is small to the network may be all that attacks see of it.
            seen, away = attack.pulled(u), attack.pulled(u - neurons[mine] / lengths[mine, None])
            near &= np.linalg.norm(away, axis=1) <= FAR * np.linalg.norm(seen)
        if near.any() or not threshold < violation < math.inf:
            continue
        # Small against the others, so that it changes little at once, but not so small that its gradient is lost in
        # theirs; the more it promises, the longer.
        typical = float(np.sqrt(np.mean(lengths[mine] ** 2))) if mine.any() else 0.0
        size = min(max((violation / beta - 1.0) ** 0.5, SHORTEST), LONGEST) * typical
        parts.append(max(size, 1e-4) * u[None, :])
        kinds.append(np.array([sign]))
    return np.vstack(parts), np.concatenate(kinds)


def compressed(neurons: Array, signs: Array) -> tuple[Array, Array]:
    """The same function by at most d + 1 neurons of either sign."""
    if all(np.count_nonzero(signs == sign) <= neurons.shape[1] + 1 for sign in (1.0, -1.0)):
        return neurons, signs
    parts, kinds = [], []
    for sign in (1.0, -1.0):
        mine = neurons[signs == sign]
        lifted = np.hstack([mine, np.linalg.norm(mine, axis=1, keepdims=True)])
        u, alpha = neurons_from_matrix(lifted.T @ lifted)
        parts.append(np.sqrt(alpha)[:, None] * u)
        kinds.append(np.full(alpha.size, sign))
    return np.vstack(parts), np.concatenate(kinds)


def merged(neurons: Array, signs: Array, negligible: float) -> tuple[Array, Array]:
    """Nearly the same function by fewer neurons, if that leaves out at least every `FEWER`-th.

    Many neurons find the way to the optimum, but the matrices there have a low rank: several neurons describe the same
    directions, and others fade away without ever being gone.

    Args:
        neurons: v_j in rows, shape (m, d).
        signs: Signs of the output weights, shape (m,).
        negligible: What may be left out, as a fraction of the sum of all squared lengths.
    """
    allowed = 2.0 * negligible * float(np.sum(neurons * neurons))
    bases, factors = [], []
    for sign in (1.0, -1.0):
        mine = neurons[signs == sign]
        lifted = np.hstack([mine, np.linalg.norm(mine, axis=1, keepdims=True)])
        _, lengths, rows = np.linalg.svd(lifted, full_matrices=False)
        bases.append(rows)
        factors.append(lengths)
    together = np.sort(np.concatenate(factors) ** 2)
    left_out = int(np.searchsorted(np.cumsum(together), allowed, side="right"))
    threshold = together[left_out] if left_out < together.size else np.inf
    kept = [int(np.count_nonzero(lengths**2 >= threshold)) for lengths in factors]
    if sum(kept) > (1.0 - 1.0 / FEWER) * signs.size or not sum(kept):
        return neurons, signs
    parts, kinds = [], []
    for sign, rows, lengths, rank in zip((1.0, -1.0), bases, factors, kept, strict=True):
        scaled = rows[:rank] * lengths[:rank, None]
        u, alpha = neurons_from_matrix(scaled.T @ scaled)
        parts.append(np.sqrt(alpha)[:, None] * u)
        kinds.append(np.full(alpha.size, sign))
    return np.vstack(parts), np.concatenate(kinds)
