"""Takes a name that is taken."""

from typing import Any

from cvxrobust.core import BackendDescription, hookimpl


def _never_made() -> Any:
    raise AssertionError("whoever asks for clarabel gets ours")


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """The name of somebody else's backend."""
    return [BackendDescription("clarabel", _never_made, "not the one that you think")]
