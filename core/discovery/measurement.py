"""Numbers that benchmarks take from results, through whatever metrics are registered."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from cvxrobust.core.contracts.result import Result
from cvxrobust.core.discovery.registry import metrics
from cvxrobust.core.errors import UnknownNameError
from cvxrobust.core.strangers import described, overheard, telling_interrupts


@dataclass(frozen=True)
class Measurements:
    """What metrics made of one result.

    Args:
        values: Numbers by metric; None where a metric has no meaning for this result, or failed.
        failures: Metrics that failed, each with what went wrong.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def measure(result: Result[Any], names: Iterable[str] | None = None) -> Measurements:
    """Apply metrics to a result. A metric that fails takes nothing else along: that is noted, and its value is None.

    Args:
        result: The result.
        names: Names of metrics; None for all that are registered.

    Raises:
        UnknownNameError: There is no such metric.
    """
    known = metrics()
    found = Measurements()
    chosen = list(known if names is None else names)
    check_metrics(chosen)
    for name in chosen:
        with telling_interrupts() as is_interrupt, overheard():
            try:
                value = known[name].factory()(result)
                if value is not None and not isinstance(value, Real):
                    raise TypeError(f"it returned {value!r}, not a number or None")
                found.values[name] = None if value is None else float(value)
            except BaseException as error:
                if is_interrupt(error):
                    raise
                found.values[name] = None
                found.failures[name] = described(error)
    return found


def check_metrics(names: Iterable[str]) -> None:
    """Refuse names that no metric has, before any work.

    Raises:
        UnknownNameError: There is one.
    """
    known = metrics()
    for name in names:
        if name not in known:
            raise UnknownNameError("metric", name, known)
