"""Rounds after the first: a problem that knows better gates is solved again, from where the last round ended."""

from collections.abc import Callable
from dataclasses import replace

from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.problem import RefinableProblem
from cvxrobust.core.contracts.result import Quality, Result, Round, Termination, Times
from cvxrobust.core.networks.base import N

GATES = ("fixed", "grow")

MAX_GROWTH = 100
"""Rounds of growth: each adds gates that lower the optimum, by less and less, and it would end by itself only once
there are thousands."""

TINY = 1e-12
"""Share of the objective that counts as none."""

GOOD = (Quality.UNUSABLE, Quality.INACCURATE, Quality.CERTIFIED)


def refined(
    problem: RefinableProblem[N],
    first: Result[N],
    grow: bool,
    again: Callable[[RefinableProblem[N], Result[N]], Result[N]],
    monitor: Monitor,
    elapsed: Callable[[], float],
) -> Result[N]:
    """The result of the last programme of the sequence, with the history of all.

    Args:
        problem: The problem that `first` solved.
        first: Its result.
        grow: Whether to add gates before regating.
        again: Solves a further problem from a previous result.
        monitor: Says when to stop.
        elapsed: Seconds into the solve.

    Returns:
        The last result that is no less certain than those before it: a round cut short does not spoil them.
    """
    result, times, iterations, rounds = first, first.times, first.iterations, first.rounds
    history = [Round("given", elapsed(), first.certificate, problem.size)]
    left = {"grown": MAX_GROWTH if grow else 0, "regated": problem.regate}
    while (step := _next(problem, result, left)) is not None:
        kind, better = step
        if monitor.should_stop:
            stopped = Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT
            result = replace(result, termination=stopped)
            break
        found = again(better, result)
        times, iterations, rounds = _sum(times, found.times), iterations + found.iterations, rounds + found.rounds
        history.append(Round(kind, elapsed(), found.certificate, better.size))
        if GOOD.index(found.quality) < GOOD.index(result.quality):
            result = _fallen_short(result, found, kind)
            break
        before = result.certificate.upper
        gained = max(before - found.certificate.upper, 0.0)
        if kind == "grown" and gained < max(problem.grow_gain, TINY) * before:
            left["grown"] = 0
            share = f"{gained / before:.1%}"
            said = f"growing ended with {better.size} slots, the last of which lowered the objective by {share}"
            found = replace(found, message="; ".join(filter(None, (said, found.message))))
        problem, result = better, replace(found, problem=better)
    return replace(result, times=times, iterations=iterations, rounds=rounds, history=tuple(history))


def _fallen_short(result: Result[N], found: Result[N], kind: str) -> Result[N]:
    """The last good result, which is not what was asked for: that was a further programme, and it is kept, too."""
    better = found.certificate.upper < result.certificate.upper
    # The caller's own limit is no failure: as much was refined as there was time for.
    limited = found.termination in (Termination.TIME_LIMIT, Termination.INTERRUPTED)
    said = (
        f"the {kind} programme ended {found.termination} at a gap of {found.certificate.relative_gap:.1e}, so this is "
        f"the one before; Result.unfinished has the other{', whose objective is lower' if better else ''}"
    )
    return replace(
        result,
        termination=found.termination,
        quality=result.quality if limited else min(result.quality, Quality.INACCURATE, key=GOOD.index),
        unfinished=found,
        message="; ".join(filter(None, (said, found.message))),
    )


def _next(
    problem: RefinableProblem[N], result: Result[N], left: dict[str, int]
) -> tuple[str, RefinableProblem[N]] | None:
    """What to solve next, first growing and then regating; None if nothing is left or nothing is better."""
    if left["grown"] > 0:
        larger = problem.grown(result.network, result.solution)
        left["grown"] = 0 if larger is None else left["grown"] - 1
        if larger is not None:
            return "grown", larger
    if left["regated"] > 0:
        left["regated"] -= 1
        better = problem.regated(result.network)
        if better is not None:
            return "regated", better
    return None


def _sum(first: Times, second: Times) -> Times:
    return Times(
        first.assemble + second.assemble,
        first.setup + second.setup,
        first.solve + second.solve,
        first.certify + second.certify,
    )
