"""Trust-region subproblems that share one matrix, solved exactly for whole batches.

    min_D  D'P D + 2 g'D    over the ball ||D|| <= r  or the sphere ||D|| = r,

for one symmetric P and many (g, r). One eigendecomposition of P serves every g; each then needs the root of a scalar
secular equation (Moré and Sorensen 1983, *Computing a trust region step*, SIAM J. Sci. Stat. Comput. 4; Conn, Gould and
Toint 2000, *Trust-Region Methods*, ch. 7). For any multiplier ``lam >= max(0, -lambda_min(P))`` (no sign condition
on the sphere) the dual value ``-lam r^2 - g'(P + lam I)^-1 g`` is a lower bound, so every answer certifies itself.

Everything runs on NumPy arrays and on torch tensors of any device alike (array API); arithmetic is float64. Points and
values are exact to rounding because the multiplier is kept as ``mu = lam + lambda_min(P)``, which stays accurate where
lam approaches the singular end (the hard and nearly hard cases).
"""

from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from cvxrobust.core.arrays import worth_a_look

Array = Any
"""A NumPy array or a torch tensor of float64."""

EPS = 2.0**-52
NEWTON_STEPS = 100


@dataclass(frozen=True)
class Decomposition:
    """Eigenvalues of P in ascending order, shape (d,), and eigenvectors in columns, shape (d, d)."""

    values: Array
    vectors: Array


@dataclass(frozen=True)
class TrustRegionSolution:
    """Solutions of a batch of n trust-region subproblems.

    Args:
        points: Minimisers, shape (n, d), of norm at most r.
        primal: Objective at the points, shape (n,).
        dual: Lower bounds of the minima, shape (n,), with what rounding may have cost already subtracted.
        multiplier: The multipliers lam, shape (n,).
        interior: Whether the minimiser lies inside the ball, shape (n,), bool.
        hard: Whether the minimiser needed a step along the lowest eigenvector (hard case), shape (n,), bool.
    """

    points: Array
    primal: Array
    dual: Array
    multiplier: Array
    interior: Array
    hard: Array


def decompose(P: Array) -> Decomposition:
    """Eigendecomposition of a symmetric matrix, shape (d, d), to be shared by several calls."""
    xp = array_namespace(P)
    values, vectors = xp.linalg.eigh(P)
    return Decomposition(values, vectors)


def minimize_in_ball(P: Array | Decomposition, g: Array, radius: Array) -> TrustRegionSolution:
    """Minimise ``D'P D + 2 g'D`` over ``||D|| <= radius`` for every row of g.

    Args:
        P: Symmetric, shape (d, d), or its `Decomposition`.
        g: Half gradients at the centre, shape (n, d).
        radius: Radii, shape (n,), 0 or more.
    """
    return _solve(P, g, radius, sphere=False)


def minimize_on_sphere(P: Array | Decomposition, g: Array, radius: Array | None = None) -> TrustRegionSolution:
    """Minimise ``D'P D + 2 g'D`` over ``||D|| = radius`` (1 by default) for every row of g.

    Args:
        P: Symmetric, shape (d, d), or its `Decomposition`.
        g: Shape (n, d).
        radius: Radii, shape (n,), positive; None for the unit sphere.
    """
    xp = array_namespace(g)
    return _solve(P, g, xp.ones_like(g[:, 0]) if radius is None else radius, sphere=True)


def _solve(P: Array | Decomposition, g: Array, radius: Array, sphere: bool) -> TrustRegionSolution:
    xp = array_namespace(g)
    shared = P if isinstance(P, Decomposition) else decompose(P)
    values, vectors = shared.values, shared.vectors
    # In units of the radius and of the largest coefficient nothing can overflow, and tolerances are relative.
    h = (g @ vectors) * radius[:, None]
    curvature = values[None, :] * (radius * radius)[:, None]
    size = xp.maximum(xp.max(xp.abs(curvature), axis=1), xp.max(xp.abs(h), axis=1))
    safe = xp.where(size > 0.0, size, xp.ones_like(size))
    h, curvature = h / safe[:, None], curvature / safe[:, None]
    # Below this a component cannot move any digit of the answer, but its square would underflow.
    h = xp.where(xp.abs(h) < 1e-140, xp.zeros_like(h), h)
    lowest = curvature[:, 0]
    gaps = curvature - lowest[:, None]

    mu, interior = _secular_root(xp, h, gaps, lowest, sphere)
    step = _step(xp, h, gaps, mu)
    length = _length(xp, step)
    hard = ~interior & (length < 1.0) & (mu == 0.0)
    # The rest of the way to the sphere goes along the lowest eigenvector, where it costs nothing.
    first = step[:, 0]
    missing = xp.sqrt(xp.maximum(1.0 - (length * length - first * first), xp.zeros_like(first)))
    first = xp.where(hard, xp.where(first < 0.0, -missing, missing), first)
    step = xp.concat([first[:, None], step[:, 1:]], axis=1)
    length = _length(xp, step)
    outside = (length > 0.0) if sphere else (length > 1.0)
    step = step / xp.where(outside, length, xp.ones_like(length))[:, None]

    lam = mu - lowest
    primal = xp.sum(curvature * step * step + 2.0 * h * step, axis=1)
    dual = xp.minimum(_dual_value(xp, h, gaps, mu, lam, curvature), primal)
    points = (step * radius[:, None]) @ vectors.T
    multiplier = lam * size / xp.where(radius > 0.0, radius * radius, xp.ones_like(radius))
    return TrustRegionSolution(points, primal * size, dual * size, multiplier, interior, hard)


def _dual_value(xp: Any, h: Array, gaps: Array, mu: Array, lam: Array, curvature: Array) -> Array:
    """``-lam - h'(P + lam)^-1 h``, less what rounding in eigh and in ``g @ vectors`` may have cost."""
    shifted = gaps + mu[:, None]
    safe = xp.where(shifted > 0.0, shifted, xp.ones_like(shifted))
    terms = xp.sum(h * h / safe, axis=1)
    # The error of eigh costs its norm on the whole ball, and less where P + lam is safely positive, because the
    # minimiser is then shorter.
    error = _eigh_error(xp, curvature)
    safely = mu > 4.0 * error
    relative = 2.0 * error * terms / xp.where(safely, mu, xp.ones_like(mu))
    error = xp.where(safely & (relative < error), relative, error)
    length = xp.minimum(_length(xp, h / safe), xp.ones_like(mu))
    error = error + 2.0 * EPS * (xp.abs(lam) + terms + _length(xp, h) * length)
    return -terms - lam - error


def _eigh_error(xp: Any, values: Array) -> Array:
    """``||E||`` of the P + E that eigh decomposed exactly: it is backward stable, so a few eps ||P||."""
    return (4.0 + values.shape[-1] ** 0.5) * EPS * xp.max(xp.abs(values), axis=-1)


def _length(xp: Any, rows: Array) -> Array:
    return xp.sqrt(xp.sum(rows * rows, axis=1))


def _step(xp: Any, h: Array, gaps: Array, mu: Array) -> Array:
    shifted = gaps + mu[:, None]
    usable = (h != 0.0) & (shifted > 0.0)
    return xp.where(usable, -h / xp.where(usable, shifted, xp.ones_like(shifted)), xp.zeros_like(h))


def _secular_root(xp: Any, h: Array, gaps: Array, lowest: Array, sphere: bool) -> tuple[Array, Array]:
    """``mu >= max(0, lowest)`` (``>= 0`` on the sphere) with ``||step(mu)|| = 1``, or the end of that range.

    ``1 / ||step||`` is concave and increasing in mu, so Newton's method from the left converges monotonically; a
    bracket guards against rounding, with bisection in the logarithm because nearly hard cases have tiny roots.
    """
    zero = xp.zeros_like(lowest)
    floor = zero if sphere else xp.maximum(lowest, zero)
    # Every single component must fit into the ball, which is a sharp lower end in the nearly hard case.
    low = xp.maximum(xp.max(xp.abs(h) - gaps, axis=1), floor)
    high = xp.maximum(xp.sqrt(xp.sum(h * h, axis=1)), low)
    at_floor = _norm(xp, h, gaps, floor)
    # No root beyond the floor: an interior minimiser, or the hard case.
    done = at_floor <= 1.0
    interior = done & (lowest > 0.0) & (not sphere)
    mu = xp.where(done, floor, low)
    for step in range(NEWTON_STEPS):
        if worth_a_look(step, done) and bool(xp.all(done)):
            break
        length, slope = _norm_and_slope(xp, h, gaps, mu)
        low = xp.where(~done & (length >= 1.0), mu, low)
        high = xp.where(~done & (length < 1.0), mu, high)
        # Newton on 1 / length - 1.
        following = mu + (length - 1.0) * length * length / xp.where(slope > 0.0, slope, xp.ones_like(slope))
        middle = xp.where(low > 0.0, xp.sqrt(low) * xp.sqrt(high), 1e-3 * high)
        following = xp.where((following > low) & (following < high), following, middle)
        done = done | (xp.abs(length - 1.0) <= 4.0 * EPS) | (high - low <= 4.0 * EPS * high)
        mu = xp.where(done, mu, following)
    return mu, interior


def _norm(xp: Any, h: Array, gaps: Array, mu: Array) -> Array:
    shifted = gaps + mu[:, None]
    blocked = xp.any((shifted <= 0.0) & (h != 0.0), axis=1)
    length = _length(xp, _step(xp, h, gaps, mu))
    return xp.where(blocked, xp.full_like(length, xp.inf), length)


def _norm_and_slope(xp: Any, h: Array, gaps: Array, mu: Array) -> tuple[Array, Array]:
    """The length of the step and ``sum step^2 / shifted``, minus half the derivative of its square."""
    shifted = gaps + mu[:, None]
    safe = xp.where(shifted > 0.0, shifted, xp.ones_like(shifted))
    step = xp.where((h != 0.0) & (shifted > 0.0), h / safe, xp.zeros_like(h))
    square = step * step
    return xp.sqrt(xp.sum(square, axis=1)), xp.sum(square / safe, axis=1)


@dataclass(frozen=True)
class BoundaryDistance:
    """Shortest steps to the zero set of a batch of quadratics.

    Args:
        steps: The shortest D with ``q(D) = 0``, shape (n, d); NaN where there is none.
        distance: Its length, shape (n,); inf where there is none.
        lower: A lower bound of the distance from the dual, shape (n,), with what rounding may have cost already
            subtracted: finite, though huge, where rounding leaves open whether there is a D at all.
    """

    steps: Array
    distance: Array
    lower: Array


def distance_to_zero(P: Array | Decomposition, g: Array, value: Array, uncertainty: float = 0.0) -> BoundaryDistance:
    """The shortest D with ``q(D) = value + 2 g'D + D'P D = 0``, exactly, for every row of g.

    The minimiser lies on the path ``D(lam) = -(P + lam)^-1 g`` of the trust-region problem, where q increases with
    lam; by the S-lemma the dual ``max_lam (|value| - g'(P + lam)^-1 g) / lam`` equals the squared distance.

    Args:
        P: Symmetric, shape (d, d), or its `Decomposition`.
        g: Half gradients at the centre, shape (n, d).
        value: Values at the centre, shape (n,), of either sign.
        uncertainty: How far, in norm, the given P may be from the one that is meant; `lower` allows for it.
    """
    xp = array_namespace(g)
    shared = P if isinstance(P, Decomposition) else decompose(P)
    # A negative value is a positive one of -q; reversing keeps the eigenvalues ascending.
    positive, zero = (value > 0.0)[:, None], xp.zeros_like(value)
    h = g @ shared.vectors
    w = xp.where(positive, shared.values, -xp.flip(shared.values))
    h = xp.where(positive, h, -xp.flip(h, axis=1))
    there = value == 0.0
    step, distance, lower = _distance_from_above(
        xp, w, h, xp.where(there, xp.ones_like(value), abs(value)), uncertainty
    )
    steps = xp.where(positive, step, xp.flip(step, axis=1)) @ shared.vectors.T
    steps = xp.where(there[:, None], xp.zeros_like(steps), steps)
    return BoundaryDistance(steps, xp.where(there, zero, distance), xp.where(there, zero, lower))


def _distance_from_above(
    xp: Any, values: Array, h: Array, value: Array, uncertainty: float
) -> tuple[Array, Array, Array]:
    """Of positive values, in the eigenvectors of each row's P: values and h have shape (n, d)."""
    # Units in which the value is 1 and the largest coefficient is 1.
    w = values / value[:, None]
    h = h / value[:, None]
    tiny = 1e-150
    unit = 1.0 / xp.maximum(
        xp.maximum(xp.sqrt(xp.max(xp.abs(w), axis=1)), xp.max(xp.abs(h), axis=1)), tiny * xp.ones_like(value)
    )
    error = (uncertainty + _eigh_error(xp, values)) / value * (unit * unit)
    w, h = w * (unit * unit)[:, None], h * unit[:, None]
    h = xp.where(xp.abs(h) < 1e-140, xp.zeros_like(h), h)
    lowest = w[:, 0]
    gaps = w - lowest[:, None]
    zero, one = xp.zeros_like(lowest), xp.ones_like(lowest)
    floor = xp.maximum(lowest, zero)

    at_floor, _ = _path(xp, h, gaps, lowest, floor)
    # With the lowest curvature negative a step along its eigenvector always gets there; otherwise q may stay positive.
    hard = (at_floor >= 0.0) & (lowest < 0.0)
    never = (at_floor > 0.0) & (lowest >= 0.0)
    done = hard | never
    low = floor
    high = 3.0 * xp.sum(h * h, axis=1) + 3.0 * xp.abs(lowest) + floor
    mu = xp.where(done, floor, high)
    for trial in range(2 * NEWTON_STEPS):
        if worth_a_look(trial, done) and bool(xp.all(done)):
            break
        q, slope = _path(xp, h, gaps, lowest, mu)
        low = xp.where(~done & (q <= 0.0), mu, low)
        high = xp.where(~done & (q > 0.0), mu, high)
        newton = mu - q / xp.where(slope > 0.0, slope, one)
        # From a positive lower end bisect in the logarithm: the root may be many orders below the upper end.
        middle = xp.where(low > 0.0, xp.sqrt(low) * xp.sqrt(high), 1e-3 * high)
        following = xp.where((newton > low) & (newton < high) & (slope > 0.0), newton, middle)
        done = done | (xp.abs(q) <= 8.0 * EPS) | (high - low <= 4.0 * EPS * high)
        mu = xp.where(done, mu, following)

    step = _step(xp, h, gaps, mu)
    extra = xp.sqrt(xp.where(hard, at_floor / xp.where(hard, -lowest, one), zero))
    first = step[:, 0]
    # After the hard case's regular part, the lowest component solves a quadratic without linear term.
    step = xp.concat(
        [xp.where(hard, first + xp.where(first < 0.0, -extra, extra), first)[:, None], step[:, 1:]], axis=1
    )
    length = xp.where(never, xp.full_like(mu, xp.inf), _length(xp, step))
    # Where q only just touches zero lam vanishes; a somewhat larger one then proves more in spite of rounding.
    lower = zero
    for following in (mu, mu + 2.0**-26 * xp.max(xp.abs(w), axis=1)):
        lower = xp.maximum(lower, _distance_bound(xp, h, gaps + following[:, None], following - lowest + error))
    # No multiplier at all is needed where every matrix within the error is positive semidefinite.
    definite = lowest >= error
    unpriced = _distance_bound(xp, h, xp.where(definite[:, None], w - error[:, None], gaps), zero)
    lower = xp.minimum(xp.where(definite, xp.maximum(lower, unpriced), lower), length)
    return xp.where(never[:, None], xp.full_like(step, xp.nan), step * unit[:, None]), length * unit, lower * unit


def _distance_bound(xp: Any, h: Array, shifted: Array, lam: Array) -> Array:
    """``sqrt((1 - h'(P + lam)^-1 h) / lam)`` from the eigenvalues of P + lam, or of less; inf if lam is 0."""
    usable = xp.all((shifted > 0.0) | (h == 0.0), axis=1)
    step = xp.where(h != 0.0, h / xp.where(shifted > 0.0, shifted, xp.ones_like(shifted)), xp.zeros_like(h))
    terms = xp.sum(h * step, axis=1)
    rounding = (8.0 + h.shape[1] ** 0.5) * EPS * (1.0 + terms + _length(xp, h) * _length(xp, step))
    slack = 1.0 - terms - rounding
    bound = xp.sqrt(xp.maximum(slack, xp.zeros_like(lam)) / xp.where(lam > 0.0, lam, xp.ones_like(lam)))
    bound = xp.where((lam <= 0.0) & (slack > 0.0), xp.full_like(lam, xp.inf), bound)
    return xp.where(usable, bound, xp.zeros_like(lam))


def _path(xp: Any, h: Array, gaps: Array, lowest: Array, mu: Array) -> tuple[Array, Array]:
    """``1 + 2 h'D + D'w D`` at D(mu), summed so that no digits cancel, and its slope in mu."""
    shifted = gaps + mu[:, None]
    usable = shifted > 0.0
    safe = xp.where(usable, shifted, xp.ones_like(shifted))
    step = xp.where(usable, h / safe, xp.zeros_like(h))
    squares, away = step * step, mu - lowest
    value = 1.0 - xp.sum(squares * (shifted + away[:, None]), axis=1)
    blocked = xp.any(~usable & (h != 0.0), axis=1)
    return xp.where(blocked, xp.full_like(value, -xp.inf), value), 2.0 * away * xp.sum(squares / safe, axis=1)
