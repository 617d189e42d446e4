"""Shor's bound of a margin in a box, for many samples at a time, by a primal-dual interior-point method.

With one multiplier per coordinate, in units of the widths,

    min_{|e_k| <= 1} 2 h'e + e'C e  >=  max  -sum_k lambda_k - lambda_m   with
    S = [[C + diag(lambda), h], [h', lambda_m]] psd,  lambda_k >= 0,

the dual of which is over moment matrices ``X`` psd with ``X_kk <= 1`` and ``X_mm = 1``. Both sides stay feasible at
every step, so that what is left between them is known, and every S that a Cholesky factorisation has accepted is a
proof, however far the method got. The step is that of Helmberg, Rendl, Vanderbei and Wolkowicz (1996, *An
interior-point method for semidefinite programming*, SIAM J. Optim. 6): as constraints are about the diagonal alone,
``X Diag(dlambda) S^-1`` needs an entrywise product and a system of order q + 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf

from cvxrobust.core.attacks.boxes.margins import BoxMargins

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)

BLOCK = 2**21
"""Entries of the largest temporary, about."""

STEPS = 60
"""Iterations after which a bound is taken as it is; 12 to 25 are the rule."""

BACK = 0.95
"""Which part of the way to the boundary of the cones a step goes, at most."""

STALLED = 1e-6
"""Steps that are shorter lead nowhere any more."""

SLOW, LATE = 0.8, 1e-5
"""Where less than this share of a small gap is closed in a step, rounding has taken over."""

SHORTER = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""What a step that left a cone is multiplied with, the first time and later."""


@dataclass(frozen=True)
class ShorBounds:
    """What is known of margins in boxes.

    Args:
        lower: Rigorous bounds of the margins, shape (n,).
        relaxed: What the relaxation itself is not above, shape (n,): no bound of this kind is better.
        multipliers: lambda in units of the widths, shape (n, q + 1).
        moments: X, shape (n, q + 1, q + 1); None unless it was asked for.
    """

    lower: Array
    relaxed: Array
    multipliers: Array
    moments: Array | None = None


def shor_bounds(
    margins: BoxMargins, *, tolerance: float = 1e-7, decide: float | None = None, moments: bool = False
) -> ShorBounds:
    """Bounds of all margins.

    Args:
        margins: Of n samples.
        tolerance: How near to the relaxation's value bounds shall come, relative to what boxes can change.
        decide: Stop with a sample where it is known on which side of this its relaxation is; None for never.
        moments: Whether to return them.
    """
    n, m = margins.values.size, margins.size + 1
    lower, relaxed, multipliers = np.empty(n), np.empty(n), np.zeros((n, m))
    kept = np.zeros((n, m, m)) if moments else None
    for rows in _blocks(n, m * m):
        own = margins.rows(rows)
        paths = _Paths(own)
        paths.follow(tolerance, decide)
        lower[rows], relaxed[rows] = paths.lower, paths.upper
        multipliers[rows] = paths.multipliers * paths.unit[:, None]
        if kept is not None:
            kept[rows] = paths.X
    return ShorBounds(lower, relaxed, multipliers, kept)


class _Paths:
    """The central paths of some samples, in units of what their boxes can change.

    Coordinates that a sample's box leaves alone are pinned: they have a multiplier that costs nothing.
    """

    def __init__(self, margins: BoxMargins) -> None:
        self.margins = margins
        C = margins.matrices()
        n, m, _ = C.shape
        size = np.abs(C).sum(axis=2)
        self.unit = size.max(axis=1)
        self.C = C / np.where(self.unit > 0.0, self.unit, 1.0)[:, None, None]
        self.free = np.ones((n, m), dtype=np.bool_)
        self.free[:, :-1] = margins.widths > 0.0
        # On the central path but for C itself, which is outweighed: products of pairs are all the same.
        inside = np.abs(self.C[:, :-1, :-1]).sum(axis=2).max(axis=1, initial=0.0)
        outweighs = 1.5 * (np.linalg.norm(self.C[:, -1], axis=1) + inside)[:, None] + EPS
        self.multipliers = np.where(self.free, 2.0 * outweighs, 1.0)
        self.multipliers[:, -1:] = outweighs
        self.X = np.zeros((n, m, m))
        inner = np.arange(m)
        self.X[:, inner, inner] = 0.5
        self.X[:, -1, -1] = 1.0
        self.lower, self.upper = np.full(n, -np.inf), np.full(n, np.inf)
        self._judge(np.arange(n))

    def follow(self, tolerance: float, decide: float | None) -> None:
        """Until bounds are as near as asked, or it is known on which side of `decide` they will end."""
        rows = np.arange(self.lower.size)
        for _ in range(STEPS if self.C.shape[1] > 1 else 0):
            done = self.upper[rows] - self.lower[rows] <= tolerance * self.unit[rows]
            if decide is not None:
                done |= (self.lower[rows] > decide) | (self.upper[rows] <= decide)
            rows = rows[~done]
            if not rows.size:
                return
            before = self.upper[rows] - self.lower[rows]
            moved = self._step(rows)
            left = self.upper[rows] - self.lower[rows]
            rows = rows[moved & ((left < SLOW * before) | (left > LATE * self.unit[rows]))]

    def _step(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """One step each, predicted and corrected; whose were more than nothing."""
        at = _Place.of(self.C[rows], self.multipliers[rows], self.X[rows], self.free[rows])
        ahead = at.direction(np.zeros(rows.size))
        reached = at.gap_after(ahead, *at.reach(ahead))
        centring = np.clip((reached / at.gap) ** 2, 1e-3, 0.5)
        step = at.direction(centring * at.gap / at.pairs, ahead)
        primal, dual = at.reach(step)
        self.X[rows] += primal[:, None, None] * step.X
        self.multipliers[rows] += dual[:, None] * step.multipliers
        self._judge(rows)
        return np.maximum(primal, dual) > STALLED

    def _judge(self, rows: NDArray[np.intp]) -> None:
        """What multipliers prove, and what moments say of how much is left."""
        lam, unit, m = self.multipliers[rows], self.unit[rows], self.C.shape[1]
        values, free = self.margins.values[rows], self.free[rows]
        cost = np.where(free, lam, 0.0).sum(axis=1)
        # S was factored: it is psd but for rounding, and [e; 1] is no longer than the root of q + 1.
        rounding = m * (m + 3.0) * EPS * (np.abs(self.C[rows]).max(axis=(1, 2)) * m + lam.sum(axis=1))
        proved = values - unit * (cost + rounding) - 4.0 * EPS * np.abs(values)
        self.lower[rows] = np.maximum(self.lower[rows], proved)
        reached = values + unit * (self.C[rows] * self.X[rows]).sum(axis=(1, 2))
        self.upper[rows] = np.minimum(self.upper[rows], reached)


@dataclass(frozen=True)
class _Direction:
    """Where to go from a place: changes of moments, of what their diagonals lack, and of multipliers."""

    X: Array
    slack: Array
    multipliers: Array


@dataclass(frozen=True)
class _Place:
    """Where paths are, with what directions are made of.

    Args:
        S: Shape (n, m, m), positive definite.
        inverse: Of S.
        multipliers: Shape (n, m).
        X: Shape (n, m, m), positive definite.
        slack: ``1 - diag(X)`` where that is bounded, shape (n, m).
        free: Which multipliers vary, shape (n, m).
        bounded: Which of them stay above 0, shape (n, m).
        system: The inverse of what multipliers are solved with, shape (n, m, m).
    """

    S: Array
    inverse: Array
    multipliers: Array
    X: Array
    slack: Array
    free: NDArray[np.bool_]
    bounded: NDArray[np.bool_]
    system: Array

    @classmethod
    def of(cls, C: Array, multipliers: Array, X: Array, free: NDArray[np.bool_]) -> "_Place":
        """From what paths know."""
        S, diagonal, bounded = C.copy(), np.arange(C.shape[1]), free.copy()
        S[:, diagonal, diagonal] += multipliers
        bounded[:, -1] = False
        inverse = np.linalg.inv(S)
        inverse = 0.5 * (inverse + inverse.transpose(0, 2, 1))
        slack = np.where(bounded, 1.0 - X[:, diagonal, diagonal], 0.0)
        system = X * inverse
        system[:, diagonal, diagonal] += slack / multipliers
        system = np.where(free[:, :, None] & free[:, None, :], system, np.eye(diagonal.size))
        return cls(
            S, inverse, multipliers, X, slack, free, bounded, np.asarray(np.linalg.inv(system), dtype=np.float64)
        )

    @property
    def gap(self) -> Array:
        """What is left between primal and dual, shape (n,)."""
        return np.asarray((self.X * self.S).sum(axis=(1, 2)) + (self.slack * self.multipliers).sum(axis=1))

    @property
    def pairs(self) -> Array:
        """How many products make it up, shape (n,)."""
        return np.asarray(self.X.shape[1] + self.bounded.sum(axis=1))

    def direction(self, mu: Array, ahead: _Direction | None = None) -> _Direction:
        """Towards products of mu, shape (n,), corrected for the products of what another direction changes."""
        diagonal, centre = np.arange(self.X.shape[1]), mu[:, None]
        over = np.where(self.bounded, 1.0 / self.multipliers, 0.0)
        rhs = centre * (self.inverse[:, diagonal, diagonal] + over) - 1.0
        target = centre[:, :, None] * self.inverse - self.X
        if ahead is not None:
            second = (ahead.X * ahead.multipliers[:, None, :]) @ self.inverse
            second = 0.5 * (second + second.transpose(0, 2, 1))
            target -= second
            rhs -= second[:, diagonal, diagonal] + ahead.slack * ahead.multipliers * over
        change = (self.system @ np.where(self.free, rhs, 0.0)[:, :, None])[:, :, 0]
        turned = (self.X * change[:, None, :]) @ self.inverse
        dX = target - 0.5 * (turned + turned.transpose(0, 2, 1))
        dX[:, -1, -1] = 0.0  # but for rounding it is
        return _Direction(dX, -np.where(self.bounded, dX[:, diagonal, diagonal], 0.0), change)

    def reach(self, step: _Direction) -> tuple[Array, Array]:
        """How far one may go, at most all of the way, with moments and with multipliers; shapes (n,)."""
        diagonal, changes = np.arange(self.X.shape[1]), np.zeros_like(self.S)
        changes[:, diagonal, diagonal] = step.multipliers
        primal = _to_boundary(self.slack, step.slack, self.bounded)
        dual = _to_boundary(self.multipliers, step.multipliers, self.bounded)
        return _kept_psd(self.X, step.X, primal), _kept_psd(self.S, changes, dual)

    def gap_after(self, step: _Direction, primal: Array, dual: Array) -> Array:
        """The gap at the end of a step of these lengths, shape (n,)."""
        lam, slack = self.multipliers + dual[:, None] * step.multipliers, self.slack + primal[:, None] * step.slack
        X = self.X + primal[:, None, None] * step.X
        diagonal = (X[:, np.arange(lam.shape[1]), np.arange(lam.shape[1])] * (lam - self.multipliers)).sum(axis=1)
        return np.asarray((X * self.S).sum(axis=(1, 2)) + diagonal + (slack * lam).sum(axis=1))


def _to_boundary(values: Array, changes: Array, among: NDArray[np.bool_]) -> Array:
    """How far changes may go, 1 at most, before a value is no longer above 0; shape (n,)."""
    falling = among & (changes < 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(falling, -values / np.where(falling, changes, 1.0), np.inf)
    return np.asarray(np.minimum(1.0, BACK * ratio.min(axis=1, initial=np.inf)))


def _kept_psd(M: Array, dM: Array, steps: Array) -> Array:
    """Steps shortened until matrices stay positive definite; 0 where nothing helps."""
    left, steps = np.arange(steps.size), steps.copy()
    for k in range(40):
        # Just inside is too near to the boundary to go on from.
        good = positive_definite(M[left] + (steps[left] / BACK)[:, None, None] * dM[left])
        left = left[~good]
        if not left.size:
            return steps
        steps[left] *= SHORTER[min(k, len(SHORTER) - 1)]
    steps[left] = 0.0
    return steps


def positive_definite(M: Array) -> NDArray[np.bool_]:
    """Which of n matrices a Cholesky factorisation accepts, shape (n,)."""
    try:
        np.linalg.cholesky(M)
    except np.linalg.LinAlgError:
        return np.array([dpotrf(own, lower=1, clean=0)[1] == 0 for own in M], dtype=np.bool_)
    return np.ones(M.shape[0], dtype=np.bool_)


def _blocks(n: int, entries: int) -> Iterator[slice]:
    step = max(1, BLOCK // max(entries, 1))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))
