"""CSV files as they are found: read as text, cell by cell, so that nothing is guessed, renamed or merged."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.csv_rows import cells_of
from cvxrobust.core.errors import InputError
from cvxrobust.core.validation import look_continuous

MISSING = ("", "na", "n/a", "nan", "null", "none", "?")
"""What a missing number looks like, in lower case."""

MISSING_LABELS = ("", "?")
"""What a missing label looks like: the others may well be names of classes."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks", ":": "colons"}
"""What commonly stands between cells, in words."""

TAB = ("tab", "\\t")
"""Other spellings of a tab, which shells and TOML make hard to type."""

MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32; save it as UTF-8 text",
    b"\x00\x00\xfe\xff": "UTF-32; save it as UTF-8 text",
    b"\xff\xfe": "UTF-16 (what Excel calls Unicode text); save it as UTF-8 text",
    b"\xfe\xff": "UTF-16; save it as UTF-8 text",
    b"\x1f\x8b": "compressed by gzip; unpack it first",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; save the table as CSV",
}
"""First bytes of what is no UTF-8 text, the longest first: what it is, and what to do."""

SEPARATOR_LINE = re.compile(rb"sep=.", re.IGNORECASE)
"""What Excel writes and reads above the header line."""

UTF8_MARK = b"\xef\xbb\xbf"
LONGEST_LABEL = 1000
"""Longer ones are texts, not names of classes."""

NUMBER = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE)
"""How numbers are written: what Python reads as one, but for underscores and digits of other scripts."""

WHOLE = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)
"""How whole numbers write themselves."""


@dataclass(frozen=True)
class CsvFormat:
    """How a CSV file is to be read.

    Args:
        separator: What stands between cells: one ASCII character, or ``"tab"``.
        decimal: The decimal sign, ``"."`` or ``","``.
        missing: Texts that stand for a missing value, in all columns, as an empty cell does; None for what usually
            does: `MISSING` in columns of numbers, in upper or lower case, and `MISSING_LABELS` in that of labels.
        drop_incomplete: Leave rows with missing values out and say how many, instead of refusing the file.

    Raises:
        InputError: A sign is none of these.
    """

    separator: str = ","
    decimal: str = "."
    missing: tuple[str, ...] | None = None
    drop_incomplete: bool = False

    def __post_init__(self) -> None:
        if self.separator in TAB:
            object.__setattr__(self, "separator", "\t")
        sign = self.separator
        if len(sign) != 1 or not sign.isascii() or sign.isalnum() or sign in "\"'\r\n\0.+-_":
            raise InputError(
                f"the separator is {sign!r}; expected one character between cells, such as ',' or ';', or tab."
            )
        if self.decimal not in (".", ","):
            raise InputError(f"the decimal sign is {self.decimal!r}; expected '.' or ','.")
        if self.decimal == sign:
            raise InputError(f"{sign!r} cannot separate cells and be the decimal sign; give another separator.")


@dataclass(frozen=True, eq=False)
class Cells:
    """What stands below a header line.

    Args:
        names: The columns' names, stripped of blanks, all different.
        texts: The cells as text, stripped of blanks, shape (n, columns), of NumPy's `StringDType`.
        plain: Whether none of them holds an underscore or a letter beyond ASCII, as far as that is known.
    """

    names: tuple[str, ...]
    texts: NDArray[Any]
    plain: bool = False

    def take(self, columns: Sequence[int]) -> "Cells":
        """Some of the columns."""
        return replace(self, names=tuple(self.names[j] for j in columns), texts=self.texts[:, list(columns)])

    def rows(self, rows: NDArray[np.intp]) -> "Cells":
        """Some of the rows."""
        return replace(self, texts=self.texts[rows])

    def missing(self, form: CsvFormat, label: int) -> NDArray[np.bool_]:
        """Which cells stand for missing values, shape (n, columns); those of labels in column `label`."""
        if form.missing is not None:
            return _among(self.texts, ("", *(text.strip() for text in form.missing)))
        found = _among(self.texts, MISSING)
        # Lower case, which takes longer than all else here, only where it can matter: at words with this letter.
        words = np.strings.startswith(self.texts, "n") | np.strings.startswith(self.texts, "N")
        found[words] = _among(np.strings.lower(self.texts[words]), MISSING)
        if label >= 0:
            found[:, label] = _among(self.texts[:, label], MISSING_LABELS)
        return found


def _among(texts: NDArray[Any], known: Sequence[str]) -> NDArray[np.bool_]:
    found = np.zeros(texts.shape, dtype=np.bool_)
    for text in known:
        found |= texts == text
    return found


def read_cells(path: Path, form: CsvFormat) -> Cells:
    """The cells of a file, and the names in its header line.

    Raises:
        InputError: The file cannot be read, is no UTF-8 text (with or without a mark), has rows longer than its header
            line, or names that are empty or come twice.
    """
    # As text: a type inferred from the first rows would hide which cell is not a number.
    text = _text(path, form)
    names, texts = cells_of(path, text, form.separator)
    _check_names(path, names)
    rows = text.partition("\n")[2]
    return Cells(tuple(names), texts, "_" not in rows and rows.isascii())


def _text(path: Path, form: CsvFormat) -> str:
    """The file's text from the header line to the last line that is not blank."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error
    for mark, name in MARKS.items():
        if data.startswith(mark):
            raise InputError(f"{path} cannot be read as CSV: it is {name}.")
    data = data.removeprefix(UTF8_MARK)
    if b"\0" in data:
        raise InputError(
            f"{path} cannot be read as CSV: it holds NUL bytes, so it is UTF-16 without a mark, or no text; save it as "
            "UTF-8 text."
        )
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        raise InputError(
            f"{path} cannot be read as CSV: byte 0x{byte:02x} in line {line} is no UTF-8; the file seems to be "
            "Latin-1, Windows-1252 or in another older encoding; save it as UTF-8 text."
        ) from error
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")  # as old Macintoshes wrote it
    data = data.strip(b"\r\n" if form.separator == " " else b"\r\n ")
    if not data:
        raise InputError(f"{path} cannot be read as CSV: it is empty; expected a header line and rows.")
    first, _, rest = data.partition(b"\n")
    if SEPARATOR_LINE.fullmatch(first.strip()):
        data = rest  # Excel's own line; what it says is found out anyway
    _check_separator(path, data, form)
    return data.decode("utf-8")


def _check_separator(path: Path, data: bytes, form: CsvFormat) -> None:
    """Recognise a file whose header line has other separators than expected."""
    header = data.partition(b"\n")[0].decode("utf-8").strip("\r")
    bare = re.sub('"[^"]*"', "", header)
    if form.separator in bare:
        return
    found = next((sign for sign in SEPARATORS if sign in bare and sign not in " :"), None)
    if found is None:
        return
    # Commas that stand between digits elsewhere in the file are decimal signs.
    decimals = found != "," and form.decimal == "." and re.search(rb"\d,\d", data[:100_000])
    hint = " --decimal ','" if decimals else ""
    sign = "tab" if found == "\t" else f"'{found}'"
    raise InputError(
        f"{path} has a header line with {SEPARATORS[found]}, {some_text(header)}, but no "
        f"{SEPARATORS.get(form.separator, repr(form.separator))}; give --separator {sign}{hint}."
    )


def _check_names(path: Path, names: Sequence[str]) -> None:
    if "" in names:
        raise InputError(
            f"{path} has no name for column {names.index('') + 1} in its header line; name every column, or remove it "
            "(pandas writes row numbers so; write with index=False)."
        )
    places: dict[str, list[int]] = {}
    for column, name in enumerate(names, 1):
        places.setdefault(name, []).append(column)
    twice = [
        f"{name!r} (columns {', '.join(map(str, columns))})" for name, columns in places.items() if len(columns) > 1
    ]
    if twice:
        raise InputError(
            f"{path} has names of columns that come more than once: {some(twice)}, blanks around them left out; give "
            "every column a name of its own."
        )


def numbers(path: Path, cells: Cells, form: CsvFormat) -> NDArray[np.float64]:
    """The cells as numbers, shape (n, columns); infinite ones are left to the caller.

    Raises:
        InputError: A cell is none.
    """
    written = cells.texts
    if form.decimal == ",":
        # A point would be a thousands separator, or a second decimal sign: nobody can tell, so it makes no number.
        written = np.strings.replace(np.strings.replace(written, ".", "?"), ",", ".", count=1)
    if (found := _all_numbers(written, cells.plain)) is not None:
        return found
    wrong = np.array([NUMBER.fullmatch(text) is None for text in written.ravel().tolist()]).reshape(written.shape)
    bad = np.flatnonzero(wrong.any(axis=0))
    row = int(np.flatnonzero(wrong[:, bad[0]])[0])
    cell, name = str(cells.texts[row, bad[0]]), cells.names[bad[0]]
    raise InputError(
        f"{path} has columns that are not numbers: {some([cells.names[j] for j in bad])} (for example "
        f"{some_text(cell)} in column {name!r}, data row {row + 1}); {_advice(cell, form)}."
    )


def _all_numbers(texts: NDArray[Any], plain: bool) -> NDArray[np.float64] | None:
    """Texts as the numbers that they are; None where one is none, as of `NUMBER`."""
    together = "" if plain else "".join(texts.ravel().tolist())
    if "_" in together or not together.isascii():
        return None
    try:
        return np.asarray(texts.astype(np.float64))
    except ValueError:
        return None


def _advice(cell: str, form: CsvFormat) -> str:
    if form.decimal == "." and re.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?", cell):
        return "if the comma is its decimal sign give --decimal ',', or remove thousands separators"
    if form.decimal == "," and re.fullmatch(r"[+-]?\d+\.\d+([eE][+-]?\d+)?", cell):
        return "--decimal is ',', so numbers must not hold points"
    return (
        "encode them as numbers or remove them, name the label column with --label if one of them is it, or say with "
        "--missing what stands for a missing value"
    )


def parse_labels(path: Path, cells: Sequence[str]) -> NDArray[Any]:
    """Labels as numbers where every one is written as that number writes itself, else as the texts that they are.

    So ``01``, ``1_0``, ``1E2`` and digits of other scripts are texts, and no two texts become one label but for whole
    numbers with and without ``.0``.

    Raises:
        InputError: A label is too long to be the name of a class.
    """
    longest = max(cells, key=len, default="")
    if len(longest) > LONGEST_LABEL:
        raise InputError(
            f"{path} has a label of {len(longest)} characters, {some_text(longest)}, which is no name of a class; name "
            "another label column with --label."
        )
    values = {cell: _number(cell) for cell in set(cells)}
    if any(value is None for value in values.values()):
        return np.array(cells, dtype=np.str_)
    if all(isinstance(value, int) for value in values.values()):
        return np.array([values[cell] for cell in cells], dtype=np.int64)
    if any(isinstance(value, int) and abs(value) >= 2**53 for value in values.values()):
        return np.array(cells, dtype=np.str_)
    return whole(np.array([values[cell] for cell in cells], dtype=np.float64))


def parse_targets(path: Path, cells: Cells, form: CsvFormat, certain: bool) -> NDArray[np.float64] | None:
    """The single column of `cells` as numbers to be fitted, shape (n,); None where they are labels.

    Args:
        path: Of the file, for messages.
        cells: One column.
        form: How numbers are written.
        certain: Whether they are known to be numbers; else they have to look like measurements.

    Raises:
        InputError: They are known to be numbers, and one is none.
    """
    try:
        found = numbers(path, cells, form)[:, 0]
    except InputError:
        if certain:
            raise
        return None
    return found if certain or look_continuous(np.unique(found), found.size) else None


def _number(cell: str) -> int | float | None:
    """The number that writes itself like this; None if there is none that fits."""
    if WHOLE.fullmatch(cell):
        # Python refuses to read very long ones, and int64 holds 19 digits.
        value = int(cell) if len(cell) <= 20 else 2**64
        return value if -(2**63) <= value < 2**63 else None
    try:
        number = float(cell)
    except ValueError:
        return None
    return number if np.isfinite(number) and repr(number) == cell and cell != "-0.0" else None


def whole(labels: NDArray[Any]) -> NDArray[Any]:
    """1.0 and 1 are the same label."""
    if labels.dtype.kind == "f" and np.all(labels == np.round(labels)) and np.all(np.abs(labels) < 2**53):
        return labels.astype(np.int64)
    return labels


def some(items: Sequence[Any] | NDArray[Any], limit: int = 12) -> str:
    """The first few of many, and how many there are."""
    shown = ", ".join(str(item) for item in items[:limit])
    return shown if len(items) <= limit else f"{shown}, ... ({len(items)} in all)"


def some_text(text: str, limit: int = 60) -> str:
    """A text for a message: its beginning, if it is long."""
    return repr(text if len(text) <= limit else f"{text[: limit - 3]}...")
