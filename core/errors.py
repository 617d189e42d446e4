"""What can go wrong before a solver runs: every message says what was wrong, what was expected and what to do."""

import pickle
from collections.abc import Iterable
from difflib import get_close_matches

from cvxrobust.core.strangers import described, shown, worded


class CvxRobustError(Exception):
    """Base of every error that this package raises on purpose."""


class InputError(CvxRobustError, ValueError):
    """Data or parameters that no problem can be built from."""


class UnknownNameError(InputError):
    """A name that nothing answers to (a backend, loss, method, option, data set).

    Args:
        kind: What the name was meant to name, e.g. ``"backend"``.
        name: The name given.
        known: The names that would have worked.
        hint: What else could be done about it.
    """

    def __init__(self, kind: str, name: object, known: Iterable[str], hint: str = "") -> None:
        names = sorted(known)
        lowered = {one.lower(): one for one in names}
        close = get_close_matches(worded(name).lower(), lowered, n=1)
        guess = f" Did you mean {lowered[close[0]]!r}?" if close else ""
        listed = ", ".join(names) if names else "none"
        super().__init__(f"unknown {kind} {shown(name)}; known: {listed}.{guess}{' ' + hint if hint else ''}")
        self.kind, self.name, self.known, self.hint = kind, name, names, hint

    def __reduce__(self) -> tuple[type["UnknownNameError"], tuple[str, object, list[str], str]]:
        # Exceptions are pickled by their message alone, which this constructor does not take.
        return type(self), (self.kind, self.name, self.known, self.hint)


class UnknownKeyError(UnknownNameError, KeyError):
    """The same where a mapping is asked for the name."""

    __str__ = Exception.__str__  # of a KeyError it would be quoted


class WriteError(CvxRobustError, OSError):
    """A file that could not be written; what belongs into it is still there.

    Args:
        message: What was to be written, and what went wrong.
        number: The system's error number, e.g. ``errno.ENOSPC``; None if it has none.
    """

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number

    def __reduce__(self) -> tuple[type["WriteError"], tuple[str, int | None]]:
        return type(self), (str(self), self.errno)


class BackendUnavailableError(CvxRobustError, RuntimeError):
    """The backend is known, but its package, licence or device is missing here."""


class MissingExtraError(CvxRobustError, ImportError):
    """A package is not installed that only some features need; an extra of this package brings it.

    Args:
        what: What needs it, in the plural, e.g. ``"pictures"``.
        module: The package, as it is imported.
        extra: The extra that brings it.
    """

    def __init__(self, what: str, module: str, extra: str) -> None:
        super().__init__(f'{what} need {module}, which is not installed: pip install "cvxrobust[{extra}]"', name=module)
        self.what, self.module, self.extra = what, module, extra

    def __reduce__(self) -> tuple[type["MissingExtraError"], tuple[str, str, str]]:
        return type(self), (self.what, self.module, self.extra)


class UnsupportedProgramError(CvxRobustError, TypeError):
    """The backend cannot read this programme, for example because it lacks a cone."""


class TooLargeError(InputError, MemoryError):
    """A problem that no way could hold in this machine's memory."""


class LicenceError(CvxRobustError, RuntimeError):
    """A commercial solver refused to run without a valid licence."""


class PluginError(CvxRobustError, RuntimeError):
    """A plugin is broken and ``CVXROBUST_STRICT_PLUGINS=1`` asks for that to be fatal."""


def portable(error: BaseException) -> BaseException:
    """The same exception if it can be sent to another process and be raised there, else one of ours that says so."""
    try:
        sent = pickle.loads(pickle.dumps(error))
        if type(sent) is type(error) and str(sent) == str(error):
            return error
    except Exception:
        pass
    ours = next((kind for kind in type(error).__mro__ if kind in KINDS), None)
    if ours is not None:
        return ours(worded(error))
    return (MemoryError if isinstance(error, MemoryError) else RuntimeError)(described(error))


KINDS = (
    InputError, BackendUnavailableError, UnsupportedProgramError, LicenceError, PluginError, CvxRobustError,
)  # fmt: skip
"""Errors that are made of their text alone."""
