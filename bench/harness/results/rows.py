"""Rows: what became of a case. A failure is a row, with a reason."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from functools import partial
from typing import Any

from cvxrobust.bench.harness.suite.cases import SCHEMA, Case
from cvxrobust.core.contracts.result import Quality, Result, Termination
from cvxrobust.core.secrets import cleaned


class Verdict(StrEnum):
    """What a row counts as; `core` judged it, from the certificate alone."""

    CERTIFIED = "certified"
    INACCURATE = "inaccurate"
    FAILED = "failed"


class Failure(StrEnum):
    """Why a row is not certified."""

    NONE = ""
    INACCURATE = "inaccurate"
    """It ended with a certificate, of a larger gap than was asked for."""
    UNUSABLE = "unusable"
    """It ended without a certificate worth the name, whatever the solver said."""
    TIME_LIMIT = "time limit"
    ITERATION_LIMIT = "iteration limit"
    MEMORY = "out of memory"
    KILLED = "killed"
    """It ignored its time limit and was stopped from outside."""
    CRASHED = "crashed"
    """Its process ended by itself."""
    REFUSED = "refused"
    """It cannot read this problem, and said so."""
    UNAVAILABLE = "unavailable"
    LICENCE = "licence"
    NUMERICAL = "numerical"
    ERROR = "error"


_FROM_TERMINATION = {
    Termination.TIME_LIMIT: Failure.TIME_LIMIT,
    Termination.ITERATION_LIMIT: Failure.ITERATION_LIMIT,
    Termination.OUT_OF_MEMORY: Failure.MEMORY,
    Termination.LICENCE: Failure.LICENCE,
    Termination.NUMERICAL: Failure.NUMERICAL,
    Termination.KILLED: Failure.KILLED,
    Termination.ERROR: Failure.ERROR,
}


@dataclass(frozen=True)
class Row:
    """What became of one case.

    Args:
        key: The case's key.
        case: The case, as `Case.public` has it: without secrets.
        problem: Name of the problem, for people.
        backend: Title of the competitor, for people.
        verdict: What it counts as.
        failure: Why it is not certified; empty if it is.
        reason: The same in words.
        termination: What the solver said about its end; empty if it never said anything.
        upper: Certified upper bound; None if there is none.
        lower: Certified lower bound.
        metrics: Every registered metric that has a value.
        metric_failures: Metrics that failed, with the reason.
        trace: Certified bounds over time: (seconds, upper, lower).
        selection: What was picked automatically, and why.
        applied: Settings that reached the solver.
        ignored: Settings that did not, with the reason.
        versions: Versions of the packages involved.
        message: The solver's own words.
        complaints: What it reported on its way that cannot be true; why its process was not warmed up.
        started: When, in UTC, ISO 8601.
        seconds: Seconds on the supervisor's clock from sending the case to having the row; making the problem is in
            them, starting the process and warming up are not.
        worker: Where it ran: ``host``, ``pid``, ``threads``, ``pools`` (threads of each numerical library), ``served``
            (cases that the process had run before), ``warm_up`` (seconds and complaints of the warm-up, in no time of
            the row), ``resident`` (bytes before the case).
        schema: Version of this form.
    """

    key: str
    case: Mapping[str, Any]
    problem: str
    backend: str
    verdict: Verdict
    failure: Failure = Failure.NONE
    reason: str = ""
    termination: str = ""
    upper: float | None = None
    lower: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    metric_failures: Mapping[str, str] = field(default_factory=dict)
    trace: tuple[tuple[float, float, float], ...] = ()
    selection: str = ""
    applied: Mapping[str, Any] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    complaints: tuple[str, ...] = ()
    started: str = ""
    seconds: float = 0.0
    worker: Mapping[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def relative_gap(self) -> float:
        """The certified relative gap; infinite without bounds."""
        from cvxrobust.core.certificate import Certificate

        if self.upper is None or self.lower is None:
            return float("inf")
        return Certificate(self.upper, self.lower).relative_gap

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; `Row.from_dict` takes it back."""
        return asdict(self)

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "Row":
        """The row that `to_dict` described."""
        typed = {
            "verdict": Verdict(content["verdict"]),
            "failure": Failure(content["failure"]),
            "trace": tuple((float(t), _number(u), _number(low, -1.0)) for t, u, low in content["trace"]),
            "complaints": tuple(map(str, content.get("complaints", ()))),
        }
        known = {field.name for field in fields(Row)}
        return Row(**{name: value for name, value in content.items() if name in known} | typed)

    def without_secrets(self, case: Case) -> "Row":
        """The same with the case's secrets masked wherever they may have got to."""
        hide = partial(cleaned, secrets=case.secrets)
        return replace(
            self,
            applied=hide(self.applied),
            ignored=hide(self.ignored),
            reason=hide(self.reason),
            message=hide(self.message),
            complaints=tuple(hide(list(self.complaints))),
            selection=hide(self.selection),
            metric_failures=hide(self.metric_failures),
            worker=hide(self.worker),
        )


def _number(value: float | None, sign: float = 1.0) -> float:
    """JSON has no infinities: they are stored as null."""
    return sign * float("inf") if value is None else float(value)


def row_of_result(key: str, case: Case, result: Result[Any], measured: Any) -> Row:
    """The row of a solve that ended.

    Args:
        key: The case's key.
        case: The case.
        result: What `solve` returned.
        measured: What `cvxrobust.core.discovery.measurement.measure` made of it.
    """
    verdict, failure, reason = _judged(result)
    return Row(
        key,
        case.public(),
        case.problem.name,
        case.backend.title,
        verdict,
        failure,
        reason,
        str(result.termination),
        result.certificate.upper,
        result.certificate.lower,
        {name: value for name, value in measured.values.items() if value is not None},
        measured.failures,
        tuple((point.elapsed, point.upper, point.lower) for point in result.trace),
        result.selection,
        dict(result.applied),
        dict(result.ignored),
        dict(result.versions),
        result.message,
        result.complaints,
    )


def failed_row(key: str, case: Case, failure: Failure, reason: str, **known: Any) -> Row:
    """The row of a case that came to nothing."""
    return Row(key, case.public(), case.problem.name, case.backend.title, Verdict.FAILED, failure, reason, **known)


def _judged(result: Result[Any]) -> tuple[Verdict, Failure, str]:
    """What a result counts as. The solver's own opinion matters only as the explanation of a failure."""
    gap = f"certified relative gap {result.certificate.relative_gap:.1e}"
    if result.quality is Quality.CERTIFIED:
        return Verdict.CERTIFIED, Failure.NONE, ""
    said = f"the solver says {str(result.termination)!r}" + (f": {result.message}" if result.message else "")
    if result.quality is Quality.INACCURATE:
        return Verdict.INACCURATE, _FROM_TERMINATION.get(result.termination, Failure.INACCURATE), f"{gap}; {said}"
    return Verdict.FAILED, _FROM_TERMINATION.get(result.termination, Failure.UNUSABLE), f"{gap}; {said}"
