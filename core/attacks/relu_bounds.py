"""How small margins of ReLU networks get inside balls: attacks bound them from above, linear relaxations from below."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import EPS

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Contests:
    """Margins ``g_i(x) = sum_j C_ij relu(v_j'x + b_j)``, each over its own ball around x_i.

    Args:
        V: Neurons without the bias, shape (m, d).
        b: Biases, shape (m,).
        C: Output weights, own class less rival, shape (n, m).
        X: Centres, shape (n, d).
        attack: The balls, of n radii.
    """

    V: Array
    b: Array
    C: Array
    X: Array
    attack: AttackBall

    def row(self, i: int) -> "Contests":
        """The i-th contest alone."""
        one = slice(i, i + 1)
        return Contests(self.V, self.b, self.C[one], self.X[one], self.attack.of(one))

    def expand(self, X: Array) -> tuple[Array, Array]:
        """Values, shape (n,), and gradients, shape (n, d), at one point per contest."""
        t = X @ self.V.T + self.b
        return np.einsum("ij,ij->i", self.C, np.maximum(t, 0.0)), (self.C * (t > 0.0)) @ self.V

    def intervals(self) -> tuple[Array, Array, Array]:
        """Pre-activations t at the centres and rigorous bounds of them over the balls, all of shape (n, m)."""
        t = self.X @ self.V.T + self.b
        width = self.attack.reaches(self.V)
        slack = (4.0 + self.V.shape[1]) * EPS * self._sizes()
        return t, t - width - slack, t + width + slack

    def allowance(self) -> Array:
        """At least what rounding may add to a linear bound with weights of at most ``|C_ij|``, shape (n,)."""
        m, d = self.V.shape
        return np.asarray((16.0 + m + d) * EPS * np.einsum("ij,ij->i", np.abs(self.C), self._sizes()))

    def _sizes(self) -> Array:
        """Sums of the absolute values of the terms of each pre-activation are at most this, shape (n, m)."""
        centres = np.linalg.norm(self.X, axis=1)[:, None] * np.linalg.norm(self.V, axis=1)
        return np.asarray(centres + np.abs(self.b) + self.attack.radius[:, None] * self.attack.magnitude(self.V))


def attack(contests: Contests, steps: int, restarts: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Projected gradient descent on each margin, from the centre and from random points of the ball.

    Steps follow the steepest direction of the norm and shrink from half the radius to nothing; longer ones would throw
    all starts into the same corner. Last, the ball's minimiser of the linearisation is taken a few times: exact
    wherever the activation pattern stays. Everything happens in coordinates of the ball, whatever its image looks like.

    Returns:
        The best points, shape (n, d), and the values there, shape (n,); no value is above the centre's.
    """
    g, attacks, r = contests, contests.attack, contests.attack.radius
    ball, shape = attacks.geometry, (r.size, attacks.dimension)
    best, points = g.expand(g.X)[0], g.X.copy()

    def visit(e: Array) -> Array:
        moved = g.X + attacks.pushed_apart(e)
        value, gradient = g.expand(moved)
        better = value < best
        best[better], points[better] = value[better], moved[better]
        return np.asarray(attacks.pulled_apart(gradient))

    for start in range(restarts + 1):
        e = np.zeros(shape) if start == 0 else ball.sample(shape, r, rng)
        for k in range(steps):
            step = 0.5 * r * (1.0 - k / steps)
            e = ball.project(e - step[:, None] * ball.maximiser(visit(e)), r)
        visit(e)
    for _ in range(4):
        visit(-r[:, None] * ball.maximiser(attacks.pulled_apart(g.expand(points)[1])))
    return points, best


def lower_bounds(contests: Contests, steps: int) -> Array:
    """Rigorous lower bounds of each margin over its ball by linear relaxation, shape (n,).

    With t_j in [l_j, h_j], ``relu(t_j) >= s_j t_j`` for every s_j in [0, 1] and ``relu(t_j) <= h_j (t_j - l_j) / (h_j -
    l_j)``; the sum is linear in x, so its minimum over the ball is a dual norm. The s_j are first all 0, all 1, 1 where
    h_j > -l_j, and those of the chord; then `steps` supergradient steps improve the best of these, which in the limit
    is the best linear relaxation there is. Exact where no interval holds 0 inside.

    Source: Zhang et al. (2018), arXiv:1811.00866 (CROWN); Xu et al. (2021), arXiv:2011.13824 (optimised slopes).
    """
    C, ball, V = contests.C, contests.attack, contests.V
    t, low, high = contests.intervals()
    crossing = (low < 0.0) & (high > 0.0)
    free = crossing & (C > 0.0)
    chord = np.where(crossing, high / np.where(crossing, high - low, 1.0), high > 0.0)
    constant = np.einsum("ij,ij->i", np.where(crossing & (C < 0.0), -C * chord, 0.0), low)
    best, extent = np.full(len(C), -np.inf), ball.extent
    slopes = chord.copy()

    def visit(candidate: Array) -> Array:
        weights = C * candidate
        G = weights @ V
        value = np.einsum("ij,ij->i", weights, t) + constant - ball.reach(G)
        better = value > best
        best[better], slopes[better] = value[better], candidate[better]
        return G

    for guess in (chord, np.zeros_like(chord), np.ones_like(chord), (high > -low).astype(np.float64)):
        visit(np.where(free, guess, chord))
    if free.any():
        current = slopes.copy()
        for k in range(steps):
            D = -extent * ball.maximiser(visit(current))
            ascent = np.where(free, C * (t + D @ V.T), 0.0)
            size = np.abs(ascent).max(axis=1, initial=0.0, keepdims=True)
            current = np.clip(current + ascent / np.where(size > 0.0, size, 1.0) / (1.0 + k) ** 0.5, 0.0, 1.0)
        visit(current)
    return np.asarray(best - contests.allowance())
