"""Checkpoints: what a solve needs to go on after it was killed, one file per programme in a folder.

A file holds plain arrays (NumPy's npz, nothing pickled) and the fingerprint of the programme it belongs to. It is
written beside the old one and then takes its name, so that whatever kills the process leaves a whole file behind.
Nothing in a file is trusted: bounds are certified anew from the network and the multipliers that it holds.
"""

import hashlib
import math
import os
import time
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cvxrobust.core import InputError, Settings, WriteError, whole_file

State = dict[str, NDArray[Any]]
LARGEST = 1e50
"""Numbers beyond are no neurons of anybody's."""
FORMAT = 1
EVERY = 30.0
"""Seconds between two writes, at least."""
DAMAGE = (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)
"""What NumPy raises over files that are something else, or were."""


class Checkpoint:
    """The checkpoint of one programme.

    Args:
        folder: Where checkpoints live; made if missing.
        fingerprint: Which programme this is, see `fingerprint`.
        every: Seconds between two writes that are not forced.

    Attributes:
        path: The file.
        failure: Why the last write failed, if it did: a full disk must not cost the answer.

    Raises:
        InputError: The folder cannot be made or written to.
    """

    def __init__(self, folder: str | os.PathLike[str], fingerprint: str, every: float = EVERY) -> None:
        self.fingerprint, self.every, self.failure = fingerprint, every, ""
        self._written = time.perf_counter()
        home = Path(folder)
        try:
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"checkpoint is {str(folder)!r}, but {error}; expected a folder.") from error
        if not os.access(home, os.W_OK):
            raise InputError(f"checkpoint is {str(folder)!r}, which cannot be written to; expected a folder of yours.")
        self.path = home / f"{fingerprint[:24]}.npz"

    def due(self) -> bool:
        """Whether the last write is so long ago that the next one is worth its time."""
        return time.perf_counter() - self._written >= self.every

    def save(self, state: Mapping[str, Any], force: bool = False) -> None:
        """Write a state of tensors, arrays, numbers and strings, unless the last write was a moment ago.

        Args:
            state: Its names are Python identifiers; None is left out.
            force: Write whenever the last write was.
        """
        if not (force or self.due()):
            return
        arrays = {name: _array(value) for name, value in state.items() if value is not None}
        try:
            with whole_file(self.path) as file:
                arrays["checkpoint_of"] = np.array([self.fingerprint, str(FORMAT)])
                np.savez(file, allow_pickle=False, **arrays)
            self.failure = ""
        except WriteError as error:
            self.failure = f"the checkpoint was not written: {error}"
        self._written = time.perf_counter()

    def load(self) -> State | None:
        """The state that was saved last; None if there is none.

        Raises:
            InputError: The file is damaged, or belongs to another programme or version.
        """
        if not self.path.exists():
            return None
        try:
            # Opened here, because NumPy leaves damaged files open.
            with self.path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                state = {name: file[name] for name in file.files}
            owner, version = (str(part) for part in state.pop("checkpoint_of"))
        except DAMAGE as error:
            raise InputError(f"checkpoint {self.path} cannot be read ({error}); delete it to begin anew.") from error
        if (owner, version) != (self.fingerprint, str(FORMAT)):
            raise InputError(f"checkpoint {self.path} belongs to another programme; choose another folder.")
        return state


class CheckedState:
    """What a checkpoint holds, each part checked where it is read.

    Args:
        state: Arrays and numbers by name.
    """

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = dict(state)

    def _positive(self, name: str) -> float:
        found = float(self._numbers(name))
        self._expect(name, found > 1e-50)
        return found

    def _numbers(self, name: str, *shape: int | None) -> NDArray[np.float64]:
        found = np.asarray(self._state.get(name, ""))
        self._expect(name, found.dtype.kind in "fi" and found.ndim == len(shape))
        fits = all(wanted in (None, size) for wanted, size in zip(shape, found.shape, strict=True))
        self._expect(name, fits and bool((np.abs(found) < LARGEST).all()))
        return found.astype(np.float64)

    def _expect(self, name: str, fine: "bool | np.bool_") -> None:
        if not fine:
            raise InputError(f"its {name!r} is missing or is not what was saved")


def check_checkpoint(settings: Settings) -> None:
    """Refuse options about checkpoints that are none.

    Raises:
        InputError: ``checkpoint`` is no path, or ``checkpoint_every`` no number of seconds.
    """
    folder = settings.options.get("checkpoint", ".")
    if not isinstance(folder, str | os.PathLike) or not str(folder):
        raise InputError(f"option checkpoint is {folder!r}; expected the path of a folder.")
    every = settings.options.get("checkpoint_every", EVERY)
    if isinstance(every, bool) or not isinstance(every, int | float) or not 0.0 <= every < math.inf:
        raise InputError(f"option checkpoint_every is {every!r}; expected seconds, 0 or more.")


def checkpoint_of(program: Any, settings: Settings) -> Checkpoint | None:
    """The checkpoint of a structured programme where the options ask for one, else None.

    Raises:
        InputError: The options are unusable, or the folder is.
    """
    check_checkpoint(settings)
    folder = settings.options.get("checkpoint")
    if folder is None:
        return None
    return Checkpoint(folder, fingerprint(program), float(settings.options.get("checkpoint_every", EVERY)))


def fingerprint(program: Any) -> str:
    """A hash of everything in a structured programme: a dataclass of arrays, numbers, strings and such dataclasses."""
    digest = hashlib.sha256(type(program).__name__.encode())
    for part in fields(program):
        value = getattr(program, part.name)
        if value is None and part.metadata.get("unless_none"):
            continue  # as before there was such a field, so that older checkpoints are found
        digest.update(part.name.encode())
        if is_dataclass(value):
            digest.update(fingerprint(value).encode())
        elif isinstance(value, np.ndarray):
            digest.update(f"{value.shape}{value.dtype}".encode())
            digest.update(np.ascontiguousarray(value).data)
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()


def _array(value: Any) -> NDArray[Any]:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
