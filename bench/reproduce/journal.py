"""Where the rows of a study are kept: a folder with a manifest and a line per row, on the disk as they come."""

import gzip
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cvxrobust.bench.studies.common import Row, keep_row, read_rows
from cvxrobust.core.errors import InputError
from cvxrobust.core.files import check_folder, whole_file, write_whole

MANIFEST, ROWS, PACKED = "manifest.json", "results.jsonl", "results.jsonl.gz"

STATED = frozenset(("terms", "tables", "methods", "seeds"))
"""What the manifest of a study says at least."""


class Journal:
    """A folder of rows.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, manifest: Mapping[str, Any], resume: bool) -> None:
        """Make ready to append.

        Args:
            manifest: What the study is made on; what must be the same throughout it is under ``"terms"``.
            resume: Whether to go on with what is there.

        Raises:
            InputError: There is a study already and nobody said to go on, or it has other terms.
        """
        before = self.manifest() if (self.folder / MANIFEST).is_file() else None
        if before is not None and not resume:
            raise InputError(f"{self.folder} holds a study already; go on with --resume, or name another folder.")
        if before is None:
            content = dict(manifest)
        else:
            wanted = json.loads(json.dumps(manifest["terms"]))
            if before["terms"] != wanted:
                names = sorted(name for name in wanted if before["terms"].get(name) != wanted[name])
                raise InputError(
                    f"the study in {self.folder} has other terms ({', '.join(names)}); give the same, or another "
                    "folder."
                )
            content = before | _together(before, manifest)
            first = {name: before[name] for name in before if name != "resumed"}
            stated = json.loads(json.dumps(manifest, default=str))
            content["resumed"] = [_new(first, told) for told in (*before.get("resumed", []), stated)]
        with suppress(OSError):  # said below
            self.folder.mkdir(parents=True, exist_ok=True)
        check_folder(self.folder, f"cannot write to {self.folder}: ")
        write_whole(self.folder / MANIFEST, json.dumps(content, indent=2, default=str) + "\n")

    def manifest(self) -> dict[str, Any]:
        """What is known about the study as a whole.

        Raises:
            InputError: There is none, or it is damaged.
        """
        path = self.folder / MANIFEST
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else error
            said = f"{path.name} cannot be read ({why})"
            raise InputError(f"{self.folder} holds no study: {said}; give the folder of one.") from error
        if not isinstance(content, dict) or not content.keys() >= STATED:
            said = f"its {path.name} is about something else"
            raise InputError(f"{self.folder} holds no study: {said}; give the folder of one.")
        return content

    def keep(self, row: Row) -> None:
        """Append a row; when this returns it is on the disk."""
        keep_row(self.folder / ROWS, row)

    def rows(self) -> list[Row]:
        """Every row, those that were packed first; a line that a killed process left unfinished is left out."""
        packed = self.folder / PACKED
        lines = gzip.decompress(packed.read_bytes()).decode().splitlines() if packed.exists() else []
        found = [json.loads(line) for line in lines]
        return [*found, *read_rows(self.folder / ROWS)]

    def pack_into(self, folder: Path) -> None:
        """Write manifest and rows to another folder, compressed, the same bytes for the same rows."""
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row) + "\n" for row in self.rows())
        with whole_file(folder / PACKED) as file:
            file.write(gzip.compress(lines.encode(), mtime=0))
        write_whole(folder / MANIFEST, (self.folder / MANIFEST).read_text(encoding="utf-8"))


def _new(first: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """What is told when a study goes on, without what its beginning told already; of methods the names alone."""
    found = {name: value for name, value in told.items() if name == "created" or first.get(name) != value}
    if "methods" in found:
        found["methods"] = list(found["methods"])
    return found


def _together(before: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a study is about after it went on, perhaps with a part of it alone."""
    return {
        "tables": list(dict.fromkeys([*before["tables"], *manifest["tables"]])),
        "methods": {**before["methods"], **manifest["methods"]},
        "seeds": max(before["seeds"], manifest["seeds"]),
    }
