"""What backends hand back, made safe to judge: it may be anything."""

from dataclasses import replace
from typing import Any

import numpy as np

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.problem import ChangesCoordinates, Problem
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.errors import CvxRobustError, InputError
from cvxrobust.core.networks.base import N


def proved(part: Problem[Any], multipliers: Any) -> tuple[float, str]:
    """What multipliers of whatever origin prove; nothing, and why, if they are none that fit the problem."""
    try:
        return part.lower_bound(multipliers), ""
    except CvxRobustError:
        raise
    except Exception as error:
        return -np.inf, f"multipliers proved nothing: {type(error).__name__}: {error}"


def of_the_right_shape(solution: Any, program: Any) -> Solution:
    """The solution, with vectors that do not fit the programme taken out: nobody can judge those."""
    if not isinstance(solution, Solution):
        return Solution(Termination.ERROR, message=f"the backend returned {type(solution).__name__}, not a Solution")
    if not isinstance(program, ConicProgram):
        return solution
    sizes = {"x": program.q.size, "s": program.b.size, "y": program.b.size}
    fits = {
        name: vector if vector is not None and np.shape(vector) == (size,) else None
        for name, size in sizes.items()
        for vector in [getattr(solution, name)]
    }
    wrong = [name for name, vector in fits.items() if vector is None and getattr(solution, name) is not None]
    if not wrong:
        return solution
    message = f"the backend returned {', '.join(wrong)} of the wrong shape. {solution.message}"
    return replace(solution, termination=Termination.ERROR, message=message, x=fits["x"], s=fits["s"], y=fits["y"])


def start_from(part: Problem[N], network: N) -> Solution:
    """A network as backends that read the structure start from it."""
    start = part.projected(network) if isinstance(part, ChangesCoordinates) else network
    return Solution(Termination.INTERRUPTED, network=start)


def network_of(part: Problem[N], solution: Solution) -> N | None:
    """The network of a backend's answer, None if there is none that fits the problem."""
    if solution.network is None:
        return part.recover(solution) if solution.has_primal else None
    try:
        found = part.lifted(solution.network) if isinstance(part, ChangesCoordinates) else solution.network
        (network,) = part.separate(found)
    except InputError:
        return None
    return network
