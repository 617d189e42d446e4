"""What ran where: memory and versions, for results and reports."""

import sys
from importlib.metadata import PackageNotFoundError, version


def peak_memory() -> int:
    """High-water mark of this process's resident memory in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        pass
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


def versions(backend: str) -> dict[str, str]:
    """Versions of what took part."""
    found = {"python": sys.version.split()[0]}
    for package in ("cvxrobust", "numpy", "scipy", backend):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
