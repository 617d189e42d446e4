"""Attacks by feature on the command line: immutable columns, radii of their own, and what is said of them."""

import json
import os
import re

import numpy as np
import pytest

import cvxrobust
from cvxrobust import AdversarialSDP, Standardizer
from cvxrobust.bench.cli.options import parse_feature_radii, parse_names
from cvxrobust.bench.data.dataset import load_dataset
from cvxrobust.bench.workflows.exchange import _load_sidecar, sidecar_of
from cvxrobust.bench.workflows.requests import TrainingRequest
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.errors import InputError
from cvxrobust.core.settings import Settings

KINDS = ("kind_blue", "kind_green", "kind_red")


@pytest.fixture
def one_hot(tmp_path):
    """Two measurements, and a category of three with a column for each."""
    rng = np.random.default_rng(2)
    kind, size, weight = rng.integers(0, 3, 60), rng.normal(5.0, 2.0, 60), rng.normal(70.0, 10.0, 60)
    labels = np.where((size - 5.0) / 2.0 + (weight - 70.0) / 10.0 + np.array([-1.5, 0.0, 1.5])[kind] > 0.0, "yes", "no")
    rows = [
        f"{a!r},{b!r},{','.join('1' if k == j else '0' for j in range(3))},{label}"
        for a, b, k, label in zip(size.tolist(), weight.tolist(), kind, labels, strict=True)
    ]
    path = tmp_path / "hot.csv"
    path.write_text("\n".join([f"size,weight,{','.join(KINDS)},label", *rows]), encoding="utf-8")
    return path


def solved(run, data, *options, radius=0.3):
    arguments = ["--data", data, "--radius", radius, "--test-fraction", 0, "--tolerance", 1e-5, "--json", "-q"]
    code, out, err = run("solve", *arguments, *options)
    assert code == 0, err
    return json.loads(out)


def moved(network, data, radius):
    rows = load_dataset(data)
    labels = np.where(rows.y > 0.0, rows.classes[1], rows.classes[0])
    return network.worst_case(rows.X, labels, radius).points - rows.X, rows.X, labels


def test_attacks_on_the_network_that_is_saved_never_touch_immutable_columns(run, one_hot, tmp_path):
    path = tmp_path / "net.npz"
    found = solved(run, one_hot, "--immutable", ",".join(KINDS), "--save", path)
    network = cvxrobust.load(path)
    moves, X, labels = moved(network, one_hot, 0.3)
    assert not moves[:, 2:].any()
    assert (np.abs(moves[:, :2]).max(axis=0) > 0.0).all()
    free = network.replace(ellipsoid=None)
    assert network.robust_accuracy(X, labels, [0.3])[0] >= free.robust_accuracy(X, labels, [0.3])[0]
    assert (network.certified_radius(X) >= free.certified_radius(X)).all()
    assert json.loads(network.metadata["immutable"]) == list(KINDS)
    assert found["threat"]["immutable"] == list(KINDS)
    assert found["radius_unit"] == network.metadata["radius_unit"] == "standard deviations of the training features"
    reach = found["threat"]["reach_in_units_of_the_data"]
    assert [reach[name] for name in ("size", "weight", *KINDS)] == pytest.approx(
        [*(0.3 * X[:, :2].std(axis=0)), 0, 0, 0]
    )


def test_the_programme_is_that_of_the_scale(run, one_hot, tmp_path):
    path = tmp_path / "net.npz"
    options = ["--immutable", "kind_red", "--immutable", "kind_blue", "--feature-radius", "size=0.5", "--save", path]
    found = solved(run, one_hot, *options)
    data = load_dataset(one_hot)
    standardizer = Standardizer.fit(data.X)
    scale = np.array([0.5 / (0.3 * standardizer.scale[0]), 1.0, 0.0, 1.0, 0.0])
    network = cvxrobust.load(path)
    np.testing.assert_allclose(network.ellipsoid.scale, scale, rtol=1e-14)
    problem = AdversarialSDP(standardizer.transform(data.X), data.y, 0.3, scale=scale)
    assert problem.objective(network.inner.replace(classes=None)) == pytest.approx(found["result"]["upper"], rel=1e-12)
    assert found["threat"]["reach_in_units_of_the_data"]["size"] == pytest.approx(0.5, rel=1e-12)
    moves, _, _ = moved(network, one_hot, 0.3)
    assert np.abs(moves[:, 0]).max() <= 0.5 * (1.0 + 1e-9)


def test_in_units_of_the_data_all_radii_are(run, one_hot, tmp_path):
    path = tmp_path / "net.npz"
    options = ["--no-standardize", "--feature-radius", "weight=2", "--immutable", ",".join(KINDS), "--save", path]
    found = solved(run, one_hot, *options, radius=0.5)
    reach = found["threat"]["reach_in_units_of_the_data"]
    assert [reach[name] for name in ("size", "weight", *KINDS)] == pytest.approx([0.5, 2.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(cvxrobust.load(path).ellipsoid.scale, [1.0, 4.0, 0.0, 0.0, 0.0])


def test_units_and_immutable_columns_are_stated_wherever_radii_are_printed(run, one_hot, tmp_path):
    path = tmp_path / "net.npz"
    options = ["--radius", 0.3, "--immutable", "kind_red", "--feature-radius", "size=0.5", "--save", path]
    code, out, err = run("solve", "--data", one_hot, *options)
    assert code == 0, err
    start = (
        "in standard deviations of the training features, but where a feature has a scale of its own; attacks never "
    )
    start += "touch kind_red; radius "
    assert f"Radii are l2, {start}0.3 moves size by at most 0.5 in units of the data." in " ".join(out.split())
    code, out, err = run("evaluate", path, "--data", one_hot, "--radius", 0.1, 0.3)
    assert code == 0, err
    assert f"Radii and distances are {start}1 moves size by at most 1.66667 in units" in " ".join(out.split())
    code, out, err = run("evaluate", path, "--data", one_hot, "--radius", 0.1, "--json")
    assert json.loads(out)["threat"]["reach_in_units_of_the_data"]["size"] == pytest.approx(0.5 / 0.3)
    code, out, err = run("predict", path, "--data", one_hot)
    assert code == 0
    assert f"certified radii are l2, {start}1 moves size by at most 1.66667 in units of the data" in err
    radii = [float(line.split(",")[-1]) for line in out.splitlines()[1:]]
    assert radii == cvxrobust.load(path).certified_radius(load_dataset(one_hot).X).tolist()


@pytest.mark.parametrize("norm", ["inf", "1"])
def test_relu_networks_have_the_same_attacks_in_every_norm(run, one_hot, tmp_path, norm):
    path = tmp_path / "net.npz"
    options = ["--problem", "adversarial-relu", "--norm", norm, "--n-gates", 8, "--tolerance", 1e-3]
    options += ["--immutable", ",".join(KINDS), "--feature-radius", "size=0.5", "--radius", 0.2]
    code, out, err = run("solve", "--data", one_hot, *options, "--save", path, "--test-fraction", 0)
    assert code == 0, err
    assert f"Radii are l{norm}, in standard deviations of the training features, but where" in " ".join(out.split())
    assert "attacks never touch kind_blue, kind_green, kind_red; radius 0.2 moves size by at most 0.5 in" in out
    network, data = cvxrobust.load(path), load_dataset(one_hot)
    assert str(network.norm) == norm
    labels = np.where(data.y > 0.0, data.classes[1], data.classes[0])
    moves = network.attack(data.X, labels, 0.2).points - data.X
    assert not moves[:, 2:].any()
    assert np.abs(moves[:, 0]).max() <= 0.5 * (1.0 + 1e-9)
    code, out, err = run("predict", path, "--data", one_hot)
    assert f"certified radii are l{norm}, in standard deviations" in err
    assert [float(line.split(",")[-1]) for line in out.splitlines()[1:]] == network.certified_radius(data.X).tolist()
    code, out, err = run("evaluate", path, "--data", one_hot, "--radius", 0.2, "--json")
    found = json.loads(out)
    assert found["threat"]["immutable"] == list(KINDS)
    assert found["robust_accuracy"][0]["certified"] <= found["robust_accuracy"][0]["attacked"]


@pytest.mark.parametrize("problem", ["adversarial-sdp", "adversarial-relu"])
def test_any_network_is_judged_under_attacks_of_another_shape(run, one_hot, tmp_path, problem):
    path = tmp_path / "net.npz"
    more = ["--problem", problem, *(["--n-gates", 8, "--tolerance", 1e-3] if problem == "adversarial-relu" else [])]
    solved(run, one_hot, "--immutable", "size", *more, "--save", path, radius=0.1)
    asked = ["--radius", 0.1, 0.4, "--immutable", ",".join(KINDS), "--feature-radius", "size=0.6", "--json"]
    code, out, err = run("evaluate", path, "--data", one_hot, "--split", "all", *asked)
    assert code == 0, err
    found, network, data = json.loads(out), cvxrobust.load(path), load_dataset(one_hot)
    assert found["threat"]["immutable"] == list(KINDS)
    assert found["threat"]["reach_in_units_of_the_data"]["size"] == pytest.approx(0.6 / 0.4)
    scale = [0.6 / (0.4 * network.standardizer.scale[0]), 1.0, 0.0, 0.0, 0.0]
    other = network.replace(ellipsoid=Ellipsoid(scale=np.array(scale)))
    labels = np.where(data.y > 0.0, data.classes[1], data.classes[0])
    if problem == "adversarial-sdp":
        expected = other.robust_accuracy(data.X, labels, [0.1, 0.4]).tolist()
        assert [row["accuracy"] for row in found["robust_accuracy"]] == expected
    else:
        expected = other.certified_accuracy(data.X, labels, [0.1, 0.4]).tolist()
        assert [row["certified"] for row in found["robust_accuracy"]] == expected
    code, out, err = run("predict", path, "--data", one_hot, "--immutable", ",".join(KINDS))
    radii = [float(line.split(",")[-1]) for line in out.splitlines()[1:]]
    masked = network.replace(ellipsoid=Ellipsoid(scale=np.array([1.0, 1.0, 0.0, 0.0, 0.0])))
    assert radii == masked.certified_radius(data.X).tolist()
    assert "attacks never touch kind_blue, kind_green, kind_red" in err
    for command in (["evaluate", path, "--radius", 0.1], ["predict", path]):
        code, out, err = run(*command, "--data", one_hot, "--immutable", "kind_rad")
        assert (code, out) == (2, "")
        assert "there is no feature 'kind_rad'; did you mean 'kind_red'?" in " ".join(err.split())


def test_exported_programmes_know_what_is_immutable(run, one_hot, tmp_path):
    options = ["--data", one_hot, "--radius", 0.1, "--test-fraction", 0]
    plain, masked = tmp_path / "plain.cbf", tmp_path / "masked.cbf"
    for path, further in ((plain, []), (masked, ["--immutable", "size", "--feature-radius", "weight=3"])):
        code, _, err = run("export", path, *options, *further)
        assert code == 0, err
    assert plain.read_bytes() != masked.read_bytes()
    prepared, _ = _load_sidecar(sidecar_of(masked), TrainingRequest("", Settings()))
    deviation = load_dataset(one_hot).X[:, 1].std()
    np.testing.assert_allclose(prepared.problem.scale, [0.0, 30.0 / deviation, 1.0, 1.0, 1.0])


def test_columns_of_arrays_are_called_by_their_counted_names(run, tmp_path):
    X = np.random.default_rng(0).standard_normal((30, 3))
    np.savez(tmp_path / "d.npz", X=X, y=np.where(X[:, 0] > 0.0, 1, -1))
    found = solved(run, tmp_path / "d.npz", "--immutable", "x2", "--save", tmp_path / "net.npz")
    assert found["threat"]["immutable"] == ["x2"]
    code, _, err = run("predict", tmp_path / "net.npz", "--data", tmp_path / "d.npz")
    assert code == 0
    assert "attacks never touch x2" in err


@pytest.mark.skipif("CVXROBUST_DATA" not in os.environ, reason="CVXROBUST_DATA names no folder with heart_statlog.csv")
def test_categories_of_patients_stay_what_they_are(run, tmp_path):
    path = tmp_path / "heart.npz"
    given = ["age", "sex", "chest_pain_type", "thal", "st_slope", "exercise_angina", "fasting_sugar_gt_120"]
    code, out, err = run(
        *("solve", "--data", "heart_statlog", "--radius", 0.5, "--tolerance", 1e-3, "--json", "-q", "--save", path),
        *("--immutable", ",".join(given), "--feature-radius", "resting_bp=5", "--feature-radius", "cholesterol=20"),
    )
    assert code == 0, err
    network, data = cvxrobust.load(path), load_dataset("heart_statlog")
    moves = network.worst_case(data.X, data.y, 0.5).points - data.X
    kept = [data.feature_names.index(name) for name in given]
    assert not moves[:, kept].any()
    for name, most in (("resting_bp", 5.0), ("cholesterol", 20.0)):
        assert np.abs(moves[:, data.feature_names.index(name)]).max() <= most * (1.0 + 1e-9)
    masked, free = (one.robust_accuracy(data.X, data.y, [0.5]) for one in (network, network.replace(ellipsoid=None)))
    assert masked >= free
    assert json.loads(out)["threat"]["immutable"] == [name for name in data.feature_names if name in given]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--immutable", "sise"], "there is no feature 'sise'; did you mean 'size'? There are size, weight, kind_blue"),
        (["--feature-radius", "wight=1"], "there is no feature 'wight'; did you mean 'weight'?"),
        (["--immutable", ","], "--immutable got no name; expected names of columns"),
        (["--feature-radius", "size"], "--feature-radius got 'size'; expected NAME=NUMBER such as bmi=0.5, in units"),
        (["--feature-radius", "size=0"], "above 0 (--immutable names columns that attacks cannot touch)"),
        (["--feature-radius", "size=1", "--feature-radius", "size=2"], "--feature-radius names 'size' twice"),
        (["--immutable", "size", "--feature-radius", "size=1"], "both name size; leave these out of one of them"),
        (["--immutable", "size", "--parameter", "scale=1"], "scale is given by --parameter, but so are --immutable or"),
        (["--feature-radius", "size=1", "--radius", "0"], "--feature-radius is about attacks, but --radius is 0"),
        (["--norm", "1"], 'exact for l2 attacks and their ellipsoids only; give norm=2, norm="inf" to AdversarialSDP'),
        (["--problem", "standard-sdp"], "problem 'standard-sdp' takes no --radius, --immutable; it takes"),
    ],
)
def test_what_is_no_attack_is_refused_before_work(run, one_hot, options, said):
    given = options if "--immutable" in options or "--feature-radius" in options else [*options, "--immutable", "size"]
    code, out, err = run("solve", "--data", one_hot, *(() if "--radius" in given else ("--radius", 0.1)), *given)
    assert code == 2
    assert out == ""
    assert re.sub(r"\s+", " ", err).find(said) >= 0, err


def test_names_and_radii_are_read_as_people_write_them():
    assert parse_names(["age, sex", "bmi", '"a,b",c', "age"]) == ["age", "sex", "bmi", "a,b", "c"]
    assert parse_names(None) is None
    assert parse_feature_radii(["bmi=0.5", "a = b=2e1"]) == {"bmi": 0.5, "a = b": 20.0}
    assert parse_feature_radii([]) is None
    with pytest.raises(InputError, match="got 'bmi=nan'"):
        parse_feature_radii(["bmi=nan"])


def test_networks_against_boxes_are_bracketed_and_never_called_exact(run, one_hot, tmp_path):
    path, more = tmp_path / "box.npz", ["--data", one_hot, "--norm", "inf", "--immutable", "kind_blue"]
    code, out, _ = run("solve", *more, "--radius", 0.2, "--save", path)
    assert code == 0
    assert "exact" not in out
    assert "programme's optimum is at least" in out
    code, out, _ = run("solve", *more, "--radius", 0.2, "--json")
    said = json.loads(out)
    assert said["threat"]["norm"] == "inf"
    assert {"train_certified", "train_attacked"} <= set(said["accuracy"])
    assert said["accuracy"]["train_certified"] <= said["accuracy"]["train_attacked"]
    code, out, _ = run("evaluate", path, "--data", one_hot, "--radius", 0.2, "--json")
    assert json.loads(out)["threat"]["norm"] == "inf"
    code, out, _ = run("predict", path, "--data", one_hot)
    assert code == 0
    assert "certified_radius" in out
