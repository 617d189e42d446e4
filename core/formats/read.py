"""Solution files of outside solvers, read back as a `Solution` in our signs and our order of rows.

What a file is shows in its content, or in its name where that says numbers:

- MOSEK's ``.sol`` (of a CBF or MPS file), with its dual variables;
- SDPA's result file and CSDP's solution file (of a ``.dat-s`` file), with theirs;
- HiGHS's solution file (of an MPS file), with its row duals; lists of lines with a name and a value, as SCIP, CBC and
  Gurobi write them, where a variable that is not listed is zero;
- plain numbers: x alone in ``.txt``, ``.csv`` or ``.npy``, or x, s and y by their names in ``.npz``, ``.json`` or the
  header of a ``.csv``, in the conventions of `ConicProgram`.

Nobody's slacks are believed but those given by name: s is ``b - A x``, so what a solver left violated shows as the
distance of s to the cone.
"""

import csv
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.formats.parsed import Answer
from cvxrobust.core.formats.read_mosek import read_mosek
from cvxrobust.core.formats.read_named import names_a_variable, read_highs, read_names
from cvxrobust.core.formats.read_sdpa import read_csdp, read_sdpa
from cvxrobust.core.formats.registry import FORMATS

Array = NDArray[np.float64]
PARTS = ("x", "s", "y")
SUFFIXES = {known.name: known.suffix for known in FORMATS.values()}
HEAD = 4000
"""Characters at a file's beginning, within which its kind says what it is."""
KINDS = "MOSEK .sol, SDPA, CSDP, HiGHS, name-and-value lines, or numbers in .txt, .csv, .npy, .npz or .json"


def read_solution(path: str | os.PathLike[str], program: ConicProgram, written_as: str) -> Solution:
    """Read an outside solver's answer to a programme.

    Args:
        path: The solution file.
        program: The programme it answers.
        written_as: Name of the format that the solver was given it in: ``"cbf"``, ``"sdpa"`` or ``"mps"``.

    Returns:
        x, ``s = b - A x``, and y where the file has dual variables; the message says what kind of file it was. The
        termination is the file's own word for it, and "converged" where it has none.

    Raises:
        InputError: There is no such file, its kind is unknown or does not go with the format, vectors have the wrong
            length, or numbers are not finite.
        UnknownNameError: `written_as` is none of the formats.
    """
    file = Path(path)
    if written_as not in SUFFIXES:
        raise UnknownNameError("file format", written_as, SUFFIXES)
    try:
        answer = _read(file, program, written_as)
    except OSError as error:
        raise InputError(f"the solution file {file} cannot be read ({error.strerror or error}).") from error
    except UnicodeError as error:
        raise InputError(f"{file} is no text, and its name says no kind of numbers; expected {KINDS}.") from error
    x = _checked(file, "x", answer.x, program.q.size)
    y = _checked(file, "y", answer.y, program.b.size)
    s = _checked(file, "s", answer.s, program.b.size)
    if x is None and y is None:
        raise InputError(f"{file} holds no solution: neither x nor y.")
    if s is None and x is not None:
        s = program.b - program.A @ x
    return Solution(answer.termination, x=x, s=s, y=y, message=answer.message)


def _checked(file: Path, name: str, vector: Array | None, size: int) -> Array | None:
    if vector is None:
        return None
    if vector.shape != (size,):
        found = vector.size if vector.ndim == 1 else f"shape {vector.shape}"
        raise InputError(
            f"{file} holds {name} of {found} numbers, but this programme's has {size}; is it the answer to another "
            "programme?"
        )
    if not np.isfinite(vector).all():
        first = int(np.argmin(np.isfinite(vector)))
        raise InputError(f"{file} holds NaN or inf in {name}, first at position {first}; there is nothing to score.")
    return vector


def _read(file: Path, program: ConicProgram, written_as: str) -> Answer:
    if file.suffix in (".npy", ".npz"):
        return _arrays(file)
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".json":
        return _json(file, text)
    for kind in _KINDS:
        if not kind.found_in(text, program):
            continue
        if written_as not in kind.formats:
            answered = " or ".join(SUFFIXES[name] for name in kind.formats)
            raise InputError(
                f"{file} looks like {kind.name}, which answers a {answered} file; this programme was exported as "
                f"{SUFFIXES[written_as]}."
            )
        try:
            return kind.read(text, program, written_as)
        except InputError as error:
            raise InputError(f"{file}: {error}") from error
        except (ValueError, IndexError, KeyError) as error:
            raise InputError(f"{file} looks like {kind.name}, but is damaged ({error}).") from error
    return _numbers(file, text)


@dataclass(frozen=True)
class _Kind:
    """A kind of solution file: what it is called, which formats it answers, how it is told and read."""

    name: str
    formats: tuple[str, ...]
    found_in: Callable[[str, ConicProgram], bool]
    read: Callable[[str, ConicProgram, str], Answer]


def _looks_like_csdp(text: str, program: ConicProgram) -> bool:
    # Nothing else has lines of five after one with all of x.
    lines = text.split("\n", 2)
    return len(lines) > 1 and len(lines[0].split()) == program.q.size and len(lines[1].split()) == 5


_KINDS = (
    _Kind("MOSEK's solution file", ("cbf", "mps"), lambda text, _: "SOLUTION STATUS" in text[:HEAD], read_mosek),
    _Kind("SDPA's result file", ("sdpa",), lambda text, _: "xVec" in text, read_sdpa),
    _Kind("HiGHS's solution file", ("mps",), lambda text, _: "# Primal solution values" in text[:HEAD], read_highs),
    _Kind("CSDP's solution file", ("sdpa",), _looks_like_csdp, read_csdp),
    _Kind("a list of names and values", ("mps",), lambda text, _: names_a_variable(text), read_names),
)


def _numbers(file: Path, text: str) -> Answer:
    words = text.replace(",", " ").replace(";", " ").split()
    if words and set(words[: len(PARTS)]) & set(PARTS):
        return _columns(file, text)
    try:
        return Answer(np.array(words, dtype=np.float64) if words else None, message="plain numbers")
    except ValueError as error:
        raise InputError(f"{file} is no solution file that is known here; expected {KINDS}.") from error


def _columns(file: Path, text: str) -> Answer:
    """CSV with a header; columns end at different lengths, so cells may be empty."""
    rows = list(csv.reader(text.splitlines()))
    names = [name.strip() for name in rows[0]]
    cells = {name: [row[k] for row in rows[1:] if len(row) > k and row[k].strip()] for k, name in enumerate(names)}
    return _by_name(file, cells)


def _json(file: Path, text: str) -> Answer:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise InputError(f"{file} is not JSON ({error}).") from error
    return _by_name(file, found if isinstance(found, Mapping) else {"x": found})


def _arrays(file: Path) -> Answer:
    try:
        with file.open("rb") as opened:
            found = np.load(opened, allow_pickle=False)
            return _by_name(
                file, {name: found[name] for name in found.files} if file.suffix == ".npz" else {"x": found}
            )
    except (ValueError, KeyError, TypeError, EOFError, AttributeError, BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{file} cannot be read as {file.suffix} ({error}); pickles are not read.") from error


def _by_name(file: Path, found: Mapping[str, Any]) -> Answer:
    if unknown := [name for name in found if name not in PARTS]:
        raise UnknownNameError(f"part of a solution in {file}:", unknown[0], PARTS)
    vectors: dict[str, Array | None] = {}
    for name, values in found.items():
        try:
            vectors[name] = None if values is None else np.asarray(values, dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise InputError(f"{file}: {name} is no vector of numbers ({error}).") from error
    return Answer(**vectors, message=f"plain numbers ({', '.join(vectors)})", termination=Termination.CONVERGED)
