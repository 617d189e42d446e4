"""How losses of targets grow with the size of the residual. Nothing here needs PyTorch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Growth:
    """``in^2 + steepest out`` for a size ``in + out``, or ``steepest`` times the size.

    Args:
        squared: Whether there is the square.
        steepest: The largest slope; infinite where there is nothing but the square.
    """

    squared: bool
    steepest: float = float("inf")

    @property
    def lines(self) -> bool:
        """Whether both parts are there, so that out has a pair of its own."""
        return self.squared and self.steepest < float("inf")
