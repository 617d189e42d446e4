"""The losses as the first-order methods see them: values and slopes on tensors, and what of them is to be smoothed.

`LOSSES` is what the backend says that it knows. A loss of margins acts on the margin and has the slope turned round, so
that slopes are multipliers, 0 or more; one of targets acts on the residual. No method asks for more than this: any
smooth loss of margins is one more class here, and second derivatives may jump.

Nothing here needs PyTorch before it computes: the backend is listed where that is missing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

ReLU = Callable[[Any], tuple[Any, ...]]
"""How a method smooths a ReLU: its values, slopes and, for methods of second order, second derivatives."""


class TorchLoss(Protocol):
    """What the methods ask of a loss.

    Attributes:
        kinked: Whether it has a kink that they smooth.
    """

    kinked: bool

    def first_order(self, t: Any, relu: ReLU) -> tuple[Any, Any]:
        """Loss of each value t, and its slope (minus its slope for margins); kinked ones take NumPy's arrays, too."""
        ...

    def second_order(self, t: "Tensor", relu: ReLU) -> "tuple[Tensor, Tensor, Tensor]":
        """The same and its second derivative."""
        ...

    def smoothed_off(self, t: "Tensor", slope: "Tensor") -> "Tensor":
        """What smoothing the kink, to these slopes, takes off the losses at most; of the shape of t, or one zero."""
        ...


@dataclass(frozen=True)
class Hinge:
    """``max(0, 1 - t)``."""

    kinked = True

    def first_order(self, t: Any, relu: ReLU) -> Any:
        """See `TorchLoss`."""
        return relu(1.0 - t)

    def second_order(self, t: Any, relu: ReLU) -> Any:
        """See `TorchLoss`."""
        return relu(1.0 - t)

    def smoothed_off(self, t: "Tensor", slope: "Tensor") -> "Tensor":
        """See `TorchLoss`."""
        violation = 1.0 - t
        return violation.clamp(min=0.0) - slope * violation


@dataclass(frozen=True)
class Smooth:
    """A loss that needs no smoothing."""

    kinked = False

    def smoothed_off(self, t: "Tensor", slope: "Tensor") -> "Tensor":
        """See `TorchLoss`."""
        return t.new_zeros(())


@dataclass(frozen=True)
class SquaredHinge(Smooth):
    """``max(0, 1 - t)^2``."""

    def first_order(self, t: "Tensor", relu: ReLU) -> "tuple[Tensor, Tensor]":
        """See `TorchLoss`."""
        violation = (1.0 - t).clamp(min=0.0)
        return violation * violation, 2.0 * violation

    def second_order(self, t: "Tensor", relu: ReLU) -> "tuple[Tensor, Tensor, Tensor]":
        """See `TorchLoss`."""
        value, slope = self.first_order(t, relu)
        return value, slope, 2.0 * (slope > 0.0).to(t.dtype)


@dataclass(frozen=True)
class Logistic(Smooth):
    """``log(1 + exp(-t))``."""

    def first_order(self, t: "Tensor", relu: ReLU) -> "tuple[Tensor, Tensor]":
        """See `TorchLoss`."""
        import torch

        return torch.nn.functional.softplus(-t), torch.sigmoid(-t)

    def second_order(self, t: "Tensor", relu: ReLU) -> "tuple[Tensor, Tensor, Tensor]":
        """See `TorchLoss`."""
        value, p = self.first_order(t, relu)
        return value, p, p * (1.0 - p)


@dataclass(frozen=True)
class Squared(Smooth):
    """``t^2``, of residuals."""

    def first_order(self, t: "Tensor", relu: ReLU) -> "tuple[Tensor, Tensor]":
        """See `TorchLoss`."""
        return t * t, 2.0 * t

    def second_order(self, t: "Tensor", relu: ReLU) -> "tuple[Tensor, Tensor, Tensor]":
        """See `TorchLoss`."""
        return t * t, 2.0 * t, t.new_full(t.shape, 2.0)


LOSSES: dict[str, TorchLoss] = {
    "hinge": Hinge(),
    "squared_hinge": SquaredHinge(),
    "logistic": Logistic(),
    "squared": Squared(),
}
"""By their names in `cvxrobust.core.losses`."""
