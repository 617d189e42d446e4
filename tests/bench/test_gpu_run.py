"""The run for a GPU: parts that go wrong stop nobody, rows are kept, inputs are what they stand for."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cvxrobust.bench.data.images import digits, load_mnist, low_high, small_images
from cvxrobust.bench.gpu.__main__ import main
from cvxrobust.bench.gpu.driver import Plan, run_all
from cvxrobust.bench.gpu.inputs import STAND_IN, load_digits_problem, load_images, load_small_mnist, write
from cvxrobust.bench.gpu.parts import NAMES, part
from cvxrobust.bench.gpu.report import report
from cvxrobust.bench.studies.common import keep_row, read_rows
from cvxrobust.core.discovery.registry import backends
from cvxrobust.core.networks.polynomial import PolynomialNetwork

MANIFEST = {
    "date": "2026-01-01", "rehearsal": False, "device": "cuda", "name": "a GPU", "driver": "1.2", "cuda": "13.0",
    "processor": "a processor", "cores": 4, "threads": 2, "python": "3.12.1", "versions": {"torch": "2.11"},
    "commit": None, "sources": "abc",
}  # fmt: skip


def ends(out):
    return {row["part"]: row["ended"] for row in read_rows(out / "rows.jsonl") if row.get("table") == "parts"}


def test_a_part_that_fails_and_one_that_runs_over_do_not_stop_the_next(tmp_path, monkeypatch):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    (inputs / "digits.npz").write_bytes(b"not an archive")
    plan = Plan(tmp_path / "out", inputs, "cpu", True, 200.0, 1)
    genuine = Plan.budget
    monkeypatch.setattr(Plan, "budget", lambda self, name: 1.5 if name == "relu" else genuine(self, name) * 3.0)
    assert run_all(plan, ["interior_point", "relu", "gradient"]) == 1
    found = ends(plan.out)
    assert found["interior_point"].startswith("failed with 1: ")
    assert found["relu"] == "killed after 2 s"
    assert found["gradient"] == "done"
    text = (plan.out / "report.md").read_text(encoding="utf-8")
    assert "| gradient | done |" in text
    assert "| 2000 | 96 | float32 |" in text
    assert "== interior_point: failed" in (plan.out / "log.txt").read_text(encoding="utf-8")
    assert len(list(plan.out.iterdir())) <= 8
    manifest = json.loads((plan.out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["threads"] == 1
    assert len(manifest["sources"]) == 16


def test_no_part_begins_when_no_time_is_left(tmp_path):
    plan = Plan(tmp_path / "out", tmp_path, "cpu", True, 3.0, 1)
    assert run_all(plan, ["gradient", "relu"]) == 1
    assert ends(plan.out) == dict.fromkeys(("gradient", "relu"), "not run: no time was left")


def test_budgets_leave_room_for_what_surrounds_them():
    assert sum(part(name).BUDGET for name in NAMES) <= 480.0 - 3.0


def test_a_row_is_on_the_disk_before_the_next_and_a_torn_one_is_left_out(tmp_path):
    path = tmp_path / "rows.jsonl"
    keep_row(path, {"part": "relu", "n": 5})
    keep_row(path, {"part": "relu", "n": 6})
    with path.open("a", encoding="utf-8") as file:
        file.write('{"part": "relu", "n')
    assert [row["n"] for row in read_rows(path)] == [5, 6]
    keep_row(path, {"part": "relu", "n": 7})
    assert [row["n"] for row in read_rows(path)] == [5, 6, 7]
    assert read_rows(tmp_path / "none") == []


def test_the_report_has_a_table_for_every_kind_of_row():
    rows = [
        {"part": "ten_classes", "table": "penalty", "samples": 250, "s per pass": 0.5},
        {"part": "ten_classes", "table": "solve", "certified gap": 0.0000123, "termination": "time | limit"},
        {"part": "ten_classes", "table": "penalty", "samples": 500, "s per pass": 1.0, "log-log slope": 1.0},
        {"part": "ten_classes", "table": "parts", "ended": "done", "budget": 110.0, "seconds": 90.0},
    ]
    text = report(MANIFEST, rows)
    assert "# On a GPU: a GPU" in text
    assert "driver 1.2, CUDA 13.0" in text
    assert "| part | ended | budget | seconds |\n| --- | --- | --- | --- |\n| ten_classes | done | 110 | 90 |" in text
    assert "| samples | s per pass | log-log slope |" in text
    assert "| 250 | 0.5 | - |\n| 500 | 1 | 1 |" in text
    assert "| 1.2e-05 | time \\| limit |" in text


def test_what_stands_in_the_way_is_said_before_any_work(tmp_path, capsys, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "report.md").write_text("precious", encoding="utf-8")
    for out, message in (("old", "is not an empty folder"), ("new", "sees no CUDA device")):
        with pytest.raises(SystemExit) as stopped:
            main(["--out", str(tmp_path / out)])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


BARE = """
import builtins, importlib.metadata, json, os, runpy, sys, time, traceback

MISSING = "cvxpy clarabel scs mosek polars plotly typer rich hypothesis sklearn matplotlib".split()
genuine = builtins.__import__

def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {}).get("__file__") or "site-packages"
    if level == 0 and name.partition(".")[0] in MISSING and "site-packages" not in importer:
        raise ModuleNotFoundError(f"{name} is not there", name=name)
    return genuine(name, globals, locals, fromlist, level)

builtins.__import__ = guarded
importlib.metadata.entry_points = lambda **_: ()
import torch

def run(options, said):
    for stream in (1, 2):
        os.dup2(os.open(said, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.argv = ["gpu", *options, "--began", str(time.monotonic())]
    code = 1
    try:
        runpy.run_module("cvxrobust.bench.gpu", run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)

for line in sys.stdin:
    if (child := os.fork()) == 0:
        run(*json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs where PyTorch is and nothing of ours is installed: no entry points, no packages beyond what it brings along.

Each is a fork of one process, which has imported PyTorch: that takes longer than all that parts do in a rehearsal.
"""


@pytest.fixture(scope="module")
def bare():
    """Runs a part there; its exit code and what it said."""
    paths = [path for path in sys.path if path.endswith("site-packages")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", BARE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True) as server:

        def run(options, said):
            server.stdin.write(json.dumps([list(map(str, options)), str(said)]) + "\n")
            server.stdin.flush()
            return int(server.stdout.readline()), said.read_text(encoding="utf-8")

        yield run
        server.stdin.close()


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    X, target = digits()
    np.savez_compressed(folder / "digits.npz", X=X, target=target)
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, processes that have imported PyTorch cannot be forked")
def test_a_part_needs_a_checkout_and_pytorch_and_no_more(name, brought, bare, tmp_path):
    options = ["--part", name, "--rehearse", "--threads", 1, "--budget", 300, "--inputs", brought, "--out", tmp_path]
    code, said = bare(options, tmp_path / "said.txt")
    assert code == 0, said
    found = read_rows(tmp_path / "rows.jsonl")
    assert found
    assert not [row for row in found if row.get("failed") or row.get("file") == "none"]
    assert not [row for row in found if row.get("within 1e-8") == "NO"]
    ends = {row["termination"] for row in found if "termination" in row}
    assert ends <= {"converged", "not run: MNIST was not brought along"}
    assert "torch" in backends()


def test_inputs_are_the_instances_that_they_stand_for(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8), rng.integers(0, 10, 60)
    wide = np.pad(images / 255.0, ((0, 0), (2, 2), (2, 2)))
    expected = 2.0 * wide.reshape(-1, 8, 4, 8, 4).mean((2, 4)).reshape(-1, 64) - 1.0
    np.savez(tmp_path / "mnist8x8.npz", X=small_images(images), target=labels)
    X, y = load_small_mnist(tmp_path, 50)
    assert pytest.approx(expected[:50], abs=1e-14) == X
    assert (y == np.where(labels[:50] % 2 == 0, 1.0, -1.0)).all()
    monkeypatch.delenv("CVXROBUST_DATA", raising=False)
    said = write(tmp_path / "without", None)
    assert "without MNIST" in said[0]
    assert load_small_mnist(tmp_path / "without", 50) is None
    assert (load_digits_problem(tmp_path / "without", 100)[0] == load_digits_problem(tmp_path / "none", 100)[0]).all()
    name, X, y = load_images(tmp_path / "without", 2000)
    assert (name, X.shape, set(y)) == (STAND_IN, (2000, 784), {-1.0, 1.0})
    assert X.min() >= 0.0
    assert X.max() <= 1.0
    assert len(digits()[1]) == 1500


@pytest.mark.skipif("CVXROBUST_DATA" not in os.environ, reason="MNIST is in the folder that CVXROBUST_DATA names")
def test_inputs_of_mnist_are_its_images(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)
    write(tmp_path, None)
    images, target = load_mnist()
    name, X, y = load_images(tmp_path, 100)
    assert name == "MNIST"
    assert pytest.approx(images[:100].reshape(100, 784) / 255.0) == X
    assert (y == low_high(target[:100])).all()
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2**24


def test_the_penalised_matrix_is_psd_exactly_up_to_the_worst_margin():
    """The S-procedure is lossless, so this pins what the comparison computes."""
    torch = pytest.importorskip("torch")
    penalty = pytest.importorskip("cvxrobust.bench.baselines.eigenvalue_penalty")
    rng = np.random.default_rng(3)
    d, radius = 4, 0.7
    u = rng.standard_normal((5, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    network = PolynomialNetwork(u, rng.standard_normal(5))
    X, y = rng.standard_normal((6, d)), np.where(rng.random(6) < 0.5, -1.0, 1.0)
    step = penalty.PenaltyStep(X, y, radius, 0.01, "cpu")
    lifted = np.hstack([u, np.ones((5, 1))])
    parts = [(lifted.T * np.maximum(side * network.alpha, 0.0)) @ lifted for side in (1.0, -1.0)]
    worst = network.worst_case(X, y, radius).margins
    with torch.no_grad():
        step.pair.copy_(torch.tensor(np.stack(parts), dtype=torch.float32))

        def lowest(w):
            best = np.full(6, -np.inf)
            for lam in np.linspace(0.0, 4.0, 201):
                step.lam.fill_(float(lam))
                step.w.copy_(torch.tensor(w, dtype=torch.float32))
                best = np.maximum(best, torch.linalg.eigvalsh(step.matrices(slice(None)))[:, 0].numpy())
            return best

        assert (lowest(worst - 0.02) > -1e-3).all()
        assert (lowest(worst + 0.1) < -1e-3).all()
    before = step.pair.detach().clone()
    step.run()
    assert not torch.equal(before, step.pair.detach())
