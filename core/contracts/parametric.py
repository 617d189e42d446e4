"""What a problem may offer besides: itself with another beta or other radii, and what their optima share."""

from typing import Any, Protocol, Self, runtime_checkable


@runtime_checkable
class Parametric(Protocol):
    """One problem of a family over beta and the radii, of the form that lets bounds of one serve the others.

    At a network the objective is ``loss(network, radius) + beta penalty(network)`` with a loss and a penalty of 0 or
    more, over the same networks for all beta. So the optimum, a minimum of functions that are affine in beta and never
    fall, is concave in beta, never falls, and is 0 or more.
    """

    @property
    def beta(self) -> float:
        """Weight of the penalty."""
        ...

    @property
    def radius(self) -> Any:
        """Attack radius, one number or one per sample."""
        ...

    @property
    def nested(self) -> bool:
        """Whether the optimum never falls as radii grow, either: attacks of smaller radii are among the others."""
        ...

    def at(self, *, beta: float | None = None, radius: Any = None) -> Self:
        """The same problem with another beta or other radii; what was found of the data is not looked for again.

        Raises:
            InputError: beta or the radii are none, or this problem knows no attacks.
        """
        ...
