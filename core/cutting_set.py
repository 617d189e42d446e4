"""The cutting-set method: robust problems on any conic backend, by small masters and exact worst cases.

Each round solves the problem over finitely many attacked points and within the span of finitely many neurons (a
master), then asks two exact questions: which attacks hurt the master's network most (trust-region subproblems;
Mutapcic and Boyd 2009, *Cutting-set methods for robust convex optimization with pessimizing oracles*, Optim. Methods
Softw. 24), and which neurons the master's multipliers miss most (pricing, as in column generation). Both sharpen the
next master; the first gives an upper bound of the optimum, the second a lower bound, every round.

Three measures keep masters few and small:

- points whose multiplier is negligible are dropped, unless the master is small (Breast Cancer, n = 455, radius 0.3:
a gap
  of 2e-6 after 110 s without, 1e-6 in 5 s with);
- atoms and points that cannot matter at the present gap are not added (10 s became 5 s on the same instance);
- when progress slackens, worst cases are sought at a mixture of the master's network and the best one so far (in-out
  separation, Ben-Ameur and Neto 2007, *Acceleration of cutting-plane and column generation algorithms*, Networks 49),
  which damps the oscillation of cutting planes (radius 1, 40 s: a gap of 1e-3 without, 1e-4 with).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.backend import Monitor
from cvxrobust.core.certificate import Certificate, DualBound
from cvxrobust.core.problem import Attacks, RobustProblem
from cvxrobust.core.result import Solution, Termination
from cvxrobust.core.settings import Settings
from cvxrobust.core.two_layer import N

Array = NDArray[np.float64]

NEGLIGIBLE = 1e-2
"""A point matters while its multiplier exceeds this fraction of 1 / n."""

PURGE = 5e-2
"""The same after a master that its solver could not solve accurately: fewer points condition the next one better."""

PATIENCE = 1
"""Rounds that a point may be negligible before it is dropped."""

SMALL = 150
"""Masters with no more points than this keep them all."""

WORTHWHILE = 0.1
"""Atoms and points are added if what they promise exceeds this fraction of the gap."""

SLOW = 0.6
"""A round that leaves more than this fraction of the gap makes the next one separate in-out."""

STALLED_ROUNDS = 12
"""Rounds that together leave more than `STALLED` of the gap: the masters' accuracy is what limits it then."""

STALLED = 0.9

MAX_ROUNDS = 500


@dataclass
class CuttingSetState(Generic[N]):
    """What the method knows: bounds, the network that attains the upper one, and the working set."""

    best: N
    certificate: Certificate
    owners: NDArray[np.intp]
    points: Array
    idle: NDArray[np.intp]
    atoms: Any
    rounds: int = 0
    iterations: int = 0
    milestone: tuple[int, float] = (0, float("inf"))
    in_out: bool = False
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
    start: N | None = None,
    known: Certificate | None = None,
) -> tuple[CuttingSetState[N], Termination]:
    """Solve a robust problem by masters.

    Args:
        problem: A single (not one-versus-all) problem.
        solve_conic: Runs the backend on a `ConicProgram`.
        settings: ``tolerance`` is the certified gap to reach, ``max_iterations`` limits the rounds.
        monitor: Says when to stop; its `report` hears of better bounds.
        start: A network to start from.
        known: Bounds already proved, none of them tighter above than the start's objective.

    Returns:
        The final state, whose network and certificate are valid whenever and why ever it stopped, and why it did.
    """
    state = _initial_state(problem, start)
    if known is not None:
        state.certificate = state.certificate.best(known)
    for _ in range(settings.max_iterations or MAX_ROUNDS):
        if state.certificate.relative_gap <= settings.tolerance:
            return state, Termination.CONVERGED
        if monitor.should_stop:
            return state, Termination.INTERRUPTED if monitor.stopped else Termination.TIME_LIMIT
        if state.certificate.relative_gap <= STALLED * state.milestone[1]:
            state.milestone = state.rounds, state.certificate.relative_gap
            state.purge = False
        elif state.rounds - state.milestone[0] >= STALLED_ROUNDS:
            if state.purge:
                return state, Termination.NUMERICAL
            # Crowded masters are ill-conditioned: try once more with the points that matter alone.
            state.milestone, state.purge = (state.rounds, state.milestone[1]), True
        before = state.certificate
        failure = _round(problem, solve_conic, settings, monitor, state)
        if failure is not None:
            return state, failure
        state.in_out = state.certificate.relative_gap > SLOW * before.relative_gap
        if monitor.report is not None and state.certificate != before:
            monitor.report(state.certificate.upper, state.certificate.lower)
    converged = state.certificate.relative_gap <= settings.tolerance
    return state, Termination.CONVERGED if converged else Termination.ITERATION_LIMIT


def _initial_state(problem: RobustProblem[N], start: N | None) -> CuttingSetState[N]:
    network = problem.trivial_network() if start is None else start
    attacks = problem.pessimize(network)
    bound = problem.dual(problem.network_multipliers(network))
    certificate = Certificate(problem.objective_at(network, attacks), bound.value)
    n = attacks.values.size
    atoms = problem.extended(problem.atoms_of(network), bound, 0.0)
    return CuttingSetState(network, certificate, np.arange(n), attacks.points, np.zeros(n, dtype=np.intp), atoms)


def _round(
    problem: RobustProblem[N],
    solve_conic: Callable[[Any, Settings], Solution],
    settings: Settings,
    monitor: Monitor,
    state: CuttingSetState[N],
) -> Termination | None:
    """One master, its worst cases and its prices; returns a termination if the master gave nothing to go on with."""
    clock = time.perf_counter()
    master = problem.restricted(state.owners, state.points, state.atoms)
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
    query = problem.blend(network, state.best, 0.5) if state.in_out else network
    attacks = problem.pessimize(query)
    multipliers = master.multipliers(solution)
    bound = problem.dual(multipliers)
    found = Certificate(problem.objective_at(query, attacks), bound.value)
    if found.upper < state.certificate.upper:
        state.best = query
    state.certificate = state.certificate.best(found)
    _update_working_set(problem, state, network, attacks, multipliers.weights, bound)
    state.certify += time.perf_counter() - solved
    return None


def _update_working_set(
    problem: RobustProblem[N],
    state: CuttingSetState[N],
    network: N,
    attacks: Attacks,
    weights: Array,
    bound: DualBound,
) -> None:
    """Add what the worst cases and the prices revealed, drop points that have not mattered for a while."""
    n = attacks.values.size
    gap = state.certificate.absolute_gap
    # A sample without points has loss 0 in the master.
    known = np.zeros(n)
    losses = problem.losses_at_points(network, state.owners, state.points)
    np.maximum.at(known, state.owners, losses)
    everyone = np.arange(n)
    violation = problem.losses_at_points(network, everyone, attacks.points) - known
    if not (violation > WORTHWHILE * gap).any():
        # Attacks on a mixture need not hurt the master's network; its own worst cases do, if anything does.
        attacks = problem.pessimize(network)
        violation = problem.losses_at(attacks.values) - known
    new = np.flatnonzero(violation > WORTHWHILE * gap)
    inaccurate = state.solution is not None and state.solution.termination is not Termination.CONVERGED
    state.idle = np.where(np.abs(weights) > (PURGE if inaccurate else NEGLIGIBLE) / n, 0, state.idle + 1)
    # Dropping in a slow round risks cycling; small masters never need it.
    crowded = state.purge or state.owners.size > max(SMALL, n // 2)
    kept = (state.idle < PATIENCE) | (not crowded)
    if problem.needs_every_sample:
        orphaned = np.setdiff1d(everyone, np.union1d(state.owners[kept], new))
        kept |= np.isin(state.owners, orphaned)
    state.owners = np.concatenate([state.owners[kept], new])
    state.points = np.vstack([state.points[kept], attacks.points[new]])
    state.idle = np.concatenate([state.idle[kept], np.zeros(new.size, dtype=np.intp)])
    relative = state.certificate.relative_gap
    state.atoms = problem.extended(state.atoms, bound, WORTHWHILE * min(relative, 1.0))
