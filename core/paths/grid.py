"""The points of a path: which problems, in which order, and where each may find something to start from."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, Generic

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cvxrobust.core.arguments import no_flag
from cvxrobust.core.contracts.parametric import Parametric
from cvxrobust.core.contracts.problem import Problem, check_problem, offers
from cvxrobust.core.errors import InputError
from cvxrobust.core.networks.base import N
from cvxrobust.core.validation import as_numbers

Array = NDArray[np.float64]
Index = tuple[int, int]


@dataclass(frozen=True, eq=False)
class ProblemGrid(Generic[N]):
    """The problems of a path.

    Args:
        problem: The one that was given; its own beta and radii stand where none are asked for.
        betas: Weights of the penalty, shape (B,), in the order given.
        radii: Attack radii, shape (R,), in the order given; factors on the problem's own where these differ from
            sample to sample.
    """

    problem: Problem[N]
    betas: Array
    radii: Array

    @property
    def shape(self) -> Index:
        """B and R."""
        return self.betas.size, self.radii.size

    @cached_property
    def parametric(self) -> bool:
        """Whether the problem says what optima of its family have in common."""
        return offers(self.problem, Parametric)

    @property
    def nested(self) -> bool:
        """Whether optima never fall as radii grow."""
        return self.parametric and bool(getattr(self.problem, "nested"))  # noqa: B009

    def at(self, index: Index) -> Problem[N]:
        """The problem of one point."""
        return self.with_values(float(self.betas[index[0]]), float(self.radii[index[1]]))

    def with_values(self, beta: float, radius: float) -> Problem[N]:
        """The problem of a beta and a radius, or factor, of which there need be no point.

        Raises:
            InputError: There is no such problem.
        """
        own, given = getattr(self.problem, "radius", None), self.problem
        changes: dict[str, Any] = {}
        if beta != getattr(given, "beta", None):
            changes["beta"] = beta
        if radius != own_radius(given):
            changes["radius"] = radius if _of_one_radius(own) else radius * np.asarray(own)
        if not changes:
            return given
        if isinstance(given, Parametric):
            return given.at(**changes)
        _require_fields(given, changes)
        family: Any = given  # a dataclass, as has just been found
        changed: Problem[N] = replace(family, **changes)
        return changed

    def order(self) -> Iterator[Index]:
        """All points: radii ascending; of each the largest beta, the least, then those halfway between, and so on.

        So bounds come to lie on both sides of points as soon as can be, and where they prove enough nothing else need
        be done; points that are solved start from their neighbours at the radius before.
        """
        descending = np.argsort(-self.betas, kind="stable")
        for column in np.argsort(self.radii, kind="stable"):
            for place in halving(self.betas.size):
                yield int(descending[place]), int(column)


def halving(count: int) -> list[int]:
    """The whole numbers below `count`: the first, the last, then those in the middle of what is left, widest first."""
    if count < 3:
        return list(range(count))
    found, spans = [0, count - 1], [(0, count - 1)]
    while spans:
        wider = []
        for low, high in spans:
            middle = (low + high) // 2
            if low < middle < high:
                found.append(middle)
                wider += [(low, middle), (middle, high)]
        spans = wider
    return found


def make_grid(problem: Problem[N], betas: ArrayLike | None, radii: ArrayLike | None) -> ProblemGrid[N]:
    """The grid, everything checked before any work.

    Args:
        problem: Of any family.
        betas: Shape (B,); None for the problem's own.
        radii: Shape (R,); None for the problem's own.

    Raises:
        InputError: Some value is none, comes twice, or the problem has no such point.
    """
    check_problem(problem)
    if betas is None and radii is None:
        raise InputError("neither betas nor radii are given; a path needs one of them, and `solve` neither.")
    if getattr(problem, "regate", 0):
        raise InputError(
            f"regate={getattr(problem, 'regate')} improves the gates of one solve, but all points of a path have the "  # noqa: B009
            "same ones; leave it out, and solve the points that you choose once more with it."
        )
    own = getattr(problem, "beta", None)
    if betas is None and own is None:
        raise InputError(f"{type(problem).__name__} has no beta of its own; pass betas.")
    grid = ProblemGrid(
        problem,
        _checked("betas", [own] if betas is None else betas, least=math.nextafter(0.0, 1.0), said="above 0"),
        _checked("radii", [own_radius(problem)] if radii is None else radii, least=0.0, said="of 0 or more"),
    )
    for index in ((0, 0), (0, int(np.argmax(grid.radii)))):
        grid.at(index)  # refused here, not in the midst of the path
    return grid


def own_radius(problem: Any) -> float:
    """The radius of a problem; 1, a factor, if samples have radii of their own; 0 where it has none."""
    own = getattr(problem, "radius", None)
    if own is None:
        return 0.0
    return float(np.asarray(own).reshape(-1)[0]) if _of_one_radius(own) else 1.0


def _of_one_radius(radius: Any) -> bool:
    return radius is None or bool(np.unique(np.asarray(radius)).size == 1)


def _checked(name: str, values: Any, *, least: float, said: str) -> Array:
    given = np.array(as_numbers(no_flag(values, name, "finite numbers"), name, "expected finite numbers"))
    if given.ndim > 1 or given.size == 0:
        raise InputError(f"{name} has shape {given.shape}; expected a list of at least one number.")
    found = given.reshape(-1)
    if not (np.isfinite(found).all() and (found >= least).all()):
        wrong = found[~(np.isfinite(found) & (found >= least))][0]
        raise InputError(f"{name} hold {wrong:g}; expected finite numbers {said}.")
    if np.unique(found).size < found.size:
        raise InputError(f"{name} hold {_repeated(found):g} more than once; every point needs values of its own.")
    found.setflags(write=False)
    return found


def _repeated(values: Array) -> float:
    seen, counts = np.unique(values, return_counts=True)
    return float(seen[counts > 1][0])


def _require_fields(problem: Any, changes: dict[str, Any]) -> None:
    known = {one.name for one in fields(problem) if one.init} if is_dataclass(problem) else set()
    for name in changes:
        if name not in known:
            raise InputError(
                f"{type(problem).__name__} has no field {name!r} that could change from point to point; leave "
                f"{'betas' if name == 'beta' else 'radii'} out, or give the family an `at` (`Parametric`)."
            )
