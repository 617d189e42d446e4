"""Training along a grid of penalties and radii: the one place that says how."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.errors import InputError
from cvxrobust.core.paths.follow import solve_path
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve


@dataclass(frozen=True)
class Way:
    """How the problems of a grid are solved.

    Args:
        backend: See `solve`.
        method: The same.
        polish: The same.
        settings: Of every point.
        together: Whether points help each other (`solve_path`); each is solved from nothing otherwise, as it is where
            a path cannot do what is asked.
        folder: Where the points of a path are kept, and found again; None for nowhere.
    """

    backend: str
    method: str
    polish: bool | str | None
    settings: Settings
    together: bool = True
    folder: Path | None = None


@dataclass(frozen=True)
class GridPoint:
    """What came of a point.

    Args:
        place: Of its beta and of its radius.
        network: In the units of the problem.
        gap: The certified relative gap.
    """

    place: tuple[int, int]
    network: Any
    gap: float


def along_grid(
    problem_at: Callable[[float, float], Any], betas: Sequence[float], radii: Sequence[float], way: Way
) -> Iterator[GridPoint]:
    """A certified network for every point of a grid.

    Args:
        problem_at: The problem of a beta and a radius; where samples have radii of their own, a factor on these.
        betas: Descending.
        radii: Ascending.
        way: How to solve.

    Raises:
        InputError: Points are to be kept and are those of no path, or the folder belongs to another search.
        KeyboardInterrupt: Somebody interrupted a solve: what is left of a grid chooses nothing.
    """
    last = problem_at(betas[-1], radii[-1])
    if np.unique(getattr(last, "radius", 0.0)).size > 1:
        last = problem_at(betas[-1], 1.0)  # whose radii are what those of a path multiply
    # Better gates for the network found are others at every point, and paths know no polishing.
    if not way.together or way.polish is not None or getattr(last, "regate", 0) > 0:
        if way.folder is not None:
            raise InputError(
                f"folder {way.folder.parent} keeps the points of paths, but warm=False, polish= or regate= ask for "
                "points that are solved one by one; leave one of them out."
            )
        yield from _one_by_one(problem_at, betas, radii, way)
        return
    path = solve_path(
        last, betas=betas, radii=radii, backend=way.backend, method=way.method, settings=way.settings,
        folder=way.folder,
    )  # fmt: skip
    if path.termination is Termination.INTERRUPTED:
        raise KeyboardInterrupt
    for place, point in path.points.items():
        yield GridPoint(place, point.network, point.gap)


def _one_by_one(
    problem_at: Callable[[float, float], Any], betas: Sequence[float], radii: Sequence[float], way: Way
) -> Iterator[GridPoint]:
    for r, radius in enumerate(radii):
        for b, beta in enumerate(betas):
            result = solve(problem_at(beta, radius), way.backend, way.method, way.settings, polish=way.polish)
            if result.termination is Termination.INTERRUPTED:
                raise KeyboardInterrupt
            yield GridPoint((b, r), result.network, result.certificate.relative_gap)
