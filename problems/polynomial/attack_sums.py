"""What multipliers of any kind come to: made feasible, the signed second moments of their attacks."""

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.losses.base import Loss
from cvxrobust.core.programs.polynomial.certificate import (
    MomentMultipliers,
    PointMultipliers,
    reach_of,
    repair_moments,
    repair_points,
    shift_moments,
)
from cvxrobust.core.programs.polynomial.moments import (
    AttackMultipliers,
    AttackSums,
    SecondMoments,
    SidedMultipliers,
    repaired_theta,
    span_moments,
)
from cvxrobust.core.programs.rows import Rows

Array = NDArray[np.float64]
Multipliers = PointMultipliers | MomentMultipliers | AttackMultipliers | SidedMultipliers


def attack_sums(
    multipliers: Multipliers, X: Array | Rows, signs: Array, attack: AttackBall, loss: Loss, *, precise: bool
) -> AttackSums:
    """Multipliers repaired, and their sums.

    Args:
        multipliers: Of any origin.
        X: Shape (n, d).
        signs: Labels as signs of the output, shape (n,).
        attack: The attacks on each sample.
        loss: The loss.
        precise: Whether to sum to twice the working precision, attacks that are moments or in a span left out.
    """
    if isinstance(multipliers, MomentMultipliers):
        theta, moments = repair_moments(multipliers, attack, loss)
        return AttackSums(theta, *shift_moments(moments, X, signs, attack.spanned(multipliers.basis), precise=precise))
    if not isinstance(multipliers, PointMultipliers):
        return span_moments(multipliers, X, signs, attack, loss, precise=precise)
    theta, weights, points = repair_points(multipliers, X, attack, loss)
    sums = SecondMoments(np.empty((points.shape[1], 0)), precise)
    sums.add(points, weights * signs[multipliers.owners])
    reach = None if loss.margin else reach_of(multipliers.owners, weights, X.shape[0])
    return AttackSums(theta, sums.matrix(), sums.mass, sums.error, reach)


def sample_sums(multipliers: Multipliers, X: Array, signs: Array, loss: Loss, *, precise: bool) -> AttackSums:
    """The same where nothing is attacked: multipliers are one number per sample, whatever they say of points."""
    if isinstance(multipliers, PointMultipliers):
        weights = np.where(np.isfinite(multipliers.weights), multipliers.weights, 0.0)
        given = np.bincount(multipliers.owners, weights, minlength=X.shape[0]).astype(np.float64)
    elif isinstance(multipliers, MomentMultipliers):
        given = multipliers.moments[:, -1, -1]
    elif isinstance(multipliers, SidedMultipliers):
        given = multipliers.down.theta - multipliers.up.theta
    else:
        given = multipliers.theta
    theta = repaired_theta(given, loss)
    sums = SecondMoments(np.empty((X.shape[1], 0)), precise)
    sums.add(X, theta * signs)
    return AttackSums(theta, sums.matrix(), sums.mass, sums.error)
