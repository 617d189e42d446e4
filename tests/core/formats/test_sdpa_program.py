"""Programmes of others in the SDPA format, read."""

import gzip

import numpy as np
import pytest
from scipy import sparse

from cvxrobust.core.conic.cones import PSD, NonNegative, SecondOrder, Zero, svec
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import InputError
from cvxrobust.core.formats import write_program
from cvxrobust.core.formats.sdpa_program import read_sdpa_program
from cvxrobust.core.settings import Settings
from cvxrobust.core.testing.planted import planted_program

SMALL = """"An example, with a remark
* and another
 2 = mDIM
 2 = nBLOCK
 (2, -2) = bLOCKsTRUCT
{1.0D+00, -2}
0 1 1 1 -1.0
0 1 2 2 -1.0
1 1 1 2 0.5
1 2 1 1 1.0
2 2 2 2 +3.
"""


def written(tmp_path, text, name="small.dat-s"):
    path = tmp_path / name
    path.write_text(text, encoding="ascii")
    return path


def test_a_file_reads_as_its_manual_says(tmp_path):
    """min x1 - 2 x2 with [[1, x1/2], [x1/2, 1]] psd and x1, 3 x2 nonnegative."""
    program = read_sdpa_program(written(tmp_path, SMALL.replace(" = bLOCKsTRUCT", "")))
    assert program.cones == (PSD(2), NonNegative(2))
    assert program.q == pytest.approx([1.0, -2.0])
    assert program.b - program.A @ [4.0, 5.0] == pytest.approx([*svec([[1.0, 2.0], [2.0, 1.0]]), 4.0, 15.0])


@pytest.mark.parametrize("cones", [(PSD(3), NonNegative(2), PSD(1)), (PSD(2), SecondOrder(3), Zero(1), NonNegative(3))])
@pytest.mark.parametrize("suffix", [".dat-s", ".dat-s.gz"])
def test_what_is_written_is_read_back_with_its_optimum(tmp_path, cones, suffix):
    program, planted = planted_program(2, cones, columns=4)
    write_program(program, tmp_path / f"planted{suffix}")
    read = read_sdpa_program(tmp_path / f"planted{suffix}")
    found = get_backend("clarabel").solve(read, Settings(tolerance=1e-6))
    assert read.q @ found.x == pytest.approx(program.q @ planted.x, rel=1e-5, abs=1e-5)


def test_matrices_come_back_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(0)
    matrices = [np.diag(rng.standard_normal(4)) for _ in range(3)]
    A = sparse.csc_array(np.stack([svec(matrix) for matrix in matrices], axis=1))
    program = ConicProgram(rng.standard_normal(3), A, svec(np.diag(rng.standard_normal(4))), (PSD(4),))
    write_program(program, tmp_path / "diagonal.dat-s")
    read = read_sdpa_program(tmp_path / "diagonal.dat-s")
    assert np.array_equal(read.A.toarray(), program.A.toarray())
    assert np.array_equal(read.b, program.b)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        (" 2 = mDIM", "two", "should begin with the number of unknowns"),
        (" 2 = nBLOCK", "0", "should begin with the number of blocks"),
        ("(2, -2) = bLOCKsTRUCT", "(2, 0)", "block sizes are"),
        ("(2, -2) = bLOCKsTRUCT", "(2, x)", "block sizes hold a word that is no number"),
        ("1.0D+00", "1.0,0", "five for each"),
        ("2 2 2 2 +3.", "2 2 2 2", "cut short"),
        ("2 2 2 2 +3.", "3 2 2 2 3.", "entry 5, 3 2 2 2 3, is no place"),
        ("2 2 2 2 +3.", "2 3 2 2 3.", "is no place"),
        ("2 2 2 2 +3.", "2 2 2 3 3.", "is no place"),
        ("2 2 2 2 +3.", "2 2 1 2 3.", "is no place"),
        ("2 2 2 2 +3.", "2 2 0 0 3.", "is no place"),
        ("2 2 2 2 +3.", "2 2 1.5 2 3.", "is no place"),
        ("2 2 2 2 +3.", "2 2 2 2 nan", "not finite"),
        ("2 2 2 2 +3.", "1 1 2 1 3.", "twice"),
    ],
)
def test_a_file_that_says_something_else_is_refused_with_the_place(tmp_path, old, new, what):
    text = SMALL.replace(old, new).replace(" = bLOCKsTRUCT", "")
    with pytest.raises(InputError, match=what):
        read_sdpa_program(written(tmp_path, text))


@pytest.mark.parametrize("text", ["", '"only a remark\n', "2\n"])
def test_a_file_without_a_beginning_is_refused(tmp_path, text):
    with pytest.raises(InputError, match="is no SDPA file"):
        read_sdpa_program(written(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "binary.dat-s").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "half.dat-s.gz").write_bytes(gzip.compress(SMALL.encode())[:-9])
    (tmp_path / "none.dat-s.gz").write_bytes(b"no gzip")
    for name in ("binary.dat-s", "half.dat-s.gz", "none.dat-s.gz"):
        with pytest.raises(InputError, match="is no SDPA file"):
            read_sdpa_program(tmp_path / name)
