"""One Newton step, in coordinates where both matrices of a point are diagonal.

With ``T+ + T- = F F'`` and ``T+ = F diag(t) F'``, the barrier's Hessian is diagonal, whatever the units. The optimum of
such programmes has T+ and T- a million times larger than their difference, which is all that samples see; what has to
be small beside beta has terms of size 1e8. So nothing may be computed as a difference that need not be: T+ - T- is a
variable of its own, the two traces are eliminated by hand, before anything is solved for that their multipliers would
make a million times larger, and every solution is refined with residuals of the whole system. As long as they fit into
memory the rows whose squares make up the Hessian are factored as they are, and multipliers follow from the forces,
the rows' values, which are exact to their own size, not to that of T.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular

from cvxrobust.backends.torch.polynomial.newton.curvature import Curvature
from cvxrobust.backends.torch.polynomial.newton.expansion import Expansion
from cvxrobust.backends.torch.polynomial.newton.packing import Packing

Array = NDArray[np.float64]
REFINEMENTS = 12
SETTLED = 1e-8
"""Squared residual, in units of nu, that needs no refinement."""
BALANCED = 1e-14
"""Relative error of a trace that needs none."""
RIDGES = 8
MATCHES = 2
"""Corrections of a solution whose rows' values are known."""
JOINTS = 3
SIGNS = (1.0, -1.0)


@dataclass(frozen=True)
class Point:
    """Two positive definite matrices ``T = L L'`` in white inputs, with ``tr W T_11 W' = T_22``.

    Args:
        plus: L+, square, shape (d + 1, d + 1).
        minus: L-.
        difference: ``T+ - T-``, the quadratic that samples see, as steps have moved it: computed from two matrices a
            million times larger it would lose the digits that multipliers must have. Symmetric.
    """

    plus: Array
    minus: Array
    difference: Array

    @property
    def lost(self) -> Array:
        """What rounding has done to ``T+ - T-`` beside `difference`, shape (d + 1, d + 1)."""
        return np.asarray(self.difference - (self.plus @ self.plus.T - self.minus @ self.minus.T))

    def barrier(self) -> float:
        """``-log det T+ - log det T-``."""
        return -2.0 * sum(float(np.linalg.slogdet(L)[1]) for L in (self.plus, self.minus))

    def penalty(self) -> float:
        """``T+_22 + T-_22``."""
        return float(sum(L[-1] @ L[-1] for L in (self.plus, self.minus)))


@dataclass(frozen=True)
class Step:
    """A solution of the linear system, or its part so far.

    Args:
        plus: Change of T+ in the point's coordinates, packed, shape (p,).
        minus: Of T-.
        difference: Change of T+ - T- in white inputs.
        forces: Of the samples' rows, ``rows @ difference`` more accurately than that has it, shape (n,); empty where
            there are no rows.
    """

    plus: Array
    minus: Array
    difference: Array
    forces: Array

    def extended(self, other: "Step") -> "Step":
        """Both together."""
        return Step(
            self.plus + other.plus, self.minus + other.minus, self.difference + other.difference,
            self.forces + other.forces,
        )  # fmt: skip


Solver = Callable[[Array, Array, Array], Step]


class NewtonSystem:
    """The linear system at a point.

    Args:
        point: Where.
        expansion: Of the loss about its difference.
        trace: ``diag(W'W, -1)``, whose inner product with both T is 0, shape (d + 1, d + 1).
        beta: Weight of the penalty.
        nu: Weight of the barrier.
        packing: Of matrices of order d + 1.
    """

    def __init__(
        self, point: Point, expansion: Expansion, trace: Array, beta: float, nu: float, packing: Packing
    ) -> None:
        self.point, self.expansion, self.nu, self.packing = point, expansion, nu, packing
        lower = np.asarray(np.linalg.qr(np.hstack([point.plus, point.minus]).T, mode="r")).T
        plus, minus = (solve_triangular(lower, L, lower=True) for L in (point.plus, point.minus))
        turn, values, turn_plus = np.linalg.svd(plus)
        rest = turn.T @ minus
        self.plus, self.minus = values * values, np.einsum("ij,ij->i", rest, rest)
        # Factors of T+ and T- in these coordinates, as rotations of those there are: no digit is lost.
        left, _, right = np.linalg.svd(rest / np.sqrt(self.minus)[:, None])
        self.factors = point.plus @ turn_plus.T, point.minus @ (left @ right).T
        F = lower @ turn
        self._lower, self._turn = lower, turn
        self._corner = packing.pack(trace)[:-1]
        self._into, self._weights = packing.congruence(F), trace[:-1, :-1]
        i, j = packing.rows, packing.columns
        self._plus, self._minus = self.plus[i] * self.plus[j], self.minus[i] * self.minus[j]
        self._both = self._plus + self._minus
        corner = np.zeros_like(F)
        corner[-1, -1] = 1.0
        self._penalty = beta * (self._into @ packing.pack(corner))
        self._trace = self._into @ packing.pack(trace)
        self._identity = tuple(packing.pack(np.diag(1.0 / t)) for t in (self.plus, self.minus))
        self._inverse = packing.congruence(turn.T @ solve_triangular(lower, np.eye(lower.shape[0]), lower=True))
        self._solve, self._along = self._solver(expansion.hessian)
        none = np.zeros(self.packing.size)
        self._still = Step(none, none, none, expansion.hessian.forces(np.zeros(0)))

    def newton(self) -> tuple[Step, float]:
        """The Newton step, and its squared length in the Hessian's norm in units of nu, the decrement."""
        step = self._refined(self.expansion.hessian, self._solve, self._still)
        return step, self._length(self.expansion.hessian, step)

    def _length(self, hessian: Curvature, step: Step) -> float:
        plus, minus = step.plus, step.minus
        curved = float(step.forces @ step.forces)
        if not step.forces.size:
            curved = float(step.difference @ hessian.times(step.difference, step.forces))
        return float(plus @ (plus / self._plus) + minus @ (minus / self._minus)) + curved / self.nu

    def joined(self, step: Step) -> Step:
        """The step with T+ - T- moving by exactly what samples are promised, and both traces kept."""
        nothing = np.zeros(self.packing.size)
        before = self._local(self.packing.pack(self.point.lost))
        for _ in range(JOINTS):
            difference, forces = self._level(step)
            lost = before + self._local(difference) - (step.plus - step.minus)
            share = self._plus / self._both
            step = Step(step.plus + share * lost, step.minus - (1.0 - share) * lost, difference, forces)
            added = self._solve(nothing, nothing, np.array([self._trace @ step.plus, self._trace @ step.minus]))
            step = step.extended(added)
        return step

    def _level(self, step: Step) -> tuple[Array, Array]:
        """The step's difference with a trace of 0, and its forces: moved by what the system answers to traces."""
        difference, forces = step.difference, step.forces
        if forces.size:
            along, pressed = self._along
            excess, own = (float(self._corner @ part[:-1] - part[-1]) for part in (difference, along))
            share = excess / own
            difference, forces = difference - share * along, forces - share * pressed
        difference = difference.copy()
        difference[-1] = self._corner @ difference[:-1]
        return difference, forces

    def _local(self, difference: Array) -> Array:
        """A packed change of T in the point's coordinates, by triangular solves: F times it gives it back."""
        half = solve_triangular(self._lower, self.packing.unpack(difference), lower=True)
        whole = solve_triangular(self._lower, half.T, lower=True)
        return self.packing.pack(self._turn.T @ whole @ self._turn)

    def fitted(self, step: Step, decrement: float) -> tuple[Step, float]:
        """The step that makes multipliers feasible whose attacks stay where they are, and its squared length."""
        fitted = self.expansion.fitted
        if fitted is self.expansion.hessian:
            return step, decrement
        start = Step(step.plus, step.minus, step.difference, fitted.forces(step.forces))
        found = self._refined(fitted, self._solver(fitted)[0], start)
        return found, self._length(fitted, found)

    def reach(self, step: Step) -> float:
        """How far along a step both matrices stay positive definite."""
        least = min(float(np.linalg.eigvalsh(X)[0]) for X in self._relative(step))
        return -1.0 / least if least < 0.0 else np.inf

    def moved(self, step: Step, length: float) -> Point:
        """The point at so much of a step.

        Raises:
            LinAlgError: It is none.
        """
        found = []
        for L, X in zip(self.factors, self._relative(step), strict=True):
            new = L @ np.linalg.cholesky(np.eye(X.shape[0]) + length * X)
            new[-1] *= np.sqrt(float(np.sum((self._weights @ new[:-1]) * new[:-1])) / float(new[-1] @ new[-1]))
            found.append(new)
        plus, minus = found
        return Point(plus, minus, self.point.difference + length * self.packing.unpack(step.difference))

    def _relative(self, step: Step) -> list[Array]:
        pairs = ((step.plus, self.plus), (step.minus, self.minus))
        return [self.packing.unpack(change) / np.sqrt(np.outer(t, t)) for change, t in pairs]

    def _residual(self, hessian: Curvature, step: Step) -> tuple[Array, Array]:
        """What stationarity lacks after a step, but for multiples of the trace's gradient."""
        G = self._into @ (self.expansion.G - hessian.times(step.difference, step.forces))
        found = []
        for sign, own, identity, change in (
            (1.0, self._plus, self._identity[0], step.plus),
            (-1.0, self._minus, self._identity[1], step.minus),
        ):
            residual = sign * G - self._penalty + self.nu * (identity - change / own)
            weighted = own * self._trace
            found.append(residual - self._trace * (float(weighted @ residual) / float(weighted @ self._trace)))
        return found[0], found[1]

    def _refined(self, hessian: Curvature, solve: Solver, step: Step) -> Step:
        """The solution with this Hessian of the losses, by steps that get ever smaller; the best where they do not."""
        least, best = np.inf, step
        for _ in range(REFINEMENTS):
            added = solve(*self._residual(hessian, step), np.array([self._trace @ step.plus, self._trace @ step.minus]))
            step = step.extended(added)
            plus, minus = self._residual(hessian, step)
            missing = float(plus @ (self._plus * plus) + minus @ (self._minus * minus)) / self.nu**2
            if missing < least:
                least, best = missing, step
            if not missing < np.inf or (missing < SETTLED and self._balanced(step)):
                break
        return best

    def _balanced(self, step: Step) -> bool:
        size = np.abs(self._trace)
        return all(abs(self._trace @ x) <= BALANCED * float(size @ np.abs(x)) for x in (step.plus, step.minus))

    def _factored(self, hessian: Curvature) -> "_Factored":
        if hessian.rows is not None:
            return _Rows(np.sqrt(self.nu / self._both)[:, None] * self._inverse.T, hessian.rows)
        assert hessian.matrix is not None
        return _Squares(self.nu * (self._inverse / self._both) @ self._inverse.T + hessian.matrix)

    def _solver(self, hessian: Curvature) -> tuple[Solver, tuple[Array, Array]]:
        """Solutions for residuals of both signs, and for what both traces have in excess, shape (2,).

        Also how T+ - T- and forces answer the trace's gradient.
        """
        nu, trace, both, shares = self.nu, self._trace, self._both, (self._plus, self._minus)
        factored = self._factored(hessian)

        def solved(right: Array) -> tuple[Array, Array, Array]:
            """The changes of T+ - T-, of forces, and of the losses' gradient in the point's coordinates."""
            found, forces = factored.solve(self._inverse @ right)
            return found, forces, right - nu * (self._inverse.T @ found) / both[:, None]

        # The multiplier of either trace, which two small equations find.
        sides = np.stack([-shares[0] * trace / both, shares[1] * trace / both], axis=1)
        aside, pressed, against = solved(sides)
        along = aside[:, 1] - aside[:, 0], pressed[:, 1] - pressed[:, 0]
        pushes = np.empty((2, 2))
        for k, (sign, share) in enumerate(zip(SIGNS, shares, strict=True)):
            pushes[k] = sign * ((share * trace) @ against)
            pushes[k, k] += float((share * trace) @ trace)

        def solve(plus: Array, minus: Array, excess: Array) -> Step:
            right = (shares[0] * plus - shares[1] * minus) / both
            gradient = solved(right[:, None])[2][:, 0]
            pairs = list(zip((plus, minus), SIGNS, shares, strict=True))
            wanted = [float((share * trace) @ (residual - sign * gradient)) for residual, sign, share in pairs]
            multipliers = np.linalg.solve(pushes, np.array(wanted) + nu * excess)
            # Once more with the multipliers in place: without them T is a million times larger.
            difference, forces, gradient = (part[:, 0] for part in solved((right + sides @ multipliers)[:, None]))
            up, down = (
                share / nu * (residual - sign * gradient - multiplier * trace)
                for (residual, sign, share), multiplier in zip(pairs, multipliers, strict=True)
            )
            return Step(up, down, difference, forces)

        return solve, along


class _Factored(Protocol):
    """Solutions of the reduced system in T+ - T-, and the forces of the samples' rows."""

    def solve(self, right: Array) -> tuple[Array, Array]:
        """For right-hand sides in columns."""
        ...


class _Squares:
    """A matrix of ordinary condition by its Cholesky factor, scaled; no rows, no forces."""

    def __init__(self, matrix: Array) -> None:
        self._scale = 1.0 / np.sqrt(np.diagonal(matrix))[:, None]
        self._factor = _cholesky(matrix * self._scale * self._scale.T)

    def solve(self, right: Array) -> tuple[Array, Array]:
        """See `_Factored`."""
        return self._scale * cho_solve(self._factor, self._scale * right), np.zeros((0, right.shape[1]))


class _Rows:
    """``B'B`` by ``B = QR``, for rows of any sizes: nothing is squared.

    Householder's method keeps every row to its own accuracy where the larger rows come first (Cox and Higham 1998,
    *Stability of Householder QR factorization for weighted least squares problems*).

    Args:
        barrier: Rows of the barrier, shape (p, p).
        samples: Rows of the samples, shape (n, p).
    """

    def __init__(self, barrier: Array, samples: Array) -> None:
        B = np.concatenate([barrier, samples])
        self._scale = 1.0 / np.sqrt(np.einsum("ij,ij->j", B, B))[:, None]
        B *= self._scale.T
        order = np.argsort(-np.abs(B).max(axis=1), kind="stable")
        self._rows = B[order]
        self._Q, self._factor = np.linalg.qr(self._rows)
        self._place = np.argsort(order)[barrier.shape[0] :]

    def solve(self, right: Array) -> tuple[Array, Array]:
        """See `_Factored`."""
        half = solve_triangular(self._factor, self._scale * right, trans="T")
        forces, found = self._Q @ half, solve_triangular(self._factor, half)
        for _ in range(MATCHES):
            # What rows make of the solution is to be the forces to their own last digits, not to those of T.
            found += solve_triangular(self._factor, self._Q.T @ (forces - self._rows @ found))
        return self._scale * found, forces[self._place]


def _cholesky(matrix: Array) -> tuple[Array, bool]:
    """The factor of a matrix of unit diagonal, which rounding may have made indefinite: refinement heals a ridge."""
    ridge = 0.0
    for _ in range(RIDGES):
        try:
            found: tuple[Array, bool] = cho_factor(matrix + ridge * np.eye(matrix.shape[0]))
        except LinAlgError:
            ridge = max(100.0 * ridge, 1e-15)
        else:
            return found
    raise LinAlgError("the Newton system is not positive definite")
