"""Runs the parts one after the other, each in a process that can be killed, and keeps what they say."""

import contextlib
import importlib.abc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from cvxrobust.bench.gpu.context import Context
from cvxrobust.bench.gpu.manifest import write_manifest
from cvxrobust.bench.gpu.parts import part
from cvxrobust.bench.gpu.report import write_report
from cvxrobust.bench.studies.common import keep_row

UNNEEDED = ("clarabel", "cvxpy", "matplotlib", "mosek", "plotly", "polars", "pydantic", "scs")
"""What a machine with a GPU may lack; a rehearsal hides it."""
REHEARSAL = 30.0
"""Seconds of a part in a rehearsal."""
LAST_WORDS = 3.0
"""Seconds that are kept for the report."""
LOG = 20_000
"""Characters of a part's own output that are kept."""


@dataclass(frozen=True)
class Plan:
    """One run.

    Args:
        out: Folder of the results.
        inputs: Folder of what was brought along.
        device: A torch device.
        rehearsal: Whether sizes are small.
        seconds: For everything together.
        threads: Of PyTorch; None chooses.
    """

    out: Path
    inputs: Path
    device: str
    rehearsal: bool
    seconds: float
    threads: int | None = None

    @property
    def rows(self) -> Path:
        """Where every part appends its rows."""
        return self.out / "rows.jsonl"

    @property
    def width(self) -> int:
        """Threads of PyTorch: two cores are left to whoever else works for the GPU."""
        return self.threads or max(1, min(16, (os.cpu_count() or 1) - 2))

    def complaint(self) -> str:
        """What stands in the way, with what to do about it; empty if nothing does."""
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            return f"{self.out} is not an empty folder; name a new one with OUT=FOLDER (nothing is overwritten)."
        try:
            import torch
        except ImportError:
            return f"{sys.executable} has no PyTorch; name a Python that has it: make gpu PYTHON=..."
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            return (
                f"PyTorch {torch.__version__} sees no CUDA device; run on a machine that has one, or rehearse: "
                "make gpu-rehearse"
            )
        return ""

    def budget(self, name: str) -> float:
        """Seconds of a part."""
        return REHEARSAL if self.rehearsal else part(name).BUDGET


def run_all(plan: Plan, names: Sequence[str]) -> int:
    """Run parts, write the report; 0 if every part ended by itself without an error, 1 otherwise."""
    plan.out.mkdir(parents=True, exist_ok=True)
    end, fine = time.monotonic() + plan.seconds - LAST_WORDS, True
    write_manifest(plan.out / "manifest.json", plan.device, plan.rehearsal, plan.width)
    for name in names:
        seconds = min(plan.budget(name), end - time.monotonic())
        began = time.monotonic()
        # What the parts before did not use is nobody's: a part's time is part of what its rows mean.
        ended = _run_apart(name, plan, seconds) if seconds > 1.0 else "not run: no time was left"
        took = time.monotonic() - began
        fine = fine and ended == "done"
        keep_row(plan.rows, {"part": name, "table": "parts", "ended": ended, "budget": seconds, "seconds": took})
        print(f"{name:16s} {ended}, {took:.1f} s of {seconds:.0f}", flush=True)
        # After every part, so that whatever happens next there is a report of what was.
        write_report(plan.out)
    print(f"report: {plan.out / 'report.md'}")
    return 0 if fine else 1


def _run_apart(name: str, plan: Plan, seconds: float) -> str:
    """A part in a process of its own; how it ended."""
    command = [sys.executable, "-m", "cvxrobust.bench.gpu", "--part", name]
    command += ["--budget", str(seconds), "--began", str(time.monotonic())]
    command += ["--out", str(plan.out), "--inputs", str(plan.inputs), "--device", plan.device]
    command += ["--threads", str(plan.width), *(["--rehearse"] if plan.rehearsal else [])]
    log = plan.out / f".{name}.log"
    with log.open("wb") as file:
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = child.wait(seconds)
            ended = "done" if code == 0 else f"failed with {code}"
        except subprocess.TimeoutExpired:
            ended = f"killed after {seconds:.0f} s"
        finally:
            # Whatever it started goes with it, and so it does if we are interrupted.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    said = log.read_text(encoding="utf-8", errors="replace")[-LOG:]
    log.unlink()
    with (plan.out / "log.txt").open("a", encoding="utf-8") as record:
        record.write(f"== {name}: {ended}\n{said}\n")
    last = [line for line in said.splitlines() if line.strip()][-1:]
    return f"{ended}: {last[0].strip()[:200]}" if ended.startswith("failed") and last else ended


def run_part(name: str, plan: Plan, seconds: float, began: float) -> None:
    """A part, here and now; its rows go to the file one by one."""
    if plan.rehearsal:
        sys.meta_path.insert(0, _Absent())
    context = Context(plan.device, plan.rehearsal, seconds, plan.inputs, plan.width, began)
    _register()
    for row in part(name).rows(context):
        keep_row(plan.rows, {"part": name} | row)
        print(row, flush=True)


def _register() -> None:
    """Our two backends, where the package is not installed but lies in a checkout."""
    from cvxrobust.core.discovery.registry import backends, register

    for name in ("torch", "ipm"):
        if name not in backends():
            register(import_module(f"cvxrobust.backends.{name}"))


class _Absent(importlib.abc.MetaPathFinder):
    """Hides what a machine with a GPU may lack."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        """Refuse those modules."""
        if fullname.partition(".")[0] in UNNEEDED:
            raise ModuleNotFoundError(f"{fullname} is hidden in a rehearsal: no part may need it", name=fullname)
