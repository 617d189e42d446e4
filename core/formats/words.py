"""Words of solution files as numbers: whatever cannot be read is an error that names its line, never a silent zero.

Fortran's exponents are read (``1.0D+00``, and ``0.3-100`` where three digits left no room for the letter), and commas
where they can only be decimal ones. Digits of other scripts, underscores and hexadecimal numbers, which Python would
take, are refused.
"""

import re
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.errors import InputError

Array = NDArray[np.float64]

SHOWN = 40
"""Characters of a word or line that messages repeat."""

PLAIN = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
FORTRAN = re.compile(r"([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:[dDqQ]([-+]?[0-9]+)|([-+][0-9]{3}))", re.ASCII)
DECIMAL_COMMA = re.compile(r"[-+]?[0-9]+,[0-9]+(?:[eEdD][-+]?[0-9]+)?", re.ASCII)
THOUSANDS = re.compile(r"[-+]?[1-9][0-9]{0,2}(?:,[0-9]{3})+", re.ASCII)
NOT_FINITE = re.compile(r"[-+]?(?:inf(?:inity)?|nan)", re.ASCII | re.IGNORECASE)
FAST = re.compile(r"[-+0-9.eE\s]*", re.ASCII)
"""What holds nothing else is left to NumPy, which takes no other numbers made of these."""


def lines_of(text: str) -> list[str]:
    """The lines of a text, whatever ends them; the first is line 1 to everybody who reads messages."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def number(word: str, line: int) -> float:
    """A number as solvers and people write them.

    Raises:
        InputError: It is none, or could be two; names the line.
    """
    if PLAIN.fullmatch(word) or NOT_FINITE.fullmatch(word):
        return float(word)
    if (found := FORTRAN.fullmatch(word)) is not None:
        return float(f"{found.group(1)}e{found.group(2) or found.group(3)}")
    if THOUSANDS.fullmatch(word):
        raise InputError(f"line {line} says {shown(word)}, where the comma could stand before decimals or thousands.")
    if DECIMAL_COMMA.fullmatch(word):
        return number(word.replace(",", "."), line)
    raise InputError(f"line {line} says {shown(word)}, which is no number.")


def integer(word: str, line: int, least: int = 0) -> int:
    """A whole number, at least `least`.

    Raises:
        InputError: It is none; names the line.
    """
    if not re.fullmatch(r"\+?[0-9]{1,18}", word, re.ASCII) or int(word) < least:
        raise InputError(f"line {line} says {shown(word)}, expected a whole number, {least} or more.")
    return int(word)


def numbers(lines: Iterable[str], first: int = 1) -> Array:
    """All numbers of some lines, which blanks separate; `first` is the number of the first line.

    Raises:
        InputError: A word is none; names its line.
    """
    lines = list(lines)
    text = "\n".join(lines)
    if FAST.fullmatch(text):
        try:
            return np.array(text.split(), dtype=np.float64)
        except ValueError:
            pass  # said below, with its line
    found = [number(word, place) for place, line in enumerate(lines, first) for word in line.split()]
    return np.array(found, dtype=np.float64)


def filled(values: Mapping[int, float], size: int, letter: str) -> Array:
    """A vector from its numbered entries, all of which have to be there.

    Raises:
        InputError: One is missing; says which, by its letter and number.
    """
    if (missing := next((k for k in range(size) if k not in values), None)) is not None:
        raise InputError(f"it has no line for {letter}{missing + 1}; it is cut short, or a line is damaged.")
    return np.array([values[k] for k in range(size)], dtype=np.float64)


def shown(text: str) -> str:
    """The beginning of a word or line, with everything unprintable in it spelt out."""
    return ascii(text) if len(text) <= SHOWN else f"{text[:SHOWN]!a} ..."
