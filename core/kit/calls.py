"""Between whoever solves and a backend: what it is given, and what a structured one takes of that."""

from typing import Any, TypeVar

from cvxrobust.core.contracts.backend import Backend, Capabilities, Monitor
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.contracts.structured import require_parts
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.networks.base import TwoLayerNetwork
from cvxrobust.core.settings import Settings

K = TypeVar("K", bound=TwoLayerNetwork)


def call_backend(
    backend: Backend,
    program: Any,
    settings: Settings,
    monitor: Monitor | None = None,
    warm_start: Solution | None = None,
) -> Solution:
    """What a backend answers, given as much of the rest as its capabilities say that it takes.

    Args:
        backend: The backend; whatever it raises is raised, whatever it returns is returned.
        program: What it is to solve.
        settings: How.
        monitor: Says when to stop, if it can be stopped.
        warm_start: A solution to start from, if it can.
    """
    optional: dict[str, Any] = {}
    if monitor is not None and backend.capabilities.monitored:
        optional["monitor"] = monitor
    if warm_start is not None and backend.capabilities.warm_start:
        optional["warm_start"] = warm_start
    return backend.solve(program, settings, **optional)


def require_structured(program: Any, capabilities: Capabilities, backend: str) -> None:
    """Refuse what is no structured programme of a kind that a backend reads, or has a part that it does not know.

    Raises:
        UnsupportedProgramError: Names what it reads: kinds, or losses, weights, attacks or strategies of classes in
            these.
    """
    kinds = sorted(capabilities.structured, reverse=True)
    if (kind := getattr(program, "kind", None)) not in kinds:
        kinds += ["conic"] if capabilities.cones else []
        read = " and ".join(filter(None, [", ".join(kinds[:-1]), *kinds[-1:]]))
        given = type(program).__name__ + (f" of the kind {kind!r}" if kind else "")
        raise UnsupportedProgramError(
            f"backend {backend!r} reads {read} programmes, not {given}; "
            "choose another backend, see `cvxrobust backends list`."
        )
    require_parts(program, capabilities, backend)


def network_to_start_from(warm_start: Solution | None, kind: type[K]) -> K | None:
    """The network of a warm start; None if there is none, or it is of another kind."""
    network = None if warm_start is None else warm_start.network
    return network if isinstance(network, kind) else None
