"""Two-layer networks with ReLU activation: attacks, certified bounds and exact worst cases."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import flag, instance, number, whole
from cvxrobust.core.attacks import relu_bounds
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.largest_radius import largest_certified
from cvxrobust.core.attacks.norms import Norm, check_norm
from cvxrobust.core.attacks.radii import asked_radii
from cvxrobust.core.attacks.relu_bounds import Array
from cvxrobust.core.attacks.words import norm_words
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.networks.fields import numbers, stored_ellipsoid, stored_flag, whole_numbers
from cvxrobust.core.networks.relu_answers import FoundAttack, ProvenWorstCase
from cvxrobust.core.networks.relu_contests import contests_of, exact_margins, lower_margins, worst_rival
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.validation import label_array

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, repr=False)
class ReLUNetwork(TwoLayerNetwork):
    """``f(x) = sum_j alpha_j relu(x'u_j)``.

    With one output the label is the sign of f; with K outputs it is the largest. Attacks are ``||D||_p <= radius`` with
    ``norm`` p in {"inf", 2, 1}, or their images under the network's `ellipsoid`. What they can do is bounded from above
    by `attack`, from below by `lower_bound`, and for small networks settled by `exact_worst_case`.

    Args:
        u: Neurons, shape (m, d), or (m, d + 1) with a bias.
        alpha: Output weights, shape (m,), or (m, K) for K outputs.
        bias: The last column of u multiplies a constant 1, which is no input and which no attack can touch.
        classes: Labels: two for one output (negative, then positive; None means -1 and +1), K for K outputs.
        regression: Predict f itself instead of a label.
        standardizer: How inputs are standardised before anything else; None takes them as they are. Radii are in
            the network's units: standard deviations with it, else those of the inputs.
        metadata: Strings and numbers saved along.
        slots: The slot of the gated programme that each neuron was trained in, shape (m,); None if unknown.
        norm: Of the attacks that it was trained for, which all answers are about unless another is asked for.
        ellipsoid: S of attacks ``S e``, ``||e||_p <= radius``, in the network's units: the shape that it was trained
            for. None for balls. All radii are multiples of it; ``replace(ellipsoid=None)`` answers about balls.

    Raises:
        InputError: Shapes do not agree.
    """

    u: Array
    alpha: Array
    bias: bool = False
    classes: tuple[Any, ...] | None = None
    regression: bool = False
    standardizer: Standardizer | None = None
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)
    slots: tuple[int, ...] | None = None
    norm: Norm = "inf"
    ellipsoid: Ellipsoid | None = None

    kind: ClassVar[str] = "relu"
    own_fields: ClassVar[tuple[str, ...]] = ("bias", "slots", "norm")

    def _kind_words(self) -> str:
        return f"relu{' with bias' if self.bias else ''}, {norm_words(self.norm, self.ellipsoid)}"

    def __post_init__(self) -> None:
        self._check_shapes()
        flag(self.bias, "bias")
        if self.ellipsoid is not None:
            instance(self.ellipsoid, "ellipsoid", Ellipsoid, "an Ellipsoid, or None")
        if self.n_features < 1:
            besides = " besides the bias" if self.bias else ""
            raise InputError(f"u has shape {self.u.shape}; expected at least one column{besides}.")
        if self.slots is not None:
            wanted = "whole numbers, one per neuron, or None"
            for slot in instance(self.slots, "slots", tuple | list, wanted):
                instance(slot, "a slot", int | np.integer, wanted)
        if self.slots is not None and len(self.slots) != self.n_neurons:
            raise InputError(f"{len(self.slots)} slots given for {self.n_neurons} neurons; expected one each.")
        # Refuses what does not belong together.
        AttackBall(check_norm(self.norm), np.zeros(0), self.n_features, self.ellipsoid)

    @property
    def n_features(self) -> int:
        """Number of inputs, the constant of a bias not counted."""
        return int(self.u.shape[1]) - int(self.bias)

    @property
    def penalty(self) -> float:
        """``1/2 sum_j (||u_j||_2^2 + ||alpha_j||_2^2)``, the bias included: the weight decay of nonconvex training.

        It equals ``sum_j ||u_j||_2 ||alpha_j||_2`` when both factors of every neuron have the same norm, and is larger
        otherwise.
        """
        return 0.5 * float((self.u**2).sum() + (self.alpha**2).sum())

    def decision_function(self, X: ArrayLike) -> Array:
        """Outputs f, shape (n,), or (n, K) for K outputs.

        Args:
            X: Inputs, shape (n, d).
        """
        V, b = self.layers()
        return np.asarray(np.maximum(self._inputs(X) @ V.T + b, 0.0) @ self.alpha)

    def attack(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radius: ArrayLike,
        norm: Norm | None = None,
        *,
        steps: int = 20,
        restarts: int = 5,
        seed: int = 0,
    ) -> FoundAttack:
        """Attacks by projected gradient descent on the margin against each rival class; never worse than no attack.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radius: One radius or one per sample, in the network's units.
            norm: Norm of the attack: "inf", 2 or 1; None for the network's own.
            steps: Gradient steps from each start.
            restarts: Random starts besides the clean point.
            seed: Of the random starts.

        Raises:
            InputError: A radius is negative, the norm is unknown, or shapes or labels do not fit.
        """
        for name, value, least in (("steps", steps, 1), ("restarts", restarts, 0), ("seed", seed, 0)):
            whole(value, name, least)
        inputs, index, ball = self._attackable(X, y, radius, norm)
        inner = self.inner
        points, margins = inputs.copy(), inner.margins(inputs, y)
        for block, (rows, contests) in enumerate(contests_of(self, inputs, index, ball)):
            rng = np.random.default_rng([seed, block])
            found, values = relu_bounds.attack(contests, steps, restarts, rng)
            candidates = worst_rival(found, values, rows.size)
            reached = inner.margins(candidates, label_array(y)[rows])
            better = reached < margins[rows]
            points[rows[better]], margins[rows[better]] = candidates[better], reached[better]
        return FoundAttack(self._in_units_of(X, inputs, points), margins)

    def lower_bound(
        self, X: ArrayLike, y: ArrayLike, radius: ArrayLike, norm: Norm | None = None, *, steps: int = 20
    ) -> Array:
        """Certified lower bounds of the margins under every attack, by linear relaxation; shape (n,).

        Rounding is on the safe side. Exact up to rounding for a sample whose ball no neuron changes its sign in.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radius: One radius or one per sample, in the network's units.
            norm: Norm of the attack: "inf", 2 or 1; None for the network's own.
            steps: Supergradient steps that tighten the relaxation; 0 takes the best of four fixed ones.

        Raises:
            InputError: A radius is negative, the norm is unknown, or shapes or labels do not fit.
        """
        whole(steps, "steps", 0)
        inputs, index, ball = self._attackable(X, y, radius, norm)
        return lower_margins(self, inputs, index, ball, steps)

    def exact_worst_case(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radius: ArrayLike,
        norm: Norm | None = None,
        *,
        time_limit: float | None = None,
    ) -> ProvenWorstCase:
        """The attack that makes each margin smallest, with a proof; for small networks.

        Mixed-integer programming (HiGHS) for the norms inf and 1, where `lower` is the solver's dual bound less an
        allowance for its tolerances; branch and bound for norm 2, where `lower` is rigorous. The time may grow
        exponentially with the number of neurons that change their sign inside a ball.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radius: One radius or one per sample, in the network's units.
            norm: Norm of the attack: "inf", 2 or 1; None for the network's own.
            time_limit: Seconds for all samples together; those it cuts short keep their bounds, not `proven`.

        Raises:
            InputError: A radius is negative, the norm is unknown, or shapes or labels do not fit.
        """
        if time_limit is not None:
            number(time_limit, "time_limit", "seconds of 0 or more, or None", lambda seconds: seconds >= 0.0)
        inputs, index, ball = self._attackable(X, y, radius, norm)
        found = exact_margins(self.inner, inputs, y, index, ball, time_limit)
        return replace(found, points=self._in_units_of(X, inputs, found.points))

    def certified_accuracy(self, X: ArrayLike, y: ArrayLike, radii: ArrayLike, norm: Norm | None = None) -> Array:
        """Fraction of samples that, by `lower_bound`, no attack within each radius can turn wrong.

        A lower bound of the true robust accuracy, as `attacked_accuracy` is an upper one.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radii: Radii, shape (k,), in the network's units.
            norm: Norm of the attack: "inf", 2 or 1; None for the network's own.

        Returns:
            Shape (k,). Radius 0 is the clean accuracy.

        Raises:
            InputError: A radius is negative, the norm is unknown, shapes or labels do not fit, or the network does
                regression.
        """
        inputs, labels, asked, correct = self._judged(X, y, radii, norm)
        inner = self.inner
        held = np.zeros(correct.size, dtype=np.bool_)
        fractions = np.empty(asked.size)
        # A certificate holds inside every smaller ball, too.
        for k in np.argsort(-asked, kind="stable"):
            rows = np.flatnonzero(correct & ~held)
            if asked[k] == 0.0:
                held = correct
            elif rows.size:
                held[rows] = inner.lower_bound(inputs[rows], labels[rows], asked[k], norm) > 0.0
            fractions[k] = np.mean(held)
        return fractions

    def attacked_accuracy(
        self,
        X: ArrayLike,
        y: ArrayLike,
        radii: ArrayLike,
        norm: Norm | None = None,
        *,
        steps: int = 20,
        restarts: int = 5,
        seed: int = 0,
    ) -> Array:
        """Fraction of samples that `attack` does not turn wrong within each radius: an upper bound of robust accuracy.

        Args:
            X: Inputs, shape (n, d).
            y: True labels, shape (n,).
            radii: Radii, shape (k,), in the network's units.
            norm: Norm of the attack: "inf", 2 or 1; None for the network's own.
            steps: Gradient steps from each start.
            restarts: Random starts besides the clean point.
            seed: Of the random starts.

        Returns:
            Shape (k,). Radius 0 is the clean accuracy.

        Raises:
            InputError: As for `certified_accuracy`.
        """
        inputs, labels, asked, alive = self._judged(X, y, radii, norm)
        inner = self.inner
        fractions = np.empty(asked.size)
        # An attack lies inside every larger ball, too.
        for k in np.argsort(asked, kind="stable"):
            rows = np.flatnonzero(alive)
            if asked[k] > 0.0 and rows.size:
                found = inner.attack(
                    inputs[rows], labels[rows], asked[k], norm, steps=steps, restarts=restarts, seed=seed
                )
                alive[rows] = inner.predict(found.points) == labels[rows]
            fractions[k] = np.mean(alive)
        return fractions

    def certified_radius(self, X: ArrayLike, norm: Norm | None = None, *, steps: int = 20) -> Array:
        """Radius within which, by `lower_bound`, no attack changes the label of an input, shape (n,).

        A lower bound of the distance to the nearest input with another label, found by doubling and bisection between
        2^-20 and 2^20 times `AttackBall.usual_radius`, to a hundredth of itself; 0 where nothing is certified.

        Args:
            X: Inputs, shape (n, d).
            norm: Norm of the attack: "inf", 2 or 1; None for the network's own.
            steps: See `lower_bound`.

        Raises:
            InputError: The norm is unknown, shapes do not fit, or the network does regression.
        """
        if self.regression:
            raise InputError("a regression network predicts numbers; take replace(regression=False) to judge its sign.")
        inputs, inner = self._inputs(X), self.inner
        norm = check_norm(self.norm if norm is None else norm)
        labels = inner.predict(inputs)
        return largest_certified(
            lambda rows, radii: inner.lower_bound(inputs[rows], labels[rows], radii, norm, steps=steps) > 0.0,
            len(inputs),
            unit=AttackBall(norm, np.zeros(0), self.n_features, self.ellipsoid).usual_radius,
        )

    def to_torch(self) -> "torch.nn.Module":
        """The same function as a ``torch.nn.Module`` in float64: inputs (n, d) to outputs (n,) or (n, K)."""
        from cvxrobust.core.networks.torch_modules import relu_module, with_standardizer

        return with_standardizer(relu_module(self.u, self.alpha, self.bias), self.standardizer)

    @classmethod
    def _own_stored(cls, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
        bias, width = stored_flag(header, "bias"), numbers(arrays, "u", 2).shape[1]
        own = {"bias": bias, "slots": whole_numbers(header, "slots"), "norm": check_norm(header.get("norm", "inf"))}
        return own | {"ellipsoid": stored_ellipsoid(arrays, width - int(bias))}

    def _further_arrays(self) -> dict[str, NDArray[Any]]:
        return {} if self.ellipsoid is None else self.ellipsoid.arrays()

    def _oldest_format(self) -> int:
        return 1 if self.ellipsoid is None else 2

    def layers(self) -> tuple[Array, Array]:
        """Weights on the inputs, shape (m, d), and biases, shape (m,)."""
        if self.bias:
            return self.u[:, :-1], self.u[:, -1]
        return self.u, np.zeros(self.n_neurons)

    def _attackable(
        self, X: ArrayLike, y: ArrayLike, radius: ArrayLike, norm: Norm | None
    ) -> tuple[Array, NDArray[np.intp], AttackBall]:
        """Inputs, indices of labels and the attacks on them, checked."""
        inputs = self._inputs(X)
        n = inputs.shape[0]
        index = self._label_index(y, n)
        radii, norm = self._radii(radius, n), check_norm(self.norm if norm is None else norm)
        return inputs, index, AttackBall.of_shape(norm, radii, self.n_features, self.ellipsoid)

    def _judged(
        self, X: ArrayLike, y: ArrayLike, radii: ArrayLike, norm: Norm | None
    ) -> tuple[Array, NDArray[Any], Array, NDArray[np.bool_]]:
        """Inputs, labels, radii, and which samples are right before any attack."""
        if self.regression:
            raise InputError("a regression network predicts numbers; take replace(regression=False) to judge its sign.")
        asked = asked_radii(radii)
        check_norm(self.norm if norm is None else norm)
        inputs = self._inputs(X)
        labels = self._labels(self._label_index(y, inputs.shape[0]))
        return inputs, labels, asked, np.asarray(self.inner.predict(inputs) == labels)
