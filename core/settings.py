"""Settings: one vocabulary for every backend."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cvxrobust.core.arguments import changed, flag, number, whole, word
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.strangers import shown

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
        number(self.tolerance, "tolerance", "a relative gap between 0 and 1", lambda gap: 0.0 < gap < 1.0)
        checked_time_limit(self.time_limit)
        for name in ("max_iterations", "threads"):
            if (count := getattr(self, name)) is not None:
                whole(count, name, 1, otherwise=", or None")
        whole(self.seed, "seed", 0)
        if not isinstance(self.device, str) or not re.fullmatch(r"auto|mps|cpu|cuda(:\d+)?", self.device):
            raise UnknownNameError("device", self.device, DEVICES, "A CUDA device may be numbered, as in 'cuda:1'.")
        word(self.dtype, "dtype", DTYPES)
        flag(self.verbose, "verbose")
        # A copy, so that nobody changes it behind our back; a plain dict, so that settings can be sent to workers.
        object.__setattr__(self, "options", _named(self.options))

    def replace(self, **changes: Any) -> "Settings":
        """The same settings with some fields changed.

        Raises:
            UnknownNameError: There is no such field.
            InputError: One cannot have such a value.
        """
        same: Settings = changed(self, changes)
        return same


def checked_settings(settings: Settings | None) -> Settings:
    """Settings as they were passed; the defaults for None.

    Raises:
        InputError: It is something else.
    """
    if settings is None or isinstance(settings, Settings):
        return settings or Settings()
    example = "Settings(tolerance=1e-3)"
    if isinstance(settings, Mapping):
        example = f"Settings({', '.join(f'{name}={shown(value)}' for name, value in settings.items())})"
    elif isinstance(settings, float) and 0.0 < settings < 1.0:
        example = f"Settings(tolerance={settings!r})"
    raise InputError(f"settings is {shown(settings)}; expected Settings, for example {example}, or None.")


def checked_time_limit(seconds: object) -> float | None:
    """Seconds, or None for no limit.

    Raises:
        InputError: It is something else, or not above 0.
    """
    if seconds is None:
        return None
    return number(seconds, "time_limit", "seconds above 0, or None", lambda limit: limit > 0.0)


def _named(options: object) -> dict[str, Any]:
    """Options by name.

    Raises:
        InputError: They are not, or a name is no text.
    """
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        given = list(options) if isinstance(options, Mapping) else options
        raise InputError(f"options are {shown(given)}; expected values by name, for example {{'max_iter': 50}}.")
    return dict(options)


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
