"""What a backend of polynomial programmes knows so far, judged as `core` judges it."""

import numpy as np

from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.kit.best_so_far import BestSoFar
from cvxrobust.core.kit.neurons import network_of
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.certificate import DualBound, PointMultipliers
from cvxrobust.core.programs.polynomial.evaluation import PolynomialEvaluation, bound_of, evaluated
from cvxrobust.core.programs.polynomial.program import PolynomialProgram
from cvxrobust.core.settings import Settings


class PolynomialBest(BestSoFar[PolynomialNetwork, PointMultipliers]):
    """The best network and the best multipliers of a polynomial programme of one column of labels, whatever found them.

    Args:
        program: What they belong to.
        settings: As for `BestSoFar`.
        monitor: As for `BestSoFar`.
        most: As for `BestSoFar`.
    """

    def __init__(
        self, program: PolynomialProgram, settings: Settings, monitor: Monitor | None = None, most: int | None = None
    ) -> None:
        super().__init__(settings, monitor, most)
        self.program = program

    @property
    def nothing(self) -> PolynomialNetwork:
        """The network without neurons."""
        return network_of(self.program, np.empty((0, self.program.X.shape[1])), np.empty(0))

    def offer_network(self, network: PolynomialNetwork) -> PolynomialEvaluation:
        """Keep a network if it is better, and say what it is worth."""
        found = evaluated(self.program, network)
        self.offer_primal(network, found.value)
        return found

    def offer_multipliers(self, multipliers: PointMultipliers) -> DualBound:
        """Keep multipliers if they prove more, and say what they prove, with the neurons that they price highest."""
        bound = bound_of(self.program, multipliers)
        self.offer_dual(multipliers, bound.value)
        return bound
