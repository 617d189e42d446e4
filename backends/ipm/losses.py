"""The losses as the interior-point method sees them: which slacks they have, where these start, and what is smooth.

`LOSSES` is what the backend says that it knows; others it refuses by name. A loss that is about as smooth as the
logistic one is two derivatives here. Newton's linearisation, which is all that these get, leads astray where second
derivatives jump, or change much within a unit of margin: a hinge that a parabola of width 1/2 smooths needs slacks of
its own, as hinges have, and until then stays out. One of targets is a `Growth`.

Nothing here needs PyTorch before it computes: the backend is listed where that is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cvxrobust.backends.ipm.growth import Growth
from cvxrobust.core.losses.huber import THRESHOLD

if TYPE_CHECKING:
    from torch import Tensor

    from cvxrobust.backends.ipm.loss_sides import Count, LossSide, Mu, Slopes


@dataclass(frozen=True)
class InteriorLoss:
    """What the methods ask of a loss.

    Args:
        derivatives: First and second ones at values t, given targets; None for a function of ``xi >= 1 - margin``, or
            of a residual with a kink.
        of_polynomials: The same as polynomial programmes round them; None for no difference.
        kinked: Whether it is this slack itself, so that ``xi >= 0`` has multipliers of its own; else its square.
        growth: Of a loss of targets, with the size of the residual; None for losses of margins.
    """

    derivatives: "Slopes | None" = None
    of_polynomials: "Slopes | None" = None
    kinked: bool = False
    growth: Growth | None = None

    @property
    def hinged(self) -> bool:
        """Whether it is a function of a slack."""
        return self.derivatives is None and self.growth is None

    def side(self, w: "Tensor", goal: "Tensor", N: "Count", mu: "Mu") -> "LossSide":
        """The state of a polynomial programme to start from.

        Args:
            w: Margins (outputs where labels are targets), shape (n,).
            goal: Labels or targets, shape (n,).
            N: Samples in the average, over the weight of each.
            mu: Complementarity to start from.
        """
        from cvxrobust.backends.ipm.loss_sides import HingeSide, SmoothSide, SquaredHingeSide
        from cvxrobust.backends.ipm.residual_sides import ResidualSide

        if self.derivatives is not None:
            return SmoothSide(N, w, goal, self.of_polynomials or self.derivatives)
        if self.growth is not None:
            return ResidualSide.start(w, goal, N, mu, self.growth)
        return HingeSide.start(w, N, mu) if self.kinked else SquaredHingeSide.start(w, N, mu)

    def attacked_side(self, w: "Tensor", goal: "Tensor", N: "Count", mu: "Mu") -> "LossSide":
        """The same of attacked samples, of whose residuals the worst counts: two rows each where labels are targets.

        Args:
            w: Margins of rows.
            goal: Labels of samples, or of rows the targets times their signs.
            N: As in `side`, of rows.
            mu: Complementarity to start from.
        """
        from cvxrobust.backends.ipm.worst_sides import WorstSide

        return self.side(w, goal, N, mu) if self.growth is None else WorstSide.start(w, goal, N, mu, self.growth)


def _logistic(t: "Tensor", target: "Tensor") -> "tuple[Tensor, Tensor]":
    p = (-t).sigmoid()
    # 1 - p would have lost the digits of the other one.
    return -p, p * t.sigmoid()


def _logistic_of_polynomials(t: "Tensor", target: "Tensor") -> "tuple[Tensor, Tensor]":
    # With the digits that 1 - p loses, networks on columns of very different sizes end at larger gaps (test_raw_units).
    p = (-t).sigmoid()
    return -p, p * (1.0 - p)


def _squared(t: "Tensor", target: "Tensor") -> "tuple[Tensor, Tensor]":
    return 2.0 * (t - target), t.new_full(t.shape, 2.0)


def _huber(threshold: float) -> InteriorLoss:
    return InteriorLoss(growth=Growth(True, 2.0 * threshold))


WITH_NUMBERS: dict[str, Callable[[float], InteriorLoss]] = {"huber": _huber}
"""Those that a number may follow, after a colon."""


def interior_loss(name: str) -> InteriorLoss:
    """The loss of a programme, perhaps with a number of its own."""
    family, _, number = name.partition(":")
    return WITH_NUMBERS[family](float(number)) if number else LOSSES[family]


LOSSES: dict[str, InteriorLoss] = {
    "hinge": InteriorLoss(kinked=True),
    "squared_hinge": InteriorLoss(),
    "logistic": InteriorLoss(_logistic, _logistic_of_polynomials),
    "squared": InteriorLoss(_squared, growth=Growth(True)),
    "absolute": InteriorLoss(growth=Growth(False, 1.0)),
    "huber": _huber(THRESHOLD),
}
"""By their names in `cvxrobust.core.losses`."""
