"""Recognising a programme that was assembled again, on another machine perhaps."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from cvxrobust.core.conic.program import ConicProgram

CLOSE = 1e-9
"""Rounding differs between machines, relative to the sums of the terms' sizes, but never by this much."""


def fingerprint(program: ConicProgram) -> dict[str, Any]:
    """What tells a programme from others, ready for JSON: its shape and cones, and sums that every number enters."""
    u, w = np.cos(np.arange(1, program.q.size + 1)), np.cos(np.arange(1, program.b.size + 1))
    pairs = [
        (program.q @ u, np.abs(program.q).sum()),
        (program.b @ w, np.abs(program.b).sum()),
        (w @ (program.A @ u), np.abs(program.A.data).sum()),
        (program.offset, abs(program.offset)),
    ]
    return {
        "shape": list(program.A.shape),
        "cones": hashlib.sha256(repr(program.cones).encode()).hexdigest()[:32],
        "sums": [[float(value), float(size)] for value, size in pairs],
    }


def is_same(found: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Whether two fingerprints are of the same programme, up to rounding."""
    if (found["shape"], found["cones"]) != (stored["shape"], stored["cones"]):
        return False
    pairs = zip(found["sums"], stored["sums"], strict=True)
    return all(abs(a - b) <= CLOSE * max(size, other) for (a, size), (b, other) in pairs)
