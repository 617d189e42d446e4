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
"""

from dataclasses import dataclass

import torch

from cvxrobust.core.trust_region import Decomposition, minimize_in_ball

Tensor = torch.Tensor
NEWTON_STEPS = 60
EPS = 2.0**-52
TINY = 1e-100
"""Its inverse square does not overflow."""
NEGLIGIBLE = 1e-12
"""Variance, in units of the squared radius, that counts as none."""


@dataclass(frozen=True)
class Spectrum:
    """``T_11 = Q diag(values) Q'`` on the span of the neurons.

    Args:
        values: Ascending, shape (k,), k = min(d, m).
        vectors: Q, orthonormal columns, shape (d, k).
    """

    values: Tensor
    vectors: Tensor

    @classmethod
    def of(cls, neurons: Tensor, signs: Tensor) -> "Spectrum":
        """Of ``T_11 = sum_j signs_j v_j v_j'``, neurons of shape (m, d), by a QR when they do not fill the space."""
        if neurons.shape[0] >= neurons.shape[1]:
            return cls(*torch.linalg.eigh((neurons.T * signs) @ neurons))
        basis, R = torch.linalg.qr(neurons.T)
        values, vectors = torch.linalg.eigh((R * signs) @ R.T)
        return cls(values, basis @ vectors)


@dataclass(frozen=True)
class RandomAttacks:
    """Random attacks in units of the radius and in the coordinates of a `Spectrum`.

    Args:
        change: What the attack does to the smoothed margin, shape (n,).
        mean: Shape (n, k).
        variance: Of each coordinate, shape (n, k); coordinates are uncorrelated, ``||mean||^2 + sum variance <= 1``.
        shift: ``lam + min_k w_k`` of each sample, shape (n,), to start the next root-finding from.
    """

    change: Tensor
    mean: Tensor
    variance: Tensor
    shift: Tensor


def smoothed_attacks(curvature: Tensor, half: Tensor, nu: float, guess: Tensor | None = None) -> RandomAttacks:
    """The smoothed worst cases of the module's derivation.

    Newton's method on ``log E||D||^2 = 0`` in lam: that function is convex and decreasing, so that from its left side
    convergence is monotone, and a step from the right side lands on the left.

    Args:
        curvature: Eigenvalues times label and squared radius, shape (n, k), float64.
        half: Half gradients times label and radius, shape (n, k), float64.
        nu: Smoothing, in units of the margin, positive.
        guess: `shift` of a similar problem, shape (n,).
    """
    lowest = curvature.amin(dim=1)
    gaps = curvature - lowest[:, None]
    floor = lowest.clamp(min=0.0)
    low = torch.maximum((half.abs() - gaps).amax(dim=1), floor)
    square = half * half
    shift = low if guess is None else torch.maximum(guess, low)
    for step in range(NEWTON_STEPS + 1):
        shifted = (gaps + shift[:, None]).clamp(min=TINY)
        regular = square / (shifted * shifted)
        variance = torch.exp(shifted / -nu)
        if step == NEWTON_STEPS:
            break
        length = (regular + variance).sum(dim=1)
        slope = (2.0 * regular / shifted + variance / nu).sum(dim=1)
        following = torch.maximum(shift + length.log() * length / slope.clamp(min=TINY), low)
        settled = bool(((following - shift).abs() <= 1e-11 * following + 1e-12 * nu).all())
        # A step from the right may have gone far, so the first one never ends the search.
        if settled and step > 0:
            break
        shift = following
    change = -(shift - lowest) - (square / shifted).sum(dim=1) - nu * variance.sum(dim=1)
    return RandomAttacks(change, -half / shifted, variance, shift)


def split_into_points(mean: Tensor, variance: Tensor, most: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points with the moments of random attacks.

    A line through the mean m meets the sphere ``||D||^2 = ||m||^2 + sum c`` at parameters t+ > 0 > t-, with
    ``t+ |t-| = sum c``; the two-point variable with mean m has variance sum c along the line. Taking the line along
    coordinate k with probability ``c_k / sum c`` gives all moments, by points that are as long as the attack is on
    average: two for each coordinate that varies.

    Args:
        mean: Shape (n, k).
        variance: Shape (n, k).
        most: Coordinates of a sample that may vary; the smallest variances beyond are dropped.

    Returns:
        Probabilities, shape (p,); owners, shape (p,), int64; points, shape (p, k).
    """
    if variance.shape[1] > most:
        least = variance.topk(most, dim=1).values[:, -1:]
        variance = torch.where(variance >= least, variance, torch.zeros_like(variance))
    variance = torch.where(variance > NEGLIGIBLE, variance, torch.zeros_like(variance))
    total = variance.sum(dim=1)
    still = torch.nonzero(total == 0.0).flatten()
    rows, columns = torch.nonzero(variance, as_tuple=True)
    centre, product = mean[rows, columns], total[rows]
    # Parameters of the ends: roots of t^2 + 2 centre t - product.
    half = torch.sqrt(centre * centre + product)
    high = torch.where(centre > 0.0, product / (half + centre.abs()), half - centre)
    low = -product / high
    chance = variance[rows, columns] / product
    ends = mean[rows].repeat(2, 1)
    ends[torch.arange(2 * rows.numel(), device=rows.device), columns.repeat(2)] += torch.cat([high, low])
    probability = torch.cat([torch.ones_like(total[still]), chance * -low / (2.0 * half), chance * high / (2.0 * half)])
    return probability, torch.cat([still, rows, rows]), torch.cat([mean[still], ends])


def exact_margins(
    neurons: Tensor, signs: Tensor, activation: tuple[float, float, float], X: Tensor, labels: Tensor, radius: Tensor
) -> tuple[Tensor, Tensor]:
    """Exact worst-case margins and attacked points of ``f(x) = sum_j signs_j ||v_j||^2 s(x'v_j / ||v_j||)``.

    Args:
        neurons: v_j in rows, shape (m, d), float64.
        signs: Shape (m,).
        activation: (a, b, c).
        X: Inputs, shape (n, d), float64.
        labels: -1 or +1, shape (n,).
        radius: l2 radii, shape (n,).

    Returns:
        Margins, shape (n,), from the dual of the subproblems: never above the true ones, and below them by rounding
        only. Points, shape (n, d).
    """
    a, b, c = activation
    spectrum = Spectrum.of(neurons, signs)
    Q, lengths = spectrum.vectors, neurons.norm(dim=1)
    inside = X @ Q
    linear = 0.5 * b * ((signs * lengths) @ neurons @ Q)
    slope = a * spectrum.values * inside
    half = slope + linear
    constant = c * (signs * lengths * lengths).sum()
    margins = labels * (((half + linear) * inside).sum(dim=1) + constant)
    # What rounding may have added to T and to these sums, as in `PolynomialNetwork`.
    size = 2.0 * float((lengths * lengths).sum()) * (1.0 + neurons.shape[0] ** 0.5 / 4.0)
    uncertainty = (4.0 + X.shape[1] ** 0.5) * EPS * size * max(abs(a), 0.5 * abs(b), abs(c))
    reach = X.norm(dim=1) + radius
    margins = margins - uncertainty * (reach * reach + 1.0)
    points = X.clone()
    for side in (1.0, -1.0):
        rows = torch.nonzero((labels == side) & (radius > 0.0)).flatten()
        if rows.numel() == 0 or neurons.shape[0] == 0:
            continue
        # Outside the span the curvature is 0, which matters nowhere: lam >= 0 anyway.
        shared = _ascending(side * a * spectrum.values)
        found = minimize_in_ball(shared, side * half[rows], radius[rows])
        points[rows] += found.points @ Q.T
        margins[rows] += found.dual
    return margins, points


def _ascending(values: Tensor) -> Decomposition:
    """A diagonal matrix as a decomposition; the values are sorted, in either direction."""
    vectors = torch.eye(values.numel(), dtype=values.dtype, device=values.device)
    if values.numel() and bool(values[0] > values[-1]):
        return Decomposition(values.flip(0), vectors.flip(1).contiguous())
    return Decomposition(values, vectors)
