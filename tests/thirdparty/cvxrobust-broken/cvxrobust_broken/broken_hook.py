"""Calls its hook `cvxrobust_backend`, without the s."""

from cvxrobust.core import BackendDescription, hookimpl


@hookimpl
def cvxrobust_backend() -> list[BackendDescription]:
    """No hook has this name."""
    return []
