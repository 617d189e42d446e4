"""Keeping a time limit whatever it takes to look at the problem: where steps may be too long, a child takes them.

A limit means: back within a twentieth or a second of it, whichever is more. Solves whose steps are short look at the
clock often enough, and run here. Where one step may take longer than there is time left (bounds of networks of
thousands of inputs, the assembly of a conic programme, its factorisation, an iteration), all of it runs in a child
(`cvxrobust.core.solving.child`), planning and reporting included. It sends what it has proved, network and bounds, as
soon as that improves, and is ended when the time is up; what it has sent is the answer. Before anything else there are
bounds of the network without neurons (`cvxrobust.core.contracts.weight`), which cost a pass over the data.
"""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.estimate import Estimate, Sized, estimated
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.result import Result, Termination, TracePoint, grade
from cvxrobust.core.contracts.weight import Weighed
from cvxrobust.core.environment import peak_memory, versions
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.networks.base import N
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.call import Audience, Call
from cvxrobust.core.solving.child import Send, Told, can_fork, run_in_child
from cvxrobust.core.solving.plan import Plan, Way
from cvxrobust.core.solving.structure import Structure
from cvxrobust.core.strangers import described


@dataclass(frozen=True)
class SupervisionTuning:
    """When a step may take too long, and what steps take."""

    short: tuple[float, float] = (0.15, 0.01)
    """Seconds, or share of the limit if that is more, up to which a step is short: estimates may be off by a factor,
    and the machine may be busy."""

    short_together: tuple[float, float] = (0.5, 0.025)
    """The same where several threads would work here: a child has one, so it must be worth that."""

    ample: float = 0.25
    """Share of the limit that a solve is expected to take, at most, where it matters nothing how long its steps are."""

    looks: float = 20.0
    """Looks at the problem that a solve takes, at least."""

    late: tuple[float, float] = (0.45, 0.03)
    """Seconds, or share of the limit if that is more, that a child may take beyond its time limit."""

    hurry: float = 1.0
    """Share of the limit that a look may take for a solve to begin with exact bounds, which are a third of a look."""

    assembled: float = 1e-6
    """Seconds that it takes to assemble a row or an entry of a conic programme and hand it to a solver, about."""

    unknown_row: float = 3e-5
    """Seconds that a row takes in a step of a conic solver that does not say what it costs."""

    unstoppable: float = 5.0
    """How many times as long a step of a backend takes that has no monitor: it is a whole solve, and what compiles
    it."""

    master: tuple[float, float, float] = (10.0, 1e-4, 1e-6)
    """A round of the cutting-set method takes so many looks at a problem, so many seconds per sample, and so many per
    squared entry of one of its psd matrices, about."""

    master_order: int = 30
    """Order of these matrices, at most, until the method has settled."""


TUNING = SupervisionTuning()


def is_heavy(problem: Problem[Any], settings: Settings) -> bool:
    """Whether already a look at a problem may take too long, so that even planning is not for this process."""
    limit = settings.time_limit
    if limit is None or not isinstance(problem, Weighed):
        return False
    look = problem.look
    return look > _short(settings) and TUNING.looks * look > TUNING.ample * limit and can_fork(settings.device)


def has_long_steps(problem: Problem[Any], plan: Plan, settings: Settings) -> bool:
    """Whether a step of some way may take too long."""
    limit, parts = settings.time_limit, problem.parts
    if limit is None or not all(isinstance(asked, Weighed) for asked in (problem, *parts)):
        return False
    costs = [_cost(plan.structure, way) for way in plan.ways]
    if len(parts) * costs[0].seconds <= TUNING.ample * limit:
        return False
    return any(cost.step > _short(settings) for cost in costs) and can_fork(settings.device)


def in_child(call: Call[N], monitor: Monitor, plan: Plan | None = None) -> Result[N]:
    """The result of a call whose work is done by a child, in time.

    Args:
        call: The call; it has a time limit.
        monitor: Says when to stop.
        plan: Its plan, if there is one already.

    Raises:
        CvxRobustError: The caller's mistake, as found by the child.
        NoChildError: There can be no child.
    """
    limit = call.settings.time_limit or 0.0
    until = call.clock + limit + max(TUNING.late[0], TUNING.late[1] * limit)
    first, trace = _first(call), []

    def hear(name: str, said: Any) -> None:
        if name == "said":
            if call.say is not None:
                call.say(said)
            return
        point: tuple[float, float, float] = said
        trace.append(TracePoint(*point))
        if call.callback is not None:
            call.callback(*point)
            if isinstance(call.callback, Audience):
                call.callback.check()  # nothing is lost by ending the child at once

    told = run_in_child(lambda send: _work(call, plan, monitor, send), monitor, until, hear)
    raised, found = told.get("raised"), _last(told)
    if isinstance(raised, CvxRobustError):
        raise raised
    if "done" not in told.latest:
        found = _ended(found or first, told, raised, monitor)
        found = replace(found, trace=tuple(trace))
    found = found or first
    return replace(found, times=replace(found.times, wall=time.perf_counter() - call.clock))


def _work(call: Call[N], plan: Plan | None, monitor: Monitor, send: Send) -> None:
    """What the child does."""
    own = monitor.sharing(monitor.deadline, None)
    signal.signal(signal.SIGINT, lambda signum, frame: own.stop())
    own_call = call.heard_by(lambda *point: send("bounds", point), lambda line: send("said", line))
    plan = plan or call.plan()
    # Nothing here need be isolated any more.
    plan = replace(plan, ways=tuple(replace(way, isolated=None) for way in plan.ways))
    plan = replace(plan, settings=tuple(settings.replace(threads=1) for settings in plan.settings))
    look = call.problem.look if isinstance(call.problem, Weighed) else 0.0
    session = own_call.begin(plan, own, hurried=look > TUNING.hurry * (own.remaining or 0.0))
    session.ledger.be_heard(lambda: send("kept", session.so_far()))
    results = session.run()
    # First what matters, then what may take long: the report, and the raw solution, which may be large or, from a
    # backend of others, nothing that can be sent.
    bare = [replace(result, solution=None) for result in results]
    send("answer", session.finish(bare, report=False))
    reported = session.finish([_with_memory(result) for result in results])
    send("reported", replace(reported, solution=None, parts=tuple(replace(p, solution=None) for p in reported.parts)))
    with suppress(Exception):  # whatever multipliers of strangers do when they are pickled
        send("whole", reported)


def _with_memory(result: Result[N]) -> Result[N]:
    """The result, whose solution says what memory this process took: it is not that of whoever reads it."""
    if result.solution is None:
        return result
    return replace(result, solution=replace(result.solution, peak_memory=peak_memory()))


def _last(told: Told) -> Any:
    """The last result that a child has sent and that can be read."""
    found = (told.get(name) for name in ("whole", "reported", "answer", "kept"))
    return next((result for result in found if isinstance(result, Result)), None)


def _ended(found: Result[N], told: Told, raised: Any, monitor: Monitor) -> Result[N]:
    """The last result of a child that did not get to the end."""
    if raised is not None:
        said = f"the process that solved raised {described(raised)}"
        kind = Termination.OUT_OF_MEMORY if isinstance(raised, MemoryError) else Termination.ERROR
        return replace(found, termination=kind, message=said)
    if told.signal:
        return replace(
            found, termination=Termination.KILLED, message=f"the process that solved was ended by signal {told.signal}"
        )
    if not told.ended:
        return replace(found, termination=Termination.ERROR, message="the process that solved ended without an answer")
    if "answer" in told.latest:
        return found  # all it lacks is the report
    kind = Termination.INTERRUPTED if monitor.stopped and not monitor.expired else Termination.TIME_LIMIT
    said = "ended in the midst of a step that took longer than there was time left; this is what was known before it"
    return replace(found, termination=kind, message="; ".join(filter(None, (found.message, said))))


def _first(call: Call[N]) -> Result[N]:
    """What is known before any work."""
    problem = call.problem
    bounds = problem.at_once() if isinstance(problem, Weighed) else None
    assert bounds is not None  # nobody comes here otherwise
    name = call.backend if isinstance(call.backend, str) else call.backend.name
    return Result(
        problem.trivial_network(), bounds, Termination.TIME_LIMIT, grade(bounds, call.settings.tolerance), name,
        call.method, peak_memory=peak_memory(), versions=versions(name.partition(":")[0]),
    )  # fmt: skip


def _short(settings: Settings) -> float:
    alone = settings.threads == 1 or os.cpu_count() == 1
    seconds, share = TUNING.short if alone else TUNING.short_together
    return max(seconds, share * (settings.time_limit or 0.0))


def _cost(structure: Structure[Any], way: Way) -> Estimate:
    """What a way would cost, and its longest step, as far as anybody knows."""
    part = structure.part
    look = part.look if isinstance(part, Weighed) else 0.0
    program = structure.read_by(way.backend) if way.method == "direct" else None
    size = part.conic_size if program is None and isinstance(part, Sized) else program
    estimate = way.estimate or (None if size is None else estimated(way.backend, size))
    if program is not None:
        return estimate or Estimate(TUNING.looks * look, step=look)
    rows, whole = part.conic_rows, 1.0 if way.backend.capabilities.monitored else TUNING.unstoppable
    assembly = TUNING.assembled * rows
    if isinstance(part, Sized):
        assembly += TUNING.assembled * (part.conic_size.nonzeros + part.conic_size.coupled)
    if way.method == "cutting-set":
        seconds = float("inf") if way.estimate is None else way.estimate.seconds
        return Estimate(seconds, step=TUNING.master[0] * look + whole * _master(part))
    if estimate is None:
        return Estimate(float("inf"), step=assembly + whole * TUNING.unknown_row * rows)
    return Estimate(estimate.seconds, step=assembly + estimate.step)


def _master(part: Problem[Any]) -> float:
    """Seconds that a conic solver takes for a master, about."""
    if not isinstance(part, Sized):
        return TUNING.unknown_row * part.conic_rows
    size = part.conic_size
    order = max(size.orders, default=1)
    attacked = max(size.orders.values(), default=2) - 2
    samples = attacked or size.rows
    within = min(order, TUNING.master_order)
    _, per_sample, per_entry = TUNING.master
    return per_sample * samples + per_entry * (0.5 * within * (within + 1)) ** 2
