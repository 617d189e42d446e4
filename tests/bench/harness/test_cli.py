"""`cvxrobust bench` as a user meets it: words, exit codes, files."""

import json
import subprocess
import sys

import pytest
from harness.plugins import install_fakes, small_suite, write_suite

from cvxrobust.bench.cli import main
from cvxrobust.bench.harness.results.store import Store
from cvxrobust.bench.harness.run.machine import PACKAGE
from cvxrobust.core.discovery import registry


@pytest.fixture
def cli(capsys):
    """Runs a command; returns its exit code and what it said on stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in ("bench", *arguments)])
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return run


@pytest.fixture
def suite(tmp_path):
    return write_suite(tmp_path / "suite.toml", small_suite("scs", "clarabel"))


def test_a_run_that_certifies_something_exits_0_and_leaves_a_full_record(cli, suite, tmp_path):
    code, out, err = cli("run", suite, "--out", tmp_path / "run")
    assert code == 0
    assert "small: 2 rows" in out
    assert f"cvxrobust bench report {tmp_path / 'run'}" in " ".join(out.split())
    plain = err.splitlines()
    assert sum("running" in line for line in plain) == sum("certified" in line for line in plain) == 2
    manifest = Store(tmp_path / "run").manifest()
    assert manifest["suite"]["backends"][0]["name"] == "scs"
    assert manifest["threads"] == 1
    assert manifest["cases"] == 2
    assert {"cvxrobust", "scs", "clarabel", "torch", "numpy"} <= set(manifest["versions"])
    machine = manifest["machine"]
    assert machine["cpu"]
    assert machine["memory"] > 1e8
    assert machine["logical_cores"] >= 1
    assert machine["python"]
    assert machine["os"]
    assert manifest["created"].endswith("+00:00")
    assert bool(manifest["commit"]) == (PACKAGE / ".git").exists()


def test_a_run_that_certifies_nothing_exits_1(cli, tmp_path, monkeypatch):
    folder = tmp_path / "fakes"
    folder.mkdir()
    install_fakes(folder, monkeypatch)
    suite = write_suite(tmp_path / "suite.toml", small_suite("panic"))
    code, out, err = cli("run", suite, "--out", tmp_path / "run")
    monkeypatch.undo()
    registry.reload()
    assert code == 1
    assert "error" in out
    assert "PanicException" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "smok"], "Did you mean 'smoke'"),
        (["run", "SUITE", "--retry", "error"], "add --resume"),
        (["run", "SUITE", "--resume", "--retry", "eror"], "Did you mean 'error'"),
        (["run", "SUITE", "--dask", "tcp://x:1", "--jobs", "2"], "Leave one out"),
        (["run", "SUITE", "--jobs", "0"], "--jobs"),
        (["run", "SUITE", "--job", "2"], "--jobs"),
        (["run"], "the argument suite is missing"),
        (["merge", "nowhere", "--out", "OUT"], "nowhere holds no run"),
    ],
)
def test_mistakes_exit_2_and_say_what_to_do(cli, suite, tmp_path, words, message):
    words = [{"SUITE": suite, "OUT": tmp_path / "out"}.get(word, word) for word in words]
    code, out, err = cli(*words)
    assert code == 2
    assert message in " ".join(err.split())
    assert out == ""


def test_a_typo_in_a_suite_exits_2_with_the_nearest_name(cli, tmp_path):
    suite = write_suite(tmp_path / "suite.toml", small_suite("scs") | {"tolerence": 1e-3})
    code, _, err = cli("run", suite, "--out", tmp_path / "run")
    assert code == 2
    assert "did you mean 'tolerances'" in err
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten_but_resumed(cli, tmp_path):
    suite = write_suite(tmp_path / "suite.toml", small_suite("clarabel"))
    words = ("run", suite, "--out", tmp_path / "run", "--quiet")
    assert cli(*words)[0] == 0
    code, _, err = cli(*words)
    assert code == 2
    assert "go on with --resume" in err
    before = (tmp_path / "run" / "results.jsonl").read_bytes()
    code, out, err = cli(*words, "--resume")
    assert (code, err) == (0, "")
    assert "1 rows" in out
    assert (tmp_path / "run" / "results.jsonl").read_bytes() == before


def test_a_suite_that_grew_runs_only_what_is_new(cli, tmp_path):
    suite = write_suite(tmp_path / "suite.toml", small_suite("clarabel"))
    assert cli("run", suite, "--out", tmp_path / "run", "-q")[0] == 0
    write_suite(suite, small_suite("clarabel", "scs"))
    assert cli("run", suite, "--out", tmp_path / "run", "-q", "--resume")[0] == 0
    store = Store(tmp_path / "run")
    assert [row.backend for row in store.history()] == ["clarabel", "scs"]
    assert len(store.manifest()["suite"]["backends"]) == 2
    assert store.manifest()["resumed"][0]["cases"] == 2


def test_resume_starts_a_run_that_does_not_exist_yet(cli, suite, tmp_path):
    assert cli("run", suite, "--out", tmp_path / "run", "--resume", "-q")[0] == 0
    assert len(Store(tmp_path / "run").rows()) == 2


def test_a_dry_run_shows_the_cases_and_writes_nothing(cli, suite, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = cli("run", suite, "--dry-run")
    assert code == 0
    assert "2 of 2 cases, in runs/small" in out
    assert "adversarial-sdp planted n=10 d=2 radius=0.2" in out
    assert not (tmp_path / "runs").exists()


def test_merge_writes_one_run(cli, tmp_path):
    for name in ("scs", "clarabel"):
        suite = write_suite(tmp_path / f"{name}.toml", small_suite(name))
        assert cli("run", suite, "--out", tmp_path / name, "-q")[0] == 0
    code, out, _ = cli("merge", tmp_path / "scs", tmp_path / "clarabel", "--out", tmp_path / "both")
    assert code == 0
    assert "2 rows" in out
    assert {row.backend for row in Store(tmp_path / "both").rows()} == {"scs", "clarabel"}


def test_the_suites_are_listed(cli):
    code, out, _ = cli("suites")
    assert code == 0
    assert "smoke" in out
    assert "adversarial" in out


def test_what_belongs_to_bench_is_there(cli):
    code, out, _ = cli("--help")
    assert code == 0
    assert {"run", "report", "compare", "export", "merge", "suites"} <= set(out.split())


def test_listing_backends_loads_nothing_that_only_the_harness_needs():
    code = (
        "import sys, json\n"
        "from cvxrobust.bench.cli import app\n"
        "heavy = {'pydantic', 'distributed', 'plotly', 'polars', 'jinja2', 'torch', 'cvxpy', 'matplotlib'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_smoke_certifies_or_explains_every_row(cli, tmp_path):
    code, _, _ = cli("run", "smoke", "--out", tmp_path / "run", "--jobs", 2, "-q")
    assert code == 0
    rows = Store(tmp_path / "run").rows()
    assert {row.case["problem"]["family"] for row in rows} == {
        "standard-sdp",
        "adversarial-sdp",
        "convex-relu",
        "adversarial-relu",
    }
    assert all(row.verdict == "certified" or row.reason for row in rows)
