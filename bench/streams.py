"""Standard output and error of the command line, whatever they are: closed, full, left by their reader, or reserved.

- What is closed is written nowhere.
- Whatever becomes of standard error, work goes on: remarks are not worth ending it.
- Standard output that takes no more ends a command by `OutputLostError`, of which `cvxrobust.bench.cli` makes the exit
  code.
- While it is reserved for one JSON object, all that solvers and plugins print goes to standard error, native code too.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

OUTPUT, ERROR = 1, 2
"""Numbers of the two streams in every process."""


class OutputLostError(Exception):
    """Standard output takes no more.

    Args:
        reason: Why, in the system's words.
        reader_left: Whether whoever read it has left, as ``head`` does, which is no error.
    """

    def __init__(self, reason: str, reader_left: bool) -> None:
        super().__init__(reason)
        self.reader_left = reader_left


class _Output:
    """Standard output, whose failures are told from those of files; after one nothing more is tried."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._lost = stream, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write, or raise `OutputLostError`."""
        try:
            return 0 if self._lost else int(self._stream.write(text))
        except OSError as error:
            raise self._loss(error) from error

    def flush(self) -> None:
        """Write what is waiting, or raise `OutputLostError`."""
        try:
            if not self._lost:
                self._stream.flush()
        except OSError as error:
            raise self._loss(error) from error

    def _loss(self, error: OSError) -> OutputLostError:
        self._lost = True
        with suppress(OSError, ValueError, AttributeError):
            # What is still waiting would be tried again when the interpreter ends.
            _point_nowhere(self._stream.fileno())
        left = isinstance(error, BrokenPipeError) or error.errno == errno.EINVAL
        return OutputLostError(error.strerror or str(error), left)


class _Error:
    """Standard error, which never fails."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is waiting if that is possible."""
        with suppress(OSError, ValueError):
            self._stream.flush()


_process_ends = False
"""Whether nothing follows in this process: what is printed at its very end must not find standard output, then."""


@contextmanager
def mended(*, process_ends: bool = False) -> Iterator[None]:
    """Standard streams that can be written to, whatever they were, inside the block.

    Args:
        process_ends: Whether the process ends after it.
    """
    global _process_ends
    _process_ends = process_ends
    for number in (0, OUTPUT, ERROR):
        try:
            os.fstat(number)
        except OSError:
            # Or the next file that is opened would be taken for it.
            _point_nowhere(number)
    before = sys.stdout, sys.stderr
    sys.stdout = _Output(_usable(before[0], OUTPUT))
    sys.stderr = _Error(_usable(before[1], ERROR))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _usable(stream: Any, number: int) -> Any:
    if stream is None or getattr(stream, "closed", False):
        return open(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    with suppress(AttributeError, ValueError, OSError):
        # A letter that the terminal has not is no reason to end.
        stream.reconfigure(errors="backslashreplace")
    return stream


def _point_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    os.set_inheritable(number, True)


_reserved: list[Any] = []
"""Standard output, where it is reserved; the last counts."""


def output() -> Any:
    """Where results go: standard output, reserved or not."""
    return _reserved[-1] if _reserved else sys.stdout


@contextmanager
def reserved(wanted: bool) -> Iterator[None]:
    """Keep standard output for what is written to `output`, inside the block; all else goes to standard error.

    Args:
        wanted: Whether to.
    """
    if not wanted:
        yield
        return
    before = sys.stdout
    with ExitStack() as stack:
        _reserved.append(_apart(before, stack))
        stack.callback(_reserved.pop)
        sys.stdout = sys.stderr
        try:
            yield
        finally:
            sys.stdout = before


def _apart(stream: Any, stack: ExitStack) -> Any:
    """A stream to what standard output was, to which its number does not lead any more: native code has that alone."""
    try:
        is_output = stream is not None and stream.fileno() == OUTPUT
    except (OSError, ValueError, AttributeError):
        is_output = False
    try:
        if stream is not None:
            stream.flush()
        kept = os.dup(OUTPUT)
        os.dup2(ERROR, OUTPUT)
    except OSError:
        return stream  # there is no standard output, or nothing else to write to
    found = stack.enter_context(_until_the_end(kept))
    return found if is_output else stream


@contextmanager
def _until_the_end(kept: int) -> Iterator[_Output]:
    try:
        with open(kept, "w", encoding="utf-8", newline="\n", closefd=False) as sink:
            found = _Output(sink)
            yield found
            found.flush()
    finally:
        if not _process_ends:
            with suppress(OSError, AttributeError):
                ctypes.CDLL(None).fflush(None)  # what native code has still to write
            os.dup2(kept, OUTPUT)
        os.close(kept)
