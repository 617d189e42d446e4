"""Finding out before the work whether its result can be written, and where it goes if it cannot be after all."""

import base64
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cvxrobust.core.errors import InputError, WriteError
from cvxrobust.core.extras import require
from cvxrobust.core.files import check_folder, check_room, write_whole
from cvxrobust.core.networks.base import TwoLayerNetwork


@dataclass(frozen=True)
class Saved:
    """Where a network went.

    Args:
        asked: The file asked for.
        path: The file that holds it; None if nothing could be written anywhere.
        failure: Why it is not where it was asked for; empty if it is.
        content: The file itself in base64, for whoever keeps what is printed; empty if it is on a disk.
    """

    asked: Path
    path: Path | None
    failure: str = ""
    content: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        failed = {"save_failure": self.failure} if self.failure else {}
        printed = {"network_npz_base64": self.content} if self.content else {}
        return {"saved": None if self.path is None else str(self.path)} | failed | printed

    def error(self) -> WriteError:
        """What to say where the network is not where it was asked for."""
        if self.path is not None:
            return WriteError(f"{self.failure} It was saved to {self.path} instead; move it from there.")
        return WriteError(
            f"{self.failure} No other folder took it, so it is printed as base64: decode that into a file."
        )


def check_picture(path: Path, option: str, *sources: Path) -> None:
    """Find out whether a picture can be drawn, and written to a file; see `check_writable`.

    Raises:
        InputError: It cannot be written.
        MissingExtraError: Nothing here draws.
    """
    require("matplotlib", "plot", "pictures")
    check_writable(path, option, *sources)


def save_somewhere(network: TwoLayerNetwork, path: Path) -> Saved:
    """Save a network where it was asked for, or else where there is room: hours of work are not to be lost.

    Args:
        network: The network.
        path: The file asked for.
    """
    content = network.to_bytes()
    try:
        write_whole(path, content)
    except WriteError as error:
        failure = f"{error}."
    else:
        return Saved(path, path)
    for folder in _elsewhere():
        with suppress(OSError):
            # A folder of its own: nothing there may be overwritten.
            own = Path(tempfile.mkdtemp(prefix="cvxrobust-", dir=folder))
            try:
                write_whole(own / path.name, content)
            except BaseException:
                own.rmdir()
                raise
            return Saved(path, own / path.name, failure)
    return Saved(path, None, failure, base64.b64encode(content).decode())


def _elsewhere() -> Iterator[Path]:
    """Folders that may lie on another disk."""
    with suppress(OSError):  # none of those that are usual can be written to
        yield Path(tempfile.gettempdir())
    for find in (Path.cwd, Path.home):
        with suppress(OSError, RuntimeError):  # there is none
            yield find()
    yield Path("/dev/shm")


def check_network_file(path: Path, *inputs: Path) -> None:
    """`check_writable` for ``--save``.

    Args:
        path: The file.
        *inputs: Files that are read, none of which may be overwritten.

    Raises:
        InputError: The file's name does not end in .npz, it is one of those read, or it cannot be written.
    """
    if path.suffix != ".npz":
        raise InputError(f"a network is saved as .npz, but --save names {path}; end the name in .npz.")
    check_writable(path, "--save", *inputs)


def check_writable(path: Path, option: str, *inputs: Path) -> None:
    """Find out before hours of solving whether a file can be written.

    Args:
        path: The file.
        option: What named it, for the message.
        *inputs: Files that are read, none of which may be overwritten.

    Raises:
        InputError: It cannot, with the reason.
    """
    check_room(path, f"{option} names")
    for read in inputs:
        if os.path.exists(path) and os.path.exists(read) and os.path.samefile(path, read):
            raise InputError(f"{option} names {path}, which is read in this command; choose another file.")


def make_folder(folder: Path, option: str) -> None:
    """Make a folder, if there is none yet, and find out whether files can be written to it.

    Args:
        folder: The folder.
        option: What named it, for the message.

    Raises:
        InputError: It cannot be made or written to, with the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{option} names {folder}, which cannot be a folder ({error.strerror}); name another."
        ) from error
    check_folder(folder, f"{option} names {folder}, but ")
