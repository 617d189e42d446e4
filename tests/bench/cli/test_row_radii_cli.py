"""A radius for every row on the command line, from a column of the data."""

import json
import re

import numpy as np
import pytest

import cvxrobust
from cvxrobust import AdversarialReLU, AdversarialSDP, Settings, Standardizer
from cvxrobust.bench.data.dataset import load_dataset
from cvxrobust.bench.workflows.exchange import _load_sidecar, sidecar_of
from cvxrobust.bench.workflows.requests import TrainingRequest

RADII = np.arange(30) % 4 * 0.1


@pytest.fixture
def reached(csv):
    """The small file with a column of radii, some of them 0, and one of weights."""
    header, *rows = csv.read_text(encoding="utf-8").splitlines()
    said = [f"{radius!r},{place % 3}" for place, radius in enumerate(RADII.tolist())]
    lines = [f"{header},reach,count", *(f"{row},{more}" for row, more in zip(rows, said, strict=True))]
    csv.write_text("\n".join(lines), encoding="utf-8")
    return csv


def asked(data, *options, fraction=0):
    arguments = ["--data", data, "--radius-column", "reach", "--test-fraction", fraction, "--json", "-q"]
    return [*arguments, "--tolerance", 1e-5, *options]


def solved(run, data, *options, fraction=0):
    code, out, err = run("solve", *asked(data, *options, fraction=fraction))
    assert code == 0, err
    return json.loads(out)


def test_a_column_of_radii_is_no_feature_and_follows_its_rows(reached):
    data = load_dataset(reached, weight="count", radius="reach")
    assert data.feature_names == ("width", "height")
    np.testing.assert_array_equal(data.radii, RADII[np.arange(30) % 3 > 0])
    np.testing.assert_array_equal(data.take(np.array([4, 1])).radii, data.radii[[4, 1]])
    assert "'reach' is the radius of attacks on a row" in data.notes


@pytest.mark.parametrize("factor", [None, 2.0])
def test_every_row_is_attacked_by_its_own_radius(run, reached, tmp_path, factor):
    options = [] if factor is None else ["--radius", factor]
    found = solved(run, reached, "--weight-column", "count", "--save", tmp_path / "net.npz", *options)
    data = load_dataset(reached, weight="count", radius="reach")
    standardizer = Standardizer.fit(data.X, weights=data.weights)
    rows, radii = standardizer.transform(data.X), (factor or 1.0) * data.radii
    problem = AdversarialSDP(rows, data.y, radii, sample_weight=data.weights)
    network = cvxrobust.load(tmp_path / "net.npz")
    assert problem.objective(network.inner.replace(classes=None)) == pytest.approx(found["result"]["upper"], rel=1e-12)
    worst = network.replace(classes=None).worst_margins(data.X, data.y, radii)
    assert found["accuracy"]["train_robust"] == pytest.approx(np.mean(worst > 0.0))
    assert found["threat"]["radius"] == pytest.approx(radii.max())
    about = network.metadata
    assert "radius" not in about
    assert (about["radius_column"], about["radius_largest"]) == ("reach", pytest.approx(radii.max()))
    assert about.get("radius_factor") == factor
    assert about["radii_fingerprint"]


def test_relu_networks_have_a_bracket_at_the_radii_of_the_rows(run, reached, tmp_path):
    options = ["--problem", "adversarial-relu", "--n-gates", 5, "--save", tmp_path / "net.npz"]
    found = solved(run, reached, *options, fraction=0.3)
    network, accuracy = cvxrobust.load(tmp_path / "net.npz"), found["accuracy"]
    assert accuracy["test_certified"] <= accuracy["test_attacked"] <= accuracy["test_clean"]
    rows = load_dataset(reached, radius="reach")
    whole = solved(run, reached, *options)
    problem = AdversarialReLU(Standardizer.fit(rows.X).transform(rows.X), rows.y, rows.radii, n_gates=5)
    assert cvxrobust.solve(problem).certificate.upper == pytest.approx(whole["result"]["upper"], rel=3e-5)
    assert network.metadata["radius_column"] == "reach"


def test_exported_programmes_have_the_radii(run, reached, tmp_path):
    path = tmp_path / "p.cbf"
    options = ["--data", reached, "--test-fraction", 0.2, "--radius-column", "reach", "--radius", 3]
    code, _, err = run("export", path, *options)
    assert code == 0, err
    prepared, _ = _load_sidecar(sidecar_of(path), TrainingRequest("", Settings()))
    np.testing.assert_array_equal(prepared.problem.radius, 3.0 * prepared.train.radii)
    assert prepared.request.radius_column == "reach"


@pytest.mark.parametrize("constant", [False, True])
def test_radii_of_a_path_are_factors_on_those_of_the_rows(run, reached, tmp_path, constant):
    if constant:
        text = reached.read_text(encoding="utf-8").splitlines()
        rows = [re.sub(r",[^,]*,(\d)$", r",0.2,\1", row) for row in text[1:]]
        reached.write_text("\n".join([text[0], *rows]), encoding="utf-8")
    options = ["--radius-column", "reach", "--radii", "0,1.5", "--betas", "0.1", "--test-fraction", 0]
    code, out, err = run("path", "--data", reached, *options, "--out", tmp_path / "out", "--json", "-q")
    assert code == 0, err
    data = load_dataset(reached, radius="reach")
    rows = Standardizer.fit(data.X).transform(data.X)
    for point, factor in zip(json.loads(out)["points"], (0.0, 1.5), strict=True):
        assert solve_value(rows, data, factor) == pytest.approx(point["upper"], rel=3e-4)
    network = cvxrobust.load(next((tmp_path / "out" / "networks").glob("*radius=[1-9.]*" if not constant else "*0.3*")))
    assert network.metadata["radius_factor"] == pytest.approx(1.5)


def solve_value(rows, data, factor):
    return cvxrobust.solve(AdversarialSDP(rows, data.y, factor * data.radii, beta=0.1)).certificate.upper


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--radius-column", "reech"], "has no column 'reech' to take radii from; .* Did you mean 'reach'"),
        (["--radius-column", "label"], "cannot have labels and radii in the same column, 'label'"),
        (["--radius-column", "count", "--weight-column", "count"], "cannot have weights and radii in the same column"),
        (["--radius-column", "width"], "has unusable radii in 'width'; expected a finite number of 0 or more"),
        (["--radius-column", "reach", "--problem", "standard-sdp"], "takes no --radius-column"),
        (["--radius-column", "reach", "--feature-radius", "width=1"], "rows radii of their own; leave one of them out"),
    ],
)
def test_what_is_no_radius_is_refused_before_work(run, reached, options, said):
    text = reached.read_text(encoding="utf-8").splitlines()
    reached.write_text("\n".join([text[0], "-2.5" + text[1][text[1].index(",") :], *text[2:]]), encoding="utf-8")
    code, _, err = run("solve", "--data", reached, *options)
    assert code == 2
    assert re.search(said, " ".join(err.split())), err


def test_arrays_have_radii_too_and_named_sets_have_none(run, tmp_path):
    X, path = np.random.default_rng(0).standard_normal((6, 2)), tmp_path / "d.npz"
    np.savez(path, X=X, y=np.array([0, 1, 0, 1, 1, 1]), r=np.arange(6.0))
    assert load_dataset(path, radius="r").radii.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    code, _, err = run("solve", "--data", "breast-cancer", "--radius-column", "r")
    assert code == 2
    assert "has no column of radii" in " ".join(err.split())
