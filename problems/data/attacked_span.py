"""The span of the rows where attacks go in few directions of their own: with these, all that networks are asked.

Attacks ``D = S e`` see S'v of a vector v. Where S has few columns (directions, a covariance of low rank, a mask that
leaves few inputs open), the span of the rows of X and of the columns of S does as the span of the rows does without
attack, and attacks there are those of V'S: they never leave it.

Where S is a diagonal that is the same for all inputs but a few (a mask that leaves few inputs alone), orthogonal maps
of what lies in the many, orthogonal to the rows, leave data, attacks and 2-norms alone, as they do in balls: the span
of the rows in the many does, beside the few as they are. Of inputs that attacks cannot touch there may be many, too:
orthogonal maps of what lies in them, orthogonal to the rows, leave all that alone as well. Of these the span of the
rows does, and one direction more, which nothing meets: it has what networks that are averaged over these maps have
outside it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.problems.data.row_span import EPS, PAYS, RowSpan, row_span

Array = NDArray[np.float64]
Index = NDArray[np.intp]

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
    scale = np.asarray(attack.ellipsoid.scale)
    alike, still, others = (np.flatnonzero(part) for part in masks(scale, common))
    inner, idle = row_span(np.ascontiguousarray(X[:, alike]), further), _still_span(X, still)
    if idle is None:
        still, others = np.arange(0), np.union1d(others, still)
    if inner is None or others.size > few_directions(X, further):
        return None
    return _side_by_side(X, (inner, alike), (idle, still), others)


def masks(scale: Array, common: float) -> tuple[Array, Array, Array]:
    """Inputs of the scale that most have, those that attacks cannot touch, and all others, each shape (d,), bool."""
    alike, still = scale == common, scale == 0.0
    return alike, still, ~(alike | still)


def _still_span(X: Array, still: Index) -> RowSpan | None:
    """The span of what the rows have of inputs that attacks cannot touch, if fewer coordinates are worth it."""
    own = np.ascontiguousarray(X[:, still])
    if still.size > 1 and not own.any():
        return RowSpan(np.empty((still.size, 0)), np.empty((X.shape[0], 0)), np.zeros(X.shape[0]), 0.0)
    return row_span(own, further=1) if still.size else None


def _side_by_side(
    X: Array, alike: tuple[RowSpan, Index], still: tuple[RowSpan | None, Index], others: Index
) -> RowSpan:
    """The spans of two kinds of inputs, each as it is in all of them, and further inputs as they are."""
    (first, own), (second, fixed) = alike, still
    parts = [(own, first.basis), (others, np.eye(others.size))]
    coordinates, rest, idle = [first.coordinates, X[:, others]], first.rest, None
    if second is not None:
        parts += [(fixed, second.basis), (fixed, second.normal[:, None])]
        coordinates += [second.coordinates, np.zeros((X.shape[0], 1))]
        rest, idle = np.hypot(rest, second.rest) * (1.0 + 4.0 * EPS), sum(part.shape[1] for _, part in parts) - 1
    basis = np.zeros((X.shape[1], sum(part.shape[1] for _, part in parts)))
    place = 0
    for inputs, part in parts:
        basis[inputs, place : place + part.shape[1]] = part
        place += part.shape[1]
    skew = max(first.skew, 0.0 if second is None else second.skew + 2.0 * _overlap(second))
    alone = None if second is None else own
    return RowSpan(basis, np.hstack(coordinates), rest, skew, alone, idle)


def _overlap(span: RowSpan) -> float:
    """At least how far from orthonormal to the basis the direction outside a span may be."""
    normal = span.normal
    return float(np.linalg.norm(normal @ span.basis) + abs(normal @ normal - 1.0)) + (8.0 + span.rank) * EPS


def few_directions(X: Array, further: int = 0) -> float:
    """How many directions of their own attacks may have at most for their span to be worth looking for."""
    n, d = X.shape
    return float(min(PAYS * d - further, max(MOST_DIRECTIONS, n)))


def directions_of_their_own(attack: AttackBall) -> int:
    """How many coordinates attacks want beside the span of the rows."""
    if attack.isotropic or attack.ellipsoid is None:
        return 0
    common = common_scale(attack)
    if common == 0.0:
        return attack.dimension
    return int(np.count_nonzero(masks(np.asarray(attack.ellipsoid.scale), common)[2]))


def common_scale(attack: AttackBall) -> float:
    """The scale that most inputs have that attacks can touch; 0 where S is no diagonal, or the identity."""
    if attack.ellipsoid is None or attack.ellipsoid.scale is None or not attack.ellipsoid.rank:
        return 0.0
    scales, counts = np.unique(attack.ellipsoid.lengths, return_counts=True)
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
