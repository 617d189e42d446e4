"""What a part is told, and what it says of a solve."""

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


def solved(result: Any, seconds: float, **facts: Any) -> TableRow:
    """The row of one solve: what was certified, and when each gap was."""
    certificate = result.certificate
    from cvxrobust.bench.metrics import seconds_to

    return facts | {
        "termination": str(result.termination),
        "certified gap": certificate.relative_gap,
        "lower": certificate.lower,
        "upper": certificate.upper,
        "iterations": result.iterations,
        **{f"s to {gap:.0e}": seconds_to(result, gap) for gap in (1e-1, 1e-2, 1e-3)},
        "seconds": seconds,
    }
