"""`cvxrobust export` and `cvxrobust import` as a user meets them, with outside solvers played by ours."""

import json
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from solver_files import cbf_reader
from solver_files.written import csdp_text, mosek_text, sdpa_answer

import cvxrobust
from cvxrobust import AdversarialReLU, AdversarialSDP, StandardSDP
from cvxrobust.bench.workflows.exchange import import_solution
from cvxrobust.core.conic.program import join_programs
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import InputError
from cvxrobust.core.settings import Settings
from cvxrobust.core.solving.scoring import score

PROBLEM = ["--radius", "0.2", "--beta", "0.05"]
RELU = ["--problem", "adversarial-relu", "--n-gates", "8", "--norm", "2", *PROBLEM]


@pytest.fixture
def exported(run, csv, tmp_path):
    """Export the small file's problem under a name: its path."""

    def call(name, *options):
        path = tmp_path / name
        code, _, err = run("export", path, "--data", csv, "--quiet", *(options or PROBLEM))
        assert (code, err) == (0, "")
        return path

    return call


def solved_cbf(path):
    """Solve a CBF file as an outside solver would, and write the answer as MOSEK does."""
    file = cbf_reader.read(path)
    conic = cbf_reader.to_conic(file)
    found = get_backend("clarabel").solve(conic.program, Settings(tolerance=1e-9))
    answer = path.with_suffix(".sol")
    answer.write_text(mosek_text(file.G @ found.x + file.h, conic.duals(found.y)[0], found.x), encoding="utf-8")
    return answer


def result_of(out):
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))["result"]


@pytest.mark.parametrize(
    "options",
    [
        PROBLEM,
        [*PROBLEM, "--loss", "logistic"],
        [*PROBLEM, "--loss", "squared_hinge", "--activation", "0.2", "0.4", "0.1", "--no-standardize"],
        ["--problem", "standard-sdp", "--loss", "squared", "--test-fraction", "0"],
        RELU,
        ["--problem", "convex-relu", "--formulation", "cone", "--bias", "--n-gates", "6", "--gate-seed", "3"],
    ],
    ids=["hinge", "logistic", "squared-hinge", "squared", "relu", "cone"],
)
def test_an_answer_to_a_cbf_file_is_certified_as_solve_certifies(run, csv, exported, options):
    path = exported("problem.cbf", *options)
    code, out, err = run("import", path, solved_cbf(path), "--json")
    found = json.loads(out)
    solve = run("solve", "--data", csv, *options, "--backend", "clarabel", "--method", "direct", "--quiet", "--json")
    expected = json.loads(solve[1])
    assert (code, err) == (0, "")
    assert found["result"]["quality"] == "certified"
    assert found["result"]["upper"] == pytest.approx(expected["result"]["upper"], rel=2e-6)
    assert found["result"]["backend"] == "problem.sol"
    assert np.abs(found["result"]["dimacs_errors"]).max() < 1e-6
    assert found["accuracy"] == expected["accuracy"]
    for same in ("data", "split", "problem", "parameters", "radius_unit"):
        assert found[same] == expected[same]


def test_an_answer_to_an_sdpa_file_is_certified(run, exported):
    path = exported("problem.dat-s")
    _, x, Z, X = sdpa_answer(path)
    path.with_name("answer.sol").write_text(csdp_text(x, Z, X), encoding="utf-8")
    code, out, err = run("import", path, path.with_name("answer.sol"))
    assert code == 0
    for expected in (
        "certified: optimum in [",
        "certified gap, relative",
        "exact accuracy under attack, radius 0.2, held-out rows",
        "Radii are l2, in standard deviations of the training features.",
        "DIMACS errors of the solution file: ",
    ):
        assert expected in out
    assert "answer.sol says: CSDP's solution file" in err


@pytest.mark.parametrize("options", [PROBLEM, RELU], ids=["polynomial", "relu"])
def test_csdp_itself_solves_what_is_exported(run, exported, options):
    if shutil.which("csdp") is None:
        pytest.skip("csdp is not installed")
    path = exported("problem.dat-s", *options)
    subprocess.run(["csdp", path, path.with_name("answer.sol")], cwd=path.parent, capture_output=True, check=True)
    code, out, _ = run("import", path, path.with_name("answer.sol"), "--json")
    assert (code, result_of(out)["quality"]) == (0, "certified")


def test_highs_itself_solves_what_is_exported(run, csv, exported):
    highspy = pytest.importorskip("highspy")
    lines = csv.read_text(encoding="utf-8").splitlines()
    csv.write_text("\n".join(line.split(",", 1)[1] for line in lines), encoding="utf-8")
    # With one feature and no bias, group norms are absolute values.
    path = exported("problem.mps", "--problem", "adversarial-relu", "--radius", "0.1", "--n-gates", "10")
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", False)
    highs.readModel(str(path))
    highs.run()
    highs.writeSolution(str(path.with_suffix(".sol")), 0)
    code, out, _ = run("import", path, path.with_suffix(".sol"), "--json")
    assert (code, result_of(out)["quality"]) == (0, "certified")
    assert result_of(out)["upper"] == pytest.approx(highs.getObjectiveValue(), rel=1e-7)


def test_several_classes_are_one_file(run, csv, exported):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 2))
    rows = [f"{a},{b},{'rgb'[k]}" for (a, b), k in zip(X, np.digitize(X[:, 0], [-0.4, 0.4]), strict=True)]
    csv.write_text("\n".join(["width,height,label", *rows]), encoding="utf-8")
    path = exported("problem.cbf")
    code, out, _ = run("import", path, solved_cbf(path), "--json", "--save", path.with_name("net.npz"))
    found = result_of(out)
    assert (code, found["quality"], len(found["parts"])) == (0, "certified", 3)
    assert np.abs(found["dimacs_errors"]).max() < 1e-6
    assert cvxrobust.PolynomialNetwork.load(path.with_name("net.npz")).classes == ("b", "g", "r")


def test_the_network_is_saved_as_solve_saves_it(run, csv, exported, tmp_path):
    path, ours, theirs = exported("problem.cbf"), tmp_path / "ours.npz", tmp_path / "theirs.npz"
    assert run("import", path, solved_cbf(path), "--save", theirs, "--quiet")[0] == 0
    run("solve", "--data", csv, *PROBLEM, "--backend", "clarabel", "--save", ours, "--quiet")
    first, second = (cvxrobust.PolynomialNetwork.load(file) for file in (ours, theirs))
    own = {"backend", "certificate_upper", "certificate_lower", "certificate_relative_gap"}
    first_said, second_said = ({k: v for k, v in one.metadata.items() if k not in own} for one in (first, second))
    assert first_said == second_said
    assert (first.standardizer.scale == second.standardizer.scale).all()
    code, out, _ = run("evaluate", theirs, "--data", csv, "--radius", 0.2, "--json")
    assert (code, json.loads(out)["split"]) == (0, "test")


def test_parameters_come_back_as_they_were_given(exported):
    path = exported("problem.cbf", *PROBLEM, "--activation", "0.2", "0.4", "0.1", "--no-standardize")
    found = import_solution(path, solved_cbf(path), None, 1e-6)
    assert found.request.parameters == {"norm": 2, "radius": 0.2, "beta": 0.05, "activation": (0.2, 0.4, 0.1)}
    assert found.result.network.metadata["radius_unit"] == "units of the data"


def test_export_says_what_it_wrote(run, csv, tmp_path):
    path = tmp_path / "problem.dat-s"
    code, out, err = run("export", path, "--data", csv, *PROBLEM)
    assert code == 0
    program = AdversarialSDP(np.eye(24, 2), np.resize([-1.0, 1.0], 24), 0.2).to_conic()
    assert f"problem.dat-s: {program.b.size} rows, {program.q.size} columns, " in out
    assert f"{path.stat().st_size:,} bytes" in out
    assert "Cones: Zero(2), 26 x PSD(3), 2 x NonNegative(24)." in out
    assert f"What scoring needs is in {path}.npz" in out
    assert f"`csdp {path} {tmp_path / 'problem.sol'}`" in out
    assert f"cvxrobust import {path} {tmp_path / 'problem.sol'}" in out
    assert f"writing {program.b.size} rows" in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["problem.dat-s", "problem.dat-s.npz", "small.csv"]


def test_export_in_json_is_one_object(run, csv, tmp_path):
    code, out, err = run("export", tmp_path / "a.cbf.gz", "--data", csv, *PROBLEM, "--json", "-q")
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert (found["format"], found["cones"]["PSD(3)"], found["largest_matrix"]) == ("cbf", 26, 3)
    assert found["bytes"] == (tmp_path / "a.cbf.gz").stat().st_size
    assert found["parameters"] == {"norm": 2, "radius": 0.2, "beta": 0.05}


def test_large_programmes_are_announced_before_the_work(run, csv, tmp_path, monkeypatch):
    monkeypatch.setattr("cvxrobust.bench.workflows.exchange.MANY_ROWS", 100)
    _, _, err = run("export", tmp_path / "a.cbf", "--data", csv, *PROBLEM)
    assert "the programme will have 206 rows" in err.splitlines()[0]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("problem.sdp", PROBLEM, "unknown file format 'problem.sdp'; known: .cbf, .dat-s, .mps"),
        ("problem.mps", PROBLEM, "has cones PSD; write a .cbf file"),
        ("problem.dat-s", [*PROBLEM, "--loss", "logistic"], "no exponential cones"),
        ("problem.cbf", ["--problem", "standard-sdp", "--radius", "1"], "'standard-sdp' takes no --radius"),
        ("problem.cbf", [*PROBLEM, "--n-gates", "3"], "'adversarial-sdp' takes no --n-gates"),
        ("problem.cbf", ["--beta", "1"], "needs --radius"),
        ("problem.cbf", [*PROBLEM, "--backend", "clarabel"], "there is no option"),
        ("problem.cbf", [*RELU, "--regate", "1"], "there is no option"),
        ("none/problem.cbf", PROBLEM, "nothing can be written to"),
        ("folder.cbf", PROBLEM, "which is a folder"),
    ],
)
def test_bad_exports_end_with_code_2_and_one_line(run, csv, tmp_path, name, options, message):
    (tmp_path / "folder.cbf").mkdir()
    code, out, err = run("export", tmp_path / name, "--data", csv, "--quiet", *options)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert message in err
    assert sorted(file.name for file in tmp_path.iterdir()) == ["folder.cbf", "small.csv"]


def test_an_answer_that_is_worth_nothing_ends_with_code_1(run, exported):
    path = exported("problem.cbf")
    zeros = path.with_name("zeros.npy")
    np.save(zeros, np.zeros(cbf_reader.read(path).c.size))
    code, out, _ = run("import", path, zeros)
    assert code == 1
    assert out.startswith("unusable: optimum in [")


def test_an_answer_without_dual_variables_still_has_bounds(run, exported):
    path = exported("problem.cbf", *PROBLEM, "--loss", "squared_hinge")
    conic = cbf_reader.to_conic(cbf_reader.read(path)).program
    x = get_backend("clarabel").solve(conic, Settings(tolerance=1e-9)).x
    np.save(path.with_name("x.npy"), x)
    code, out, _ = run("import", path, path.with_name("x.npy"), "--json", "--tolerance", "1e-3")
    found = result_of(out)
    assert (code, found["quality"]) == (0, "certified")
    assert found["dimacs_errors"][2:] == [None] * 4


def test_bad_imports_end_with_code_2_and_one_line(run, csv, exported, tmp_path):
    path, other = exported("problem.cbf"), exported("other.cbf", *PROBLEM, "--test-fraction", "0.5")
    answer = solved_cbf(path)
    (tmp_path / "no.cbf").write_text("VER\n1\n", encoding="utf-8")
    (tmp_path / "damaged.cbf.npz").write_bytes((tmp_path / "problem.cbf.npz").read_bytes()[:-300])
    np.savez(tmp_path / "foreign.cbf.npz", a=1.0)
    (tmp_path / "text.cbf.npz").write_text("text", encoding="utf-8")
    shutil.copy(tmp_path / "problem.cbf.npz", tmp_path / "problem.mps.npz")
    np.save(tmp_path / "nan.npy", np.full(cbf_reader.read(path).c.size, np.nan))
    cases = [
        ((tmp_path / "no.cbf", answer), "there is no .*no.cbf.npz, which `cvxrobust export` writes"),
        ((tmp_path / "none.cbf", answer), "there is no .*none.cbf.npz"),
        ((tmp_path / "damaged.cbf", answer), "is not what `cvxrobust export` writes"),
        ((tmp_path / "foreign.cbf", answer), "is not what `cvxrobust export` writes"),
        ((tmp_path / "text.cbf", answer), "is not what `cvxrobust export` writes"),
        ((answer, path), "unknown file format 'problem.sol'"),
        ((path, tmp_path / "none.sol"), "none.sol cannot be read"),
        ((path, csv), "no solution file that is known here"),
        ((path, tmp_path / "nan.npy"), "NaN or inf in x"),
        ((other, answer), "is it the answer to another programme|rows of constraints, but"),
        ((path, answer, "--save", "net.txt"), "end the name in .npz"),
        ((path, answer, "--tolerance", "2"), "tolerance is 2.0"),
    ]
    for arguments, message in cases:
        code, out, err = run("import", *arguments)
        assert (code, out) == (2, ""), arguments
        assert len(err.splitlines()) == 1
        assert re.search(message, err), err


def test_a_sidecar_of_another_programme_is_noticed(run, exported, tmp_path):
    path = exported("problem.cbf")
    answer, sidecar = solved_cbf(path), tmp_path / "problem.cbf.npz"
    with np.load(sidecar) as stored:
        arrays = dict(stored)
    for name, change in (
        ("X", lambda X: X * [1.0, 1.001]),
        ("header", lambda h: np.array(str(h).replace("0.2", "0.3"))),
    ):
        np.savez(sidecar, **{**arrays, name: change(arrays[name])})
        code, _, err = run("import", path, answer)
        assert code == 2
        assert "makes another programme here than the one that was exported" in err
    np.savez(sidecar, **{**arrays, "header": np.array(str(arrays["header"]).replace('"format": 1', '"format": 9'))})
    assert "upgrade cvxrobust" in run("import", path, answer)[2]


# -- the function behind it -----------------------------------------------------------------------------------------


def small(cls=AdversarialSDP, *arguments, **keywords):
    X = np.random.default_rng(1).normal(size=(16, 2))
    return cls(X, np.where(X[:, 0] > 0.2, 1.0, -1.0), *arguments, **keywords)


def solution_of(problem):
    return get_backend("clarabel").solve(problem.to_conic(), Settings(tolerance=1e-9))


@pytest.mark.parametrize(
    "problem",
    [
        small(AdversarialSDP, 0.2),
        small(StandardSDP, loss="squared"),
        small(AdversarialReLU, 0.1, n_gates=6, regate=2),
    ],
    ids=["adversarial", "squared", "relu"],
)
def test_a_good_solution_is_certified(problem):
    found = score(problem, solution_of(problem), source="elsewhere")
    reference = cvxrobust.solve(replace(problem, regate=0) if hasattr(problem, "regate") else problem, "clarabel")
    assert found.quality == "certified"
    assert found.certificate.upper == pytest.approx(reference.certificate.upper, rel=2e-6)
    assert (found.backend, found.rounds, found.problem) == ("elsewhere", 1, None)
    assert found.report == reference.report


def test_bounds_hold_whatever_the_solution():
    problem = small(AdversarialSDP, 0.2)
    best, right = cvxrobust.solve(problem, "clarabel").certificate, solution_of(problem)
    rng = np.random.default_rng(0)
    for wrong in (
        replace(right, y=-right.y),
        replace(right, y=right.y + rng.normal(size=right.y.size)),
        replace(right, x=-right.x),
        replace(right, x=1e90 * right.x, y=1e90 * right.y),
        replace(right, x=np.full_like(right.x, np.nan), s=None, y=np.full_like(right.y, np.inf)),
        Solution(Termination.INFEASIBLE, y=right.y),
        Solution(Termination.ERROR),
    ):
        found = score(problem, wrong)
        assert found.certificate.upper >= best.lower * (1.0 - 1e-9)
        assert found.certificate.lower <= best.upper * (1.0 + 1e-9)
        assert found.termination == wrong.termination


def test_dual_variables_alone_give_the_lower_bound():
    problem = small(AdversarialSDP, 0.2)
    right = solution_of(problem)
    found = score(problem, Solution(Termination.CONVERGED, y=right.y))
    assert found.certificate.lower == pytest.approx(score(problem, right).certificate.lower, rel=1e-9)
    assert found.network.n_neurons == 0


def test_classes_are_scored_together():
    X = np.random.default_rng(1).normal(size=(18, 2))
    problem = AdversarialSDP(X, np.digitize(X[:, 0], [-0.4, 0.4]), 0.1)
    joined = join_programs([part.to_conic() for part in problem.parts])
    solution = get_backend("clarabel").solve(joined, Settings(tolerance=1e-9))
    found = score(problem, solution)
    assert found.quality == "certified"
    assert found.certificate.upper == pytest.approx(joined.q @ solution.x + joined.offset, rel=1e-6)
    assert len(found.parts) == 3
    assert np.abs(found.dimacs_errors).max() < 1e-6


def test_vectors_of_the_wrong_length_are_refused():
    problem = small(AdversarialSDP, 0.2)
    right = solution_of(problem)
    for name in ("x", "s", "y"):
        vector = getattr(right, name)
        for wrong in (vector[1:], np.append(vector, 0.0), vector[:, None]):
            with pytest.raises(InputError, match=f"the solution's {name} has shape"):
                score(problem, replace(right, **{name: wrong}))
    with pytest.raises(InputError, match="has no conic programme"):
        score("problem", right)
