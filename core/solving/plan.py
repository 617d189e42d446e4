"""Which ways could answer a problem, and in which order they are tried.

A way is a backend with a method. Whoever names a backend gets that way and no other. ``backend="auto"`` gets all that
are able, in the order of what they say they would cost (`cvxrobust.core.contracts.estimate`): that depends on sizes
alone, so that answers are reproducible. `cvxrobust.core.solving.session` then tries one after the other until the gap
asked for is certified; the clock only decides when to go on to the next.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from cvxrobust.core.arguments import word
from cvxrobust.core.conic.program import require_cone_types
from cvxrobust.core.contracts.backend import Backend, require_available, require_settings, why_unavailable
from cvxrobust.core.contracts.estimate import (
    ConicSize,
    Estimate,
    Estimates,
    MasterWork,
    Sized,
    SizedMasters,
    estimated,
)
from cvxrobust.core.contracts.problem import Problem, RobustProblem
from cvxrobust.core.contracts.structured import require_parts
from cvxrobust.core.contracts.weight import Weighed
from cvxrobust.core.discovery.registry import backends, get_backend, plugins
from cvxrobust.core.environment import total_memory
from cvxrobust.core.errors import InputError, PluginError, TooLargeError, UnsupportedProgramError
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.structure import Structure

METHODS = ("auto", "direct", "cutting-set")

DIRECT_ROWS = 5_000
"""Rows of a direct programme above which the cutting-set method comes first for robust problems."""

ROUNDS = 12
"""Masters that it takes from nothing, about; each has two psd matrices, and no inequality of a sample's own."""

JUDGED = 2.0
"""Looks at a network that it takes to write a conic programme and to judge its answer: cones under attack are searched
one by one before, and their multipliers repaired after."""

MEMORY_SHARE = 0.8
"""Of the machine's memory that a way may need to be tried."""


@dataclass(frozen=True)
class Way:
    """A backend with a method.

    Args:
        backend: The backend.
        method: ``"direct"`` or ``"cutting-set"``.
        isolated: The name by which a child process finds the backend; None if it has none.
        estimate: What it would cost; None where nobody knows.
        hands_over: Whether it leaves the last digits to the next, as the caller asked (``polish``).
    """

    backend: Backend
    method: str
    isolated: str | None = None
    estimate: Estimate | None = None
    hands_over: bool = False

    @property
    def name(self) -> str:
        """Backend and method."""
        return f"{self.backend.name}/{self.method}"


@dataclass(frozen=True)
class Plan:
    """What a call of `solve` will try.

    Args:
        ways: One after the other, until one has certified the gap asked for.
        settings: For each way: native options are for the backend that the caller named.
        structure: The first part, whose structured programme the ways were chosen by.
        reasons: What was picked where the choice was left open, and why.
    """

    ways: tuple[Way, ...]
    settings: tuple[Settings, ...]
    structure: Structure[Any]
    reasons: str = ""


def check_method(method: str) -> None:
    """Refuse what is no way to solve.

    Raises:
        UnknownNameError: It is none.
    """
    word(method, "method", METHODS)


def is_open(backend: object) -> bool:
    """Whether the caller leaves it open which backend solves."""
    return isinstance(backend, str) and backend == "auto"


def make_plan(
    problem: Problem[Any],
    backend: str | Backend,
    method: str,
    settings: Settings,
    polish: bool | str | Backend | None,
) -> Plan:
    """Decide what the caller left open, and refuse everything that can be refused before any work.

    Args:
        problem: The problem; its parts are alike, so the first stands for all.
        backend: A name, an object, or ``"auto"``.
        method: ``"direct"``, ``"cutting-set"`` or ``"auto"``.
        settings: Those of the call.
        polish: As for `solve`.

    Raises:
        UnknownNameError: There is no such backend, method or native option.
        BackendUnavailableError: A backend that was named cannot run here.
        UnsupportedProgramError: It does not read the programme, or no available backend does.
        InputError: The problem has no masters to polish with.
        TooLargeError: No way fits into memory.
    """
    check_method(method)
    structure = Structure(problem.parts[0])
    if not is_open(backend):
        ways, reasons = _named(structure, get_backend(backend), method)
        ways = [replace(way, isolated=isolatable(backend, way.backend)) for way in ways]
    else:
        # Native options are some solver's own: who gives them has not left open which one reads them.
        by_structure = not settings.options and not polish
        ways, reasons = _open(structure, method, settings, structured=by_structure, polish=polish)
    for way in ways[:1]:
        _check(type(problem).__name__, structure, way, settings)
    chosen = [settings] + [settings.replace(options={})] * (len(ways) - 1)
    if polish is not None and polish is not False:
        polisher, why = _polisher(structure.part, polish, settings)
        ways = [replace(ways[0], hands_over=True), polisher]
        chosen = [settings, settings.replace(options={})]
        reasons = "; ".join(filter(None, (reasons, why)))
    return Plan(tuple(ways), tuple(chosen), structure, reasons)


# -- ways of a backend that was named --------------------------------------------------------------------------------


def _named(structure: Structure[Any], backend: Backend, method: str) -> tuple[list[Way], str]:
    if method != "auto":
        return [Way(backend, method)], ""
    if structure.read_by(backend) is not None:
        return [Way(backend, "direct")], "method direct: the backend reads the problem's own structure"
    method, reason = _method(structure.part)
    return [Way(backend, method)], reason


def _method(part: Problem[Any]) -> tuple[str, str]:
    """The method for a conic backend."""
    rows = part.conic_rows
    if not isinstance(part, RobustProblem):
        return "direct", f"method direct: the only one for {type(part).__name__} ({rows} rows)"
    method = "cutting-set" if rows > DIRECT_ROWS else "direct"
    return method, f"method {method}: the direct programme has {rows} rows (limit {DIRECT_ROWS})"


def _polisher(part: Problem[Any], asked: Literal[True] | str | Backend, settings: Settings) -> tuple[Way, str]:
    """Who polishes, and why where the choice was left open."""
    if not isinstance(part, RobustProblem):
        raise InputError(
            f"{type(part).__name__} offers no exact worst case, so no masters can polish it; leave polish out."
        )
    own = settings.replace(options={})
    if asked is True:
        way = _conic_ways(part, "cutting-set")[0]
        why = f"polish by backend {way.backend.name}: {way.backend.capabilities.method or 'available'}"
    else:
        backend = get_backend(asked)
        way, why = Way(backend, "cutting-set", isolatable(asked, backend)), ""
    require_available(way.backend, own)
    require_cone_types(part.cones, way.backend.capabilities.cones, way.backend.name)
    if not way.backend.capabilities.duals:
        raise UnsupportedProgramError(
            f"backend {way.backend.name!r} returns no dual variables, which masters need; polish with another."
        )
    require_settings(way.backend, own)
    return way, why


def _check(name: str, structure: Structure[Any], way: Way, settings: Settings) -> None:
    """Refuse a way that cannot be gone; `name` is that of the kind of problem."""
    backend, part = way.backend, structure.part
    require_available(backend, settings)
    if way.method == "cutting-set" or structure.read_by(backend) is None:
        known = structure.of_its_kind(backend) if way.method != "cutting-set" else None
        if known is not None and not (part.conic_rows and part.cones <= backend.capabilities.cones):
            require_parts(known, backend.capabilities, backend.name)
        if part.conic_rows == 0:
            raise UnsupportedProgramError(
                f"{name} has no conic programme, and backend {backend.name!r} does not read its "
                'structure; leave the choice to backend="auto".'
            )
        require_cone_types(part.cones, backend.capabilities.cones, backend.name)
    require_settings(backend, settings)
    if way.method == "cutting-set" and not backend.capabilities.duals:
        raise UnsupportedProgramError(
            f"backend {backend.name!r} returns no dual variables, which method 'cutting-set' needs; use 'direct'."
        )


# -- all ways ---------------------------------------------------------------------------------------------------------


def _open(
    structure: Structure[Any], method: str, settings: Settings, *, structured: bool, polish: bool | str | Backend | None
) -> tuple[list[Way], str]:
    """The ways of ``"auto"``, the most promising first."""
    part = structure.part
    # Where there is no conic programme, options can only be meant for who reads the structure.
    alone = part.conic_rows == 0
    readers = _structured_ways(structure) if (structured or alone) and method != "cutting-set" else []
    conic = _conic_ways(part, method) if part.conic_rows > 0 else []
    if not readers and not conic:
        if part.conic_rows == 0:
            raise UnsupportedProgramError(
                f"{type(part).__name__} has no conic programme, and no available backend reads its structure; "
                "see `cvxrobust backends doctor`."
            )
        names = ", ".join(sorted(cone.__name__ for cone in part.cones))
        raise UnsupportedProgramError(f"no available backend reads the cones {names}; see `cvxrobust backends doctor`.")
    if not structured:
        # Options decide which solver reads them, and a polisher is a second way already.
        conic, readers = conic[:1], sorted(_accepting(readers, settings), key=_expected)[:1]
    ways = sorted([*readers, *conic], key=_expected)
    memory = total_memory()
    fitting = [way for way in ways if way.estimate is None or way.estimate.memory <= MEMORY_SHARE * memory]
    if not fitting:
        least = min(way.estimate.memory for way in ways if way.estimate is not None)
        raise TooLargeError(
            f"{type(part).__name__} needs about {least / 2**30:.1f} GiB by the most frugal way "
            f"({', '.join(way.name for way in ways)}), and this machine has {memory / 2**30:.1f} GiB; use fewer "
            "samples, inputs or gates, stream the data (StreamedSDP), or name a backend to try all the same."
        )
    if polish is False:
        fitting = [way for way in fitting if not _after_a_first(way, fitting)]
    return fitting, _said(fitting, structure)


def _accepting(ways: list[Way], settings: Settings) -> list[Way]:
    """The ways whose backends know these settings; all where none does, so that the first may say what is wrong."""
    found = []
    for way in ways:
        try:
            require_settings(way.backend, settings)
        except (InputError, PluginError):
            continue
        found.append(way)
    return found or ways


def _expected(way: Way) -> float:
    return float("inf") if way.estimate is None else way.estimate.seconds


def _after_a_first(way: Way, ways: list[Way]) -> bool:
    """Whether masters have somebody who closes the gap by himself before them."""
    return way.method == "cutting-set" and any(other.method == "direct" for other in ways)


def _structured_ways(structure: Structure[Any]) -> list[Way]:
    """Backends that read the problem's own structure."""
    found = []
    for backend in backends().values():
        program = structure.read_by(backend)
        if program is None or why_unavailable(backend) is not None:
            continue
        cost = estimated(backend, program)
        if cost is not None or not isinstance(backend, Estimates):
            found.append(Way(backend, "direct", isolatable("auto", backend), cost))
    return found


def _conic_ways(part: Problem[Any], method: str) -> list[Way]:
    """Backends that read every cone: the direct programme, and masters where there are any.

    Interior points are accurate and, at the sizes that reach here, also the fastest to a tight certified gap; others
    only step in where none of them is available.

    Raises:
        UnsupportedProgramError: No available backend reads the cones needed.
    """
    able = [b for b in backends().values() if part.cones <= b.capabilities.cones and why_unavailable(b) is None]
    if not able:
        return []
    chosen = next((b for b in able if b.capabilities.method == "interior-point"), able[0])
    isolated = isolatable("auto", chosen)
    size = part.conic_size if isinstance(part, Sized) else None
    cost = None if size is None else estimated(chosen, size)
    if cost is not None and isinstance(part, Weighed):
        cost = replace(cost, seconds=cost.seconds + JUDGED * part.look)
    methods = [method] if method != "auto" else ["direct"]
    if method == "auto" and isinstance(part, RobustProblem):
        # In the order in which they are tried where nobody knows what they cost.
        methods = ["cutting-set", "direct"] if part.conic_rows > DIRECT_ROWS else ["direct", "cutting-set"]
    costs = {"direct": cost, "cutting-set": None}
    if "cutting-set" in methods and size is not None and size.orders:
        costs["cutting-set"] = _masters(part, size, chosen)
    return [Way(chosen, name, isolated, costs[name]) for name in methods]


def _masters(part: Problem[Any], size: ConicSize, backend: Backend) -> Estimate | None:
    """What masters would cost, from nothing."""
    work = MasterWork(replace(size, orders={max(size.orders): 2}), ROUNDS)
    if isinstance(part, SizedMasters):
        work = part.master_work
    master = estimated(backend, work.size)
    if master is None:
        return None
    return Estimate(work.rounds * (master.seconds + work.look), master.memory, master.seconds + work.look)


def _said(ways: list[Way], structure: Structure[Any]) -> str:
    """What was picked and why, in words."""
    (first, *rest), part = ways, structure.part
    what = (
        "reads the problem's own structure"
        if first.method == "direct" and structure.read_by(first.backend) is not None
        else f"{first.backend.capabilities.method or 'available'}, reads every cone needed"
    )
    size = f"the conic programme of {type(part).__name__} has {part.conic_rows} rows"
    size = size if part.conic_rows else f"the only one for {type(part).__name__}"
    words = [f"backend {first.backend.name}: {what}", f"method {first.method}: {size}"]
    if first.estimate is not None:
        words[0] += f", about {_seconds(first.estimate.seconds)} by its estimate"
    if rest:
        words.append("if it falls short: " + ", ".join(way.name for way in rest))
    return "; ".join(words)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1g} s" if seconds < 10.0 else f"{seconds:.0f} s"


# -- who reads what ---------------------------------------------------------------------------------------------------


def reads(backend: Backend, problem: Problem[Any]) -> bool:
    """Whether a backend can solve a problem directly: it reads its structure, or every cone of its programme."""
    part = problem.parts[0]
    structured = Structure(part).read_by(backend) is not None
    return structured or (part.conic_rows > 0 and part.cones <= backend.capabilities.cones)


def conic_backend(part: Problem[Any]) -> Backend:
    """The backend that ``"auto"`` takes for the conic programme of a single problem.

    Raises:
        UnsupportedProgramError: No available backend reads the cones needed.
    """
    ways = _conic_ways(part, "direct")
    if not ways:
        names = ", ".join(sorted(cone.__name__ for cone in part.cones))
        raise UnsupportedProgramError(f"no available backend reads the cones {names}; see `cvxrobust backends doctor`.")
    return ways[0].backend


def isolatable(asked: str | Backend, chosen: Backend) -> str | None:
    """The name by which a fresh interpreter finds the backend too: only installed plugins have one."""
    if not isinstance(asked, str):
        return None
    name = chosen.name if asked == "auto" else asked
    installed = {known for record in plugins() if record.distribution for known in record.backends}
    return name if name.partition(":")[0] in installed else None


def reports_bounds(way: Way) -> bool:
    """Whether a way says how it gets on: what reads structure, and masters, report bounds."""
    return way.method == "cutting-set" or bool(way.backend.capabilities.structured)
