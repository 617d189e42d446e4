"""Cones of activation patterns: which hold a neuron under attack, and vectors well inside.

With the sides s_i = 2 g_i - 1 of a pattern g, radii r_i and the dual norm N of the attack (a bias left out), the cone
of the pattern is ``{u : s_i x_i'u >= r_i N(u) for all i}``. It is convex: each slack ``s_i x_i'u - r_i N(u)`` is
concave and positively homogeneous, hence superadditive. Samples that are 0 leave ``r_i N(u) <= 0``: attacks see
nothing of u. Where boxes are cut off, ``r_i N`` is the norm of each sample's own.
"""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall

Array = NDArray[np.float64]
Patterns = NDArray[np.bool_]

THIN = 1e-10
"""Margin, relative to the size of the vector, at or below which a cone has no interior but rounding."""

NEAR = 0.9
"""Fraction of the largest margin that is enough for a vector well inside."""

ROUNDS = 500
"""Most rounds of cuts; a cone that is undecided then has hardly any interior."""

SLIGHT = 1e-9
"""Activations, and violations of constraints, of vectors in a unit box that count as errors of a linear programme."""


@dataclass(frozen=True)
class ConeInterior:
    """A vector well inside the cone of a pattern.

    Args:
        direction: The vector e, shape (D,), of length 1 up to rounding.
        margin: ``min (s_i x_i'e - r_i N(e)) / ||x_i||_2`` over the samples that are not 0; positive, infinite if all
            are 0.
    """

    direction: Array
    margin: float


@dataclass(frozen=True)
class GateCone:
    """The cone of a pattern, its constraints divided by the lengths of the samples; those that are 0 left out.

    Args:
        turned: ``s_i x_i / ||x_i||_2``, shape (m, D); without what attacks see of it where the cone is flat.
        attack: The attacks, their radii divided likewise: ``r_i / ||x_i||_2``, shape (m,).
        flat: Whether some sample is 0 and attacked, so that of every vector of the cone attacks there see nothing,
            ``N(u) = 0``. Its interior is then that within these vectors.
        there: The attacks on samples that are 0.
    """

    turned: Array
    attack: AttackBall
    flat: bool
    there: AttackBall

    @classmethod
    def of(cls, X: Array, pattern: Patterns, attack: AttackBall) -> Self:
        """The cone of a pattern of shape (n,)."""
        sizes = np.linalg.norm(X, axis=1)
        some = sizes > 0.0
        sides = np.where(pattern[some], 1.0, -1.0) / sizes[some]
        near, there = attack.of(some), attack.of(~some).together
        near, turned = replace(near, radius=near.radius / sizes[some]), sides[:, None] * X[some]
        return cls(there.unseen(turned) if there.present else turned, near, there.present, there)

    def slacks(self, u: Array) -> Array:
        """``(s_i x_i'u - r_i N(u)) / ||x_i||``; u is in the cone if none is negative (and N(u) = 0 if it is flat)."""
        return np.asarray(self.turned @ u - self.attack.reaches(u))

    def cuts(self, u: Array, rows: NDArray[np.intp]) -> Array:
        """Rows a with ``a'v >= slack_i(v)`` for every v, equality at v = u; shape (rows.size, D)."""
        a: Array = self.turned[rows].copy()
        if d := self.attack.attackable:
            a[:, :d] -= self.attack.extent[rows] * self.attack.maximiser(u)
        return a


def interior(X: Array, pattern: Patterns, attack: AttackBall) -> ConeInterior | None:
    """A vector whose margin is at least `NEAR` of the largest; None if the cone has no interior.

    The largest of ``min_i slack_i(u)`` over ``||u||_2 <= 1`` is the distance from 0 to the convex hull of all cuts, and
    the nearest point of the hull is its u. The hull of a few cuts bounds it from above; the vector that this gives is
    judged by its own slacks, which bound it from below, and supplies further cuts (Wolfe 1976, Finding the nearest
    point in a polytope, with all corrections in one step).

    Args:
        X: Inputs, shape (n, D).
        pattern: Shape (n,).
        attack: The attacks on each sample.
    """
    return well_inside(GateCone.of(X, pattern, attack))


def interiors(X: Array, patterns: Patterns, attack: AttackBall) -> list[ConeInterior | None]:
    """`interior` for every column of patterns, shape (n, P)."""
    return [interior(X, pattern, attack) for pattern in patterns.T]


def well_inside(cone: GateCone) -> ConeInterior | None:
    """`interior` of a cone."""
    return _search(cone)[0]


def can_carry(X: Array, pattern: Patterns, attack: AttackBall) -> bool:
    """Whether the cone of a pattern holds a vector that is active, ``x_i'u > 0``, at some sample of the pattern.

    So it is where the cone has an interior. Otherwise it may still hold vectors on the boundary of some constraints,
    for example those orthogonal to two opposite samples that share a gate: linear programmes over more and more cuts
    look for the largest sum of activations in a box.

    Args:
        X: Inputs, shape (n, D).
        pattern: Shape (n,).
        attack: The attacks on each sample.
    """
    opened = pattern[np.linalg.norm(X, axis=1) > 0.0]
    if not opened.any():
        return False
    cone = GateCone.of(X, pattern, attack)
    found, cuts = _search(cone)
    return found is not None or _is_active(cone, cone.turned[opened].sum(axis=0), cuts)


def nonnegative_weights(A: Array, b: Array) -> Array:
    """``argmin ||A y - b||`` over y >= 0 (Lawson and Hanson 1974, Solving least squares problems, Sec. 23.3)."""
    from scipy.optimize import lsq_linear, nnls  # slow to import, and not every problem has cones

    try:
        return np.asarray(nnls(A, b, maxiter=30 * A.shape[1] + 100)[0])
    except RuntimeError:  # it may cycle where columns are nearly dependent
        return np.maximum(lsq_linear(A, b, bounds=(0.0, np.inf), method="bvls", tol=1e-15).x, 0.0)


def _search(cone: GateCone) -> tuple[ConeInterior | None, Array]:
    """What `interior` answers, and the cuts that bound the margin."""
    m, D = cone.turned.shape
    cuts = np.empty((0, D))
    if cone.flat and not cone.turned.any():
        return None, cuts
    if m == 0:
        return ConeInterior(np.eye(D)[0], np.inf), cuts
    u, bound = unit_rows(cone.turned.sum(axis=0)[None])[0], np.inf
    best, margin = u, -np.inf
    for _ in range(ROUNDS):
        slacks = cone.slacks(u)
        if (least := float(slacks.min())) > margin:
            best, margin = u, least
        if margin >= NEAR * bound or bound <= THIN:
            break
        cuts = np.vstack([cuts, cone.cuts(u, lowest(slacks, D + 1, bound))])
        point, cuts = _nearest_point(cuts)
        u, bound = unit_rows(point[None])[0], float(np.linalg.norm(point))
    return ConeInterior(best, margin) if margin > THIN else None, cuts


def lowest(slacks: Array, most: int, limit: float) -> NDArray[np.intp]:
    """Places of the smallest slacks, at most so many, of those below a limit."""
    order = np.argsort(slacks, kind="stable")[:most]
    return np.asarray(order[slacks[order] < limit])


def _nearest_point(cuts: Array) -> tuple[Array, Array]:
    """The point nearest to 0 in the convex hull of the rows, and the rows that it combines.

    For weights y of a given direction the minimum of ``||C'y||^2 + (sum y - 1)^2`` grows with the distance from 0 of
    the point that they stand for, so that the best direction is that of the nearest point.
    """
    D = cuts.shape[1]
    weights = nonnegative_weights(np.vstack([cuts.T, np.ones(len(cuts))]), np.eye(D + 1)[D])
    used = weights > 0.0
    return weights[used] @ cuts[used] / weights[used].sum(), cuts[used]


def _is_active(cone: GateCone, effect: Array, cuts: Array) -> bool:
    """Whether ``effect'u`` is positive somewhere in a cone that the cuts contain."""
    from scipy.optimize import linprog  # slow to import, and not every problem has cones

    D = effect.size
    seen = cone.there.axes(D).toarray() if cone.flat else np.empty((0, D))
    for _ in range(ROUNDS):
        found = linprog(
            -effect,
            A_ub=-cuts,
            b_ub=np.zeros(len(cuts)),
            A_eq=seen,
            b_eq=np.zeros(len(seen)),
            bounds=(-1.0, 1.0),
            options={"primal_feasibility_tolerance": 0.1 * SLIGHT, "dual_feasibility_tolerance": 0.1 * SLIGHT},
        )
        if found.x is None or effect @ found.x <= SLIGHT * len(cone.turned):
            return False
        slacks = cone.slacks(found.x)
        violated = lowest(slacks, D + 1, -SLIGHT)
        if violated.size == 0:
            return True
        cuts = np.vstack([cuts, cone.cuts(found.x, violated)])
    return True  # nothing has ruled it out


def unit_rows(A: Array) -> Array:
    """Each row divided by its length; rows of zeros stay."""
    size = np.linalg.norm(A, axis=1, keepdims=True)
    return np.asarray(A / np.where(size > 0.0, size, 1.0))
