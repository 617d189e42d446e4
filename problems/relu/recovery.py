"""From a point of a gated programme to a network: into the cones, or out of the relaxation, and with fewer neurons."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.cones import ConeInterior, interior
from cvxrobust.core.programs.gated.evaluation import FEASIBLE, is_feasible, objective, slopes, to_network
from cvxrobust.core.programs.gated.program import GatedProgram
from cvxrobust.problems.relu.decomposition import decompose
from cvxrobust.problems.relu.pruning import pruned

Array = NDArray[np.float64]
Memory = dict[bytes, ConeInterior | None]
"""Directions inside the cones of patterns, found once and kept by the problem."""


def network(program: GatedProgram, U: Array, memory: Memory, **fields: Any) -> ReLUNetwork:
    """The network of a point, shape (K, C, D), moved into the cones first where there are any, and pruned."""
    if program.rules.constrains_gates:
        U = into_cones(program, U, memory)
    U = pruned(program, U)
    if program.rules.signed_slots:
        return to_network(program, U, **fields)
    return decomposed(program, U, memory, **fields)


def into_cones(program: GatedProgram, U: Array, memory: Memory) -> Array:
    """A feasible point near a given one: what violates its cone is shifted along a direction well inside it.

    The slack is superadditive, so ``slack(u + tau e) >= slack(u) + tau slack(e)``, and the smallest tau that covers
    every violation is enough. A cone without interior takes no neuron. Where a sample that is 0 is attacked, neurons
    are blind to attacks.
    """
    lengths = np.linalg.norm(program.X, axis=1)
    there = program.attack.of(lengths == 0.0).together
    if there.present:
        U = there.unseen(U)
    sizes = np.sqrt((U**2).sum(axis=2))
    # Half of what counts as rounding is left to the arithmetic of the network.
    outside = (slopes(program, U) < -0.5 * FEASIBLE * lengths[:, None, None] * sizes).any(axis=0)
    moved = U.copy()
    for k, c in np.argwhere(outside):
        inside = _inside(program, int(k), memory)
        moved[k, c] = 0.0 if inside is None else _shifted(program, int(k), U[k, c], lengths, inside)
    # Where a cone is narrow, reaching it can cost more than doing without its neuron.
    without = np.where(outside[..., None], 0.0, U)
    return min((moved, without), key=lambda point: objective(program, point))


def _shifted(program: GatedProgram, k: int, u: Array, lengths: Array, inside: ConeInterior) -> Array:
    """A vector of the cone near u; zero if rounding never lets one be found."""
    one = replace(program, gates=program.gates[:, [k]], signs=program.signs[[k]])
    # Beyond the violation itself, what rounding may add to it.
    short = -slopes(one, u[None, None])[:, 0, 0] + FEASIBLE * lengths * np.linalg.norm(u)
    reachable = lengths > 0.0
    tau = float(np.max(short[reachable] / (lengths[reachable] * inside.margin), initial=0.0))
    for factor in (1.0, 2.0, 8.0, 64.0):
        shifted = u + factor * tau * inside.direction
        if is_feasible(one, shifted[None, None]):
            return np.asarray(shifted)
    return np.zeros_like(u)


def _inside(program: GatedProgram, k: int, memory: Memory) -> ConeInterior | None:
    pattern = program.gates[:, k]
    key = pattern.tobytes()
    if key not in memory:
        memory[key] = interior(program.X, pattern, program.attack)
    return memory[key]


def decomposed(program: GatedProgram, U: Array, memory: Memory, **fields: Any) -> ReLUNetwork:
    """The network of a gated point: ``u_k = v_k - w_k`` with both in the cone wherever the cone allows it."""
    K, C, D = program.shape
    pairs = np.zeros((2, K, C, D))
    for k, c in np.argwhere(np.abs(U).max(axis=2) > 0.0):
        found = decompose(
            U[k, c],
            program.X,
            program.gates[:, k],
            program.attack,
            _inside(program, int(k), memory),
        )
        pairs[0, k, c], pairs[1, k, c] = found.v, found.w
    slots, columns = (index.ravel() for index in np.indices((K, C)))
    signs = np.repeat([1.0, -1.0], K * C)
    return gated.network_of(
        program, np.tile(slots, 2), np.tile(columns, 2), pairs.reshape(2 * K * C, D), signs, **fields
    )
