"""What a backend of gated programmes knows so far, judged as `core` judges it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.kit.best_so_far import BestSoFar
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import GatedBound, GatedMultipliers, gated_bound
from cvxrobust.core.programs.gated.program import GatedProgram
from cvxrobust.core.settings import Settings

Array = NDArray[np.float64]


class GatedBest(BestSoFar[Array, GatedMultipliers]):
    """The best point and the best multipliers of a gated programme, whatever found them.

    Args:
        program: What they belong to.
        settings: As for `BestSoFar`.
        monitor: As for `BestSoFar`.
        most: As for `BestSoFar`.

    Attributes:
        primal: The best point, shape (K, C, D).
        scale: The factor on the best multipliers that their bound uses.
    """

    def __init__(
        self, program: GatedProgram, settings: Settings, monitor: Monitor | None = None, most: int | None = None
    ) -> None:
        super().__init__(settings, monitor, most, lambda point, _: self._answer(point))
        self.program, self.scale = program, 1.0

    def offer_point(self, U: Array) -> bool:
        """Keep a point, shape (K, C, D), if it is better; whether it was. One that is not feasible is not."""
        return self.offer_primal(U, gated.objective(self.program, U))

    def offer_multipliers(self, multipliers: GatedMultipliers) -> GatedBound:
        """Keep multipliers if they prove more, and say what they prove."""
        bound = gated_bound(self.program, multipliers)
        if self.offer_dual(multipliers, bound.value):
            self.scale = bound.scale
        return bound

    def feasible(self) -> GatedMultipliers | None:
        """The best multipliers, scaled as their bound scales them: whoever judges them finds nothing to repair."""
        found = self.dual
        if found is None or not self.scale < 1.0:
            return found
        omega = None if found.omega is None else self.scale * found.omega
        return replace(found, theta=self.scale * found.theta, mu=self.scale * found.mu, omega=omega)

    def _answer(self, point: Array) -> Solution:
        network = gated.to_network(self.program, point)
        return Solution(Termination.TIME_LIMIT, network=network, multipliers=self.feasible())
