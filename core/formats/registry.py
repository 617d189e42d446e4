"""Which format a file is in, by the end of its name."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.errors import UnknownNameError
from cvxrobust.core.formats.write_cbf import write_cbf
from cvxrobust.core.formats.write_mps import write_mps
from cvxrobust.core.formats.write_sdpa import write_sdpa


@dataclass(frozen=True)
class ProgramFormat:
    """A file format of conic programmes.

    Args:
        name: ``"cbf"``, ``"sdpa"`` or ``"mps"``.
        suffix: What its files' names end in.
        holds: Its cones, in words.
        command: How a solver is run on it, with ``{file}`` and ``{answer}``.
        answer_suffix: What the answer's name ends in, then.
        write: Writes a programme.
    """

    name: str
    suffix: str
    holds: str
    command: str
    answer_suffix: str
    write: Callable[[ConicProgram, Path], None]

    def answer(self, path: Path) -> str:
        """The name of the solution file in `example`."""
        name = path.name.removesuffix(".gz").removesuffix(self.suffix)
        return str(path.with_name(name + self.answer_suffix))

    def example(self, path: Path) -> str:
        """A command that solves a file of this format."""
        return self.command.format(file=path, answer=self.answer(path))


FORMATS = {
    known.suffix: known
    for known in (
        ProgramFormat("cbf", ".cbf", "every cone", "mosek {file}", ".sol", write_cbf),
        ProgramFormat("sdpa", ".dat-s", "all but exponential cones", "csdp {file} {answer}", ".sol", write_sdpa),
        ProgramFormat("mps", ".mps", "linear programmes", "highs --solution_file {answer} {file}", ".sol", write_mps),
    )
}
"""By suffix; ``.gz`` may follow any of them."""


def format_of(path: str | os.PathLike[str]) -> ProgramFormat:
    """The format of a file.

    Raises:
        UnknownNameError: Its name ends in nothing known.
    """
    name = Path(path).name
    bare = name.removesuffix(".gz")
    for suffix, known in FORMATS.items():
        if bare.endswith(suffix) and bare != suffix:
            return known
    raise UnknownNameError("file format", name, FORMATS, "The end of the name decides; .gz after it compresses.")


def write_program(program: ConicProgram, path: str | os.PathLike[str]) -> ProgramFormat:
    """Write a programme in the format that the file's name asks for. The file appears when it is complete.

    Returns:
        The format.

    Raises:
        UnknownNameError: The name ends in nothing known.
        UnsupportedProgramError: The format lacks a cone of the programme's.
        OSError: The file cannot be written.
    """
    found = format_of(path)
    found.write(program, Path(path))
    return found
