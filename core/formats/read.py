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

import codecs
import csv
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from cvxrobust.core.formats.words import DECIMAL_COMMA, lines_of, number, numbers
from cvxrobust.core.strangers import described, worded

Array = NDArray[np.float64]
PARTS = ("x", "s", "y")
SUFFIXES = {known.name: known.suffix for known in FORMATS.values()}
HEAD = 4000
"""Characters at a file's beginning, within which its kind says what it is."""
MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32 text", codecs.BOM_UTF32_BE: "UTF-32 text", codecs.BOM_UTF16_LE: "UTF-16 text",
    codecs.BOM_UTF16_BE: "UTF-16 text", b"\x1f\x8b": "compressed; unpack it, and",
}  # fmt: skip
"""What files that are no UTF-8 begin with."""

LARGEST_ENTRY = 64
"""Bytes that a number may take in an array."""

HEADERS = 100_000
"""Bytes for what else is in the file of an array."""

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
    except InputError:
        raise
    except OSError as error:
        raise InputError(
            f"the solution file {file} cannot be read ({error.strerror or error}); check the path."
        ) from error
    except Exception as error:  # whatever the parsers of other people raise: it is the file's fault
        raise InputError(f"{file} cannot be read ({described(error)}); expected {KINDS}.") from error
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
        return _arrays(file, max(program.q.size, program.b.size))
    text = _text(file)
    if file.suffix == ".json":
        return _json(file, text)
    for kind in _KINDS:
        if not kind.found_in(text, program, written_as):
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
        except (ValueError, LookupError, ArithmeticError) as error:
            raise InputError(f"{file} looks like {kind.name}, but is damaged ({described(error)}).") from error
    try:
        return _numbers(file, text, program.q.size)
    except UnknownNameError:
        raise
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _text(file: Path) -> str:
    """The text of a file: UTF-8, with or without a mark at its beginning."""
    content = file.read_bytes()
    for mark, name in MARKS.items():
        if content.startswith(mark):
            raise InputError(f"{file} is {name}; save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{file} is no UTF-8 text (line {line}), and its name says no kind of numbers; expected {KINDS}."
        ) from error


@dataclass(frozen=True)
class _Kind:
    """A kind of solution file: what it is called, which formats it answers, how it is told and read."""

    name: str
    formats: tuple[str, ...]
    found_in: Callable[[str, ConicProgram, str], bool]
    read: Callable[[str, ConicProgram, str], Answer]


def _looks_like_csdp(text: str, program: ConicProgram, written_as: str) -> bool:
    # Nothing else has lines of five, which say where, after one with all of x.
    first, second, *_ = (line.split() for line in [*text.split("\n", 2), ""])
    if len(second) != 5:
        return False
    says_where = all(word.isdecimal() and int(word) > 0 for word in second[:4]) and second[0] in ("1", "2")
    return len(first) == program.q.size or (written_as == "sdpa" and says_where)


_KINDS = (
    _Kind("MOSEK's solution file", ("cbf", "mps"), lambda text, *_: "SOLUTION STATUS" in text[:HEAD], read_mosek),
    _Kind("SDPA's result file", ("sdpa",), lambda text, *_: "xVec" in text, read_sdpa),
    _Kind("HiGHS's solution file", ("mps",), lambda text, *_: "# Primal solution values" in text[:HEAD], read_highs),
    _Kind("CSDP's solution file", ("sdpa",), _looks_like_csdp, read_csdp),
    _Kind("a list of names and values", ("mps",), lambda text, *_: names_a_variable(text), read_names),
)


def _numbers(file: Path, text: str, size: int) -> Answer:
    lines = lines_of(text)
    head = next((line for line in lines if line.strip()), "")
    separator = next((mark for mark in ";\t," if mark in head), ",")
    names = [name.strip().strip("\"'") for name in head.split(separator)]
    if set(names) & set(PARTS):
        return _columns(file, lines, separator)
    if not text.strip():
        return Answer(message="plain numbers")
    if not re.match(r"\s*[-+.0-9in]", text, re.ASCII | re.IGNORECASE):
        raise InputError(f"it is no solution file that is known here; expected {KINDS}.")
    # Commas stand between numbers, unless only then there are as many of these as the programme has.
    words = text.replace(";", " ").split()
    if "," in text and len(words) == size and all(DECIMAL_COMMA.fullmatch(word) for word in words if "," in word):
        return Answer(numbers([line.replace(";", " ") for line in lines]), message="plain numbers")
    return Answer(numbers([line.replace(",", " ").replace(";", " ") for line in lines]), message="plain numbers")


def _columns(file: Path, lines: list[str], separator: str) -> Answer:
    """CSV with a header; columns may end at different lengths, but none has a hole."""
    cells: dict[str, list[float]] = {}
    ended: dict[str, int] = {}
    names: list[str] = []
    for place, row in enumerate(csv.reader(lines, delimiter=separator), 1):
        if not any(cell.strip() for cell in row):
            continue
        if not names:
            names = [name.strip() for name in row]
            cells = {name: [] for name in names}
            if len(cells) < len(names):
                raise InputError(f"line {place} names a column twice.")
            continue
        if len(row) > len(names):
            raise InputError(f"line {place} has {len(row)} cells, but the header {len(names)}.")
        for name, cell in zip(names, row, strict=False):
            if not cell.strip():
                ended.setdefault(name, place)
            elif name in ended:
                raise InputError(f"line {ended[name]} has no value for {name}, but lines after it do.")
            else:
                cells[name].append(number(cell.strip(), place))
    return _by_name(file, cells)


def _json(file: Path, text: str) -> Answer:
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON ({worded(error)}).") from error
    return _of_file(file, found if isinstance(found, Mapping) else {"x": found})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise InputError("it gives a name twice.")
    return found


def _arrays(file: Path, size: int) -> Answer:
    try:
        with file.open("rb") as opened, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _refuse_bombs(file, size)
            found = np.load(opened, allow_pickle=False)
            if isinstance(found, np.ndarray):
                return _of_file(file, {"x": found})
            with found:
                return _of_file(file, {name: found[name] for name in found.files})
    except (InputError, OSError):
        raise
    except Exception as error:  # those of NumPy, of zip and of zlib, and what damaged sizes cause
        said = f"{file} cannot be read as {file.suffix} ({described(error)}); pickles are not read."
        raise InputError(said) from error


def _refuse_bombs(file: Path, size: int) -> None:
    """A compressed file may unfold to more than any memory holds."""
    if file.suffix != ".npz" or not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.file_size > LARGEST_ENTRY * size + HEADERS:
                raise InputError(
                    f"{file} holds {member.filename!r} of {member.file_size:,} bytes; the vectors of this programme "
                    f"have {size} numbers at most."
                )


def _of_file(file: Path, found: Mapping[str, Any]) -> Answer:
    try:
        return _by_name(file, found)
    except UnknownNameError:
        raise
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def _by_name(file: Path, found: Mapping[str, Any]) -> Answer:
    if unknown := [name for name in found if name not in PARTS]:
        raise UnknownNameError(f"part of a solution in {file}:", unknown[0], PARTS)
    vectors = {name: None if values is None else _vector(name, values) for name, values in found.items()}
    return Answer(**vectors, message=f"plain numbers ({', '.join(vectors)})", termination=Termination.CONVERGED)


def _vector(name: str, values: Any) -> Array:
    """Real numbers, or words for them; nothing that NumPy would make into numbers besides."""
    given = np.asarray(values) if not isinstance(values, list) else _listed(name, values)
    if given.dtype.kind == "U" and given.ndim == 1:
        given = _listed(name, given.tolist())
    if given.dtype.kind not in "iuf":
        raise InputError(f"{name} is no vector of numbers: it holds {given.dtype}.")
    return given.astype(np.float64)


def _listed(name: str, values: list[Any]) -> Array:
    try:
        return np.array([_entry(value, k) for k, value in enumerate(values, 1)], dtype=np.float64)
    except InputError as error:
        raise InputError(f"{name} is no vector of numbers: {str(error).replace('line', 'entry', 1)}") from error


def _entry(value: Any, place: int) -> float:
    if isinstance(value, str):
        return number(value.strip(), place)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"line {place} is a {type(value).__name__}.")
    try:
        return float(value)
    except OverflowError as error:
        raise InputError(f"line {place} is a whole number that is too large.") from error
