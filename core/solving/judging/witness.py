"""What a running backend says about its progress: believed where `core` has proved it, named where it cannot be true.

A backend reports what it makes of its best iterate so far, and hands over the means to get that (`Monitor.report`).
Whatever it says is a claim. Now and then `core` asks for the iterate and judges it like any answer: only what comes of
that enters the trace, the user's callback, and any time to a gap. The clock stands still meanwhile, so that being
watched costs a solver nothing.
"""

import math
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from numbers import Real
from typing import Generic

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.contracts.weight import Weighed
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.judging.ledger import Ledger
from cvxrobust.core.solving.judging.sanitize import made_safe
from cvxrobust.core.solving.judging.verdict import Judged, Task, certified
from cvxrobust.core.strangers import described

NOTHING_SET = Settings()

SHARE = 0.02
"""Share of a solver's time that may go into judging its iterates."""

KEEPING = 0.1
"""The same where the solver may have to be ended in the midst of a step: what has been judged by then is the answer."""

SHRUNK = 0.3
"""An iterate is judged when the gap claimed for it is this fraction of the last one's: half a decade."""

STALE = 0.2
"""Otherwise when judging it takes this share of what is allowed: somebody may be watching."""

ROUNDING = 1e-9
"""Relative to the bounds: by how much they may cross or worsen."""


class Witness(Generic[N]):
    """Hears the reports of one backend about one programme.

    Args:
        task: What it solves.
        tolerance: Relative gap to certify.
        ledger: Gets what is proved.

    Attributes:
        judged: The best network handed over, and the best bounds proved, those known before included.
        seconds: How long judging took.
    """

    def __init__(self, task: Task[N], tolerance: float, ledger: Ledger[N]) -> None:
        self.task, self.tolerance, self.ledger = task, tolerance, ledger
        self.judged: Judged[N] = Judged(task.start or task.part.trivial_network(), task.known)
        self.seconds = 0.0
        self._began = time.perf_counter()
        self._claim = Certificate(math.inf, -math.inf)
        self._refused: Counter[str] = Counter()
        self._last_gap = math.inf
        self._costs = task.part.look if isinstance(task.part, Weighed) else 0.0

    def __call__(self, upper: float, lower: float, iterate: Callable[[], Solution] | None = None) -> bool:
        """Take in a report; whether it can be true."""
        reason = self._refusal(upper, lower)
        if reason:
            self._refused[reason] += 1
            return False
        self._claim = self._claim.best(Certificate(float(upper), float(lower)))
        if iterate is not None and self._is_worth_judging():
            self._judge(iterate)
        return True

    def conclude(self, solution: Solution, deadline: float | None) -> None:
        """Judge what the backend has returned, and forget its iterates if that is good enough.

        Solvers leave out of their answers what an accuracy like the one asked for does not need.
        """
        task, before = self.task, self.judged
        network = task.start or task.part.trivial_network()
        known = Judged(network, Certificate(task.known.upper, before.certificate.lower))
        keep = partial(self.ledger.keep, task.k)
        found = certified(task.part, solution, known, self.tolerance, keep, deadline)
        worse = found.certificate.upper > before.certificate.upper
        if worse and found.certificate.relative_gap > self.tolerance:
            best = found.certificate.best(before.certificate)
            found = Judged(before.network, best, found.unproved)
        self.judged = found
        self.ledger.report(task.k, found.certificate)

    def take_proved(self, network: N, certificate: Certificate) -> None:
        """Take in what `core` itself has found, a method of its own."""
        self.judged = Judged(network, certificate)
        self.ledger.keep(self.task.k, network, certificate)
        self.ledger.report(self.task.k, certificate)

    def complaints(self, certificate: Certificate) -> tuple[str, ...]:
        """What was wrong with the reports, in the light of what has been proved at last."""
        said = [
            f"reported {reason}{f' ({count} times)' if count > 1 else ''}" for reason, count in self._refused.items()
        ]
        slack = ROUNDING * max(abs(certificate.upper), abs(certificate.lower))
        if self._claim.lower > certificate.upper + slack:
            said.append(f"claimed a lower bound of {self._claim.lower:.6g}, but a network has {certificate.upper:.6g}")
        if self._claim.upper < certificate.lower - slack:
            said.append(f"claimed a network of {self._claim.upper:.6g}, but none is below {certificate.lower:.6g}")
        return tuple(said)

    def _refusal(self, upper: object, lower: object) -> str:
        """Why bounds cannot be true, or are none; empty where they may be."""
        if not isinstance(upper, Real) or not isinstance(lower, Real):
            return f"bounds that are no numbers: {type(upper).__name__}, {type(lower).__name__}"
        high, low = float(upper), float(lower)
        if math.isnan(high) or math.isnan(low) or high == -math.inf or low == math.inf:
            return f"bounds that are none: {high}, {low}"
        scale = max((abs(bound) for bound in (high, low) if math.isfinite(bound)), default=0.0)
        if low > high + ROUNDING * scale:
            return f"bounds that cross: {high:.6g} above, {low:.6g} below"
        if high > self._claim.upper + ROUNDING * scale or low < self._claim.lower - ROUNDING * scale:
            return "bounds worse than before"
        return ""

    def _is_worth_judging(self) -> bool:
        kept = self.ledger.is_heard
        spent = time.perf_counter() - self._began - self.seconds
        allowed = (KEEPING if kept else SHARE) * spent
        if self.seconds == 0.0 and kept:
            return True
        if self.seconds + self._costs > allowed:
            return False
        gap = self._claim.relative_gap
        return gap <= max(SHRUNK * self._last_gap, self.tolerance) or self._costs <= STALE * (allowed - self.seconds)

    def _judge(self, iterate: Callable[[], Solution]) -> None:
        began, k = time.perf_counter(), self.task.k
        with self.ledger.paused():
            try:
                solution = made_safe(iterate(), None, NOTHING_SET)
                if solution.termination is Termination.ERROR:
                    raise ValueError(solution.message)
                self.judged = certified(
                    self.task.part, solution, self.judged, self.tolerance, partial(self.ledger.keep, k), quick=True
                )
            except Exception as error:  # of somebody else's making
                self._refused[f"an iterate that cannot be judged: {described(error)}"] += 1
        self._costs = time.perf_counter() - began
        self.seconds += self._costs
        self._last_gap = self._claim.relative_gap
        self.ledger.report(k, self.judged.certificate)
