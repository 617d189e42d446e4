"""Imports its solver at the top, and the solver is not installed."""

import a_solver_that_is_not_installed  # noqa: F401

from cvxrobust.core import BackendDescription, hookimpl


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """Never asked for."""
    return []
