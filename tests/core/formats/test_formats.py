"""Programmes as files, read by others than their writers, and answers of outside solvers read back."""

import gzip
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from solver_files import cbf_reader
from solver_files.written import csdp_text, mosek_text, read_sdpa, sdpa_answer, sdpa_text

from cvxrobust.core.conic.cones import PSD, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import InputError, UnknownNameError, UnsupportedProgramError
from cvxrobust.core.formats import FORMATS, format_of, read_solution, write_program
from cvxrobust.core.formats.fingerprint import fingerprint, is_same
from cvxrobust.core.settings import Settings
from cvxrobust.core.testing.planted import LINEAR, MIXED, planted_program

SYMMETRIC = tuple(cone for cone in MIXED if not isinstance(cone, Exponential))
POLYHEDRAL = (*LINEAR, SecondOrder(2), SecondOrder(1), PSD(1), NonNegative(0), SecondOrder(2))
PLANTED = {"cbf": (".cbf", MIXED), "sdpa": (".dat-s", SYMMETRIC), "mps": (".mps", POLYHEDRAL)}


def planted(kind, seed):
    """A planted programme with an offset, and its solution."""
    program, solution = planted_program(seed, PLANTED[kind][1])
    return replace(program, offset=0.75), solution


def written(program, kind, folder):
    path = folder / f"problem{PLANTED[kind][0]}"
    assert write_program(program, path).name == kind
    return path


def solve(program):
    return get_backend("clarabel").solve(program, Settings(tolerance=1e-9))


def require_right(program, found, solution, tolerance=1e-5):
    """The planted point (it is the only optimum), and dual variables that prove it (there may be others)."""
    assert found.x == pytest.approx(solution.x, abs=tolerance)
    assert found.s == pytest.approx(program.b - program.A @ found.x, abs=1e-12)
    assert np.abs(program.dimacs_errors(found)).max() <= tolerance


# -- CBF ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_cbf_file_has_the_planted_optimum(tmp_path, seed):
    program, solution = planted("cbf", seed)
    conic = cbf_reader.to_conic(cbf_reader.read(written(program, "cbf", tmp_path)))
    found = solve(conic.program)
    assert found.x == pytest.approx(solution.x, abs=1e-5)
    assert conic.objective(found.x) == pytest.approx(program.q @ solution.x + 0.75, abs=1e-6)


def test_a_cbf_file_reads_as_its_reference_says(tmp_path):
    rows = [[1.0, 0.0], [0.0, -2.0], [0.0, 0.1], [3.0, 0.0], [0.0, 4.0], *np.zeros((3, 2)), [0.0, 2.0**0.5], [5.0, 0.0]]
    cones = (Exponential(), Zero(1), NonNegative(1), SecondOrder(2), PSD(2))
    matrix = sparse.csc_array(np.array(rows[:7] + rows[7:]))
    b = np.array([0.0, 7.0, 0.0, 0.0, 0.0, 1e-300, 0.0, 1.0 / 3.0, 0.0, 0.0])
    path = written(ConicProgram(np.array([0.0, 0.5]), matrix, b, cones, 0.25), "cbf", tmp_path)
    blocks = {
        block.split("\n", 1)[0]: block.split("\n")[1:]
        for block in path.read_text(encoding="ascii").strip().split("\n\n")
    }
    assert blocks["# Written by cvxrobust."] == ["VER", "2"]
    assert blocks["OBJSENSE"] == ["MIN"]
    assert blocks["VAR"] == ["2 1", "F 2"]
    assert blocks["CON"] == ["7 4", "EXP 3", "L= 1", "L+ 1", "Q 2"]
    assert blocks["PSDCON"] == ["1", "2"]
    assert blocks["OBJACOORD"] == ["1", "1 0.5"]
    assert blocks["OBJBCOORD"] == ["0.25"]
    # The exponential cone is turned round.
    assert blocks["ACOORD"] == ["5", "0 1 -0.1", "1 1 2.0", "2 0 -1.0", "3 0 -3.0", "4 1 -4.0"]
    assert blocks["BCOORD"] == ["2", "1 7.0", "5 1e-300"]
    assert blocks["HCOORD"] == ["2", "0 1 1 0 -1.0", "0 0 1 1 -5.0"]
    assert blocks["DCOORD"] == ["1", "0 0 0 0.3333333333333333"]


def test_only_exponential_cones_need_version_2(tmp_path):
    program, _ = planted_program(0, SYMMETRIC)
    assert "VER\n1\n" in written(program, "cbf", tmp_path).read_text(encoding="ascii")


@pytest.mark.parametrize("seed", range(3))
def test_mosek_answers_to_a_cbf_file_are_read(tmp_path, seed):
    program, solution = planted("cbf", seed)
    file = cbf_reader.read(written(program, "cbf", tmp_path))
    conic = cbf_reader.to_conic(file)
    found = solve(conic.program)
    answer = tmp_path / "problem.sol"
    answer.write_text(mosek_text(file.G @ found.x + file.h, conic.duals(found.y)[0], found.x), encoding="utf-8")
    read = read_solution(answer, program, "cbf")
    assert read.termination is Termination.CONVERGED
    require_right(program, read, solution)


@pytest.mark.parametrize(
    ("status", "termination"),
    [("PRIMAL_INFEASIBLE_CER", "infeasible"), ("DUAL_INFEASIBLE_CER", "unbounded"), ("UNKNOWN", "numerical")],
)
def test_mosek_says_how_it_ended(tmp_path, status, termination):
    program, solution = planted("cbf", 0)
    answer = tmp_path / "problem.sol"
    nothing = np.zeros(program.b.size)
    answer.write_text(mosek_text(nothing, nothing, solution.x, status), encoding="utf-8")
    assert read_solution(answer, program, "cbf").termination == termination


def test_linear_rows_of_older_mosek_files_come_first(tmp_path):
    program, solution = planted_program(0, (SecondOrder(3), NonNegative(2), Zero(1), SecondOrder(4)))
    y = solution.y
    conic = np.concatenate([y[:3], y[6:]])
    text = mosek_text(np.zeros(7), conic, solution.x)
    lines = [
        "CONSTRAINTS\nINDEX NAME AT ACTIVITY LOWER LIMIT UPPER LIMIT DUAL LOWER DUAL UPPER",
        *(f"{k} C{k} LL 0.0 0.0 NONE {max(v, 0.0)!r} {max(-v, 0.0)!r}" for k, v in enumerate(y[3:6].tolist())),
    ]
    answer = tmp_path / "problem.sol"
    answer.write_text(text.replace("AFFINE", "\n".join(lines) + "\n\nAFFINE"), encoding="utf-8")
    assert read_solution(answer, program, "cbf").y == pytest.approx(y, abs=1e-12)


@pytest.mark.parametrize("seed", range(2))
def test_mosek_reads_a_cbf_file_and_its_own_words_are_read_back(tmp_path, seed):
    mosek = pytest.importorskip("mosek")
    program, solution = planted("cbf", seed)
    path = written(program, "cbf", tmp_path)
    with mosek.Env() as env, env.Task() as task:
        task.readdata(str(path))
        kept, n = mosek.soltype.itr, program.q.size
        basic, zeros = [mosek.stakey.supbas] * n, [0.0] * n
        file = cbf_reader.to_conic(cbf_reader.read(path))
        duals = file.duals(solve(file.program).y)[0]
        task.putsolutionnew(
            kept, [], basic, [], [], solution.x.tolist(), [], [], [], zeros, zeros, zeros, duals.tolist()
        )
        value = program.q @ solution.x + 0.75
        assert task.getprimalobj(kept) == pytest.approx(value, abs=1e-9)
        assert task.getdualobj(kept) == pytest.approx(value, abs=1e-6)
        task.writesolution(kept, str(tmp_path / "problem.sol"))
    require_right(program, read_solution(tmp_path / "problem.sol", program, "cbf"), solution)


# -- SDPA -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_an_sdpa_file_has_the_planted_optimum_and_answers_are_read(tmp_path, seed):
    program, solution = planted("sdpa", seed)
    path = written(program, "sdpa", tmp_path)
    sizes, x, X, Y = sdpa_answer(path)
    assert x == pytest.approx(solution.x, abs=1e-5)
    assert program.q @ x == pytest.approx(program.q @ solution.x, abs=1e-6)
    (tmp_path / "csdp.sol").write_text(csdp_text(x, X, Y), encoding="utf-8")
    (tmp_path / "sdpa.result").write_text(sdpa_text(sizes, x, X, Y), encoding="utf-8")
    for name in ("csdp.sol", "sdpa.result"):
        found = read_solution(tmp_path / name, program, "sdpa")
        assert found.termination is Termination.CONVERGED
        require_right(program, found, solution)


def test_an_sdpa_file_reads_as_its_manual_says(tmp_path):
    cones = (PSD(2), Zero(1), SecondOrder(3), NonNegative(1))
    root = 2.0**0.5
    A = np.array([[1.0], [3.0 * root], [0.0], [2.0], [4.0], [0.0], [5.0], [6.0]])
    b = np.array([0.0, root, 0.5, 0.25, 0.0, 0.0, 0.0, 1.0])
    program = ConicProgram(np.array([-1.5]), sparse.csc_array(A), b, cones, 0.125)
    assert written(program, "sdpa", tmp_path).read_text(encoding="ascii").splitlines() == [
        '"Written by cvxrobust. Add 0.125 to every objective.',
        "1",
        "3",
        "-3 2 3",
        "-1.5",
        *["0 1 1 1 -0.25", "0 1 2 2 0.25", "0 1 3 3 -1.0", "0 2 1 2 -1.0", "0 2 2 2 -0.5"],
        *["1 1 1 1 -2.0", "1 1 2 2 2.0", "1 1 3 3 -6.0", "1 2 1 1 -1.0", "1 2 1 2 -3.0"],
        *["1 3 1 1 -4.0", "1 3 2 2 -4.0", "1 3 3 3 -4.0", "1 3 1 3 -5.0"],
    ]


@pytest.mark.parametrize("solver", ["csdp", "sdpa"])
def test_outside_solvers_of_sdpa_files_find_the_planted_optimum(tmp_path, solver):
    if shutil.which(solver) is None:
        pytest.skip(f"{solver} is not installed")
    program, solution = planted("sdpa", 0)
    path, answer = written(program, "sdpa", tmp_path), tmp_path / "answer.sol"
    subprocess.run([solver, str(path), str(answer)], cwd=tmp_path, capture_output=True, check=True)
    # SDPA prints four digits unless its parameter file asks for more.
    require_right(program, read_solution(answer, program, "sdpa"), solution, 1e-5 if solver == "csdp" else 5e-3)


@pytest.mark.parametrize(
    ("phase", "termination"), [("pINF_dFEAS", "infeasible"), ("pUNBD", "unbounded"), ("noINFO", "numerical")]
)
def test_sdpa_says_how_it_ended(tmp_path, phase, termination):
    program, solution = planted("sdpa", 0)
    sizes = read_sdpa(written(program, "sdpa", tmp_path))[1]
    empty = [np.zeros((abs(size), abs(size))) for size in sizes]
    (tmp_path / "r").write_text(sdpa_text(sizes, solution.x, empty, empty, phase), encoding="utf-8")
    assert read_solution(tmp_path / "r", program, "sdpa").termination == termination


# -- MPS ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_highs_finds_the_planted_optimum_of_an_mps_file(tmp_path, seed):
    highspy = pytest.importorskip("highspy")
    program, solution = planted("mps", seed)
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.readModel(str(written(program, "mps", tmp_path)))
    highs.run()
    assert highs.getObjectiveValue() == pytest.approx(program.q @ solution.x + 0.75, abs=1e-6)
    highs.writeSolution(str(tmp_path / "problem.sol"), 0)
    found = read_solution(tmp_path / "problem.sol", program, "mps")
    assert found.termination is Termination.CONVERGED
    require_right(program, found, solution)


def test_mosek_reads_an_mps_file_and_its_own_words_are_read_back(tmp_path):
    mosek = pytest.importorskip("mosek")
    program, solution = planted_program(0, LINEAR)
    path, n = written(program, "mps", tmp_path), program.q.size
    with mosek.Env() as env, env.Task() as task:
        task.putintparam(mosek.iparam.read_mps_format, mosek.mpsformat.free)
        task.readdata(str(path))
        kept, basic, zeros = mosek.soltype.itr, mosek.stakey.supbas, [0.0] * n
        below, above = np.maximum(-solution.y, 0.0), np.maximum(solution.y, 0.0)
        task.putsolution(
            *[kept, [basic] * program.b.size, [basic] * n, [], (program.A @ solution.x).tolist(), solution.x.tolist()],
            *[(below - above).tolist(), below.tolist(), above.tolist(), zeros, zeros, []],
        )
        assert task.getdualobj(kept) == pytest.approx(program.q @ solution.x, abs=1e-9)
        task.writesolution(kept, str(tmp_path / "problem.sol"))
    found = read_solution(tmp_path / "problem.sol", program, "mps")
    assert found.y == pytest.approx(solution.y, abs=1e-9)
    require_right(program, found, solution)


def test_an_mps_file_reads_as_its_readers_expect(tmp_path):
    cones = (NonNegative(1), Zero(1), SecondOrder(2))
    A = np.array([[1.0, 0.0, 0.0], [0.1, 2.0, 0.0], [0.0, 4.0, 0.0], [3.0, 1.0, 0.0]])
    program = ConicProgram(np.array([-1.0, 0.0, 0.0]), sparse.csc_array(A), np.array([0.0, 7.0, 5.0, 2.0]), cones, 0.5)
    assert written(program, "mps", tmp_path).read_text(encoding="ascii").splitlines() == [
        *["* Written by cvxrobust.", "NAME cvxrobust FREE", "ROWS", " N cost", " L r1", " E r2", " L r3", " L r4"],
        *["COLUMNS", " x3 cost 0.0", " x1 cost -1.0", " x1 r1 1.0", " x1 r2 0.1", " x1 r3 3.0", " x1 r4 -3.0"],
        *[
            " x2 r2 2.0",
            " x2 r3 5.0",
            " x2 r4 3.0",
            "RHS",
            " rhs cost -0.5",
            " rhs r2 7.0",
            " rhs r3 7.0",
            " rhs r4 3.0",
        ],
        *["BOUNDS", " FR bound x1", " FR bound x2", " FR bound x3", "ENDATA"],
    ]


SCIP = "solution status: optimal solution found\nobjective value:   5.38\nx1   2.5e+00 \t(obj:1)\nx3   -1 \t(obj:0)\n"
CBC = "Optimal - objective value 5.38\n      0 x1    2.5     0\n**    2 x3   -1.0   0\n"
GUROBI = "# Solution for model cvxrobust\n# Objective value = 5.38\nx1 2.5\nx2 0\nx3 -1\n"


@pytest.mark.parametrize("text", [SCIP, CBC, GUROBI], ids=["scip", "cbc", "gurobi"])
def test_names_and_values_are_read_and_the_rest_is_zero(tmp_path, text):
    program, _ = planted("mps", 0)
    (tmp_path / "problem.sol").write_text(text, encoding="utf-8")
    found = read_solution(tmp_path / "problem.sol", program, "mps")
    assert found.x == pytest.approx([2.5, 0.0, -1.0, *np.zeros(5)])
    assert (found.y, found.termination) == (None, "converged")
    (tmp_path / "problem.sol").write_text(text.replace("x3", "x9"), encoding="utf-8")
    with pytest.raises(InputError, match="names x9, but the programme has x1 to x8"):
        read_solution(tmp_path / "problem.sol", program, "mps")


def test_a_solver_that_found_nothing_says_so(tmp_path):
    program, _ = planted("mps", 0)
    (tmp_path / "a.sol").write_text(
        "Model status\nInfeasible\n\n# Primal solution values\nNone\n\n# Dual solution values\nNone\n"
    )
    with pytest.raises(InputError, match=r"HiGHS found no solution .model status Infeasible"):
        read_solution(tmp_path / "a.sol", program, "mps")
    (tmp_path / "a.sol").write_text("Infeasible - objective value 1\n 0 x1 2 0\n")
    assert read_solution(tmp_path / "a.sol", program, "mps").termination is Termination.INFEASIBLE


# -- every format ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PLANTED)
def test_a_compressed_file_holds_the_same(tmp_path, kind):
    program, _ = planted(kind, 0)
    path = written(program, kind, tmp_path)
    write_program(program, tmp_path / f"{path.name}.gz")
    assert gzip.decompress((tmp_path / f"{path.name}.gz").read_bytes()) == path.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == [path.name, f"{path.name}.gz"]


def test_every_double_survives_the_trip(tmp_path):
    values = np.array([1.0 / 3.0, 5e-324, -1.7976931348623157e308, 0.1 + 0.2, 123456789.123456789, 1e22])
    A = sparse.csc_array(np.diag(values))
    path = written(ConicProgram(values, A, values, (NonNegative(6),)), "cbf", tmp_path)
    found = cbf_reader.read(path)
    assert (found.c == values).all()
    assert (found.h == values).all()
    assert (found.G.toarray() == -np.diag(values)).all()


@pytest.mark.parametrize("kind", PLANTED)
def test_programmes_without_rows_or_with_empty_cones_can_be_written(tmp_path, kind):
    empty = ConicProgram(
        np.zeros(2), sparse.csc_array((0, 2)), np.empty(0), (NonNegative(0), Zero(0), SecondOrder(0), PSD(0))
    )
    written(empty, kind, tmp_path)


def test_what_a_format_lacks_is_refused_with_a_way_out(tmp_path):
    program, _ = planted("cbf", 0)
    with pytest.raises(UnsupportedProgramError, match=r"no exponential cones.*write a .cbf file"):
        write_program(program, tmp_path / "problem.dat-s")
    with pytest.raises(UnsupportedProgramError, match=r"has cones Exponential, PSD, SecondOrder; write a .cbf"):
        write_program(program, tmp_path / "problem.mps")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["problem.sdp", "problem", ".cbf", "problem.gz", "problem.cbf.npz"])
def test_an_unknown_suffix_lists_those_that_work(name):
    with pytest.raises(UnknownNameError, match=r"known: \.cbf, \.dat-s, \.mps"):
        format_of(name)


def test_an_example_names_the_file_and_its_answer(tmp_path):
    for suffix, known in FORMATS.items():
        path = tmp_path / f"a.b{suffix}.gz"
        assert format_of(path) is known
        assert str(path) in known.example(path)
        assert known.answer(path) == str(tmp_path / "a.b.sol")


# -- plain numbers --------------------------------------------------------------------------------------------------


def plain_files(folder, solution):
    x, s, y = solution.x, solution.s, solution.y
    np.save(folder / "x.npy", x)
    np.savez(folder / "named.npz", x=x, s=s, y=y)
    (folder / "named.json").write_text(json.dumps({"x": x.tolist(), "y": y.tolist()}))
    (folder / "x.json").write_text(json.dumps(x.tolist()))
    (folder / "x.txt").write_text("\n".join(map(repr, x.tolist())))
    (folder / "x.csv").write_text(", ".join(map(repr, x.tolist())))
    (folder / "x.sol").write_text(" ".join(map(repr, x.tolist())) + "\n")
    columns = [[repr(v) for v in part] + [""] * (y.size - part.size) for part in (x, y)]
    rows = zip(*[[value.replace("np.float64(", "").rstrip(")") for value in column] for column in columns], strict=True)
    (folder / "named.csv").write_text("x, y\n" + "\n".join(",".join(row) for row in rows))


@pytest.mark.parametrize("name", ["x.npy", "x.json", "x.txt", "x.csv", "x.sol", "named.npz", "named.json", "named.csv"])
@pytest.mark.parametrize("kind", PLANTED)
def test_plain_numbers_are_read(tmp_path, kind, name):
    program, solution = planted(kind, 1)
    plain_files(tmp_path, solution)
    found = read_solution(tmp_path / name, program, kind)
    assert (found.x == solution.x).all()
    assert (found.y == solution.y).all() if name.startswith("named") else found.y is None
    assert found.s == pytest.approx(solution.s, abs=1e-12)


def test_given_slacks_are_kept(tmp_path):
    program, solution = planted("cbf", 1)
    np.savez(tmp_path / "a.npz", x=solution.x, s=solution.s + 1.0)
    assert (read_solution(tmp_path / "a.npz", program, "cbf").s == solution.s + 1.0).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 2 3", "holds x of 3 numbers, but this programme's has 8"),
        ("1 2 nan 4 5 6 7 8", "NaN or inf in x, first at position 2"),
        ("1 2 3 4 5 6 7 -inf", "NaN or inf in x, first at position 7"),
        ("", "holds no solution"),
        ("to be or not to be", "no solution file that is known here; expected MOSEK .sol"),
        ("x,z\n1,2", "unknown part of a solution"),
        ("x\none", "line 2 says 'one', which is no number"),
        (
            "# Primal solution values\n# Columns 1\nx1 1",
            "HiGHS's solution file, .* a .mps file; this .* exported as .cbf",
        ),
        ("xVec = {1,2}", "SDPA's result file, which answers a .dat-s file; this"),
        ("x1 2.0\nx2 3.0", "a list of names and values, which answers a .mps file; this"),
    ],
)
def test_a_file_that_is_no_answer_says_why(tmp_path, content, message):
    program, _ = planted("cbf", 0)
    (tmp_path / "answer.sol").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_solution(tmp_path / "answer.sol", program, "cbf")


def test_files_that_are_damaged_or_missing_say_so(tmp_path):
    program, solution = planted("sdpa", 0)
    path = written(program, "sdpa", tmp_path)
    sizes, x, X, Y = sdpa_answer(path)
    whole = {"a.result": sdpa_text(sizes, x, X, Y), "a.sol": csdp_text(x, X, Y)}
    (tmp_path / "a.result").write_text(whole["a.result"][:-200])
    with pytest.raises(InputError, match="cut short"):
        read_solution(tmp_path / "a.result", program, "sdpa")
    (tmp_path / "a.result").write_text(sdpa_text(sizes[:-1], x, X[:-1], Y[:-1]))
    with pytest.raises(InputError, match="yMat holds"):
        read_solution(tmp_path / "a.result", program, "sdpa")
    (tmp_path / "a.sol").write_text(whole["a.sol"] + "2 1 1\n")
    with pytest.raises(InputError, match="line 86 has 3 words, expected five"):
        read_solution(tmp_path / "a.sol", program, "sdpa")
    (tmp_path / "a.sol").write_text(whole["a.sol"] + "2 99 1 1 0.5\n")
    with pytest.raises(InputError, match="blocks that the programme's file has not"):
        read_solution(tmp_path / "a.sol", program, "sdpa")
    for name, content in (("a.npz", b"PK not"), ("a.npy", b"no"), ("a.bin", b"\xff\xfe\x00"), ("a.json", b"{")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name):
            read_solution(tmp_path / name, program, "sdpa")
    for name in ("none.sol", "."):
        with pytest.raises(InputError, match="cannot be read"):
            read_solution(tmp_path / name, program, "sdpa")
    with pytest.raises(UnknownNameError, match="known: cbf, mps, sdpa"):
        read_solution(tmp_path / "a.sol", program, "lp")
    np.save(tmp_path / "matrix.npy", np.ones((2, 4)))
    with pytest.raises(InputError, match=r"x of shape \(2, 4\) numbers"):
        read_solution(tmp_path / "matrix.npy", program, "sdpa")
    np.savez(tmp_path / "other.npz", x=solution.x, y=solution.y[1:])
    with pytest.raises(InputError, match="holds y of"):
        read_solution(tmp_path / "other.npz", program, "sdpa")


def test_mosek_answers_to_another_programme_are_refused(tmp_path):
    program, solution = planted("cbf", 0)
    answer = tmp_path / "problem.sol"
    answer.write_text(mosek_text(np.zeros(5), np.zeros(5), solution.x), encoding="utf-8")
    with pytest.raises(InputError, match="has 5 rows of constraints, but the programme's file has"):
        read_solution(answer, program, "cbf")


# -- fingerprints ---------------------------------------------------------------------------------------------------


def test_a_programme_is_recognised_up_to_rounding_and_no_further():
    program, _ = planted_program(0, MIXED)
    own = json.loads(json.dumps(fingerprint(program)))
    assert is_same(fingerprint(program), own)
    nudged = replace(program, b=program.b * (1.0 + 1e-15), q=program.q * (1.0 - 1e-15))
    assert is_same(fingerprint(nudged), own)
    changed_b, changed_A = program.b.copy(), program.A.copy()
    changed_b[3] += 1e-5
    changed_A.data[5] *= 1.00001
    others = (
        replace(program, b=changed_b),
        replace(program, A=changed_A),
        replace(program, offset=1e-6),
        replace(program, q=program.q[::-1]),
        replace(program, cones=program.cones[::-1]),
    )
    assert not any(is_same(fingerprint(other), own) for other in others)
