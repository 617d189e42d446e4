"""What `core` has proved about every part of a problem, moment by moment."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Generic

import numpy as np

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.result import Callback, Result, TracePoint
from cvxrobust.core.contracts.weight import Weighed
from cvxrobust.core.networks.base import N


class Ledger(Generic[N]):
    """Bounds of the parts, the networks that they start from, and the trace of their sum.

    It alone writes in there: others read, and tell it what was found.

    Args:
        parts: The parts of the problem.
        starts: A network for each to start from, or None.
        callback: Hears of every improvement.
        clock: When the call began, on `time.perf_counter`.
        hurried: Whether there is no time for more than a problem's bounds at once (`Weighed`).

    Attributes:
        clock: When the call began.
    """

    def __init__(
        self,
        parts: Sequence[Problem[N]],
        starts: Sequence[N | None],
        callback: Callback | None,
        clock: float,
        *,
        hurried: bool = False,
    ) -> None:
        self.clock, self._callback, self._paused = clock, callback, 0.0
        self._bounds: list[Certificate] = []
        self._starts: list[N | None] = list(starts)
        self._trace: list[TracePoint] = []
        self._proved: list[tuple[N, Certificate]] = []
        self._settled: dict[int, Result[N]] = {}
        self._hear: Callable[[], object] | None = None
        self._keeper: Callable[[], object] | None = None
        for k, part in enumerate(parts):
            found = opening(part, self._starts[k], hurried)
            if not np.isfinite(found.upper):
                # A start outside the problem's constraints must not hide the network that is always inside.
                self._starts[k] = None
                found = found.best(opening(part, None, hurried))
            self._bounds.append(found)
            self._proved.append((self._starts[k] or part.trivial_network(), found))
        self.report(0, self._bounds[0])

    @property
    def bounds(self) -> tuple[Certificate, ...]:
        """The best that is known of every part."""
        return tuple(self._bounds)

    @property
    def starts(self) -> tuple[N | None, ...]:
        """The networks to start from that are inside the constraints."""
        return tuple(self._starts)

    @property
    def trace(self) -> tuple[TracePoint, ...]:
        """The sum of the bounds over time."""
        return tuple(self._trace)

    @property
    def proved(self) -> tuple[tuple[N, Certificate], ...]:
        """Of every part, of the programme that was given: the best network and bounds that `core` has judged."""
        return tuple(self._proved)

    @property
    def settled(self) -> Mapping[int, "Result[N]"]:
        """The results of parts that have gone on to other programmes."""
        return MappingProxyType(self._settled)

    @property
    def is_heard(self) -> bool:
        """Whether somebody takes in what is kept, should this process have to be ended."""
        return self._hear is not None

    def be_heard(self, hear: Callable[[], object]) -> None:
        """From now on, let somebody hear at once of everything that is kept; and of what there is already."""
        self._hear = hear
        hear()

    def be_kept(self, keeper: Callable[[], object]) -> None:
        """From now on, let somebody know of everything that is kept, who is in no need of it."""
        self._keeper = keeper

    @property
    def elapsed(self) -> float:
        """Seconds into the call, those `paused` not counted."""
        return time.perf_counter() - self.clock - self._paused

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let the clock stand still: what happens inside is not done for the solver."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - began

    @property
    def total(self) -> Certificate:
        """The sum of all parts."""
        return Certificate(sum(part.upper for part in self._bounds), sum(part.lower for part in self._bounds))

    def report(self, k: int, certificate: Certificate) -> None:
        """Note bounds of one part that `core` has proved; the trace and the callback hear of the sum over all."""
        self._bounds[k] = self._bounds[k].best(certificate)
        total = self.total
        if self._trace and (total.upper, total.lower) == (self._trace[-1].upper, self._trace[-1].lower):
            return
        point = TracePoint(self.elapsed, total.upper, total.lower)
        self._trace.append(point)
        if self._callback is not None:
            self._callback(point.elapsed, point.upper, point.lower)

    def keep(self, k: int, network: N, certificate: Certificate) -> None:
        """Note a network and bounds of one part that `core` has judged."""
        before, known = self._proved[k]
        best = known.best(certificate)
        if k in self._settled or best == known:
            return
        self._proved[k] = (network if certificate.upper < known.upper else before), best
        self._tell()

    def settle(self, k: int, result: "Result[N]") -> None:
        """Note what came of a part that goes on to another programme."""
        self._settled[k] = result
        self._tell()

    def _tell(self) -> None:
        for one in (self._hear, self._keeper):
            if one is not None:
                one()

    def begin_anew(self, k: int, certificate: Certificate) -> None:
        """A part has become another programme, with another optimum."""
        self._bounds[k] = certificate


def opening(part: Problem[N], start: N | None, hurried: bool) -> Certificate:
    """The bounds that a part begins with: of a network to start from, or of the one without neurons."""
    if not hurried or not isinstance(part, Weighed):
        return bounds_at(part, start or part.trivial_network())
    found = part.at_once()
    return found if start is None else Certificate(part.objective(start), found.lower)


def bounds_at(part: Problem[N], network: N) -> Certificate:
    """What a network tells about a problem without any solver."""
    return Certificate(part.objective(network), part.lower_bound(part.network_multipliers(network)))
