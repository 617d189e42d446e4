"""Projection onto many exponential cones at once, on tensors.

The mathematics is that of `cvxrobust.core.conic.exponential` (Friberg 2023, *Projection onto the exponential cone: a
univariate root-finding problem*, Optimization Methods and Software 38, Theorem 3.1); what differs is the root-finder:
Newton steps inside a bracket that is halved whenever they slow down, for all cones together, in float64 always.
"""

import torch
from torch import Tensor

from cvxrobust.core.arrays import worth_a_look

LIMIT = 500.0
"""exp(LIMIT) does not overflow, and exp(-LIMIT) is nothing beside any other number here."""

STEPS = 150
"""More than bisection alone needs for [-LIMIT, LIMIT] at double precision."""

ROUNDING = 4 * torch.finfo(torch.float64).eps


def project_exponentials(z: Tensor, start: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The nearest points of ``cl{(r, s, t): s > 0, s exp(r / s) <= t}``.

    Args:
        z: Points, shape (k, 3).
        start: Ratios r / s to start the root-finder from, shape (k,), such as those of the last call.

    Returns:
        The projections, shape (k, 3) in the precision of `z`, and the ratios, shape (k,), float64.
    """
    # Regions are told apart at size 1, where a denormal number is 0 already.
    size = z.double().abs().amax(1)
    size = torch.where(size > 0, size, 1.0)
    r, s, t = (z.double() / size.unsqueeze(1)).unbind(1)
    inside = ((s > 0) & (t > 0) & (r <= s * (t.log() - s.log()))) | ((s == 0) & (r <= 0) & (t >= 0))
    polar = ((r > 0) & (t < 0) & (s <= r * (1 + (-t).log() - r.log()))) | ((r == 0) & (s <= 0) & (t <= 0))
    flat = (r <= 0) & (s <= 0)
    easy = inside | polar | flat
    nothing = torch.zeros_like(r)
    simple = torch.where(polar, nothing, size * torch.stack((r, nothing, t.clamp(min=0))))
    simple = torch.where(inside, z.double().T, simple)
    if bool(easy.all()):
        return simple.T.to(z.dtype), nothing if start is None else start
    # The easy cones follow along with a point that gives the root-finder no work worth mentioning.
    hard = [torch.where(easy, 1.0, part) for part in (r, s, t)]
    points, ratios = _boundary_points(hard[0], hard[1], hard[2], nothing if start is None else start)
    return torch.where(easy, simple, size * points).T.to(z.dtype), ratios


def _boundary_points(r: Tensor, s: Tensor, t: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Projections, shape (3, k), of points outside the cone, its polar and the flat region, all of size 1."""
    low, high = _interval(r, s)
    beyond, below = low > LIMIT, high < -LIMIT
    rho = _root(r, s, t, low.clamp(-LIMIT, LIMIT), high.clamp(-LIMIT, LIMIT), start)
    denominator = rho * rho - rho + 1
    cone = ((rho - 1) * r + s) / denominator
    polar = (r - rho * s) / denominator
    decay, growth = (-rho).exp(), rho.exp()
    # Where rho > 0, exp(rho) would magnify the rounding of a small weight, so the third coordinate comes first.
    third = (t + polar * decay).clamp(min=0)
    weight = torch.where(rho <= 0, cone.clamp(min=0), third * decay)
    point = torch.stack((weight * rho, weight, torch.where(rho <= 0, weight * growth, third)))
    # Beyond the limit one of the two exponentials vanishes, and the answer is known without a root.
    nothing = torch.zeros_like(r)
    point = torch.where(beyond, torch.stack((nothing, nothing, t.clamp(min=0))), point)
    return torch.where(below, torch.stack((r, s, nothing)), point), rho


def _interval(r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Where both parts are nonnegative: ``(rho - 1) r + s >= 0`` and ``r - rho s >= 0``."""
    from_cone, from_polar = 1 - s / r, r / s
    infinity = torch.full_like(r, torch.inf)
    low = torch.maximum(torch.where(r > 0, from_cone, -infinity), torch.where(s < 0, from_polar, -infinity))
    high = torch.minimum(torch.where(r < 0, from_cone, infinity), torch.where(s > 0, from_polar, infinity))
    return low, high


def _root(r: Tensor, s: Tensor, t: Tensor, low: Tensor, high: Tensor, start: Tensor) -> Tensor:
    """The root of the increasing ``h(rho) = a(rho) exp(rho) - c(rho) exp(-rho) - t`` in [low, high]."""
    rho = torch.minimum(torch.maximum(start, low), high)
    last, done = high - low, torch.zeros_like(r, dtype=torch.bool)
    for step in range(STEPS):
        growth, decay = rho.exp(), (-rho).exp()
        denominator, inner = rho * rho - rho + 1, 2 * rho - 1
        cone, polar = ((rho - 1) * r + s) / denominator, (r - rho * s) / denominator
        above, below = cone * growth, polar * decay
        value = above - below - t
        slope = above + below + (r - cone * inner) / denominator * growth + (s + polar * inner) / denominator * decay
        low, high = torch.where(value < 0, rho, low), torch.where(value < 0, high, rho)
        newton = torch.minimum(torch.maximum(rho - value / slope, low), high)
        # Far from the root h is an exponential, on which Newton's steps are all alike; bisection is faster there.
        fast = (newton - rho).abs() <= 0.5 * last
        following = torch.where(done, rho, torch.where(fast, newton, 0.5 * (low + high)))
        last = (following - rho).abs()
        # Where h is nothing but rounding, no step means anything.
        done |= (last <= ROUNDING * (1 + rho.abs())) | (value.abs() <= ROUNDING * (above.abs() + below.abs() + t.abs()))
        rho = following
        if worth_a_look(step, done) and bool(done.all()):
            break
    return rho
