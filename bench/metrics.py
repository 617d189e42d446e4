"""The metrics that the benchmark takes from every result; strangers add theirs by the same hook."""

from collections.abc import Callable, Iterable
from typing import Any

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.result import Result
from cvxrobust.core.discovery.hookspecs import MetricDescription, hookimpl

Metric = Callable[[Result[Any]], float | None]

GAPS = ("1e-2", "1e-4", "1e-6")
"""Relative gaps whose times are reported."""

PHASES = ("assemble", "setup", "solve", "certify")


def seconds_until(trace: Iterable[tuple[float, float, float]], gap: float) -> float | None:
    """Seconds at which a trace's certified relative gap first was `gap` or less; None if it never was."""
    return next((time for time, upper, lower in trace if Certificate(upper, lower).relative_gap <= gap), None)


def seconds_to(result: Result[Any], gap: float) -> float | None:
    """`seconds_until` of a solve."""
    return seconds_until(((point.elapsed, point.upper, point.lower) for point in result.trace), gap)


def largest_dimacs_error(result: Result[Any]) -> float | None:
    """The largest of the six DIMACS errors of the raw solution in magnitude; None without a conic solution."""
    known = [abs(error) for error in result.dimacs_errors if error == error]
    return max(known, default=None)


def _until(gap: float) -> Metric:
    return lambda result: seconds_to(result, gap)


def _phase(name: str) -> Metric:
    return lambda result: float(getattr(result.times, name))


def _described(name: str, metric: Metric, summary: str, unit: str = "") -> MetricDescription:
    return MetricDescription(name, lambda: metric, summary, unit)


@hookimpl
def cvxrobust_metrics() -> list[MetricDescription]:
    """Ours, for the registry."""
    return [
        _described("relative-gap", lambda r: r.certificate.relative_gap, "certified gap over the upper bound"),
        _described("absolute-gap", lambda r: r.certificate.absolute_gap, "certified upper minus lower bound"),
        _described("upper", lambda r: r.certificate.upper, "exact objective of the network returned"),
        MetricDescription("lower", lambda: lambda r: r.certificate.lower, "proved lower bound", better="higher"),
        *(_described(f"seconds-to-{gap}", _until(float(gap)), f"until a certified gap of {gap}", "s") for gap in GAPS),
        *(_described(phase, _phase(phase), f"seconds of the phase {phase!r}", "s") for phase in PHASES),
        _described("wall", lambda r: r.times.wall, "seconds of the whole call", "s"),
        _described("peak-memory", lambda r: r.peak_memory or None, "high-water mark of resident memory", "bytes"),
        _described("iterations", lambda r: r.iterations, "iterations of the solver in all"),
        _described("neurons", lambda r: r.network.n_neurons, "neurons of the network returned"),
        _described("dimacs-error", largest_dimacs_error, "largest DIMACS error of the raw solution"),
    ]
