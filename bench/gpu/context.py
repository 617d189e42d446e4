"""What a part is told, and the file that its rows go to."""

import json
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TableRow = dict[str, Any]
"""Names and values of one line of a table; ``"table"`` says which, where a part has several."""


@dataclass(frozen=True)
class Context:
    """Where a part runs, and how much of everything it may take.

    Args:
        device: ``"cuda"``, or ``"cpu"`` for a rehearsal.
        rehearsal: Small sizes, loose tolerances.
        seconds: What the part may take.
        inputs: Folder of what was brought along.
        threads: Threads of PyTorch.
        began: When the part's process was started, on the clock `time.monotonic`, which all processes share.
    """

    device: str
    rehearsal: bool
    seconds: float
    inputs: Path
    threads: int
    began: float = field(default_factory=time.monotonic)

    def size(self, whole: int, small: int) -> int:
        """A size, or what stands for it in a rehearsal."""
        return small if self.rehearsal else whole

    def left(self, share: float = 1.0) -> float:
        """Seconds that a solve may take: a share of what is left, less what ending it in order takes."""
        spare = 1.0 if self.rehearsal else 5.0
        return max(1.0, share * (self.seconds - (time.monotonic() - self.began) - spare))

    def synchronize(self) -> None:
        """Wait until the device has done what it was told."""
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize()


Rows = Callable[[Context], Iterable[TableRow]]


def append(path: Path, row: TableRow) -> None:
    """Put a row on the disk, for good, before anything else happens."""
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        # What a killed process left unfinished must not swallow this row.
        torn = size > 0 and file.read(1) != b"\n"
        file.write((b"\n" if torn else b"") + json.dumps(row, default=str).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[TableRow]:
    """The rows of a file; a last line that a killed process left unfinished is left out."""
    rows: list[TableRow] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def solved(result: Any, seconds: float, **facts: Any) -> TableRow:
    """The row of one solve: what was certified, and when each gap was."""
    certificate = result.certificate
    reached = {}
    for gap in (1e-1, 1e-2, 1e-3):
        times = (p.elapsed for p in result.trace if p.upper - p.lower <= gap * abs(p.upper))
        reached[f"s to {gap:.0e}"] = next(times, None)
    return facts | {
        "termination": str(result.termination),
        "certified gap": certificate.relative_gap,
        "lower": certificate.lower,
        "upper": certificate.upper,
        "iterations": result.iterations,
        **reached,
        "seconds": seconds,
    }
