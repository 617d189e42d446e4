"""Two-layer networks with polynomial activation, and exact answers about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.certificate import coefficients
from cvxrobust.core.errors import InputError
from cvxrobust.core.standardizer import Standardizer
from cvxrobust.core.trust_region import Decomposition, decompose, distance_to_zero, minimize_in_ball
from cvxrobust.core.two_layer import TwoLayerNetwork

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]
FORMAT = 1
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class WorstCase:
    """The most damaging attack on each sample.

    Args:
        points: Attacked inputs, shape (n, d).
        margins: Margins at those points, shape (n,).
        lower: Rigorous lower bounds of the margins over the whole ball, shape (n,); they differ from `margins` by
            rounding only.
    """

    points: Array
    margins: Array
    lower: Array


@dataclass(frozen=True)
class PolynomialNetwork(TwoLayerNetwork):
    """``f(x) = sum_j alpha_j s(x'u_j)`` with ``s(t) = a t^2 + b t + c`` and unit neurons u_j.

    With one output the label is the sign of f; with K outputs it is the largest. Because f is a quadratic, the worst
    case of every margin inside an l2 ball, and the distance to the decision boundary, are exact (trust-region
    subproblems).

    Args:
        u: Neurons of norm 1, shape (m, d).
        alpha: Output weights, shape (m,), or (m, K) for K outputs.
        activation: Coefficients (a, b, c).
        classes: Labels: two for one output (negative, then positive; None means -1 and +1), K for K outputs.
        regression: Predict f itself instead of a label.
        standardizer: How raw inputs were standardised; methods here take standardised inputs.
        metadata: Strings and numbers saved along.

    Raises:
        InputError: Shapes do not agree.
    """

    u: Array
    alpha: Array
    activation: tuple[float, float, float] = (0.09, 0.5, 0.47)
    classes: tuple[Any, ...] | None = None
    regression: bool = False
    standardizer: Standardizer | None = None
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)

    kind: ClassVar[str] = "polynomial"
    own_fields: ClassVar[tuple[str, ...]] = ("activation",)

    def __post_init__(self) -> None:
        self._check_shapes()

    @property
    def n_features(self) -> int:
        """Number of inputs."""
        return int(self.u.shape[1])

    @property
    def penalty(self) -> float:
        """``sum_j |alpha_j|``, over all outputs."""
        return float(np.abs(self.alpha).sum())

    def matrices(self) -> Array:
        """The symmetric T with ``f(x) = <A(x), T>`` of each output, shape (K, d + 1, d + 1) (K = 1 for one output)."""
        atoms = np.hstack([self.u, np.ones((self.n_neurons, 1))])
        weights = self.alpha[:, None] if self.alpha.ndim == 1 else self.alpha
        return np.stack([(atoms * column[:, None]).T @ atoms for column in weights.T])

    def decision_function(self, X: ArrayLike) -> Array:
        """Outputs f, shape (n,), or (n, K) for K outputs.

        Args:
            X: Standardised inputs, shape (n, d).
        """
        a, b, c = self.activation
        t = self._inputs(X) @ self.u.T
        return np.asarray(((a * t + b) * t + c) @ self.alpha)

    def worst_case(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> WorstCase:
        """The attack ``||D||_2 <= radius`` that makes each margin smallest, exactly.

        Args:
            X: Standardised inputs, shape (n, d).
            y: True labels, shape (n,).
            radius: One radius or one per sample, in the units of X.

        Raises:
            InputError: A radius is negative, or shapes or labels do not fit.
        """
        inputs = self._inputs(X)
        n = inputs.shape[0]
        index = self._label_index(y, n)
        radii = self._radii(radius, n, "l2 radii")
        best = WorstCase(inputs.copy(), np.full(n, np.inf), np.full(n, np.inf))
        for quadratic, rows, sign in self._contests(index):
            found = quadratic.worst_case(inputs[rows], sign, radii[rows])
            better = found.margins < best.margins[rows]
            best.points[rows[better]] = found.points[better]
            best.margins[rows] = np.minimum(best.margins[rows], found.margins)
            best.lower[rows] = np.minimum(best.lower[rows], found.lower)
        return best

    def distance_to_boundary(self, X: ArrayLike) -> Array:
        """Exact l2 distance from each input to the nearest input with another label, shape (n,); inf if there is none.

        Rounding is on the safe side: distances are lower bounds from the dual.
        """
        inputs = self._inputs(X)
        f = self.decision_function(inputs)
        index = np.argmax(f, axis=1) if f.ndim == 2 else (f >= 0.0).astype(np.intp)
        distance = np.full(inputs.shape[0], np.inf)
        for quadratic, rows, _ in self._contests(index):
            distance[rows] = np.minimum(distance[rows], quadratic.distance(inputs[rows]))
        return distance

    def robust_accuracy(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Array:
        """Exact fraction of samples that no attack within each radius can turn wrong.

        One distance to the boundary per sample answers every radius.

        Args:
            X: Standardised inputs, shape (n, d).
            y: True labels, shape (n,).
            radii: l2 radii, shape (k,), in the units of X.

        Returns:
            Shape (k,). Radius 0 is the clean accuracy.

        Raises:
            InputError: A radius is negative, shapes or labels do not fit, or the network does regression.
        """
        if self.regression:
            raise InputError("a regression network predicts numbers; take replace(regression=False) to judge its sign.")
        asked = np.atleast_1d(np.asarray(radii, dtype=np.float64))
        if not ((asked >= 0.0) & np.isfinite(asked)).all():
            raise InputError(f"radii are {asked.tolist()}; expected finite values of 0 or more.")
        inputs = self._inputs(X)
        correct = np.asarray(self.predict(inputs) == self._labels(self._label_index(y, inputs.shape[0])))
        distance = self.distance_to_boundary(inputs)
        return np.asarray([np.mean(correct & ((distance > r) | (r == 0.0))) for r in asked])

    def to_torch(self) -> "torch.nn.Module":
        """The same function as a ``torch.nn.Module`` in float64: inputs (n, d) to outputs (n,) or (n, K)."""
        from cvxrobust.core.torch_network import polynomial_module

        return polynomial_module(self)

    def _contests(self, index: NDArray[np.intp]) -> list[tuple["_Quadratic", NDArray[np.intp], Array]]:
        """The quadratics ``f_k - f_l`` whose sign decides, the rows each concerns and the sign of their label in it."""
        matrices = self.matrices()
        # Every neuron adds at most this much to the norm of a matrix, and a few eps of it to the rounding error.
        sizes = 2.0 * np.abs(self.alpha).sum(axis=0) * (1.0 + self.n_neurons**0.5 / 4.0)
        if self.alpha.ndim == 1:
            everyone = np.arange(index.size)
            quadratic = _Quadratic.of(matrices[0], self.activation, float(sizes))
            return [(quadratic, everyone, np.where(index == 1, 1.0, -1.0))]
        contests = []
        for k, rival in combinations(range(len(matrices)), 2):
            rows = np.flatnonzero((index == k) | (index == rival))
            if rows.size:
                sign = np.where(index[rows] == k, 1.0, -1.0)
                size = float(sizes[k] + sizes[rival])
                contests.append((_Quadratic.of(matrices[k] - matrices[rival], self.activation, size), rows, sign))
        return contests


@dataclass(frozen=True)
class _Quadratic:
    """``q(x) = [x; 1]'M[x; 1]`` with both signs' eigendecompositions shared by all samples.

    `uncertainty` bounds the norm of what rounding may have added to M, the rounding of q's evaluation included.
    """

    M: Array
    up: Decomposition
    down: Decomposition
    uncertainty: float

    @classmethod
    def of(cls, T: Array, activation: tuple[float, float, float], size: float) -> "_Quadratic":
        """From the matrix of a network and the sum of the norms of its terms, which may cancel in T."""
        d = T.shape[0] - 1
        C = coefficients(activation, d)
        M = C * T
        up = decompose(M[:d, :d])
        down = Decomposition(-up.values[::-1], np.ascontiguousarray(up.vectors[:, ::-1]))
        return cls(M, up, down, (4.0 + d**0.5) * EPS * size * float(np.abs(C).max()))

    def expand(self, X: Array) -> tuple[Array, Array]:
        """Values and half gradients at the rows of X."""
        d = X.shape[1]
        half = X @ self.M[:d, :d] + self.M[:d, d]
        return np.einsum("ij,ij->i", half + self.M[:d, d], X) + self.M[d, d], half

    def worst_case(self, X: Array, sign: Array, radius: Array) -> WorstCase:
        value, half = self.expand(X)
        reach = np.linalg.norm(X, axis=1) + radius
        points, margins, lower = X.copy(), sign * value, sign * value - self.uncertainty * (reach * reach + 1.0)
        for side, shared in ((1.0, self.up), (-1.0, self.down)):
            rows = np.flatnonzero((sign == side) & (radius > 0.0))
            if rows.size:
                found = minimize_in_ball(shared, side * half[rows], radius[rows])
                points[rows] += found.points
                margins[rows] += found.primal
                lower[rows] += found.dual
        return WorstCase(points, margins, lower)

    def distance(self, X: Array) -> Array:
        value, half = self.expand(X)
        # Shrinking the value towards zero by what rounding may have added keeps the distance a lower bound; twice,
        # because ||x + D||^2 <= 2 ||x||^2 + 2 ||D||^2.
        allowance = 2.0 * self.uncertainty * (np.einsum("ij,ij->i", X, X) + 1.0)
        safe = np.sign(value) * np.maximum(np.abs(value) - allowance, 0.0)
        return np.asarray(distance_to_zero(self.up, half, safe, 2.0 * self.uncertainty).lower)
