"""The lines: what backends report as they go, and what `core` has proved.

They are made where the work is done, which may be a child, and said where the caller is. Backends need do nothing but
report to their monitor; of those that do not, there are the bounds before and after.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Callback, Solution
from cvxrobust.core.solving.judging.witness import Witness
from cvxrobust.core.solving.plan import Way

PROVED, REFUSED = "certified", "cannot be true"
"""What `core` makes of a report; most of them it only takes note of."""


WIDE, WIDER = 20, 30
"""Columns of who says so, of a single problem and of several."""


@dataclass(frozen=True)
class Line:
    """Something said.

    Args:
        text: The line.
        certificate: Bounds that it is about.
        whole: Whether they are about the whole problem.
    """

    text: str
    certificate: Certificate
    whole: bool = True

    @property
    def gap(self) -> float:
        """Their relative gap."""
        return self.certificate.relative_gap


Say = Callable[[Line], object]


class Reporter:
    """Makes the lines of one call.

    Args:
        say: Takes them.
        parts: Problems that are solved one by one, or together.
        callback: Hears of certified bounds besides; None for nobody.
    """

    def __init__(self, say: Say, parts: int, callback: Callback | None) -> None:
        self._say, self._parts, self._callback = say, parts, callback
        self._source, self._proved, self._listening = "start", False, False
        self._claimed: tuple[object, object] = None, None

    def certified(self, elapsed: float, upper: float, lower: float) -> None:
        """Certified bounds of all parts together; what a ledger calls back."""
        if self._callback is not None:
            self._callback(elapsed, upper, lower)
        self._proved = True
        # Of a single problem, what comes of a report is said with it, and what was reported is not said again.
        if self._parts > 1:
            self._say(line(elapsed, f"{'all classes':<{WIDER}}", upper, lower, None, PROVED))
        elif not self._listening and (upper, lower) != self._claimed:
            self._say(line(elapsed, self._source, upper, lower, None, PROVED))

    def watched(self, monitor: Monitor, way: Way, witness: Witness[Any]) -> Monitor:
        """A monitor whose reports reach a witness, and are said."""
        self._source = f"{way.backend.name}/{way.method}"
        source = self._source
        if self._parts > 1:
            source = f"{f'class {witness.task.k + 1}/{self._parts} {source}':<{WIDER}}"
        heard = monitor.sharing(monitor.deadline)

        def hear(upper: float, lower: float, iterate: Callable[[], Solution] | None = None) -> bool:
            self._listening, self._proved, self._claimed = True, False, (upper, lower)
            try:
                believed = witness(upper, lower, iterate)
            finally:
                self._listening = False
            worth = REFUSED if not believed else PROVED if self._proved and self._parts == 1 else ""
            said = line(witness.ledger.elapsed, source, upper, lower, heard.iteration, worth)
            self._say(replace(said, whole=self._parts == 1))
            return believed

        heard.hear = hear
        return heard


def watched_by(reporter: Reporter | None, monitor: Monitor, way: Way, witness: Witness[Any]) -> Monitor:
    """A monitor whose reports reach a witness; they are said, too, where there is a reporter."""
    if reporter is None:
        return monitor.sharing(monitor.deadline, witness)
    return reporter.watched(monitor, way, witness)


def line(elapsed: float, source: str, upper: object, lower: object, iteration: int | None, worth: str = "") -> Line:
    """A line about bounds, which may be anything that a backend has reported.

    Args:
        elapsed: Seconds into the call.
        source: Who says so.
        upper: Above the optimum.
        lower: Below it.
        iteration: Iterations so far; None if unknown.
        worth: What `core` makes of it.
    """
    bounds = Certificate(_number(upper), _number(lower))
    counted = "" if iteration is None else f"iteration {iteration}"
    text = (
        f"{elapsed:9.2f} s  {source:<{WIDE}} {counted:<14} lower {bounds.lower:14.8g}  upper {bounds.upper:14.8g}  "
        f"gap {bounds.relative_gap:7.1e}  {worth}"
    )
    return Line(text.rstrip(), bounds)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
