"""The best certified network and multipliers of a gated programme, whatever found them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core import gated
from cvxrobust.core.backend import Monitor
from cvxrobust.core.gated_certificate import GatedBound, GatedMultipliers, fits, gated_bound
from cvxrobust.core.result import Termination
from cvxrobust.core.settings import Settings
from cvxrobust.core.structured import GatedProgram

Array = NDArray[np.float64]
PARTS = ("theta", "attacks", "mu", "directions")
TINY = float(np.finfo(np.float64).tiny)


@dataclass
class Best:
    """The best network and multipliers so far, each with what it is worth.

    Args:
        program: What they belong to.
        monitor: Hears of every improvement.
        U: The best point, shape (K, C, D).
        upper: Its objective.
        multipliers: The best multipliers.
        lower: Their bound.
    """

    program: GatedProgram
    monitor: Monitor
    U: Array
    upper: float = np.inf
    multipliers: GatedMultipliers | None = None
    lower: float = -np.inf

    @property
    def gap(self) -> float:
        """Relative certified gap."""
        return (self.upper - self.lower) / max(self.upper, TINY)

    def add_point(self, U: Array) -> None:
        """Keep a point if it is better."""
        if (value := gated.objective(self.program, U)) < self.upper:
            self.U, self.upper = U, value

    def add_multipliers(self, multipliers: GatedMultipliers) -> GatedBound:
        """Keep multipliers if they prove more, and say what they prove."""
        bound = gated_bound(self.program, multipliers)
        if bound.value > self.lower or self.multipliers is None:
            self.multipliers, self.lower = multipliers, bound.value
        return bound

    def report(self) -> None:
        """Tell the monitor."""
        if self.monitor.report is not None and np.isfinite(self.lower):
            self.monitor.report(self.upper, self.lower)

    def ended(self, settings: Settings, steps: int, most: int) -> Termination | None:
        """Why to stop now, if there is a reason."""
        if self.gap <= settings.tolerance:
            return Termination.CONVERGED
        if self.monitor.should_stop:
            return Termination.INTERRUPTED if self.monitor.stopped else Termination.TIME_LIMIT
        return Termination.ITERATION_LIMIT if steps >= (settings.max_iterations or most) else None

    def state(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        found: dict[str, Any] = {"best_point": self.U}
        if self.multipliers is not None:
            found |= {f"best_{name}": getattr(self.multipliers, name) for name in (*PARTS, "omega")}
        return found

    def restore(self, state: dict[str, Any]) -> None:
        """Take in what a checkpoint holds, and judge it anew."""
        point = np.asarray(state.get("best_point", np.empty(0)))
        if point.shape == self.program.shape and np.isfinite(point).all():
            self.add_point(point.astype(np.float64))
        theta, attacks, mu, directions = (state.get(f"best_{name}") for name in PARTS)
        if theta is None or attacks is None or mu is None or directions is None:
            return
        multipliers = GatedMultipliers(theta, attacks, mu, directions, state.get("best_omega"))
        if fits(self.program, multipliers):
            self.add_multipliers(multipliers)
