"""Where a study is kept: its terms, a line for all that was found, and files of networks, features and images."""

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import Row, keep_row, read_rows
from cvxrobust.core.errors import InputError
from cvxrobust.core.files import check_folder, write_whole

MANIFEST, ROWS = "manifest.json", "rows.jsonl"
KIND = "cifar10"
"""What the manifest says that it is."""


class CifarStore:
    """The folder of a study.

    Args:
        folder: Its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """Make ready, or go on with what is there if it was made on the same terms.

        Raises:
            InputError: It was not, or nothing can be written there.
        """
        with suppress(OSError):  # said below
            self.folder.mkdir(parents=True, exist_ok=True)
        check_folder(self.folder, f"cannot write to {self.folder}: ")
        if not (self.folder / MANIFEST).is_file():
            content = {"kind": KIND, **manifest}
        else:
            content = self.manifest()
            wanted = json.loads(json.dumps(manifest["terms"]))
            if content["terms"] != wanted:
                names = sorted(name for name in wanted if content["terms"].get(name) != wanted[name])
                raise InputError(
                    f"the study in {self.folder} has other terms ({', '.join(names)}); give the same, or another "
                    "folder."
                )
            content["seeds"] = max(content["seeds"], manifest["seeds"])
        write_whole(self.folder / MANIFEST, json.dumps(content, indent=2, default=str) + "\n")

    def manifest(self) -> dict[str, Any]:
        """What is known about the study as a whole.

        Raises:
            InputError: There is none, or it is of another kind.
        """
        try:
            content: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            said = f"{MANIFEST} cannot be read ({why})"
            raise InputError(f"{self.folder} holds no study: {said}; give the folder of one.") from error
        if content.get("kind") != KIND:
            raise InputError(f"{self.folder} holds another study than one of CIFAR-10; name another folder.")
        return content

    def rows(self) -> dict[tuple[str, ...], Row]:
        """All that was found, by key; a line that a killed process left unfinished is left out."""
        return {tuple(row["key"]): row for row in read_rows(self.folder / ROWS)}

    def keep(self, key: tuple[str, ...], row: Row) -> Row:
        """Append a row; when this returns it is on the disk."""
        kept = {"key": list(key), **row}
        keep_row(self.folder / ROWS, kept)
        return kept

    def path(self, *parts: str) -> Path:
        """A file of the study, its folder made."""
        path = self.folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keep_arrays(self, arrays: Mapping[str, NDArray[Any]], *parts: str) -> None:
        """Write arrays into one file, by name."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **dict(arrays))
        write_whole(self.path(*parts), buffer.getvalue())

    def arrays(self, *parts: str) -> dict[str, NDArray[Any]]:
        """What `keep_arrays` wrote."""
        with np.load(self.path(*parts)) as file:
            return {name: file[name] for name in file.files}

    def pack_into(self, folder: Path) -> None:
        """Write what reports are made from into another folder: no backbones, features or heads."""
        judged = [path.relative_to(self.folder) for path in sorted(self.folder.glob("seed-*/judged/*.npz"))]
        for name in (Path(MANIFEST), Path(ROWS), *judged):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, (self.folder / name).read_bytes())


def holds_cifar(folder: Path) -> bool:
    """Whether a folder holds a study of this kind."""
    try:
        return bool(json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("kind") == KIND)
    except (OSError, ValueError, AttributeError):
        return False
