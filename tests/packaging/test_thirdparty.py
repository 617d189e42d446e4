"""Packages of others beside our wheel in a fresh environment: a good one, and one with four bad plugins.

`thirdparty/cvxrobust-outsiders` brings two solvers, a problem family and a metric; `thirdparty/cvxrobust-broken` cannot
be imported, misspells its hook, takes a name that is taken and was written for another interface.
"""

import json
import re

import numpy as np
import pytest
from fresh_environment import ROOT, copied, fresh_environment

THIRDPARTY = ROOT / "tests" / "thirdparty"
GOOD, BAD = "cvxrobust-outsiders", "cvxrobust-broken"
OURS = ("clarabel", "cvxpy", "ipm", "scs", "torch")
REASONS = {
    "broken-import": ("broken", "ModuleNotFoundError: No module named 'a_solver_that_is_not_installed'"),
    "broken-hook": ("broken", "'cvxrobust_backend'"),
    "clarabel": ("duplicate", "the name is taken by plugin 'clarabel' of cvxrobust"),
    "from-the-past": ("incompatible", "it was written for plugin interface 0, this is 1"),
}
SOLVE_TWICE = """
from pathlib import Path

import numpy as np

import cvxrobust.core.solving.invoke
from cvxrobust import AdversarialSDP, Settings, solve
from cvxrobust.core.discovery.measurement import measure

if __name__ == "__main__":
    X = np.random.default_rng(0).normal(size=(20, 3))
    problem = AdversarialSDP(X, np.sign(X[:, 0]), radius=0.1, beta=0.05)
    settings = Settings(tolerance=1e-5)
    cutting = solve(problem, backend="moreau", method="cutting-set", settings=settings)
    cvxrobust.core.solving.invoke.ISOLATED_ROWS = 0
    alone = solve(problem, backend="moreau", method="direct", settings=settings)
    print(cutting.quality, alone.quality, abs(cutting.certificate.upper - alone.certificate.upper) < 1e-5)
    print(measure(alone, ["effective-neurons"]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Our wheel, the good package and the bad one."""
    found = fresh_environment(tmp_path_factory.getbasetemp())
    sources = tmp_path_factory.mktemp("sources")
    found.install(*(copied(THIRDPARTY / package, sources) for package in (GOOD, BAD)))
    yield found
    found.uninstall(GOOD, BAD)


@pytest.fixture
def csv(tmp_path):
    """Forty rows, two features, labels -1 and +1."""
    X = np.random.default_rng(0).normal(size=(40, 2))
    labels = np.where(X[:, 0] + X[:, 1] ** 2 > 0.5, 1, -1)
    path = tmp_path / "small.csv"
    rows = [f"{a!r},{b!r},{label}" for (a, b), label in zip(X.tolist(), labels, strict=True)]
    path.write_text("\n".join(["width,height,label", *rows]), encoding="utf-8")
    return path


def listed(environment, **variables):
    return json.loads(environment.cli("backends", "list", "--json", **variables).stdout)["backends"]


def solved(environment, csv, *arguments):
    done = environment.cli("solve", "--data", csv, "--beta", "0.05", "--tolerance", "1e-5", "--json", *arguments)
    return json.loads(done.stdout)["result"]


def test_good_plugins_are_listed_among_ours(environment):
    rows = {row["name"]: row for row in listed(environment) if row["status"] == "ok"}
    assert set(rows) >= {*OURS, "moreau", "qoco"}
    assert all(rows[name]["available"] == "yes" for name in (*OURS, "moreau", "qoco"))
    assert rows["moreau"]["plugin"] == "moreau (cvxrobust-outsiders)"
    assert "PSD" in rows["moreau"]["reads"]
    assert rows["qoco"]["reads"] == "NonNegative, SecondOrder, Zero"


def test_bad_plugins_are_listed_with_the_reason(environment):
    bad = {row["name"]: row for row in listed(environment) if BAD in row["plugin"]}
    assert set(bad) == set(REASONS)
    for name, (status, reason) in REASONS.items():
        assert bad[name]["status"] == status
        assert reason in bad[name]["summary"]


def test_bad_plugins_do_no_harm(environment):
    """Nor does QOCO, which cannot read the doctor's matrix inequality and gets a problem that it can."""
    done = environment.cli("backends", "doctor", "--json")
    outcomes = {row["name"]: row["outcome"] for row in json.loads(done.stdout)["backends"]}
    every = (*OURS, "moreau", "qoco")
    assert {name: outcomes[name] for name in every} == dict.fromkeys(every, "ok")


def test_strict_mode_names_all_the_bad_ones(environment):
    done = environment.cli("backends", "list", expect=2, CVXROBUST_STRICT_PLUGINS="1")
    for entry in ("broken-import", "broken-hook", "broken-duplicate", "broken-version"):
        assert f"plugin '{entry}' of cvxrobust-broken is" in done.stderr


def test_a_plugin_can_be_blocked(environment, csv):
    rows = {row["name"]: row for row in listed(environment, CVXROBUST_DISABLE_BACKENDS="moreau")}
    assert rows["moreau"]["status"] == "blocked"
    assert "CVXROBUST_DISABLE_BACKENDS" in rows["moreau"]["summary"]
    assert rows["qoco"]["status"] == "ok"
    asked = ("solve", "--data", csv, "--backend", "moreau", "--radius", "0.1")
    refused = environment.cli(*asked, expect=2, CVXROBUST_DISABLE_BACKENDS="moreau")
    assert "it is named in CVXROBUST_DISABLE_BACKENDS" in " ".join(refused.stderr.split())


def test_nothing_heavy_is_imported_before_it_is_needed(environment):
    heavy = ("torch", "cvxpy", "mosek", "clarabel", "scs", "moreau", "qoco", "sklearn")
    report = f"import sys; print(sorted(set(sys.modules) & {set(heavy)!r}))"
    assert environment.python("-c", f"import cvxrobust; {report}").stdout.strip() == "[]"
    listing = "from cvxrobust.bench.cli import app; app(['backends', 'list'], standalone_mode=False)"
    assert environment.python("-c", f"{listing}; {report}").stdout.splitlines()[-1] == "[]"


def test_the_solver_from_outside_certifies_a_robust_network(environment, csv):
    result = solved(environment, csv, "--problem", "adversarial-sdp", "--radius", "0.1", "--backend", "moreau")
    assert (result["quality"], result["backend"]) == ("certified", "moreau")
    assert result["versions"]["moreau"]


def test_it_serves_masters_and_a_process_of_its_own_and_the_metric_measures(environment, tmp_path):
    script = tmp_path / "twice.py"
    script.write_text(SOLVE_TWICE, encoding="utf-8")
    first, second = environment.python(script).stdout.splitlines()
    assert first == "certified certified True"
    assert re.fullmatch(r"Measurements\(values={'effective-neurons': [0-9.]+}, failures={}\)", second)


SUITE = """
name = "outsiders"
tolerances = 1e-4
time_limit = 60.0

[[problems]]
family = "positive-sdp"
data = "blobs"
n = 12
d = 2
parameters = { beta = 0.1 }

[[problems]]
family = "adversarial-relu"
data = "blobs"
n = 12
d = 2
parameters = { radius = 0.1, n_gates = 3, beta = 0.1 }

[[backends]]
name = "moreau"

[[backends]]
name = "qoco"
"""


def test_it_runs_in_a_benchmark(environment, tmp_path):
    """Backends, family and metric: what cannot be read is a row, too."""
    suite = tmp_path / "outsiders.toml"
    suite.write_text(SUITE, encoding="utf-8")
    environment.cli("bench", "run", str(suite), "--out", str(tmp_path / "run"), "--quiet")
    lines = (tmp_path / "run" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    verdicts = {(row["case"]["problem"]["family"], row["backend"]): row["verdict"] for row in rows}
    assert verdicts == {
        ("positive-sdp", "moreau"): "certified",
        ("positive-sdp", "qoco"): "failed",
        ("adversarial-relu", "moreau"): "certified",
        ("adversarial-relu", "qoco"): "certified",
    }
    (refused,) = (row for row in rows if row["verdict"] == "failed")
    assert refused["failure"] == "refused"
    assert "PSD" in refused["reason"]
    assert all("effective-neurons" in row["metrics"] for row in rows if "sdp" in row["problem"] and row is not refused)


def test_the_problem_from_outside_is_solved_by_their_solver_and_by_ours(environment, csv):
    results = [
        solved(environment, csv, "--problem", "positive-sdp", "--backend", backend) for backend in ("moreau", "scs")
    ]
    assert [result["quality"] for result in results] == ["certified", "certified"]
    assert results[0]["upper"] == pytest.approx(results[1]["upper"], rel=1e-4)


def test_the_problem_from_outside_takes_only_its_own_parameters(environment, csv):
    done = environment.cli("solve", "--data", csv, "--problem", "positive-sdp", "--radius", "0.1", expect=2)
    assert "problem 'positive-sdp' takes no --radius" in " ".join(done.stderr.split())


def test_a_solver_without_a_cone_says_so_and_solves_what_it_can(environment, csv):
    asked = ("solve", "--data", csv, "--problem", "adversarial-sdp", "--radius", "0.1", "--backend", "qoco")
    refused = environment.cli(*asked, expect=2)
    assert "backend 'qoco' cannot read the cones PSD of this programme" in " ".join(refused.stderr.split())
    gated = ("--problem", "adversarial-relu", "--radius", "0.05", "--n-gates", "5", "--backend", "qoco")
    assert solved(environment, csv, *gated)["quality"] == "certified"


def test_the_package_from_outside_passes_the_contracts(environment, tmp_path):
    package = copied(THIRDPARTY / GOOD, tmp_path)
    options = ("-q", "-p", "no:cacheprovider", "-c", package / "pyproject.toml", package / "tests")
    done = environment.python("-m", "pytest", *options, cwd=tmp_path, CVXROBUST_REQUIRE_BACKENDS="moreau,qoco")
    summary = done.stdout.splitlines()[-1]
    assert int(re.search(r"(\d+) passed", summary)[1]) > 150
    assert "failed" not in summary
    assert "error" not in summary
