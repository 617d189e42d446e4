"""Where rows are kept: one folder per run, a line per row, written so that nothing finished is ever lost."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cvxrobust.bench.harness.results.rows import Row
from cvxrobust.bench.harness.suite.cases import SCHEMA
from cvxrobust.core.errors import InputError, WriteError
from cvxrobust.core.files import check_folder, reason, unwritable, write_whole
from cvxrobust.core.secrets import cleaned

MANIFEST, RESULTS = "manifest.json", "results.jsonl"


@dataclass(frozen=True)
class Repair:
    """What was wrong with a file of rows.

    Args:
        dropped: Bytes cut off its end: a line that was being written when everything stopped.
        completed: Whether the last line was whole and lacked only its end.
    """

    dropped: int = 0
    completed: bool = False


class Store:
    """A folder with a manifest (`manifest.json`) and rows (`results.jsonl`).

    Rows are only ever appended, each with an fsync, so a row that `append` returned from survives whatever happens
    next. A case that was run again has several rows; the last one counts.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._file: FileIO | None = None

    @property
    def exists(self) -> bool:
        """Whether there is a run in the folder."""
        return (self.folder / MANIFEST).is_file()

    def create(self, manifest: Mapping[str, Any]) -> None:
        """Start a run.

        Raises:
            InputError: The folder holds one already, or takes no files, for want of room for example.
        """
        if self.exists:
            raise InputError(f"{self.folder} holds a run already; go on with --resume, or name another folder.")
        with contextlib.suppress(OSError):  # said below
            self.folder.mkdir(parents=True, exist_ok=True)
            check_folder(self.folder, f"cannot write to {self.folder}: ")
        self.describe(manifest)

    def describe(self, manifest: Mapping[str, Any]) -> None:
        """Replace what is known about the run as a whole.

        Raises:
            InputError: The folder cannot be written to.
            WriteError: The disk is full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_whole(self.folder / MANIFEST, to_line(cleaned(manifest), indent=2) + "\n")
        except OSError as error:
            raise unwritable(f"cannot write to {self.folder}, so name another folder", error) from error

    def manifest(self) -> dict[str, Any]:
        """What is known about the run as a whole.

        Raises:
            InputError: There is no run, or its manifest is damaged.
        """
        try:
            content = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                f"{self.folder} holds no run: there is no {MANIFEST} in it; give the folder of one (`cvxrobust bench "
                "run` names it)."
            ) from error
        except json.JSONDecodeError as error:
            raise InputError(f"{self.folder / MANIFEST} is damaged: {error}.") from error
        if not isinstance(content, dict):
            raise InputError(f"{self.folder / MANIFEST} is damaged: it holds no object.")
        return content

    def rows(self) -> list[Row]:
        """The last row of every case, in the order in which the cases were first finished.

        Raises:
            InputError: A line other than the last is damaged, or was written by another version.
        """
        return list({row.key: row for row in self.history()}.values())

    def history(self) -> Iterator[Row]:
        """Every row ever written. A torn last line is left out."""
        path = self.folder / RESULTS
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                row = _parsed(line)
            except (ValueError, TypeError, KeyError) as error:
                if number == len(lines):  # no newline after it: it was never finished
                    return
                raise InputError(f"line {number} of {path} is damaged ({type(error).__name__}: {error}).") from error
            if row.schema > SCHEMA:
                raise InputError(f"line {number} of {path} was written by a newer version of cvxrobust; install that.")
            yield row

    def open(self) -> Repair:
        """Make ready to append. Of a torn last line nothing is kept, unless only its end was missing.

        Raises:
            InputError: Another process is writing there, or nobody may.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / RESULTS).open("ab+", buffering=0)
        except OSError as error:
            raise unwritable(f"cannot write to {self.folder}, so name another folder", error) from error
        try:
            _lock(self._file, self.folder)
            return _repair(self._file)
        except BaseException:
            self.close()
            raise

    def append(self, row: Row) -> None:
        """Write a row; when this returns it is on the disk.

        Raises:
            WriteError: It cannot be written, for example because the disk is full; nothing of it is left then.
        """
        if self._file is None:
            self.open()
        assert self._file is not None
        before = self._file.seek(0, os.SEEK_END)
        try:
            _write(self._file, to_line(cleaned(row.to_dict())).encode() + b"\n")
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(before)
            message = f"cannot write to {self.folder / RESULTS}: {reason(error)}; the rows before are kept."
            raise WriteError(message, error.errno) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # what could not be written was complained about already
                self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def merge(sources: Iterable[Store], target: Store) -> int:
    """Put the rows of several runs into a new one; of a case that is in several, the last source's row counts.

    Returns:
        Number of rows written.

    Raises:
        InputError: A source holds no run, or the target holds one already.
    """
    sources = list(sources)
    manifests = [source.manifest() for source in sources]
    rows = {row.key: row for source in sources for row in source.rows()}
    target.create({"merged": manifests, "suite": manifests[-1].get("suite"), "schema": manifests[-1].get("schema")})
    with target:
        for row in rows.values():
            target.append(row)
    return len(rows)


def to_line(content: Mapping[str, Any], indent: int | None = None) -> str:
    """Strict JSON: infinities and NaN become null."""
    return json.dumps(_finite(content), allow_nan=False, indent=indent, default=str)


def _parsed(line: bytes) -> Row:
    return Row.from_dict(json.loads(line))


def _finite(value: Any) -> Any:
    """Strict JSON has no number for infinities and NaN: they become null."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _repair(file: FileIO) -> Repair:
    """Finish a last line that lacks nothing but its newline; cut off any other that has none."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    content = file.read()
    kept = content.rfind(b"\n") + 1
    if kept == size:
        return Repair()
    try:
        _parsed(content[kept:])
    except (ValueError, TypeError, KeyError):
        file.truncate(kept)
        os.fsync(file.fileno())
        return Repair(dropped=size - kept)
    _write(file, b"\n")
    return Repair(completed=True)


def _write(file: FileIO, content: bytes) -> None:
    """All of it, to the disk; the file has no buffer, so what fails does not come back later."""
    while content:
        content = content[file.write(content) :]
    os.fsync(file.fileno())


def _lock(file: FileIO, folder: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: two harnesses in one folder are then the user's to avoid
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InputError(f"another process is writing to {folder}; wait for it, or name another folder.") from error
