"""The span of the rows where attacks go in few directions of their own: with these, all that networks are asked.

Attacks ``D = S e`` see S'v of a vector v. Where S has few columns (directions, a covariance of low rank, a mask that
leaves few inputs open), the span of the rows of X and of the columns of S does as the span of the rows does without
attack, and attacks there are those of V'S: they never leave it.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.problems.data.row_span import EPS, PAYS, RowSpan, row_span

Array = NDArray[np.float64]


def span_under(attack: AttackBall, X: Array, further: int = 0) -> RowSpan | None:
    """The span in which programmes under some attacks are written, where that is worth it; else None.

    Args:
        attack: The attacks.
        X: Inputs, shape (n, d).
        further: As for `row_span`.
    """
    if attack.isotropic:
        return row_span(X, further)
    if not attack.geometry.isotropic or attack.dimension > PAYS * X.shape[1] - further:
        return None
    found = row_span(np.vstack([X, attack.spanned(None).T]), further)
    return None if found is None else replace(found, coordinates=found.coordinates[: len(X)], rest=found.rest[: len(X)])


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
