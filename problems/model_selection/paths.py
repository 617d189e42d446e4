"""Training along a grid of penalties and radii: the one place that says how."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cvxrobust.core.contracts.result import Result, Termination
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.solve import solve


@dataclass(frozen=True)
class Way:
    """How the problems of a path are solved.

    Args:
        backend: See `solve`.
        method: The same.
        polish: The same.
        settings: Of every point.
    """

    backend: str
    method: str
    polish: bool | str | None
    settings: Settings


def along_path(
    problem_at: Callable[[float, float], Any], betas: Sequence[float], radii: Sequence[float], way: Way
) -> Iterator[tuple[int, int, Result[Any]]]:
    """Certified results at every point of a grid, with the places of its beta and its radius, as they come.

    Args:
        problem_at: The problem of a beta and a radius.
        betas: Descending.
        radii: Ascending.
        way: How to solve.

    Raises:
        KeyboardInterrupt: Somebody interrupted a solve: what is left of a grid chooses nothing.
    """
    for r, radius in enumerate(radii):
        for b, beta in enumerate(betas):
            result = solve(problem_at(beta, radius), way.backend, way.method, way.settings, polish=way.polish)
            if result.termination is Termination.INTERRUPTED:
                raise KeyboardInterrupt
            yield b, r, result
