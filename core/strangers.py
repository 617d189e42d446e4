"""Code of others, called so that whatever it does harms nobody: what it raises, what it says, what it prints.

Plugins, solvers and their exceptions may do anything: call ``sys.exit``, raise KeyboardInterrupt, print, raise what has
no text. `CvxRobustError` is told as a message to the caller; everything else is told in words, with `described`.
"""

import math
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import PurePath
from types import FrameType, ModuleType
from typing import Any

LONGEST = 2_000
"""Characters of what others say that are kept: solvers may say whole pages."""

SHORT = 60
"""Characters of a caller's value that messages repeat."""

LONG = 180
"""Bits of a whole number that messages repeat: as many digits as they do characters."""


def shown(value: object) -> str:
    """A caller's value for a message: itself where it is short, else what it is, in plain words."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, ModuleType):
        return f"the module {value.__name__}"
    if isinstance(value, Callable) and (name := getattr(value, "__name__", None)):  # type: ignore[arg-type]
        return f"the function {name}"
    try:
        return _spelt(value)
    except Exception:  # anything may be passed, and may fail at whatever it is asked
        return a_kind(value)


def a_kind(value: object) -> str:
    """What a value is an instance of, with its article: ``a tuple``, ``an object``."""
    name = type(value).__name__
    return f"{'an' if name[:1] in 'aeiouAEIO' else 'a'} {name}"


def _spelt(value: Any) -> str:
    """A value as it is written, or its kind and how large it is."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        # Arrays of every maker are arrays; tables and sparse matrices have names that callers know.
        return f"{'an array' if type(value).__name__ == 'ndarray' else a_kind(value)} of shape {tuple(shape)}"
    if shape == () and hasattr(value, "item"):
        value = value.item()  # NumPy's numbers are shown as the numbers that they are
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, int) and value.bit_length() > LONG:
        return f"a whole number of some {int(value.bit_length() * math.log10(2.0)):,} digits"
    if isinstance(value, str | bytes) and len(value) > SHORT:
        return f"{value[:SHORT]!r}..."
    text = repr(value)
    plain = len(text) <= SHORT and "\n" not in text and not text.startswith("<") and " at 0x" not in text
    return text if text and plain else a_kind(value)


def described(error: BaseException) -> str:
    """The kind of an exception and its text, whatever happens when it is asked for that."""
    kind, text = type(error).__name__, worded(error)
    return f"{kind}: {text}" if text else kind


def worded(value: object) -> str:
    """The text of anything, at most `LONGEST` characters; where asking for it raises, what it raised."""
    try:
        text = str(value)
        # A subclass of str may do anything when it is joined to another.
        text = text if type(text) is str else str.__str__(text)
    except BaseException as error:
        return f"(a {type(value).__name__} whose text raises {type(error).__name__})"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def visible(text: object) -> str:
    """Text in which control characters, and those that turn the direction of writing, are spelt out."""
    return _CONTROL.sub(lambda found: ascii(found.group())[1:-1], str(text))


# Of the control characters, line ends and tabs mean what they do everywhere.
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)"
)


@contextmanager
def telling_interrupts() -> Iterator[Callable[[BaseException], bool]]:
    """Tells a Ctrl-C from code that raises KeyboardInterrupt by itself.

    Yields:
        Whether an exception is one that Ctrl-C brought about. Outside the main thread, where Python delivers no
        signals, none is; where a handler that is not Python's takes the signal, every KeyboardInterrupt may be.
    """
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, signal.SIG_DFL):
        yield lambda error: False
        return
    if not callable(before):
        yield lambda error: isinstance(error, KeyboardInterrupt)
        return
    pressed: list[int] = []

    def note(signum: int, frame: FrameType | None) -> Any:
        pressed.append(signum)
        return before(signum, frame)

    try:
        signal.signal(signal.SIGINT, note)
    except ValueError:  # in an interpreter within another signals are not ours
        yield lambda error: isinstance(error, KeyboardInterrupt)
        return
    try:
        yield lambda error: bool(pressed) and isinstance(error, KeyboardInterrupt)
    finally:
        # Also where the code called has put a handler of its own in its place.
        signal.signal(signal.SIGINT, before)


@contextmanager
def overheard() -> Iterator[list[str]]:
    """Let nothing of what is printed inside the block reach standard output: it goes to standard error, and is noted.

    Yields:
        What was printed, piece by piece, its first `LONGEST` characters.
    """
    heard: list[str] = []
    before = sys.stdout
    stream = _Overheard(before, heard)
    sys.stdout = stream
    try:
        yield heard
    finally:
        stream.listening = False
        sys.stdout = before  # whatever has been put in its place


class _Overheard:
    """Standard output while strangers are listened to; who keeps it for later has the real one then."""

    def __init__(self, stream: Any, heard: list[str]) -> None:
        self._stream, self._heard, self._length = stream, heard, 0
        self.listening = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Note it and pass it on."""
        if not self.listening:
            return 0 if self._stream is None else int(self._stream.write(text))
        if self._length < LONGEST:
            self._heard.append(text[: LONGEST - self._length])
            self._length += len(text)
        with suppress(OSError, ValueError):  # nobody there
            if sys.stderr is not None:
                sys.stderr.write(text)
        return len(text)

    def close(self) -> None:
        """Standard output is not theirs to close."""

    def flush(self) -> None:
        """Pass everything on."""
        with suppress(OSError, ValueError):
            if (stream := sys.stderr if self.listening else self._stream) is not None:
                stream.flush()
