"""`solve --resume` goes on from what a training left that was broken off, by Ctrl-C, a limit, or a kill."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from strict_json import pure_json

import cvxrobust
from cvxrobust.bench.workflows import training
from cvxrobust.bench.workflows.resuming import unfinished

ROWS = 40
WAYS = {
    "ipm": ["--backend", "ipm"],
    "torch": ["--backend", "torch"],
    "clarabel": ["--backend", "clarabel", "--method", "direct"],
    "scs": ["--backend", "scs", "--method", "direct"],
    "cutting-set": ["--backend", "clarabel", "--method", "cutting-set"],
}
PATIENT = """
import sys, time
import cvxrobust
from cvxrobust.bench.cli import main
from cvxrobust.bench.workflows import resuming

def slowly(*arguments, keeping=resuming.keeping):
    keep = keeping(*arguments)
    return lambda network: (keep(network), time.sleep(60))

import cvxrobust.bench.workflows.training as training
training.keeping = slowly
main(sys.argv[1:])
"""
"""Stops as soon as a network has been kept, until somebody kills it."""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Rows that no network tells apart entirely."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(ROWS, 3))
    labels = np.where(X[:, 0] * X[:, 1] + 0.5 * rng.normal(size=ROWS) > 0.0, "yes", "no")
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    lines = [",".join([*map(repr, row), label]) for row, label in zip(X.tolist(), labels, strict=True)]
    path.write_text("\n".join(["a,b,c,label", *lines]), encoding="utf-8")
    return path


def command(table, save, *more):
    fixed = ["solve", "--data", table, "--radius", 0.2, "--beta", 0.03, "--save", save, "--json", "-q"]
    return [str(one) for one in (*fixed, *more)]


def solved(run, table, save, *more):
    code, out, err = run(*command(table, save, *more))
    assert code == 0, err
    return pure_json(out)["result"]


@pytest.mark.parametrize("way", WAYS)
def test_a_training_goes_on_from_the_network_that_an_earlier_one_left(run, table, tmp_path, way):
    save, asked = tmp_path / "net.npz", WAYS[way]
    rough = solved(run, table, save, *asked, "--tolerance", 0.05)
    asks = {}
    with pytest.MonkeyPatch.context() as patched:
        solve = cvxrobust.solve
        patched.setattr(cvxrobust, "solve", lambda *given, **named: (asks.update(named), solve(*given, **named))[1])
        fine = solved(run, table, save, *asked, "--resume")
    assert asks["warm_start"] is not None
    assert asks["warm_start"].standardizer is None
    assert fine["quality"] == "certified"
    assert fine["upper"] <= rough["upper"] + 1e-9
    assert list(tmp_path.iterdir()) == [save]


def test_where_there_is_nothing_yet_it_begins(run, table, tmp_path):
    found = solved(run, table, tmp_path / "net.npz", *WAYS["clarabel"], "--resume")
    assert found["quality"] == "certified"


@pytest.mark.parametrize("way", ["ipm", "torch", "cutting-set"])
def test_networks_are_kept_while_they_are_trained_and_go_away_with_the_last(run, table, tmp_path, way, monkeypatch):
    save, kept = tmp_path / "net.npz", []
    keeping = training.keeping

    def watched(*arguments):
        keep = keeping(*arguments)
        return lambda network: (keep(network), kept.append(cvxrobust.load(unfinished(save))))

    monkeypatch.setattr(training, "keeping", watched)
    solved(run, table, save, *WAYS[way])
    last = cvxrobust.load(save)
    assert kept
    for network in kept:
        assert network.classes == ("no", "yes") == last.classes
        assert network.standardizer.names == ("a", "b", "c")
        assert network.metadata["data_fingerprint"] == last.metadata["data_fingerprint"]
    assert not unfinished(save).exists()


def test_a_killed_training_leaves_a_file_from_which_the_next_goes_on(run, table, tmp_path):
    save = tmp_path / "net.npz"
    child = subprocess.Popen([sys.executable, "-c", PATIENT, *command(table, save, *WAYS["cutting-set"])])
    try:
        until = time.monotonic() + 100.0
        while not unfinished(save).exists() and time.monotonic() < until and child.poll() is None:
            time.sleep(0.02)
        assert unfinished(save).exists()
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert not save.exists()
    assert cvxrobust.load(unfinished(save)).n_features == 3
    code, out, err = run(*command(table, save, *WAYS["cutting-set"], "--resume"))
    assert code == 0, err
    assert pure_json(out)["result"]["quality"] == "certified"
    assert os.listdir(tmp_path) == [save.name]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (["--beta", 0.1], "was trained otherwise (--beta)"),
        (["--radius", 0.1], "was trained otherwise (--radius)"),
        (["--loss", "logistic"], "was trained otherwise (--loss)"),
        (["--seed", 1], "(--seed, other rows)"),
        (["--test-fraction", 0.5], "--test-fraction"),
        (["--activation", 1, 1, 0], "(--activation)"),
        (["--immutable", "a"], "(--immutable)"),
        (["--problem", "standard-sdp"], "takes no --radius"),
        (["--no-standardize"], "--standardize"),
    ],
)
def test_what_was_trained_otherwise_is_no_start(run, table, tmp_path, changed, said):
    save = tmp_path / "net.npz"
    solved(run, table, save, *WAYS["clarabel"], "--tolerance", 0.05)
    before = save.read_bytes()
    code, _, err = run(*command(table, save, *WAYS["clarabel"], *changed, "--resume"))
    assert code == 2
    assert said in " ".join(err.split())
    assert save.read_bytes() == before


def test_resume_needs_to_know_where_from(run, table, tmp_path):
    code, _, err = run("solve", "--data", table, "--radius", 0.1, "--resume")
    assert code == 2
    assert "add --save with the file" in err
    (tmp_path / "net.npz").write_bytes(b"PK")
    code, _, err = run(*command(table, tmp_path / "net.npz", "--resume"))
    assert code == 2
    assert "is not a network saved by cvxrobust" in err
