"""Tables that are made from the code whenever the site is built: what backends read, what problems take."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from cvxrobust import AdversarialReLU, AdversarialSDP, Batches, ConvexReLU, JointSDP, StandardSDP, StreamedSDP, backends
from cvxrobust.core.contracts.backend import Backend
from cvxrobust.core.errors import CvxRobustError
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.core.programs.gated.formulations import FORMULATIONS
from cvxrobust.core.solving.structure import Structure
from sitetools.measured import MEASURED

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 3))
SCORES = X @ [1.0, -1.0, 0.5]
TARGETS: Mapping[bool, Any] = {True: np.where(SCORES > 0.0, 1.0, -1.0), False: SCORES}
"""What problems are made of, by whether the loss is one of margins."""

CLASSES = np.arange(12) % 3


def relu(family: Callable[..., Any], formulation: str, **attacked: float) -> Callable[[str], Any]:
    """What makes a small ReLU problem with a loss."""
    return lambda loss: family(X, targets(loss), loss=loss, n_gates=4, formulation=formulation, **attacked)


PROBLEMS: Mapping[str, Callable[[str], Any]] = {
    "`StandardSDP`": lambda loss: StandardSDP(X, targets(loss), loss=loss),
    "`AdversarialSDP`": lambda loss: AdversarialSDP(X, targets(loss), radius=0.1, loss=loss),
    "`AdversarialSDP`, norm inf": lambda loss: AdversarialSDP(X, targets(loss), radius=0.1, norm="inf", loss=loss),
    "`StreamedSDP`": lambda loss: StreamedSDP(Batches([(X, targets(loss))]), radius=0.1, loss=loss),
    "`JointSDP`": lambda loss: JointSDP(X, CLASSES, radius=0.1, loss=loss),
    **{f"`ConvexReLU`, {name}": relu(ConvexReLU, name) for name in FORMULATIONS},
    **{f"`AdversarialReLU`, {name}": relu(AdversarialReLU, name, radius=0.1) for name in FORMULATIONS},
}
"""A small one of each kind, with a loss of one's own."""

AS_IT_IS, AS_CONES, NOT = "**itself**", "cones", ""


def targets(loss: str) -> Any:
    """Labels, or numbers, as a loss wants them."""
    return TARGETS[LOSSES[loss].margin]


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines) + "\n"


@cache
def made(kind: str, loss: str) -> Any:
    """A small problem; None where its family refuses the loss."""
    try:
        return PROBLEMS[kind](loss)
    except CvxRobustError:
        return None


def way(problem: Any, backend: Backend) -> str:
    """How a backend reads a problem: its structure as it is, its cones, or not at all."""
    structure = Structure(problem.parts[0])
    if structure.read_by(backend) is not None:
        return AS_IT_IS
    part = structure.part
    return AS_CONES if part.conic_rows and part.cones <= backend.capabilities.cones else NOT


def own_backends() -> dict[str, Backend]:
    """Those that ship, by name."""
    return {name: one for name, one in backends().items() if type(one).__module__.startswith("cvxrobust.")}


def losses_of_problems() -> str:
    """Which losses each family takes."""
    rows = ((kind, *("yes" if made(kind, loss) else "" for loss in LOSSES)) for kind in PROBLEMS)
    return markdown(["problem", *(f"`{loss}`" for loss in LOSSES)], rows)


def backends_of_problems() -> str:
    """Which backend reads which family, and how, with the first loss that the family takes."""

    def cells(kind: str) -> list[str]:
        problem = next(filter(None, (made(kind, loss) for loss in LOSSES)))
        return [kind, *(way(problem, backend) for backend in own_backends().values())]

    return markdown(["problem", *(f"`{name}`" for name in own_backends())], map(cells, PROBLEMS))


def capabilities() -> str:
    """What each backend says of itself."""

    def words(names: Iterable[object]) -> str:
        return ", ".join(sorted(map(str, names))) or "none"

    def cells(name: str, backend: Backend) -> list[str]:
        able = backend.capabilities
        known = (able.structured, able.devices)
        cones = (cone.__name__ for cone in able.cones)
        flags = (able.warm_start, able.monitored, able.needs_licence)
        reads, runs = (words(one) for one in known)
        said = [f"`{name}`", able.method, words(cones), reads, f"{able.tightest_tolerance:g}", runs]
        return said + ["yes" if has else "no" for has in flags]

    columns = ["backend", "method", "cones", "structured programmes", "tightest tolerance", "devices"]
    columns += ["warm starts", "reports progress", "needs a licence"]
    return markdown(columns, [cells(name, one) for name, one in own_backends().items()])


def structured_capabilities() -> str:
    """What the backends that read structure know in it."""

    def cells(name: str, backend: Backend) -> list[str]:
        able = backend.capabilities
        known = (able.losses, able.attacks, able.gated_attacks, able.multiclass)
        return [f"`{name}`", *(", ".join(sorted(one)) for one in known), "yes" if able.weights else "no"]

    rows = [cells(name, one) for name, one in own_backends().items() if one.capabilities.structured]
    columns = ["backend", "losses", "attacks on polynomial networks", "attacks on ReLU networks", "several classes"]
    return markdown([*columns, "weights of samples"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "losses-of-problems": losses_of_problems,
    "backends-of-problems": backends_of_problems,
    "capabilities": capabilities,
    "structured-capabilities": structured_capabilities,
    **MEASURED,
}
"""By the name that a page asks for."""
