"""Conic programmes as files for outside solvers, and their solution files back as `Solution`.

The end of a file's name decides the format. `write_program` writes a `ConicProgram`, `read_solution` reads what a
solver made of it, with our signs and our order of rows.
"""

from cvxrobust.core.formats.read import read_solution
from cvxrobust.core.formats.registry import FORMATS, ProgramFormat, format_of, write_program

__all__ = ["FORMATS", "ProgramFormat", "format_of", "read_solution", "write_program"]
