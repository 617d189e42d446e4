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
from cvxrobust.core.formats.write_mps import mps_layout

Array = NDArray[np.float64]
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf\w*|nan)"
LINE = re.compile(rf"^\s*(?:\*\*\s*)?(?:\d+\s+)?([xX]\d+)\s+({NUMBER})(?:\s|$)", re.MULTILINE | re.IGNORECASE)


def names_a_variable(text: str) -> bool:
    """Whether there is a line with a variable's name and a value."""
    return LINE.search(text) is not None


def read_names(text: str, program: ConicProgram, written_as: str) -> Answer:
    """Read lines with a name and a value; what is not listed is zero.

    Raises:
        InputError: A variable is named that the programme has not.
    """
    del written_as  # only MPS files have names
    x = np.zeros(program.q.size)
    first = LINE.search(text)
    for found in LINE.finditer(text):
        index = int(found.group(1)[1:]) - 1
        if not 0 <= index < x.size:
            raise InputError(f"it names {found.group(1)}, but the programme has x1 to x{x.size}.")
        x[index] = float(found.group(2))
    head = text[: first.start()] if first else ""
    said = next(
        (line.strip(" #*=") for line in head.splitlines() if re.search("optimal|infeas|unbound", line, re.I)), ""
    )
    termination = termination_of(said) if said else Answer().termination
    return Answer(x, termination=termination, message=f"names and values. {said}".strip())


def read_highs(text: str, program: ConicProgram, written_as: str) -> Answer:
    """Read a solution file of HiGHS in its raw style.

    Raises:
        InputError: It holds no primal values, or not one for each row of the programme's file.
    """
    del written_as  # HiGHS reads MPS only
    status = re.search(r"Model status\s*\n\s*(.+)", text)
    said = status.group(1).strip() if status else "unknown"
    primal, _, rest = text.partition("# Dual solution values")
    dual = rest.partition("# Basis")[0]
    x = _section(primal, "Columns")
    if x is None:
        raise InputError(f"HiGHS found no solution (model status {said}).")
    rows, y = _section(dual, "Rows"), None
    if rows is not None:
        layout = mps_layout(program).rows
        if rows.size != layout.block.size:
            raise InputError(f"it has {rows.size} rows, but the programme's file has {layout.block.size}.")
        y = layout.dual(-rows)
    return Answer(x, y, termination=termination_of(said), message=f"HiGHS's solution file, status {said}")


def _section(text: str, name: str) -> Array | None:
    found = re.search(rf"# {name} (\d+)\n", text)
    if found is None:
        return None
    lines = text[found.end() :].split("\n", int(found.group(1)))[: int(found.group(1))]
    return np.array([float(line.split()[1]) for line in lines])
