"""What problems and masters may offer the cutting-set method besides what it needs of them."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.contracts.problem import Attacks
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.networks.base import N_contra


@runtime_checkable
class Turns(Protocol):
    """A master that can say its atoms anew in terms of its solution."""

    def turned(self, solution: Solution, *, violation: float | None, drop: bool) -> Any:
        """Atoms with the span of the master's, in which the solution is diagonal.

        Interior points are accurate there to several digits more than in an arbitrary basis of the same span.

        Args:
            solution: With a primal and a dual point.
            violation: Also add directions in which the multipliers are infeasible by more than this, relative to what
                a neuron costs; None for no more directions.
            drop: Leave out directions that the solution does not use and that would not pay for themselves by far.
        """
        ...


@runtime_checkable
class Mirrors(Protocol[N_contra]):
    """A problem that can guess the second of two equally bad attacks, which masters need both of."""

    def mirrored(self, network: N_contra, attacks: Attacks) -> NDArray[np.float64]:
        """Feasible points, shape (n, d), at which the losses may be near the worst, too.

        Args:
            network: The network.
            attacks: The worst attacks on it.
        """
        ...
