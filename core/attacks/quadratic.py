"""A polynomial network's output as a quadratic in the span of its neurons, and its exact worst cases.

``f(x) = sum_j alpha_j s(x'u_j) = x'P x + 2 p'x + q`` with ``P = a sum_j alpha_j u_j u_j'`` and
``p = b / 2 sum_j alpha_j u_j``: both lie in the span of the neurons. With Q an orthonormal basis of the span that
diagonalises P, a sample's trust-region subproblem has min(d, m) unknowns, not d, and is separable; its worst attack
lies in the span, too, or may as well. Attacks in an ellipsoid see ``S'PS`` and ``S'(P x + p)``: the same once more, in
the span of S'Q (`cvxrobust.core.attacks.view`). Everything runs on NumPy arrays and torch tensors of any device (array
API), in blocks of samples that fit into a processor's cache.

Neurons may be shorter than 1, in a subspace spanned by V, shape (d, k), and spread what they lack evenly over its
complement: the mean over all unit neurons ``u_j + w`` with w there. That adds ``kappa ||x - VV'x||^2`` with ``kappa = a
sum_j alpha_j (1 - ||u_j||^2) / (d - k)``, so that P has the eigenvalue kappa d - k times. A sample's gradient meets one
of these directions, that of its own ``x - VV'x``, and where the worst attack leaves the subspace it goes there: one
coordinate more, separable like the others, and no matrix of order d. In an ellipsoid it is ``S'S`` that is spread
there: where its directions are all alike (`Complement.share_of`: a mask whose other inputs lie in the subspace), that
is the same with another value, and where they are not, such a quadratic is `whole`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.complement import Complement
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.trust_region import Decomposition, distance_to_zero, minimize_in_ball
from cvxrobust.core.attacks.view import AttackView
from cvxrobust.core.errors import InputError

Array = Any
"""A NumPy array or a torch tensor of float64."""

EPS = 2.0**-52
BLOCK = 2**18
"""Entries of the largest temporary, about."""
LARGE = 1e-10
"""Allowance for rounding above which margins are worth the price of one that follows every neuron."""


@dataclass(frozen=True)
class Neurons:
    """Where a quadratic comes from, ``f(x) = sum_j alpha_j (a t_j^2 + b t_j + c)`` with ``t_j = x'u_j``.

    Args:
        u: Rows, shape (m, d).
        alpha: Output weights, shape (m,).
        activation: (a, b, c).
        complement: Where neurons shorter than 1 are spread evenly, in NumPy; None if there are none.
    """

    u: Array
    alpha: Array
    activation: tuple[float, float, float]
    complement: Complement | None = None

    @property
    def kappa(self) -> float:
        """``a sum_j alpha_j (1 - ||u_j||^2) / (d - k)``: the curvature in the complement."""
        if self.complement is None:
            return 0.0
        return self.activation[0] * float(self.alpha @ lacking(self.u)) / self.complement.dimension

    @cached_property
    def astray(self) -> Array:
        """What of each neuron lies in the complement, where nothing should, in the 2-norm, shape (m,)."""
        return np.zeros(self.u.shape[0]) if self.complement is None else self.complement.lengths(self.u)

    def expand(self, X: Array, rest: Array = None) -> tuple[Array, Array, Array, Array]:
        """Values and half gradients summed over the neurons, with bounds of what rounding has done to either.

        A neuron that pays little attention to large inputs rounds little of them away, while the entries of P and p
        are as exact as the largest of them: with columns from 1e-3 to 1e4 that is a thousand times as much.

        Args:
            X: Shape (n, d).
            rest: ``||x - VV'x||`` where there is a complement, shape (n,).

        Returns:
            Values, shape (n,); half gradients as weights of the neurons, shape (n, m): ``weights @ u``; bounds of the
            errors of the values, shape (n,), and of those of half gradients in the 2-norm, shape (n,), their use in
            other orthonormal coordinates of the span included.
        """
        xp = array_namespace(X)
        a, b, c = self.activation
        t, size = (self.u @ X.T).T, (xp.abs(self.u) @ xp.abs(X).T).T
        slopes = a * t + 0.5 * b
        weights = slopes * self.alpha
        values = xp.sum(weights * t + (0.5 * b * self.alpha) * t, axis=1) + c * xp.sum(self.alpha)
        share = xp.abs(self.alpha)
        lengths = xp.sqrt(xp.sum(self.u * self.u, axis=1))
        steep = abs(a) * size + 0.5 * abs(b)
        rate = (self.u.shape[0] + self.u.shape[1] + 16.0) * EPS
        of_values = rate * (((steep + 0.5 * abs(b)) * size + abs(c)) @ share)
        of_half = 4.0 * rate * (steep @ (share * lengths))
        if self.complement is None:
            return values, weights, of_values, of_half
        far = xp.sqrt(xp.sum(X * X, axis=1))
        # A rest is off by a few eps of the row, and kappa by a few of what it sums.
        largest = abs(a) * float(xp.sum(share)) / self.complement.dimension
        rough = 4.0 * (rate * (2.0 + self.complement.basis.shape[1] ** 0.5) + self.complement.skew) * largest
        of_half = of_half + rough * far + 2.0 * (steep @ (share * self.astray))
        return values + self.kappa * rest * rest, weights, of_values + rough * far * far, of_half


@dataclass(frozen=True)
class Quadratic:
    """``f(x) = sum_k values_k (q_k'x)^2 + 2 linear'Q'x + constant``.

    Args:
        values: Eigenvalues of P on the span, ascending, shape (k,).
        vectors: Q, orthonormal columns, shape (d, k).
        linear: ``Q'p``, shape (k,).
        constant: q.
        uncertainty: Bound on the norm of what rounding may have added to P and p, their evaluation included.
        neurons: What it was made of.
        kappa: Curvature in the neurons' complement, which Q does not span; None where there is none.
        views: What attacks in ellipsoids see, kept for as long as the quadratic is; nobody else need know.
    """

    values: Array
    vectors: Array
    linear: Array
    constant: float
    uncertainty: float
    neurons: Neurons
    kappa: float | None = None
    views: list[tuple[Ellipsoid, AttackView]] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of(
        cls, u: Array, alpha: Array, activation: tuple[float, float, float], complement: Complement | None = None
    ) -> "Quadratic":
        """From neurons in rows, shape (m, d), and output weights, shape (m,).

        With fewer neurons than inputs a QR finds the span, and the eigenproblem has the order of their number.

        Args:
            u: Neurons of length 1, or, with a complement, in the subspace and no longer.
            alpha: Output weights.
            activation: (a, b, c).
            complement: Where they are spread evenly, in NumPy.
        """
        if complement is not None:
            return cls._spread(Neurons(u, alpha, activation, complement), complement)
        xp = array_namespace(u)
        a, b, c = activation
        m, d = u.shape
        if m < d:
            basis, R = xp.linalg.qr(u.T)
            values, vectors = xp.linalg.eigh(a * ((R * alpha) @ R.T))
            vectors = basis @ vectors
        else:
            values, vectors = xp.linalg.eigh(a * ((u.T * alpha) @ u))
        linear = 0.5 * b * ((alpha @ u) @ vectors)
        # Every neuron adds at most this much to the norm of the lifted matrix, and a few eps of it to the error.
        size = float(xp.sum(xp.abs(alpha) * (xp.sum(u * u, axis=1) + 1.0))) * (1.0 + m**0.5 / 4.0)
        uncertainty = (4.0 + d**0.5) * EPS * size * max(abs(a), 0.5 * abs(b), abs(c))
        return cls(values, vectors, linear, c * float(xp.sum(alpha)), uncertainty, Neurons(u, alpha, activation))

    @classmethod
    def _spread(cls, neurons: Neurons, complement: Complement) -> "Quadratic":
        """Of neurons that are spread: in the coordinates of the subspace, and one more for all the rest."""
        inside, kappa = complement.inside(neurons.u), neurons.kappa
        inner = cls.of(inside, neurons.alpha, neurons.activation)
        vectors = complement.basis @ inner.vectors
        return cls(
            inner.values, vectors, inner.linear, inner.constant, _uncertainty_of_spread(neurons, complement), neurons,
            kappa,
        )  # fmt: skip

    @classmethod
    def whole(
        cls, u: Array, alpha: Array, activation: tuple[float, float, float], complement: Complement
    ) -> "Quadratic":
        """The same of neurons that are spread, in all of the inputs: by matrices of order d."""
        (a, b, _), neurons = activation, Neurons(u, alpha, activation, complement)
        outside = neurons.kappa * complement.dimension * complement.mean_square
        values, vectors = np.linalg.eigh(a * ((u.T * alpha) @ u) + outside)
        linear, constant = 0.5 * b * ((alpha @ u) @ vectors), activation[2] * float(alpha.sum())
        return cls(values, vectors, linear, constant, _uncertainty_of_spread(neurons, complement), neurons)

    def expand(self, X: Array) -> tuple[Array, Array]:
        """Values at the rows of X, shape (n,), and half gradients in the coordinates of the span, shape (n, k).

        Of neurons that are spread there is another coordinate, along the sample's own rest; shape (n, k + 1).
        """
        xp = array_namespace(X)
        # With samples along the rows of the transpose, the product runs up to four times as fast.
        inside = (self.vectors.T @ X.T).T
        half = inside * self.values + self.linear
        values = xp.sum((half + self.linear) * inside, axis=1) + self.constant
        if self.kappa is None:
            return values, half
        assert self.neurons.complement is not None
        rest = self.neurons.complement.lengths(X)
        return values + self.kappa * rest * rest, xp.concat([half, self.kappa * rest[:, None]], axis=1)

    def whole_matrix(self, inputs: Array) -> Array:
        """P in some of the inputs, shape (q,), in NumPy; shape (q, q)."""
        own = self.vectors[inputs]
        P = (own * self.values) @ own.T
        complement = self.neurons.complement
        if self.kappa is None or complement is None:
            return np.asarray(0.5 * (P + P.T))
        outside = complement.mean_square_along(np.eye(complement.n_inputs)[:, inputs])
        return np.asarray(0.5 * (P + P.T) + self.kappa * complement.dimension * outside)

    def in_inputs(self, half: Array, X: Array) -> Array:
        """Half gradients of `expand` at the rows of X as vectors of inputs, shape (n, d), in NumPy."""
        if self.kappa is None or self.neurons.complement is None:
            return half @ self.vectors.T
        return half[:, :-1] @ self.vectors.T + half[:, -1:] * self.neurons.complement.directions(X)

    def attacked(self, X: Array, moves: Array, attack: AttackBall) -> Array:
        """Rows of X, shape (n, d), moved by attacks in the coordinates of `worst_case`, shape (n, k)."""
        columns = self.seen_by(attack).columns
        if self.kappa is None:
            return X + moves @ columns.T
        assert self.neurons.complement is not None
        along = moves[:, -1:] * (self.neurons.complement.share_of(attack.ellipsoid) or 0.0)
        return X + moves[:, :-1] @ columns.T + along * self.neurons.complement.directions(X)

    def seen_by(self, attack: AttackBall) -> AttackView:
        """What attacks see of it; of neurons that are spread balls see another value, without a column of its own.

        Raises:
            InputError: Neurons are spread over directions that the attacks' ellipsoid tells apart; that is for `whole`.
        """
        if attack.ellipsoid is None:
            values = self.values if self.kappa is None else np.append(self.values, self.kappa)
            return AttackView(values, self.vectors, self.vectors)
        share, kappa = None, self.kappa
        if kappa is not None:
            assert self.neurons.complement is not None
            share = self.neurons.complement.share_of(attack.ellipsoid)
            if share is None:
                raise InputError("neurons are spread evenly, which attacks in this ellipsoid see as a whole alone.")
        for ellipsoid, view in self.views:
            if ellipsoid is attack.ellipsoid:
                return view
        found = AttackView.of(self.values, self.vectors, attack)
        if share is not None and kappa is not None:
            found = found.extended(kappa * share * share, share)
        self.views[:] = [(attack.ellipsoid, found)]
        return found

    def uncertainty_of(self, attack: AttackBall) -> float:
        """`uncertainty`, with what rounding may have added to what attacks see."""
        return self.uncertainty if attack.ellipsoid is None else 2.0 * self.uncertainty

    def worst_margins(self, X: Array, sign: Array, attack: AttackBall) -> Array:
        """Rigorous lower bounds of ``min sign f(x + D)`` over the attacks D on each sample, in norm 2; shape (n,).

        They differ from the minima by rounding only.

        Args:
            X: Shape (n, d).
            sign: -1 or +1, shape (n,).
            attack: Of n radii, of the kind of X.
        """
        xp = array_namespace(X)
        return xp.concat([found[1] for _, found in self._worst(X, sign, attack)])

    def worst_case(self, X: Array, sign: Array, attack: AttackBall) -> tuple[Array, Array, Array]:
        """The worst attacks.

        Args:
            X: Shape (n, d).
            sign: -1 or +1, shape (n,).
            attack: Of n radii, of the kind of X.

        Returns:
            Margins at the attacked points, shape (n,); rigorous lower bounds of the margins over the balls, shape
            (n,); and the attacks in the coordinates of the view, shape (n, k), from which `attacked` makes points.
        """
        xp = array_namespace(X)
        parts = [found for _, found in self._worst(X, sign, attack)]
        margins, lower, moves = (xp.concat([part[k] for part in parts]) for k in range(3))
        return margins, lower, moves

    def _worst(self, X: Array, sign: Array, attack: AttackBall) -> Iterator[tuple[slice, tuple[Array, Array, Array]]]:
        xp, radius = array_namespace(X), attack.radius
        view = self.seen_by(attack)
        sides = {side: _diagonal(xp, side * view.values) for side in (1.0, -1.0)}
        for rows in blocks(X.shape[0], self.values.shape[0]):
            value, half, allowance = self.expand_within(X[rows], radius[rows] * attack.euclidean_reach, attack)
            half = view.half(half)
            margins = sign[rows] * value
            lower = margins - allowance
            moves = xp.zeros_like(half)
            for side, shared in sides.items():
                # Outside the span the curvature is 0, which matters nowhere: multipliers are not negative.
                chosen = xp.nonzero((sign[rows] == side) & (radius[rows] > 0.0))[0]
                if chosen.shape[0] and half.shape[1]:
                    found = minimize_in_ball(shared, side * half[chosen], radius[rows][chosen])
                    moves[chosen] = found.points
                    margins[chosen] += found.primal
                    lower[chosen] += found.dual
            yield rows, (margins, lower, moves)

    def expand_within(self, X: Array, within: Array, attack: AttackBall | None = None) -> tuple[Array, Array, Array]:
        """Values and half gradients as in `expand`, and what rounding may have added to values nearby.

        Args:
            X: Shape (n, d).
            within: Euclidean distances from the rows up to which that is asked, shape (n,).
            attack: Of an ellipsoid, in whose coordinates half gradients will be seen; None for the inputs.
        """
        xp, uneven = array_namespace(X), attack is not None and attack.ellipsoid is not None
        reach = xp.sqrt(xp.sum(X * X, axis=1)) + within
        uncertainty = self.uncertainty if attack is None else self.uncertainty_of(attack)
        allowance = uncertainty * (reach * reach + 1.0)
        if float(xp.max(allowance)) <= LARGE:
            return *self.expand(X), allowance
        complement = self.neurons.complement
        rest = None if complement is None else complement.lengths(X)
        values, weights, of_values, of_half = self.neurons.expand(X, rest)
        half = weights @ (self.neurons.u @ self.vectors)
        if rest is not None and self.kappa is not None:
            half = xp.concat([half, self.kappa * rest[:, None]], axis=1)
        elif complement is not None:
            half = half + self.neurons.kappa * (complement.rest(X) @ self.vectors)
        of_half = 2.0 * of_half if uneven else of_half
        return values, half, of_values + within * (2.0 * of_half + within * uncertainty)

    def distance(self, X: Array, attack: AttackBall | None = None) -> Array:
        """Lower bounds, tight but for rounding, of the distance from each row to ``f = 0``, shape (n,); inf for never.

        Args:
            X: Shape (n, d).
            attack: What distances are the radii of; None for l2 balls.
        """
        xp = array_namespace(X)
        ball = attack or AttackBall(2, X[:, 0], X.shape[1])
        view, uncertainty = self.seen_by(ball), self.uncertainty_of(ball)
        shared = _diagonal(xp, view.values)
        parts = []
        for rows in blocks(X.shape[0], self.values.shape[0]):
            value, half = self.expand(X[rows])
            half = view.half(half)
            # Shrinking the value towards zero by what rounding may have added keeps the distance a lower bound;
            # twice, because ||x + D||^2 <= 2 ||x||^2 + 2 ||D||^2.
            allowance = 2.0 * uncertainty * (xp.sum(X[rows] ** 2, axis=1) + 1.0)
            safe = xp.sign(value) * xp.maximum(xp.abs(value) - allowance, xp.zeros_like(value))
            if half.shape[1]:
                error = 2.0 * uncertainty * ball.euclidean_reach**2
                parts.append(distance_to_zero(shared, half, safe, error).lower)
            else:
                parts.append(xp.where(safe == 0.0, safe, xp.full_like(safe, xp.inf)))
        return xp.concat(parts)


def lacking(u: Array) -> Array:
    """What rows, shape (m, d), lack in squared length to be unit vectors, shape (m,)."""
    xp = array_namespace(u)
    found = 1.0 - xp.sum(u * u, axis=1)
    return xp.where(found > 0.0, found, xp.zeros_like(found))


def _uncertainty_of_spread(neurons: Neurons, complement: Complement) -> float:
    """`Quadratic.uncertainty` of neurons that are spread.

    Besides what sums over neurons cost there is what of a neuron lies outside the subspace, what the basis lacks to be
    orthonormal, and the curvature of the complement, each at most a multiple of the neuron's weight.
    """
    (a, b, c), (m, d) = neurons.activation, neurons.u.shape
    share, largest = np.abs(neurons.alpha), max(abs(a), 0.5 * abs(b), abs(c))
    sums = (4.0 + d**0.5) * EPS * (2.0 * (1.0 + m**0.5 / 4.0) + 8.0)
    return float(share @ (sums + 4.0 * (neurons.astray + complement.skew))) * largest


def blocks(n: int, width: int) -> list[slice]:
    """Slices that cover n rows, each of about `BLOCK` entries; at least one slice."""
    step = max(256, BLOCK // max(width, 1))
    return [slice(start, min(start + step, n)) for start in range(0, max(n, 1), step)]


def _diagonal(xp: Any, values: Array) -> Decomposition:
    """A diagonal matrix as a decomposition; the values are sorted, in either direction."""
    order = xp.argsort(values)
    eye = xp.eye(values.shape[0], dtype=values.dtype, device=device(values))
    return Decomposition(values[order], eye[:, order])
