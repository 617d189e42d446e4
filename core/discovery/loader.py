"""Loading plugins one by one, and keeping a record of what became of each.

pluggy's own loader stops at the first import that fails, skips duplicate names without a word and lets
misspelt hooks pass, so entry points are loaded here. Two environment variables are read at discovery:

- ``CVXROBUST_DISABLE_BACKENDS``: names of backends to leave out, separated by commas;
- ``CVXROBUST_STRICT_PLUGINS=1``: raise if any plugin is broken, incompatible or a duplicate.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import StrEnum
from functools import partial
from importlib.metadata import EntryPoint
from typing import Any

import pluggy

from cvxrobust.core.contracts.backend import Backend, Capabilities
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.discovery import hookspecs
from cvxrobust.core.discovery.hookspecs import (
    API_VERSION,
    HOOKS,
    PROJECT,
    BackendDescription,
    DescribedPlugin,
    Description,
    MetricDescription,
    ProblemDescription,
)
from cvxrobust.core.errors import BackendUnavailableError, InputError, PluginError
from cvxrobust.core.settings import Settings
from cvxrobust.core.strangers import described, overheard, shown, telling_interrupts, worded

DISABLE_VARIABLE = "CVXROBUST_DISABLE_BACKENDS"
STRICT_VARIABLE = "CVXROBUST_STRICT_PLUGINS"


class PluginStatus(StrEnum):
    """What became of a plugin, from good to bad."""

    OK = "ok"
    BLOCKED = "blocked"
    DUPLICATE = "duplicate"
    INCOMPATIBLE = "incompatible"
    BROKEN = "broken"


SHELVES: dict[type[Description], str] = {
    BackendDescription: "backends",
    ProblemDescription: "problems",
    MetricDescription: "metrics",
}
"""Where descriptions of a kind are kept, in a `Registry` and in a `PluginRecord`."""

NO_HOOK = f"it has no hook; mark a function {' or '.join(HOOKS)} with hookimpl, or pass a description"
"""What is said of a plugin that offers nothing."""

SLOW = 2.0
"""Seconds above which an import is named: every command waits for it."""

_BADNESS = list(PluginStatus)
_FATAL_IF_STRICT = (PluginStatus.DUPLICATE, PluginStatus.INCOMPATIBLE, PluginStatus.BROKEN)


@dataclass(frozen=True)
class PluginRecord:
    """One plugin and what became of it.

    Args:
        entry: Name of its entry point; of the module or class, if it came through `register`.
        value: What the entry point points to.
        distribution: The installed package that brought it; empty if it came through `register`.
        status: The worst that happened to anything in it.
        reason: Why it is not ok; empty if it is.
        backends: Names of the backends in use from it.
        problems: Names of the problem families in use from it.
        metrics: Names of the metrics in use from it.
        refused: Names it offered that are not in use, each with the reason.
        remarks: What it does that it should not, although it works: it prints, or its import is slow.
    """

    entry: str
    value: str
    distribution: str = ""
    status: PluginStatus = PluginStatus.OK
    reason: str = ""
    backends: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class Registry:
    """The plugins of one discovery.

    Args:
        entries: Entry points, in any order: ours are loaded first, then by distribution and name.
        environ: Where the two variables are looked up.

    Raises:
        PluginError: A plugin is bad and `environ` asks for strictness; names all the bad ones.
    """

    def __init__(self, entries: Iterable[EntryPoint], environ: Mapping[str, str]) -> None:
        self.records: list[PluginRecord] = []
        self.backends: dict[str, BackendDescription] = {}
        self.problems: dict[str, ProblemDescription] = {}
        self.metrics: dict[str, MetricDescription] = {}
        self.strict = environ.get(STRICT_VARIABLE, "") not in ("", "0")
        names = environ.get(DISABLE_VARIABLE, "").split(",")
        self._blocked = frozenset(name.strip() for name in names) - {""}
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._instances: dict[str, Backend] = {}
        for entry in sorted(entries, key=_rank):
            record = PluginRecord(entry.name, entry.value, _distribution(entry))
            self._add(record, entry.load)
        if self.strict:
            self._raise_for(self.records)

    def register(self, plugin: object) -> PluginRecord:
        """Add one more plugin; see the function `register`."""
        kind = "None" if plugin is None else type(plugin).__qualname__
        name, offered = str(getattr(plugin, "__name__", kind)), plugin
        if isinstance(plugin, Description):
            name, offered = str(plugin.name), DescribedPlugin(plugin)
        record = self._add(PluginRecord(name, worded(plugin)), lambda: offered)
        self._raise_for([record])
        return record

    def instance(self, name: str, variant: str | None = None) -> Backend:
        """The backend called `name`, made on first use; its factory may fail without taking others along."""
        description = self.backends[name]
        key = name if variant is None else f"{name}:{variant}"
        if key not in self._instances:
            arguments = (variant,) if description.variants else ()
            with overheard() as heard:
                made = self._instances[key] = _made(key, description.factory, arguments)
            self._note("backends", name, heard, made.reason if isinstance(made, Unusable) else "")
        return self._instances[key]

    def examine(self) -> None:
        """Call every factory, so that the records say what is wrong with one."""
        for name in self.backends:
            try:
                self.instance(name)
            except InputError as error:
                self._note("backends", name, (), described(error))
        for shelf in ("problems", "metrics"):
            for name, offer in getattr(self, shelf).items():
                try:
                    with overheard() as heard:
                        offer.factory()
                    self._note(shelf, name, heard)
                except PluginError as error:
                    self._note(shelf, name, heard, str(error))

    def _note(self, shelf: str, name: str, heard: Iterable[str], failure: str = "") -> None:
        """Keep what a factory did beside what it was to do with the plugin that it is from."""
        remark = _printed(heard, f"the factory of {name!r}")
        for place, record in enumerate(self.records):
            if name not in getattr(record, shelf):
                continue
            if failure and failure not in record.reason:
                reason = "; ".join(filter(None, (record.reason, f"{name}: {failure}")))
                record = replace(record, status=PluginStatus.BROKEN, reason=reason)
            if remark and remark not in record.remarks:
                record = replace(record, remarks=(*record.remarks, remark))
            self.records[place] = record

    def why_missing(self, name: str) -> str:
        """What is known about a backend that is not in use."""
        for record in self.records:
            if name in record.refused:
                return f"{name!r} is offered by {_label(record)}, but {record.refused[name]}."
            if name == record.entry and record.status is not PluginStatus.OK:
                return f"A plugin of that name, {_label(record)}, is {record.status}: {record.reason}."
        return ""

    def _add(self, record: PluginRecord, load: Callable[[], object]) -> PluginRecord:
        began = time.perf_counter()
        with telling_interrupts() as is_interrupt, overheard() as heard:
            try:
                offered = self._offers(f"{record.distribution}:{record.entry}:{record.value}", load)
            except BaseException as error:  # also exits, and panics of native modules, which are no `Exception`
                if is_interrupt(error):
                    raise
                reason = str(error) if isinstance(error, _Refusal) else described(error)
                status = error.status if isinstance(error, _Refusal) else PluginStatus.BROKEN
                record = replace(record, status=status, reason=reason)
            else:
                record = self._take(record, offered)
        seconds = time.perf_counter() - began
        slow = f"its import took {seconds:.1f} s, for which every command waits" if seconds > SLOW else ""
        record = replace(record, remarks=tuple(filter(None, (slow, _printed(heard, "its import")))))
        self.records.append(record)
        return record

    def _offers(self, key: str, load: Callable[[], object]) -> list[Description]:
        """Load a plugin and ask it for its descriptions; whatever is wrong with it is raised."""
        plugin = load()
        if not any(name in HOOKS or _is_marked(plugin, name) for name in dir(plugin)):
            raise _Refusal(NO_HOOK)
        if self._manager.is_registered(plugin):
            raise _Refusal("the same object is registered already", PluginStatus.DUPLICATE)
        try:
            self._manager.register(plugin, name=key)
            for name in (name for name in dir(plugin) if name not in HOOKS and _is_marked(plugin, name)):
                close = get_close_matches(name, HOOKS, n=1)
                guess = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(HOOKS)}"
                raise _Refusal(f"unknown hook {name!r}; {guess}")
            self._manager.check_pending()
            if not self._manager.get_hookcallers(plugin):
                raise _Refusal(NO_HOOK)
            return [offer for hook, kind in HOOKS.items() for offer in self._ask(plugin, hook, kind)]
        except BaseException:
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            raise

    def _ask(self, plugin: object, hook: str, kind: type[Description]) -> Iterator[Description]:
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            if implementation.plugin is not plugin:
                continue
            offers = implementation.function()
            if not isinstance(offers, Iterable):
                raise _Refusal(f"{hook} returned {shown(offers)}, expected a list of {kind.__name__}")
            for offer in offers:
                if not isinstance(offer, kind):
                    raise _Refusal(f"{hook} yielded {shown(offer)}, expected a {kind.__name__}")
                if not isinstance(offer.name, str) or not offer.name or ":" in offer.name:
                    raise _Refusal(f"{hook} yielded the name {shown(offer.name)}, expected text without a colon")
                if type(offer) is not kind:
                    raise _Refusal(f"{hook} yielded a subclass of {kind.__name__}; use that class itself")
                if not callable(offer.factory):
                    raise _Refusal(f"the factory of {offer.name!r} is {shown(offer.factory)}, expected a function")
                if not isinstance(offer.summary, str):
                    raise _Refusal(f"the summary of {offer.name!r} is {shown(offer.summary)}, expected a text")
                if isinstance(offer, ProblemDescription) and not _are_names(offer.parameters):
                    given = shown(offer.parameters)
                    raise _Refusal(f"the parameters of {offer.name!r} are {given}, expected names in a tuple")
                yield offer

    def _take(self, record: PluginRecord, offered: list[Description]) -> PluginRecord:
        taken: list[Description] = []
        refused: dict[str, str] = {}
        worst = PluginStatus.OK
        for offer in offered:
            status, reason = self._verdict(offer)
            worst = max(worst, status, key=_BADNESS.index)
            if status is not PluginStatus.OK:
                refused[offer.name] = reason
            else:
                getattr(self, SHELVES[type(offer)])[offer.name] = _guarded(offer, record)
                taken.append(offer)
        names = {
            shelf: tuple(offer.name for offer in taken if isinstance(offer, kind)) for kind, shelf in SHELVES.items()
        }
        return PluginRecord(
            record.entry,
            record.value,
            record.distribution,
            worst,
            "; ".join(f"{name}: {reason}" for name, reason in refused.items()),
            **names,
            refused=refused,
        )

    def _verdict(self, offer: Description) -> tuple[PluginStatus, str]:
        if isinstance(offer, BackendDescription) and offer.name in self._blocked:
            return PluginStatus.BLOCKED, f"it is named in {DISABLE_VARIABLE}"
        if offer.api_version != API_VERSION:
            written = f"it was written for plugin interface {offer.api_version}"
            return PluginStatus.INCOMPATIBLE, f"{written}, this is {API_VERSION}"
        shelf = SHELVES[type(offer)]
        if offer.name in getattr(self, shelf):
            holders = (_label(record) for record in self.records if offer.name in getattr(record, shelf))
            return PluginStatus.DUPLICATE, f"the name is taken by {next(holders, 'this very plugin')}"
        return PluginStatus.OK, ""

    def _raise_for(self, records: Iterable[PluginRecord]) -> None:
        bad = [f"{_label(r)} is {r.status} ({r.reason})" for r in records if r.status in _FATAL_IF_STRICT]
        if bad:
            raise PluginError(f"{'; '.join(bad)}.")


class _Refusal(Exception):
    """A plugin that loads, but is not one of ours."""

    def __init__(self, reason: str, status: PluginStatus = PluginStatus.BROKEN) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Unusable:
    """Stands in for a backend whose factory failed, so that listings can say so.

    Args:
        name: The backend's.
        reason: What went wrong.
        capabilities: None.
    """

    name: str
    reason: str
    capabilities: Capabilities = field(default_factory=Capabilities)

    def unavailable(self) -> str:
        """What went wrong."""
        return self.reason

    def solve(self, program: object, settings: Settings) -> Solution:
        """Refuse."""
        raise BackendUnavailableError(f"backend {self.name!r}: {self.reason}")


def _made(name: str, factory: Callable[..., Backend], arguments: tuple[str | None, ...]) -> Backend:
    with telling_interrupts() as is_interrupt:
        try:
            backend = factory(*arguments)
            is_one = isinstance(backend, Backend)  # which looks at properties, and these may raise
            abilities = backend.capabilities if is_one else None
        except BaseException as error:
            # An InputError is about the variant, which is the caller's.
            if is_interrupt(error) or (isinstance(error, InputError) and any(arguments)):
                raise
            return Unusable(name, f"its factory failed with {described(error)}")
    if not is_one:
        what = f"a {type(backend).__name__}, which lacks name, capabilities, unavailable or solve"
        return Unusable(name, f"its factory made {what}")
    if not isinstance(abilities, Capabilities):
        return Unusable(name, f"its capabilities are a {type(abilities).__name__}, not Capabilities")
    return backend


def _guarded(offer: Description, record: PluginRecord) -> Description:
    """The same with a factory that says whose it is when it fails; those of backends are called in one place."""
    if isinstance(offer, BackendDescription):
        return offer
    what = "problem" if isinstance(offer, ProblemDescription) else "metric"
    who = f"{what} {offer.name!r} of {_label(record)}"
    return replace(offer, factory=partial(_called, offer.factory, who))


def _called(factory: Callable[[], Any], who: str) -> Any:
    with telling_interrupts() as is_interrupt:
        try:
            return factory()
        except BaseException as error:
            if is_interrupt(error):
                raise
            raise PluginError(f"{who} cannot be used: its factory failed with {described(error)}") from error


def _printed(heard: Iterable[str], who: str) -> str:
    """The remark about what was printed; empty if nothing was."""
    words = " ".join("".join(heard).split())
    return f"{who} prints {words!r}" if words else ""


def _are_names(parameters: object) -> bool:
    return isinstance(parameters, tuple | list) and all(isinstance(name, str) for name in parameters)


def _is_marked(plugin: object, name: str) -> bool:
    """Whether `hookimpl` marked a function of the plugin's as a hook that there has to be."""
    marks = None
    with suppress(Exception):  # anything may be registered, and have what fails when it is looked at
        marks = getattr(getattr(plugin, name, None), f"{PROJECT}_impl", None)
    return isinstance(marks, dict) and not marks.get("optionalhook", False)


def _distribution(entry: EntryPoint) -> str:
    return str(entry.dist.name) if entry.dist is not None else ""


def _rank(entry: EntryPoint) -> tuple[bool, str, str, str]:
    name = _distribution(entry)
    return name != PROJECT, name, entry.name, entry.value


def _label(record: PluginRecord) -> str:
    origin = f" of {record.distribution}" if record.distribution else ""
    return f"plugin {record.entry!r}{origin}"
