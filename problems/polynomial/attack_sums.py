"""What multipliers of any kind come to: made feasible, the signed second moments of their attacks."""

from dataclasses import dataclass

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
from cvxrobust.core.programs.polynomial.moments import AttackMultipliers, SecondMoments, repaired_theta, span_moments
from cvxrobust.core.programs.rows import Rows

Array = NDArray[np.float64]
Multipliers = PointMultipliers | MomentMultipliers | AttackMultipliers


@dataclass(frozen=True)
class AttackSums:
    """Feasible multipliers, and the second moments of their attacks.

    Args:
        theta: Multiplier of each sample, in the domain of the loss's conjugate, shape (n,).
        second_moments: ``sum_k theta_k sign_k [x_k; 1][x_k; 1]'``, shape (d + 1, d + 1).
        mass: The size of what was summed in working precision.
        error: What the rest of the sums may lack, in the Frobenius norm.
        reach: With a loss of targets what the multipliers of a sample weigh in all, shape (n,); ``|theta|`` if None.
    """

    theta: Array
    second_moments: Array
    mass: float
    error: float
    reach: Array | None = None

    @property
    def weights(self) -> Array:
        """What the multipliers of each sample weigh in all, shape (n,)."""
        return np.abs(self.theta) if self.reach is None else self.reach


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
        theta, sums = span_moments(multipliers, X, signs, attack, loss, precise=precise)
        return AttackSums(theta, sums.matrix(), sums.mass, sums.error)
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
    else:
        given = multipliers.theta
    theta = repaired_theta(given, loss)
    sums = SecondMoments(np.empty((X.shape[1], 0)), precise)
    sums.add(X, theta * signs)
    return AttackSums(theta, sums.matrix(), sums.mass, sums.error)
