"""Lower bounds of gated ReLU programmes from any multipliers.

Notation of `cvxrobust.core.programs.gated.evaluation`. Take theta_i in the domain of the loss's conjugate, attacks of
radius 1 p_i and q_k, ``S e`` with ``||e||_p <= 1`` (zero in a bias coordinate), and multipliers mu_ik >= 0, and let

    B_k = s_k sum_i g_ik (theta_i y_i x_i + theta_i r_i p_i) + sum_i mu_ik ((2 g_ik - 1) x_i + r_i q_k).

If ``||B_k||_2 <= beta`` for every slot, then ``-mean_i loss*(-n theta_i)`` is a lower bound of the programme's optimum:

1. Fenchel: ``mean_i loss(m_i) >= -mean_i loss*(-n theta_i) - sum_i theta_i m_i``.
2. ``m_i <= y_i x_i'H_i + r_i p_i'H_i - (harmful terms)``, because ``-N(H) <= p'H``.
3. Cone form: at a feasible point ``((2 g_ik - 1) x_i + r_i q_k)'u_k >= (2 g_ik - 1) x_i'u_k - r_i N(u_k) >= 0``, so
   adding mu_ik times it only raises the sum. One-sided form: with ``0 <= mu_ik <= theta_i``, and mu_ik = 0 where k is
   helpful to i, ``theta_i relu(z) >= mu_ik z`` for the harmful terms, and ``r_i N(u_k) >= -r_i q_k'u_k``. Gated form:
   mu = 0.
4. Together ``sum_i theta_i m_i <= sum_k B_k'u_k <= beta sum_k ||u_k||_2``, which the penalty pays for.

Multipliers that violate this are scaled by ``beta / max_k ||B_k||``, which keeps everything else. With a loss of
targets theta_i is minus the derivative in the output, of either sign; the x_i carry no y_i, and attacks weigh
``omega_i >= |theta_i|`` instead of theta_i. By Fenchel's inequality for the worst residual the bound is ``sum theta_i
y_i - mean_i phi*(n omega_i)`` (`cvxrobust.core.losses.residual`), for squares ``sum theta_i y_i - n/4 sum omega_i^2``;
weights of samples enter as in all conjugates. With C outputs everything carries an output index and ``||B_k||`` is the
Frobenius norm.

Where boxes are cut off, ``r_i p_i`` and ``r_i q_k`` stand for ``r_i w_i * p_i`` and ``r_i w_i * q_k``, the attacks that
p_i and q_k are on sample i (`AttackBall.extent`).

Where X was computed from other data, each x_i may be off by `uncertainty_i`: ``||B_k||`` is then at most what it is
computed to be plus ``sum_i (g_ik omega_i + mu_ik) uncertainty_i``, which is counted as rounding is. So is what rounding
makes of ``S e`` where S is no diagonal (`AttackBall.unnoticed`).

Where scaling costs too much, mu is first improved slot by slot: ``min_mu ||B_k||`` is a non-negative (cone) or
box-constrained (one-sided) least-squares problem, and q_k follows as the direction that shortens B_k most.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.losses.base import TwoSidedLoss, output_signs
from cvxrobust.core.programs.gated.batch_repair import UnrepairedSlots, shortened
from cvxrobust.core.programs.gated.evaluation import EPS, goals, harmful, slopes, sums, values
from cvxrobust.core.programs.gated.program import GatedProgram
from cvxrobust.core.programs.gated.slot_repair import UnrepairedSlot, generated, repair_slot, slot_part

Array = NDArray[np.float64]
HUGE = 1e100

EXACT = 200_000
"""Entries of X, times slots in question, up to which multipliers are repaired slot by slot, as well as can be."""


@dataclass(frozen=True)
class GatedMultipliers:
    """Dual information of a gated programme, from whatever source.

    Args:
        theta: Multipliers of the margins, minus the derivative of the loss over n, shape (n, C).
        attacks: Directions p of the attacks, shape (n, C, d), d the coordinates that an attack can touch.
        mu: Multipliers of the cone constraints or of the harmful ReLUs, shape (n, K, C).
        directions: Directions q of the slots, shape (K, C, d).
        omega: Weights of the attacks for losses of targets, shape (n, C); None for ``|theta|``.
    """

    theta: Array
    attacks: Array
    mu: Array
    directions: Array
    omega: Array | None = None

    @property
    def reach(self) -> Array:
        """What the attacks weigh: omega where it is given, shape (n, C)."""
        return np.abs(self.theta) if self.omega is None else self.omega


@dataclass(frozen=True)
class GatedBound:
    """A lower bound and what it rests on.

    Args:
        value: The bound.
        violations: ``||B_k||`` before scaling, shape (K,); above beta where a slot could improve the objective.
        multipliers: The multipliers, clipped to their domain, before scaling.
        scale: The factor on them that the bound uses.
    """

    value: float
    violations: Array
    multipliers: GatedMultipliers
    scale: float


def fits(program: GatedProgram, multipliers: object) -> bool:
    """Whether something is multipliers of the shapes that a programme needs."""
    if not isinstance(multipliers, GatedMultipliers):
        return False
    (n, d), (K, C, _) = (program.X.shape[0], program.attackable), program.shape
    wanted = {"theta": (n, C), "attacks": (n, C, d), "mu": (n, K, C), "directions": (K, C, d), "omega": (n, C)}
    parts = {name: getattr(multipliers, name) for name in wanted}
    return all(
        isinstance(part, np.ndarray) and part.shape == wanted[name] and part.dtype.kind == "f"
        for name, part in parts.items()
        if not (name == "omega" and part is None)
    )


def gated_bound(program: GatedProgram, multipliers: GatedMultipliers) -> GatedBound:
    """The lower bound of the module's derivation, by scaling alone; multipliers are made feasible otherwise first."""
    m = clip_to_domain(program, multipliers)
    B, mass = brackets(program, m)
    n, D = program.X.shape
    # What rounding may have added to a norm: every entry is a sum of at most n (2 K) products.
    allowance = 8.0 * EPS * (math.sqrt(n) + D) * mass
    violations = lengths(B) + allowance + _moved(program, m)
    gamma = float(violations.max(initial=0.0))
    limit = program.beta / gamma if gamma > 0.0 else math.inf
    value, scale = (-math.inf, 0.0)
    if np.isfinite(gamma):
        value, scale = best_scaled(program, m.theta, m.omega, limit)
    return GatedBound(value, violations, m, scale)


def tightened(
    program: GatedProgram,
    multipliers: GatedMultipliers,
    threshold: float = 0.0,
    stopped: Callable[[], bool] = lambda: False,
    *,
    exact: int = EXACT,
) -> GatedMultipliers:
    """The multipliers with mu and q improved by least squares in every slot that exceeds ``beta (1 + threshold)``.

    Asks now and then whether it is `stopped`; then the rest stays as it is. Up to so many entries as `exact` says that
    is done slot by slot.
    """
    m = clip_to_domain(program, multipliers)
    if not program.rules.paired:
        return m
    return tightened_from(program, m, brackets(program, m)[0], threshold, stopped, exact=exact)


def tightened_from(
    program: GatedProgram,
    m: GatedMultipliers,
    B: Array,
    threshold: float,
    stopped: Callable[[], bool] = lambda: False,
    *,
    exact: int = EXACT,
) -> GatedMultipliers:
    """`tightened` for what `clip_to_domain` made, with its vectors B_k at hand; what changes is copied."""
    rules, over = program.rules, np.flatnonzero(lengths(B) > program.beta * (1.0 + threshold))
    if over.size == 0 or not np.isfinite(B[over]).all() or not rules.paired:
        return m
    if rules.one_sided and over.size * program.X.size > exact:
        return _tightened_together(program, m, B, over, program.beta * (1.0 + threshold), stopped)
    mu, directions = m.mu.copy(), m.directions.copy()
    free = rules.pairs(program)
    for k in map(int, over):
        if stopped():
            break
        for c in range(program.shape[1]):
            fixed = B[k, c] - slot_part(program, k, mu[:, k, c], directions[k, c])
            slot = UnrepairedSlot(program, k, fixed, mu[:, k, c], directions[k, c])
            caps = rules.caps(m.theta[:, c])
            rows = np.flatnonzero(free[:, k] if caps is None else free[:, k] & (caps > 0.0))
            if rules.constrains_gates and program.attack.present:
                target = 0.5 * program.beta / math.sqrt(program.shape[1])
                mu[:, k, c], directions[k, c] = generated(slot, target)
            else:
                caps = None if caps is None else caps[rows]
                mu[:, k, c], directions[k, c] = repair_slot(slot, rows, caps)
    return replace(m, mu=mu, directions=directions)


def _tightened_together(
    program: GatedProgram,
    m: GatedMultipliers,
    B: Array,
    over: NDArray[np.intp],
    target: float,
    stopped: Callable[[], bool],
) -> GatedMultipliers:
    """`tightened` for many large slots of a one-sided programme."""
    mu, directions = m.mu.copy(), m.directions.copy()
    for sign in (1.0, -1.0):
        slots = over[program.signs[over] == sign]
        if slots.size:
            own = np.where(program.gates[:, slots], m.mu[:, slots, 0], -m.mu[:, slots, 0]).T @ program.X
            own[:, : program.attackable] += (m.mu[:, slots, 0].T @ program.attack.extent) * m.directions[slots, 0]
            unrepaired = UnrepairedSlots(program, slots, B[slots, 0] - own, m.theta[:, 0])
            mu[:, slots, 0], directions[slots, 0] = shortened(
                unrepaired, m.mu[:, slots, 0], m.directions[slots, 0], target, stopped
            )
    return replace(m, mu=mu, directions=directions)


def network_multipliers(program: GatedProgram, U: Array) -> GatedMultipliers:
    """Multipliers that need no solver: derivatives of the loss, worst attacks and active terms at a point."""
    n = program.X.shape[0]
    found, H = values(program, U), sums(program, U)
    loss = program.loss_function
    slope, omega = loss.derivative(found, goals(program)) / n, None
    theta = -slope
    if not loss.margin:
        theta, omega = -slope * np.sign(np.einsum("id,icd->ic", program.X, H) - program.labels), slope
    K, C, _ = program.shape
    attacks, directions = -program.attack.maximiser(H), -program.attack.maximiser(U)
    mu = np.zeros((n, K, C))
    if program.rules.one_sided:
        argument = -slopes(program, U)
        mu = np.where(harmful(program)[..., None], 0.5 * (1.0 + np.sign(argument)) * theta[:, None, :], 0.0)
    return GatedMultipliers(theta, attacks, mu, directions, omega)


def clip_to_domain(program: GatedProgram, multipliers: GatedMultipliers) -> GatedMultipliers:
    """Multipliers inside all constraints but the one on ``||B_k||``; what is no number counts as zero."""
    loss, C = program.loss_function, program.shape[1]
    theta = C * loss.clip(_numbers(multipliers.theta) / C)
    omega = np.abs(theta)
    if not loss.margin and multipliers.omega is not None:
        omega = np.maximum(C * loss.clip(_numbers(multipliers.omega) / C), omega)
    mu = program.rules.clip(program, np.maximum(_numbers(multipliers.mu), 0.0), theta)
    largest = max(float(np.abs(part).max(initial=0.0)) for part in (theta, omega, mu))
    if largest > HUGE or 0.0 < largest < 1.0 / HUGE:
        # A common factor costs a bound nothing and keeps the arithmetic safe; up to 1/n every loss allows.
        factor = 1.0 / (largest * theta.shape[0])
        theta, omega, mu = factor * theta, factor * omega, factor * mu
    attacks, directions = (
        program.attack.inside(_numbers(part)) for part in (multipliers.attacks, multipliers.directions)
    )
    return GatedMultipliers(theta, attacks, mu, directions, omega)


def brackets(program: GatedProgram, m: GatedMultipliers) -> tuple[Array, Array]:
    """The vectors B_k, shape (K, C, D), and the sizes of the terms that were summed, shape (K,)."""
    K, C, D = program.shape
    d = program.attackable
    signs = output_signs(program.loss_function, program.labels)
    omega = m.reach
    weights = program.gates * program.signs
    points = (signs * m.theta)[..., None] * program.X[:, None, :]
    extent = program.attack.extent
    points[..., :d] += extent[:, None, :] * omega[..., None] * m.attacks
    B = (weights.T @ points.reshape(-1, C * D)).reshape(K, C, D)
    if m.mu.any():
        turned = np.where(program.gates[..., None], m.mu, -m.mu)
        B += np.einsum("ikc,id->kcd", turned, program.X, optimize=True)
        B[..., :d] += np.einsum("id,ikc->kcd", extent, m.mu, optimize=True) * m.directions
    lengths = np.linalg.norm(program.X, axis=1)
    reach = lengths + program.attack.radius * program.attack.euclidean_reach
    mass = program.gates.T @ (omega.sum(axis=1) * reach) + np.einsum("ikc,i->k", m.mu, reach, optimize=True)
    return B, np.asarray(mass)


def _moved(program: GatedProgram, m: GatedMultipliers) -> Array | float:
    """How much longer each B_k may be than it is computed to be because points are not quite those meant; (K,)."""
    blurred = program.attack.unnoticed
    if program.uncertainty is None and blurred == 0.0:
        return 0.0
    off = program.radius * blurred + (0.0 if program.uncertainty is None else program.uncertainty)
    by_samples = program.gates.T @ (m.reach.sum(axis=1) * off)
    return np.asarray(by_samples + np.einsum("ikc,i->k", m.mu, off, optimize=True))


def lengths(B: Array) -> Array:
    """``||B_k||``, shape (K,), with no square lost to underflow, which could make a bound false."""
    largest = np.abs(B).max(axis=(1, 2), initial=0.0)
    unit = np.where(largest > 0.0, largest, 1.0)
    return np.asarray(largest * np.sqrt(((B / unit[:, None, None]) ** 2).sum(axis=(1, 2))))


def best_scaled(program: GatedProgram, theta: Array, omega: Array | None, limit: float) -> tuple[float, float]:
    """The bound that multipliers of shape (n, C) prove at their best scale up to a limit, and that scale."""
    loss, (n, C) = program.loss_function, theta.shape
    reach = np.abs(theta if omega is None else omega).ravel() / C
    theta, target = theta.ravel(), program.labels.ravel()
    if isinstance(loss, TwoSidedLoss):
        # A loss averages over all that it is given, here over n C outputs instead of n samples.
        theta = theta / C
        scale = loss.best_scale_apart(theta, reach, target, limit)
        value = C * loss.bound_apart(scale * theta, scale * reach, target)
    else:
        scale = loss.best_scale(theta, target, limit)
        value = loss.bound(scale * theta, target)
    return value - 4.0 * EPS * math.sqrt(n * C) * abs(value), scale


def _numbers(part: Array) -> Array:
    return np.where(np.isfinite(part), part, 0.0)
