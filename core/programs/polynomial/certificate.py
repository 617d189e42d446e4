"""Certificates: bounds on the optimum of a training problem that trust no solver.

The upper bound is the exact objective of the network handed back. The lower bound is a dual bound whose ingredients,
multipliers from whatever source, are first repaired to exact feasibility here. Its derivation, for the polynomial
network ``f(x) = sum_j alpha_j s(x'u_j)``, attacks in balls around the x_i and labels y_i:

1. Let w_k >= 0 be weights of points x_k, each in the ball of the sample i it belongs to, and theta_i their sum over
   that sample's points. The worst-case margin of a sample is at most the weighted mean of y_i f over its points, the
   loss does not increase with the margin, and Fenchel's inequality holds for it. Hence, for every network,

       mean_i loss(worst margin_i)  >=  -sum_k w_k y_i(k) f(x_k) - mean_i loss*(-n theta_i).

2. With ``A(x) = C o [x; 1][x; 1]'`` (C holds a, b / 2 and c; o is the entrywise product) and
   ``G = sum_k w_k y_i(k) A(x_k)``, the first sum is ``sum_j alpha_j [u_j; 1]'G[u_j; 1]``, so at most
   ``gamma sum_j |alpha_j|`` with ``gamma = max_{||u|| = 1} |[u; 1]'G[u; 1]|``: two trust-region subproblems.

3. If gamma <= beta, the penalty pays for it and ``-mean_i loss*(-n theta_i)`` is a lower bound of the optimum over all
   networks of any width. Otherwise all weights are scaled by s <= beta / gamma. The maximiser u is the neuron that
   would improve the network most.

A moment matrix of a random attack does the work of several points: only second moments enter G.

With a loss of targets, phi of the worst residual ``rho_i = max(max f - y_i, y_i - min f)``, weights have a sign: w_k >
0 says that f is too small at x_k, w_k < 0 that it is too large. Then rho_i is at least every ``sign(w_k) (y_i -
f(x_k))``, so with ``reach_i = sum |w_k|`` over the sample's points and theta_i = sum w_k

    mean_i phi(rho_i)  >=  sum_i reach_i rho_i - mean_i phi*(n reach_i)
                       >=  -sum_k w_k f(x_k) + sum_i theta_i y_i - mean_i phi*(n reach_i),

and the rest is as above, without labels in G. Without attack the points are the samples, and reach_i is ``|theta_i|``.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.trust_region import Decomposition, decompose, minimize_on_sphere
from cvxrobust.core.errors import InputError
from cvxrobust.core.losses.base import Loss, TwoSidedLoss
from cvxrobust.core.programs.polynomial.exact_gram import SampleSums
from cvxrobust.core.programs.rows import Rows, row_blocks

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)
TINY = 1e-300
HUGE = 1e100
PRECISE = 1e-7
"""Share of the penalty's weight above which what rounding may have added to gamma spoils a bound."""


@dataclass(frozen=True)
class PointMultipliers:
    """Multipliers that sit on points: how much each attacked copy of a sample matters.

    Args:
        weights: Multiplier of each point, shape (k,); the theta of its sample, spread over the sample's points. Of a
            loss of targets negative where the output is too large.
        owners: The sample that each point is an attack on, shape (k,), int.
        points: The points, shape (k, d); they are moved into their sample's ball if rounding left them outside.
    """

    weights: Array
    owners: NDArray[np.intp]
    points: Array


@dataclass(frozen=True)
class MomentMultipliers:
    """Multipliers that are moment matrices of attacks, as the duals of the S-procedure's LMIs are.

    Args:
        moments: Shape (n, k + 1, k + 1); entry (i) is ``E[z; 1][z; 1]'`` times theta_i for a random attack ``D = basis
            z`` on sample i, or, in an ellipsoid, ``D = S basis z``. Repaired to be psd with ``tr <= radius_i^2
            theta_i`` before use.
        basis: Orthonormal columns, shape (q, k), where attacks stay in a subspace of the ball's q coordinates (the
            inputs, unless there is an ellipsoid); None for all of them. Where rounding leaves its columns longer,
            attacks are shortened accordingly.
    """

    moments: Array
    basis: Array | None = None


@dataclass(frozen=True)
class DualBound:
    """A lower bound and the neuron that violates dual feasibility most.

    Args:
        value: The bound.
        neurons: Unit vectors, shape (2, d): the best neuron with positive and with negative output weight.
        violations: ``max_u +-[u; 1]'G[u; 1]`` for the two signs, shape (2,); a neuron improves the network where its
            entry exceeds beta.
    """

    value: float
    neurons: Array
    violations: Array


def coefficients(activation: tuple[float, float, float], d: int) -> Array:
    """The matrix C, shape (d + 1, d + 1), with ``A(x) = C o [x; 1][x; 1]'`` and ``f(x) = <A(x), T>``."""
    a, b, c = activation
    C = np.full((d + 1, d + 1), a)
    C[:d, d] = C[d, :d] = 0.5 * b
    C[d, d] = c
    return C


def dual_bound(
    theta: Array,
    second_moments: Array,
    mass: float,
    *,
    loss: Loss,
    target: Array,
    activation: tuple[float, float, float],
    beta: float,
    slack: float = 0.0,
    reach: Array | None = None,
) -> DualBound:
    """The lower bound of the module's derivation from multipliers and the signed second moments of their attacks.

    With ``G = C o S`` and ``gamma = max_{||u|| = 1} |[u; 1]'G[u; 1]|``, scaling the multipliers by any s <= beta /
    gamma makes them dual feasible; the best such s is taken. What rounding may have added to gamma is allowed for.

    Args:
        theta: Multiplier of each sample, in the domain of the loss's conjugate, shape (n,).
        second_moments: ``S = sum_k theta_k sign_k [x_k; 1][x_k; 1]'``, shape (d + 1, d + 1).
        mass: ``sum_k |theta_k| (||x_k||^2 + 1)``, the size of the terms that were summed, for the rounding allowance.
        loss: The loss.
        target: Targets (used by losses of targets only), shape (n,).
        activation: (a, b, c).
        beta: Weight of the penalty.
        slack: What gamma may lack besides, because points are not quite those that are meant.
        reach: With a loss of targets ``sum_k |w_k|`` of each sample, shape (n,); ``|theta|`` if None.
    """
    d = second_moments.shape[0] - 1
    G = coefficients(activation, d) * second_moments
    neurons, violations = price_neurons(G)
    allowance = rounding_allowance(theta.size, d, mass, activation) + slack
    gamma = max(float(violations.max()), 0.0) + allowance
    limit = beta / gamma if gamma > 0.0 else math.inf
    limit = limit if np.isfinite(gamma) else 0.0
    if isinstance(loss, TwoSidedLoss) and reach is not None:
        scale = loss.best_scale_apart(theta, reach, target, limit)
        value = loss.bound_apart(scale * theta, scale * reach, target)
    else:
        scale = loss.best_scale(theta, target, limit)
        value = loss.bound(scale * theta, target)
    value -= 4.0 * EPS * theta.size**0.5 * abs(value)
    return DualBound(value, neurons, violations)


def rounding_allowance(n: int, d: int, mass: float, activation: tuple[float, float, float]) -> float:
    """What rounding may have added to gamma, for terms of size `mass` that were summed over n samples."""
    return 8.0 * EPS * (math.sqrt(n) + d) * mass * _largest(activation)


def is_spoilt(n: int, d: int, mass: float, activation: tuple[float, float, float], beta: float) -> bool:
    """Whether rounding may have cost a bound so much that sums are worth making to twice the working precision."""
    return rounding_allowance(n, d, mass, activation) > PRECISE * beta


def sum_slack(error: float, activation: tuple[float, float, float]) -> float:
    """What gamma may lack where S lacks a matrix of Frobenius norm `error`: neurons [u; 1] have squared length 2."""
    return 2.0 * error * _largest(activation)


def _largest(activation: tuple[float, float, float]) -> float:
    a, b, c = activation
    return max(abs(a), 0.5 * abs(b), abs(c))


def price_neurons(G: Array) -> tuple[Array, Array]:
    """Maximise ``[u; 1]'G[u; 1]`` and ``-[u; 1]'G[u; 1]`` over the unit sphere, exactly.

    Args:
        G: Symmetric, shape (d + 1, d + 1).

    Returns:
        The two maximisers, shape (2, d), and rigorous upper bounds of the two maxima, shape (2,).
    """
    d = G.shape[0] - 1
    if not np.isfinite(G).all():
        return np.zeros((2, d)), np.full(2, np.inf)
    neurons, bounds = np.empty((2, d)), np.empty(2)
    up = decompose(G[:d, :d])
    down = Decomposition(-up.values[::-1], np.ascontiguousarray(up.vectors[:, ::-1]))
    for k, (sign, shared) in enumerate(((1.0, down), (-1.0, up))):
        found = minimize_on_sphere(shared, -sign * G[:d, d][None, :])
        neurons[k] = found.points[0]
        bounds[k] = sign * G[d, d] - found.dual[0]
    return neurons, bounds


def repair_points(
    multipliers: PointMultipliers, X: Array | Rows, attack: AttackBall, loss: Loss
) -> tuple[Array, Array, Array]:
    """Make point multipliers dual feasible: points inside the balls, sums of weights in the conjugate's domain.

    Args:
        multipliers: Of any origin.
        X: Shape (n, d).
        attack: The attacks on each sample.
        loss: The loss.

    Returns:
        theta, shape (n,); weights, shape (k,), that sum to it; points, shape (k, d).
    """
    n, (owners, points) = X.shape[0], (multipliers.owners, multipliers.points)
    weights = np.where(np.isfinite(multipliers.weights), multipliers.weights, 0.0)
    if loss.margin:
        weights = np.maximum(weights, 0.0)
    weights = moderate(weights)
    centres = np.empty(points.shape)
    for rows, block in row_blocks(X):
        own = np.flatnonzero((owners >= rows.start) & (owners < rows.stop))
        centres[own] = block[owners[own] - rows.start]
    # A point that is no point, or is absurdly far away, becomes the sample itself.
    sane = (np.abs(points) < HUGE).all(axis=1, keepdims=True)
    points = np.where(sane, points, centres)
    moves, balls = points - centres, attack.of(owners)
    fair = balls.shortened(moves)
    points = points if fair is moves else centres + fair
    total = reach_of(owners, weights, n)
    capped = loss.clip(total)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(total != 0.0, capped / total, 1.0)
    weights = weights * ratio[owners]
    return capped if loss.margin else np.bincount(owners, weights, minlength=n).astype(np.float64), weights, points


def reach_of(owners: NDArray[np.intp], weights: Array, n: int) -> Array:
    """``sum_k |w_k|`` over the points of each of n samples, shape (n,)."""
    return np.bincount(owners, np.abs(weights), minlength=n).astype(np.float64)


def repair_moments(multipliers: MomentMultipliers, attack: AttackBall, loss: Loss) -> tuple[Array, Array]:
    """Make moment matrices of attacks feasible: psd, within the trace bound, mass in the conjugate's domain.

    Returns:
        theta, shape (n,), and the repaired moments, shape (n, k + 1, k + 1).

    Raises:
        InputError: The basis is not finite.
    """
    basis, radius = multipliers.basis, attack.radius
    if basis is not None and not (np.abs(basis) < HUGE).all():
        raise InputError("the basis of the moments holds numbers that are not finite.")
    finite = np.isfinite(multipliers.moments).all(axis=(1, 2), keepdims=True)
    moments = moderate(np.where(finite, multipliers.moments, 0.0))
    d = moments.shape[1] - 1
    # In units of the radius all entries are of one size; otherwise the rounding of large attacks would fall on theta.
    unit = np.ones((radius.size, d + 1))
    unit[:, :d] = np.where(radius > TINY, radius, 1.0)[:, None]
    moments = moments / (unit[:, :, None] * unit[:, None, :])
    values, vectors = np.linalg.eigh(0.5 * (moments + np.swapaxes(moments, 1, 2)))
    # Everything happens to a factor F of the psd part F F': so the result is psd up to rounding relative to each
    # entry, even where a block is many orders larger than theta and gets shrunk.
    factors = unit[:, :, None] * vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
    total = np.einsum("ik,ik->i", factors[:, d], factors[:, d])
    theta = loss.clip(total)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        factors *= np.sqrt(np.where(total > TINY, theta / total, 0.0))[:, None, None]
        theta = np.einsum("ik,ik->i", factors[:, d], factors[:, d])
        spread = np.einsum("ijk,ijk->i", factors[:, :d], factors[:, :d])
        stretch = 1.0 if basis is None else max(1.0, _stretch(basis))
        excess = spread * stretch > radius**2 * theta
        shrink = np.where(excess, np.sqrt(radius**2 * theta / (spread * stretch)) * (1.0 - 4.0 * EPS), 1.0)
    factors[:, :d] *= shrink[:, None, None]
    return loss.clip(theta), factors @ np.swapaxes(factors, 1, 2)


def _stretch(basis: Array) -> float:
    """What a basis makes of a squared length, at most: the largest row sum of |B'B| bounds its largest eigenvalue."""
    return float(np.abs(basis.T @ basis).sum(axis=0).max(initial=0.0))


def moderate(array: Array) -> Array:
    """Multipliers of absurd size scaled to where arithmetic is safe: a common factor costs a bound nothing."""
    largest = float(np.abs(array).max(initial=0.0))
    return array / largest if largest > HUGE or 0.0 < largest < 1.0 / HUGE else array


def shift_moments(
    moments: Array, X: Array | Rows, signs: Array, basis: Array | None = None, *, precise: bool = False
) -> tuple[Array, float, float]:
    """Sum the moments of attacks into moments of attacked points, with the labels' signs.

    Args:
        moments: Of attacks, repaired, shape (n, k + 1, k + 1).
        X: Shape (n, d).
        signs: Labels as signs of the output, shape (n,).
        basis: What attacks are coordinates in, shape (d, k); None for the inputs themselves.
        precise: Whether to sum what samples add without their attacks to twice the working precision.

    Returns:
        ``S = sum_i sign_i E_i moments_i E_i'`` with ``E_i = [[I, x_i], [0, 1]]``, the size of what was summed in
        working precision, and what the rest of it may lack in the Frobenius norm.
    """
    d, k = X.shape[1], moments.shape[1] - 1
    theta = moments[:, k, k]
    first = moments[:, :k, k]
    signed = signs * theta
    block, shift, cross = np.tensordot(signs, moments[:, :k, :k], axes=1), signs @ first, np.zeros((k, d))
    sums, lengths = SampleSums(np.empty((d, 0)), precise), np.empty(X.shape[0])
    for rows, x in row_blocks(X):
        cross += (signs[rows, None] * first[rows]).T @ x
        sums.add(x, signed[rows])
        lengths[rows] = np.linalg.norm(x, axis=1)
    away = np.sqrt(np.trace(moments[:, :k, :k], axis1=1, axis2=2) / np.maximum(theta, TINY))
    if basis is not None:
        cross, block, shift = basis @ cross, basis @ block @ basis.T, basis @ shift
        away *= math.sqrt(_stretch(basis))
    S = np.asarray(sums.matrix())
    S[:d, :d] += block + cross + cross.T
    S[:d, d] += shift
    S[d, :d] = S[:d, d]
    # Beside sums without attack, those that have one of their factors in the attack.
    mass = float(theta @ (away * (2.0 * (lengths + 1.0) + away)))
    return S, mass + sums.mass, sums.error
