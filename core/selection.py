"""What `solve` picks where the caller leaves the choice open, and why."""

from typing import Any

from cvxrobust.core.backend import Backend
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.problem import Problem, RobustProblem
from cvxrobust.core.registry import backends, get_backend

DIRECT_ROWS = 5_000
"""Above this many rows of the direct programme the cutting-set method is picked for robust problems."""


def select(part: Problem[Any], backend: str | Backend, method: str) -> tuple[Backend, str, str]:
    """Pick what the caller left open.

    Args:
        part: A single problem.
        backend: A name, an object, or ``"auto"``.
        method: ``"direct"``, ``"cutting-set"`` or ``"auto"``.

    Returns:
        The backend, the method, and what was picked with the reason (empty if nothing was left open).

    Raises:
        UnsupportedProgramError: No available backend reads the cones needed.
        UnknownNameError: There is no such backend.
    """
    reasons = []
    if backend != "auto" and method == "auto" and reads_structure(get_backend(backend), part):
        return get_backend(backend), "direct", "method direct: the backend reads the problem's own structure"
    rows = part.conic_rows
    if method == "auto":
        if isinstance(part, RobustProblem):
            method = "cutting-set" if rows > DIRECT_ROWS else "direct"
            reasons.append(f"method {method}: the direct programme has {rows} rows (limit {DIRECT_ROWS})")
        else:
            method = "direct"
            reasons.append(f"method direct: the only one for {type(part).__name__} ({rows} rows)")
    if backend != "auto":
        return get_backend(backend), method, "; ".join(reasons)
    needed = part.cones
    candidates = [b for b in backends().values() if needed <= b.capabilities.cones and b.unavailable() is None]
    if not candidates:
        names = ", ".join(sorted(cone.__name__ for cone in needed))
        raise UnsupportedProgramError(f"no available backend reads the cones {names}; see `cvxrobust backends doctor`.")
    # Interior points are accurate and, at the sizes that reach here, also the fastest to a tight certified gap.
    interior = [b for b in candidates if b.capabilities.method == "interior-point"]
    chosen = (interior or candidates)[0]
    reasons.append(f"backend {chosen.name}: {chosen.capabilities.method or 'available'}, reads every cone needed")
    return chosen, method, "; ".join(reasons)


def reads_structure(backend: Backend, part: Problem[Any]) -> bool:
    """Whether a backend reads the structured programme of a single problem, so that nothing need be assembled."""
    readable = backend.capabilities.structured
    return bool(readable) and getattr(part.to_structured(), "kind", None) in readable
