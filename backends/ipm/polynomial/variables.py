"""All variables of the interior-point method for polynomial programmes, and a step of them."""

from dataclasses import dataclass

from torch import Tensor

from cvxrobust.backends.ipm.loss_sides import LossSide
from cvxrobust.backends.ipm.polynomial.samples import AttackedDirection, AttackedPoint


@dataclass(frozen=True)
class PolynomialPoint:
    """All variables.

    Args:
        Z: Of positive output weights, shape (m, m).
        Zp: Of negative ones.
        U: Dual of Z.
        Up: Dual of Zp.
        nu: Multipliers of ``tr Z_11 = Z_mm`` and of the same for Z'.
        attacked: The attacked samples' variables.
        clean: The loss's variables of the other samples.
    """

    Z: Tensor
    Zp: Tensor
    U: Tensor
    Up: Tensor
    nu: tuple[float, float]
    attacked: AttackedPoint | None
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
    attacked: AttackedDirection | None
    clean_loss: LossSide | None
