"""Orders in which the samples' coupling of a gated programme can be solved (`gated.coupling`), and what they cost."""

from typing import Literal

Order = Literal["slots", "samples", "both"]


def work(samples: int, slots: int, sums: int | None = None) -> dict[Order, float]:
    """Multiplications for each order that there is.

    Args:
        samples: Number of samples, times outputs.
        slots: Length of what the samples see of the slots.
        sums: Length of the sums over slots with equal gates, where samples see more than one direction of them; None
            where they do not.
    """
    n, m = float(samples), float(slots)
    found: dict[Order, float] = {"slots": 0.5 * n * m**2 + m**3 / 6.0}
    by_samples = 0.5 * n**2 * m + n**3 / 6.0
    if sums is None:
        found["samples"] = by_samples
        return found
    q = float(sums)
    found["both"] = by_samples + 0.5 * n * q**2 + q**3 / 6.0 + 2.0 * n * m**2 / max(1.0, q)
    return found
