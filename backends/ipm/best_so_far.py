"""What an interior-point method knows so far: the best primal and dual points, each with what it is worth."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from cvxrobust.core import Certificate, Monitor, Settings, Solution, Termination

P = TypeVar("P")
D = TypeVar("D")

SHARE = 0.25
"""Share of a time limit that may be kept back for the next iteration and the last certificate."""


@dataclass
class BestSoFar(Generic[P, D]):
    """The best primal and dual points of a solve, and whether it is over.

    Args:
        settings: Tolerance and iteration limit.
        monitor: Says when to stop, and hears of every improvement.
        most: Iterations, unless the settings say otherwise.
        primal: The best primal point; None before the first.
        upper: Its objective.
        dual: The best multipliers; None before the first.
        lower: Their bound.
        reserve: Seconds that one more iteration and the caller's certificate will take.
        answer: Makes a solution of both, for whoever keeps it in case this solve has to be ended.
    """

    settings: Settings
    monitor: Monitor
    most: int
    primal: P | None = None
    upper: float = np.inf
    dual: D | None = None
    lower: float = -np.inf
    reserve: float = 0.0
    answer: Callable[[], Solution] | None = None

    def __post_init__(self) -> None:
        remaining = self.monitor.remaining
        self._most_kept = 0.0 if remaining is None else SHARE * remaining

    @property
    def certificate(self) -> Certificate:
        """Both bounds."""
        return Certificate(self.upper, self.lower)

    def offer_primal(self, point: P, value: float) -> bool:
        """Keep a primal point if it is better; whether it was."""
        better = bool(value < self.upper)
        if better:
            self.primal, self.upper = point, value
        return better

    def offer_dual(self, point: D, value: float) -> bool:
        """Keep multipliers if they prove more; whether they did."""
        better = bool(value > self.lower)
        if better:
            self.dual, self.lower = point, value
        return better

    def report(self) -> None:
        """Tell the monitor."""
        self.monitor.report(self.upper, self.lower, None if self.primal is None else self.answer)

    def ended(self, iterations: int) -> Termination | None:
        """Why to stop now, if there is a reason."""
        if self.upper <= 0.0 or self.certificate.relative_gap <= self.settings.tolerance:
            return Termination.CONVERGED
        if self.monitor.stopped:
            return Termination.INTERRUPTED
        deadline = self.monitor.deadline
        if deadline is not None and time.perf_counter() >= deadline - min(self.reserve, self._most_kept):
            return Termination.TIME_LIMIT
        return Termination.ITERATION_LIMIT if iterations >= (self.settings.max_iterations or self.most) else None
