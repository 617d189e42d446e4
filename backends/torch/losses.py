"""The losses as the first-order methods see them: values and slopes on tensors, and what of them is to be smoothed.

`LOSSES` is what the backend says that it knows; others it solves as conic programmes, or refuses by name. A loss of
margins acts on the margin and has its slope turned round, so that slopes are multipliers, 0 or more; one of targets
acts on the residual, or, where it has a kink at 0, on the size of that, which methods smooth as they do under attack.
No method asks for more than this: any smooth loss of margins is two functions here, and its second derivative may jump.

Nothing here needs PyTorch before it computes: the backend is listed where that is missing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cvxrobust.core.losses.huber import THRESHOLD

if TYPE_CHECKING:
    from torch import Tensor

ReLU = Callable[[Any], tuple[Any, ...]]
"""How a method smooths a ReLU: its values, slopes and, for methods of second order, second derivatives."""


@dataclass(frozen=True)
class TorchLoss:
    """What the methods ask of a loss.

    Args:
        smooth: Two functions: of t for the loss and its slope (minus its slope for margins), and of t and that slope
            for its second derivative. None for ``relu(1 - t)``.
        of_sizes: Whether t is the absolute value of a residual, attacked or not, with a kink for methods to smooth.
    """

    smooth: "tuple[Callable[[Tensor], tuple[Tensor, Tensor]], Callable[[Tensor, Tensor], Tensor]] | None" = None
    of_sizes: bool = False

    @property
    def kinked(self) -> bool:
        """Whether it is a ReLU, with a kink for methods to smooth."""
        return self.smooth is None

    def size(self, worth: float) -> float:
        """The size of residuals whose loss is so much, about."""
        return worth if self.of_sizes else math.sqrt(worth)

    def first_order(self, t: Any, relu: ReLU) -> tuple[Any, ...]:
        """Loss of each value t, and its slope; of NumPy's arrays, too, where it is a ReLU."""
        return relu(1.0 - t) if self.smooth is None else self.smooth[0](t)

    def second_order(self, t: Any, relu: ReLU) -> tuple[Any, ...]:
        """The same and its second derivative."""
        if self.smooth is None:
            return relu(1.0 - t)
        slopes, curvature = self.smooth
        value, slope = slopes(t)
        return value, slope, curvature(t, slope)

    def smoothed_off(self, t: "Tensor", slope: "Tensor") -> "Tensor":
        """What smoothing, to these slopes, takes off the losses at most; of the shape of t, or one zero.

        Of sizes, t are residuals, with their signs.
        """
        if self.of_sizes:
            return t.abs() - slope * t
        if self.smooth is not None:
            return t.new_zeros(())
        violation = 1.0 - t
        return violation.clamp(min=0.0) - slope * violation


def _squared_hinge(t: "Tensor") -> "tuple[Tensor, Tensor]":
    violation = (1.0 - t).clamp(min=0.0)
    return violation * violation, 2.0 * violation


def _logistic(t: "Tensor") -> "tuple[Tensor, Tensor]":
    import torch

    return torch.nn.functional.softplus(-t), torch.sigmoid(-t)


def _huber(threshold: float) -> TorchLoss:
    def slopes(t: "Tensor") -> "tuple[Tensor, Tensor]":
        inside = t.clamp(-threshold, threshold)
        return inside * (2.0 * t - inside), 2.0 * inside

    return TorchLoss((slopes, lambda t, slope: 2.0 * (t.abs() < threshold).to(t.dtype)))


WITH_NUMBERS: dict[str, Callable[[float], TorchLoss]] = {"huber": _huber}
"""Those that a number may follow, after a colon."""


def torch_loss(name: str) -> TorchLoss:
    """The loss of a programme, perhaps with a number of its own."""
    family, _, number = name.partition(":")
    return WITH_NUMBERS[family](float(number)) if number else LOSSES[family]


def _size(t: "Tensor") -> "tuple[Tensor, Tensor]":
    return t, t.new_ones(t.shape)


LOSSES: dict[str, TorchLoss] = {
    "hinge": TorchLoss(),
    "squared_hinge": TorchLoss((_squared_hinge, lambda t, slope: 2.0 * (slope > 0.0).to(t.dtype))),
    "logistic": TorchLoss((_logistic, lambda t, slope: slope * (1.0 - slope))),
    "squared": TorchLoss((lambda t: (t * t, 2.0 * t), lambda t, slope: t.new_full(t.shape, 2.0))),
    "absolute": TorchLoss((_size, lambda t, slope: t.new_zeros(t.shape)), of_sizes=True),
    "huber": _huber(THRESHOLD),
}
"""By their names in `cvxrobust.core.losses`."""
