"""L-BFGS on tensors, whose memory outlives small changes of the objective.

The compact form (Byrd, Nocedal and Schnabel 1994, *Representations of quasi-Newton matrices and their use in limited
memory methods*, Math. Program. 63): a direction costs two products with the matrix of stored pairs instead of a loop
over them. The line search looks for a weak Wolfe point by bracketing (Lewis and Overton 2013, *Nonsmooth optimization
via quasi-Newton methods*, Math. Program. 141), which needs no smoothness to end.
"""

import math
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtrs

Tensor = torch.Tensor
Array = NDArray[np.float64]
Vector = Any
"""A tensor, or on a processor the NumPy array in its place: calls of PyTorch cost several times as much."""
PAIRS = 30
"""Pairs that a memory holds unless it is told otherwise."""
DECREASE, CURVATURE = 1e-4, 0.9
TRIALS = 25


class Valued(Protocol):
    """What an objective returns."""

    @property
    def value(self) -> float:
        """The objective."""
        ...

    @property
    def gradient(self) -> Tensor:
        """Of the shape of the point."""
        ...


E = TypeVar("E", bound=Valued)


@dataclass(frozen=True)
class Descent(Generic[E]):
    """Where a run of L-BFGS ended.

    Args:
        point: The last point accepted.
        evaluation: The objective there.
        evaluations: How often the objective was evaluated.
        stuck: Whether no direction lowered the objective any more.
    """

    point: Tensor
    evaluation: E
    evaluations: int
    stuck: bool


class Memory:
    """Pairs of steps and gradient changes in a ring of fixed length, with their inner products.

    Args:
        size: Coordinates of a point.
        device: Where points live.
        most: Pairs that it holds.

    Attributes:
        pairs: Steps, then gradient changes, shape (2 most, size).
        order: Where pairs are, the oldest first.
    """

    def __init__(self, size: int, device: torch.device, most: int = PAIRS) -> None:
        self.most = most
        self.pairs = torch.zeros((2 * most, size), dtype=torch.float64, device=device)
        self.products = np.zeros((2 * most, 2 * most))
        self.order: list[int] = []
        self._rows = native(self.pairs)
        self._known: tuple[Vector, Array] | None = None

    def clear(self) -> None:
        """Forget everything."""
        self.order.clear()

    def extended(self, size: int) -> "Memory":
        """The same memory for points with further coordinates at their end, along which it knows nothing."""
        wider = Memory(size, self.pairs.device, self.most)
        wider.pairs[:, : self.pairs.shape[1]] = self.pairs
        wider.products, wider.order = self.products.copy(), list(self.order)
        return wider

    def adopt(self, pairs: Tensor, order: list[int]) -> None:
        """Take over pairs from elsewhere, shape (2 most, size), and where they are, the oldest first."""
        # In place: arrays share the memory of `pairs`.
        self.pairs[:] = pairs
        self.products, self.order = (self.pairs @ self.pairs.T).cpu().numpy(), list(order)
        self._known = None

    def add(self, step: Vector, change: Vector, gradient: Vector | None = None) -> None:
        """Remember a pair if it has positive curvature; vectors are all tensors or all what `native` makes of them.

        Lengths and products are known afterwards, so that nothing is measured twice.

        Args:
            step: From one point to the next.
            change: Of the gradient on the way.
            gradient: At the next point, if `direction` was last called with the one at the point before: products
                with the change are then differences of what the two directions need anyway.
        """
        slot = len(self.order) if len(self.order) < self.most else self.order[0]
        other = self.most + slot
        kept = self.order[1:] if len(self.order) == self.most else self.order
        before, known = self._rows[[slot, other]], self._known
        self._rows[slot], self._rows[other] = native(step), native(change)
        self._known = None
        if gradient is None or known is None:
            found = _products(self._rows, [native(step), native(change)])
        elif isinstance(self._rows, np.ndarray):
            found = _products(self._rows, [native(step), native(gradient)])
            self._known = gradient, found[:, 1].copy()
            found[:, 1] -= known[1]
            found[[slot, other], 1] = found[other, 0], length(native(change)) ** 2
        else:
            found = _products(self._rows, [step, change, gradient])
            self._known = gradient, found[:, 2]
        curvature, lengths = found[slot, 1], found[slot, 0] * found[other, 1]
        if not curvature > 1e-12 * math.sqrt(lengths):
            self._rows[[slot, other]], self._known = before, None
            return
        self.order = [*kept, slot]
        self.products[:, [slot, other]] = found[:, :2]
        self.products[[slot, other], :] = found[:, :2].T

    def direction(self, gradient: Vector) -> Vector:
        """``-H g`` for the inverse Hessian approximation H, of the kind of the gradient."""
        g = native(gradient)
        found = self._direction(g, gradient)
        return found if g is gradient or not isinstance(found, np.ndarray) else torch.from_numpy(found)

    def _direction(self, g: Vector, gradient: Vector) -> Vector:
        if not self.order:
            self._known = None
            return g / -max(1.0, length(g))
        steps = np.asarray(self.order)
        changes = steps + self.most
        if self._known is None or self._known[0] is not gradient:
            self._known = gradient, _products(self._rows, [g])[:, 0]
        inner = self._known[1]
        columns = self.products[:, changes]
        SY, YY = columns[steps], columns[changes]
        scale = float(SY[-1, -1] / YY[-1, -1])
        u, _ = dtrtrs(SY, inner[steps])
        right = np.diagonal(SY) * u + scale * (YY @ u - inner[changes])
        coefficients = np.zeros(2 * self.most)
        coefficients[steps], _ = dtrtrs(SY, right, trans=1)
        coefficients[changes] = -scale * u
        weights = coefficients if isinstance(g, np.ndarray) else torch.from_numpy(coefficients).to(g.device)
        return -(scale * g + weights @ self._rows)


def native(vector: Vector) -> Vector:
    """A processor's tensor as the NumPy array in the same place, whose operations are quicker to call."""
    return vector.numpy() if isinstance(vector, Tensor) and vector.device.type == "cpu" else vector


def length(vector: Vector) -> float:
    """Euclidean norm of a tensor or an array of one dimension."""
    return math.sqrt(float(vector @ vector))


def _products(rows: Vector, vectors: list[Vector]) -> Array:
    """``rows @ vector``, a column for each."""
    if isinstance(rows, np.ndarray):
        # With two columns at a time NumPy takes three times as long.
        return np.stack([rows @ vector for vector in vectors], axis=1)
    return np.asarray((rows @ torch.stack(vectors, dim=1)).cpu().numpy())


def descend(
    evaluate: Callable[[Tensor], E],
    point: Tensor,
    memory: Memory,
    budget: int,
    should_stop: Callable[[], bool],
    flat: float,
    noise: float = 0.0,
) -> Descent[E]:
    """`descending` with a function that evaluates."""
    search = descending(point, memory, budget, should_stop, flat, noise)
    asked = next(search)
    while True:
        try:
            asked = search.send(evaluate(asked))
        except StopIteration as ended:
            found: Descent[E] = ended.value
            return found


def descending(
    point: Tensor,
    memory: Memory,
    budget: int,
    should_stop: Callable[[], bool],
    flat: float,
    noise: float = 0.0,
) -> Generator[Tensor, Any, Descent[Any]]:
    """Minimise from a point until the budget of evaluations is used up.

    A generator that yields points and is sent what the objective and its gradient are there, so that several searches
    can share the passes over their data.

    Args:
        point: Where to start; it is evaluated anew, since the objective may have changed.
        memory: Pairs from before; extended in place.
        budget: Evaluations.
        should_stop: Asked before every evaluation but the first.
        flat: Norm of the gradient at which there is nothing left to do.
        noise: Relative error of the objective's values: a rise by less than that may be none.
    """
    found, used, failures = (yield point), 1, 0
    shape, here = point.shape, native(point.flatten())
    gradient = native(found.gradient.flatten())
    while used < budget and not should_stop() and length(gradient) > flat:
        direction = memory.direction(gradient)
        slope = float(direction @ gradient)
        if not slope < 0.0:
            memory.clear()
            direction = memory.direction(gradient)
            slope = float(direction @ gradient)
        line = _Line(here, direction, shape)
        step, following, trials = yield from _search(line, found, slope, budget - used, should_stop, noise)
        used += trials
        if following is None:
            # Steepest descent is the last resort; when that fails, too, rounding has the last word.
            failures += 1
            if failures > 1 or not memory.order:
                return Descent(point, found, used, True)
            memory.clear()
            continue
        failures = 0
        before, found = gradient, following
        gradient = native(found.gradient.flatten())
        memory.add(step * direction, gradient - before, gradient)
        here = here + step * direction
        point = line.at(step)
    return Descent(point, found, used, length(gradient) <= flat)


@dataclass(frozen=True)
class _Line:
    """A half-line from a point, both flat; `at` says where it gets to, in the shape asked for."""

    start: Vector
    direction: Vector
    shape: torch.Size

    def at(self, step: float) -> Tensor:
        found = self.start + step * self.direction
        return (torch.from_numpy(found) if isinstance(found, np.ndarray) else found).view(self.shape)


def _search(
    line: _Line, start: Any, slope: float, budget: int, should_stop: Callable[[], bool], noise: float
) -> Generator[Tensor, Any, tuple[float, Any, int]]:
    """A step that meets the weak Wolfe conditions, or the best that decreases at all; None if there is none."""
    low, high, step = 0.0, float("inf"), 1.0
    best: tuple[float, Any] = (0.0, None)
    trials = 0
    while trials < min(TRIALS, budget) and (trials == 0 or not should_stop()):
        found = yield line.at(step)
        trials += 1
        here = float(native(found.gradient.flatten()) @ line.direction)
        # Where values are all noise the gradient alone decides (Hager and Zhang 2005, SIAM J. Optim. 16, Sec. 4).
        quiet = here <= -0.8 * slope and found.value <= start.value + noise * abs(start.value)
        if not (found.value <= start.value + DECREASE * step * slope or quiet):
            # The minimiser of the parabola through what is known, kept inside the bracket.
            rise = found.value - start.value - step * slope
            guess = -0.5 * slope * step * step / rise if rise > 0.0 else 0.0
            high = step
            step = min(max(guess, low + 0.1 * (high - low)), low + 0.9 * (high - low))
            continue
        if best[1] is None or found.value < best[1].value:
            best = (step, found)
        if here >= CURVATURE * slope:
            return step, found, trials
        low = step
        step = 2.0 * step if high == float("inf") else 0.5 * (low + high)
    return best[0], best[1], trials
