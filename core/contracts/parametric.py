"""What a problem may offer besides: itself with another beta or other radii, and what their optima share."""

from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.networks.base import N_contra


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


@runtime_checkable
class Screens(Protocol[N_contra]):
    """What a problem may offer besides: itself over some of its samples, where the others' losses are 0.

    Losses are 0 or more, so that leaving some out only lowers the objective of every network: bounds of what is left
    are bounds of the whole. And where those left out are 0 at its network, this is as good for the whole.
    """

    def matters(self, network: N_contra, reach: float) -> NDArray[np.bool_]:
        """Which samples a network has a loss at, or would have with margins smaller by `reach`, shape (n,).

        All of them, where none may be left out.
        """
        ...

    def of_rows(self, rows: NDArray[np.intp]) -> tuple[Self, float]:
        """The problem over some of its samples, and the factor by which its objective is below that of the whole.

        Its beta is that of the whole by the factor, which is the share of the weight that these samples have.
        """
        ...
