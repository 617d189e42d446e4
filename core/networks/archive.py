"""What a file of a network holds, without pickles, and what a file is that holds something else."""

import io
import json
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.arguments import place
from cvxrobust.core.errors import InputError
from cvxrobust.core.files import reason

FORMAT = 5
"""The newest that is read: 2 has the shape of attacks besides, 3 neurons that are spread over a complement, 4 over what
some inputs have of it; nothing of that must be overlooked by whoever knows an older one alone."""

Arrays = dict[str, NDArray[Any]]

SMALL = 64 << 20
"""Bytes that a file may unpack to, however small it is."""

RATIO = 200
"""How many times its size it may unpack to beyond that; weights hardly compress at all."""

LARGEST = 8 << 30
"""Bytes of the largest file that is looked into."""

LONGEST = 200
"""Characters of what went wrong that a message repeats."""

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\x93NUMPY", "a single NumPy array (.npy)"),
    (b"\x80", "a Python pickle, which is never loaded"),
    (b"\x1f\x8b", "compressed by gzip; decompress it first"),
    (b"BZh", "compressed by bzip2; decompress it first"),
    (b"\xfd7zXZ", "compressed by xz; decompress it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd; decompress it first"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
    (b"\x89PNG", "a picture"),
    (b"%PDF", "a PDF file"),
    (b"Salted__", "encrypted by OpenSSL; decrypt it first"),
    (b"age-encryption.org", "encrypted by age; decrypt it first"),
    (b"-----BEGIN PGP", "encrypted or signed by PGP; decrypt it first"),
    (b"version https://git-lfs", "a pointer of Git LFS; fetch the file itself with `git lfs pull`"),
    (b"{", "text, perhaps JSON"),
    (b"<", "text, perhaps HTML or XML"),
)


def pack(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: Something in the header has no place in JSON.
    """
    try:
        text = json.dumps(header, default=plain)
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata can hold strings and numbers only: {error}.") from error
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, header=np.array(text), **arrays)
    return file.getvalue()


def plain(value: Any) -> Any:
    """NumPy's numbers as Python's, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r:.80} is {type(value).__name__}")


def unpack(path: str | os.PathLike[str], known: Mapping[str, str]) -> tuple[dict[str, Any], Arrays]:
    """Header and arrays of a network's file; both may hold anything yet.

    Args:
        path: The file.
        known: The kinds of networks that may be in it, each with how it is called.

    Raises:
        InputError: It cannot be read, or holds something else; the message says what.
    """
    place(path, "path", "a network's file")
    found: tuple[dict[str, Any], Arrays] = _guarded(path, lambda file: _read(file, path, known))
    return found


def checked(path: str | os.PathLike[str], build: Callable[[], Any]) -> Any:
    """What `build` makes of a file's content, whose errors become those of the file.

    Raises:
        InputError: It makes nothing of it.
    """
    try:
        return build()
    except Exception as error:  # content may be anything
        raise no_network(path, error) from error


def no_network(path: str | os.PathLike[str], why: object) -> InputError:
    """The error for a file that holds no network.

    Args:
        path: The file.
        why: An exception, or what the file is.
    """
    words = f"{type(why).__name__}: {why}" if isinstance(why, KeyError | MemoryError | RecursionError) else str(why)
    words = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(words.split()).rstrip("."))
    words = words if len(words) <= LONGEST else f"{words[:LONGEST]} ..."
    return InputError(f"{os.fspath(path)} is not a network saved by cvxrobust ({words or type(why).__name__}).")


def _guarded(path: str | os.PathLike[str], read: Callable[[IO[bytes]], Any]) -> Any:
    """Read an open file; whatever goes wrong is one error."""
    try:
        where = Path(path)
        if not stat.S_ISREG(where.stat().st_mode):
            raise no_network(path, "it is a folder" if where.is_dir() else "it is no regular file")
        with where.open("rb") as file:
            return read(file)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"there is no file {os.fspath(path)}; check the path.") from error
    except OSError as error:
        raise InputError(f"{os.fspath(path)} cannot be read: {reason(error)}.") from error
    except Exception as error:  # a damaged archive raises many kinds
        raise no_network(path, error) from error


def _read(file: IO[bytes], path: str | os.PathLike[str], known: Mapping[str, str]) -> tuple[dict[str, Any], Arrays]:
    start = file.read(4096)
    if not start.startswith(b"PK"):
        raise no_network(path, f"it is {_what_begins(start)}")
    size = os.fstat(file.fileno()).st_size
    if size > LARGEST:
        raise no_network(path, f"it has {size:,} bytes, more than any network")
    # In memory, so that what the system says of a file and what a damaged archive makes of it are told apart.
    content = io.BytesIO(start + file.read())
    try:
        with ZipFile(content) as archive:
            members = archive.infolist()
    except (BadZipFile, ValueError) as error:
        raise no_network(
            path, f"it begins like one but is damaged or cut short after {size:,} bytes: {error}"
        ) from error
    if strange := _strange_archive(members, size):
        raise no_network(path, strange)
    content.seek(0)
    with np.load(content, allow_pickle=False) as stored:
        if "header" not in stored.files:
            raise no_network(path, _what_holds(stored.files))
        header = _header(stored["header"])
        _check_kind(header, path, known)
        arrays = {name: stored[name] for name in stored.files if name != "header"}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # what NumPy makes of a member that is no array
            raise no_network(path, f"its member {name!r} is no array")
    return header, arrays


def _header(array: Any) -> dict[str, Any]:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "U" or array.shape:
        raise ValueError("its header is no text")
    header = json.loads(str(array))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header


def _check_kind(header: Mapping[str, Any], path: str | os.PathLike[str], known: Mapping[str, str]) -> None:
    kind, version = header.get("kind"), header.get("format")
    if not isinstance(kind, str) or isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise no_network(path, f"its header says kind {kind!r:.40} and format {version!r:.40}")
    if kind == "export":
        raise no_network(path, "it lies beside an exported programme and is for `cvxrobust import`")
    name = known.get(kind)
    if name is None and kind in NAMES:
        raise InputError(
            f"{os.fspath(path)} holds a {NAMES[kind]} network, not a {' or '.join(known.values())} one; read it with "
            "cvxrobust.load, which takes either."
        )
    if name is None or version > FORMAT:
        raise InputError(
            f"{os.fspath(path)} holds a network of kind {kind[:40]!r} in format {version}, but this version reads "
            f"{' and '.join(map(repr, known))} up to format {FORMAT}; upgrade cvxrobust to read newer files."
        )


NAMES = {"polynomial": "polynomial", "relu": "ReLU"}
"""Our families, as messages call them."""


def _what_begins(start: bytes) -> str:
    """What a file is that begins so, and is no archive."""
    if not start:
        return "empty"
    if not any(start):
        return "nothing but zeros"
    for beginning, what in _BEGINNINGS:
        if start.startswith(beginning):
            return what
    try:
        line = start.decode("utf-8-sig").splitlines()[0]
    except (UnicodeDecodeError, IndexError):
        return "damaged, encrypted, or of a kind that is not known here"
    if "," in line or ";" in line or "\t" in line:
        return f"text, perhaps CSV, and begins with {line[:40]!r}"
    return f"text that begins with {line[:40]!r}"


def _strange_archive(members: list[ZipInfo], size: int) -> str:
    """What an archive is that holds anything but arrays; empty if it may be a network's."""
    names = [member.filename for member in members]
    if any(member.flag_bits & 1 for member in members):
        return "it is an encrypted archive; decrypt it first"
    if any(name.endswith("data.pkl") for name in names):
        return "it is a file of PyTorch's"
    if "[Content_Types].xml" in names:
        return "it is a document or spreadsheet"
    if not names or not all(name.endswith(".npy") for name in names):
        return f"it is a zip archive of {_some(names)}"
    if len(set(names)) < len(names):
        return f"it is an archive that holds some members twice: {_some(names)}"
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(SMALL, RATIO * size):
        return f"it would unpack to {unpacked:,} bytes, from {size:,}"
    return ""


def _what_holds(names: list[str]) -> str:
    """What an NPZ file is that has no header."""
    if "checkpoint_of" in names:
        return "it is a checkpoint of a solve"
    if {"X", "images"} & set(names):
        return f"it has no header, but holds data: {_some(names)}"
    return f"it has no header, but the arrays {_some(names)}"


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:6])) + (", ..." if len(names) > 6 else "") if names else "nothing"
