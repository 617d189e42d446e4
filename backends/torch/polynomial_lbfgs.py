"""L-BFGS on tensors, whose memory outlives small changes of the objective.

The compact form (Byrd, Nocedal and Schnabel 1994, *Representations of quasi-Newton matrices and their use in limited
memory methods*, Math. Program. 63): a direction costs two products with the matrix of stored pairs instead of a loop
over them. The line search looks for a weak Wolfe point by bracketing (Lewis and Overton 2013, *Nonsmooth optimization
via quasi-Newton methods*, Math. Program. 141), which needs no smoothness to end.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtrs

Tensor = torch.Tensor
Array = NDArray[np.float64]
PAIRS = 30
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
    """Pairs of steps and gradient changes in a ring of fixed length, with their inner products."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.pairs = torch.zeros((2 * PAIRS, size), dtype=torch.float64, device=device)
        self.products = np.zeros((2 * PAIRS, 2 * PAIRS))
        self.order: list[int] = []

    def clear(self) -> None:
        """Forget everything."""
        self.order.clear()

    def extended(self, size: int) -> "Memory":
        """The same memory for points with further coordinates at their end, along which it knows nothing."""
        wider = Memory(size, self.pairs.device)
        wider.pairs[:, : self.pairs.shape[1]] = self.pairs
        wider.products, wider.order = self.products.copy(), list(self.order)
        return wider

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember a pair if it has positive curvature."""
        curvature = float(step @ change)
        if not curvature > 1e-12 * float(step.norm() * change.norm()):
            return
        slot = len(self.order) if len(self.order) < PAIRS else self.order.pop(0)
        self.order.append(slot)
        self.pairs[slot], self.pairs[PAIRS + slot] = step, change
        rows = [slot, PAIRS + slot]
        found = (self.pairs @ self.pairs[rows].T).cpu().numpy()
        self.products[:, rows] = found
        self.products[rows, :] = found.T

    def direction(self, gradient: Tensor) -> Tensor:
        """``-H g`` for the inverse Hessian approximation H."""
        if not self.order:
            return torch.div(gradient, -max(1.0, float(gradient.norm())))
        steps = np.asarray(self.order)
        changes = steps + PAIRS
        inner = (self.pairs @ gradient).cpu().numpy()
        columns = self.products[:, changes]
        SY, YY = columns[steps], columns[changes]
        scale = SY[-1, -1] / YY[-1, -1]
        u, _ = dtrtrs(SY, inner[steps])
        right = np.diag(SY) * u + scale * (YY @ u - inner[changes])
        coefficients = np.zeros(2 * PAIRS)
        coefficients[steps], _ = dtrtrs(SY, right, trans=1)
        coefficients[changes] = -scale * u
        weights = torch.from_numpy(coefficients).to(self.pairs.device)
        descent: Tensor = -(float(scale) * gradient + weights @ self.pairs)
        return descent


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
    while used < budget and not should_stop() and float(found.gradient.norm()) > flat:
        gradient = found.gradient.flatten()
        direction = memory.direction(gradient)
        slope = float(direction @ gradient)
        if not slope < 0.0:
            memory.clear()
            direction = memory.direction(gradient)
            slope = float(direction @ gradient)
        step, following, trials = yield from _search(
            point, found, direction.view_as(point), slope, budget - used, should_stop, noise
        )
        used += trials
        if following is None:
            # Steepest descent is the last resort; when that fails, too, rounding has the last word.
            failures += 1
            if failures > 1 or not memory.order:
                return Descent(point, found, used, True)
            memory.clear()
            continue
        failures = 0
        memory.add(step * direction, following.gradient.flatten() - gradient)
        point, found = point + step * direction.view_as(point), following
    return Descent(point, found, used, float(found.gradient.norm()) <= flat)


def _search(
    point: Tensor,
    start: Any,
    direction: Tensor,
    slope: float,
    budget: int,
    should_stop: Callable[[], bool],
    noise: float,
) -> Generator[Tensor, Any, tuple[float, Any, int]]:
    """A step that meets the weak Wolfe conditions, or the best that decreases at all; None if there is none."""
    low, high, step = 0.0, float("inf"), 1.0
    best: tuple[float, Any] = (0.0, None)
    trials = 0
    while trials < min(TRIALS, budget) and (trials == 0 or not should_stop()):
        found = yield point + step * direction
        trials += 1
        here = float((found.gradient * direction).sum())
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
