"""How far attacks can move the outputs of networks that predict numbers, and so their errors; every bound a proof."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.norms import Norm, check_norm
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OutputRange:
    """What outputs of a network cannot leave under attack.

    Args:
        low: Shape (n,), rounding on the safe side.
        high: Shape (n,).
    """

    low: Array
    high: Array

    @classmethod
    def under_attack(
        cls, network: PolynomialNetwork | ReLUNetwork, X: ArrayLike, radius: ArrayLike, norm: Norm | None = None
    ) -> Self:
        """Of a polynomial network exactly (but for rounding), of a ReLU network by linear relaxation.

        Args:
            network: Of one output.
            X: Inputs as the network takes them, shape (n, d).
            radius: One, or one per row, in the network's units.
            norm: Of the attacks; None for 2, and a ReLU network's own.

        Raises:
            InputError: The network has several outputs, attacks on a polynomial network are not in l2, or shapes or
                radii do not fit.
        """
        if network.alpha.ndim != 1:
            raise InputError(f"the network has {network.alpha.shape[1]} outputs; expected one, of a number.")
        signed = network.replace(regression=False, classes=None)
        n = np.shape(X)[0]
        up, down = np.ones(n), -np.ones(n)
        if isinstance(signed, ReLUNetwork):
            return cls(signed.lower_bound(X, up, radius, norm), -signed.lower_bound(X, down, radius, norm))
        if norm is not None and check_norm(norm) != 2:
            raise InputError(f"norm is {norm!r}, but errors of polynomial networks are for l2 attacks; give 2.")
        return cls(signed.worst_margins(X, up, radius), -signed.worst_margins(X, down, radius))

    def largest_errors(self, targets: Array) -> Array:
        """What no attack makes ``|f - y|`` exceed, shape (n,), for targets y, shape (n,), in units of the outputs."""
        return np.asarray(np.maximum(targets - self.low, self.high - targets))
