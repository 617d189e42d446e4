"""What a structured backend knows so far: the best primal and dual points, each with what it is worth."""

import math
import time
from collections.abc import Callable, Iterator
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
        monitor: Says when to stop, and hears of what is reported; None for the time limit of the settings alone.
        most: Iterations of the method at work, unless the settings say otherwise; None for no end.
        answer: Makes a `Solution` of the best primal point and the best multipliers, None before the first: the answer
            in the end, and what is judged or kept meanwhile, should this solve have to be ended.
        deadline: Says why to stop, with a reserve of time; None for one of the monitor's.

    Attributes:
        primal: The best primal point; None before the first.
        upper: Its objective.
        dual: The best multipliers; None before the first.
        lower: The bound that they prove.
        iterations: Done so far, by `run`.
    """

    def __init__(
        self,
        settings: Settings,
        monitor: Monitor | None = None,
        most: int | None = None,
        answer: Callable[[P, D | None], Solution] | None = None,
        deadline: Deadline | None = None,
    ) -> None:
        self.settings, self.most, self.answer = settings, most, answer
        self.monitor = monitor or Monitor.within(settings.time_limit)
        self.deadline = deadline or Deadline(self.monitor)
        self.primal: P | None = None
        self.dual: D | None = None
        self.upper, self.lower, self.iterations = math.inf, -math.inf, 0

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
        so_far = None if self.primal is None else self.so_far
        self.monitor.report(self.upper, self.lower, so_far, iteration=self.iterations or None)

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
    def limits(self) -> dict[str, Any]:
        """The tolerance and the limit on iterations that count, for `Solution.applied`."""
        return {"tolerance": self.settings.tolerance, "max_iterations": self.settings.max_iterations or self.most}

    def run(self, rounds: Iterator[int], needed: float = 1.0) -> Termination:
        """Go through the rounds of a method until there is a reason to stop.

        Args:
            rounds: Yields the number of iterations done whenever the best so far was offered, before the first
                iteration and after each; it comes to an end where no iteration leads any further.
            needed: What is to be left of the time, in rounds, for another one and the last certificate.

        Returns:
            Why it stopped; "numerical" where the method has come to an end by itself.
        """
        began = time.perf_counter()
        for self.iterations in rounds:
            self.report()
            if (ended := self.ended(self.iterations)) is not None:
                return ended
            now = time.perf_counter()
            self.deadline.reserve, began = needed * (now - began), now
        return Termination.NUMERICAL

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
