"""Small random ReLU training problems, degenerate ones included, each a pure function of its number."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from random_problems import shape

from cvxrobust import AdversarialReLU, ConvexReLU
from cvxrobust.problems.relu.gates.slots import Slots

Array = NDArray[np.float64]

LOSSES = ("hinge", "squared_hinge", "logistic", "squared")
NORMS: tuple[Any, ...] = ("inf", 2, 1)
FORMS = ("cone", "soft-cone", "separate", "mixed", "gated")
DEGENERACIES = ("none", "duplicate patterns", "one class", "n < d", "duplicate rows", "zero row", "none", "one pattern")
SOURCES = ("patterns", "pair", "gates", "sampled")


@dataclass(frozen=True)
class Recipe:
    """What a problem is made of, in the words of the papers, so that other code can model it again.

    Args:
        X: Inputs, shape (n, d).
        y: Labels, or targets of the squared loss, shape (n,) or (n, C).
        vectors: Gate vectors, shape (D, P).
        loss: Name of the loss.
        form: One of `FORMS`: the three bounds of the one-sided formulation are forms of their own.
        radius: One for all samples, or shape (n,).
        norm: Norm of the attack.
        beta: Weight of the penalty.
        bias: Whether a constant is appended to the inputs.
        source: How the gates are handed over.
        degeneracy: What is odd about the data.
        gates: Gates of the slots of either sign instead of patterns, which no vectors need to produce.
        shape: The keyword argument that gives attacks a shape; none for balls.
    """

    X: Array
    y: Any
    vectors: Array
    loss: str
    form: str
    radius: Any
    norm: Any
    beta: float
    bias: bool
    source: str
    degeneracy: str = "none"
    gates: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None = None
    shape: Mapping[str, Array] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.form} {' '.join(self.shape)} {self.loss} l{self.norm} r={np.max(self.radius):g} n,d={self.X.shape} "
            f"P={self.vectors.shape[1]} bias={self.bias} beta={self.beta:.2g} {self.source} {self.degeneracy}"
        )

    @property
    def inputs(self) -> Array:
        """The inputs, with the constant of a bias."""
        return np.hstack([self.X, np.ones((len(self.X), 1))]) if self.bias else self.X

    @property
    def root(self) -> Array:
        """S of attacks ``S e``, shape (d, q)."""
        (given,) = self.shape.items() or [("scale", np.ones(self.X.shape[1]))]
        name, value = given
        return {"scale": np.diag, "covariance": _root, "directions": np.asarray}[name](value)

    @property
    def patterns(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Patterns for positive and for negative output weights, duplicates and empty ones included."""
        if self.gates is not None:
            return self.gates
        D = self.inputs @ self.vectors >= 0.0
        if self.source == "sampled" and self.bias:
            D = np.hstack([D, np.ones((len(D), 1), dtype=np.bool_)])
        return (D[:, : D.shape[1] // 2 + 1], D[:, D.shape[1] // 2 :]) if self.source == "pair" else (D, D)

    @property
    def slots(self) -> Slots:
        """The patterns as slots, one sign after the other; all of one sign in the gated formulation."""
        positive, negative = self.patterns
        signs = np.concatenate([np.ones(positive.shape[1]), -np.ones(negative.shape[1])])
        return Slots(np.hstack([positive, negative]), np.abs(signs) if self.form == "gated" else signs)

    def problem(self, **other: Any) -> Any:
        """The problem, some of its parameters replaced."""
        given = {
            "patterns": {"patterns": self.patterns[0]},
            "pair": {"patterns": self.patterns},
            "gates": {"gates": self.vectors},
            # The same vectors as those of `vectors`: see `random_recipe`.
            "sampled": {"n_gates": self.vectors.shape[1], "seed": 7},
            "slots": {"slots": self.slots},
        }[self.source]
        one_sided = self.form in ("soft-cone", "separate", "mixed")
        chosen = {
            "loss": self.loss,
            "beta": self.beta,
            "bias": self.bias,
            "formulation": "one-sided" if one_sided else self.form,
            **given,
        }
        attack = {"radius": self.radius, "norm": self.norm, **self.shape} | ({"bound": self.form} if one_sided else {})
        if np.max(self.radius) == 0.0 and not self.shape and self.form not in ("separate", "mixed"):
            return ConvexReLU(self.X, self.y, **(chosen | other))
        return AdversarialReLU(self.X, self.y, **(chosen | attack | other))


def random_recipe(number: int) -> Recipe:
    """Recipe `number` of an endless list: losses, norms, forms and degeneracies in turn, the rest random."""
    rng = np.random.default_rng(number)
    loss = LOSSES[number % 4]
    # Every loss meets every norm and every form.
    norm = NORMS[number % 3]
    form = FORMS[number // 12 % 5] if loss != "squared" else ("cone", "gated")[number // 12 % 2]
    degeneracy = DEGENERACIES[number // 5 % len(DEGENERACIES)]
    source = SOURCES[number // 7 % len(SOURCES)]
    if form == "mixed":
        source = "gates"
    n, d, P = int(rng.integers(4, 21)), int(rng.integers(2, 6)), int(rng.integers(2, 7))
    if degeneracy == "n < d":
        n, d = int(rng.integers(1, 4)), int(rng.integers(4, 7))
    bias = bool(rng.integers(0, 2))
    X = rng.standard_normal((n, d))
    y = np.where(np.abs(X[:, 0]) - 0.7 + 0.4 * X[:, 1] + 0.3 * rng.standard_normal(n) > 0, 1.0, -1.0)
    if degeneracy == "duplicate rows":
        again = np.arange(n // 3 + 1)
        X, y = np.vstack([X, X[again]]), np.append(y, -y[again])
    if degeneracy == "zero row":
        X[0] = 0.0
    if degeneracy == "one class":
        y[:] = y[0]
    inputs = np.hstack([X, np.ones((len(X), 1))]) if bias else X
    if source == "sampled":
        vectors = np.random.default_rng(7).standard_normal((inputs.shape[1], P))
    else:
        vectors = _clear_of(inputs, P, rng)
        if degeneracy == "one pattern":
            vectors = vectors[:, :1]
        # An empty pattern alone would be refused; one of several is left out.
        empty = ~(inputs @ vectors >= 0.0).any(axis=0) & ((np.arange(vectors.shape[1]) == 0) | (source == "pair"))
        vectors[:, empty] *= -1.0
        if degeneracy == "duplicate patterns":
            vectors = np.hstack([vectors, 2.0 * vectors[:, :2], vectors[:, :1]])
    # Every loss and form with attack and without.
    radius: Any = 0.0 if number % 3 == number // 60 % 2 else float(rng.choice([0.02, 0.1, 0.4]))
    if radius > 0.0 and rng.integers(0, 3) == 0:
        radius = radius * rng.uniform(0.0, 2.0, len(X)) * rng.integers(0, 2, len(X))
    if loss == "squared":
        y = X @ rng.standard_normal((d, 3)) if number % 8 == 3 else np.abs(X[:, 0]) - X[:, 1] ** 2
    beta = float(10.0 ** rng.uniform(-3, -1))
    return Recipe(X, y, vectors, loss, form, radius, norm, beta, bias, source, degeneracy)


def any_gates(number: int) -> Recipe:
    """A random recipe whose slots have gates of no order at all, as regating might leave them."""
    recipe, rng = random_recipe(number), np.random.default_rng([number, 1])
    positive, negative = (rng.random((len(recipe.X), k)) < 0.6 for k in rng.integers(1, 5, 2))
    form = "soft-cone" if recipe.form in ("separate", "mixed") else recipe.form
    return replace(recipe, form=form, source="slots", gates=(positive, negative))


def shaped_recipe(number: int) -> Recipe:
    """A random recipe under attacks with a shape: norms, shapes and forms in turn."""
    recipe, rng = random_recipe(number), np.random.default_rng([number, 2])
    kinds = ("scale", "covariance", "directions") if recipe.norm == 2 else ("scale",)
    radius = recipe.radius if np.max(recipe.radius) > 0.0 else 0.1
    return replace(recipe, radius=radius, shape=shape(kinds[number // 3 % len(kinds)], recipe.X.shape[1], rng))


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _clear_of(inputs: Array, P: int, rng: np.random.Generator) -> Array:
    """Gate vectors far from being orthogonal to any sample, some of which hold neurons under attack."""
    drawn = rng.standard_normal((inputs.shape[1], 40 * P))
    products = np.abs(inputs[inputs.any(axis=1)] @ drawn).min(axis=0) / np.linalg.norm(drawn, axis=0)
    return drawn[:, np.argsort(-products)[:P]]
