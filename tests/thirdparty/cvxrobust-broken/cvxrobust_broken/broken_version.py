"""Was written for a plugin interface that is no more."""

from typing import Any

from cvxrobust.core import BackendDescription, hookimpl


def _never_made() -> Any:
    raise AssertionError("nobody can ask for this backend")


@hookimpl
def cvxrobust_backends() -> list[BackendDescription]:
    """The version says what the author knew."""
    return [BackendDescription("from-the-past", _never_made, "written for another interface", api_version=0)]
