"""The exact worst case of small ReLU networks inside a ball: mixed-integer programming, or branch and bound for l2.

Only neurons that change sign inside the ball and push the margin down need a decision: for all others the margin is
linear or convex in the input.
"""

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import EPS, Norm
from cvxrobust.core.attacks.relu_bounds import Array, Contests, attack, lower_bounds


@dataclass(frozen=True)
class ReLUExactTuning:
    """When a worst case counts as known, and how far multipliers and barriers go for it."""

    tolerance: float = 1e-5
    """A sample counts as proven when its margin is known to this fraction of the most that the ball could change it."""

    gap: float = 1e-6
    """In the same unit: where branch and bound stops."""

    highs_allowance: float = 1e-6
    """In the same unit: what the tolerances of HiGHS could add to its dual bound."""

    objective_scale: float = 1e3
    """HiGHS compares objectives in absolute terms; this makes its tolerances small beside ours."""

    largest_multiplier: float = 1e4
    """Size that a multiplier of a neuron's sign may have, at most; any that is used gives a valid bound."""

    last_barrier: float = 2e-9
    """Weight of the barriers, in units of the margin's scale, below which the path of a node ends."""


TUNING = ReLUExactTuning()


@dataclass(frozen=True)
class UnitBall:
    """One contest on the unit ball: ``base + scale (g'z + sum_j c_j relu(a_j + w_j'z))`` with ``||z||_p <= 1``.

    Neurons of constant sign are in base and g; the others satisfy ``||w_j||_q <= 1`` and ``|a_j| <= 1``, and
    ``||g||_q + sum_j |c_j| = 1``. Of attacks that have a shape, ``D = radius S z``, z are the coordinates.
    """

    base: float
    scale: float
    g: Array
    c: Array
    a: Array
    W: Array
    attack: AttackBall

    @classmethod
    def of(cls, contest: Contests) -> "UnitBall":
        """From a single contest."""
        t, low, high = (bounds[0] for bounds in contest.intervals())
        C, radius = contest.C[0], float(contest.attack.radius[0])
        crossing, active = (low < 0.0) & (high > 0.0), low >= 0.0
        half = 0.5 * (high - low)[crossing]
        g = radius * contest.attack.pulled_apart(((C * active) @ contest.V)[None])[0]
        c = C[crossing] * half
        scale = float(contest.attack.geometry.dual_norm(g) + np.abs(c).sum())
        unit = scale if scale > 0.0 else 1.0
        W = radius * contest.attack.pulled_apart(contest.V[crossing][None])[0] / half[:, None]
        base = float((C * active) @ t)
        return cls(base, scale, g / unit, c / unit, t[crossing] / half, W, contest.attack)

    def value(self, z: Array) -> float:
        """The margin at z."""
        return self.base + self.scale * float(self.g @ z + self.c @ np.maximum(self.a + self.W @ z, 0.0))


@dataclass(frozen=True)
class _Polytope:
    """A unit ball as ``z = Z @ parts`` with ``least <= parts <= 1`` and, where `shared`, ``sum parts <= 1``."""

    Z: Array
    least: float
    shared: bool


POLYTOPES: dict[Norm, Callable[[int], _Polytope]] = {
    "inf": lambda d: _Polytope(np.eye(d), -1.0, False),
    # The positive and the negative part.
    1: lambda d: _Polytope(np.hstack([np.eye(d), -np.eye(d)]), 0.0, True),
}


def mixed_integer(ball: UnitBall, seconds: float) -> tuple[Array, float]:
    """The minimiser and a lower bound of the minimum, for the norms inf and 1, by HiGHS with big-M constraints.

    Every tolerance of HiGHS but that of the reduced costs enlarges the feasible set, so the dual bound errs below.

    Args:
        ball: The margin.
        seconds: Time after which the best bound so far is returned.

    Source: Tjeng, Xiao and Tedrake (2019), arXiv:1711.07356, Sec. 4.1.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    d, k, b = ball.g.size, ball.c.size, int((ball.c < 0.0).sum())
    polytope = POLYTOPES[ball.attack.norm](d)
    Z, n_z = polytope.Z, polytope.Z.shape[1]
    smallest = np.concatenate([np.full(n_z, polytope.least), np.zeros(k + b)])
    found = milp(
        TUNING.objective_scale * np.concatenate([ball.g @ Z, ball.c, np.zeros(b)]),
        integrality=np.concatenate([np.zeros(n_z + k), np.ones(b)]),
        bounds=Bounds(smallest, np.concatenate([np.ones(n_z), ball.a + 1.0, np.ones(b)])),
        constraints=[LinearConstraint(A, -np.inf, upper) for A, upper in _big_m(ball, polytope) if A.shape[0]],
        options={"time_limit": seconds, "mip_rel_gap": 0.0},
    )
    # A linear programme reports no bound of its own; there the optimum is one.
    bound = found.mip_dual_bound if b else (found.fun if found.status == 0 else None)
    z = np.zeros(d) if found.x is None else ball.attack.geometry.project(Z @ found.x[:n_z], np.ones(()))
    lower = -np.inf if bound is None or np.isnan(bound) else bound / TUNING.objective_scale - TUNING.highs_allowance
    return z, ball.base + ball.scale * lower


def _big_m(ball: UnitBall, polytope: _Polytope) -> list[tuple[Array, Array]]:
    """Constraints ``A x <= upper`` on x: the parts of z, outputs h >= 0 of the neurons, choices e of those with c < 0.

    Where c > 0, ``h >= a + w'z``. Where c < 0, ``h <= a + w'z - (a - 1) (1 - e)`` and ``h <= (a + 1) e``.
    """
    k, up, down = ball.c.size, np.flatnonzero(ball.c > 0.0), np.flatnonzero(ball.c < 0.0)
    t, h, e = ball.W @ polytope.Z, np.eye(k), np.zeros((k, down.size))
    e[down, np.arange(down.size)] = 1.0
    above = np.hstack([t, -h, 0.0 * e])
    below = np.hstack([-t, h, -e * (ball.a - 1.0)[:, None]])
    gated = np.hstack([0.0 * t, h, -e * (ball.a + 1.0)[:, None]])
    constraints = [(above[up], -ball.a[up]), (below[down], np.ones(down.size)), (gated[down], np.zeros(down.size))]
    if polytope.shared:
        total = np.concatenate([np.ones(polytope.Z.shape[1]), np.zeros(k + down.size)])
        constraints.append((total[None], np.ones(1)))
    return constraints


def branch_and_bound(ball: UnitBall, incumbent: float, seconds: float) -> tuple[Array, float]:
    """The minimiser and a rigorous lower bound of the minimum, for l2, splitting on the signs of neurons.

    A node fixes some signs and bounds the rest by linear relaxation with optimised multipliers; every bound is
    evaluated at explicit multipliers, so it holds however well they were optimised. With all signs fixed it is tight.

    Args:
        ball: The margin.
        incumbent: Value of a known attack; nodes above it are not worth a look.
        seconds: Time after which the best bound so far is returned.

    Source: Wang et al. (2021), arXiv:2103.06624 (split constraints in the linear bound by their multipliers).
    """
    deadline = time.monotonic() + seconds
    upper = (incumbent - ball.base) / ball.scale
    # Leaves cannot be split further; their bounds stay as they are.
    best, finished, order = np.zeros(ball.g.size), np.inf, count()
    signs = np.zeros(ball.c.size, dtype=np.int8)
    bound, z = _node(ball, signs, upper - TUNING.gap)
    heap = [(bound, next(order), signs, z)]
    while heap:
        bound, _, signs, z = heap[0]
        value = (ball.value(z) - ball.base) / ball.scale
        if value < upper:
            upper, best = value, z
        if bound >= upper - TUNING.gap or time.monotonic() > deadline:
            break
        heapq.heappop(heap)
        undecided = (ball.c < 0.0) & (signs == 0)
        if not undecided.any():
            finished = min(finished, bound)
            continue
        split = _worst_chord(ball, z, undecided)
        for sign in (-1, 1):
            child = signs.copy()
            child[split] = sign
            tighter, new_z = _node(ball, child, upper - TUNING.gap)
            heapq.heappush(heap, (max(bound, tighter), next(order), child, new_z))
    lower = min([finished, *(node[0] for node in heap[:1])])
    return best, ball.base + ball.scale * min(lower, upper)


def _worst_chord(ball: UnitBall, z: Array, among: NDArray[np.bool_]) -> int:
    """The neuron whose chord underestimates its part of the margin most at z."""
    t = ball.a + ball.W @ z
    error = ball.c * (0.5 * (ball.a + 1.0) * (t + 1.0 - ball.a) - np.maximum(t, 0.0))
    return int(np.argmin(np.where(among, error, np.inf)))


def _node(ball: UnitBall, signs: NDArray[np.int8], enough: float) -> tuple[float, Array]:
    """The best bound ``constant + a'w - ||g + W'w||_2`` of a node in units of scale, and the point z that goes with it.

    A neuron that pushes up takes any w in [0, c], an undecided one that pushes down the slope of its chord, one fixed
    active any w <= c and one fixed inactive any w >= 0. Bounds of at least `enough` need not be the best.
    """
    chord = 0.5 * ball.c * (ball.a + 1.0)
    undecided = (ball.c < 0.0) & (signs == 0)
    constant = float((0.5 * ball.c * (1.0 - ball.a**2))[undecided].sum())
    low = np.select([undecided, signs > 0], [chord, np.full(chord.size, -TUNING.largest_multiplier)], 0.0)
    high = np.select([undecided, signs < 0], [chord, np.full(chord.size, TUNING.largest_multiplier)], ball.c)
    free = low < high
    g, W, a = ball.g + chord[~free] @ ball.W[~free], ball.W[free], ball.a[free]
    constant += float(ball.a[~free] @ chord[~free])
    path = _CentralPath(g, W, a, low[free], high[free])
    rounding = (16.0 + chord.size + g.size) * EPS
    bound, barrier = -np.inf, 0.1
    while True:
        w, z = path.follow(barrier)
        size = 1.0 + 3.0 * float(np.abs(w).sum())
        bound = max(bound, constant + float(a @ w) - float(np.linalg.norm(g + w @ W)) - rounding * size)
        if bound >= enough or barrier < TUNING.last_barrier:
            return bound, z
        barrier *= 0.1


class _CentralPath:
    """Maximises ``a'w - ||g + W'w||_2`` over the box [low, high] by a barrier method.

    The barriers are logarithmic, those of the box and of the ball ``||z||_2 < 1`` alike, so the z that goes with w is
    close to optimal even where the norm has its kink and z is inside the ball.
    """

    def __init__(self, g: Array, W: Array, a: Array, low: Array, high: Array) -> None:
        self.g, self.W, self.a, self.low, self.high = g, W, a, low, high
        # Close to the end that is no mere safeguard, where there is one.
        step = np.minimum(0.5 * (high - low), 0.1)
        self.w = np.where(low > -TUNING.largest_multiplier, low + step, high - step)

    def follow(self, barrier: float) -> tuple[Array, Array]:
        """Newton's method to the point of the path at this weight of the barriers: w and z."""
        for _ in range(50):
            G = self.g + self.w @ self.W
            root = (barrier**2 + float(G @ G)) ** 0.5
            z = -G / (barrier + root)
            below, above = 1.0 / (self.w - self.low), 1.0 / (self.high - self.w)
            Wz = self.W @ z
            gradient = self.a + Wz + barrier * (below - above)
            hessian = self.W @ self.W.T / (barrier + root) - np.outer(Wz, Wz) / root
            # The last term is there for rounding: parallel neurons with large multipliers would look singular.
            hessian[np.diag_indices_from(hessian)] += barrier * (below**2 + above**2) + EPS / (barrier + root)
            step = np.linalg.solve(hessian, gradient)
            decrement = (max(float(gradient @ step), 0.0) / barrier) ** 0.5
            # Where G vanishes z is as far from the path as this; only the last stage has to hit it.
            if decrement < (0.25 if barrier >= TUNING.last_barrier else 1e-5):
                break
            # The damped step of self-concordant functions: it stays inside the box and always improves.
            self.w = self.w + step / (1.0 + (decrement if decrement > 0.25 else 0.0))
        return self.w, z


METHODS: dict[Norm, Callable[[UnitBall, float, float], tuple[Array, float]]] = {
    "inf": lambda ball, incumbent, seconds: mixed_integer(ball, seconds),
    1: lambda ball, incumbent, seconds: mixed_integer(ball, seconds),
    2: branch_and_bound,
}
"""The minimiser and a lower bound, from the value of a known attack and a time limit."""


class Clock:
    """Shares what is left of a time limit equally among the samples that are left.

    Args:
        time_limit: Seconds for all samples together; None for no limit.
        n: Number of samples.
    """

    def __init__(self, time_limit: float | None, n: int) -> None:
        self._deadline = np.inf if time_limit is None else time.monotonic() + time_limit
        self._left = n

    def next_deadline(self) -> float:
        """When the next sample has to be done."""
        now = time.monotonic()
        share = max(self._deadline - now, 0.0) / max(self._left, 1)
        self._left -= 1
        return now + share


@dataclass(frozen=True)
class Solved:
    """What is known about every contest.

    Args:
        points: Attacks, shape (n, d).
        values: Values there, shape (n,).
        lower: Lower bounds over the balls, shape (n,).
        tolerance: Difference of the two that counts as none, shape (n,).
    """

    points: Array
    values: Array
    lower: Array
    tolerance: Array


def worst_cases(contests: Contests, samples: int, clock: Clock) -> Solved:
    """Minimise every contest that may decide a sample, the most dangerous rival first.

    Args:
        contests: An equal number for each sample in turn.
        samples: Number of samples.
        clock: Called once per sample.
    """
    points, values = attack(contests, 20, 5, np.random.default_rng(0))
    lower, allowance = lower_bounds(contests, 50), contests.allowance()
    tolerance = 2.0 * allowance
    for rivals in np.arange(values.size).reshape(samples, -1):
        deadline = clock.next_deadline()
        for i in rivals[np.argsort(lower[rivals], kind="stable")]:
            contest = contests.row(i)
            ball = UnitBall.of(contest)
            tolerance[i] += TUNING.tolerance * ball.scale
            seconds = deadline - time.monotonic()
            closed = values[i] - lower[i] <= 2.0 * allowance[i] + TUNING.gap * ball.scale
            if closed or seconds <= 0.0 or lower[i] >= values[rivals].min():
                continue
            z, bound = METHODS[ball.attack.norm](ball, float(values[i]), seconds)
            point = contest.X + contest.attack.radius[0] * contest.attack.pushed_apart(z[None])
            value = float(contest.expand(point)[0][0])
            if value < values[i]:
                points[i], values[i] = point[0], value
            lower[i] = max(lower[i], bound - allowance[i])
    return Solved(points, values, lower, tolerance)
