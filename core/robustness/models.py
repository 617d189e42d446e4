"""One view of every classifier: labels, margins and, where there are any, slopes of margins.

Labels are what the classifier itself predicts. Margins only guide attacks and certificates: whether an attack succeeded
is asked of `Model.predicted` alone.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.robustness import kernels
from cvxrobust.core.robustness.contest import Array, Index, contest
from cvxrobust.core.robustness.modules import TorchModel, check_viewing
from cvxrobust.core.strangers import shown
from cvxrobust.core.validation import as_numbers, check_finite, checked_rows, label_array


class Model(Protocol):
    """What evaluations ask of a classifier.

    Attributes:
        classes: Its labels.
        units: What a radius of 1 is about, in words.
        model: The classifier itself.
        notes: What is not as usual, one sentence each.
    """

    classes: tuple[Any, ...]
    units: str
    model: Any
    notes: tuple[str, ...]

    def inputs(self, X: ArrayLike) -> Array:
        """X as attacks see it, shape (n, d)."""
        ...

    def stated(self, threat: Threat) -> Threat:
        """A threat on X as one on what attacks see, once `inputs` has seen some."""
        ...

    def returned(self, X: ArrayLike, rows: Array, points: Array) -> Array:
        """Attacked inputs in the units and the shape of X; where no attack moved a row, X itself.

        Args:
            X: As the model takes it.
            rows: The same as attacks see it, shape (n, d).
            points: Attacked rows, shape (n, d).
        """
        ...

    def predicted(self, X: Array) -> Index:
        """The place among `classes` of what it predicts, shape (n,)."""
        ...

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """How far each row is from being taken for another class than this one, in some unit, shape (n,).

        Args:
            X: Shape (n, d).
            index: The class of each row, shape (n,).
            rivals: The other class that counts, shape (n,); None for whichever is nearest.
        """
        ...

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array] | None:
        """Margins, shape (n,), and their gradients in X, shape (n, d); None where there are no gradients."""
        ...

    def pull(self, X: Array, weights: Array) -> Array | None:
        """Gradients in X of sums of scores, each class with a weight, shape (n, d); None where there are none.

        Args:
            X: Shape (n, d).
            weights: Shape (n, K). A single score is that of the second class, and the first has its negative.
        """
        ...


@dataclass
class Guise:
    """A classifier as attacks are told to see it; subclasses say what margins are instead.

    Args:
        view: The classifier as it is.
    """

    view: Model

    def __post_init__(self) -> None:
        self.classes, self.units, self.model = self.view.classes, self.view.units, self.view.model
        self.notes = self.view.notes

    def inputs(self, X: ArrayLike) -> Array:
        """As it is."""
        return self.view.inputs(X)

    def stated(self, threat: Threat) -> Threat:
        """As it is."""
        return self.view.stated(threat)

    def returned(self, X: ArrayLike, rows: Array, points: Array) -> Array:
        """As it is."""
        return self.view.returned(X, rows, points)

    def predicted(self, X: Array) -> Index:
        """As it is."""
        return self.view.predicted(X)

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """As it is."""
        return self.view.margins(X, index, rivals)

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array] | None:
        """As it is."""
        return self.view.slopes(X, index, rivals)

    def pull(self, X: Array, weights: Array) -> Array | None:
        """As it is."""
        return self.view.pull(X, weights)


def places(classes: Sequence[Any], y: ArrayLike, n: int) -> Index:
    """The place of each label among the classes, shape (n,).

    Raises:
        InputError: There is a label that is none of them, or their number is another.
    """
    labels = label_array(y)
    if labels.shape != (n,):
        raise InputError(f"y has shape {labels.shape}; expected ({n},), one label per row of X.")
    known = {label: k for k, label in enumerate(classes)}
    found, inverse = np.unique(labels, return_inverse=True)
    if unknown := [label for label in found.tolist() if label not in known]:
        raise InputError(f"y holds labels {unknown[:5]}, but this model knows {list(classes)}.")
    index = np.array([known[label] for label in found.tolist()], dtype=np.intp)
    return np.asarray(index[inverse.reshape(n)])


@dataclass
class NetworkModel:
    """A network of ours; radii are in its own units.

    Args:
        model: The network.
    """

    model: PolynomialNetwork | ReLUNetwork

    def __post_init__(self) -> None:
        network = self.model
        if network.regression:
            raise InputError("a regression network predicts numbers; take replace(regression=False) to judge its sign.")
        count = 2 if network.alpha.ndim == 1 else network.alpha.shape[1]
        default = (-1.0, 1.0) if count == 2 and network.alpha.ndim == 1 else tuple(range(count))
        self.classes = default if network.classes is None else tuple(network.classes)
        self.units = "the inputs' own units"
        if network.standardizer is not None:
            self.units = "standard deviations of each column"
        self.inner = network.inner
        self.notes: tuple[str, ...] = ()

    def inputs(self, X: ArrayLike) -> Array:
        """In the network's units."""
        return self.model._inputs(X)

    def stated(self, threat: Threat) -> Threat:
        """With the range of inputs in the network's units."""
        standardizer, d = self.model.standardizer, self.model.n_features
        if threat.bounds is None or standardizer is None:
            return threat
        low, high = (
            (np.broadcast_to(as_numbers(value, "bounds"), (d,)) - standardizer.mean) / standardizer.scale
            for value in threat.bounds
        )
        return Threat(threat.norm, threat.scale, threat.covariance, threat.directions, (low, high))

    def returned(self, X: ArrayLike, rows: Array, points: Array) -> Array:
        """In the units of X."""
        if self.model.standardizer is None:
            return points
        return as_numbers(X, "X") + (points - rows) * self.model.standardizer.scale

    def predicted(self, X: Array) -> Index:
        """Zero counts as positive, as everywhere."""
        f = self.inner.decision_function(X)
        return np.asarray(f.argmax(axis=1) if f.ndim == 2 else (f >= 0.0).astype(np.intp))

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """``f_y - f_k``, or ``y f``."""
        return contest(self.inner.decision_function(X), index, rivals)[0]

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array]:
        """By hand: of a quadratic, or of pieces that are linear."""
        outputs, inner = self._neurons(X)
        alpha = self.inner.alpha
        margins, rivals = contest(outputs @ alpha, index, rivals)
        if alpha.ndim == 1:
            weights = np.where(index == 1, 1.0, -1.0)[:, None] * alpha
        else:
            weights = (alpha[:, index] - alpha[:, rivals]).T
        return margins, np.asarray((weights * inner) @ self._directions)

    def pull(self, X: Array, weights: Array) -> Array:
        """By hand, too."""
        alpha = self.inner.alpha
        each = weights @ (np.vstack([-alpha, alpha]) if alpha.ndim == 1 else alpha.T)
        return np.asarray((each * self._neurons(X)[1]) @ self._directions)

    @property
    def _directions(self) -> Array:
        network = self.inner
        return network.u[:, :-1] if isinstance(network, ReLUNetwork) and network.bias else network.u

    def _neurons(self, X: Array) -> tuple[Array, Array]:
        """What the hidden neurons answer, and their slopes, shapes (n, m)."""
        network = self.inner
        t = X @ self._directions.T
        if isinstance(network, ReLUNetwork):
            if network.bias:
                t += network.u[:, -1]
            return np.maximum(t, 0.0), (t > 0.0).astype(np.float64)
        a, b, c = network.activation
        return (a * t + b) * t + c, 2.0 * a * t + b


@dataclass
class PredictorModel:
    """A classifier with scikit-learn's methods: `predict`, and `decision_function` or `predict_proba` if it has one.

    Args:
        model: The fitted classifier.
    """

    model: Any

    def __post_init__(self) -> None:
        self.classes = tuple(np.asarray(self.model.classes_).tolist())
        self.units = "the inputs' own units"
        self.notes: tuple[str, ...] = ()
        names = ("decision_function", "predict_proba")
        self.scored = next((name for name in names if hasattr(self.model, name)), None)

    def inputs(self, X: ArrayLike) -> Array:
        """As they are."""
        width = getattr(self.model, "n_features_in_", None)
        return _table(X) if width is None else checked_rows(X, int(width), "this model takes")

    def stated(self, threat: Threat) -> Threat:
        """As it is."""
        return threat

    def returned(self, X: ArrayLike, rows: Array, points: Array) -> Array:
        """As they are."""
        return points

    def predicted(self, X: Array) -> Index:
        """Of `predict` itself."""
        return places(self.classes, self._asked("predict", X), X.shape[0])

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """Of its scores; +-1 where it has none."""
        if self.scored is None:
            return np.where(self.predicted(X) == index, 1.0, -1.0)
        scores = np.asarray(self._asked(self.scored, X), dtype=np.float64)
        if scores.ndim == 2 and scores.shape[1] != len(self.classes):
            return np.where(self.predicted(X) == index, 1.0, -1.0)  # one-versus-one has scores for pairs
        margins, _ = contest(scores, index, rivals)
        if rivals is None and (tied := np.flatnonzero(margins == 0.0)).size:
            # Shares of classes in leaves are often equal, and then the order of the classes decides.
            lost = self.predicted(X[tied]) != index[tied]
            margins[tied[lost]] = -np.finfo(np.float64).tiny
        return margins

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array] | None:
        """Of linear models, and of support vector machines of two classes."""
        if self._is_machine:
            values, gradients = kernels.scores(self.model, X)
            return contest(values, index, rivals)[0], np.where(index == 1, 1.0, -1.0)[:, None] * gradients
        if not is_linear(self.model):
            return None
        weights, offsets = linear_scores(self.model)
        scores = X @ weights.T + offsets
        margins, rivals = contest(scores, index, rivals)
        return margins, weights[index] - weights[rivals]

    def pull(self, X: Array, weights: Array) -> Array | None:
        """Of the same."""
        if self._is_machine:
            return np.asarray((weights[:, 1] - weights[:, 0])[:, None] * kernels.scores(self.model, X)[1])
        if not is_linear(self.model):
            return None
        each = linear_scores(self.model)[0]
        if np.atleast_2d(self.model.coef_).shape[0] == 1:
            each = np.vstack([-each[1], each[1]])
        return np.asarray(weights @ each)

    @property
    def _is_machine(self) -> bool:
        return kernels.is_machine(self.model) and is_of_sklearn(self.model, "BaseSVC", "decision_function")

    def _asked(self, method: str, X: Array) -> Any:
        """What a method says; it was asked about a table with names in training, but columns are where they were."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
            return getattr(self.model, method)(X)


class LinearScores:
    """Base of classifiers whose scores are ``X @ coef_.T + intercept_``, as those of scikit-learn's linear ones are."""

    coef_: Array
    intercept_: Array


def is_linear(model: Any) -> bool:
    """Whether the scores of a classifier are ``X @ coef_.T + intercept_``: it is one of scikit-learn's, or says so."""
    return isinstance(model, LinearScores) or is_of_sklearn(model, "LinearClassifierMixin", "decision_function")


def is_of_sklearn(model: Any, base: str, *methods: str) -> bool:
    """Whether a classifier has a base class of scikit-learn's, whose answers nobody has changed in a subclass.

    Args:
        model: The classifier.
        base: The name of the class.
        methods: Methods that have to be scikit-learn's own, besides `predict`.
    """
    named = any(kind.__name__ == base and kind.__module__.startswith("sklearn.") for kind in type(model).__mro__)
    return named and _predicts_as(model, "sklearn.", *methods)


def _predicts_as(model: Any, package: str, *methods: str) -> bool:
    """Whether `predict` and some other methods of a model are those of a package, changed by nobody."""
    return all(
        str(getattr(getattr(type(model), name, None), "__module__", "")).startswith(package) and name not in vars(model)
        for name in ("predict", *methods)
    )


def linear_scores(model: Any) -> tuple[Array, Array]:
    """Weights and offsets of the score of every class, shapes (K, d) and (K,)."""
    weights, offsets = np.atleast_2d(model.coef_).astype(np.float64), np.atleast_1d(model.intercept_)
    offsets = np.broadcast_to(offsets, weights.shape[:1]).astype(np.float64)
    if weights.shape[0] == 1:
        return np.vstack([np.zeros_like(weights), weights]), np.append(0.0, offsets)
    return weights, offsets


def as_model(
    model: Any, y: ArrayLike, classes: Sequence[Any] | None = None, batch: int | None = None, double: bool = True
) -> Model:
    """The view of a classifier.

    Args:
        model: A network of ours, a PyTorch module, or a fitted classifier with scikit-learn's methods.
        y: True labels, from which those of a module follow where `classes` do not say them.
        classes: Labels of a PyTorch module, in the order of its outputs.
        batch: Rows that a PyTorch module sees at a time; None for as many as are no burden.
        double: Whether margins and slopes of a PyTorch module are those of a copy in double precision.

    Raises:
        InputError: It is none of these, or there are rows to see at a time, but none is.
    """
    is_module = "torch.nn.modules.module" in {kind.__module__ for kind in type(model).__mro__}
    check_viewing(model, is_module, classes, batch, double)
    if isinstance(model, PolynomialNetwork | ReLUNetwork):
        return NetworkModel(model)
    if is_module:
        found = np.unique(label_array(y)).tolist() if classes is None else list(classes)
        return TorchModel(model, tuple(found), batch, double)
    if callable(getattr(model, "predict", None)):
        network = getattr(model, "network_", None)
        if isinstance(network, PolynomialNetwork | ReLUNetwork) and _predicts_as(model, "cvxrobust."):
            return NetworkModel(network)
        if not hasattr(model, "classes_"):
            raise InputError(f"{type(model).__name__} has no classes_; expected a classifier that has been fitted.")
        return PredictorModel(model)
    raise InputError(
        f"model is {shown(model)}; expected a network of this package, a PyTorch module, or a classifier "
        "with scikit-learn's predict and classes_."
    )


def _table(X: ArrayLike) -> Array:
    rows = as_numbers(X, "X")
    if rows.ndim != 2:
        raise InputError(f"X has shape {rows.shape}; expected (n, d).")
    check_finite(rows, "X", "impute missing values first")
    return rows
