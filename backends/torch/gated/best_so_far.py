"""The best certified network and multipliers of a gated programme, whatever found them."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.backends.torch.gated.averages import average, best_share, proves
from cvxrobust.backends.torch.stopping import SHARE
from cvxrobust.core import GatedMultipliers, GatedProgram, Monitor, Settings, Solution, Termination
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import GatedBound, fits, gated_bound

Array = NDArray[np.float64]
PARTS = ("theta", "attacks", "mu", "directions")
TINY = float(np.finfo(np.float64).tiny)


@dataclass
class GatedIncumbent:
    """The best network and multipliers so far, each with what it is worth.

    Args:
        program: What they belong to.
        monitor: Hears of every improvement.
        U: The best point, shape (K, C, D).
        upper: Its objective.
        multipliers: The best multipliers.
        lower: Their bound.
        scale: The factor on them that the bound uses.
        brackets: Their vectors B_k, shape (K, C, D), where they are known.
        reserve: Seconds that the last certificate will take.
    """

    program: GatedProgram
    monitor: Monitor
    U: Array
    upper: float = np.inf
    multipliers: GatedMultipliers | None = None
    lower: float = -np.inf
    scale: float = 1.0
    brackets: Array | None = None
    reserve: float = 0.0

    def __post_init__(self) -> None:
        remaining = self.monitor.remaining
        self._most = 0.0 if remaining is None else SHARE * remaining

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
            self.multipliers, self.lower, self.brackets, self.scale = multipliers, bound.value, None, bound.scale
        return bound

    def add_average(self, multipliers: GatedMultipliers, brackets: Array) -> None:
        """Keep the best average of multipliers and the best ones so far, if it proves more.

        Args:
            multipliers: Inside all constraints but the one on ``||B_k||``.
            brackets: Their vectors B_k.
        """
        share, value = 1.0, proves(self.program, multipliers, brackets)
        if self.multipliers is not None and self.brackets is not None:
            share, value = best_share(self.program, self.multipliers, self.brackets, multipliers, brackets)
            if 0.0 < share < 1.0 and value > self.lower:
                multipliers = average(self.program, self.multipliers, multipliers, share)
                brackets = (1.0 - share) * self.brackets + share * brackets
        if share > 0.0 and value > self.lower:
            before = self.lower
            self.add_multipliers(multipliers)
            if self.lower > before:
                self.brackets = brackets

    def feasible(self) -> GatedMultipliers | None:
        """The best multipliers, scaled as their bound scales them.

        Whoever judges them finds nothing to repair.
        """
        if self.multipliers is None or not self.scale < 1.0:
            return self.multipliers
        m, scale = self.multipliers, self.scale
        omega = None if m.omega is None else scale * m.omega
        return replace(m, theta=scale * m.theta, mu=scale * m.mu, omega=omega)

    @property
    def late(self) -> bool:
        """Whether a limit is so near that only the last certificate fits in."""
        deadline = self.monitor.deadline
        if self.monitor.should_stop or deadline is None:
            return self.monitor.should_stop
        return time.perf_counter() >= deadline - min(self.reserve, self._most)

    def report(self) -> None:
        """Tell the monitor."""
        self.monitor.report(self.upper, self.lower, self.answer if np.isfinite(self.upper) else None)

    def answer(self) -> Solution:
        """The best network and multipliers so far."""
        network = gated.to_network(self.program, self.U)
        return Solution(Termination.TIME_LIMIT, network=network, multipliers=self.feasible())

    def ended(self, settings: Settings, steps: int, most: int) -> Termination | None:
        """Why to stop now, if there is a reason."""
        if self.gap <= settings.tolerance:
            return Termination.CONVERGED
        if self.late:
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
