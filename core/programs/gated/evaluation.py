"""The mathematics of gated ReLU programmes: what a point of a `GatedProgram` is worth, and the network it stands for.

Notation: samples (x_i, y_i), attacks ``||D||_p <= r_i`` with the dual norm ``N(g) = ||g||_q`` (a bias coordinate left
out; attacks with a shape, ``D = S e`` and ``||e||_p <= r_i``, have ``N(g) = ||S'g||_q``, and nothing else changes);
slots k with sign s_k, gates g_ik in {0, 1} and a vector u_k; ``H_i = sum_k s_k g_ik u_k``. All that is asked of
``r_i N(g)`` is that it is the most that an attack on sample i adds to ``g'x``: where a range of inputs cuts boxes off,
x_i is the middle of what is left, and ``r_i N`` stands for ``r_i N_i``, ``N_i(g) = sum_k w_ik |S'g|_k``. The network is

    f(x) = sum_k s_k relu(x'u_k),   trained on   mean_i loss(min_D y_i f(x_i + D)) + beta sum_k ||u_k||_2.

The penalty is the weight decay ``beta/2 sum (||hidden||^2 + output^2)`` of a neuron split into ``u / sqrt(||u||)`` and
``sqrt(||u||)``. Three convex programmes in the u_k, for gates that are given:

**Cone** (Pilanci and Ergen, arXiv:2002.10553; attacked: Bai, Gautam and Sojoudi, arXiv:2201.01965). The constraints

    (2 g_ik - 1) x_i'u_k >= r_i N(u_k)     for all i, k

keep every ReLU in its gate over the whole ball, so f is linear there: the worst margin is ``y_i x_i'H_i - r_i N(H_i)``,
and the value at a feasible point is the network's own objective. With losses of targets the worst residual is
``|x_i'H_i - y_i| + r_i N(H_i)``.

**One-sided** (for margin losses, which only need lower bounds of ``y_i f``). No constraints. Call slot k helpful to
sample i if ``y_i s_k = +1`` and harmful if it is -1. For g in {0, 1} and every real z,

    relu(z) >= g z                       (helpful)
    relu(z) <= g z + relu((1 - 2 g) z)   (harmful; equality, because relu(z) = z + relu(-z)).

With z = (x_i + D)'u_k the last term is at most ``relu((1 - 2 g) x_i'u_k + r_i N(u_k))``, whatever D. What remains is
linear in D, so

    m_i(u) = y_i x_i'H_i - r_i N(H_i) - sum_{k harmful to i} relu((1 - 2 g_ik) x_i'u_k + r_i N(u_k))

is a lower bound of the worst margin, concave in u, and ``mean_i loss(m_i) + beta sum_k ||u_k||`` is convex and never
below the network's own objective. Facts that follow, for the same gates:

- *Never above the cone programme.* At a cone-feasible point every relu above vanishes and m_i is the cone form's
  margin.
- *Exact without attack* where helpful gates agree with the signs of x_i'u_k, because the harmful part is then
  ``-relu(x_i'u_k)`` for either gate. With all patterns the optimum is that of the nonconvex problem: each of its
  neurons has a slot with its own pattern.
- *Two classical bounds.* Harmful gates 0 give the **separate** bound (helpful and harmful slots are attacked apart),
  harmful gates equal to the pattern the **soft cone** (the cone's violations are paid for). Neither is always better,
  and their maximum is not concave, so the choice, free for every (i, k), must be made before solving.
- *Several neurons in one slot* may be added up: m_i is concave and positively homogeneous in u, hence superadditive.
- *Regating is monotone.* Each row of gates g_i. gives a valid m_i. If, at the present point, every sample picks a row
  whose m_i is no smaller, the new programme's value there, and so its optimum, is no larger than the present value.

**Gated** (the gated ReLU relaxation; Mishkin, Sahiner and Pilanci, arXiv:2202.01331): the cone programme without its
constraints. One slot of sign +1 serves both signs. Its optimum is a lower bound of the cone programme's; a network is
recovered by writing ``u_k = v_k - w_k`` with both in the cone, which keeps the outputs and raises the penalty.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.norms import GEOMETRIES, NORMS
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.programs.gated.formulations import FORMULATIONS
from cvxrobust.core.programs.gated.program import GatedProgram

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)

FEASIBLE = 32.0 * EPS
"""Violation of a cone constraint that counts as rounding, relative to ``||x_i|| ||u_k||``."""


def require_meaning(program: GatedProgram) -> None:
    """Refuse what this module gives no meaning to.

    Raises:
        UnsupportedProgramError: A one-sided programme whose loss is not of one margin, or an unknown loss, norm or
            formulation.
    """
    loss = LOSSES.get(program.loss.partition(":")[0])
    if loss is None:
        raise UnsupportedProgramError(f"loss {program.loss!r} is none of {sorted(LOSSES)}, which this solver knows.")
    if program.attack.norm not in GEOMETRIES:
        raise UnsupportedProgramError(
            f"norm {program.attack.norm!r} is none of {list(NORMS)}, which this solver knows."
        )
    if program.formulation not in FORMULATIONS:
        raise UnsupportedProgramError(
            f"formulation {program.formulation!r} is none of {list(FORMULATIONS)}, which this solver knows."
        )
    if program.labels.shape[1] != 1 and loss.margin:
        raise UnsupportedProgramError("a margin loss needs one output; solve one programme per class.")
    if program.rules.one_sided and not loss.margin:
        raise UnsupportedProgramError(
            f'the one-sided formulation bounds margins, which the {loss.name} loss has none of; use "cone" or "gated".'
        )


def sums(program: GatedProgram, U: Array) -> Array:
    """``H_i = sum_k s_k g_ik u_k`` for each output, shape (n, C, D).

    Args:
        program: The programme.
        U: A point of it, shape (K, C, D).
    """
    K, C, D = program.shape
    weights = program.gates * program.signs
    return np.asarray(weights @ U.reshape(K, C * D)).reshape(-1, C, D)


def harmful(program: GatedProgram) -> NDArray[np.bool_]:
    """Which slots can only lower which margins, ``y_i s_k = -1``; shape (n, K), all False but for one-sided ones."""
    rules = program.rules
    return rules.pairs(program) if rules.one_sided else np.zeros(program.gates.shape, dtype=np.bool_)


def values(program: GatedProgram, U: Array) -> Array:
    """What the loss sees: lower bounds of the worst margins, or the worst absolute residuals; shape (n, C)."""
    used = U.any(axis=(1, 2))
    if not used.all():
        # Slots without a neuron add nothing to anything, and often are most of them.
        program, U = replace(program, gates=program.gates[:, used], signs=program.signs[used]), U[used]
    H = sums(program, U)
    f = np.einsum("id,icd->ic", program.X, H)
    reach = program.attack.reach(H)
    if not program.loss_function.margin:
        return np.asarray(np.abs(f - program.labels) + reach)
    margins = program.labels * f - reach
    if program.rules.one_sided:
        margins -= excess(program, U).sum(axis=1, keepdims=True)
    return np.asarray(margins)


def goals(program: GatedProgram) -> Array:
    """What the loss compares `values` with: the labels, or nothing, where they are residuals; shape (n, C)."""
    return program.labels if program.loss_function.margin else np.zeros_like(program.labels)


def excess(program: GatedProgram, U: Array) -> Array:
    """The terms ``relu((1 - 2 g_ik) x_i'u_k + r_i N(u_k))`` of a one-sided programme, 0 where helpful; (n, K)."""
    argument = -slopes(program, U)[..., 0]
    return np.where(harmful(program), np.maximum(argument, 0.0), 0.0)


def slopes(program: GatedProgram, U: Array) -> Array:
    """``(2 g_ik - 1) x_i'u_k - r_i N(u_k)``: how far each slot stays within its gate over the ball; (n, K, C)."""
    K, C, D = U.shape
    z = (program.X @ U.reshape(K * C, D).T).reshape(program.X.shape[0], K, C)
    turned = np.where(program.gates[..., None], z, -z)
    return np.asarray(turned - program.attack.reaches(U))


def sample_losses(program: GatedProgram, U: Array) -> Array:
    """Loss of each sample, summed over outputs, at the programme's bounds; shape (n,)."""
    return np.asarray(program.loss_function.value(values(program, U), goals(program)).sum(axis=1))


def penalty(U: Array) -> float:
    """``sum_k ||u_k||_2``, the Frobenius norm over the outputs of a slot."""
    return float(np.sqrt((U**2).sum(axis=(1, 2))).sum())


def is_feasible(program: GatedProgram, U: Array) -> bool:
    """Whether a point satisfies the cone constraints, up to rounding; always, where there are none."""
    if not program.rules.constrains_gates:
        return True
    rounding = FEASIBLE * np.linalg.norm(program.X, axis=1) + program.radius * program.attack.unnoticed
    if program.uncertainty is not None:
        rounding = rounding + program.uncertainty
    return bool((slopes(program, U) >= -rounding[:, None, None] * np.sqrt((U**2).sum(axis=2))).all())


def objective(program: GatedProgram, U: Array) -> float:
    """The programme's objective at a point, shape (K, C, D); infinite where it is not feasible."""
    if not (np.isfinite(U).all() and is_feasible(program, U)):
        return float("inf")
    return float(np.mean(sample_losses(program, U))) + program.beta * penalty(U)


def to_network(program: GatedProgram, U: Array, **fields: Any) -> ReLUNetwork:
    """The network that a point of a cone or one-sided programme stands for: one neuron per slot and output.

    The neuron of u is ``u / sqrt(||u||)`` with output weight ``s_k sqrt(||u||)``.

    Args:
        program: The programme.
        U: The point, shape (K, C, D).
        fields: Further fields of the network.
    """
    K, C, D = program.shape
    slots, columns = (index.ravel() for index in np.indices((K, C)))
    return network_of(program, slots, columns, U.reshape(K * C, D), np.repeat(program.signs, C), **fields)


def network_of(
    program: GatedProgram,
    slots: NDArray[np.intp],
    columns: NDArray[np.intp],
    vectors: Array,
    signs: Array,
    **fields: Any,
) -> ReLUNetwork:
    """Neurons from vectors, each with its slot, output and sign of the output weight; zeros are left out."""
    sizes = np.linalg.norm(vectors, axis=1)
    used = sizes > 0.0
    root = np.sqrt(sizes[used])
    u = vectors[used] / root[:, None]
    alpha = signs[used] * root
    if program.shape[1] > 1:
        spread = np.zeros((alpha.size, program.shape[1]))
        spread[np.arange(alpha.size), columns[used]] = alpha
        alpha = spread
    return ReLUNetwork(u, alpha, bias=program.bias, slots=tuple(slots[used].tolist()), **fields)


def from_network(program: GatedProgram, network: ReLUNetwork) -> Array:
    """The point of a programme that a network stands for, shape (K, C, D).

    Neurons that know their slot go there, the others to the slot of their sign whose gates agree with their signs on
    most of the data (each sample counting by the size of its pre-activation). What shares a slot is added up.
    """
    K, C, D = program.shape
    alpha = network.alpha.reshape(network.n_neurons, C)
    U = np.zeros((K, C, D))
    if K == 0:
        return U
    slots = _slots_of(program, network)
    for c in range(C):
        vectors = alpha[:, c, None] * network.u * program.signs[slots[:, c], None]
        # A neuron of the wrong sign would need a negative output weight, which no slot of these has.
        fits = (not program.rules.signed_slots) | (alpha[:, c] * program.signs[slots[:, c]] > 0.0)
        np.add.at(U[:, c], slots[fits, c], vectors[fits])
    return U


def network_objective(program: GatedProgram, network: ReLUNetwork) -> float:
    """The programme's objective at a network, every neuron in a slot; no less than its objective at `from_network`.

    Neurons that share a slot are taken one by one, as if the slot came several times: added up, they would be another
    network, with a smaller penalty. So with one output this is no less than the network's own objective, either.
    Infinite if a neuron fits no slot or leaves its cone.
    """
    placed = apart(program, network)
    return float("inf") if placed is None else objective(*placed)


def apart(program: GatedProgram, network: ReLUNetwork) -> tuple[GatedProgram, Array] | None:
    """A programme with one slot for every neuron, and the network's point in it; None if a neuron fits no slot.

    With several outputs, whose neurons share slots by nature, and in the gated form, where a slot holds a difference,
    it is the programme itself with `from_network`.
    """
    if not holds(program, network):
        return None
    if not program.rules.signed_slots or program.shape[1] > 1 or network.n_neurons == 0:
        return program, from_network(program, network)
    slots = _slots_of(program, network)[:, 0]
    spread = replace(program, gates=program.gates[:, slots], signs=program.signs[slots])
    if not bool((network.alpha * spread.signs >= 0.0).all()):
        return None
    return spread, (np.abs(network.alpha)[:, None] * network.u)[:, None, :]


def _slots_of(program: GatedProgram, network: ReLUNetwork) -> NDArray[np.intp]:
    """The slot of each neuron and output, shape (m, C): the one that it names, or the closest."""
    (K, C, _), known = program.shape, network.slots
    if known is not None and all(0 <= slot < K for slot in known):
        return np.repeat(np.asarray(known, dtype=np.intp)[:, None], C, axis=1)
    alpha = network.alpha.reshape(network.n_neurons, C)
    return np.stack([_closest_slots(program, network.u, alpha[:, c]) for c in range(C)], axis=1)


def holds(program: GatedProgram, network: ReLUNetwork) -> bool:
    """Whether the programme has a slot of the right sign for every neuron of a network."""
    if not program.rules.signed_slots:
        return program.signs.size > 0 or network.n_neurons == 0
    present = {float(sign) for sign in program.signs}
    return all(float(sign) in present for sign in np.unique(np.sign(network.alpha[network.alpha != 0.0])))


def _closest_slots(program: GatedProgram, u: Array, alpha: Array) -> NDArray[np.intp]:
    z = u @ program.X.T
    # Agreement of gates with signs, weighted: sum_i |z_i| [g_ik == (z_i >= 0)] = const + sum_i z_i (2 g_ik - 1) / 2.
    agreement = z @ (2.0 * program.gates - 1.0)
    if program.rules.signed_slots:
        agreement[np.sign(alpha)[:, None] != program.signs] = -np.inf
    return np.asarray(np.argmax(agreement, axis=1), dtype=np.intp)
