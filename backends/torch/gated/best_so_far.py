"""The best certified network and multipliers of a gated programme, averages of multipliers among them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.backends.torch.gated.averages import average, best_share, proves
from cvxrobust.core import GatedMultipliers, GatedProgram, Monitor, Settings
from cvxrobust.core.kit import GatedBest
from cvxrobust.core.programs.gated.certificate import GatedBound, fits

Array = NDArray[np.float64]
PARTS = ("theta", "attacks", "mu", "directions")
TINY = float(np.finfo(np.float64).tiny)


class GatedIncumbent(GatedBest):
    """What is known of a gated programme, with what averages and checkpoints need.

    Args:
        program: The programme.
        settings: Tolerance and limits.
        monitor: Says when to stop, and hears of every improvement.

    Attributes:
        brackets: The vectors B_k of the best multipliers, shape (K, C, D), where they are known.
    """

    def __init__(self, program: GatedProgram, settings: Settings, monitor: Monitor) -> None:
        super().__init__(program, settings, monitor)
        self.brackets: Array | None = None

    @property
    def U(self) -> Array:
        """The best point, shape (K, C, D); zero before the first."""
        return np.zeros(self.program.shape) if self.primal is None else self.primal

    def offer_multipliers(self, multipliers: GatedMultipliers) -> GatedBound:
        """Keep multipliers if they prove more, and say what they prove."""
        before = self.lower
        bound = super().offer_multipliers(multipliers)
        if self.lower > before:
            self.brackets = None
        return bound

    def offer_average(self, multipliers: GatedMultipliers, brackets: Array) -> None:
        """Keep the best average of multipliers and the best ones so far, if it proves more.

        Args:
            multipliers: Inside all constraints but the one on ``||B_k||``.
            brackets: Their vectors B_k.
        """
        share, value = 1.0, proves(self.program, multipliers, brackets)
        if self.dual is not None and self.brackets is not None:
            share, value = best_share(self.program, self.dual, self.brackets, multipliers, brackets)
            if 0.0 < share < 1.0 and value > self.lower:
                multipliers = average(self.program, self.dual, multipliers, share)
                brackets = (1.0 - share) * self.brackets + share * brackets
        if share > 0.0 and value > self.lower:
            before = self.lower
            self.offer_multipliers(multipliers)
            if self.lower > before:
                self.brackets = brackets

    def state(self) -> dict[str, Any]:
        """Everything, for a checkpoint."""
        found: dict[str, Any] = {"best_point": self.U}
        if self.dual is not None:
            found |= {f"best_{name}": getattr(self.dual, name) for name in (*PARTS, "omega")}
        return found

    def restore(self, state: dict[str, Any]) -> None:
        """Take in what a checkpoint holds, and judge it anew."""
        point = np.asarray(state.get("best_point", np.empty(0)))
        if point.shape == self.program.shape and np.isfinite(point).all():
            self.offer_point(point.astype(np.float64))
        theta, attacks, mu, directions = (state.get(f"best_{name}") for name in PARTS)
        if theta is None or attacks is None or mu is None or directions is None:
            return
        multipliers = GatedMultipliers(theta, attacks, mu, directions, state.get("best_omega"))
        if fits(self.program, multipliers):
            self.offer_multipliers(multipliers)
