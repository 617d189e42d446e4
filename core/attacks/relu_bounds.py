"""How small a margin of a ReLU network gets inside a ball: attacks bound it from above, linear relaxations from below.

For the norms inf, 2 and 1 of an attack, q is the dual norm: 1, 2 and inf.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.errors import UnknownNameError

Array = NDArray[np.float64]
Norm = Literal["inf", 1, 2]
NORMS: tuple[Norm, ...] = ("inf", 2, 1)
EPS = float(np.finfo(np.float64).eps)


def check_norm(norm: object) -> Norm:
    """The norm of the attack, if it is one of ``"inf"``, 2 and 1, as a number or in words.

    ``float("inf")`` is ``"inf"``, and ``"2"`` is 2.

    Raises:
        UnknownNameError: It is none of these.
    """
    spelled = norm.strip().lower() if isinstance(norm, str) else norm
    number = isinstance(norm, int | float | np.integer | np.floating) and not isinstance(norm, bool)
    for known in NORMS:
        if spelled == str(known) or (number and norm == float(known)):
            return known
    raise UnknownNameError("norm", norm, [str(known) for known in NORMS], 'Write norm="inf", norm=2 or norm=1.')


def dual_norm(G: Array, norm: Norm) -> Array:
    """``||g||_q`` of each row g: the largest ``g'z`` over ``||z||_p <= 1``."""
    if norm == "inf":
        return np.asarray(np.abs(G).sum(axis=1))
    return np.asarray(np.linalg.norm(G, axis=1) if norm == 2 else np.abs(G).max(axis=1))


def steepest(G: Array, norm: Norm) -> Array:
    """A z with ``||z||_p <= 1`` that attains ``g'z = ||g||_q``, for each row g; shape of G."""
    if norm == "inf":
        return np.sign(G)
    if norm == 2:
        length = np.linalg.norm(G, axis=1, keepdims=True)
        return np.asarray(G / np.where(length > 0.0, length, 1.0))
    rows, largest = np.arange(G.shape[0]), np.abs(G).argmax(axis=1)
    z = np.zeros_like(G)
    z[rows, largest] = np.sign(G[rows, largest])
    return z


def project(D: Array, radius: Array, norm: Norm) -> Array:
    """The point of the ball of each row's radius that is nearest to that row of D, in the Euclidean sense.

    The l1 projection is Duchi et al. (2008), Efficient projections onto the l1-ball, Fig. 1.
    """
    r = radius[:, None]
    if norm == "inf":
        return np.clip(D, -r, r)
    if norm == 2:
        length = np.linalg.norm(D, axis=1, keepdims=True)
        return np.asarray(D * np.where(length > r, r / np.where(length > 0.0, length, 1.0), 1.0))
    sizes = -np.sort(-np.abs(D), axis=1)
    excess = (np.cumsum(sizes, axis=1) - r) / np.arange(1, D.shape[1] + 1)
    last = np.maximum((sizes > excess).sum(axis=1), 1) - 1
    threshold = np.maximum(excess[np.arange(D.shape[0]), last], 0.0)[:, None]
    return np.asarray(np.sign(D) * np.maximum(np.abs(D) - threshold, 0.0))


def sample_ball(shape: tuple[int, int], radius: Array, norm: Norm, rng: np.random.Generator) -> Array:
    """One uniformly distributed point of the ball for each row."""
    if norm == "inf":
        return np.asarray(radius[:, None] * rng.uniform(-1.0, 1.0, shape))
    direction = rng.standard_normal(shape) if norm == 2 else rng.laplace(size=shape)
    length = np.linalg.norm(direction, ord=norm, axis=1)
    distance = radius * rng.uniform(size=shape[0]) ** (1.0 / shape[1])
    return np.asarray(direction * (distance / np.where(length > 0.0, length, 1.0))[:, None])


@dataclass(frozen=True)
class Contests:
    """Margins ``g_i(x) = sum_j C_ij relu(v_j'x + b_j)``, each over its own ball ``||x - x_i||_p <= radius_i``.

    Args:
        V: Neurons without the bias, shape (m, d).
        b: Biases, shape (m,).
        C: Output weights, own class less rival, shape (n, m).
        X: Centres, shape (n, d).
        radius: Shape (n,).
        norm: p.
    """

    V: Array
    b: Array
    C: Array
    X: Array
    radius: Array
    norm: Norm

    def row(self, i: int) -> "Contests":
        """The i-th contest alone."""
        one = slice(i, i + 1)
        return Contests(self.V, self.b, self.C[one], self.X[one], self.radius[one], self.norm)

    def expand(self, X: Array) -> tuple[Array, Array]:
        """Values, shape (n,), and gradients, shape (n, d), at one point per contest."""
        t = X @ self.V.T + self.b
        return np.einsum("ij,ij->i", self.C, np.maximum(t, 0.0)), (self.C * (t > 0.0)) @ self.V

    def intervals(self) -> tuple[Array, Array, Array]:
        """Pre-activations t at the centres and rigorous bounds of them over the balls, all of shape (n, m)."""
        t = self.X @ self.V.T + self.b
        width = self.radius[:, None] * dual_norm(self.V, self.norm)
        slack = (4.0 + self.V.shape[1]) * EPS * self._sizes()
        return t, t - width - slack, t + width + slack

    def allowance(self) -> Array:
        """At least what rounding may add to a linear bound with weights of at most ``|C_ij|``, shape (n,)."""
        m, d = self.V.shape
        return np.asarray((16.0 + m + d) * EPS * np.einsum("ij,ij->i", np.abs(self.C), self._sizes()))

    def _sizes(self) -> Array:
        """Sums of the absolute values of the terms of each pre-activation are at most this, shape (n, m)."""
        centres = np.linalg.norm(self.X, axis=1)[:, None] * np.linalg.norm(self.V, axis=1)
        return np.asarray(centres + np.abs(self.b) + self.radius[:, None] * dual_norm(self.V, self.norm))


def attack(contests: Contests, steps: int, restarts: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Projected gradient descent on each margin, from the centre and from random points of the ball.

    Steps follow the steepest direction of the norm and shrink from half the radius to nothing; longer ones would throw
    all starts into the same corner. Last, the ball's minimiser of the linearisation is taken a few times: exact
    wherever the activation pattern stays.

    Returns:
        The best points, shape (n, d), and the values there, shape (n,); no value is above the centre's.
    """
    g, r = contests, contests.radius
    best, points = g.expand(g.X)[0], g.X.copy()

    def visit(D: Array) -> Array:
        value, gradient = g.expand(g.X + D)
        better = value < best
        best[better], points[better] = value[better], (g.X + D)[better]
        return gradient

    for start in range(restarts + 1):
        D = np.zeros_like(g.X) if start == 0 else sample_ball(g.X.shape, r, g.norm, rng)
        for k in range(steps):
            step = 0.5 * r * (1.0 - k / steps)
            D = project(D - step[:, None] * steepest(visit(D), g.norm), r, g.norm)
        visit(D)
    for _ in range(4):
        visit(-r[:, None] * steepest(g.expand(points)[1], g.norm))
    return points, best


def lower_bounds(contests: Contests, steps: int) -> Array:
    """Rigorous lower bounds of each margin over its ball by linear relaxation, shape (n,).

    With t_j in [l_j, h_j], ``relu(t_j) >= s_j t_j`` for every s_j in [0, 1] and ``relu(t_j) <= h_j (t_j - l_j) / (h_j -
    l_j)``; the sum is linear in x, so its minimum over the ball is a dual norm. The s_j are first all 0, all 1, 1 where
    h_j > -l_j, and those of the chord; then `steps` supergradient steps improve the best of these, which in the limit
    is the best linear relaxation there is. Exact where no interval holds 0 inside.

    Source: Zhang et al. (2018), arXiv:1811.00866 (CROWN); Xu et al. (2021), arXiv:2011.13824 (optimised slopes).
    """
    C, r, V = contests.C, contests.radius, contests.V
    t, low, high = contests.intervals()
    crossing = (low < 0.0) & (high > 0.0)
    free = crossing & (C > 0.0)
    chord = np.where(crossing, high / np.where(crossing, high - low, 1.0), high > 0.0)
    constant = np.einsum("ij,ij->i", np.where(crossing & (C < 0.0), -C * chord, 0.0), low)
    best = np.full(r.size, -np.inf)
    slopes = chord.copy()

    def visit(candidate: Array) -> Array:
        weights = C * candidate
        G = weights @ V
        value = np.einsum("ij,ij->i", weights, t) + constant - r * dual_norm(G, contests.norm)
        better = value > best
        best[better], slopes[better] = value[better], candidate[better]
        return G

    for guess in (chord, np.zeros_like(chord), np.ones_like(chord), (high > -low).astype(np.float64)):
        visit(np.where(free, guess, chord))
    if free.any():
        current = slopes.copy()
        for k in range(steps):
            D = -r[:, None] * steepest(visit(current), contests.norm)
            ascent = np.where(free, C * (t + D @ V.T), 0.0)
            size = np.abs(ascent).max(axis=1, initial=0.0, keepdims=True)
            current = np.clip(current + ascent / np.where(size > 0.0, size, 1.0) / (1.0 + k) ** 0.5, 0.0, 1.0)
        visit(current)
    return np.asarray(best - contests.allowance())
