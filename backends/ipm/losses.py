"""The losses as the interior-point method sees them: which slacks they have, where these start, and what is smooth.

`LOSSES` is what the backend says that it knows; others it refuses by name. A loss that is about as smooth as the
logistic one is two derivatives here. Newton's linearisation, which is all that these get, leads astray where second
derivatives jump, or change much within a unit of margin: a hinge that a parabola of width 1/2 smooths needs slacks of
its own, as hinges have, and until then stays out.

Nothing here needs PyTorch before it computes: the backend is listed where that is missing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from cvxrobust.backends.ipm.loss_sides import Count, LossSide, Mu, Slopes


@dataclass(frozen=True)
class InteriorLoss:
    """What the methods ask of a loss.

    Args:
        derivatives: First and second ones at values t, given targets; None for a function of ``xi >= 1 - margin``.
        of_polynomials: The same as polynomial programmes round them; None for no difference.
        kinked: Whether it is this slack itself, so that ``xi >= 0`` has multipliers of its own; else its square.
    """

    derivatives: "Slopes | None" = None
    of_polynomials: "Slopes | None" = None
    kinked: bool = False

    @property
    def hinged(self) -> bool:
        """Whether it is a function of a slack."""
        return self.derivatives is None

    def side(self, w: "Tensor", goal: "Tensor", N: "Count", mu: "Mu") -> "LossSide":
        """The state of a polynomial programme to start from.

        Args:
            w: Margins (outputs where labels are targets), shape (n,).
            goal: Labels or targets, shape (n,).
            N: Samples in the average, over the weight of each.
            mu: Complementarity to start from.
        """
        from cvxrobust.backends.ipm.loss_sides import HingeSide, SmoothSide, SquaredHingeSide

        if self.derivatives is not None:
            return SmoothSide(N, w, goal, self.of_polynomials or self.derivatives)
        return HingeSide.start(w, N, mu) if self.kinked else SquaredHingeSide.start(w, N, mu)


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


LOSSES: dict[str, InteriorLoss] = {
    "hinge": InteriorLoss(kinked=True),
    "squared_hinge": InteriorLoss(),
    "logistic": InteriorLoss(_logistic, _logistic_of_polynomials),
    "squared": InteriorLoss(_squared),
}
"""By their names in `cvxrobust.core.losses`."""
