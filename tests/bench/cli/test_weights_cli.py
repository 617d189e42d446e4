"""Weights of rows and classes on the command line."""

import json
import re

import numpy as np
import pytest

import cvxrobust
from cvxrobust import AdversarialSDP, Settings, Standardizer
from cvxrobust.bench.data.dataset import load_dataset
from cvxrobust.bench.workflows.exchange import _load_sidecar, sidecar_of
from cvxrobust.bench.workflows.training import TrainingRequest

WEIGHTS = np.arange(30) % 4 * 0.5


@pytest.fixture
def weighted(csv):
    """The small file with a column of weights, some of them 0."""
    header, *rows = csv.read_text(encoding="utf-8").splitlines()
    lines = [f"{header},count", *(f"{row},{weight}" for row, weight in zip(rows, WEIGHTS, strict=True))]
    csv.write_text("\n".join(lines), encoding="utf-8")
    return csv


def solved(run, data, *options):
    arguments = ["--data", data, "--radius", 0.1, "--test-fraction", 0, "--tolerance", 1e-5, "--json", "-q"]
    code, out, err = run("solve", *arguments, *options)
    assert code == 0, err
    return json.loads(out)


def test_a_column_of_weights_is_no_feature_and_rows_of_weight_zero_are_left_out(weighted):
    data = load_dataset(weighted, weight="count")
    assert data.feature_names == ("width", "height")
    assert data.weights.tolist() == WEIGHTS[WEIGHTS > 0.0].tolist()
    assert "left out 8 rows of weight 0" in data.notes
    some = data.take(np.array([3, 1]))
    assert some.weights.tolist() == data.weights[[3, 1]].tolist()


def test_it_trains_on_weighted_rows_with_weighted_statistics(run, weighted, tmp_path):
    found = solved(run, weighted, "--weight-column", "count", "--save", tmp_path / "net.npz")
    data = load_dataset(weighted, weight="count")
    standardizer = Standardizer.fit(data.X, weights=data.weights)
    problem = AdversarialSDP(standardizer.transform(data.X), data.y, 0.1, sample_weight=data.weights)
    network = cvxrobust.load(tmp_path / "net.npz")
    assert problem.objective(network.inner.replace(classes=None)) == pytest.approx(found["result"]["upper"], rel=1e-12)
    assert found["result"]["relative_gap"] <= 1e-5
    assert network.metadata["weights_fingerprint"]
    more = ["--radius", 0.1, "--json"]
    code, out, _ = run("evaluate", tmp_path / "net.npz", "--data", weighted, "--weight-column", "count", *more)
    assert code == 0
    assert json.loads(out)["rows"] == 22
    code, out, _ = run("predict", tmp_path / "net.npz", "--data", weighted, "-q")
    assert code == 0
    assert len(out.splitlines()) == 31


def test_classes_have_weights_by_their_own_labels(run, csv):
    labels = load_dataset(csv).y
    odds = float((labels < 0.0).sum() / (labels > 0.0).sum())
    balanced = solved(run, csv, "--class-weight", "balanced")
    by_hand = solved(run, csv, "--class-weight", f"yes={odds}", "--class-weight", "no=1")
    upper, other = (found["result"]["upper"] for found in (balanced, by_hand))
    assert upper == pytest.approx(other, rel=2e-5)
    assert upper != pytest.approx(solved(run, csv)["result"]["upper"], rel=1e-3)
    assert balanced["parameters"]["class_weight"] == "balanced"


def test_exported_programmes_are_weighted(run, weighted, tmp_path):
    options = ["--data", weighted, "--radius", 0.1, "--test-fraction", 0]
    plain, heavy = tmp_path / "plain.cbf", tmp_path / "heavy.cbf"
    more = ["--weight-column", "count", "--class-weight", "no=2"]
    for path, further in ((plain, []), (heavy, more)):
        code, _, err = run("export", path, *options, *further)
        assert code == 0, err
    assert plain.read_bytes() != heavy.read_bytes()
    prepared, _ = _load_sidecar(sidecar_of(heavy), TrainingRequest("", Settings()))
    data = load_dataset(weighted, weight="count")
    expected = data.weights * np.where(data.y < 0.0, 2.0, 1.0)
    assert prepared.problem.sample_weight == pytest.approx(expected / expected.mean(), rel=1e-14)


def test_arrays_have_weights_too(tmp_path):
    X = np.random.default_rng(0).standard_normal((6, 2))
    path = tmp_path / "d.npz"
    np.savez(path, X=X, y=np.array([0, 1, 0, 1, 1, 1]), w=np.array([1, 0, 2, 1, 1, 3]))
    data = load_dataset(path, weight="w")
    np.testing.assert_array_equal(data.X, X[[0, 2, 3, 4, 5]])
    assert data.weights.tolist() == [1.0, 2.0, 1.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--class-weight", "balancd"], "--class-weight got 'balancd'; expected balanced, or LABEL=NUMBER"),
        (["--class-weight", "yes=-1"], "--class-weight got 'yes=-1'"),
        (["--class-weight", "yes=1", "--class-weight", "yes=2"], "names 'yes' twice"),
        (["--class-weight", "maybe=2"], "--class-weight names maybe, but the labels are no, yes"),
        (["--weight-column", "coun"], "has no column 'coun' to take weights from; .* Did you mean 'count'"),
        (["--weight-column", "label"], "cannot have labels and weights in the same column, 'label'"),
        (["--weight-column", "width"], "has unusable weights in 'width': sample_weight holds -.* at position"),
    ],
)
def test_what_is_no_weight_is_refused_before_work(run, weighted, options, said):
    text = weighted.read_text(encoding="utf-8").splitlines()
    weighted.write_text("\n".join([text[0], "-2.5" + text[1][text[1].index(",") :], *text[2:]]), encoding="utf-8")
    code, _, err = run("solve", "--data", weighted, "--radius", 0.1, *options)
    assert code == 2
    assert re.search(said, " ".join(err.split())), err


def test_a_named_set_has_no_column_of_weights(run):
    code, _, err = run("solve", "--data", "breast-cancer", "--radius", 0.1, "--weight-column", "count")
    assert code == 2
    assert "has no column of weights" in " ".join(err.split())
