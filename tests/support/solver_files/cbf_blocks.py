"""The text of a CBF file taken apart into its blocks; `cbf_reader` says what they mean."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# How many indices each line of a block of coordinates begins with; a number follows them.
COORDINATES = {
    "OBJFCOORD": 3,
    "OBJACOORD": 1,
    "OBJBCOORD": 0,
    "FCOORD": 4,
    "ACOORD": 2,
    "BCOORD": 1,
    "HCOORD": 4,
    "DCOORD": 3,
}


class CBFError(ValueError):
    """The file is not what the format's description asks for, or holds what this reader does not know."""


@dataclass
class Blocks:
    """The blocks of a file as they come."""

    version: int | None = None
    maximise: bool | None = None
    scalar: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    orders: dict[str, tuple[int, ...]] = field(default_factory=dict)
    integers: tuple[int, ...] = ()
    powers: dict[str, tuple[tuple[float, ...], ...]] = field(default_factory=dict)
    entries: dict[str, tuple[NDArray[np.intp], Array]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def take(self, lines: list[str], at: int) -> int:
        """Read the block that begins at a line and return where the next one does."""
        word = lines[at]
        if word in self.seen:
            raise CBFError(f"{word} appears twice.")
        self.seen.add(word)
        try:
            return self._take(word, lines, at + 1)
        except (IndexError, ValueError) as error:
            raise CBFError(f"{word}: {error}") from error

    def _take(self, word: str, lines: list[str], at: int) -> int:
        head = lines[at].split()
        size, start = (int(head[0]) if head[0].isdigit() else 0), at + 1
        body = [line.split() for line in lines[start : start + size]]
        if word == "VER":
            self.version = size
            if not 1 <= size <= 4:
                raise CBFError(f"version {head[0]} is not known, only 1 to 4.")
            return start
        if word == "OBJSENSE":
            self.maximise = {"MIN": False, "MAX": True}[head[0]] if head[0] in ("MIN", "MAX") else _refuse(head[0])
            return start
        if word == "OBJBCOORD":
            self.entries[word] = np.zeros((1, 0), dtype=np.intp), np.array([float(head[0])])
            return start
        if word in ("VAR", "CON"):
            return self._cones(word, size, int(head[1]), lines, start)
        if word in ("POWCONES", "POW*CONES"):
            return self._powers(word, size, int(head[1]), lines, start)
        if len(body) < size:
            raise CBFError(f"announces {size} lines, but {len(body)} follow.")
        if word in ("PSDVAR", "PSDCON"):
            self.orders[word] = tuple(int(line[0]) for line in body)
        elif word == "INT":
            self.integers = tuple(int(line[0]) for line in body)
        elif word in COORDINATES:
            self.entries[word] = _coordinates(body, COORDINATES[word])
        else:
            raise CBFError("this block is not known.")
        return start + size

    def _cones(self, word: str, total: int, count: int, lines: list[str], start: int) -> int:
        pairs = [line.split() for line in lines[start : start + count]]
        self.scalar[word] = tuple((name, int(size)) for name, size in pairs)
        if len(pairs) != count or sum(size for _, size in self.scalar[word]) != total:
            raise CBFError(f"{count} cones of {total} scalars were announced, got {self.scalar[word]}.")
        return start + count

    def _powers(self, word: str, count: int, total: int, lines: list[str], start: int) -> int:
        found = []
        for _ in range(count):
            size = int(lines[start])
            found.append(tuple(float(line) for line in lines[start + 1 : start + 1 + size]))
            start += 1 + size
        self.powers[word] = tuple(found)
        if sum(map(len, found)) != total:
            raise CBFError(f"{total} parameters were announced, got {found}.")
        return start


def _refuse(word: str) -> Any:
    raise CBFError(f"{word!r} was not expected.")


def _coordinates(body: list[list[str]], indices: int) -> tuple[NDArray[np.intp], Array]:
    if any(len(line) != indices + 1 for line in body):
        raise CBFError(f"expected {indices} indices and a number on every line.")
    places = np.array([line[:indices] for line in body], dtype=np.intp).reshape(-1, indices)
    return places, np.array([line[indices] for line in body], dtype=np.float64)


def blocks(text: str) -> Blocks:
    """The blocks of a text's first instance.

    Raises:
        CBFError: Says in which block and why.
    """
    found = Blocks()
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    at = 0
    while at < len(lines) and lines[at] != "CHANGE":
        at = found.take(lines, at)
    return found
