"""The norms of attacks, one geometry each: what the unit ball of a norm answers about vectors along the last axis.

The dual norm of g is the most that an attack of the unit ball adds to a linear function, ``N(g) = max g'z over
||z||_p <= 1``: the 1-, 2- and inf-norm for attacks in the inf-, 2- and 1-norm. Everything but random points runs on
NumPy arrays and on torch tensors of any device alike (array API). `GEOMETRIES` is the only way from a norm to its
geometry: another norm is another class there, and everybody's adapters, tables too, say what they lack.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from array_api_compat import array_namespace, device

from cvxrobust.core.attacks.trust_region import minimize_in_ball
from cvxrobust.core.errors import UnknownNameError

Array = Any
"""A NumPy array or a torch tensor of floating-point numbers."""

Norm = Literal["inf", 1, 2]
EPS = 2.0**-52


class NormGeometry(Protocol):
    """What the unit ball of a norm answers.

    Attributes:
        dual: The norm q with 1/p + 1/q = 1.
        isotropic: Whether it is the same in all directions.
        separable: Whether every coordinate is bounded by itself, so that scaled balls are boxes.
    """

    dual: ClassVar[Norm]
    isotropic: ClassVar[bool]
    separable: ClassVar[bool]

    def size(self, D: Array) -> Array:
        """The norm of vectors, shape (...)."""
        ...

    def dual_norm(self, G: Array) -> Array:
        """The dual norm of vectors, shape (...)."""
        ...

    def maximiser(self, G: Array) -> Array:
        """A z of the unit ball with ``g'z = N(g)`` for each vector, shape of G."""
        ...

    def project(self, D: Array, radius: Array) -> Array:
        """The point of the ball of each radius, shape (...), that is nearest to each vector in the Euclidean sense."""
        ...

    def project_scaled(self, D: Array, radius: Array, scale: Array) -> Array:
        """The points e of these balls for which ``scale * e`` is nearest to ``scale * D``; scale > 0 of shape (d,)."""
        ...

    def sample(self, shape: tuple[int, int], radius: Array, rng: np.random.Generator) -> Array:
        """One uniformly distributed point of the ball of each radius, shape (n, d), in NumPy."""
        ...

    def euclidean_reach(self, d: int) -> float:
        """The largest Euclidean length in the unit ball of d coordinates."""
        ...

    def scaled_reach(self, scale: Array) -> float:
        """The largest Euclidean length of ``scale * e``, e in the unit ball, scale > 0 of shape (d,)."""
        ...


@dataclass(frozen=True)
class _InfNorm:
    """Attacks in the inf-norm: a box."""

    dual: ClassVar[Norm] = 1
    isotropic: ClassVar[bool] = False
    separable: ClassVar[bool] = True

    def size(self, D: Array) -> Array:
        return _largest(D)

    def dual_norm(self, G: Array) -> Array:
        return _sum(G)

    def maximiser(self, G: Array) -> Array:
        return _sign(G)

    def project(self, D: Array, radius: Array) -> Array:
        xp, r = _namespace(D), radius[..., None]
        return xp.minimum(xp.maximum(D, -r), r)

    def project_scaled(self, D: Array, radius: Array, scale: Array) -> Array:
        return self.project(D, radius)  # each coordinate by itself

    def sample(self, shape: tuple[int, int], radius: Array, rng: np.random.Generator) -> Array:
        return radius[:, None] * rng.uniform(-1.0, 1.0, shape)

    def euclidean_reach(self, d: int) -> float:
        return math.sqrt(d)

    def scaled_reach(self, scale: Array) -> float:
        return float(_length(scale)) * (1.0 + 1e-12)


@dataclass(frozen=True)
class _TwoNorm:
    """Attacks in the 2-norm: a Euclidean ball."""

    dual: ClassVar[Norm] = 2
    isotropic: ClassVar[bool] = True
    separable: ClassVar[bool] = False

    def size(self, D: Array) -> Array:
        return _length(D)

    def dual_norm(self, G: Array) -> Array:
        return _length(G)

    def maximiser(self, G: Array) -> Array:
        return G / _divisor(_length(G)[..., None])

    def project(self, D: Array, radius: Array) -> Array:
        r = radius[..., None]
        return D * (r / _divisor(_namespace(D).maximum(_length(D)[..., None], r)))

    def project_scaled(self, D: Array, radius: Array, scale: Array) -> Array:
        xp, squares, rows = array_namespace(D), scale * scale, D.reshape(-1, D.shape[-1])
        products = xp.eye(rows.shape[1], dtype=D.dtype, device=device(D)) * squares
        return minimize_in_ball(products, -squares * rows, radius.reshape(-1)).points.reshape(D.shape)

    def sample(self, shape: tuple[int, int], radius: Array, rng: np.random.Generator) -> Array:
        direction = rng.standard_normal(shape)
        return _radial(direction, _length(direction), radius, rng)

    def euclidean_reach(self, d: int) -> float:
        return 1.0

    def scaled_reach(self, scale: Array) -> float:
        return float(_largest(scale))


@dataclass(frozen=True)
class _OneNorm:
    """Attacks in the 1-norm: a cross-polytope."""

    dual: ClassVar[Norm] = "inf"
    isotropic: ClassVar[bool] = False
    separable: ClassVar[bool] = False

    def size(self, D: Array) -> Array:
        return _sum(D)

    def dual_norm(self, G: Array) -> Array:
        return _largest(G)

    def maximiser(self, G: Array) -> Array:
        if G.shape[-1] == 0:
            return G
        xp = _namespace(G)
        flat = G.reshape(-1, G.shape[-1])
        there = xp.arange(flat.shape[0], device=device(G)), abs(flat).argmax(-1)
        z = xp.zeros_like(flat)
        z[there] = _sign(flat[there])
        return z.reshape(G.shape)

    def project(self, D: Array, radius: Array) -> Array:
        """Each size loses the same, or all that it has.

        Duchi et al. (2008), Efficient projections onto the l1-ball, Fig. 1. What it loses, ``(sum of the k largest - r)
        / k``, rises with k as long as the k-th is above it and falls from then on.
        """
        xp, sizes, d = _namespace(D), abs(D), D.shape[-1]
        sums = (-xp.sort(-sizes, axis=-1)).cumsum(-1)
        excess = (sums - radius[..., None]) / xp.arange(1, d + 1, dtype=D.dtype, device=device(D))
        left = xp.minimum(sizes, sizes - xp.max(excess, axis=-1, keepdims=True))
        return _sign(D) * left * (left > 0.0)

    def project_scaled(self, D: Array, radius: Array, scale: Array) -> Array:
        """The same where ``scale^2`` weighs the coordinates: a size loses a multiple of ``1 / scale^2``.

        The multiple, ``(sum of k sizes - r) / (sum of their 1 / scale^2)``, goes through the coordinates by falling
        ``scale^2 size``, at which they vanish.
        """
        xp, sizes, squares = array_namespace(D), abs(D), scale * scale
        order = xp.argsort(-squares * sizes, axis=-1)
        sums, given = xp.take_along_axis(sizes, order, axis=-1).cumsum(-1), (1.0 / squares)[order].cumsum(-1)
        lost = xp.max((sums - radius[..., None]) / given, axis=-1, keepdims=True)
        left = xp.minimum(sizes, sizes - lost / squares)
        return _sign(D) * left * (left > 0.0)

    def sample(self, shape: tuple[int, int], radius: Array, rng: np.random.Generator) -> Array:
        direction = rng.laplace(size=shape)
        return _radial(direction, _sum(direction), radius, rng)

    def euclidean_reach(self, d: int) -> float:
        return 1.0

    def scaled_reach(self, scale: Array) -> float:
        return float(_largest(scale))


GEOMETRIES: dict[Norm, NormGeometry] = {"inf": _InfNorm(), 2: _TwoNorm(), 1: _OneNorm()}
NORMS: tuple[Norm, ...] = tuple(GEOMETRIES)


def check_norm(norm: object) -> Norm:
    """The norm of the attack, if it is one of ``"inf"``, 2 and 1, as a number or in words.

    ``float("inf")`` is ``"inf"``, and ``"2"`` is 2.

    Raises:
        UnknownNameError: It is none of these.
    """
    spelled = norm.strip().lower() if isinstance(norm, str) else norm
    number = isinstance(norm, int | float | np.integer | np.floating) and not isinstance(norm, bool)
    for known in NORMS:
        if (number and norm == float(known)) or (isinstance(spelled, str) and spelled == str(known)):
            return known
    raise UnknownNameError("norm", norm, [str(known) for known in NORMS], 'Write norm="inf", norm=2 or norm=1.')


def _namespace(V: Array) -> Any:
    """NumPy itself knows the array API, and vectors are often so short that asking takes as long as answering."""
    return np if isinstance(V, np.ndarray) else array_namespace(V)


def _sign(V: Array) -> Array:
    """Without the detour for what is no number, which takes torch six times as long as all else."""
    return np.sign(V) if isinstance(V, np.ndarray) else V.sign()


def _sum(V: Array) -> Array:
    return _namespace(V).sum(abs(V), axis=-1)


def _length(V: Array) -> Array:
    if isinstance(V, np.ndarray):
        return np.sqrt((V * V).sum(axis=-1))
    return array_namespace(V).linalg.vector_norm(V, axis=-1)


def _largest(V: Array) -> Array:
    xp = _namespace(V)
    # A vector without coordinates has size 0.
    return xp.max(abs(V), axis=-1) if V.shape[-1] else xp.sum(V, axis=-1)


def _divisor(length: Array) -> Array:
    """Lengths, 1 for those that are 0."""
    return length + (length == 0.0)


def _radial(direction: Array, length: Array, radius: Array, rng: np.random.Generator) -> Array:
    """Random directions at distances that make the points uniform in balls of dimension d."""
    n, d = direction.shape
    distance = radius * rng.uniform(size=n) ** (1.0 / max(d, 1))
    return direction * (distance / _divisor(length))[:, None]
