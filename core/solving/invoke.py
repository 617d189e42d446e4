"""Calling a backend: with what it says it takes, here or in a child, and whatever goes wrong in there is an answer."""

from typing import Any

from cvxrobust.core.conic.program import ConicProgram, require_cones
from cvxrobust.core.contracts.backend import Backend, Monitor, require_available
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.kit.calls import call_backend
from cvxrobust.core.kit.verdict import judged
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.isolation import solve_isolated
from cvxrobust.core.solving.judging.sanitize import asked

ISOLATED_ROWS = 20_000
"""Programmes with more rows are solved in a child process, which can be stopped even while it sets them up."""


def invoke(
    backend: Backend,
    isolated: str | None,
    program: Any,
    settings: Settings,
    monitor: Monitor,
    warm: Solution | None = None,
) -> Solution:
    """What a backend makes of a programme; of a conic one, as far as it holds on the programme as given.

    Args:
        backend: The backend.
        isolated: The name by which a child process finds it; None if it has none.
        program: The programme.
        settings: How to solve.
        monitor: Says when to stop.
        warm: A solution to start from, for backends that can.

    Raises:
        CvxRobustError: The caller made the mistake, says the backend.
    """
    apart = isolated is not None and isinstance(program, ConicProgram) and program.b.size > ISOLATED_ROWS

    def ask() -> Any:
        if apart and isolated is not None:
            return solve_isolated(isolated, program, settings, monitor, warm)
        return call_backend(backend, program, settings, monitor, warm)

    found = asked(backend, ask, program, settings)
    if isinstance(program, ConicProgram):
        return judged(program, found, max(settings.tolerance, backend.capabilities.tightest_tolerance))
    return found


def solve_conic(
    program: ConicProgram, backend: Backend, settings: Settings, monitor: Monitor | None = None
) -> Solution:
    """Solve a conic programme of whatever origin: what the backend says, checked on the programme as given.

    Args:
        program: The programme.
        backend: A backend that reads conic programmes, from `get_backend`.
        settings: How to solve.
        monitor: Says when to stop.

    Returns:
        The answer. Where its own numbers do not support what the backend called it, "numerical", with the reason.

    Raises:
        UnsupportedProgramError: The programme has a cone that the backend lacks.
        BackendUnavailableError: The backend cannot run here.
        InputError: The backend refuses the settings.
    """
    require_cones(program, backend.capabilities.cones, backend.name)
    require_available(backend, settings)
    return invoke(backend, None, program, settings, monitor or Monitor.within(settings.time_limit))
