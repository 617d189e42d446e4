"""What a structured backend knows so far: the best primal and dual points, each with what it is worth."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Generic, TypeVar

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.kit.deadline import Deadline
from cvxrobust.core.settings import Settings

P = TypeVar("P")
D = TypeVar("D")


class BestSoFar(Generic[P, D]):
    """The best primal and dual points of a solve, and whether it is over.

    Both only ever get better, and need not be of the same iterate. What they are is the backend's own business: where
    they are not a network and multipliers as the programme wants them, `answer` makes these of them.

    Args:
        settings: The tolerance, a relative gap, and perhaps a limit on iterations.
        monitor: Says when to stop, and hears of what is reported.
        most: Iterations of the method at work, unless the settings say otherwise; None for no end.
        answer: Makes a `Solution` of the best primal point and the best multipliers, None before the first: the answer
            in the end, and what is judged or kept meanwhile, should this solve have to be ended.
        deadline: Says why to stop, with a reserve of time; None for one of the monitor's.

    Attributes:
        primal: The best primal point; None before the first.
        upper: Its objective.
        dual: The best multipliers; None before the first.
        lower: The bound that they prove.
    """

    def __init__(
        self,
        settings: Settings,
        monitor: Monitor,
        most: int | None = None,
        answer: Callable[[P, D | None], Solution] | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self.settings, self.monitor, self.most, self.answer = settings, monitor, most, answer
        self.deadline = deadline or Deadline(monitor)
        self.primal: P | None = None
        self.dual: D | None = None
        self.upper, self.lower = math.inf, -math.inf

    @property
    def certificate(self) -> Certificate:
        """Both bounds."""
        return Certificate(self.upper, self.lower)

    @property
    def gap(self) -> float:
        """The relative gap between them."""
        return self.certificate.relative_gap

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
        """Tell the monitor, who may ask for the answer so far."""
        self.monitor.report(self.upper, self.lower, None if self.primal is None else self.so_far)

    def so_far(self) -> Solution:
        """The answer if all ended now."""
        return self.solution(Termination.TIME_LIMIT)

    def solution(self, termination: Termination, **said: Any) -> Solution:
        """The best of both as an answer.

        Args:
            termination: Why the solve has ended.
            said: Further fields of the `Solution`: iterations, message, what was applied.
        """
        if self.primal is None:
            return Solution(termination, **said)
        if self.answer is not None:
            return replace(self.answer(self.primal, self.dual), termination=termination, **said)
        network: Any = self.primal
        return Solution(termination, network=network, multipliers=self.dual, **said)

    @property
    def late(self) -> bool:
        """Whether somebody has stopped the solve, or only what the deadline reserves still fits in."""
        return self.deadline.reason is not None

    def ended(self, iterations: int) -> Termination | None:
        """Why to stop after so many iterations, if there is a reason. No objective is below 0."""
        if self.upper <= 0.0 or self.gap <= self.settings.tolerance:
            return Termination.CONVERGED
        if (reason := self.deadline.reason) is not None:
            return reason
        most = self.settings.max_iterations or self.most
        return None if most is None or iterations < most else Termination.ITERATION_LIMIT
