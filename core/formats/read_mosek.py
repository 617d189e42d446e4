"""MOSEK's solution files: text in sections, a line for each variable, constraint and conic row.

From version 10 on, MOSEK reads every constraint of a CBF file as an affine conic one, in the file's order, with
matrices as lower triangles by columns scaled as our svec is. Earlier it gave linear rows to the section CONSTRAINTS.

Source: https://docs.mosek.com/latest/capi/sol-format.html, and files written by MOSEK 11.2.
"""

import re

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.errors import InputError
from cvxrobust.core.formats.parsed import Answer, termination_of
from cvxrobust.core.formats.words import integer, lines_of, number
from cvxrobust.core.formats.write_cbf import cbf_layout
from cvxrobust.core.formats.write_mps import mps_layout

Array = NDArray[np.float64]
SECTIONS = ("CONSTRAINTS", "AFFINE CONIC CONSTRAINTS", "VARIABLES")
"""Those that are read; a matrix variable is none of ours."""

TWO_WORDS = re.compile(r"(?:LOWER|UPPER) LIMIT|DUAL (?:LOWER|UPPER)|CONIC DUAL")
"""Headings of columns that have two words; each entry has one."""

ACTIVITY, DUAL_LOWER, DUAL_UPPER, CONIC_DUAL = 3, 6, 7, 4
"""Columns of the lines; conic lines have other columns than the rest."""


def read_mosek(text: str, program: ConicProgram, written_as: str) -> Answer:
    """Read a solution file.

    Raises:
        InputError: It lacks the variables, has not one line for each row of the programme, or a line cannot be read.
    """
    values: dict[str, list[float]] = {name: [] for name in SECTIONS}
    said: dict[str, str] = {}
    section, index, columns = "", 0, 0
    for place, line in enumerate(lines_of(text), 1):
        words = line.split()
        if not words:
            continue
        if words[0] == "INDEX":
            columns = len(TWO_WORDS.sub("one", line).split())
            continue
        if not re.search("[0-9]", line) and line == line.upper() and ":" not in line:
            section, index = line.strip(), 0
        elif not section and ":" in line:
            key, value = line.split(":", 1)
            said[key.strip()] = value.strip()
        elif section in SECTIONS:
            found = integer(words[0], place)
            if values[section] and found != index + 1:
                raise InputError(f"line {place} has the index {found} after {index}; a line is missing or damaged.")
            if len(words) != columns:
                raise InputError(f"line {place} has {len(words)} words, but its section {columns} columns.")
            values[section].append(_value(section, words, place))
            index = found
    x = np.array(values["VARIABLES"])
    status = said.get("SOLUTION STATUS", "UNKNOWN")
    linear, conic = values["CONSTRAINTS"], values["AFFINE CONIC CONSTRAINTS"]
    entries = np.array(linear + conic)
    y = _mps_dual(program, entries) if written_as == "mps" else _cbf_dual(program, entries, len(linear))
    return Answer(x, y, termination=termination_of(status), message=f"MOSEK's solution file, status {status}")


def _value(section: str, words: list[str], place: int) -> float:
    """What counts of a line: the activity of a variable, or the multiplier of a row.

    Multipliers are derivatives of the objective by lower limits.
    """
    if section == "VARIABLES":
        return _column(words, ACTIVITY, place)
    if section == "CONSTRAINTS":
        return _column(words, DUAL_LOWER, place) - _column(words, DUAL_UPPER, place)
    return _column(words, CONIC_DUAL, place)


def _column(words: list[str], column: int, place: int) -> float:
    if len(words) <= column:
        raise InputError(f"line {place} has {len(words)} words, expected {column + 1} or more; it is cut short.")
    return number(words[column], place)


def _require(entries: Array, expected: int) -> None:
    if entries.size != expected:
        raise InputError(
            f"MOSEK's solution file has {entries.size} rows of constraints, but the programme's file has {expected}; "
            "it answers another programme."
        )


def _mps_dual(program: ConicProgram, entries: Array) -> Array:
    layout = mps_layout(program).rows
    _require(entries, layout.block.size)
    # MPS rows say A x <= b where CBF rows say b - A x >= 0.
    return layout.dual(-entries)


def _cbf_dual(program: ConicProgram, entries: Array, linear: int) -> Array:
    found = cbf_layout(program)
    scalar, matrix = found.scalar.block.size, found.matrix.block.size
    _require(entries, scalar + matrix)
    if linear:
        is_linear = np.concatenate([np.full(size, name.startswith("L")) for name, size in found.cones])
        if np.count_nonzero(is_linear) != linear:
            raise InputError(f"MOSEK's solution file has {linear} linear constraints, which is not the programme's.")
        # Linear rows came first.
        order = np.argsort(~is_linear, kind="stable")
        sorted_entries = entries[:scalar].copy()
        entries = entries.copy()
        entries[order] = sorted_entries
    # Off-diagonal entries come times sqrt(2), and count once.
    scaled = entries[scalar:] / np.sqrt(found.matrix.weights)
    return found.scalar.dual(entries[:scalar]) + found.matrix.dual(scaled)
