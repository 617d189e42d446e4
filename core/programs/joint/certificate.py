"""What multipliers prove of a joint programme, whoever found them.

Let w >= 0 be weights of attacked points x, each of a point i of a sample g of class c, and against a rival k != c; let
theta_g be their sum over the sample. The smallest margin of a sample is at most every weighted mean of its margins, the
loss does not increase with it, and Fenchel's inequality holds for it. Hence, for every network,

    mean_g loss(smallest margin)  >=  -sum w (f_c - f_k)(x) - mean_g loss*(-m theta_g).

With ``A(x)`` as in `cvxrobust.core.programs.polynomial.certificate`, and for each class q

    G_q = sum_{c = q} w A(x) - sum_{k = q} w A(x),

the first sum is ``sum_q sum_j alpha_jq [u_j; 1]'G_q[u_j; 1]``, so at most ``sum_q gamma_q sum_j |alpha_jq|``, gamma_q
the maximum of ``|[u; 1]'G_q[u; 1]|`` over unit vectors. Where ``gamma_q <= beta penalties_q`` for every class the
penalty pays for it; otherwise one scale, the smallest of ``beta penalties_q / gamma_q``, makes all of them so. With the
hinge that leaves ``s sum theta``, where theta_g is at most 1/m.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.quadratic import blocks
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.joint.margins import ClassContest, contests, slopes_of
from cvxrobust.core.programs.joint.program import JointProgram
from cvxrobust.core.programs.polynomial.certificate import (
    EPS,
    HUGE,
    coefficients,
    is_spoilt,
    moderate,
    price_neurons,
    rounding_allowance,
    sum_slack,
)
from cvxrobust.core.programs.polynomial.moments import SecondMoments, repaired_attacks

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class JointPoints:
    """Multipliers that sit on attacked points, each against one rival of its class.

    Args:
        weights: Multiplier of each point, 0 or more, shape (k,).
        owners: The row of X that each point is an attack on, shape (k,), int.
        rivals: The class that it is to be taken for, shape (k,), int; weights of its own class count nothing.
        points: The points, shape (k, d); they are moved into their row's ball if rounding left them outside.
    """

    weights: Array
    owners: Index
    rivals: Index
    points: Array


class PairAttacks(Protocol):
    """Random attacks on points of one class, to be taken for another."""

    @property
    def basis(self) -> Array:
        """Orthonormal columns in which attacks ``D = S basis z`` have coordinates z, shape (q, k)."""
        ...

    def attacks(self, rows: Index, X: Array) -> tuple[Array, Array | None]:
        """Means, shape (b, k), and variances of uncorrelated coordinates, the same shape or None, of some rows.

        Args:
            rows: The rows, shape (b,).
            X: These rows of the inputs, shape (b, d).
        """
        ...


class JointAttacks(Protocol):
    """Multipliers on attacks that are computed again where they are asked for."""

    @property
    def theta(self) -> Array:
        """Multiplier of every point against every rival, shape (n, K)."""
        ...

    def against(self, own: int, rival: int) -> PairAttacks:
        """The attacks on points of a class, to be taken for another."""
        ...


JointMultipliers = JointPoints | JointAttacks


@dataclass(frozen=True)
class JointBound:
    """A lower bound and, for each class, the neurons that violate dual feasibility most.

    Args:
        value: The bound.
        neurons: Unit vectors, shape (K, 2, d): of each class the best with positive and with negative output weight.
        violations: ``max_u +-[u; 1]'G_q[u; 1] / penalties_q`` for the two signs, shape (K, 2); a neuron improves the
            network where its entry exceeds beta.
    """

    value: float
    neurons: Array
    violations: Array


@dataclass(frozen=True)
class NetworkJointAttacks:
    """Multipliers on the worst attacks on a network.

    Args:
        theta: Shape (n, K).
        program: The programme.
        network: Of K outputs.
    """

    theta: Array
    program: JointProgram
    network: PolynomialNetwork

    def against(self, own: int, rival: int) -> "ContestAttacks":
        """The worst attacks on points of a class, to be taken for another."""
        side, (k, other) = (1.0, (own, rival)) if own < rival else (-1.0, (rival, own))
        alpha = self.network.alpha
        quadratic = self.network.quadratic(alpha[:, k] - alpha[:, other], self.program.attack)
        return ContestAttacks(self.program, ClassContest(own, rival, self.program.rows_of[own], quadratic, side))


@dataclass(frozen=True)
class ContestAttacks:
    """The worst attacks of one contest; see `PairAttacks`."""

    program: JointProgram
    contest: ClassContest

    @property
    def basis(self) -> Array:
        """What attacks see of the span of the network's neurons, shape (q, k)."""
        return np.asarray(self.contest.quadratic.seen_by(self.program.attack).axes)

    def attacks(self, rows: Index, X: Array) -> tuple[Array, None]:
        """The attacks on some rows."""
        sides = np.full(rows.size, self.contest.side)
        _, _, moves = self.contest.quadratic.worst_case(X, sides, self.program.attack.of(rows))
        return moves, None


def network_multipliers(program: JointProgram, network: PolynomialNetwork, margins: Array) -> NetworkJointAttacks:
    """Multipliers that need no solver: ``-loss'(smallest margin) / m``, on the worst attacks on a network.

    Args:
        program: The programme.
        network: Of K outputs.
        margins: Its worst margins, shape (n, K).
    """
    return NetworkJointAttacks(slopes_of(program, margins), program, network)


def network_points(program: JointProgram, network: PolynomialNetwork, theta: Array) -> JointPoints:
    """Multipliers of any origin, shape (n, K), on the worst attacks on a network, all of which are kept."""
    none = np.empty(0, dtype=np.intp)
    found: list[tuple[Array, Index, Index, Array]] = [(np.empty(0), none, none, np.empty((0, program.X.shape[1])))]
    for one in contests(program, network):
        rows = one.rows[theta[one.rows, one.rival] > 0.0]
        if not rows.size:
            continue
        attack, X = program.attack.of(rows), program.X[rows]
        _, _, moves = one.quadratic.worst_case(X, np.full(rows.size, one.side), attack)
        points = one.quadratic.attacked(X, moves, program.attack)
        found.append((theta[rows, one.rival], rows, np.full(rows.size, one.rival), points))
    weights, owners, rivals, points = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return JointPoints(weights, owners, rivals, points)


def bound_of_joint(program: JointProgram, multipliers: JointMultipliers) -> JointBound:
    """What multipliers prove, made feasible first, with the neurons that would improve a network most.

    Args:
        program: The programme.
        multipliers: Of any origin.

    Raises:
        InputError: Their shapes do not fit.
    """
    (n, d), pairs = program.X.shape, program.X.shape[0] * program.n_classes
    theta, sums = _sums(program, multipliers, precise=False)
    if any(is_spoilt(n, d, one.mass, program.activation, program.beta) for one in sums):
        theta, sums = _sums(program, multipliers, precise=True)
    C, limit = coefficients(program.activation, d), math.inf
    neurons, violations = np.empty((program.n_classes, 2, d)), np.empty((program.n_classes, 2))
    for k, one in enumerate(sums):
        neurons[k], found = price_neurons(C * one.matrix)
        violations[k] = found / program.penalties[k]
        rounding = rounding_allowance(pairs, d, one.mass, program.activation) + sum_slack(one.error, program.activation)
        gamma = max(float(found.max()), 0.0) + rounding
        own = program.beta * float(program.penalties[k]) / gamma if gamma > 0.0 else math.inf
        limit = min(limit, own if np.isfinite(gamma) else 0.0)
    loss, target = program.loss_function, np.ones(theta.size)
    value = loss.bound(loss.best_scale(theta, target, limit) * theta, target)
    return JointBound(value - 4.0 * EPS * pairs**0.5 * abs(value), neurons, violations)


class _ClassSums:
    """Signed second moments of the attacked points of one class, G_q without its coefficients."""

    def __init__(self, d: int) -> None:
        self.matrix = np.zeros((d + 1, d + 1))
        self.mass = self.error = 0.0

    def add(self, sums: SecondMoments, sign: float) -> None:
        """Add what was summed of some, with a sign."""
        self.matrix += sign * sums.matrix()
        self.mass += sums.mass
        self.error += sums.error


def _sums(program: JointProgram, multipliers: JointMultipliers, *, precise: bool) -> tuple[Array, list[_ClassSums]]:
    """Feasible multipliers of the samples, shape (m,), and what each class comes to."""
    found = [_ClassSums(program.X.shape[1]) for _ in range(program.n_classes)]
    if isinstance(multipliers, JointPoints):
        return _add_points(program, multipliers, found, precise), found
    theta, capped = repaired_pairs(program, multipliers.theta)
    for own, rival, rows in _pairs(program, theta):
        sums = _pair_sums(program, multipliers.against(own, rival), rows, theta[rows, rival], precise)
        found[own].add(sums, 1.0)
        found[rival].add(sums, -1.0)
    return capped, found


def _pairs(program: JointProgram, theta: Array) -> Iterator[tuple[int, int, Index]]:
    """The points of each class that have multipliers against each rival, where there are any."""
    for own, mine in enumerate(program.rows_of):
        for rival in range(program.n_classes):
            rows = mine[theta[mine, rival] > 0.0]
            if rows.size:
                yield own, rival, rows


def _pair_sums(program: JointProgram, pair: PairAttacks, rows: Index, theta: Array, precise: bool) -> SecondMoments:
    # A basis that is none allows for no attack.
    basis = pair.basis if (np.abs(pair.basis) < HUGE).all() else np.zeros_like(pair.basis)
    sums = SecondMoments(program.attack.spanned(basis), precise)
    for part in blocks(rows.size, program.X.shape[1]):
        some, X = rows[part], program.X[rows[part]]
        sums.add(X, theta[part], *repaired_attacks(*pair.attacks(some, X), basis, program.attack.of(some)))
    return sums


def _add_points(program: JointProgram, given: JointPoints, found: list[_ClassSums], precise: bool) -> Array:
    """Add multipliers that sit on points, and return those of the samples, shape (m,)."""
    (n, d), K = program.X.shape, program.n_classes
    owners, rivals, shape = given.owners, given.rivals, given.weights.shape
    fit = owners.shape == rivals.shape == shape == given.points.shape[:1] and given.points.shape[1:] == (d,)
    if not fit or ((owners < 0) | (owners >= n) | (rivals < 0) | (rivals >= K)).any():
        raise InputError(f"the multipliers name points or rivals that there are not; expected {n} rows, {K} classes.")
    own = program.labels[owners]
    weights = np.where(np.isfinite(given.weights) & (rivals != own), given.weights, 0.0)
    weights = moderate(np.maximum(weights, 0.0))
    capped, ratio = _capped(program, program.samples[owners], weights)
    weights = weights * ratio[program.samples[owners]]
    sane, centres = (np.abs(given.points) < HUGE).all(axis=1, keepdims=True), program.X[owners]
    points = centres + program.attack.of(owners).shortened(np.where(sane, given.points - centres, 0.0))
    for k, one in enumerate(found):
        sums = SecondMoments(np.empty((d, 0)), precise)
        sums.add(points, np.where(own == k, weights, 0.0) - np.where(rivals == k, weights, 0.0))
        one.add(sums, 1.0)
    return capped


def repaired_pairs(program: JointProgram, theta: Array) -> tuple[Array, Array]:
    """Multipliers that may stand in a bound: 0 or more, none of the own class, sums in the conjugate's domain.

    Args:
        program: The programme.
        theta: Of any origin, shape (n, K).

    Returns:
        The multipliers, shape (n, K), and their sums over samples, shape (m,).

    Raises:
        InputError: The shape is another.
    """
    if theta.shape != (n_and_K := (program.X.shape[0], program.n_classes)):
        raise InputError(f"the multipliers have shape {theta.shape}; expected {n_and_K}.")
    theta = moderate(np.maximum(np.where(np.isfinite(theta), theta, 0.0), 0.0))
    theta[np.arange(theta.shape[0]), program.labels] = 0.0
    capped, ratio = _capped(program, program.samples, theta.sum(axis=1))
    return theta * ratio[program.samples, None], capped


def _capped(program: JointProgram, samples: Index, weights: Array) -> tuple[Array, Array]:
    """Sums over samples in the conjugate's domain, and the factors that lead there, both of shape (m,)."""
    total = np.bincount(samples, weights, minlength=program.n_samples).astype(np.float64)
    capped = program.loss_function.clip(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        return capped, np.where(total > 0.0, capped / total, 1.0)
