"""The backend contract: what a solver must say about itself, and the one method it must have."""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.errors import BackendUnavailableError, CvxRobustError, PluginError
from cvxrobust.core.settings import Settings
from cvxrobust.core.strangers import described, overheard, telling_interrupts, worded


@dataclass(frozen=True)
class Capabilities:
    """What a backend can read and do. Differences between backends are data here, never ``if name == ...``.

    Args:
        cones: Cone types it reads; empty if it reads no conic programmes.
        structured: Kinds of structured programmes it reads: ``"polynomial"``, ``"gated"``, ``"attacked targets"``
            (polynomial ones with a loss of targets under attack, two sides per sample), or what the programmes of
            somebody's own families call theirs.
        losses: Losses that it knows in these, by name; one that a number may follow by the name before the colon. A
            conic programme holds its loss in its cones.
        weights: Whether it heeds the weights of samples in these. A conic programme holds them in its numbers.
        attacks: What attacks may be in these, by name (`cvxrobust.core.AttackBall.shape`): ``"ball"``, ``"ellipsoid"``,
            ``"scaled ball"``, ``"cut box"``. A conic programme holds them in its rows.
        gated_attacks: The same of ``"gated"`` programmes, which have attacks in norms of their own.
        multiclass: By what strategies several classes may be trained in these, by the name that a programme has as
            `multiclass`. Whoever trains one class against the others makes a programme of each, which says nothing or
            ``"one-versus-all"``; one whose loss sees all classes of a sample at once has another name.
        devices: Devices it runs on.
        dtypes: Precisions of its iterates.
        duals: Whether it returns dual variables.
        warm_start: Whether `solve` also takes ``warm_start=`` (a `Solution` of a programme of the same shape).
        monitored: Whether `solve` also takes ``monitor=`` and heeds it, so that a solve can be interrupted.
        time_limit: Whether the solver has a time limit of its own.
        threads: Whether the solver's thread count can be set.
        needs_licence: Whether the solver runs only with a licence.
        tightest_tolerance: Smallest tolerance worth asking it for.
        method: ``"interior-point"``, ``"first-order"`` or what describes it.
    """

    cones: frozenset[type] = frozenset()
    structured: frozenset[str] = frozenset()
    losses: frozenset[str] = frozenset({"hinge", "squared_hinge", "logistic", "squared"})
    weights: bool = False
    attacks: frozenset[str] = frozenset({"ball"})
    gated_attacks: frozenset[str] = frozenset({"ball"})
    multiclass: frozenset[str] = frozenset({"one-versus-all"})
    devices: tuple[str, ...] = ("cpu",)
    dtypes: tuple[str, ...] = ("float64",)
    duals: bool = True
    warm_start: bool = False
    monitored: bool = False
    time_limit: bool = False
    threads: bool = False
    needs_licence: bool = False
    tightest_tolerance: float = 1e-8
    method: str = ""

    def attacks_in(self, kind: object) -> frozenset[str]:
        """What attacks it reads in structured programmes of a kind."""
        return {"gated": self.gated_attacks}.get(str(kind), self.attacks)


@runtime_checkable
class Backend(Protocol):
    """A solver behind the common contract; authors inherit nothing.

    `solve` never raises because it did not converge: that is a `Termination`. It never modifies the programme.
    Where `capabilities` say so, `solve` also takes the keywords ``warm_start`` and ``monitor``.
    """

    @property
    def name(self) -> str:
        """The name users type."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can read and do."""
        ...

    def unavailable(self) -> str | None:
        """Why it cannot run here and what to do about it; None if it can."""
        ...

    def solve(self, program: Any, settings: Settings, *args: Any, **optional: Any) -> Solution:
        """Solve a `ConicProgram`, or a structured programme named in the capabilities.

        ``*args`` and ``**optional`` stand for "whatever else": together they tell type checkers to accept any
        further parameters, so that an author declares only the keywords that the capabilities promise.
        """
        ...


@runtime_checkable
class ChecksSettings(Protocol):
    """What a backend may offer besides: refusing unusable settings before anybody assembles a programme."""

    def check_settings(self, settings: Settings) -> None:
        """Raise the error that `solve` would raise for these settings."""
        ...


@runtime_checkable
class RequiresAvailable(Protocol):
    """What a backend may offer besides, where availability depends on settings (a remote server in its options)."""

    def require_available(self, settings: Settings) -> None:
        """Raise `BackendUnavailableError`, or `LicenceError`, if `solve` could not run here with these settings."""
        ...


@runtime_checkable
class SolvesInTeam(Protocol):
    """What a backend may offer besides, whose `solve` several processes enter together."""

    @property
    def awaited(self) -> bool:
        """Whether others wait for this process in `solve`: it is called even where time is up, and they agree there."""
        ...


def is_awaited(backend: "Backend") -> bool:
    """Whether other processes wait for this one in a backend's `solve`."""
    return isinstance(backend, SolvesInTeam) and bool(backend.awaited)


def why_unavailable(backend: "Backend") -> str | None:
    """Why a backend cannot run here, None if it can; one that cannot even say is not available either."""
    with telling_interrupts() as is_interrupt, overheard():
        try:
            reason = backend.unavailable()
        except BaseException as error:
            if is_interrupt(error):
                raise
            return f"it cannot say whether it is available: {described(error)}"
    return None if reason is None else worded(reason)


def require_available(backend: "Backend", settings: Settings) -> None:
    """Refuse a backend that cannot run here.

    Raises:
        BackendUnavailableError: Says why, and what to do.
        LicenceError: All it lacks is a licence.
    """
    if isinstance(backend, RequiresAvailable):
        backend.require_available(settings)
    elif (reason := why_unavailable(backend)) is not None:
        raise BackendUnavailableError(f"backend {backend.name!r} cannot run here: {reason}")


def require_settings(backend: "Backend", settings: Settings) -> None:
    """Refuse settings that a backend says it cannot use.

    Raises:
        CvxRobustError: What the backend says is wrong with them.
        PluginError: It fails to say.
    """
    if not isinstance(backend, ChecksSettings):
        return
    with telling_interrupts() as is_interrupt, overheard():
        try:
            backend.check_settings(settings)
        except CvxRobustError:
            raise
        except BaseException as error:
            if is_interrupt(error):
                raise
            said = f"backend {backend.name!r} fails to check its settings: {described(error)}"
            raise PluginError(said) from error


@runtime_checkable
class ShowsOptions(Protocol):
    """What a backend may offer besides: which of its native options anybody may see.

    Results, rows and reports mask the values of all others, because a password or a licence may be among them.
    """

    def harmless_options(self) -> Collection[str]:
        """Names of options, as users spell them, whose values hold neither secrets nor names of files and people."""
        ...


def harmless_options(backend: "Backend") -> frozenset[str]:
    """The native options of a backend that may be shown; none if it does not say."""
    if not isinstance(backend, ShowsOptions):
        return frozenset()
    with telling_interrupts() as is_interrupt:
        try:
            return frozenset(name for name in backend.harmless_options() if isinstance(name, str))
        except BaseException as error:
            if is_interrupt(error):
                raise
            return frozenset()


@dataclass(frozen=True)
class Finding:
    """One thing that a backend needs in order to run, and whether it is there.

    Args:
        what: In a word: ``"installed"``, ``"importable"``, ``"licensed"``.
        ok: Whether it is.
        detail: The version or place found; where it is not, why and what to do.
    """

    what: str
    ok: bool
    detail: str = ""


@runtime_checkable
class Diagnoses(Protocol):
    """What a backend may offer besides: telling apart the things that it needs, for ``cvxrobust backends doctor``."""

    def diagnose(self) -> Sequence[Finding]:
        """Look thoroughly (`unavailable` is asked often and should be quick); the first that fails is the reason."""
        ...


@runtime_checkable
class SolvesTogether(Protocol):
    """What a backend of structured programmes may offer besides: all columns of the labels in one go.

    `solve` is asked for one column at a time otherwise.
    """

    @property
    def together(self) -> frozenset[str]:
        """Kinds of programmes that it takes in one go, some of its capabilities' `structured`."""
        ...

    def solve_together(
        self,
        program: Any,
        settings: Settings,
        monitors: Sequence["Monitor"],
        warm_starts: Sequence[Solution | None],
    ) -> list[Solution]:
        """Solve a structured programme of several columns of labels.

        Args:
            program: The programme.
            settings: For every column.
            monitors: One per column; the first says when to stop, each hears of its column's bounds.
            warm_starts: One per column.

        Returns:
            One solution per column, in order.
        """
        ...


@dataclass
class Monitor:
    """Lets whoever waits stop a solver from outside, and a solver report its progress.

    Args:
        deadline: ``time.perf_counter()`` value at which to stop; None for never.
        hear: Hears what is reported, with the first arguments of `report`; says False where that cannot be true.

    Attributes:
        iteration: Iterations at the last report; None where the solver did not say.
    """

    deadline: float | None = None
    hear: Callable[[float, float, Callable[[], Solution] | None], object] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    iteration: int | None = field(default=None, init=False)

    @classmethod
    def within(cls, seconds: float | None) -> "Monitor":
        """A monitor whose deadline is that many seconds from now; None for no deadline."""
        return cls(None if seconds is None else time.perf_counter() + seconds)

    def stop(self) -> None:
        """Ask the solver to return its iterate as soon as it can."""
        self._stop.set()

    def report(
        self,
        upper: float,
        lower: float,
        iterate: Callable[[], Solution] | None = None,
        *,
        iteration: int | None = None,
    ) -> bool:
        """Say how far a solver has got; a structured solver does so whenever its best network or bound improves.

        Bounds are claims: they steer who goes on next, but nothing counts before `core` has proved it from an iterate.
        Whoever hands over none is shown with the time of its last answer.

        Args:
            upper: Objective of the best network so far; infinite before there is one.
            lower: The best bound below the optimum so far; minus infinity before there is one.
            iterate: Makes a `Solution` of that network and its multipliers. It is called at once or never, seldom
                enough to cost little. What it returns is also kept in case the solver has to be ended in the midst of a
                step.
            iteration: Iterations so far, for whoever reads along (``Settings.verbose``).

        Returns:
            Whether the report can be true: bounds that are no numbers, cross or worsen are refused, and named in
            ``Result.complaints``.
        """
        self.iteration = iteration
        return self.hear is None or self.hear(upper, lower, iterate) is not False

    def sharing(
        self,
        deadline: float | None,
        hear: Callable[[float, float, Callable[[], Solution] | None], object] | None = None,
    ) -> "Monitor":
        """Another monitor that stops whenever this one is stopped, with a deadline and a listener of its own."""
        return Monitor(deadline, hear, self._stop)

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    @property
    def expired(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.perf_counter() >= self.deadline

    @property
    def should_stop(self) -> bool:
        """Whether a solver ought to return now."""
        return self.stopped or self.expired

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        return None if self.deadline is None else max(0.0, self.deadline - time.perf_counter())
