"""Which versions of packages are installed here."""

from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version


def installed(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those that are installed."""
    return {package: known for package in packages if (known := _version(package)) is not None}


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except (PackageNotFoundError, ValueError):
        return None
