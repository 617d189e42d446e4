"""Gates found for cones that hold a neuron under attack: `cvxrobust.core.programs.gated.cones` says what these are."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.errors import InputError
from cvxrobust.core.programs.gated.cones import GateCone, unit_rows
from cvxrobust.problems.data.repeated_rows import distinct_rows
from cvxrobust.problems.relu.gates.patterns import GateSet, checked_count, distinct, first_seen

Array = NDArray[np.float64]

BATCH = 256
"""Candidates that move at a time."""

STEPS = 200
"""Most steps of a candidate."""

LONG = 1.9
"""Polyak steps of any length below 2 approach, those beyond 1 arrive; on Breast Cancer these clear most candidates."""


def resampled(X: Array, n_gates: int, seed: int, attack: AttackBall, tries: int = 2_048) -> GateSet:
    """Patterns that can carry a neuron under this attack, with vectors that prove it.

    Under attack almost every hyperplane crosses some ball. So standard normal vectors are moved until theirs crosses
    none: by long Polyak steps along a subgradient of ``sum_i max(0, (r_i N(u) - |x_i'u|) / ||x_i||)``, with the sides
    on which the samples are at present. Samples that come several times count once.
    With a bias the first candidate is the bias alone, which is open for all samples under every attack.

    Args:
        X: Inputs, shape (n, D).
        n_gates: Most patterns to return.
        seed: Seed of the candidates.
        attack: The attacks on each sample.
        tries: Most candidates to try.

    Returns:
        At most n_gates patterns; `asked` counts the candidates, duplicates and empty patterns those that succeeded.

    Raises:
        InputError: n_gates, seed or tries is no such integer, or no candidate succeeded with an open gate.
    """
    wanted, tries = checked_count(n_gates, "n_gates", 1), checked_count(tries, "tries", 1)
    rng = np.random.default_rng(checked_count(seed, "seed", 0))
    once = distinct_rows(np.column_stack([X, attack.extent]))
    cone = GateCone.of(X[once], np.ones(once.size, dtype=np.bool_), attack.of(once))
    vectors, seen, asked = np.empty((X.shape[1], 0)), np.empty(0, dtype=np.intp), 0
    while asked < tries and seen.size < wanted:
        starts = rng.standard_normal((min(BATCH, tries - asked), X.shape[1]))
        if asked == 0 and attack.attackable < X.shape[1]:
            starts[0] = np.eye(X.shape[1])[-1]
        asked += len(starts)
        vectors = np.hstack([vectors, _cleared(cone, starts).T])
        seen = first_seen(X @ vectors >= 0.0)
    if seen.size == 0:
        raise InputError(
            f"no pattern was found whose cone admits a neuron at this radius ({asked} candidates were tried); use "
            'formulation="one-sided", which has no cones, or a smaller radius.'
        )
    if seen.size > wanted:
        vectors = vectors[:, : seen[wanted]]
    return replace(distinct(X @ vectors >= 0.0, vectors, "resampled", "use a smaller radius"), asked=asked)


def _cleared(cone: GateCone, starts: Array) -> Array:
    """Unit vectors near the given ones whose hyperplanes cross no ball, for those that got there; all are rows.

    Args:
        cone: The cone of the pattern that is open for all samples.
        starts: One per row.
    """
    d, attack = cone.attack.attackable, cone.attack
    U = starts.copy()
    if cone.flat:
        U = cone.there.unseen(U)
    U = unit_rows(U)
    moving = np.arange(len(U))
    for _ in range(STEPS):
        products = U[moving] @ cone.turned.T
        slacks = np.abs(products) - attack.reaches(U[moving]).T
        crossing = slacks <= 0.0
        stuck = crossing.any(axis=1)
        moving, products, slacks, crossing = moving[stuck], products[stuck], slacks[stuck], crossing[stuck]
        if moving.size == 0:
            break
        ascent = np.where(crossing, np.where(products >= 0.0, 1.0, -1.0), 0.0) @ cone.turned
        if d:
            ascent[:, :d] -= (crossing @ attack.extent) * attack.maximiser(U[moving])
        missing = np.where(crossing, -slacks, 0.0).sum(axis=1)
        length = np.maximum((ascent**2).sum(axis=1), np.finfo(np.float64).tiny)
        U[moving] = unit_rows(U[moving] + (LONG * missing / length)[:, None] * ascent)
    return np.delete(U, moving, axis=0)
