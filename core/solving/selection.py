"""What `solve` picks where the caller leaves the choice open, and why."""

from typing import Any

from cvxrobust.core.contracts.backend import Backend, Suits
from cvxrobust.core.contracts.problem import Problem, RobustProblem
from cvxrobust.core.discovery.registry import backends, get_backend, plugins
from cvxrobust.core.errors import UnsupportedProgramError

DIRECT_ROWS = 5_000
"""Above this many rows of the direct programme the cutting-set method is picked for robust problems.

There a backend that reads the structure and is then polished is faster still, so `auto` picks that where it can: see
`bench/studies/reports/first_order.md`. Problems without masters keep the conic solvers: nothing would finish what a
first-order method left. Before any of that, `auto` asks the backends that read the structure whether they are made for
this size.
"""


def select(
    part: Problem[Any], backend: str | Backend, method: str, *, polished: bool = False, structured: bool = False
) -> tuple[Backend, str, str]:
    """Pick what the caller left open.

    Args:
        part: A single problem.
        backend: A name, an object, or ``"auto"``.
        method: ``"direct"``, ``"cutting-set"`` or ``"auto"``.
        polished: Whether masters may go on from what a backend that reads the structure finds.
        structured: Whether the choice may fall on a backend that reads the structure and says that the size suits it.

    Returns:
        The backend, the method, and what was picked with the reason (empty if nothing was left open).

    Raises:
        UnsupportedProgramError: No available backend reads the cones needed.
        UnknownNameError: There is no such backend.
    """
    reasons = []
    if backend != "auto" and method == "auto" and reads_structure(get_backend(backend), part):
        return get_backend(backend), "direct", "method direct: the backend reads the problem's own structure"
    if structured and backend == "auto" and method != "cutting-set" and (found := _suited(part)) is not None:
        return found[0], "direct", f"backend {found[0].name}: {found[1]}"
    rows = part.conic_rows
    if backend == "auto" and rows == 0:
        reader = _reader(part, at_any_size=True)
        if reader is None:
            raise UnsupportedProgramError(
                f"{type(part).__name__} has no conic programme, and no available backend reads its structure; "
                "see `cvxrobust backends doctor`."
            )
        return reader, "direct", f"backend {reader.name}: the only kind that {type(part).__name__} has a programme for"
    open_to_all = polished and (backend, method) == ("auto", "auto") and isinstance(part, RobustProblem)
    if open_to_all and rows > DIRECT_ROWS and (reader := _reader(part)) is not None:
        why = f"the conic programme has {rows} rows (limit {DIRECT_ROWS})"
        return reader, "direct", f"backend {reader.name}: reads the problem's own structure, and {why}"
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


def reads(backend: Backend, problem: Problem[Any]) -> bool:
    """Whether a backend can solve a problem directly: it reads its structure, or every cone of its programme."""
    part = problem.parts[0]
    return reads_structure(backend, part) or (part.conic_rows > 0 and part.cones <= backend.capabilities.cones)


def _readers(part: Problem[Any]) -> list[Backend]:
    """The available backends that read a problem's structure."""
    return [b for b in backends().values() if reads_structure(b, part) and b.unavailable() is None]


def _reader(part: Problem[Any], *, at_any_size: bool = False) -> Backend | None:
    """The first of them that is not made for other sizes; or, if asked, the first of all."""
    readers = _readers(part)
    right = [b for b in readers if not isinstance(b, Suits) or b.suits(part.to_structured()) is not None]
    return next(iter(right or (readers if at_any_size else [])), None)


def _suited(part: Problem[Any]) -> tuple[Backend, str] | None:
    """The first backend that says that a problem's structure and size are what it is made for, and why."""
    for reader in _readers(part):
        if isinstance(reader, Suits) and (why := reader.suits(part.to_structured())) is not None:
            return reader, why
    return None


def isolatable(asked: str | Backend, chosen: Backend) -> str | None:
    """The name by which a fresh interpreter finds the backend too: only installed plugins have one."""
    if not isinstance(asked, str):
        return None
    name = chosen.name if asked == "auto" else asked
    installed = {known for record in plugins() if record.distribution for known in record.backends}
    return name if name.partition(":")[0] in installed else None
