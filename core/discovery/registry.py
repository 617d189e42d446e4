"""Finding backends, problem families and metrics, ours and everybody's, without importing a single solver.

Discovery runs once, at the first question; `cvxrobust.core.discovery.loader` says how, and which environment variables
it reads.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from types import MappingProxyType

from cvxrobust.core.arguments import flag
from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.discovery.hookspecs import PROJECT, BackendDescription, MetricDescription, ProblemDescription
from cvxrobust.core.discovery.loader import PluginRecord, PluginStatus, Registry
from cvxrobust.core.errors import InputError, UnknownKeyError, UnknownNameError
from cvxrobust.core.strangers import shown

__all__ = [
    "PluginRecord",
    "PluginStatus",
    "backend_descriptions",
    "backends",
    "get_backend",
    "metrics",
    "plugins",
    "problems",
    "register",
    "reload",
]


class _LazyBackends(Mapping[str, Backend]):
    """Backends by name, each made when it is first looked up."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __getitem__(self, name: str) -> Backend:
        if name not in self:
            raise UnknownKeyError("backend", name, self._registry.backends)
        return self._registry.instance(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._registry.backends

    def __iter__(self) -> Iterator[str]:
        return iter(self._registry.backends)

    def __len__(self) -> int:
        return len(self._registry.backends)

    def __repr__(self) -> str:
        return f"<backends: {', '.join(self)}>"


_lock = threading.RLock()
_current: Registry | None = None


def _registry() -> Registry:
    global _current
    with _lock:
        if _current is None:
            _current = Registry(entry_points(group=PROJECT), os.environ)
        return _current


def reload() -> None:
    """Forget everything, what `register` added too; the next question rediscovers."""
    global _current
    with _lock:
        _current = None


def register(plugin: object) -> PluginRecord:
    """Add a plugin that has no entry point, in a test or a notebook.

    Args:
        plugin: A module or object with hooks; or what a hook would yield, such as a `BackendDescription`.

    Raises:
        PluginError: It is broken, incompatible, or a name of its is taken. Discovery only records that;
            here the author is listening.
    """
    with _lock:
        return _registry().register(plugin)


def plugins(*, examined: bool = False) -> tuple[PluginRecord, ...]:
    """Every plugin found, the bad ones included, in the order they were loaded.

    Args:
        examined: Call the factory of everything they offer, so that those that fail are known, too.
    """
    if flag(examined, "examined"):
        with _lock:
            _registry().examine()
    return tuple(_registry().records)


def backends() -> Mapping[str, Backend]:
    """Every backend by name; each is made when first looked up, and none imports its solver."""
    return _LazyBackends(_registry())


def backend_descriptions() -> Mapping[str, BackendDescription]:
    """What the backends say about themselves before they are made, by name."""
    return MappingProxyType(_registry().backends)


def problems() -> Mapping[str, ProblemDescription]:
    """Every problem family by name."""
    return MappingProxyType(_registry().problems)


def metrics() -> Mapping[str, MetricDescription]:
    """Every metric by name."""
    return MappingProxyType(_registry().metrics)


def get_backend(spec: str | Backend) -> Backend:
    """The backend that a user means.

    Args:
        spec: A name, ``"name:variant"`` (such as ``"cvxpy:CVXOPT"``), or a backend itself.

    Raises:
        UnknownNameError: No backend has that name; says so if a plugin failed to provide it.
        InputError: The backend has no variants, or `spec` is neither text nor a backend.
    """
    if not isinstance(spec, str):
        return _checked(spec)
    registry = _registry()
    name, colon, variant = spec.partition(":")
    if name not in registry.backends:
        raise UnknownNameError("backend", name, registry.backends, registry.why_missing(name))
    if colon and not registry.backends[name].variants:
        raise InputError(f"backend {name!r} has no variants, so {spec!r} means nothing; write {name!r}.")
    if colon and not variant:
        raise InputError(f"{spec!r} names no variant after the colon; write {name!r} for the default.")
    return registry.instance(name, variant or None)


def _checked(backend: object) -> Backend:
    if not isinstance(backend, Backend):
        raise InputError(
            f"backend is {shown(backend)}; expected a name ({', '.join(_registry().backends)}) or an object with "
            "name, capabilities, unavailable and solve."
        )
    return backend
