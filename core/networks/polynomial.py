"""Two-layer networks with polynomial activation, and exact answers about them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import instance
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.complement import Complement
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.largest_radius import largest_certified
from cvxrobust.core.attacks.norms import GEOMETRIES, Norm, check_norm
from cvxrobust.core.attacks.quadratic import Quadratic, lacking
from cvxrobust.core.attacks.radii import asked_radii
from cvxrobust.core.attacks.words import norm_words
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.box_answers import found_in_boxes, held_in_boxes, lower_in_boxes
from cvxrobust.core.networks.fields import (
    activation_coefficients,
    finite_numbers,
    numbers,
    stored_complement,
    stored_ellipsoid,
)
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.networks.words import quadratic_words

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]

ASTRAY = 1e-10
"""How far from the subspace, and from length 1 at most, rounding may leave neurons that are spread."""

MOST_WHOLE = 5_000
"""Inputs up to which neurons that are spread are looked at as a whole, by matrices of their order."""


@dataclass(frozen=True)
class WorstCase:
    """The most damaging attack on each sample.

    Args:
        points: Attacked inputs, shape (n, d), in the units of the inputs.
        margins: Margins at those points, shape (n,).
        lower: Rigorous lower bounds of the margins over the whole ball, shape (n,); in norm 2 they differ from
            `margins` by rounding only, in boxes by what nobody knows.
    """

    points: Array
    margins: Array
    lower: Array


@dataclass(frozen=True, repr=False)
class PolynomialNetwork(TwoLayerNetwork):
    """``f(x) = sum_j alpha_j s(x'u_j)`` with ``s(t) = a t^2 + b t + c`` and unit neurons u_j.

    With one output the label is the sign of f; with K outputs it is the largest. Because f is a quadratic, the worst
    case of every margin inside an l2 ball or an ellipsoid, and the distance to the decision boundary, are exact
    (trust-region subproblems). Of a network for attacks in the norm inf they are what is proved of boxes
    (`cvxrobust.core.attacks.boxes`), and attacks that were found.

    Neurons may be *spread*: those of wide data that were trained against attacks
    (`cvxrobust.problems.polynomial.coordinates`). Of the subspace that V spans and its complement, with
    ``v(x) = ||x - VV'x||^2 / (d - k)``,

        f(x) = sum_j alpha_j (s(x'u_j) + a (1 - ||u_j||^2) v(x)),

    the mean over all unit neurons ``u_j + w`` with w in the complement, or in what some inputs have of that (v is then
    about these alone). Whatever is asked of such a network is answered without a matrix of order d, unless attacks are
    in an ellipsoid that goes further in some directions of the complement than in others.

    Args:
        u: Neurons of norm 1, shape (m, d); of those that are spread, what lies in the subspace, of norm 1 at most.
        alpha: Output weights, shape (m,), or (m, K) for K outputs.
        activation: Coefficients (a, b, c).
        classes: Labels: two for one output (negative, then positive; None means -1 and +1), K for K outputs.
        regression: Predict f itself instead of a label.
        standardizer: How inputs are standardised before anything else; None takes them as they are. Radii and distances
            are in the network's units: standard deviations with it, else those of the inputs.
        metadata: Strings and numbers saved along.
        ellipsoid: What attacks of radius 1 are, in the network's units: the shape that it was trained for. None for l2
            balls. All radii and distances are multiples of it; ``replace(ellipsoid=None)`` answers about balls.
        complement: Where neurons are spread, in the network's units; None for unit neurons.
        norm: Of the attacks that it was trained for, which all answers are about: 2 or "inf".

    Raises:
        InputError: Shapes do not agree, the norm is another or does not go with the ellipsoid, or neurons that are
            spread are longer than 1 or outside the subspace.
    """

    u: Array
    alpha: Array
    activation: tuple[float, float, float] = (0.09, 0.5, 0.47)
    classes: tuple[Any, ...] | None = None
    regression: bool = False
    standardizer: Standardizer | None = None
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)
    ellipsoid: Ellipsoid | None = None
    complement: Complement | None = None
    norm: Norm = 2

    kind: ClassVar[str] = "polynomial"
    own_fields: ClassVar[tuple[str, ...]] = ("activation", "norm")

    def _kind_words(self) -> str:
        return f"activation {quadratic_words(self.activation)}, {norm_words(self.norm, self.ellipsoid)}"

    def __post_init__(self) -> None:
        self._check_shapes()
        object.__setattr__(self, "activation", activation_coefficients(self.activation))
        if self.ellipsoid is not None:
            instance(self.ellipsoid, "ellipsoid", Ellipsoid, "an Ellipsoid, or None")
        if self.complement is not None:
            instance(self.complement, "complement", Complement, "a Complement, or None")
        if self.ellipsoid is not None and self.ellipsoid.n_inputs != self.n_features:
            raise InputError(f"the ellipsoid has {self.ellipsoid.n_inputs} inputs; expected {self.n_features}.")
        if self.complement is not None:
            self._check_spread(self.complement)
        geometry = GEOMETRIES[check_norm(self.norm)]
        if not (geometry.isotropic or geometry.separable):
            raise InputError(f"norm is {self.norm!r}; polynomial networks answer about attacks in norm 2 and inf.")
        self._attack(np.zeros(0))  # refuses a norm and an ellipsoid that do not belong together

    def _check_spread(self, complement: Complement) -> None:
        if complement.n_inputs != self.n_features:
            raise InputError(f"the complement has {complement.n_inputs} inputs; expected {self.n_features}.")
        longest = float(np.linalg.norm(self.u, axis=1).max(initial=0.0))
        astray = float(complement.lengths(self.u).max(initial=0.0))
        if not (longest <= 1.0 + ASTRAY and astray <= ASTRAY):
            raise InputError(
                f"neurons that are spread are up to {longest:.6g} long and up to {astray:.2g} outside the subspace; "
                "expected neurons in it that are no longer than 1."
            )

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
        atoms, d = np.hstack([self.u, np.ones((self.n_neurons, 1))]), self.n_features
        weights = self.alpha[:, None] if self.alpha.ndim == 1 else self.alpha
        found = np.stack([(atoms * column[:, None]).T @ atoms for column in weights.T])
        if self.complement is not None:
            found[:, :d, :d] += (lacking(self.u) @ weights)[:, None, None] * self.complement.mean_square
        return found

    def decision_function(self, X: ArrayLike) -> Array:
        """Outputs f, shape (n,), or (n, K) for K outputs.

        Args:
            X: Inputs, shape (n, d).
        """
        (a, b, c), inputs = self.activation, self._inputs(X)
        t = inputs @ self.u.T
        f = np.asarray(((a * t + b) * t + c) @ self.alpha)
        if self.complement is None:
            return f
        rest = self.complement.lengths(inputs) ** 2 / self.complement.dimension
        return np.asarray(f + np.multiply.outer(rest, a * (lacking(self.u) @ self.alpha)))

    def worst_case(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> WorstCase:
        """The attack, ``||D||_2 <= radius`` or within an ellipsoid, that makes each margin smallest, exactly.

        In boxes the worst that was found, with bounds.

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
        attack = self._attack(self._radii(radius, n))
        if attack.geometry.separable:
            points, margins = found_in_boxes(self.contests(index), inputs, attack)
            lower = lower_in_boxes(self.contests(index), inputs, attack)
            return WorstCase(self._in_units_of(X, inputs, points), margins, lower)
        best = WorstCase(inputs.copy(), np.full(n, np.inf), np.full(n, np.inf))
        for quadratic, rows, sign in self.contests(index):
            margins, lower, moves = quadratic.worst_case(inputs[rows], sign, attack.of(rows))
            better = margins < best.margins[rows]
            best.points[rows[better]] = quadratic.attacked(inputs[rows[better]], moves[better], attack)
            best.margins[rows] = np.minimum(best.margins[rows], margins)
            best.lower[rows] = np.minimum(best.lower[rows], lower)
        return replace(best, points=self._in_units_of(X, inputs, best.points))

    def worst_margins(self, X: ArrayLike, y: ArrayLike, radius: ArrayLike) -> Array:
        """``worst_case(X, y, radius).lower``, shape (n,), in less memory: no attacked points."""
        inputs = self._inputs(X)
        index = self._label_index(y, inputs.shape[0])
        attack = self._attack(self._radii(radius, inputs.shape[0]))
        if attack.geometry.separable:
            return lower_in_boxes(self.contests(index), inputs, attack)
        lower = np.full(inputs.shape[0], np.inf)
        for quadratic, rows, sign in self.contests(index):
            # Most often the rows are all there are: no copy then.
            chosen = inputs if rows.size == inputs.shape[0] else inputs[rows]
            lower[rows] = np.minimum(lower[rows], quadratic.worst_margins(chosen, sign, attack.of(rows)))
        return lower

    def distance_to_boundary(self, X: ArrayLike) -> Array:
        """Exact l2 distance from each input to the nearest input with another label, shape (n,); inf if there is none.

        Distances are in the network's units; with an ellipsoid they are the radius of the smallest attack. Rounding is
        on the safe side: distances are lower bounds from the dual. In boxes it is the largest radius, to one per cent,
        that is certified.
        """
        inputs = self._inputs(X)
        f = self.inner.decision_function(inputs)
        index = np.argmax(f, axis=1) if f.ndim == 2 else (f >= 0.0).astype(np.intp)
        distance = np.full(inputs.shape[0], np.inf)
        attack = self._attack(distance)
        if attack.geometry.separable:
            return largest_certified(
                lambda rows, radii: self._held(inputs[rows], index[rows], radii), index.size, unit=attack.usual_radius
            )
        for quadratic, rows, _ in self.contests(index):
            distance[rows] = np.minimum(distance[rows], np.asarray(quadratic.distance(inputs[rows], attack)))
        return distance

    def robust_accuracy(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike) -> Array:
        """Exact fraction of samples that no attack within each radius can turn wrong; in boxes the certified fraction.

        One distance to the boundary per sample answers every radius.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radii: Of attacks, shape (k,), in the network's units, or those of its ellipsoid.

        Returns:
            Shape (k,). Radius 0 is the clean accuracy.

        Raises:
            InputError: A radius is negative, shapes or labels do not fit, or the network does regression.
        """
        if self.regression:
            raise InputError("a regression network predicts numbers; take replace(regression=False) to judge its sign.")
        asked = asked_radii(radii)
        inputs = self._inputs(X)
        inner = self.inner
        if GEOMETRIES[self.norm].separable:
            return inner._certified_shares(inputs, self._label_index(y, inputs.shape[0]), asked)
        correct = np.asarray(inner.predict(inputs) == self._labels(self._label_index(y, inputs.shape[0])))
        distance = inner.distance_to_boundary(inputs)
        return np.asarray([np.mean(correct & ((distance > r) | (r == 0.0))) for r in asked])

    def certified_radius(self, X: ArrayLike, norm: object = None) -> Array:
        """Radius within which no attack changes the label of an input, shape (n,): `distance_to_boundary`.

        Args:
            X: Inputs, shape (n, d).
            norm: Norm of the attack: 2 or "inf"; None for the network's own.

        Raises:
            InputError: The norm is another, or shapes do not fit.
            UnknownNameError: There is no such norm.
        """
        return (self if norm is None else self.replace(norm=check_norm(norm))).distance_to_boundary(X)

    def _held(self, inputs: Array, index: NDArray[np.intp], radii: Array) -> NDArray[np.bool_]:
        """Which rows, in the network's units, surely keep their class in the box of a radius each, shape (n,)."""
        return held_in_boxes(self.contests(index), inputs, self._attack(radii))

    def _certified_shares(self, inputs: Array, index: NDArray[np.intp], radii: Array) -> Array:
        """The share of rows that surely are right and stay so, at each radius, shape (k,): the largest radius last."""
        held = self.predict(inputs) == self._labels(index)
        found = np.empty(radii.size)
        for k in np.argsort(radii, kind="stable"):
            rows = np.flatnonzero(held)
            if radii[k] > 0.0 and rows.size:
                held[rows] = self._held(inputs[rows], index[rows], np.full(rows.size, radii[k]))
            found[k] = held.mean()
        return found

    def to_torch(self) -> "torch.nn.Module":
        """The same function as a ``torch.nn.Module`` in float64: inputs (n, d) to outputs (n,) or (n, K)."""
        from cvxrobust.core.networks.torch_modules import polynomial_module, spread_module, with_standardizer

        module: torch.nn.Module = polynomial_module(self.u, self.alpha, self.activation)
        if self.complement is not None:
            spread = self.activation[0] * (lacking(self.u) @ self.alpha) / self.complement.dimension
            module = spread_module(module, self.complement, np.asarray(spread))
        return with_standardizer(module, self.standardizer)

    def _further_arrays(self) -> dict[str, NDArray[Any]]:
        arrays = {} if self.ellipsoid is None else self.ellipsoid.arrays()
        if self.complement is None:
            return arrays
        own = self.complement.inputs
        arrays |= {} if own is None else {"subspace_inputs": own.astype(np.int64)}
        return arrays | {"subspace": self.complement.basis}

    def _oldest_format(self) -> int:
        if not GEOMETRIES[self.norm].isotropic:
            return 5
        if self.complement is not None and self.complement.inputs is not None:
            return 4
        return 3 if self.complement is not None else 2 if self.ellipsoid is not None else 1

    @classmethod
    def _own_stored(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        activation = finite_numbers(header, "activation", 3)
        if activation[0] == 0.0:
            raise InputError(f"activation is {activation}; expected a, b, c with a other than 0")
        width = numbers(arrays, "u", 2).shape[1]
        ellipsoid, complement = stored_ellipsoid(arrays, width), stored_complement(arrays, width)
        norm = check_norm(header.get("norm", 2))
        return {"activation": activation, "ellipsoid": ellipsoid, "complement": complement, "norm": norm}

    def _attack(self, radius: Array) -> AttackBall:
        """Attacks of these radii, shape (n,)."""
        return AttackBall(self.norm, radius, self.n_features, self.ellipsoid)

    def quadratic(self, output: Array, attack: AttackBall | None = None) -> Quadratic:
        """The quadratic of a combination of outputs: of the only one by ``alpha``, of a contest by a difference.

        Args:
            output: Output weight of each neuron, shape (m,).
            attack: What it will be asked about; None for the network's own attacks.

        Raises:
            InputError: The attacks are in an ellipsoid of many inputs, over which neurons are spread.
        """
        used = output != 0.0
        neurons = self.u[used], output[used], self.activation
        ellipsoid = self.ellipsoid if attack is None else attack.ellipsoid
        if self.complement is None or self.complement.share_of(ellipsoid) is not None:
            return Quadratic.of(*neurons, self.complement)
        if self.n_features > MOST_WHOLE:
            raise InputError(
                f"neurons are spread evenly over directions of {self.n_features} inputs, in which attacks in "
                f"this ellipsoid do not go equally far; exact answers take up to {MOST_WHOLE}. Take "
                "replace(ellipsoid=None) for balls."
            )
        return Quadratic.whole(*neurons, self.complement)

    def contests(self, index: NDArray[np.intp]) -> list[tuple[Quadratic, NDArray[np.intp], Array]]:
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
