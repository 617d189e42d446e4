"""Finding out before the work whether its result can be written."""

import os
import tempfile
from pathlib import Path

from cvxrobust.core.errors import InputError


def check_network_file(path: Path) -> None:
    """`check_writable` for ``--save``.

    Raises:
        InputError: The file's name does not end in .npz, or it cannot be written.
    """
    if path.suffix != ".npz":
        raise InputError(f"a network is saved as .npz, but --save names {path}; end the name in .npz.")
    check_writable(path, "--save")


def check_writable(path: Path, option: str) -> None:
    """Find out before hours of solving whether a file can be written.

    Args:
        path: The file.
        option: What named it, for the message.

    Raises:
        InputError: It cannot, with the reason.
    """
    if path.is_dir():
        raise InputError(f"{option} names {path}, which is a folder; give the name of a file.")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{option} names {path}, which cannot be overwritten; choose another file.")
    try:
        # A trial file also finds read-only and full file systems, which permission bits do not show.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".cvxrobust-"):
            pass
    except OSError as error:
        raise InputError(
            f"{option} names {path}, but nothing can be written to {path.parent} ({error.strerror}); "
            "choose another folder or create it first."
        ) from error
