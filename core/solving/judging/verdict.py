"""One answer about one programme, judged."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.problem import Problem
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.networks.base import N
from cvxrobust.core.solving.judging.sanitize import candidates, network_of, proved, worth
from cvxrobust.core.solving.structure import Structure

GRACE = 0.3
"""Seconds after the deadline that may go into making multipliers prove more; an answer is late a second after it."""


@dataclass(frozen=True)
class Task(Generic[N]):
    """One programme to solve.

    Args:
        structure: The problem, and its structured programme once somebody has asked for that.
        k: Its number among the parts.
        known: Bounds that `core` has proved.
        start: A network to start from.
        solution: A raw solution of a programme of the same shape to start from.
    """

    structure: Structure[N]
    k: int
    known: Certificate
    start: N | None = None
    solution: Solution | None = None

    @property
    def part(self) -> Problem[N]:
        """The problem."""
        return self.structure.part


@dataclass(frozen=True)
class Judged(Generic[N]):
    """What an answer is worth.

    Args:
        network: The better of the known network and the answer's.
        certificate: The bounds with what the answer adds.
        unproved: Why its multipliers prove nothing; empty if they do.
    """

    network: N
    certificate: Certificate
    unproved: str = ""


def certified(
    part: Problem[N],
    solution: Solution,
    known: Judged[N],
    tolerance: float,
    keep: Callable[[N, Certificate], object] | None = None,
    deadline: float | None = None,
    *,
    quick: bool = False,
) -> Judged[N]:
    """Judge an answer by `core` alone, beside what is `known`.

    `keep` hears of every improvement, because the next may take long.
    Multipliers are repaired until `GRACE` after the deadline, a ``time.perf_counter()`` value. Where it must be `quick`
    only the first candidate for multipliers is tried, and none is repaired.
    """
    network, certificate, unproved = known.network, known.certificate, ""
    found = network_of(part, solution)
    if found is not None and (upper := worth(part, found)) < certificate.upper:
        network, certificate = found, replace(certificate, upper=upper)
        if keep is not None:
            keep(network, certificate)
    until = -math.inf if quick else math.inf if deadline is None else deadline + GRACE
    for multipliers in candidates(part, solution, network, lambda: time.perf_counter() > until):
        lower, reason = proved(part, multipliers)
        unproved = unproved or reason
        certificate = certificate.best(Certificate(certificate.upper, lower))
        if keep is not None:
            keep(network, certificate)
        if quick or certificate.relative_gap <= tolerance:
            break  # on large data another candidate is another pass
    return Judged(network, certificate, unproved)
