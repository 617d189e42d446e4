"""The front door: any problem, any backend, one judge."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import numpy as np

from cvxrobust.core.arguments import listener, word
from cvxrobust.core.contracts.backend import Backend, Monitor, harmless_options
from cvxrobust.core.contracts.problem import (
    Problem,
    RefinableProblem,
    RobustProblem,
    check_problem,
    offers,
)
from cvxrobust.core.contracts.provenance import with_provenance
from cvxrobust.core.contracts.result import Callback, Result
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import CvxRobustError, InputError
from cvxrobust.core.kit.interrupt import sigint_stops
from cvxrobust.core.kit.threads import blas_threads
from cvxrobust.core.networks.base import N, TwoLayerNetwork
from cvxrobust.core.settings import Settings, checked_settings
from cvxrobust.core.solving.call import Audience, Call
from cvxrobust.core.solving.child import NoChildError
from cvxrobust.core.solving.judging.sanitize import clean_error
from cvxrobust.core.solving.keeping import Keeper
from cvxrobust.core.solving.plan import Plan, check_method
from cvxrobust.core.solving.refinement import GATES
from cvxrobust.core.solving.reporting.lines import Line
from cvxrobust.core.solving.reporting.sinks import saying
from cvxrobust.core.solving.supervision import has_long_steps, in_child, is_heavy
from cvxrobust.core.strangers import shown


def solve(
    problem: Problem[N],
    backend: str | Backend = "auto",
    method: str = "auto",
    settings: Settings | None = None,
    *,
    gates: str = "fixed",
    polish: bool | str | Backend | None = None,
    callback: Callback | None = None,
    keep: Callable[[N], object] | None = None,
    warm_start: Result[N] | N | None = None,
) -> Result[N]:
    """Train to certified global optimality.

    The answer is a network whose exact objective is an upper bound of the optimum, and a dual lower bound; both are
    computed here in float64 and neither trusts the solver. Time limits and Ctrl-C end the solve with the best
    network so far.

    Args:
        problem: What to solve.
        backend: A registered name (see `cvxrobust.backends`), ``"cvxpy:NAME"`` for any conic solver that cvxpy finds, a
            backend object, or ``"auto"``.
        method: ``"direct"`` hands the whole programme to the backend; ``"cutting-set"`` solves a sequence of small
            masters and needs a `RobustProblem`; ``"auto"`` picks by size.
        settings: Tolerance, limits and native options; the defaults of `Settings` if None.
        gates: ``"grow"`` lets a ReLU problem add gates, round by round, while its multipliers say that they lower the
            optimum and a round lowers it by the problem's `grow_gain`; ``"fixed"`` keeps those it has.
        polish: A conic backend that goes on with masters of the cutting-set method where `backend` leaves off, until
            the certified gap is the one asked for; True picks one, False forbids it, None leaves it to the backend
            ``"auto"``. Needs a `RobustProblem`. See `cvxrobust.core.solving.session`.
        callback: Called with (elapsed seconds, upper, lower) whenever a certified bound improves; where gates are
            refined the bounds are those of the programme being solved. What it raises ends the solve, and is raised
            here as it is.
        keep: Called with the best network so far, the first at once, later ones every ten seconds at most, for whoever
            saves it: a solve that is killed goes on from it, as its `warm_start`. Backends that report no iterates have
            none before the end. What it raises is treated like what `callback` raises.
        warm_start: A previous result, or a network, to start from; its objective is an upper bound from the first
            moment.

    Returns:
        A `Result`; never an exception because a solver did not converge.

    Raises:
        UnknownNameError: There is no such backend, method or native option.
        BackendUnavailableError: The backend is known but cannot run here.
        UnsupportedProgramError: The backend lacks a cone that the programme needs.
        LicenceError: The solver refused for want of a licence.
        InputError: The warm start does not fit the problem or standardises its inputs (pass its ``inner``), the problem
            has no gates to grow, or it has no masters to polish with.
    """
    clock = time.perf_counter()  # first: asking a problem what it is may make it think
    settings = checked_settings(settings)
    listener(callback, "callback", "(elapsed seconds, upper, lower)", 3)
    listener(keep, "keep", "a network")
    check_method(method)
    check_problem(problem)
    if method == "cutting-set" and not offers(problem, RobustProblem):
        raise InputError(
            f"{type(problem).__name__} offers no exact worst case, so method 'cutting-set' does not apply; use 'auto'."
        )
    word(gates, "gates", GATES)
    if gates == "grow" and not offers(problem, RefinableProblem):
        raise InputError(f"{type(problem).__name__} has no gates, so gates='grow' does not apply; leave it out.")
    starts = _starts(problem, warm_start)
    one = starts is not None and len(starts) == 1
    solution = warm_start.solution if one and isinstance(warm_start, Result) else None
    monitor = Monitor(None if settings.time_limit is None else clock + settings.time_limit)
    audience = Audience(callback or _nobody, monitor)
    heard = None if callback is None else audience
    call = Call(
        problem, backend, method, settings, grow=gates == "grow", polish=polish, callback=heard,
        keep=_keeping(keep, audience), starts=starts, solution=solution, clock=clock,
    )  # fmt: skip
    # What a backend returns may be anything; overflow in judging it is not worth a warning.
    quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    try:
        # Where it may take long to look at the problem, even the plan is made where that can be ended.
        plan = None if is_heavy(problem, settings) else call.plan()
        with sigint_stops(monitor), blas_threads(settings.threads), quiet, audience, saying(settings.verbose) as say:
            result = _solved(replace(call, say=say), plan, monitor, audience)
            if say is not None:
                say(Line(str(result), result.certificate))
            return result
    except CvxRobustError as error:
        if audience.raised is not error:  # what the callback raises is the caller's own
            _hide_secrets(error, backend, settings)
        raise


def _solved(call: Call[N], plan: Plan | None, monitor: Monitor, audience: Audience) -> Result[N]:
    if plan is None or has_long_steps(call.problem, plan, call.settings):
        with suppress(NoChildError):  # better late than never
            return with_provenance(in_child(call, monitor, plan), call.problem)
    session = call.begin(plan or call.plan(), monitor)
    audience.check()
    results = session.run()
    audience.check()
    return with_provenance(session.finish(results), call.problem)


def _keeping(keep: Callable[[N], object] | None, audience: Audience) -> Callable[[Callable[[], N]], None] | None:
    """What hears of better networks where somebody keeps them."""
    if keep is None:
        return None
    keeper = Keeper(keep)
    return lambda network: audience.call(lambda: keeper(network))


def _nobody(elapsed: float, upper: float, lower: float) -> None:
    """Hears nothing."""


def _hide_secrets(error: CvxRobustError, backend: str | Backend, settings: Settings) -> None:
    """See to it that the text of an error repeats no option that nobody vouches for."""
    if not settings.options:
        return
    named = None
    with suppress(CvxRobustError):
        named = None if backend == "auto" else get_backend(backend)
    clean_error(error, settings, frozenset() if named is None else harmless_options(named))


def _starts(problem: Problem[N], warm_start: Result[N] | N | None) -> tuple[N, ...] | None:
    """The parts' networks to start from."""
    if warm_start is None:
        return None
    network = warm_start.network if isinstance(warm_start, Result) else warm_start
    if not isinstance(network, TwoLayerNetwork):
        raise InputError(f"warm_start is {shown(warm_start)}; expected a Result or a network.")
    try:
        network.check_inner()
        return tuple(problem.separate(network))
    except InputError as error:
        raise InputError(f"warm_start does not fit: {error}") from error
