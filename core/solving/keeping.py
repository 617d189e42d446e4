"""The best network so far, handed to whoever keeps it: what is killed goes on from there (`solve`, `warm_start`)."""

import time
from collections.abc import Callable
from typing import Generic

from cvxrobust.core.networks.base import N

EVERY = 10.0
"""Seconds between two networks that are handed over, at least; the first comes at once."""


class Keeper(Generic[N]):
    """Hears whenever `core` has judged a better network, and hands it over now and then.

    Args:
        take: Takes a network of the whole problem.
    """

    def __init__(self, take: Callable[[N], object]) -> None:
        self._take = take
        self._next = 0.0

    def __call__(self, network: Callable[[], N]) -> None:
        """There is a better network, which is made only if it is handed over."""
        if time.perf_counter() < self._next:
            return
        self._take(network())
        self._next = time.perf_counter() + EVERY
