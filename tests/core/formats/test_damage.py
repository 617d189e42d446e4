"""Solution files as people and accidents leave them: read where they can mean one thing, else refused with the line."""

import json
import random
from itertools import zip_longest

import numpy as np
import pytest
from mutations import mutated
from solver_files.written import csdp_text, mosek_text, sdpa_answer, sdpa_text

from cvxrobust.core.conic.cones import NonNegative, Zero
from cvxrobust.core.errors import InputError
from cvxrobust.core.formats import read_solution, write_program
from cvxrobust.core.testing.planted import LINEAR, planted_program

LINEAR_PROGRAM, RIGHT = planted_program(0, LINEAR)
SIZE = RIGHT.x.size
HIGHS = (
    "Model status\nOptimal\n\n# Primal solution values\nFeasible\nObjective 1\n# Columns {n}\n{x}\n# Rows {m}\n{r}\n"
    "\n# Dual solution values\nFeasible\n# Columns {n}\n{x}\n# Rows {m}\n{y}\n\n# Basis\nHiGHS v1\nNone\n"
)


def named(vector, letter="x", start=0):
    return "\n".join(f"{letter}{k} {float(v)!r}" for k, v in enumerate(vector, 1))


def read(folder, content, written_as="mps", name="problem.sol", program=LINEAR_PROGRAM):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_solution(path, program, written_as)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("x2 1.5D+00", 1.5),
        ("x2 0.3-100", 0.3e-100),
        ("x2 -.25d1", -2.5),
        ("x2 0,5", 0.5),
        ("x2 0,125", 0.125),
        ("x2 1,5E+00", 1.5),
        ("x2 = 2", 2.0),
        ("x2=2", 2.0),
        ("x2: 2", 2.0),
        ("'x2' 2", 2.0),
        ('"x2", 2', 2.0),
        ("X2\t2\t(obj:1)", 2.0),
        ("  1 x2  2   0", 2.0),
        ("**  1 x2  2   0", 2.0),
        ("x2 2\n# x3 7\nr1 4\ncost 3", 2.0),
    ],
)
def test_numbers_and_names_are_read_as_others_write_them(tmp_path, line, value):
    for text in (line, f"\ufeff{line}", f"some solver, optimal\n{line}\r\n"):
        expected = np.zeros(SIZE)
        expected[1] = value
        assert read(tmp_path, text).x.tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x3 1.0e", "line 2 says '1.0e', which is no number"),
        ("x3 1.0D+0O", r"line 2 says '1.0D\+0O'"),
        ("x3 1,234", "line 2 says '1,234', where the comma could stand before decimals or thousands"),
        ("x3 1_0", "line 2 says '1_0'"),
        ("x3 0x10", "line 2 says '0x10'"),
        ("x3 ١", r"line 2 says '\\u0661'"),
        ("x3 ****", r"line 2 says '\*\*\*\*'"),
        ("x3", "line 2 cannot be read: 'x3'"),
        ("x 3 0.5", "line 2 cannot be read"),
        ("3 0.5", "line 2 cannot be read"),
        ("x03 0.5", "line 2 names x03, but the programme has x1 to"),
        ("x0 0.5", "line 2 names x0"),
        ("x99999999999999999999 0.5", "line 2 names x9999"),
        ("x1 2", "line 2 names x1 again, with another value"),
        ("x3 nan", "NaN or inf in x, first at position 2"),
        ("x3 1e999", "NaN or inf in x, first at position 2"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_and_never_a_zero(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, f"x1 1\n{line}\n")


def test_what_stands_in_a_header_is_no_excuse_for_a_value(tmp_path):
    for head in ("value of x1 is 3", "1 0.5", "- -1.6"):
        with pytest.raises(InputError, match="line 1 cannot be read"):
            read(tmp_path, f"{head}\nx2 2\n")


def test_highs_lines_are_read_by_their_names_in_any_order(tmp_path):
    m = LINEAR_PROGRAM.b.size
    parts = {"n": SIZE, "m": m, "x": named(RIGHT.x), "r": named(np.zeros(m), "r"), "y": named(-RIGHT.y, "r")}
    text = HIGHS.format(**parts)
    assert read(tmp_path, text).x.tolist() == RIGHT.x.tolist()
    swapped = "\n".join(reversed(parts["x"].split("\n")))
    assert read(tmp_path, HIGHS.format(**parts | {"x": swapped})).x.tolist() == RIGHT.x.tolist()
    for change, message in (
        ({"x": parts["x"].replace("x2 ", "x1 ")}, "line 9 names x1 again"),
        ({"x": parts["x"].replace("x2 ", "y2 ")}, "line 9 cannot be read"),
        ({"y": parts["y"].replace("r3 ", "r3 ?")}, "which is no number"),
        ({"n": SIZE - 1}, f"has {SIZE - 1} columns"),
    ):
        with pytest.raises(InputError, match=message):
            read(tmp_path, HIGHS.format(**parts | change))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", '{"x": [1, 2], "x": [3, 4]}', "gives a name twice"),
        ("a.json", '{"x": [1, true]}', "entry 2 is a bool"),
        ("a.json", '{"x": [1, 1e400, null]}', "entry 3 is a NoneType"),
        ("a.json", f'{{"x": [1{"0" * 400}]}}', "entry 1 is a whole number that is too large"),
        ("a.json", "[" * 100_000, "is not JSON"),
        ("a.csv", "x,y\n1,2\n,3\n4,5\n", "line 3 has no value for x, but lines after it do"),
        ("a.csv", "x,y\n1,2,3\n", "line 2 has 3 cells, but the header 2"),
        ("a.csv", "x,x\n1,2\n", "line 1 names a column twice"),
        ("a.csv", "x\n1\n2?\n", "line 3 says '2.', which is no number"),
        ("a.txt", "1\n2\n3;4 5,x\n", "line 3 says 'x'"),
        ("a.sol", "x1 2".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ("a.sol", "# gr\u00f6\u00dfe\nx1 2".encode("latin-1"), r"is no UTF-8 text \(line 1\)"),
        ("a.sol", "\n1 2\n\x00", "which is no number"),
    ],
)
def test_plain_numbers_that_cannot_be_read_say_where(tmp_path, name, content, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, content, name=name)


def test_commas_are_decimal_where_they_can_be_nothing_else(tmp_path):
    commas = [f"{float(v):.6f}".replace(".", ",") for v in RIGHT.x]
    for text in ("\n".join(commas), ";".join(commas), "x\n" + "\n".join(f'"{word}"' for word in commas)):
        assert read(tmp_path, text).x == pytest.approx(RIGHT.x, abs=1e-6)
    m = LINEAR_PROGRAM.b.size
    rows = [f"{x};{y}" for x, y in zip([*commas, *[""] * (m - SIZE)], ["0,5"] * m, strict=True)]
    found = read(tmp_path, "x;y\n" + "\n".join(rows))
    assert (found.x == pytest.approx(RIGHT.x, abs=1e-6), found.y.tolist()) == (True, [0.5] * m)


@pytest.mark.parametrize(
    "make", [lambda x: x + 1j, lambda x: x > 0, lambda x: x.astype("M8[s]"), lambda x: x.astype("S")]
)
def test_arrays_of_anything_but_real_numbers_are_refused(tmp_path, make):
    np.savez(tmp_path / "a.npz", x=make(RIGHT.x))
    with pytest.raises(InputError, match=r"a\.npz: x is no vector of numbers: it holds"):
        read_solution(tmp_path / "a.npz", LINEAR_PROGRAM, "mps")


def test_an_archive_that_unfolds_to_more_than_it_could_hold_is_not_unfolded(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10**5))
    with pytest.raises(InputError, match=r"holds 'x.npy' of 800,128 bytes"):
        read_solution(tmp_path / "a.npz", LINEAR_PROGRAM, "mps")


def files(folder):
    """A right answer in every kind of file: name, content, format and programme."""
    program, right = planted_program(1, (NonNegative(3), Zero(1)))
    x, m = right.x, program.b.size
    path = folder / "problem.dat-s"
    write_program(program, path)
    sizes, own, X, Y = sdpa_answer(path)
    highs = HIGHS.format(n=x.size, m=m, x=named(x), r=named(np.zeros(m), "r"), y=named(-right.y, "r"))
    mosek = mosek_text(np.zeros(m), np.zeros(m), x)
    np.savez(folder / "a.npz", x=x, y=right.y, s=right.s)
    np.save(folder / "a.npy", x)
    plain = "\n".join(map(repr, x.tolist()))
    pairs = zip_longest(map(repr, x.tolist()), map(repr, right.y.tolist()), fillvalue="")
    columns = "x,y\n" + "\n".join(map(",".join, pairs))
    found = {
        "names": ("a.sol", named(x), "mps"),
        "highs": ("a.sol", highs, "mps"),
        "mosek": ("a.sol", mosek, "cbf"),
        "sdpa": ("a.result", sdpa_text(sizes, own, X, Y), "sdpa"),
        "csdp": ("a.sol", csdp_text(own, X, Y), "sdpa"),
        "plain": ("a.txt", plain, "cbf"),
        "columns": ("a.csv", columns, "cbf"),
        "json": ("a.json", json.dumps({"x": x.tolist(), "y": right.y.tolist()}), "cbf"),
        "npz": ("a.npz", (folder / "a.npz").read_bytes(), "cbf"),
        "npy": ("a.npy", (folder / "a.npy").read_bytes(), "cbf"),
    }
    return program, {
        kind: (name, content if isinstance(content, bytes) else content.encode(), form)
        for kind, (name, content, form) in found.items()
    }


KINDS = ("names", "highs", "mosek", "sdpa", "csdp", "plain", "columns", "json", "npz", "npy")


@pytest.mark.parametrize("kind", KINDS)
def test_no_accident_ends_in_anything_but_an_answer_or_an_error_that_says_why(tmp_path, kind):
    program, known = files(tmp_path)
    name, content, form = known[kind]
    rng = random.Random(kind)
    for _ in range(60):
        try:
            found = read(tmp_path, mutated(content, rng), form, name, program)
        except InputError as error:
            found = str(error)
        if isinstance(found, str):
            assert name in found
            continue
        for vector, size in ((found.x, program.q.size), (found.s, program.b.size), (found.y, program.b.size)):
            assert vector is None or (vector.shape == (size,) and vector.dtype == np.float64)
            assert vector is None or np.isfinite(vector).all()
