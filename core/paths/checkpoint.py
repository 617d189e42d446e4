"""A path on disk: every point as soon as there is one, so that whatever ends a path costs the point being solved.

A folder holds `path.json`, which says what problem its points are of, and two files per point: its network, and then,
when that is safe, what is known of it. A point without the second file is none. Files are named after the values of
beta and the radius to their last digit, so that paths on finer or wider grids find what they have in common.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, Self

import numpy as np

from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.result import Quality, Termination
from cvxrobust.core.errors import InputError
from cvxrobust.core.files import check_folder, reason, write_whole
from cvxrobust.core.networks.base import N, TwoLayerNetwork
from cvxrobust.core.paths.grid import ProblemGrid
from cvxrobust.core.paths.result import Origin, PathPoint
from cvxrobust.core.programs.rows import row_blocks

MANIFEST = "path.json"
FORMAT = 1
SKIPPED = ("beta", "found", "radius")
"""Fields that points of a path differ in, and what follows from the others."""

CLOSE = 1e-9
"""How far, relatively, the objective of a network that is read may be from what is written about it."""


@dataclass(frozen=True)
class PathFolder(Generic[N]):
    """Where the points of a path are kept.

    Args:
        place: The folder.
        grid: The problems.
        tolerance: Relative gap that points are asked for.
    """

    place: Path
    grid: ProblemGrid[N]
    tolerance: float

    @classmethod
    def of(cls, folder: str | os.PathLike[str], grid: ProblemGrid[N], tolerance: float) -> Self:
        """The folder, made if need be, and checked.

        Raises:
            InputError: It cannot be written to, holds something else, or belongs to another path.
        """
        if not isinstance(grid.problem.trivial_network(), TwoLayerNetwork):
            raise InputError(
                f"networks of {type(grid.problem).__name__} cannot be saved, so that a path of them cannot be kept; "
                "leave folder out."
            )
        place, about = Path(folder), _about(grid, tolerance)
        manifest = place / MANIFEST
        try:
            there = manifest.exists()
        except OSError as error:  # a name longer than file systems take
            raise InputError(f"folder {place} cannot be looked into: {reason(error)}; give another one.") from error
        if there:
            _require_same(manifest, about)
        else:
            if place.is_dir() and any(place.iterdir()):
                raise InputError(f"folder {place} is not empty and holds no path ({MANIFEST}); give another one.")
            try:
                place.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise InputError(f"folder {place} cannot be made: {error.strerror}; give another one.") from error
        check_folder(place, f"folder {place}: ")
        write_whole(manifest, json.dumps(about, indent=1))
        return cls(place, grid, tolerance)

    def keep(self, point: PathPoint[N]) -> None:
        """Write a point.

        Raises:
            WriteError: It cannot be written.
        """
        stem = self._stem(point.beta, point.radius)
        write_whole(stem.with_suffix(".npz"), point.network.to_bytes())
        about = {name: value for name, value in point.to_dict().items() if name not in ("index", "gap")}
        write_whole(stem.with_suffix(".json"), json.dumps(about))

    def points(self) -> Iterator[PathPoint[N]]:
        """The points of the grid that are there.

        Raises:
            InputError: A file is not what was written.
        """
        for i, beta in enumerate(self.grid.betas.tolist()):
            for j, radius in enumerate(self.grid.radii.tolist()):
                stem = self._stem(beta, radius)
                if stem.with_suffix(".json").exists():
                    yield self._read(stem, beta, radius, (i, j))

    def _stem(self, beta: float, radius: float) -> Path:
        return self.place / f"beta={beta!r},radius={radius!r}.point"  # whose suffix others replace

    def _read(self, stem: Path, beta: float, radius: float, index: tuple[int, int]) -> PathPoint[N]:
        kind: Any = type(self.grid.problem.trivial_network())
        file = stem.with_suffix(".json")
        try:
            about = json.loads(file.read_text(encoding="utf-8"))
            certificate = Certificate(float(about["upper"]), float(about["lower"]))
            network: N = kind.load(stem.with_suffix(".npz"))
            found = PathPoint(
                beta, radius, index, network, certificate, Quality(about["quality"]),
                Termination(about["termination"]), Origin(about["origin"]), str(about["backend"]),
                str(about["method"]), float(about["seconds"]), float(about["wall"]),
            )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"point {file.name} cannot be read ({error}); delete it to solve it again.") from error
        worth = self.grid.at(index).objective(network)
        if abs(worth - certificate.upper) > CLOSE * abs(worth):
            raise InputError(
                f"the network beside {file.name} is worth {worth:.10g}, not {certificate.upper:.10g} as is written "
                "there; delete both to solve the point again."
            )
        return found


def _about(grid: ProblemGrid[Any], tolerance: float) -> dict[str, Any]:
    problem: Any = grid.problem
    named = fields(problem) if is_dataclass(problem) else ()
    known = {one.name: _hash(getattr(problem, one.name, None)) for one in named if one.name not in SKIPPED}
    own = np.asarray(getattr(problem, "radius", 0.0))
    return {
        "format": FORMAT,
        "problem": type(problem).__name__,
        "tolerance": tolerance,
        "fields": known,
        "radii_are_factors_on": _hash(own) if np.unique(own).size > 1 else None,
    }


def _require_same(manifest: Path, about: dict[str, Any]) -> None:
    try:
        found = json.loads(manifest.read_text(encoding="utf-8"))
        known = dict(found["fields"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{manifest} cannot be read ({error}); give another folder.") from error
    own = about["fields"]
    # What a folder does not name was nothing before there was a field for it.
    nothing = _hash(None)
    other = [name for name in sorted({*own, *known}) if own.get(name, nothing) != known.get(name, nothing)]
    other += [name for name in sorted(about) if name != "fields" and about[name] != found.get(name)]
    if other:
        raise InputError(
            f"the points in {manifest.parent} are of another path: it differs in {', '.join(other)}; give another "
            "folder."
        )


def _hash(value: Any) -> str:
    """What tells a value from others: a plain one as it is, anything else by its content."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    digest = hashlib.sha256()
    _feed(digest, value)
    return digest.hexdigest()[:32]


def _feed(digest: Any, value: Any) -> None:
    if hasattr(value, "blocks") and hasattr(value, "shape"):  # inputs that are read in blocks
        for _, block in row_blocks(value):
            digest.update(np.ascontiguousarray(block).data)
    elif isinstance(value, list | tuple):
        for one in value:
            _feed(digest, one)
    elif is_dataclass(value) and not isinstance(value, type):
        for one in fields(value):
            _feed(digest, getattr(value, one.name, None))
    elif isinstance(value, np.ndarray) and value.dtype != object:
        digest.update(f"{value.shape}{value.dtype}".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    else:
        digest.update(repr(np.asarray(value, dtype=object).tolist() if hasattr(value, "__array__") else value).encode())
