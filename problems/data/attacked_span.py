"""The span of the rows where attacks go in few directions of their own: with these, all that networks are asked.

Attacks ``D = S e`` see S'v of a vector v. Where S has few columns (directions, a covariance of low rank, a mask that
leaves few inputs open), the span of the rows of X and of the columns of S does as the span of the rows does without
attack, and attacks there are those of V'S: they never leave it.

Where S is a diagonal that is the same for all inputs but a few (a mask that leaves few inputs alone), orthogonal maps
of what lies in the many, orthogonal to the rows, leave data, attacks and 2-norms alone, as they do in balls: the span
of the rows in the many does, beside the few as they are.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.problems.data.row_span import EPS, PAYS, RowSpan, row_span

Array = NDArray[np.float64]

MOST_DIRECTIONS = 1000
"""So many directions of attacks are searched with the rows however few these are."""


def span_under(attack: AttackBall, X: Array, further: int = 0) -> RowSpan | None:
    """The span in which programmes under some attacks are written, where that is worth it; else None.

    Args:
        attack: The attacks.
        X: Inputs, shape (n, d).
        further: As for `row_span`.
    """
    if attack.isotropic:
        return row_span(X, further)
    if not attack.geometry.isotropic or attack.dimension > few_directions(X, further):
        return None
    found = row_span(np.vstack([X, attack.spanned(None).T]), further)
    return None if found is None else replace(found, coordinates=found.coordinates[: len(X)], rest=found.rest[: len(X)])


def span_for_quadratics(attack: AttackBall, X: Array, further: int = 0) -> RowSpan | None:
    """`span_beside` or `span_under`, whichever has fewer coordinates, for networks that may be spread outside it."""
    few = not attack.isotropic and directions_of_their_own(attack) < attack.dimension
    first, second = (span_beside, span_under) if few else (span_under, span_beside)
    found = first(attack, X, further)
    return second(attack, X, further) if found is None else found


def span_beside(attack: AttackBall, X: Array, further: int = 0) -> RowSpan | None:
    """The span of the rows in inputs that attacks move alike, beside all others, where that is worth it; else None.

    Args:
        attack: The attacks, in norm 2.
        X: Inputs, shape (n, d).
        further: As for `row_span`.
    """
    common = common_scale(attack)
    if common == 0.0 or attack.ellipsoid is None:
        return None
    others = np.flatnonzero(attack.ellipsoid.scale != common)
    alike = np.setdiff1d(np.arange(X.shape[1]), others)
    if others.size > few_directions(X, further):
        return None
    inner = row_span(np.ascontiguousarray(X[:, alike]), further)
    if inner is None:
        return None
    basis = np.zeros((X.shape[1], inner.rank + others.size))
    basis[alike, : inner.rank] = inner.basis
    basis[others, inner.rank + np.arange(others.size)] = 1.0
    return RowSpan(basis, np.hstack([inner.coordinates, X[:, others]]), inner.rest, inner.skew)


def few_directions(X: Array, further: int = 0) -> float:
    """How many directions of their own attacks may have at most for their span to be worth looking for."""
    n, d = X.shape
    return float(min(PAYS * d - further, max(MOST_DIRECTIONS, n)))


def directions_of_their_own(attack: AttackBall) -> int:
    """How many coordinates attacks want beside the span of the rows."""
    if attack.isotropic or attack.ellipsoid is None:
        return 0
    common = common_scale(attack)
    others = np.count_nonzero(attack.ellipsoid.scale != common) if common > 0.0 else attack.dimension
    return min(attack.dimension, int(others))


def common_scale(attack: AttackBall) -> float:
    """The scale that most inputs have; 0 where S is no diagonal, or the identity."""
    if attack.ellipsoid is None or attack.ellipsoid.scale is None:
        return 0.0
    scales, counts = np.unique(attack.ellipsoid.scale, return_counts=True)
    return float(scales[counts.argmax()])


def uncertainty_under(attack: AttackBall, span: RowSpan) -> Array:
    """How far sums over samples and attacks in the span may be from those that are meant, see `RowSpan.uncertainty`.

    For an attack ``V'S e`` of the programme that is ``S e``, which differs from ``V V'S e`` by what S has outside.
    """
    if attack.ellipsoid is None:
        return span.uncertainty(attack.radius)
    S = attack.spanned(None).T
    missed = float(np.linalg.norm(S - span.lifted(span.projected(S))))
    missed += 8.0 * S.shape[1] * EPS * float(np.linalg.norm(S))
    return np.asarray(span.uncertainty(attack.radius * attack.euclidean_reach) + attack.radius * missed)
