"""Fewer neurons for the same objective."""

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.programs.gated.evaluation import excess, objective, penalty
from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]

SMALL = 1e-5
"""Neurons below this fraction of the penalty are candidates for being dropped."""

NEGLIGIBLE = 1e-9
"""Dropping them may raise the objective by this fraction."""


def pruned(program: GatedProgram, U: Array) -> Array:
    """A point with fewer neurons whose objective is not higher, up to `NEGLIGIBLE`.

    Without an attack, what neuron k adds to the n C margins or outputs is proportional to its length. While there are
    more neurons than these numbers, some combination of lengths leaves all of them unchanged and does not raise the
    penalty; following it until a neuron vanishes leaves at most n C (Caratheodory's argument; Pilanci and Ergen,
    arXiv:2002.10553, allow n + 1). Under attack margins are not linear in the lengths, and only small neurons go.

    Args:
        program: The programme.
        U: A feasible point, shape (K, C, D).
    """
    smaller = _without_small(program, U)
    if program.attack.present:
        return smaller
    shrunk = _without_small(program, _caratheodory(program, smaller))
    return shrunk if objective(program, shrunk) <= objective(program, smaller) * (1.0 + NEGLIGIBLE) else smaller


def _without_small(program: GatedProgram, U: Array) -> Array:
    """As many of the smallest neurons dropped as the objective allows."""
    sizes = np.sqrt((U**2).sum(axis=(1, 2)))
    order = np.argsort(sizes, kind="stable")
    small = order[(sizes[order] > 0.0) & (sizes[order] < SMALL * penalty(U))]
    limit = objective(program, U) * (1.0 + NEGLIGIBLE)
    dropped, tried, too_many = 0, small.size, small.size + 1
    while tried > dropped:
        if objective(program, _without(U, small[:tried])) <= limit:
            dropped = tried
        else:
            too_many = tried
        tried = (dropped + too_many) // 2
    return _without(U, small[:dropped])


def _without(U: Array, slots: NDArray[np.intp]) -> Array:
    kept = U.copy()
    kept[slots] = 0.0
    return kept


def _contributions(program: GatedProgram, U: Array) -> Array:
    """What each slot adds to the margins or outputs, shape (K, n C)."""
    K = program.shape[0]
    z = np.einsum("id,kcd->kic", program.X, U)
    added = program.signs[:, None, None] * program.gates.T[..., None] * z
    if program.loss_function.margin:
        added = added * program.labels
    if program.rules.one_sided:
        added = added - excess(program, U).T[..., None]
    return np.asarray(added.reshape(K, -1))


def _caratheodory(program: GatedProgram, U: Array) -> Array:
    sizes = np.sqrt((U**2).sum(axis=(1, 2)))
    active = np.flatnonzero(sizes)
    by_length = _contributions(program, U)[active] / sizes[active, None]
    if active.size <= by_length.shape[1]:
        return U
    _, found, right = np.linalg.svd(by_length.T)
    rank = int((found > active.size * np.finfo(np.float64).eps * found.max(initial=0.0)).sum())
    shrunk = U.copy()
    shrunk[active] *= (_vertex(sizes[active], right[rank:]) / sizes[active])[:, None, None]
    return shrunk


def _vertex(lengths: Array, directions: Array) -> Array:
    """Non-negative lengths with a sum no larger, one of them zero for each of the directions along which they move.

    Args:
        lengths: Positive, shape (a,).
        directions: Orthonormal rows, shape (b, a).
    """
    lengths = lengths.copy()
    while directions.shape[0]:
        # Shortest overall the fastest, or in any direction where the sum stays as it is.
        step = -directions.T @ directions.sum(axis=1)
        if not (step < 0.0).any():
            step = -np.abs(directions[0]).max() * directions[0] * np.sign(directions[0, np.abs(directions[0]).argmax()])
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = np.where(step < 0.0, -lengths / step, np.inf)
        vanishing = int(reach.argmin())
        lengths = np.maximum(lengths + reach[vanishing] * step, 0.0)
        lengths[vanishing] = 0.0
        directions = _avoiding(directions, vanishing)
    return lengths


def _avoiding(directions: Array, coordinate: int) -> Array:
    """Orthonormal rows that span the directions with a zero in one coordinate."""
    mirror = directions[:, coordinate].copy()
    mirror[0] += np.copysign(np.linalg.norm(mirror), mirror[0])
    length = float(mirror @ mirror)
    if length > 0.0:
        # The reflection that leaves the coordinate to the first row alone.
        directions = directions - np.outer(2.0 / length * mirror, mirror @ directions)
    rest = directions[1:].copy()
    rest[:, coordinate] = 0.0
    return rest
