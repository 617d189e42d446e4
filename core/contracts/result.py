"""What a solve returns: a network, a certificate that trusts no solver, and how they came about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.certificate import Certificate, interval_words
from cvxrobust.core.doors import drawing
from cvxrobust.core.networks.base import N, TwoLayerNetwork
from cvxrobust.core.summary import Cell, Summarised, Summary, counted, gap_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]
Callback = Callable[[float, float, float], object]


class Termination(StrEnum):
    """Why the solver stopped. It says nothing about how good the answer is; `Quality` does."""

    CONVERGED = "converged"
    TIME_LIMIT = "time limit"
    ITERATION_LIMIT = "iteration limit"
    INTERRUPTED = "interrupted"
    INFEASIBLE = "infeasible"
    UNBOUNDED = "unbounded"
    NUMERICAL = "numerical"
    LICENCE = "licence"
    OUT_OF_MEMORY = "out of memory"
    KILLED = "killed"
    ERROR = "error"


class Quality(StrEnum):
    """How good the answer is, judged by `core` from the certificate alone."""

    CERTIFIED = "certified"
    INACCURATE = "inaccurate"
    UNUSABLE = "unusable"


UNUSABLE_GAP = 0.1
"""A relative gap above this says little about the optimum: the answer is called unusable."""


def grade(certificate: Certificate, tolerance: float) -> Quality:
    """Grade a certificate against the tolerance that was asked for."""
    if certificate.relative_gap <= tolerance:
        return Quality.CERTIFIED
    return Quality.INACCURATE if certificate.relative_gap <= UNUSABLE_GAP else Quality.UNUSABLE


@dataclass(frozen=True, repr=False)
class Solution(Summarised):
    """What a backend hands back: its iterate, not its opinion.

    Conic backends fill `x`, `s` and `y`; backends that read structured programmes fill `network` and
    `multipliers` instead.

    Args:
        termination: Why it stopped.
        x: Primal variables, shape (N,), of ``min q'x  s.t.  A x + s = b, s in K``.
        s: Slacks, shape (M,).
        y: Dual variables in the dual cone, shape (M,), with ``A'y + q = 0`` at the optimum.
        network: The network found, from a structured programme.
        multipliers: Dual information for the certificate, from a structured programme.
        iterations: Iterations the solver counted.
        setup_seconds: Time the solver spent before its first iteration.
        solve_seconds: Time the solver spent iterating.
        peak_memory: High-water mark in bytes of the process that solved, where that is not this one.
        message: The solver's own words.
        applied: Settings that were applied, by their native names.
        ignored: Settings that were not, with the reason.
        doubt: What `core` found wrong with the termination that the solver claimed; empty if nothing.
    """

    termination: Termination
    x: Array | None = None
    s: Array | None = None
    y: Array | None = None
    network: TwoLayerNetwork | None = None
    multipliers: Any = None
    iterations: int = 0
    setup_seconds: float = 0.0
    solve_seconds: float = 0.0
    peak_memory: int = 0
    message: str = ""
    applied: Mapping[str, Any] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    doubt: str = ""

    def _summary(self) -> Summary:
        arrays = {"x": self.x, "s": self.s, "y": self.y}
        sizes = [f"{name} of shape {np.shape(array)}" for name, array in arrays.items() if array is not None]
        held = ", ".join([*sizes, *(["a network"] if self.network is not None else [])]) or "nothing"
        facts = (("holds", held), ("iterations", f"{self.iterations}"), ("message", self.message))
        title = f"Solution: {self.termination}, {counted(self.iterations, 'iteration')}, {held}"
        return Summary(title, (self.message, self.doubt), facts)

    @property
    def has_primal(self) -> bool:
        """Whether there is a finite primal point to recover a network from."""
        return self.network is not None or (self.x is not None and bool(np.isfinite(self.x).all()))

    @property
    def has_dual(self) -> bool:
        """Whether there is a finite dual point to take multipliers from."""
        return self.multipliers is not None or (self.y is not None and bool(np.isfinite(self.y).all()))


@dataclass(frozen=True)
class Times:
    """Where the seconds went. `wall` surrounds the whole call of `solve`."""

    assemble: float = 0.0
    setup: float = 0.0
    solve: float = 0.0
    certify: float = 0.0
    wall: float = 0.0


@dataclass(frozen=True)
class TracePoint:
    """Certified bounds known `elapsed` seconds into the solve."""

    elapsed: float
    upper: float
    lower: float


@dataclass(frozen=True)
class Round:
    """One programme of a sequence in which the problem improved its own gates.

    Args:
        kind: How this programme came about: ``"given"``, ``"grown"`` or ``"regated"``.
        elapsed: Seconds into the solve at its end.
        certificate: Bounds on this programme's optimum.
        size: Slots of this programme.
    """

    kind: str
    elapsed: float
    certificate: Certificate
    size: int


@dataclass(frozen=True)
class Phase:
    """One of several methods that a solve went through, one after the other.

    Args:
        backend: Name of its backend.
        method: ``"direct"`` or ``"cutting-set"``.
        termination: Why it stopped.
        certificate: Bounds known at its end.
        times: Its seconds.
        iterations: Its solver's iterations.
        rounds: Programmes it solved.
        message: Its backend's own words.
    """

    backend: str
    method: str
    termination: Termination
    certificate: Certificate
    times: Times
    iterations: int = 0
    rounds: int = 0
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "backend": self.backend,
            "method": self.method,
            "termination": str(self.termination),
            "upper": self.certificate.upper,
            "lower": self.certificate.lower,
            "times": vars(self.times).copy(),
            "iterations": self.iterations,
            "rounds": self.rounds,
            "message": self.message,
        }


@dataclass(frozen=True, repr=False)
class Result(Summarised, Generic[N]):
    """A network, how far from the global optimum it can be at most, and how it was found.

    Args:
        network: The trained network, exactly feasible whatever the solver's residuals were.
        certificate: Bounds on the optimum of the nonconvex training problem.
        termination: Why the solve stopped.
        quality: What `core` makes of the certificate.
        backend: Name of the backend that ran; ``"torch + clarabel"`` where another one went on.
        method: ``"direct"`` or ``"cutting-set"``; ``"direct + cutting-set"`` where it was polished.
        selection: What was picked automatically, and why; empty when the caller chose.
        solution: The backend's last raw solution, None if it never returned one.
        dimacs_errors: The six DIMACS errors of that raw solution (see `ConicProgram.dimacs_errors`).
        times: Seconds by phase.
        iterations: Solver iterations in all, over every master programme solved.
        rounds: Programmes solved: masters of the cutting-set method, runs of the backend by the direct one.
        peak_memory: High-water mark of resident memory in bytes, of this process or of the child that solved, if that
            is larger; 0 where unknown.
        trace: Certified bounds over time.
        parts: One-versus-all results, one per class; empty for a single problem.
        problem: The problem that the certificate is about, where it is not the one given: with refined gates.
        history: The programmes solved on the way, where gates were refined; `certificate` is about the last.
        unfinished: Where refining the gates fell short: what came of the last programme, which may have the better
            network, but not the better certificate.
        phases: The ways of a solve that took more than one; empty where one did everything. Where there are `parts`,
            they hold theirs.
        report: What the problem says about itself and the network, ready for JSON; empty where a time limit left no
            time for it. Where there is an ``advice``, it is shown with the result.
        applied: Settings applied, by the backend's native names.
        ignored: Settings not applied, with the reason.
        versions: Versions of the packages involved.
        message: The backend's own words.
        complaints: What the backend reported on its way that cannot be true.
    """

    network: N
    certificate: Certificate
    termination: Termination
    quality: Quality
    backend: str
    method: str
    selection: str = ""
    solution: Solution | None = None
    dimacs_errors: tuple[float, ...] = ()
    times: Times = field(default_factory=Times)
    iterations: int = 0
    rounds: int = 0
    peak_memory: int = 0
    trace: tuple[TracePoint, ...] = ()
    parts: tuple["Result[N]", ...] = ()
    problem: Any = None
    history: tuple[Round, ...] = ()
    unfinished: "Result[N] | None" = None
    phases: tuple[Phase, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    applied: Mapping[str, Any] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    message: str = ""
    complaints: tuple[str, ...] = ()

    def _summary(self) -> Summary:
        bounds, network = self.certificate, self.network
        kind = f"{type(network).__name__} of {counted(network.n_neurons, 'neuron')}"
        work = f"{counted(self.iterations, 'iteration')}, {counted(self.rounds, 'programme')}"
        how = f"{self.backend}/{self.method}, {self.termination} after {self.times.wall:.2f} s, {work}"
        facts: tuple[tuple[str, Cell], ...] = (
            ("optimum", interval_words(bounds)), ("relative gap", gap_bar(bounds.relative_gap, self.quality)),
            ("network", kind), ("advice", self._advice), ("solved by", how), ("chosen", self.selection),
            ("message", self.message),
            ("complaints", "; ".join(self.complaints)),
        )  # fmt: skip
        parts = tuple(
            (f"{k}", interval_words(part.certificate), gap_bar(part.certificate.relative_gap, part.quality))
            for k, part in enumerate(self.parts)
        )
        title = f"Result: {self.quality}, relative gap {bounds.relative_gap:.1e}"
        lines = f"optimum {interval_words(bounds)}, {kind}", self._advice or how
        return Summary(title, lines, facts, ("class", "optimum", "relative gap"), parts)

    def __str__(self) -> str:
        bounds = self.certificate
        return (
            f"{self.quality}: optimum in [{bounds.lower:.8g}, {bounds.upper:.8g}] "
            f"(relative gap {bounds.relative_gap:.1e}), {self.network.n_neurons} neurons, "
            f"{self.backend}/{self.method}, {self.termination} after {self.times.wall:.2f} s"
            f"{self._advice and '; '}{self._advice}"
        )

    @property
    def _advice(self) -> str:
        """What the problem says to whoever wants another network than this one; mostly nothing."""
        return str(self.report.get("advice", ""))

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the certified relative gap against the seconds of the solve.

        Args:
            ax: Axes of matplotlib to draw into; None for a new figure.

        Raises:
            InputError: matplotlib is missing.
        """
        axes: Axes = drawing("gap", "plot_gap")(self, ax)
        return axes

    def to_dict(self) -> dict[str, Any]:
        """Everything but the arrays, ready for JSON."""
        return {
            "quality": str(self.quality),
            "termination": str(self.termination),
            "upper": self.certificate.upper,
            "lower": self.certificate.lower,
            "absolute_gap": self.certificate.absolute_gap,
            "relative_gap": self.certificate.relative_gap,
            "backend": self.backend,
            "method": self.method,
            "selection": self.selection,
            "neurons": self.network.n_neurons,
            "iterations": self.iterations,
            "rounds": self.rounds,
            "dimacs_errors": list(self.dimacs_errors),
            "times": vars(self.times).copy(),
            "peak_memory": self.peak_memory,
            "trace": [[point.elapsed, point.upper, point.lower] for point in self.trace],
            "parts": [part.to_dict() for part in self.parts],
            "history": [
                [step.kind, step.elapsed, step.certificate.upper, step.certificate.lower, step.size]
                for step in self.history
            ],
            "unfinished": None if self.unfinished is None else self.unfinished.to_dict(),
            "phases": [phase.to_dict() for phase in self.phases],
            "report": dict(self.report),
            "applied": {name: _plain(value) for name, value in self.applied.items()},
            "ignored": dict(self.ignored),
            "versions": dict(self.versions),
            "message": self.message,
            "complaints": list(self.complaints),
        }


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) or value is None else repr(value)
