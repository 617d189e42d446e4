"""Files that are whole: whatever kills the writer, and whenever, the old file stands or the new one does.

The new content is written beside the old, to the disk, and then takes its name. A file under way is locked by its
writer, so that whoever writes next can tell what a killed writer left from what another is still at.
"""

import errno
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cvxrobust.core.errors import InputError, WriteError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

PART = ".cvxrobust-part"
"""How the names of files under way end."""

TRIAL = 1 << 20
"""Bytes that must fit into a folder before hours are spent on what goes there: more than most networks take."""

STALE = 3600.0
"""Seconds after which a file under way counts as left behind where nothing can be locked."""

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What systems say of disks that are full, or broken."""

_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""What file systems say that cannot sync; the file is as safe there as it gets."""


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A file to write bytes to, which takes the place of `path` once all of it is on the disk.

    Permissions of the old file are kept, links are followed, and what killed writers left in the folder is removed.
    Devices and pipes are written to as they are. If the block raises, the old file stays and nothing else does.

    Args:
        path: The file.

    Raises:
        WriteError: It cannot be written; the old file, if there was one, is untouched.
    """
    try:
        target = _target(path)
        with _direct(target) if _is_special(target) else _beside(target) as file:
            yield file
    except OSError as error:
        if isinstance(error, WriteError):
            raise
        raise WriteError(f"{os.fspath(path)} cannot be written: {reason(error)}", error.errno) from error


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file in one go; text as UTF-8. See `whole_file`."""
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def together() -> Iterator[Callable[[Path], Path]]:
    """Files that belong together: those written in the block take their names at its end, one right after the other.

    Yields:
        Where the content of one of them is meanwhile.

    Raises:
        WriteError: One of them cannot be written; none of those that have not taken their names is there then.
    """
    waiting: list[_Written] = []
    named: list[_Written] = []
    token = _WAITING.set(waiting)
    try:
        yield lambda path: next(one.part for one in waiting if one.target == _target(path))
        while waiting:
            try:
                waiting[0].take_name()
            except OSError as error:
                name = waiting[0].target
                raise WriteError(f"{name} cannot be written: {reason(error)}", error.errno) from error
            named.append(waiting.pop(0))
    finally:
        _WAITING.reset(token)
        for one in waiting:
            _remove(one.file, one.part)
        for one in named:
            _settle(one)


def check_room(path: str | os.PathLike[str], said: str = "the file to write is", size: int = TRIAL) -> None:
    """Find out, before any work, whether a file can be written: a trial finds read-only and full file systems, too.

    Args:
        path: The file.
        said: What the message begins with, e.g. ``"--save names"``.
        size: Bytes that have to fit.

    Raises:
        InputError: It cannot, with the reason.
    """
    start = f"{said} {os.fspath(path)}"
    if _is_stream(path):
        if not os.path.exists(path):
            raise InputError(f"{start}, which is not there; choose another name.")
        return
    if _is_special(Path(path)):
        return
    check_folder(Path(path).parent, f"{start}, but ", size)
    try:
        target = _target(path)
        if target.is_dir():
            raise InputError(f"{start}, which is a folder; give the name of a file.")
        if target.exists() and not os.access(target, os.W_OK):
            raise InputError(f"{start}, which cannot be overwritten; choose another file.")
    except OSError as error:
        raise InputError(f"{start}, which cannot be a file: {reason(error)}; choose another name.") from error
    if target.parent != Path(path).parent and not _is_special(target):  # what a link leads to
        check_folder(target.parent, f"{start}, but ", size)


def check_folder(folder: Path, start: str = "", size: int = TRIAL) -> None:
    """Find out, before any work, whether files can be written to a folder.

    Args:
        folder: The folder.
        start: What the message begins with.
        size: Bytes that have to fit.

    Raises:
        InputError: They cannot, with the reason.
    """
    try:
        file, part = _begin(folder / "trial", 0o600)
        try:
            file.write(os.urandom(size))  # zeros might take no room
            _sync(file)
        finally:
            _remove(file, part)
    except OSError as error:
        raise InputError(
            f"{start}nothing can be written to {folder} ({reason(error)}); choose another folder, or create it, or "
            "make room there first."
        ) from error


def unwritable(message: str, error: OSError) -> InputError | WriteError:
    """The error for what cannot be written to begin with: a mistake in its name, or a disk without room.

    Args:
        message: What was to be written.
        error: What the system said.
    """
    text = f"{message}: {reason(error)}."
    return WriteError(text, error.errno) if error.errno in FULL else InputError(text)


def reason(error: OSError) -> str:
    """What went wrong, in words, without the path."""
    return error.strerror or str(error) or type(error).__name__


def _target(path: str | os.PathLike[str]) -> Path:
    """What a path leads to. Streams keep their names: what they lead to belongs to somebody else."""
    given = Path(path)
    if _is_stream(given):
        return given
    given.parent.stat()  # a folder that is missing is best told before all else
    with suppress(FileNotFoundError):
        given.lstat()  # so is a name that is too long
    return Path(os.path.realpath(given))


def _is_stream(path: str | os.PathLike[str]) -> bool:
    return os.path.abspath(path).startswith(("/dev/fd/", "/dev/std", "/proc/"))


def _is_special(path: Path) -> bool:
    """Whether a path leads to a device, a pipe or a stream."""
    return os.path.exists(path) and not path.is_dir() and (_is_stream(path) or not path.is_file())


@contextmanager
def _direct(target: Path) -> Iterator[IO[bytes]]:
    with target.open("wb") as file:
        yield file


@contextmanager
def _beside(target: Path) -> Iterator[IO[bytes]]:
    old = target.stat() if target.exists() else None
    if old is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    file, part = _begin(target, 0o666 if old is None else stat.S_IMODE(old.st_mode))
    done = False
    try:
        if old is not None:
            _take_over(file, old)
        yield file
        _sync(file)
        written = _Written(file, part, target)
        if (waiting := _WAITING.get()) is None:
            written.take_name()
            _settle(written)
        else:
            waiting.append(written)
        done = True
    finally:
        if not done:
            _remove(file, part)


@dataclass(frozen=True)
class _Written:
    """A file that is on the disk, whole, and locked, but for its name."""

    file: IO[bytes]
    part: Path
    target: Path

    def take_name(self) -> None:
        if fcntl is None:  # open files cannot be renamed there
            self.file.close()
        os.replace(self.part, self.target)


def _settle(written: _Written) -> None:
    with suppress(OSError):  # what could not be written was complained about already
        written.file.close()
    _sync_folder(written.target.parent)


_WAITING: ContextVar[list[_Written] | None] = ContextVar("_WAITING", default=None)
"""Files of the block that is under way in `together`."""


def _begin(target: Path, mode: int) -> tuple[IO[bytes], Path]:
    """A new file beside another, locked."""
    _remove_leftovers(target.parent)
    while True:
        # Names may have 255 bytes; those of UTF-8 text take up to four for each character.
        part = target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}{PART}")
        file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode), "w+b")
        if _lock(file, wait=True) is False or _is_there(file, part):
            return file, part
        file.close()  # somebody took it for a leftover before it was locked


def _take_over(file: IO[bytes], old: os.stat_result) -> None:
    """The old file's owner, where that is allowed, and its permissions."""
    if hasattr(os, "fchown") and (os.geteuid(), os.getegid()) != (old.st_uid, old.st_gid):
        with suppress(OSError):
            os.fchown(file.fileno(), old.st_uid, old.st_gid)
    if hasattr(os, "fchmod"):
        with suppress(OSError):
            os.fchmod(file.fileno(), stat.S_IMODE(old.st_mode))


def _remove_leftovers(folder: Path) -> None:
    """Remove what killed writers left in a folder, and nothing that anybody is still writing."""
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        found = [Path(entry.path) for entry in entries if entry.name.startswith(".") and entry.name.endswith(PART)]
    for part in found:
        with suppress(OSError):
            if fcntl is None and time.time() - part.lstat().st_mtime < STALE:
                continue
            with os.fdopen(os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)), "r+b") as file:
                if _lock(file, wait=False):
                    part.unlink()


def _lock(file: IO[bytes], wait: bool) -> bool | None:
    """Whether the file is locked now; None where this system has no locks, False where it refuses."""
    if fcntl is None:
        return None if wait else True
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _is_there(file: IO[bytes], part: Path) -> bool:
    try:
        return fcntl is None or os.path.samestat(os.fstat(file.fileno()), part.stat())
    except FileNotFoundError:
        return False


def _remove(file: IO[bytes], part: Path) -> None:
    if fcntl is None:
        with suppress(OSError):
            file.close()
    with suppress(OSError):
        part.unlink()
    with suppress(OSError):  # what could not be written was complained about already
        file.close()


def _sync(file: IO[bytes]) -> None:
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def _sync_folder(folder: Path) -> None:
    """Put the new name on the disk, where folders can be synced."""
    with suppress(OSError, AttributeError):
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
