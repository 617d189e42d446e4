"""The loss of the worst error of targets under attack, of both sides at once, smoothed.

An attacked output can be too small, by ``r_1 = y - min f``, or too large, by ``r_2 = max f - y``, and the loss sees the
larger. With the conjugate ``bend s^2`` on ``[0, steepest]`` (`cvxrobust.core.losses.residual`) it is

    phi(max(r_1, r_2)) = max over p of  p_1 r_1 + p_2 r_2 - bend (p_1 + p_2)^2,    p >= 0,  p_1 + p_2 <= steepest:

multipliers of both sides that share one conjugate. Like the hinge's (`PolynomialSmoothing`) the kink where both are as
large, and that of the loss, are smoothed by ``-mu / 2 ||p - centre||^2``. Sum and difference of p then part: the one is
cut off at the steepest slope, the other is free, and where p_1 or p_2 came out negative it is 0. Both never do, because
``r_1 + r_2 >= 0`` where attacks are smoothed, too.
"""

from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from cvxrobust.core import InputError, loss_by_name
from cvxrobust.core.losses.residual import ResidualLoss

Array = Any
"""A NumPy array or a torch tensor of float64."""


@dataclass(frozen=True)
class WorstErrors:
    """A loss of targets as the smoothed worst error sees it.

    Args:
        bend: Of its conjugate.
        steepest: Its largest slope, perhaps infinite.
    """

    bend: float
    steepest: float

    @classmethod
    def of(cls, name: str) -> "WorstErrors":
        """That of a loss by its name.

        Raises:
            InputError: It is none of targets.
        """
        loss = loss_by_name(name)
        if not isinstance(loss, ResidualLoss):
            raise InputError(f"the {name} loss is one of margins, which have one side; expected one of targets.")
        return cls(loss.bend, loss.steepest)

    def smoothed(self, residuals: Array, centre: Array, mu: float) -> tuple[Array, Array]:
        """Losses, shape (n,), and their slopes p in both residuals, shape (2, n).

        Args:
            residuals: Of both sides, shape (2, n).
            centre: Slopes of the last smoothing, shape (2, n).
            mu: Degree of smoothing, above 0.
        """
        xp = array_namespace(residuals)
        pull = residuals + mu * centre
        total = ((pull[0] + pull[1]) / (4.0 * self.bend + mu)).clip(0.0, self.steepest)
        apart = (pull[0] - pull[1]) / mu
        alone = (pull / (2.0 * self.bend + mu)).clip(0.0, self.steepest)
        zero = xp.zeros_like(total)
        first = xp.where(apart >= total, alone[0], xp.where(apart <= -total, zero, 0.5 * (total + apart)))
        second = xp.where(apart >= total, zero, xp.where(apart <= -total, alone[1], 0.5 * (total - apart)))
        p = xp.stack([first, second])
        moved = p - centre
        values = self.worth(residuals, p) - 0.5 * mu * (moved[0] * moved[0] + moved[1] * moved[1])
        return values, p

    def worth(self, residuals: Array, p: Array) -> Array:
        """``p_1 r_1 + p_2 r_2 - bend (p_1 + p_2)^2``, which is below the loss, shape (n,)."""
        reach = p[0] + p[1]
        return p[0] * residuals[0] + p[1] * residuals[1] - self.bend * reach * reach
