"""Solution files that name the variables x1, x2, ... of our MPS files.

HiGHS writes sections of primal and dual values, for columns and rows; a row's dual is the derivative of the objective
by its right-hand side, which is -y. SCIP, CBC, Gurobi and others write lines with a name and a value, and leave out
zeros.

Source: https://ergo-code.github.io/HiGHS (solution files, raw style), and files written by HiGHS 1.15 and CBC 2.10.
"""

import re

import numpy as np
from numpy.typing import NDArray

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.errors import InputError
from cvxrobust.core.formats.parsed import Answer, termination_of
from cvxrobust.core.formats.words import filled, lines_of, number, shown
from cvxrobust.core.formats.write_mps import mps_layout

Array = NDArray[np.float64]
QUOTE = "[\"'`]?"
LINE = re.compile(
    rf"\s*(?:\*\*\s*)?(?:[0-9]+\s+)?{QUOTE}([xXrR])([0-9]+){QUOTE}(?:\s*[=:]\s*|\s*,\s+|\s+|,)(\S+)", re.ASCII
)
"""CBC's mark of what is infeasible and its count, a name, what may stand between, and a value; more may follow."""

NAME = re.compile(rf"\s*(?:\*\*\s*)?(?:[0-9]+\s+)?{QUOTE}[xX][0-9]", re.ASCII)
MENTIONED = re.compile(r"(?<![\w.])[xX][0-9]+(?![\w.])", re.ASCII)
HIGHS = re.compile(r"# (Columns|Rows) [0-9]+\s*$", re.ASCII)
WORDS = re.compile("[A-Za-z]{2}")
"""What stands above the values is said in words; anything else may be a damaged value."""

COMMENT = re.compile(r"\s*(?:#|\\|//|\*(?!\*)|$)")
OBJECTIVE = re.compile(rf"\s*(?:[0-9]+\s+)?{QUOTE}(?:cost|=obj=){QUOTE}[\s=:]", re.ASCII)


def names_a_variable(text: str) -> bool:
    """Whether a line begins with a variable's name."""
    return any(NAME.match(line) for line in lines_of(text))


def read_names(text: str, program: ConicProgram, written_as: str) -> Answer:
    """Read lines with a name and a value; what is not listed is zero.

    Words may stand before the first of these lines, and lines for the rows, which say nothing new, among them.

    Raises:
        InputError: A variable is named that the programme has not, or twice, or a line cannot be read.
    """
    del written_as  # only MPS files have names
    values: dict[int, float] = {}
    said, begun = "", False
    for place, line in enumerate(lines_of(text), 1):
        found = LINE.match(line)
        if found is None and COMMENT.match(line):
            if HIGHS.match(line):
                raise InputError("it looks like HiGHS's solution file, but one of its headings is missing.")
            continue
        if found is None:
            if begun and OBJECTIVE.match(line):
                continue
            if begun or NAME.match(line) or MENTIONED.search(line) or not WORDS.search(line):
                raise InputError(f"line {place} cannot be read: {shown(line.strip())}; expected a name and a value.")
            if not said and re.search("optimal|infeas|unbound", line, re.IGNORECASE):
                said = line.strip(" #*=")
            continue
        begun = True
        value = number(found.group(3), place)
        if found.group(1) in "xX":
            _enter(values, found.group(2), value, program.q.size, place)
    x = np.zeros(program.q.size)
    for index, value in values.items():
        x[index] = value
    termination = termination_of(said) if said else Answer().termination
    return Answer(x, termination=termination, message=f"names and values. {said}".strip())


def _enter(values: dict[int, float], digits: str, value: float, size: int, place: int, letter: str = "x") -> None:
    name = letter + digits[:20]
    if not re.fullmatch("[1-9][0-9]{0,17}", digits, re.ASCII) or int(digits) > size:
        raise InputError(f"line {place} names {name}, but the programme has {letter}1 to {letter}{size}.")
    before = values.setdefault(int(digits) - 1, value)
    if before != value and before == before:  # NaN differs from itself, and is refused later
        raise InputError(f"line {place} names {name} again, with another value.")


def read_highs(text: str, program: ConicProgram, written_as: str) -> Answer:
    """Read a solution file of HiGHS in its raw style.

    Raises:
        InputError: It holds no primal values, not one for each row of the programme's file, or a line cannot be read.
    """
    del written_as  # HiGHS reads MPS only
    lines = [line.strip() for line in lines_of(text)]
    said = "unknown"
    if "Model status" in lines:
        said = next((line for line in lines[lines.index("Model status") + 1 :] if line), said)
    half = lines.index("# Dual solution values") if "# Dual solution values" in lines else len(lines)
    end = next((k for k in range(half, len(lines)) if lines[k].startswith("# Basis")), len(lines))
    found = _section(lines[:half], 0, "Columns", "x")
    if found is None:
        raise InputError(f"HiGHS found no solution (model status {said}).")
    values, count = found
    if count != program.q.size:
        raise InputError(f"it has {count} columns, but the programme's file has {program.q.size}.")
    x = filled(values, count, "x")
    duals, y = _section(lines[half:end], half, "Rows", "r"), None
    if duals is not None:
        values, count = duals
        layout = mps_layout(program).rows
        if count != layout.block.size:
            raise InputError(f"it has {count} rows, but the programme's file has {layout.block.size}.")
        y = layout.dual(-filled(values, count, "r"))
    return Answer(x, y, termination=termination_of(said), message=f"HiGHS's solution file, status {said}")


def _section(lines: list[str], before: int, name: str, letter: str) -> tuple[dict[int, float], int] | None:
    """The values of a section by their numbers, and how many it says there are; `before` lines stand before these."""
    head = re.compile(rf"# {name} ([0-9]{{1,15}})", re.ASCII)
    begin = next((k for k, line in enumerate(lines) if head.fullmatch(line)), None)
    if begin is None:
        return None
    count = int(lines[begin].split()[2])
    values: dict[int, float] = {}
    for place, line in enumerate(lines[begin + 1 : begin + 1 + count], before + begin + 2):
        found = LINE.fullmatch(line)
        if found is None or found.group(1).lower() != letter:
            raise InputError(
                f"line {place} cannot be read: {shown(line)}; expected {letter} with a number, and a value."
            )
        _enter(values, found.group(2), number(found.group(3), place), count, place, letter)
    return values, count
