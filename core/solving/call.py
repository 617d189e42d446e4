"""A call of `solve` whose arguments have been checked: what is done with it, here or in a child."""

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Generic, Self

from cvxrobust.core.contracts.backend import Backend, Monitor
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.result import Callback, Solution
from cvxrobust.core.kit.threads import TorchModes
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.judging.ledger import Ledger
from cvxrobust.core.solving.plan import Plan, make_plan
from cvxrobust.core.solving.reporting.lines import Reporter, Say
from cvxrobust.core.solving.session import Session


class Audience:
    """The caller's callback: what it raises stops the solve, and then reaches the caller as it is.

    Backends report from wherever they are, and may swallow exceptions, or be blamed for them. So none passes through
    them: it is kept, the monitor stops whatever is running, and whoever leaves this context raises it.

    Args:
        callback: The callback.
        monitor: What the solve heeds.

    Attributes:
        raised: What the callback raised; None if it did not.
    """

    def __init__(self, callback: Callback, monitor: Monitor) -> None:
        self._callback, self._monitor, self._modes = callback, monitor, TorchModes()
        self.raised: BaseException | None = None

    def __call__(self, elapsed: float, upper: float, lower: float) -> None:
        """Tell the caller, unless he has raised something before."""
        if self.raised is not None:
            return
        try:
            with self._modes.restored():
                self._callback(elapsed, upper, lower)
        except BaseException as error:
            self.raised = error
            self._monitor.stop()

    def check(self) -> None:
        """Raise what the callback raised, if it did."""
        if self.raised is not None:
            raise self.raised

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.check()


@dataclass(frozen=True)
class Call(Generic[N]):
    """What `solve` was asked for.

    Args:
        problem: What to solve.
        backend: As for `solve`.
        method: As for `solve`.
        settings: Those of the call.
        grow: Whether a problem may add gates.
        polish: As for `solve`.
        callback: As for `solve`.
        starts: The parts' networks to start from; None for none.
        solution: A raw solution to start from, of the only part's programme.
        clock: When the call began, on `time.perf_counter`.
        say: Takes lines about what is reported and certified; None where nobody wants any.
    """

    problem: Problem[N]
    backend: str | Backend
    method: str
    settings: Settings
    grow: bool
    polish: bool | str | Backend | None
    callback: Callback | None
    starts: tuple[N, ...] | None
    solution: Solution | None
    clock: float
    say: Say | None = None

    def plan(self) -> Plan:
        """The ways to go; refuses what can be refused before any work."""
        return self._plan_of(self.problem)

    def _plan_of(self, problem: Problem[N]) -> Plan:
        return make_plan(problem, self.backend, self.method, self.settings, self.polish)

    def begin(self, plan: Plan, monitor: Monitor, *, hurried: bool = False) -> Session[N]:
        """The session, with the bounds to begin with."""
        starts = self.starts or [None] * len(self.problem.parts)
        reporter = None if self.say is None else Reporter(self.say, len(self.problem.parts), self.callback)
        heard = self.callback if reporter is None else reporter.certified
        ledger = Ledger(self.problem.parts, starts, heard, self.clock, hurried=hurried)
        return Session(
            self.problem, plan, self.settings, ledger, monitor, self._plan_of, grow=self.grow, solution=self.solution,
            reporter=reporter,
        )  # fmt: skip

    def heard_by(self, callback: Callback, say: Say) -> "Call[N]":
        """The same call, one thread, in a process whose bounds, and lines if there are any, somebody else hears."""
        own = self.settings.replace(threads=1)
        return replace(self, callback=callback, settings=own, say=None if self.say is None else say)
