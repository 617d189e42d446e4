"""What attackers may do to inputs: a norm, a shape, and the range that inputs stay in."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import instance
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.norms import check_norm
from cvxrobust.core.attacks.ranges import cut_off
from cvxrobust.core.errors import InputError
from cvxrobust.core.strangers import shown
from cvxrobust.core.summary import Summarised, Summary
from cvxrobust.core.validation import as_numbers

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float64).eps)

ROUNDING = 16.0
"""By how many units in the last place of the inputs an attack may seem longer than it is: it was added to them."""


@dataclass(frozen=True, eq=False, repr=False)
class Threat(Summarised):
    """The attacks that a classifier is judged against, but for their radius.

    Args:
        norm: p of attacks ``D = S e``, ``||e||_p <= radius``: "inf" (or ``np.inf``), 2 or 1.
        scale: By how much an attack of radius 1 may move each input if it moves no other, 0 for inputs that it cannot
            touch, shape (d,); None for 1 everywhere.
        covariance: Instead of it, with norm 2: attacks have ``D' covariance^-1 D <= radius^2``, shape (d, d).
        directions: Instead of it, with norm 2: S itself, shape (d, q).
        bounds: The least and the largest value of inputs, each a number or of shape (d,): attacked inputs stay between.
            Only where S is a diagonal.

    Raises:
        InputError: Several shapes are given, or bounds are no pair.
        UnknownNameError: There is no such norm.
    """

    norm: object = 2
    scale: ArrayLike | None = None
    covariance: ArrayLike | None = None
    directions: ArrayLike | None = None
    bounds: tuple[ArrayLike, ArrayLike] | None = None

    def __post_init__(self) -> None:
        check_norm(self.norm)
        given = [name for name in ("scale", "covariance", "directions") if getattr(self, name) is not None]
        if len(given) > 1:
            raise InputError(f"{' and '.join(given)} are given; give one of scale, covariance and directions.")
        if self.bounds is not None and not _is_pair(self.bounds):
            raise InputError(
                f"bounds is {shown(self.bounds)}; expected a pair: the least and the largest value of inputs, for "
                "example (0, 1)."
            )

    def _summary(self) -> Summary:
        shapes = {"scale": self.scale, "covariance": self.covariance, "directions": self.directions}
        shape = ", ".join(f"{name} of shape {np.shape(of)}" for name, of in shapes.items() if of is not None)
        low, high = ("", "") if self.bounds is None else (_range_words(bound) for bound in self.bounds)
        kept = "" if self.bounds is None else f"inputs from {low} to {high}"
        parts = [f"norm {self.norm}", *filter(None, (shape, kept))]
        facts = (("norm", str(self.norm)), ("shape", shape or "a ball"), ("range", kept or "none"))
        return Summary(f"Threat: {', '.join(parts)}", (), facts)

    def on(self, X: Array) -> "AttackSet":
        """The attacks on inputs of shape (n, d), of radius 0 for now.

        Raises:
            InputError: The shapes do not fit, or inputs lie outside of their own range.
        """
        X = as_numbers(X, "X", "expected a table of numbers")
        if X.ndim != 2:
            raise InputError(f"X has shape {X.shape}; expected a table (n, d).")
        n, d = X.shape
        ellipsoid = Ellipsoid.of(d, self.scale, self.covariance, self.directions)
        ball = AttackBall(check_norm(self.norm), np.zeros(n), d, ellipsoid)
        movable = ball.dimension > 0
        if not movable:
            ball = replace(ball, ellipsoid=None)
        if self.bounds is None:
            return AttackSet(X, ball, movable=movable)
        if ball.ellipsoid is not None and ball.ellipsoid.scale is None:
            raise InputError("bounds are given with a covariance or directions; give a scale for each input, or none.")
        low, high = (_bound(value, d) for value in self.bounds)
        if not (low <= high).all():
            column = int(np.argmin(low <= high))
            raise InputError(
                f"bounds are empty at column {column}: from {low[column]:g} to {high[column]:g}; give the least "
                "value before the largest."
            )
        outside = ((low > X) | (high < X)).any(axis=1)
        if outside.any():
            raise InputError(
                f"{int(outside.sum())} of {n} rows of X, the first of them row {int(outside.argmax())}, lie outside of "
                "bounds; clip them, or give the range that inputs really have."
            )
        return AttackSet(X, ball, low, high, movable)


@dataclass(frozen=True, eq=False)
class AttackSet:
    """The attacks on some inputs.

    Args:
        X: The inputs, shape (n, d).
        ball: How they may be moved.
        low: The least values of inputs, shape (d,); None for no range.
        high: The largest.
        movable: Whether any input can be moved; where none can, all attacks have radius 0.
    """

    X: Array
    ball: AttackBall
    low: Array | None = None
    high: Array | None = None
    movable: bool = True

    def of_radius(self, radius: float) -> Self:
        """The same, of a radius."""
        return replace(self, ball=replace(self.ball, radius=np.full(self.X.shape[0], self.reaching(radius))))

    def of_radii(self, radius: Array) -> Self:
        """The same, each row of its radius, shape (n,)."""
        return replace(self, ball=replace(self.ball, radius=radius))

    def reaching(self, radius: float) -> float:
        """A radius, 0 where attacks reach nothing."""
        return float(radius) if self.movable else 0.0

    def of(self, rows: NDArray[np.intp]) -> Self:
        """Those on some rows, which may repeat."""
        return replace(self, X=self.X[rows], ball=self.ball.of(rows))

    @property
    def radius(self) -> Array:
        """Of each row, shape (n,)."""
        return np.asarray(self.ball.radius)

    @property
    def ranged(self) -> bool:
        """Whether inputs have a range."""
        return self.low is not None

    def moved(self, D: Array) -> Array:
        """Attacked inputs near ``X + D``, shape (n, d): the nearest in coordinates of the ball, then in the range.

        What the range cuts off brings every coordinate nearer to the input, so that the attack stays one.
        """
        e = self.ball.geometry.project(self.ball.coordinates(D), self.ball.radius)
        return self.clipped(self.X + self.ball.pushed(e))

    def clipped(self, points: Array) -> Array:
        """Points in the range."""
        return points if self.low is None or self.high is None else np.clip(points, self.low, self.high)

    def cut_off(self) -> tuple[Array, AttackBall]:
        """The attacks that the range leaves, and the inputs around which they are, shape (n, d).

        Boxes are cut off where the range ends. Of other balls this is all of them, around the inputs themselves.
        """
        if self.low is None or self.high is None or not self.ball.geometry.separable:
            return self.X, self.ball
        return cut_off(self.X, self.ball, self.low, self.high)

    def steepest(self, G: Array) -> Array:
        """AttackSet of radius 1 that lower linear functions of these slopes most, shape (n, d)."""
        return np.asarray(self.ball.maximiser(-G))

    def sample(self, rng: np.random.Generator) -> Array:
        """Random attacked inputs, one for each row."""
        return self.clipped(self.X + self.ball.sample(rng))

    def allow(self, points: Array) -> NDArray[np.bool_]:
        """Which points are attacked inputs of their rows, up to the rounding of adding an attack to an input."""
        inside = (np.isfinite(points) & (self.clipped(points) == points)).all(axis=1)
        points = np.where(inside[:, None], points, self.X)
        D = points - self.X
        room = ROUNDING * EPS * (np.abs(self.X) + np.abs(points))
        ellipsoid = self.ball.ellipsoid
        if ellipsoid is None or ellipsoid.scale is not None:
            # Of all attacks that rounding makes these, the one that is shortest in every coordinate.
            shortest = np.sign(D) * np.maximum(np.abs(D) - room, 0.0)
            fits = np.asarray(self.ball.size(shortest) <= self.radius * (1.0 + ROUNDING * EPS))
            if ellipsoid is not None:
                fits &= (D[:, list(ellipsoid.immutable)] == 0.0).all(axis=1)
        else:
            fits = (np.abs(self.ball.shortened(D) - D) <= room).all(axis=1)
        return np.asarray(inside & fits)


def _range_words(bound: ArrayLike) -> str:
    given = np.asarray(bound)
    return str(bound) if given.ndim == 0 else f"bounds of shape {given.shape}"


def _is_pair(bounds: object) -> bool:
    return isinstance(bounds, tuple | list | np.ndarray) and getattr(bounds, "shape", None) != () and len(bounds) == 2


def checked_threat(threat: object) -> Threat:
    """A threat as it was passed.

    Raises:
        InputError: It is something else.
    """
    expected = 'a Threat, for example Threat(norm=2) or Threat("inf", bounds=(0, 1))'
    found: Threat = instance(threat, "threat", Threat, expected)
    return found


def _bound(value: ArrayLike, d: int) -> Array:
    found = as_numbers(value, "bounds", "expected a pair of numbers, or of one number per column")
    if found.shape not in ((), (d,)) or np.isnan(found).any():
        raise InputError(f"bounds hold shape {found.shape}; expected numbers, or one per column, shape ({d},).")
    return np.broadcast_to(found, (d,))
