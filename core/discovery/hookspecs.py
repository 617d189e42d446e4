"""The plugin interface (pluggy, entry-point group ``cvxrobust``)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import pluggy

from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.contracts.result import Result

PROJECT = "cvxrobust"
API_VERSION = 1
"""Raised whenever an existing plugin would stop working."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class BackendDescription:
    """A backend that can be listed without importing its solver.

    Args:
        name: The name users type, without a colon.
        factory: Makes the backend; called when it is first used. Takes the variant (what follows the colon in
            ``"cvxpy:CVXOPT"``, None without one) if `variants`, else nothing.
        summary: One line for listings.
        variants: Whether a variant may follow the name.
        api_version: The plugin interface it was written for. Write the number: left out, it is always the installed
            one, and nobody is told when that has moved on.
    """

    name: str
    factory: Callable[..., Backend]
    summary: str = ""
    variants: bool = False
    api_version: int = API_VERSION


@dataclass(frozen=True)
class ProblemDescription:
    """A problem family that can be listed without importing it.

    Args:
        name: The name users type on the command line, e.g. ``"adversarial-sdp"``.
        factory: Returns the problem class.
        summary: One line for listings.
        parameters: Keyword parameters of the class that the command line may pass.
        api_version: The plugin interface it was written for.
    """

    name: str
    factory: Callable[[], Any]
    summary: str = ""
    parameters: tuple[str, ...] = ()
    api_version: int = API_VERSION


@dataclass(frozen=True)
class MetricDescription:
    """A number that benchmarks take from every result.

    Args:
        name: The name users type, e.g. ``"relative-gap"``.
        factory: Returns the function that takes a `Result` to the number; to None where it has no meaning.
        summary: One line for listings.
        unit: ``"s"``, ``"bytes"`` or what it is counted in; empty for a plain number.
        better: Which way is better, for rankings; empty where neither is.
        api_version: The plugin interface it was written for.
    """

    name: str
    factory: Callable[[], Callable[[Result[Any]], float | None]]
    summary: str = ""
    unit: str = ""
    better: Literal["lower", "higher", ""] = "lower"
    api_version: int = API_VERSION


Description = BackendDescription | ProblemDescription | MetricDescription


@hookspec
def cvxrobust_backends() -> Iterable[BackendDescription]:
    """Descriptions of the backends that a plugin offers."""
    return ()


@hookspec
def cvxrobust_problems() -> Iterable[ProblemDescription]:
    """Descriptions of the problem families that a plugin offers."""
    return ()


@hookspec
def cvxrobust_metrics() -> Iterable[MetricDescription]:
    """Descriptions of the metrics that a plugin offers."""
    return ()


HOOKS: dict[str, type[Description]] = {
    "cvxrobust_backends": BackendDescription,
    "cvxrobust_problems": ProblemDescription,
    "cvxrobust_metrics": MetricDescription,
}
"""What each hook yields."""


class DescribedPlugin:
    """A plugin of one description, around which nobody wrote a hook.

    Args:
        description: What it offers.
    """

    def __init__(self, description: Description) -> None:
        self._description = description

    @hookimpl
    def cvxrobust_backends(self) -> list[BackendDescription]:
        """It, if it is of a backend."""
        return [self._description] if isinstance(self._description, BackendDescription) else []

    @hookimpl
    def cvxrobust_problems(self) -> list[ProblemDescription]:
        """It, if it is of a problem family."""
        return [self._description] if isinstance(self._description, ProblemDescription) else []

    @hookimpl
    def cvxrobust_metrics(self) -> list[MetricDescription]:
        """It, if it is of a metric."""
        return [self._description] if isinstance(self._description, MetricDescription) else []
