"""New gates for a gated programme: neurons that its multipliers say would pay for themselves.

With the multipliers theta_i of the margins and the attacked points of `cvxrobust.core.programs.gated.certificate`, a
neuron u of unit norm and sign s in a slot of its own lowers the objective if the sum of what it adds to the margins,
weighted by theta, exceeds beta. Without attack that sum is

    s sum_i theta_i y_i relu(x_i'u)

for gates equal to the signs of x_i'u. Its maximum over the sphere would settle whether any gates are missing, but it is
neither convex nor concave in u, so it is searched: gradient steps from many starts, gates following u.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.losses.base import output_signs
from cvxrobust.core.programs.gated.certificate import GatedMultipliers, brackets, lengths, tightened
from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]
Patterns = NDArray[np.bool_]

STARTS = 96
STEPS = 60


@dataclass(frozen=True)
class Priced:
    """Gates worth adding.

    Args:
        gates: Shape (n, B), best first.
        signs: Shape (B,).
        violations: ``||B_k||`` of each as a slot, shape (B,); above beta, so each lowers the optimum.
    """

    gates: Patterns
    signs: Array
    violations: Array


def price(
    program: GatedProgram,
    multipliers: GatedMultipliers,
    batch: int,
    seed: int,
    starts: Array,
    further: Patterns | None = None,
) -> Priced:
    """The best new gates found, at most `batch`; none if the search finds no violation.

    Args:
        program: The programme that the multipliers belong to.
        multipliers: Repaired multipliers.
        batch: Largest number of gates to return.
        seed: Of the random starts.
        starts: Further starts, shape (m, D): the neurons present, for example.
        further: Patterns to price besides those that the search finds, shape (n, B).
    """
    rng = np.random.default_rng(seed)
    D = program.X.shape[1]
    random = rng.standard_normal((STARTS, D))
    scale = np.linalg.norm(starts, axis=1, keepdims=True)
    near = starts / np.where(scale > 0.0, scale, 1.0) + rng.standard_normal(starts.shape) * (0.3 / np.sqrt(D))
    candidates: list[tuple[Patterns, Array]] = []
    for sign in sorted({float(value) for value in program.signs}):
        for column in range(program.shape[1]):
            found = _search(program, multipliers, sign, column, np.vstack([random, starts[scale[:, 0] > 0.0], near]))
            candidates.append((found, np.full(found.shape[1], sign)))
        if further is not None:
            candidates.append((further, np.full(further.shape[1], sign)))
    gates = np.hstack([found for found, _ in candidates])
    signs = np.concatenate([sign for _, sign in candidates])
    gates, signs = _unknown(program, gates, signs)
    if signs.size == 0:
        return Priced(gates, signs, np.empty(0))
    violations = _violations(program, multipliers, gates, signs)
    order = np.argsort(-violations, kind="stable")
    chosen = order[violations[order] > program.beta * (1.0 + 1e-9)][:batch]
    return Priced(gates[:, chosen], signs[chosen], violations[chosen])


def _search(program: GatedProgram, m: GatedMultipliers, sign: float, column: int, starts: Array) -> Patterns:
    """Gates at the end of an ascent from every start, shape (n, B)."""
    d = program.attackable
    u = starts / np.maximum(np.linalg.norm(starts, axis=1, keepdims=True), 1e-300)
    value, gradient, gates = _worth(program, m, sign, column, u, d)
    step = np.full(u.shape[0], 1.0)
    for _ in range(STEPS):
        slope = gradient - np.einsum("bd,bd->b", gradient, u)[:, None] * u
        length = np.linalg.norm(gradient, axis=1, keepdims=True)
        # A long step is the fixed point u = gradient / ||gradient|| of the convex part.
        trial = u + step[:, None] * slope / np.maximum(length, 1e-300)
        trial /= np.linalg.norm(trial, axis=1, keepdims=True)
        new_value, new_gradient, new_gates = _worth(program, m, sign, column, trial, d)
        better = new_value > value
        u = np.where(better[:, None], trial, u)
        gradient = np.where(better[:, None], new_gradient, gradient)
        gates = np.where(better, new_gates, gates)
        value = np.where(better, new_value, value)
        step = np.where(better, 1.5 * step, 0.5 * step)
    return np.asarray(gates[:, np.argsort(-value, kind="stable")])


def _worth(
    program: GatedProgram, m: GatedMultipliers, sign: float, column: int, u: Array, d: int
) -> tuple[Array, Array, Patterns]:
    """What neurons u, shape (B, D), add to the margins with the gates that suit them best: value, gradient, gates."""
    X, theta = program.X, m.theta[:, column]
    omega = np.abs(theta) if m.omega is None else m.omega[:, column]
    labels = output_signs(program.loss_function, program.labels[:, column])
    points = (labels * theta)[:, None] * X
    points[:, :d] += program.attack.extent * omega[:, None] * m.attacks[:, column]
    z = X @ u.T
    gated = sign * (points @ u.T)
    if not program.rules.one_sided:
        # Gates must be the signs of x'u; what an attack adds comes with them.
        gates = z >= 0.0
        return np.where(gates, gated, 0.0).sum(axis=0), sign * (gates.T @ points), np.asarray(gates)
    reach = program.attack.reaches(u)
    bad = (labels * sign < 0.0)[:, None]
    closed = np.where(bad, -theta[:, None] * np.maximum(z + reach, 0.0), 0.0)
    opened = gated - np.where(bad, theta[:, None] * np.maximum(reach - z, 0.0), 0.0)
    gates = opened > closed
    value = np.where(gates, opened, closed).sum(axis=0)
    rising = np.where(bad & ~gates & (z + reach > 0.0), theta[:, None], 0.0)
    falling = np.where(bad & gates & (reach - z > 0.0), theta[:, None], 0.0)
    pull = (rising + falling).T @ program.attack.extent
    gradient = sign * (gates.T @ points) - (rising - falling).T @ X
    gradient[:, :d] -= pull * program.attack.maximiser(u)
    return value, gradient, np.asarray(gates)


def _unknown(program: GatedProgram, gates: Patterns, signs: Array) -> tuple[Patterns, Array]:
    """Those that the programme does not have yet, each once; empty ones left out."""
    seen = {(sign, column.tobytes()) for sign, column in zip(program.signs.tolist(), program.gates.T, strict=True)}
    kept = []
    for index, (sign, column) in enumerate(zip(signs.tolist(), gates.T, strict=True)):
        key = (sign, np.ascontiguousarray(column).tobytes())
        if column.any() and key not in seen:
            seen.add(key)
            kept.append(index)
    return gates[:, kept], signs[kept]


def _violations(program: GatedProgram, m: GatedMultipliers, gates: Patterns, signs: Array) -> Array:
    """``||B_k||`` of slots with these gates, after the best mu and q have been sought."""
    n, (_, C, _), d = program.X.shape[0], program.shape, program.attackable
    trial = replace(program, gates=gates, signs=signs)
    fresh = replace(m, mu=np.zeros((n, signs.size, C)), directions=np.zeros((signs.size, C, d)))
    # All at once: there are hundreds, and few of them are added.
    B, _ = brackets(trial, tightened(trial, fresh, exact=0))
    return lengths(B)
