"""Packages that only some features need: asked for before any work, by the name of what is installed for them."""

from importlib.util import find_spec

from cvxrobust.core.errors import MissingExtraError


def has(module: str) -> bool:
    """Whether a package can be imported here; nothing is."""
    try:
        return find_spec(module) is not None
    except ValueError:  # it is imported already, and was made by hand
        return True


def require(module: str, extra: str, what: str) -> None:
    """Refuse what cannot be done without a package that an extra of this one brings.

    Args:
        module: What will be imported, such as ``"matplotlib"``.
        extra: The extra that brings it, such as ``"plot"``.
        what: What needs it, in the plural, such as ``"pictures"``.

    Raises:
        MissingExtraError: It is not installed.
    """
    if not has(module):
        raise MissingExtraError(what, module, extra)
