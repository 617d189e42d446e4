"""All variables of the interior-point method for polynomial programmes, and a step of them."""

from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from cvxrobust.backends.ipm.loss_sides import LossSide, LossTarget


class SamplesAround(Protocol):
    """Attacked samples around a point, everything but T eliminated.

    Aims, answers and directions are their own business: they go from one method to the next. Directions and points have
    `pairs`, and points `loss`.
    """

    data: Any
    point: Any

    @property
    def count(self) -> float:
        """Complementarity pairs, each as often as its barrier weighs."""
        ...

    def complementarity(self) -> float:
        """Sum of the products of the matrix inequalities."""
        ...

    def aim(self, mu: float, previous: Any) -> Any:
        """The targets for complementarity mu, with Mehrotra's correction by a previous direction."""
        ...

    def prepare(self, aim: Any, loss: LossTarget) -> None:
        """Fix what the elimination needs, for the targets `aim` (None: none, the linear part alone)."""
        ...

    def respond(self, dT: Tensor | None, aim: Any) -> Any:
        """The change of everything with T; without `aim` the homogeneous, linear part."""
        ...

    def gather(self, found: Any, dT: Tensor | None, aim: Any) -> Tensor:
        """``sum_i y_i C o (E_i X_i E_i')`` of the answered X, shape (d + 1, d + 1)."""
        ...

    def direction(self, dT: Tensor, aim: Any, pulled: Any = None) -> Any:
        """The step that answers a change of T."""
        ...

    def longest(self, direction: Any, T: Tensor, most: tuple[float, float]) -> tuple[float, float]:
        """Longest primal and dual steps, up to `most`."""
        ...

    def complementarity_after(self, step: Any, primal: float, dual: float) -> float:
        """Sum of all products after a step."""
        ...

    def advanced(self, step: Any, primal: float, dual: float) -> Any:
        """The point after a step."""
        ...


@dataclass(frozen=True)
class PolynomialPoint:
    """All variables.

    Args:
        Z: Of positive output weights, shape (m, m).
        Zp: Of negative ones.
        U: Dual of Z.
        Up: Dual of Zp.
        nu: Multipliers of ``tr Z_11 = Z_mm`` and of the same for Z'.
        attacked: The attacked samples' variables; `AttackedPoint`, or those of samples of another kind.
        clean: The loss's variables of the other samples.
    """

    Z: Tensor
    Zp: Tensor
    U: Tensor
    Up: Tensor
    nu: tuple[float, float]
    attacked: Any
    clean: LossSide | None

    @property
    def T(self) -> Tensor:
        """``Z - Z'``."""
        return self.Z - self.Zp

    @property
    def nonlinear(self) -> bool:
        """Whether the loss makes optimality conditions nonlinear, so that primal and dual steps must agree."""
        sides = [None if self.attacked is None else self.attacked.loss, self.clean]
        return any(side is not None and not side.linear for side in sides)


@dataclass(frozen=True)
class PolynomialDirection:
    """A step of all variables, with what its second-order correction needs."""

    dT: Tensor
    dZ: Tensor
    dZp: Tensor
    dU: Tensor
    dUp: Tensor
    dnu: tuple[float, float]
    scaled: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
    attacked: Any
    clean_loss: LossSide | None
