"""Performance profiles: for each factor, the share of all problems solved within that factor of the fastest.

Source: Dolan and More (2002), Benchmarking optimization software with performance profiles, Mathematical Programming
91, 201-213: with t the time of solver s on problem p, r = t / (least t on p) and rho_s(tau) the share of *all* problems
with r <= tau. A problem that a solver does not solve has r = inf; one that nobody solves stays in the count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LEAST_SECONDS = 1e-6
"""Shorter times count as this, below what clocks resolve, so that ratios exist."""


@dataclass(frozen=True)
class Profile:
    """A performance profile.

    Args:
        backends: Names, one per column.
        ratios: Shape (problems, backends): time over the least time on that problem; inf where not solved.
    """

    backends: tuple[str, ...]
    ratios: Array

    def share(self, backend: str, factor: float) -> float:
        """Share of all problems that a backend solves within a factor of the fastest; 0 if there are no problems."""
        ratios = self.ratios[:, self.backends.index(backend)]
        return float(np.mean(ratios <= factor)) if ratios.size else 0.0

    def curve(self, backend: str, end: float | None = None) -> tuple[Array, Array]:
        """Corners of a backend's step function: factors from 1 to `end`, and the share from each factor on.

        Args:
            backend: Its name.
            end: Where the curve stops; None for the largest finite ratio of all.
        """
        ratios = np.sort(self.ratios[:, self.backends.index(backend)])
        solved = ratios[np.isfinite(ratios)]
        corners = np.unique(np.concatenate([[1.0], solved, [self.end if end is None else end]]))
        shares = np.searchsorted(solved, corners, side="right") / max(ratios.size, 1)
        return corners, shares

    @property
    def end(self) -> float:
        """The largest finite ratio; 1 if nobody solves anything."""
        known = self.ratios[np.isfinite(self.ratios)]
        return float(known.max()) if known.size else 1.0

    @property
    def unsolved(self) -> int:
        """Problems that nobody solves."""
        return int((~np.isfinite(self.ratios)).all(axis=1).sum())


def performance_profile(backends: Sequence[str], seconds: ArrayLike) -> Profile:
    """The profile of some times.

    Args:
        backends: Names, one per column.
        seconds: Shape (problems, backends), in seconds; inf where a backend did not solve a problem.

    Raises:
        ValueError: The shapes disagree, or a time is negative or NaN.
    """
    times = np.array(seconds, dtype=float).reshape(-1, len(backends))
    if np.isnan(times).any() or (times < 0).any():
        raise ValueError("times must be 0 or more, and inf (not NaN) where a problem was not solved.")
    times = np.maximum(times, LEAST_SECONDS)
    best = times.min(axis=1, keepdims=True, initial=np.inf)
    ratios = np.full_like(times, np.inf)
    np.divide(times, best, out=ratios, where=np.isfinite(times))
    return Profile(tuple(backends), ratios)
