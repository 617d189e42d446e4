"""What ran where: memory and versions, for results and reports."""

import os
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version


def peak_memory() -> int:
    """High-water mark of resident memory, of this process or of a solver's child, in bytes; 0 where unknown."""
    peak = 0
    try:
        with open("/proc/self/status") as status:
            peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration, ValueError):
        pass
    if sys.platform == "win32":
        return peak
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    usages = [resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return int(max(peak, *usages))


def cpu_seconds() -> float:
    """CPU seconds of this process and of its children that have ended, all threads together."""
    children = os.times()  # in hundredths of a second, which is too coarse for what this process does
    return time.process_time() + children.children_user + children.children_system


@cache
def total_memory() -> float:
    """Bytes of memory that this process may use: the machine's, or its control group's if that is less."""
    import psutil

    total = float(psutil.virtual_memory().total)
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as limit:
                total = min(total, float(limit.read()))
        except (OSError, ValueError):
            continue  # no such group, or "max"
    return total


def versions(backend: str) -> dict[str, str]:
    """Versions of what took part."""
    known = {package: installed_version(package) for package in ("cvxrobust", "numpy", "scipy", backend)}
    return {"python": sys.version.split()[0]} | {name: found for name, found in known.items() if found is not None}


@cache
def installed_version(package: str) -> str | None:
    """The installed version or None, read once: parsing metadata takes longer than a small solve can spare."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
