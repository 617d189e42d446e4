"""What a run ran on and with."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cvxrobust.core.files import write_whole

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("core", "problems", "backends", "bench")


def write_manifest(path: Path, device: str, rehearsal: bool, threads: int) -> None:
    """Write down the machine, the versions, the threads and the code."""
    import torch

    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "rehearsal": rehearsal,
        "device": device,
        "name": "CPU",
        "driver": None,
        "cuda": torch.version.cuda,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in ("torch", "numpy", "scipy", "scikit-learn")},
        "commit": _told("git", "-C", str(ROOT), "rev-parse", "HEAD"),
        "sources": _digest(),
    }
    if device.startswith("cuda"):
        properties: Any = torch.cuda.get_device_properties(device)
        found["name"] = properties.name
        found["memory, GiB"] = round(properties.total_memory / 2**30, 1)
        found["driver"] = _told("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    write_whole(path, json.dumps(found, indent=2) + "\n")


def _digest() -> str:
    """Of all Python files: what ran, also where the copy of the code has no history."""
    seen = hashlib.sha256()
    for path in sorted(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")):
        seen.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return seen.hexdigest()[:16]


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _told(*command: str) -> str | None:
    """What a command prints; None where it is missing or fails."""
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20.0)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip().splitlines()[0] if found.stdout.strip() else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or sys.platform
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
