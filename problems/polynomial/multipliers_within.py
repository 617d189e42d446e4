"""Multipliers on attacks on all inputs as multipliers in the span of the rows, where problems are written in it.

Solvers answer in the coordinates of the programmes (`cvxrobust.problems.polynomial.coordinates`), and what they say is
taken as it is. Whoever says something of the inputs is told by the width. Of what lies outside the span, a bound needs
to know how large it is alone.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.programs.polynomial.certificate import MomentMultipliers, PointMultipliers
from cvxrobust.core.programs.polynomial.moments import AttackMultipliers, SidedMultipliers
from cvxrobust.problems.data.row_span import RowSpan
from cvxrobust.problems.polynomial.attack_sums import Multipliers
from cvxrobust.problems.polynomial.coordinates import leaves, points_within, span_of_ball

Array = NDArray[np.float64]


def multipliers_within(span: RowSpan, X: Array, multipliers: Multipliers, attack: AttackBall) -> Multipliers:
    """The same in the coordinates of the programmes.

    Args:
        span: The span.
        X: The inputs, shape (n, d).
        multipliers: Of points, moments or attacks, in these coordinates or in the inputs.
        attack: The attacks on the inputs; where they never leave the span, their coordinates are always their own.
    """
    d, leaving = X.shape[1], leaves(span, attack)
    with np.errstate(over="ignore", invalid="ignore"):  # of strangers, they may be anything
        if isinstance(multipliers, PointMultipliers):
            points = multipliers.points
            if points.shape[1] != d:
                return multipliers
            return replace(multipliers, points=points_within(span, points, leaving=leaving))
        if not leaving:
            return multipliers
        span = span_of_ball(span, attack)
        if isinstance(multipliers, SidedMultipliers):
            return SidedMultipliers(*(_attacks_within(span, X, one) for one in (multipliers.down, multipliers.up)))
        if not isinstance(multipliers, MomentMultipliers):
            return _attacks_within(span, X, multipliers)
        basis = multipliers.basis
        width = multipliers.moments.shape[1] - 1 if basis is None else basis.shape[0]
        return _moments_within(span, multipliers.moments, basis) if width == span.basis.shape[0] else multipliers


def _attacks_within(span: RowSpan, X: Array, attacks: AttackMultipliers) -> AttackMultipliers:
    return AttacksWithin(attacks, span, X) if attacks.basis.shape[0] == span.basis.shape[0] else attacks


def _moments_within(span: RowSpan, moments: Array, basis: Array | None) -> MomentMultipliers:
    """Moments of attacks ``D = basis z`` on the inputs."""
    k = span.rank
    inside = span.basis.T if basis is None else span.projected(basis.T).T
    outside = span.complement.rest(np.eye(span.basis.shape[0]) if basis is None else basis.T)
    found = np.zeros((moments.shape[0], k + 2, k + 2))
    found[:, :k, :k] = inside @ moments[:, :-1, :-1] @ inside.T
    found[:, :k, -1] = found[:, -1, :k] = moments[:, :-1, -1] @ inside.T
    found[:, k, k] = np.einsum("ijk,jk->i", moments[:, :-1, :-1], outside @ outside.T)
    found[:, -1, -1] = moments[:, -1, -1]
    return MomentMultipliers(found)


@dataclass(frozen=True)
class AttacksWithin:
    """Random attacks on the inputs: in the span as they are, and outside it as long as they are, in any direction.

    Args:
        given: The attacks.
        span: The span.
        X: The inputs, shape (n, d).
    """

    given: AttackMultipliers
    span: RowSpan
    X: Array

    @property
    def theta(self) -> Array:
        """Multiplier of each sample, shape (n,)."""
        return self.given.theta

    @property
    def basis(self) -> Array:
        """That of the attacks, and an axis of its own for what is outside the span, shape (k + 1, j + 1)."""
        inside = self.span.projected(self.given.basis.T).T
        found = np.zeros((inside.shape[0] + 1, inside.shape[1] + 1))
        found[:-1, :-1], found[-1, -1] = inside, 1.0
        return found

    @cached_property
    def _outside(self) -> Array:
        return self.span.complement.rest(self.given.basis.T)

    def attacks(self, rows: slice, X: Array) -> tuple[Array, Array | None]:
        """Means and variances of a block; X is in the coordinates of the programmes."""
        mean, variance = self.given.attacks(rows, self.X[rows])
        with np.errstate(over="ignore", invalid="ignore"):
            square = ((mean @ self._outside) ** 2).sum(axis=1)
            if variance is not None:
                square = square + variance @ (self._outside**2).sum(axis=1)
        own = np.zeros_like(mean) if variance is None else variance
        return np.hstack([mean, np.zeros((square.size, 1))]), np.hstack([own, square[:, None]])
