"""The cutting-set method: robust problems on any conic backend, by small masters and exact worst cases.

Each round solves the problem over finitely many attacked points and within the span of finitely many neurons (a
master), then asks two exact questions: which attacks hurt the master's network most (trust-region subproblems;
Mutapcic and Boyd 2009, *Cutting-set methods for robust convex optimization with pessimizing oracles*, Optim. Methods
Softw. 24), and which neurons the master's multipliers miss most (pricing, as in column generation). Both sharpen the
next master; the first gives an upper bound of the optimum, the second a lower bound, every round.

What keeps masters few, small and well conditioned:

- their variables are turned to the principal axes of the last master's solution: in an arbitrary basis of the same
  span interior points stall (Breast Cancer, n = 455, radius 1: a gap of 2e-6 without, 1e-8 with);
- points whose multiplier is negligible are dropped, unless the master is small; once the gap is small, only while the
  bounds improve, and a sample that wants one back keeps its points longer; points that hardly differ are merged;
- directions that the solution does not use are dropped, too, whenever the gap has shrunk tenfold, until it is small;
- atoms and points that cannot matter at the present gap are not added;
- when progress slackens, worst cases are sought at a mixture of the master's network and the best one so far (in-out
  separation, Ben-Ameur and Neto 2007, *Acceleration of cutting-plane and column generation algorithms*, Networks 49),
  which damps the oscillation of cutting planes;
- once the gap is small, all directions in which the multipliers are infeasible are added at once, and the mirror images
  of worst cases where they are bad as well.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.masters import Mirrors, Turns
from cvxrobust.core.contracts.problem import Attacks, Master, RobustProblem
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.networks.base import N
from cvxrobust.core.programs.polynomial.certificate import DualBound
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.cutting_set.working_points import WorkingPoints

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CuttingSetTuning:
    """What is added and dropped, and when masters no longer help."""

    settled: float = 1e-3
    """Relative gap below which the neurons are known and only their directions change: the end of dropping atoms."""

    shrunk: float = 0.1
    """Atoms are dropped when the gap is at most this fraction of what it was the last time, so that they cannot
    cycle."""

    apart: float = 0.1
    """Mirror images closer to the worst case than this times the root of the gap are no second attack."""

    worthwhile: float = 0.1
    """Atoms and points are added if what they promise exceeds this fraction of the gap."""

    share: float = 0.5
    """Share of the master's network in the mixture of in-out rounds; halved while that brings no better network."""

    least_share: float = 1.0 / 32.0
    """It is halved no further."""

    slow: float = 0.6
    """A round that leaves more than this fraction of the gap makes the next one separate in-out."""

    stalled_rounds: int = 12
    stalled: float = 0.9
    """Rounds that together leave more than that of the gap: the masters' accuracy is what limits it then."""

    max_rounds: int = 500
    """Unless the settings say otherwise."""


TUNING = CuttingSetTuning()


@dataclass(frozen=True)
class Beginning(Generic[N]):
    """What is known of a problem before the first master.

    Args:
        start: A network to start from; None for the one without neurons.
        known: Bounds already proved, none of them tighter above than the start's objective.
    """

    start: N | None
    known: Certificate


@dataclass
class CuttingSetState(Generic[N]):
    """What the method knows: bounds, the network that attains the upper one, and the working set."""

    best: N
    certificate: Certificate
    working: WorkingPoints
    atoms: Any
    rounds: int = 0
    iterations: int = 0
    milestone: tuple[int, float] = (0, float("inf"))
    in_out: bool = False
    share: float = TUNING.share
    dropped_at: float = 1.0
    purge: bool = False
    assemble: float = 0.0
    setup: float = 0.0
    solve: float = 0.0
    certify: float = 0.0
    solution: Solution | None = None
    errors: tuple[float, ...] = field(default=())


def cutting_set(
    problem: RobustProblem[N],
    solve_conic: Callable[[Any, Settings], Solution],
    settings: Settings,
    monitor: Monitor,
    beginning: Beginning[N],
    keep: Callable[[N, Certificate], object] | None = None,
) -> tuple[CuttingSetState[N], Termination]:
    """Solve a robust problem by masters.

    Args:
        problem: A single (not one-versus-all) problem.
        solve_conic: Runs the backend on a `ConicProgram`.
        settings: ``tolerance`` is the certified gap to reach, ``max_iterations`` limits the rounds.
        monitor: Says when to stop; its `report` hears of better bounds.
        beginning: What is known before.
        keep: Hears of the best network and of the bounds whenever one of them improves.

    Returns:
        The final state, whose network and certificate are valid whenever and why ever it stopped, and why it did.
    """
    state = _initial_state(problem, beginning.start)
    state.certificate = state.certificate.best(beginning.known)
    state.dropped_at = min(state.certificate.relative_gap, 1.0)
    for _ in range(settings.max_iterations or TUNING.max_rounds):
        if state.certificate.relative_gap <= settings.tolerance:
            return state, Termination.CONVERGED
        if monitor.should_stop:
            return state, Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT
        if state.certificate.relative_gap <= TUNING.stalled * state.milestone[1]:
            state.milestone = state.rounds, state.certificate.relative_gap
            state.purge = False
        elif state.rounds - state.milestone[0] >= TUNING.stalled_rounds:
            if state.purge:
                return state, Termination.NUMERICAL
            # Crowded masters are ill-conditioned: try once more with the points that matter alone.
            state.milestone, state.purge = (state.rounds, state.milestone[1]), True
        before = state.certificate
        failure = _round(problem, solve_conic, settings, monitor, state)
        if failure is not None:
            return state, failure
        state.in_out = state.certificate.relative_gap > TUNING.slow * before.relative_gap
        if state.certificate != before:
            monitor.report(state.certificate.upper, state.certificate.lower, iteration=state.rounds)
        if keep is not None:
            keep(state.best, state.certificate)
    converged = state.certificate.relative_gap <= settings.tolerance
    return state, Termination.CONVERGED if converged else Termination.ITERATION_LIMIT


def _initial_state(problem: RobustProblem[N], start: N | None) -> CuttingSetState[N]:
    network = problem.trivial_network() if start is None else start
    attacks = problem.pessimize(network)
    bound = problem.dual(problem.network_multipliers(network))
    certificate = Certificate(problem.objective_at(network, attacks), bound.value)
    n = attacks.values.size
    atoms = problem.extended(problem.atoms_of(network), bound, 0.0)
    return CuttingSetState(network, certificate, WorkingPoints(np.arange(n), attacks.points, n), atoms)


def _round(
    problem: RobustProblem[N],
    solve_conic: Callable[[Any, Settings], Solution],
    settings: Settings,
    monitor: Monitor,
    state: CuttingSetState[N],
) -> Termination | None:
    """One master, its worst cases and its prices; returns a termination if the master gave nothing to go on with."""
    clock = time.perf_counter()
    master = problem.restricted(state.working.owners, state.working.points, state.atoms)
    program = master.to_conic()
    assembled = time.perf_counter()
    state.assemble += assembled - clock
    remaining = monitor.remaining
    limit = None if remaining is None else max(remaining, 1e-3)
    solution = solve_conic(program, replace(settings, max_iterations=None, time_limit=limit))
    solved = time.perf_counter()
    state.rounds += 1
    state.iterations += solution.iterations
    state.setup += solution.setup_seconds
    state.solve += solved - assembled - solution.setup_seconds
    state.solution, state.errors = solution, program.dimacs_errors(solution)
    if not (solution.has_primal and solution.has_dual):
        return solution.termination if solution.termination != Termination.CONVERGED else Termination.NUMERICAL

    network = master.recover(solution)
    query = problem.blend(network, state.best, state.share) if state.in_out else network
    attacks = problem.pessimize(query)
    multipliers = master.multipliers(solution)
    bound = problem.dual(multipliers)
    found = Certificate(problem.objective_at(query, attacks), bound.value)
    better = found.upper < state.certificate.upper
    if better:
        state.best = query
    if state.in_out:
        state.share = min(2.0 * state.share, TUNING.share) if better else max(0.5 * state.share, TUNING.least_share)
    before, state.certificate = state.certificate, state.certificate.best(found)
    _update_points(problem, state, network, attacks, multipliers.weights, state.certificate != before)
    _update_atoms(problem, state, master, solution, bound)
    state.certify += time.perf_counter() - solved
    return None


def _update_points(
    problem: RobustProblem[N],
    state: CuttingSetState[N],
    network: N,
    attacks: Attacks,
    weights: Array,
    improved: bool,
) -> None:
    """Add what the worst cases revealed, drop points that have not mattered for a while."""
    working, gap = state.working, state.certificate.absolute_gap
    settled = state.certificate.relative_gap <= TUNING.settled
    everyone = np.arange(attacks.values.size)
    known = working.losses(problem.losses_at_points(network, working.owners, working.points))
    worthwhile = known + TUNING.worthwhile * gap
    new = np.flatnonzero(problem.losses_at_points(network, everyone, attacks.points) > worthwhile)
    if new.size == 0:
        # Attacks on a mixture need not hurt the master's network; its own worst cases do, if anything does.
        attacks = problem.pessimize(network)
        new = np.flatnonzero(problem.losses_at(attacks.values) > worthwhile)
    batches = [(new, attacks.points)]
    if settled and isinstance(problem, Mirrors):
        others = problem.mirrored(network, attacks)
        apart = np.linalg.norm(others - attacks.points, axis=1) > TUNING.apart * np.sqrt(gap)
        bad = problem.losses_at_points(network, everyone, others) > worthwhile
        batches.append((np.flatnonzero(bad & apart), others))
    working.age(weights, state.solution is None or state.solution.termination is Termination.CONVERGED)
    # Far from the optimum a point dropped too early costs a round; close to it, rounds that repeat themselves.
    if state.purge or (working.crowded and (improved or not settled)):
        working.drop(np.setdiff1d(everyone, new) if problem.needs_every_sample else everyone[:0])
    for owners, points in batches:
        working.add(owners, points[owners], gap, settled)


def _update_atoms(
    problem: RobustProblem[N], state: CuttingSetState[N], master: Master[N], solution: Solution, bound: DualBound
) -> None:
    """Add the neurons that pricing found, drop directions that do not matter."""
    relative = min(state.certificate.relative_gap, 1.0)
    threshold, settled = TUNING.worthwhile * relative, relative <= TUNING.settled
    if isinstance(master, Turns):
        drop = not settled and relative <= TUNING.shrunk * state.dropped_at
        if drop:
            state.dropped_at = relative
        state.atoms = master.turned(solution, violation=threshold if settled else None, drop=drop)
    state.atoms = problem.extended(state.atoms, bound, threshold)
