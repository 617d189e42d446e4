"""Worst-case attacks on a polynomial network in the span of its neurons, exact and smoothed.

With neurons in the columns of ``V'`` and ``Q`` an orthonormal basis of their span that diagonalises T_11, both the
matrix ``a T_11`` of a sample's trust-region subproblem and its gradient lie in that span: the worst attack does, too,
unless lam = 0, where its other coordinates may as well be 0. So a subproblem has min(d, m) unknowns, not d, and is
separable.

**Smoothing.** The worst margin is concave in T but has kinks, where the worst attack jumps (the hard case). In units of
the radius, with ``h`` the half gradient and ``w_k`` the eigenvalues, it is
``max_lam -lam - sum_k h_k^2 / (w_k + lam)`` over ``lam >= max(0, -min w)``. The smoothed margin subtracts
``nu sum_k exp(-(w_k + lam) / nu)``, which is concave in (T, lam) as a spectral function, never below by more than
nu times the number of eigenvalues, and smooth. By Danskin's theorem its gradient is the second moment of a random
attack with mean ``-h_k / (w_k + lam)`` and covariance ``diag(exp(-(w_k + lam) / nu))``; the stationarity of lam says
that its expected squared length is 1, so the random attack is feasible and a dual point, exactly. Where the hard case
needs a mixture of two attacks, this is one.

Networks that are trained for an ellipsoid come to ignore what attacks can touch: then h and w vanish, and with a single
coordinate lam with them, where the mean ``(h / nu)^(1/3)`` turns infinitely fast. So there the exponents are
``1 - (w_k + lam) / nu``, and lam is nu at least.
"""

import math
from dataclasses import dataclass

import torch

from cvxrobust.core import AttackBall
from cvxrobust.core.arrays import worth_a_look

Tensor = torch.Tensor
NEWTON_STEPS = 60
SETTLED = 3e-5
"""Relative size of a Newton step after which another one could only add rounding."""
START = 1e-3
"""Smallest first shift, in units of the smoothing."""
FADED = 40.0
"""Exponent at which a variance is rounding: exp(-40) = 4e-18."""
TINY = 1e-100
"""Its inverse square does not overflow."""


@dataclass(frozen=True)
class Spectrum:
    """``a T_11 = Q diag(values) Q'`` on the span of the neurons.

    Args:
        values: Ascending, shape (k,), k = min(d, m).
        vectors: Q, orthonormal columns, shape (d, k).
    """

    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, neurons: Tensor, signs: Tensor, a: float) -> "Spectrum":
        """With ``T_11 = sum_j signs_j v_j v_j'``, neurons of shape (m, d); by a QR when they do not fill the space."""
        weights = a * signs
        if neurons.shape[0] >= neurons.shape[1]:
            return cls(*torch.linalg.eigh((neurons.T * weights) @ neurons))
        basis, R = torch.linalg.qr(neurons.T)
        values, vectors = torch.linalg.eigh((R * weights) @ R.T)
        return cls(values, basis @ vectors)


@dataclass(frozen=True)
class RandomAttacks:
    """Random attacks in units of the radius and in the coordinates of an `AttackView`.

    Args:
        change: What the attack does to the smoothed margin, shape (n,).
        against: The mean, negated, shape (n, k).
        variance: Of the coordinates that vary, shape (n, j); coordinates are uncorrelated, and
            ``||against||^2 + sum variance <= 1``.
        varying: Which coordinates those are, ascending, shape (j,), int64.
        shift: ``lam + min_k w_k`` of each sample, shape (n,), to start the next root-finding from.
    """

    change: Tensor
    against: Tensor
    variance: Tensor
    varying: Tensor
    shift: Tensor


def offset_of(attack: AttackBall) -> float:
    """What exponents begin with, for these attacks: the module's derivation says why."""
    return 1.0 if attack.own_axes else 0.0


def varying_coordinates(values: Tensor, scale: tuple[float, float, float], nu: float) -> Tensor:
    """Coordinates whose variance may exceed rounding, ascending: those of nearly lowest curvature.

    Args:
        values: Eigenvalues, ascending, shape (k,).
        scale: The smallest and the largest of the samples' factors of the eigenvalues, and the smallest absolute value
            of those that are not 0 (inf if there is none).
        nu: Smoothing.
    """
    least, most, smallest = scale
    if values.numel() == 0:
        return torch.zeros(0, dtype=torch.int64, device=values.device)
    reach = FADED * nu / smallest if smallest > 0.0 else math.inf
    near = torch.zeros_like(values, dtype=torch.bool)
    if most > 0.0:
        near |= values - values[0] <= reach
    if least < 0.0:
        near |= values[-1] - values <= reach
    return torch.nonzero(near).flatten()


def smoothed_attacks(
    scale: Tensor,
    values: Tensor,
    half: Tensor,
    nu: float,
    varying: Tensor,
    guess: Tensor | None = None,
    offset: float = 0.0,
    *,
    solved: bool = False,
) -> RandomAttacks:
    """The smoothed worst cases of the module's derivation.

    Newton's method on ``log E||D||^2 = 0`` in lam: that function is convex and decreasing, so that from its left side
    convergence is monotone, and a step from the right side lands on the left. Made for blocks of samples that fit into
    a processor's cache.

    Args:
        scale: Label times squared radius, shape (n,): sample i has curvatures ``scale_i values``.
        values: Eigenvalues, ascending, shape (k,).
        half: Half gradients times label and radius, shape (n, k), float64; fastest where its transpose is contiguous.
        nu: Smoothing, in units of the margin, positive.
        varying: What `varying_coordinates` found.
        guess: `shift` of a similar problem, shape (n,).
        offset: Of the exponents, `offset_of`.
        solved: Whether that is the root itself: then it is taken as it is, and attacks are the same to the last digit.
    """
    lowest = torch.minimum(scale * values[0], scale * values[-1])
    gaps = torch.empty_like(half)
    torch.mul(scale[:, None], values, out=gaps)
    gaps.sub_(lowest[:, None])
    near = gaps.T[varying].T
    if offset:
        near = near - offset * nu
    floor = lowest.clamp(min=0.0)
    if guess is None:
        guess = (half.abs() - gaps).amax(dim=1)
    shift = torch.maximum(torch.maximum(guess, floor), torch.full_like(floor, START * nu))
    if solved:
        shift = guess
    inverse, square = torch.empty_like(gaps), torch.empty_like(gaps)
    for step in range(0 if solved else NEWTON_STEPS):
        torch.add(gaps, shift[:, None], out=inverse)
        inverse.reciprocal_()  # gaps are not negative, and the shift is positive
        torch.mul(half, inverse, out=square)
        square.mul_(square)
        variance = torch.exp((near + shift[:, None]) / -nu)
        spread = variance.sum(dim=1)
        length = square.sum(dim=1) + spread
        slope = 2.0 * square.mul_(inverse).sum(dim=1) + spread / nu
        newton = shift + length.clamp(min=TINY).log() * length / slope
        # To the left a step may go too far, but a tenth is either still on the right or a start from the left.
        following = torch.maximum(torch.where(slope > 0.0, newton, floor), 0.1 * shift)
        following = torch.maximum(following, floor)
        # Convergence is quadratic: what comes after a step as small as this is rounding.
        moved = (following - shift).abs() / (following + 0.01 * nu)
        shift = following
        if step > 0 and worth_a_look(step, moved) and not bool((moved > SETTLED).any()):
            break
    torch.add(gaps, shift[:, None], out=inverse)
    inverse.reciprocal_()
    variance = torch.exp((near + shift[:, None]) / -nu)
    against = torch.mul(half, inverse, out=inverse)
    change = lowest - shift - torch.mul(half, against, out=square).sum(dim=1) - nu * variance.sum(dim=1)
    return RandomAttacks(change, against, variance, varying, shift)
