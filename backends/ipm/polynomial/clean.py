"""Samples that nobody attacks: one linear function of T each, and the loss."""

from dataclasses import dataclass

from torch import Tensor

from cvxrobust.backends.ipm.loss_sides import LossSide, LossTarget
from cvxrobust.backends.ipm.polynomial.samples import Activation


@dataclass(frozen=True)
class CleanData:
    """Samples without attack, in the present frame.

    Args:
        z: ``[x; 1]``, shape (n, d + 1).
        sign: Labels, or 1 for the squared loss, shape (n,).
        activation: The network's.
        weight: Of each sample in the mean loss, and so of its barriers, shape (n,); None for 1.
    """

    z: Tensor
    sign: Tensor
    activation: Activation
    weight: Tensor | None = None

    def barrier(self, mu: float) -> float | Tensor:
        """Complementarity mu of each sample's own pairs, shape (n,)."""
        return mu if self.weight is None else mu * self.weight

    @property
    def amount(self) -> float:
        """Samples, each as often as it weighs."""
        return self.z.shape[0] if self.weight is None else float(self.weight.sum())

    def values(self, T: Tensor) -> Tensor:
        """What the loss sees, ``sign_i <A(x_i), T>``, shape (n,)."""
        return self.sign * ((self.z @ self.activation.times(T)) * self.z).sum(1)

    def gather(self, theta: Tensor) -> Tensor:
        """``sum_i theta_i sign_i A(x_i)``, shape (d + 1, d + 1)."""
        return self.activation.times(self.z.T @ ((theta * self.sign)[:, None] * self.z))

    def entries(self, root: Tensor) -> tuple[Tensor, Tensor]:
        """``a``-scaled vectors and the corner's of ``R'A(x_i)R = a l l' + corner e e'``: l, shape (n, m); e, (m,)."""
        lifted = self.z.clone()
        lifted[:, -1] = self.activation.last
        return lifted @ root, root[-1]


@dataclass(frozen=True)
class CleanLinearised:
    """The samples around a point.

    Args:
        data: The samples.
        loss: The loss's variables.
        aim: Target and curvature of the multipliers.
    """

    data: CleanData
    loss: LossSide
    aim: LossTarget

    def gather(self) -> Tensor:
        """``sum_i target_i sign_i A(x_i)``."""
        return self.data.gather(self.aim.target)

    def curve(self, dT: Tensor) -> Tensor:
        """``sum_i curvature_i <A(x_i), dT> A(x_i)``."""
        return self.data.gather(self.aim.curvature * self.data.values(dT))

    def move(self, dw: Tensor) -> LossSide:
        """The direction of the loss's variables."""
        return self.loss.move(self.aim, dw)


def multipliers(aim: LossTarget, dw: Tensor) -> Tensor:
    """The new multipliers, shape (n,)."""
    return aim.target - aim.curvature * dw
