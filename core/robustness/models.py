"""One view of every classifier: labels, margins and, where there are any, slopes of margins.

Labels are what the classifier itself predicts. Margins only guide attacks and certificates: whether an attack succeeded
is asked of `Model.predicted` alone.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.networks.relu import ReLUNetwork
from cvxrobust.core.validation import as_numbers, check_finite, checked_rows, label_array

if TYPE_CHECKING:
    import torch

Array = NDArray[np.float64]
Index = NDArray[np.intp]

BLOCK = 4_000_000
"""Numbers that a block of rows may take in a network of others at a time."""


class Model(Protocol):
    """What evaluations ask of a classifier.

    Attributes:
        classes: Its labels.
        units: What a radius of 1 is about, in words.
        model: The classifier itself.
    """

    classes: tuple[Any, ...]
    units: str
    model: Any

    def inputs(self, X: ArrayLike) -> Array:
        """X as attacks see it, shape (n, d)."""
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


@dataclass
class Guise:
    """A classifier as attacks are told to see it; subclasses say what margins are instead.

    Args:
        view: The classifier as it is.
    """

    view: Model

    def __post_init__(self) -> None:
        self.classes, self.units, self.model = self.view.classes, self.view.units, self.view.model

    def inputs(self, X: ArrayLike) -> Array:
        """As it is."""
        return self.view.inputs(X)

    def predicted(self, X: Array) -> Index:
        """As it is."""
        return self.view.predicted(X)

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """As it is."""
        return self.view.margins(X, index, rivals)

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array] | None:
        """As it is."""
        return self.view.slopes(X, index, rivals)


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


def contest(scores: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Index]:
    """Margins ``f_y - max_k f_k`` over the other classes, and the class that is nearest; of one score, ``+-f``.

    Args:
        scores: Shape (n,) or (n, K).
        index: Classes, shape (n,).
        rivals: The other classes that count, shape (n,); None for those that are nearest.

    Returns:
        Shapes (n,) and (n,).
    """
    if scores.ndim == 1:
        return np.where(index == 1, scores, -scores), 1 - index
    rows = np.arange(index.size)
    if rivals is None:
        others = scores.copy()
        others[rows, index] = -np.inf
        rivals = np.asarray(others.argmax(axis=1))
    return np.asarray(scores[rows, index] - scores[rows, rivals]), rivals


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

    def inputs(self, X: ArrayLike) -> Array:
        """In the network's units."""
        rows = checked_rows(X, self.model.n_features, "this network takes")
        return rows if self.model.standardizer is None else self.model.standardizer.transform(rows)

    def predicted(self, X: Array) -> Index:
        """Zero counts as positive, as everywhere."""
        f = self.inner.decision_function(X)
        return np.asarray(f.argmax(axis=1) if f.ndim == 2 else (f >= 0.0).astype(np.intp))

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """``f_y - f_k``, or ``y f``."""
        return contest(self.inner.decision_function(X), index, rivals)[0]

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array]:
        """By hand: of a quadratic, or of pieces that are linear."""
        network = self.inner
        U, offset = network.u, np.zeros(network.n_neurons)
        if isinstance(network, ReLUNetwork) and network.bias:
            U, offset = network.u[:, :-1], network.u[:, -1]
        t = X @ U.T + offset
        if isinstance(network, ReLUNetwork):
            outputs, inner = np.maximum(t, 0.0), (t > 0.0).astype(np.float64)
        else:
            a, b, c = network.activation
            outputs, inner = (a * t + b) * t + c, 2.0 * a * t + b
        scores = outputs @ network.alpha
        margins, rivals = contest(scores, index, rivals)
        if network.alpha.ndim == 1:
            weights = np.where(index == 1, 1.0, -1.0)[:, None] * network.alpha
        else:
            weights = (network.alpha[:, index] - network.alpha[:, rivals]).T
        return margins, np.asarray((weights * inner) @ U)


@dataclass
class TorchModel:
    """Somebody's PyTorch module: rows of inputs to one logit, or to one per class.

    Gradients are taken of a copy in double precision; labels are those of the module as it is.

    Args:
        model: The module, in the mode that it is to be judged in (``module.eval()``).
        classes: Labels; of one logit the one that is predicted below 0 comes first.
    """

    model: "torch.nn.Module"
    classes: tuple[Any, ...]

    def __post_init__(self) -> None:
        import torch

        self.units = "the inputs' own units"
        self.torch = torch
        first = next(iter(self.model.parameters()), None)
        self.dtype = torch.float64 if first is None else first.dtype
        self.device = torch.device("cpu") if first is None else first.device
        if self.model.training:
            raise InputError("the module is in training mode, where labels may be random; call module.eval() first.")
        self.double = copy.deepcopy(self.model).to(torch.float64)

    def inputs(self, X: ArrayLike) -> Array:
        """As they are."""
        return _table(X)

    def predicted(self, X: Array) -> Index:
        """Of the module as it is, in its own precision."""
        scores = self._scores(self.model, X, self.dtype)
        return np.asarray(scores.argmax(axis=1) if scores.ndim == 2 else (scores >= 0.0).astype(np.intp))

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """In double precision."""
        return contest(self._scores(self.double, X, self.torch.float64), index, rivals)[0]

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array]:
        """By automatic differentiation, in double precision."""
        margins, slopes = np.empty(X.shape[0]), np.empty_like(X)
        for rows in _blocks(X):
            x = self.torch.tensor(X[rows], dtype=self.torch.float64, device=self.device, requires_grad=True)
            with self.torch.enable_grad():
                scores = self._checked(self.double(x), rows.stop - rows.start)
                values = scores.detach().cpu().numpy()
                wanted = None if rivals is None else rivals[rows]
                margins[rows], others = contest(values, index[rows], wanted)
                if scores.ndim == 1:
                    signs = np.where(index[rows] == 1, 1.0, -1.0)
                    total = (scores * self.torch.tensor(signs, device=self.device)).sum()
                else:
                    chosen = self.torch.arange(len(others), device=self.device)
                    own, other = (self.torch.tensor(part, device=self.device) for part in (index[rows], others))
                    total = (scores[chosen, own] - scores[chosen, other]).sum()
                (slope,) = self.torch.autograd.grad(total, x)
            slopes[rows] = slope.cpu().numpy()
        return margins, slopes

    def _scores(self, module: "torch.nn.Module", X: Array, dtype: "torch.dtype") -> Array:
        parts = []
        with self.torch.no_grad():
            for rows in _blocks(X):
                x = self.torch.tensor(X[rows], dtype=dtype, device=self.device)
                parts.append(self._checked(module(x), len(x)).to(self.torch.float64).cpu().numpy())
        return np.concatenate(parts)

    def _checked(self, scores: "torch.Tensor", n: int) -> "torch.Tensor":
        if scores.ndim == 2 and scores.shape[1] == 1:
            scores = scores[:, 0]
        expected = 2 if scores.ndim == 1 else scores.shape[-1]
        if scores.shape[:1] != (n,) or scores.ndim > 2 or expected != len(self.classes):
            raise InputError(
                f"the module makes outputs of shape {tuple(scores.shape)} of {n} rows, and there are "
                f"{len(self.classes)} classes; expected one logit per row for two classes, or one per class."
            )
        return scores


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
        names = ("decision_function", "predict_proba")
        self.scored = next((name for name in names if hasattr(self.model, name)), None)

    def inputs(self, X: ArrayLike) -> Array:
        """As they are."""
        width = getattr(self.model, "n_features_in_", None)
        return _table(X) if width is None else checked_rows(X, int(width), "this model takes")

    def predicted(self, X: Array) -> Index:
        """Of `predict` itself."""
        return places(self.classes, self.model.predict(X), X.shape[0])

    def margins(self, X: Array, index: Index, rivals: Index | None = None) -> Array:
        """Of its scores; +-1 where it has none."""
        if self.scored is None:
            return np.where(self.predicted(X) == index, 1.0, -1.0)
        scores = np.asarray(getattr(self.model, self.scored)(X), dtype=np.float64)
        if scores.ndim == 2 and scores.shape[1] != len(self.classes):
            return np.where(self.predicted(X) == index, 1.0, -1.0)  # one-versus-one has scores for pairs
        return contest(scores, index, rivals)[0]

    def slopes(self, X: Array, index: Index, rivals: Index | None = None) -> tuple[Array, Array] | None:
        """Of linear models alone."""
        if not is_linear(self.model):
            return None
        weights, offsets = linear_scores(self.model)
        scores = X @ weights.T + offsets
        margins, rivals = contest(scores, index, rivals)
        return margins, weights[index] - weights[rivals]


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
    return named and all(
        str(getattr(getattr(type(model), name, None), "__module__", "")).startswith("sklearn.")
        and name not in vars(model)
        for name in ("predict", *methods)
    )


def linear_scores(model: Any) -> tuple[Array, Array]:
    """Weights and offsets of the score of every class, shapes (K, d) and (K,)."""
    weights, offsets = np.atleast_2d(model.coef_).astype(np.float64), np.atleast_1d(model.intercept_)
    offsets = np.broadcast_to(offsets, weights.shape[:1]).astype(np.float64)
    if weights.shape[0] == 1:
        return np.vstack([np.zeros_like(weights), weights]), np.append(0.0, offsets)
    return weights, offsets


def as_model(model: Any, y: ArrayLike, classes: Sequence[Any] | None = None) -> Model:
    """The view of a classifier.

    Args:
        model: A network of ours, a PyTorch module, or a fitted classifier with scikit-learn's methods.
        y: True labels, from which those of a module follow where `classes` do not say them.
        classes: Labels of a PyTorch module, in the order of its outputs.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(model, PolynomialNetwork | ReLUNetwork):
        return NetworkModel(model)
    if "torch.nn.modules.module" in {kind.__module__ for kind in type(model).__mro__}:
        found = np.unique(label_array(y)).tolist() if classes is None else list(classes)
        return TorchModel(model, tuple(found))
    if callable(getattr(model, "predict", None)):
        network = getattr(model, "network_", None)
        if isinstance(network, PolynomialNetwork | ReLUNetwork):
            return NetworkModel(network)
        if not hasattr(model, "classes_"):
            raise InputError(f"{type(model).__name__} has no classes_; expected a classifier that has been fitted.")
        return PredictorModel(model)
    raise InputError(
        f"model is a {type(model).__name__}; expected a network of this package, a PyTorch module, or a classifier "
        "with scikit-learn's predict and classes_."
    )


def _table(X: ArrayLike) -> Array:
    rows = as_numbers(X, "X")
    if rows.ndim != 2:
        raise InputError(f"X has shape {rows.shape}; expected (n, d).")
    check_finite(rows, "X", "impute missing values first")
    return rows


def _blocks(X: Array) -> list[slice]:
    size = max(1, BLOCK // max(1, X.shape[1]))
    return [slice(start, min(start + size, X.shape[0])) for start in range(0, X.shape[0], size)]
