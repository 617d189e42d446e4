"""The losses as the interior-point method sees them: which slacks they have, where these start, and what is smooth.

`LOSSES` is what the backend says that it knows; others it refuses by name. A loss that is about as smooth as the
logistic one is one more `Smooth` here. Newton's linearisation, which is all that these get, leads astray where second
derivatives jump, or change much within a unit of margin: a hinge that a parabola of width 1/2 smooths needs slacks of
its own, as hinges have, and until then stays out.

Nothing here needs PyTorch before it computes: the backend is listed where that is missing.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from cvxrobust.backends.ipm.loss_sides import LossSide, Slopes


class InteriorLoss(Protocol):
    """What the methods ask of a loss."""

    @property
    def hinged(self) -> bool:
        """Whether it is a function of a slack ``xi >= 1 - margin``."""
        ...

    @property
    def kinked(self) -> bool:
        """Whether it is that slack itself, so that ``xi >= 0`` has multipliers of its own; else its square."""
        ...

    @property
    def derivatives(self) -> "Slopes | None":
        """First and second ones at values t, given targets; None where it is hinged."""
        ...

    def side(self, w: "Tensor", goal: "Tensor", N: int, mu: float) -> "LossSide":
        """The state of a polynomial programme to start from.

        Args:
            w: Margins (outputs where labels are targets), shape (n,).
            goal: Labels or targets, shape (n,).
            N: Samples in the average.
            mu: Complementarity to start from.
        """
        ...


@dataclass(frozen=True)
class Hinge:
    """``max(0, 1 - t)``."""

    hinged, kinked, derivatives = True, True, None

    def side(self, w: "Tensor", goal: "Tensor", N: int, mu: float) -> "LossSide":
        """See `InteriorLoss`."""
        from cvxrobust.backends.ipm.loss_sides import HingeSide

        return HingeSide.start(w, N, mu)


@dataclass(frozen=True)
class SquaredHinge:
    """``max(0, 1 - t)^2``."""

    hinged, kinked, derivatives = True, False, None

    def side(self, w: "Tensor", goal: "Tensor", N: int, mu: float) -> "LossSide":
        """See `InteriorLoss`."""
        from cvxrobust.backends.ipm.loss_sides import SquaredHingeSide

        return SquaredHingeSide.start(w, N, mu)


@dataclass(frozen=True)
class Smooth:
    """A loss with two derivatives; polynomial programmes have no slacks of it, nor gated ones, unless labels are
    targets and attacked."""

    derivatives: "Slopes"
    hinged, kinked = False, False

    def side(self, w: "Tensor", goal: "Tensor", N: int, mu: float) -> "LossSide":
        """See `InteriorLoss`."""
        from cvxrobust.backends.ipm.loss_sides import SmoothSide

        return SmoothSide(N, w, goal, self.derivatives)


def _logistic(t: "Tensor", target: "Tensor") -> "tuple[Tensor, Tensor]":
    p = (-t).sigmoid()
    # 1 - p would have lost the digits of the other one.
    return -p, p * t.sigmoid()


def _squared(t: "Tensor", target: "Tensor") -> "tuple[Tensor, Tensor]":
    return 2.0 * (t - target), t.new_full(t.shape, 2.0)


LOSSES: dict[str, InteriorLoss] = {
    "hinge": Hinge(),
    "squared_hinge": SquaredHinge(),
    "logistic": Smooth(_logistic),
    "squared": Smooth(_squared),
}
"""By their names in `cvxrobust.core.losses`."""
