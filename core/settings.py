"""Settings: one vocabulary for every backend."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from cvxrobust.core.errors import InputError, UnknownNameError

DTYPES = ("float64", "float32")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Settings:
    """How to solve; what to solve is the problem's business.

    Each backend translates these into its own names. What it has no use for is reported in
    ``Result.ignored``, never dropped in silence.

    Args:
        tolerance: Relative certified gap to reach, ``(upper - lower) / upper``.
        max_iterations: Iterations of the solver (of rounds, for the cutting-set method); None leaves the
            backend's own limit.
        time_limit: Wall-clock seconds for the whole call of ``solve``; None for no limit.
        threads: Threads of the solver and of BLAS; None leaves the machine's default. One where a time limit makes a
            solve run in a child (`cvxrobust.core.solving.supervision`).
        seed: Seed of everything random.
        device: ``"cpu"``, ``"cuda"``, ``"mps"`` or ``"auto"``, for backends that have a choice.
        dtype: Precision of the iterates, ``"float64"`` or ``"float32"``; certificates are always float64.
        verbose: Say how far it is: a line for every report of a backend, and for all that is certified, by the logger
            ``cvxrobust`` or, where logging is not configured, on standard error; in a notebook in place. Solvers that
            print something of their own do, but for masters.
        options: The backend's native options, by their native names; an unknown name is an error.

    Raises:
        InputError: A value is out of range.
    """

    tolerance: float = 1e-6
    max_iterations: int | None = None
    time_limit: float | None = None
    threads: int | None = None
    seed: int = 0
    device: str = "auto"
    dtype: str = "float64"
    verbose: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (0 < self.tolerance < 1):
            raise InputError(f"tolerance is {self.tolerance!r}; expected a relative gap between 0 and 1.")
        if self.max_iterations is not None and self.max_iterations < 1:
            raise InputError(f"max_iterations is {self.max_iterations!r}; expected 1 or more, or None.")
        if self.time_limit is not None and not (self.time_limit > 0 and math.isfinite(self.time_limit)):
            raise InputError(f"time_limit is {self.time_limit!r}; expected seconds above 0, or None.")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads is {self.threads!r}; expected 1 or more, or None.")
        if not re.fullmatch(r"auto|mps|cpu|cuda(:\d+)?", self.device):
            raise UnknownNameError("device", self.device, DEVICES, "A CUDA device may be numbered, as in 'cuda:1'.")
        if self.dtype not in DTYPES:
            raise UnknownNameError("dtype", self.dtype, DTYPES)
        if not all(isinstance(name, str) for name in self.options):
            raise InputError(f"options must be named by strings, got {list(self.options)!r}.")
        # A copy, so that nobody changes it behind our back; a plain dict, so that settings can be sent to workers.
        object.__setattr__(self, "options", dict(self.options))

    def replace(self, **changes: Any) -> "Settings":
        """The same settings with some fields changed."""
        return replace(self, **changes)


def check_options(settings: Settings, known: Mapping[str, Any] | set[str], backend: str) -> None:
    """Refuse native options that the backend does not have.

    Args:
        settings: Their ``options`` are checked.
        known: The backend's native option names.
        backend: The backend's name, for the message.

    Raises:
        UnknownNameError: An option is not among the known ones; the nearest valid name is suggested.
    """
    for name in settings.options:
        if name not in known:
            raise UnknownNameError(f"{backend} option", name, known)
