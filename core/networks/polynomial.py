"""Two-layer networks with polynomial activation, and exact answers about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import check_norm
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.fields import finite_numbers, numbers, stored_ellipsoid
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.validation import as_numbers

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]


@dataclass(frozen=True)
class WorstCase:
    """The most damaging attack on each sample.

    Args:
        points: Attacked inputs, shape (n, d), in the units of the inputs.
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
    case of every margin inside an l2 ball or an ellipsoid, and the distance to the decision boundary, are exact
    (trust-region subproblems).

    Args:
        u: Neurons of norm 1, shape (m, d).
        alpha: Output weights, shape (m,), or (m, K) for K outputs.
        activation: Coefficients (a, b, c).
        classes: Labels: two for one output (negative, then positive; None means -1 and +1), K for K outputs.
        regression: Predict f itself instead of a label.
        standardizer: How inputs are standardised before anything else; None takes them as they are. Radii and distances
            are in the network's units: standard deviations with it, else those of the inputs.
        metadata: Strings and numbers saved along.
        ellipsoid: What attacks of radius 1 are, in the network's units: the shape that it was trained for. None for l2
            balls. All radii and distances are multiples of it; ``replace(ellipsoid=None)`` answers about balls.

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
    ellipsoid: Ellipsoid | None = None

    kind: ClassVar[str] = "polynomial"
    own_fields: ClassVar[tuple[str, ...]] = ("activation",)

    def __post_init__(self) -> None:
        self._check_shapes()
        if self.ellipsoid is not None and self.ellipsoid.n_inputs != self.n_features:
            raise InputError(f"the ellipsoid has {self.ellipsoid.n_inputs} inputs; expected {self.n_features}.")

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
            X: Inputs, shape (n, d).
        """
        a, b, c = self.activation
        t = self._inputs(X) @ self.u.T
        return np.asarray(((a * t + b) * t + c) @ self.alpha)

    def worst_case(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> WorstCase:
        """The attack, ``||D||_2 <= radius`` or within an ellipsoid, that makes each margin smallest, exactly.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radius: One radius or one per sample, in the network's units, or those of its ellipsoid.

        Raises:
            InputError: A radius is negative, or shapes or labels do not fit.
        """
        inputs = self._inputs(X)
        n = inputs.shape[0]
        index = self._label_index(y, n)
        attack = self._attack(self._radii(radius, n, "l2 radii"))
        best = WorstCase(inputs.copy(), np.full(n, np.inf), np.full(n, np.inf))
        for quadratic, rows, sign in self._contests(index):
            margins, lower, moves = quadratic.worst_case(inputs[rows], sign, attack.of(rows))
            better = margins < best.margins[rows]
            best.points[rows[better]] = inputs[rows[better]] + moves[better] @ quadratic.seen_by(attack).columns.T
            best.margins[rows] = np.minimum(best.margins[rows], margins)
            best.lower[rows] = np.minimum(best.lower[rows], lower)
        return replace(best, points=self._in_units_of(X, inputs, best.points))

    def worst_margins(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """``worst_case(X, y, radius).lower``, shape (n,), in less memory: no attacked points."""
        inputs = self._inputs(X)
        index = self._label_index(y, inputs.shape[0])
        attack = self._attack(self._radii(radius, inputs.shape[0], "l2 radii"))
        lower = np.full(inputs.shape[0], np.inf)
        for quadratic, rows, sign in self._contests(index):
            # Most often the rows are all there are: no copy then.
            chosen = inputs if rows.size == inputs.shape[0] else inputs[rows]
            lower[rows] = np.minimum(lower[rows], quadratic.worst_margins(chosen, sign, attack.of(rows)))
        return lower

    def distance_to_boundary(self, X: ArrayLike) -> Array:
        """Exact l2 distance from each input to the nearest input with another label, shape (n,); inf if there is none.

        Distances are in the network's units; with an ellipsoid they are the radius of the smallest attack. Rounding is
        on the safe side: distances are lower bounds from the dual.
        """
        inputs = self._inputs(X)
        f = self.inner.decision_function(inputs)
        index = np.argmax(f, axis=1) if f.ndim == 2 else (f >= 0.0).astype(np.intp)
        distance = np.full(inputs.shape[0], np.inf)
        attack = self._attack(distance)
        for quadratic, rows, _ in self._contests(index):
            distance[rows] = np.minimum(distance[rows], np.asarray(quadratic.distance(inputs[rows], attack)))
        return distance

    def robust_accuracy(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Array:
        """Exact fraction of samples that no attack within each radius can turn wrong.

        One distance to the boundary per sample answers every radius.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radii: l2 radii, shape (k,), in the network's units, or those of its ellipsoid.

        Returns:
            Shape (k,). Radius 0 is the clean accuracy.

        Raises:
            InputError: A radius is negative, shapes or labels do not fit, or the network does regression.
        """
        if self.regression:
            raise InputError("a regression network predicts numbers; take replace(regression=False) to judge its sign.")
        asked = np.atleast_1d(as_numbers(radii, "radii", "expected finite values of 0 or more"))
        if not ((asked >= 0.0) & np.isfinite(asked)).all():
            raise InputError(f"radii are {asked.tolist()}; expected finite values of 0 or more.")
        inputs = self._inputs(X)
        inner = self.inner
        correct = np.asarray(inner.predict(inputs) == self._labels(self._label_index(y, inputs.shape[0])))
        distance = inner.distance_to_boundary(inputs)
        return np.asarray([np.mean(correct & ((distance > r) | (r == 0.0))) for r in asked])

    def certified_radius(self, X: ArrayLike, norm: object = 2) -> Array:
        """Radius within which no attack changes the label of an input, shape (n,): `distance_to_boundary`.

        Args:
            X: Inputs, shape (n, d).
            norm: Norm of the attack: 2.

        Raises:
            InputError: The norm is another, or shapes do not fit.
            UnknownNameError: There is no such norm.
        """
        if check_norm(norm) != 2:
            raise InputError(
                f"norm is {norm!r}, but certified radii of polynomial networks are for l2 attacks; give 2."
            )
        return self.distance_to_boundary(X)

    def to_torch(self) -> "torch.nn.Module":
        """The same function as a ``torch.nn.Module`` in float64: inputs (n, d) to outputs (n,) or (n, K)."""
        from cvxrobust.core.networks.torch_modules import polynomial_module, with_standardizer

        return with_standardizer(polynomial_module(self.u, self.alpha, self.activation), self.standardizer)

    def _further_arrays(self) -> dict[str, NDArray[Any]]:
        return {} if self.ellipsoid is None else self.ellipsoid.arrays()

    @classmethod
    def _own_stored(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        activation = finite_numbers(header, "activation", 3)
        if activation[0] == 0.0:
            raise InputError(f"activation is {activation}; expected a, b, c with a other than 0")
        return {"activation": activation, "ellipsoid": stored_ellipsoid(arrays, numbers(arrays, "u", 2).shape[1])}

    def _attack(self, radius: Array) -> AttackBall:
        """Attacks of these radii, shape (n,)."""
        return AttackBall(2, radius, self.n_features, self.ellipsoid)

    def quadratic(self, output: Array) -> Quadratic:
        """The quadratic of a combination of outputs: of the only one by ``alpha``, of a contest by a difference.

        Args:
            output: Output weight of each neuron, shape (m,).
        """
        used = output != 0.0
        return Quadratic.of(self.u[used], output[used], self.activation)

    def _contests(self, index: NDArray[np.intp]) -> list[tuple[Quadratic, NDArray[np.intp], Array]]:
        """The quadratics ``f_k - f_l`` whose sign decides, the rows each concerns and the sign of their label in it."""
        if self.alpha.ndim == 1:
            everyone = np.arange(index.size)
            return [(self.quadratic(self.alpha), everyone, np.where(index == 1, 1.0, -1.0))]
        contests = []
        for k, rival in combinations(range(self.alpha.shape[1]), 2):
            rows = np.flatnonzero((index == k) | (index == rival))
            if rows.size:
                sign = np.where(index[rows] == k, 1.0, -1.0)
                contests.append((self.quadratic(self.alpha[:, k] - self.alpha[:, rival]), rows, sign))
        return contests
