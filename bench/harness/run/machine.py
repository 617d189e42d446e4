"""What a run was made on: the machine, and the version of everything that may matter."""

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from cvxrobust.bench.harness.suite.cases import SCHEMA
from cvxrobust.bench.harness.suite.versions import installed

SOLVERS = (
    "clarabel", "scs", "cvxpy", "torch", "mosek", "cvxopt", "ecos", "osqp", "piqp", "proxsuite", "highspy", "qpalm",
    "sdpa-python", "coptpy", "gurobipy", "cplex", "xpress", "diffcp", "qdldl",
)  # fmt: skip
"""Packages whose version is noted where they are installed, besides those of plugins."""

LIBRARIES = ("cvxrobust", "numpy", "scipy", "scikit-learn", "distributed")

PACKAGE = Path(__file__).resolve().parents[3]


def manifest(suite: dict[str, Any], threads: int, n_cases: int) -> dict[str, Any]:
    """What is known about a run before it starts.

    Args:
        suite: The suite as run, without secrets.
        threads: Threads of every solver.
        n_cases: How many cases there are.
    """
    return {
        "schema": SCHEMA,
        "created": now(),
        "suite": suite,
        "cases": n_cases,
        "threads": threads,
        "commit": commit(),
        "versions": versions(),
        "machine": machine(),
    }


def now() -> str:
    """The time, in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def machine() -> dict[str, Any]:
    """The machine: memory in bytes, ``load`` of the last minute when asked."""
    memory = psutil.virtual_memory()
    return {
        "host": platform.node(),
        "os": platform.platform(),
        "cpu": _cpu(),
        "cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "usable_cores": _usable_cores(),
        "memory": int(memory.total),
        "gpus": _gpus(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": _load(),
    }


def versions() -> dict[str, str]:
    """Versions of the libraries, and of every solver and plugin that is installed."""
    from cvxrobust.core.discovery.registry import plugins

    found = plugins()
    names = {*LIBRARIES, *SOLVERS} | {plugin.distribution for plugin in found if plugin.distribution}
    return installed(sorted(names | {backend for plugin in found for backend in plugin.backends}))


def commit() -> str:
    """The commit that this package is at, with ``+changes`` if there are any; empty if it is no checkout."""
    git = shutil.which("git")
    if git is None or not (PACKAGE / ".git").exists():
        return ""
    try:
        found = _ask(git, "rev-parse", "HEAD")
        return found + ("+changes" if _ask(git, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _ask(git: str, *words: str) -> str:
    # Not to take the lock that another git may need.
    command = [git, "--no-optional-locks", "-C", str(PACKAGE), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gpus() -> list[str]:
    """NVIDIA's, by name; read from the driver, because asking a library costs seconds."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model")]
    return found


def _usable_cores() -> int:
    """Those that this process may run on, which containers and schedulers restrict."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
