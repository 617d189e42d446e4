"""Polish: masters of the cutting-set method go on where another method leaves off.

A first-order method that reads the structure is at a certified gap of a thousandth before the cutting-set method has
found its neurons, but each further digit costs it more than the last. A master that starts from its network has the
neurons and the attacks already, and its solver's digits are cheap. So the first phase ends at `HANDOVER`, and the
masters of `cvxrobust.core.solving.cutting_set.method` do the rest, from its network and its bounds.
"""

import math
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.conic.program import require_cone_types
from cvxrobust.core.contracts.backend import Backend, ChecksSettings, Monitor, require_available
from cvxrobust.core.contracts.problem import Problem, RobustProblem
from cvxrobust.core.contracts.result import Phase, Result, Termination, Times, grade
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import CvxRobustError, InputError, UnsupportedProgramError
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.run import Run
from cvxrobust.core.solving.selection import isolatable, select

HANDOVER = 1e-5
"""Relative gap at which the first phase makes way, unless the caller wants no more than that.

Masters are small from where the first phase has settled on its neurons. Breast Cancer, n = 455, radius 0.3, to 1e-7:
17 s in all from a gap of 1e-3, 3.4 s from 1e-4, 2.9 s from 1e-5. Digits, n = 1500, d = 64, after a minute: a gap of
4e-5 from 1e-3 and from 1e-4, 1.7e-6 from 2e-5.
"""

COARSE = 1e-3
"""Gap by which the pace of the first phase is judged."""

PATIENCE = 4.0
"""The first phase makes way when it has taken this many times as long as it took to `COARSE`, whatever its gap."""

MOMENT = 1.0
"""Seconds that it has in any case: a warm start may be at `COARSE` at once."""

FIRST_SHARE = 0.5
"""Share of the time limit after which the first phase makes way, whatever its gap."""


@dataclass(frozen=True)
class Polish:
    """Who polishes.

    Args:
        backend: A conic backend with dual variables.
        isolated: The name by which a child process finds it, None if it has none.
    """

    backend: Backend
    isolated: str | None

    def solve(self, run: Run[N], part: Problem[N], k: int, monitor: Monitor, known: Certificate) -> Result[N]:
        """Both phases for one part.

        Args:
            run: The call that this is a part of; its backend and method are the first phase's.
            part: The part's problem.
            k: Its number.
            monitor: Says when both must end.
            known: Bounds on it so far.

        Returns:
            The better of either phase's network and bounds, with both among its `phases`; the first phase's result if
            nothing was left to do, or no time.
        """
        began, wanted = time.perf_counter(), run.settings.tolerance
        easier = run.settings.replace(tolerance=max(wanted, HANDOVER))
        pace = _Pace(monitor, began)
        first = replace(run, settings=easier, polish=None).attempt(part, k, pace.monitor, known)
        if first.termination is Termination.INTERRUPTED and not monitor.stopped:
            first = replace(first, termination=Termination.TIME_LIMIT)  # its own, not the caller's
        first = replace(first, quality=grade(first.certificate, wanted))
        if first.quality == "certified" or monitor.should_stop:
            return first
        middle = time.perf_counter()
        starts = list(run.starts)
        starts[k] = first.network
        masters: Run[N] = replace(
            run,
            backend=self.backend,
            isolated=self.isolated,
            method="cutting-set",
            settings=_own_settings(run.settings),
            starts=starts,
            polish=None,
        )
        try:
            second = masters.attempt(part, k, monitor, first.certificate)
        except CvxRobustError as error:
            # A licence that is missed only now, say: the first phase's answer is worth more than the complaint.
            message = f"{type(error).__name__}: {error}"
            second = replace(
                first, termination=Termination.ERROR, backend=self.backend.name, method="cutting-set",
                times=Times(), iterations=0, rounds=0, message=message,
            )  # fmt: skip
        return _joined(_timed(first, middle - began), _timed(second, time.perf_counter() - middle))


def polisher(part: Problem[Any], asked: bool | str | Backend, settings: Settings) -> tuple[Polish | None, str]:
    """Who polishes, and why where the choice was left open; everything that can be refused is refused here.

    Args:
        part: A single problem.
        asked: The `polish` of `solve`.
        settings: Those of the call.

    Raises:
        UnknownNameError: There is no such backend.
        BackendUnavailableError: It cannot run here.
        UnsupportedProgramError: It lacks a cone that masters need, or returns no dual variables.
        InputError: The problem has no masters, or `asked` is neither a choice nor a backend.
    """
    if asked is False:
        return None, ""
    if not isinstance(part, RobustProblem):
        raise InputError(
            f"{type(part).__name__} offers no exact worst case, so no masters can polish it; leave polish out."
        )
    if asked is True:
        backend, _, why = select(part, "auto", "cutting-set")
        spec: str | Backend = "auto"
    else:
        backend, why, spec = get_backend(asked), "", asked
    require_available(backend, _own_settings(settings))
    require_cone_types(part.cones, backend.capabilities.cones, backend.name)
    if not backend.capabilities.duals:
        raise UnsupportedProgramError(
            f"backend {backend.name!r} returns no dual variables, which masters need; polish with another."
        )
    if isinstance(backend, ChecksSettings):
        backend.check_settings(_own_settings(settings))
    return Polish(backend, isolatable(spec, backend)), f"polish by {why}" if why else ""


def _own_settings(settings: Settings) -> Settings:
    """The settings without native options: those are for the backend that the caller named."""
    return settings.replace(options={})


class _Pace:
    """Watches the first phase: `monitor` stops it when the masters' turn has come.

    It has a stop button of its own that the caller's also presses, because the caller's would stop the masters too.
    """

    def __init__(self, caller: Monitor, began: float) -> None:
        self._caller, self._began = caller, began
        self._button = _Button(caller)
        deadline = caller.deadline
        if deadline is not None:
            deadline = began + FIRST_SHARE * (deadline - began)
        self.monitor = Monitor(deadline, self._hear, self._button)

    def _hear(self, upper: float, lower: float) -> None:
        if self._caller.report is not None:
            self._caller.report(upper, lower)
        if math.isinf(self._button.deadline) and Certificate(upper, lower).relative_gap <= COARSE:
            spent = time.perf_counter() - self._began
            self._button.deadline = self._began + max(PATIENCE * spent, MOMENT)


class _Button(threading.Event):
    """Pressed by hand, with the caller's, or when the deadline has passed."""

    def __init__(self, caller: Monitor) -> None:
        super().__init__()
        self._caller = caller
        self.deadline = math.inf

    def is_set(self) -> bool:
        return super().is_set() or self._caller.stopped or time.perf_counter() > self.deadline


def _timed(result: Result[N], wall: float) -> Result[N]:
    return replace(result, times=replace(result.times, wall=wall))


def _joined(first: Result[N], second: Result[N]) -> Result[N]:
    """One result of two phases; the second began with the network and the bounds of the first."""
    both = (first, second)
    phases = tuple(
        Phase(r.backend, r.method, r.termination, r.certificate, r.times, r.iterations, r.rounds, r.message)
        for r in both
    )
    handed_over = first.certificate.relative_gap
    words = f" ({first.message})" if first.message else ""
    return replace(
        second,
        backend=" + ".join(r.backend for r in both),
        method=" + ".join(r.method for r in both),
        times=Times(**{name: sum(getattr(r.times, name) for r in both) for name in vars(first.times)}),
        iterations=sum(r.iterations for r in both),
        rounds=sum(r.rounds for r in both),
        peak_memory=max(r.peak_memory for r in both),
        phases=phases,
        applied={**first.applied, **{f"{second.backend}.{name}": value for name, value in second.applied.items()}},
        ignored={**first.ignored, **{f"{second.backend}.{name}": why for name, why in second.ignored.items()}},
        versions={**first.versions, **second.versions},
        message=f"handed over by {first.backend} ({first.termination}) at a gap of {handed_over:.1e} after "
        f"{first.times.wall:.2f} s{words}; {second.message}",
    )
