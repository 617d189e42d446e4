"""From a CSV file to a chosen, trained, certified and drawn classifier in one command."""

import json

import numpy as np
import pytest

import cvxrobust
from cvxrobust import PolynomialClassifierCV
from cvxrobust.bench.data.dataset import load_dataset, stratified_split

QUICK = ("--folds", 2, "--tolerance", "1e-2", "--search-tolerance", "1e-1", "--backend", "clarabel")
GRID = ("--betas", "0.1,0.01", "--radii", "0,0.2")


def tuned(run, csv, *options):
    code, out, err = run("tune", "--data", csv, "--threat-radius", 0.2, *QUICK, *options, "--json", "-q")
    assert code == 0, err
    return json.loads(out)


def test_one_command_chooses_trains_certifies_and_draws(run, csv, tmp_path):
    net, band, surface = (tmp_path / name for name in ("net.npz", "band.png", "surface.png"))
    code, out, err = run(
        "tune", "--data", csv, "--threat-radius", 0.2, *QUICK, *GRID, "--save", net, "--picture", band,
        "--surface", surface,
    )  # fmt: skip
    assert code == 0, err
    words = " ".join(out.split())
    assert "certified accuracy (%) at radius 0.2, 2 folds of the training rows" in words
    assert "Chosen: beta 0." in words
    assert "certified: optimum in [" in words
    assert "withstand l2 attacks of radius 0.2 (by trust-region subproblems)" in words
    assert "fold 2: 4 points, 4 certified to 0.1" in err
    for picture in (band, surface):
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"Picture: {picture}" in out
    code, out, err = run("evaluate", net, "--data", csv, "--radius", 0.2)
    assert code == 0, err


def test_the_choice_is_the_classifiers_and_the_rows_held_out_have_no_part_in_it(run, csv, tmp_path):
    net = tmp_path / "net.npz"
    found = tuned(run, csv, *GRID, "--save", net)
    data = load_dataset(csv)
    train, test = stratified_split(data, 0.2, 0)
    model = PolynomialClassifierCV(
        threat_radius=0.2, betas=(0.1, 0.01), radii=(0.0, 0.2), cv=2, search_tolerance=1e-1, tolerance=1e-2,
        backend="clarabel",
    ).fit(train.X, train.y)  # fmt: skip
    assert found["cross_validation"]["scores"] == model.scores_.tolist()
    assert found["chosen"] == model.best_params_
    network = cvxrobust.load(net)
    assert (network.metadata["beta"], network.metadata["radius"]) == (model.beta_, model.radius_)
    assert network.decision_function(test.X) == pytest.approx(model.decision_function(test.X), abs=1e-6)
    labels = np.where(test.y > 0.0, data.classes[1], data.classes[0])
    held_out = found["held_out"]
    assert held_out["rows"] == test.n_rows
    assert held_out["certified_at_threat"] == held_out["attacked_at_threat"]
    assert held_out["certified_at_threat"] == network.robust_accuracy(test.X, labels, [0.2])[0]
    assert found["training"]["result"]["quality"] == "certified"


def test_immutable_columns_and_radii_of_their_own_are_those_of_the_threat(run, csv, tmp_path):
    net = tmp_path / "net.npz"
    options = ("--immutable", "width", "--feature-radius", "height=3", "--betas", "0.1", "--save", net)
    for radius, own in ((0, {}), (0.4, {"feature_radius": {"height": 6.0}})):
        found = tuned(run, csv, *options, "--radii", radius)
        given = found["training"]["parameters"]
        assert {name: value for name, value in given.items() if name == "feature_radius"} == own
        network = cvxrobust.load(net)
        train, _ = stratified_split(load_dataset(csv), 0.2, 0)
        assert network.ellipsoid.scale == pytest.approx([0.0, 3.0 / (0.2 * train.X[:, 1].std())])


def test_numbers_of_gates_are_tried_for_relu_networks(run, csv):
    options = ("--family", "relu", "--formulation", "gated", "--gates", "2,3", "--betas", 0.1, "--radii", 0.2)
    found = tuned(run, csv, *options, "--norm", "1", "--rule", "one-standard-error")
    assert found["cross_validation"]["n_gates"] == [2, 3]
    assert found["chosen"]["n_gates"] in (2, 3)
    assert found["threat_norm"] == 1
    assert found["held_out"]["certified_at_threat"] <= found["held_out"]["attacked_at_threat"]


def test_polynomial_networks_are_judged_in_other_norms_by_a_bound(run, csv):
    found = tuned(run, csv, "--betas", 0.1, "--norm", "inf", "--class-weight", "balanced")
    assert found["cross_validation"]["radii"] == pytest.approx([0.0, 0.2, 0.2 * 2**0.25, 0.2 * 2**0.5])
    assert found["threat_norm"] == "inf"
    assert found["training"]["parameters"]["norm"] == 2
    assert found["held_out"]["kind"] == "bound"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--family", "linear"), "unknown family 'linear'; known: polynomial, relu"),
        (("--threat-radius", 0), "the radius of the threat is 0.0; expected a finite number above 0"),
        (("--test-fraction", 0), "nothing is held out"),
        (("--betas", "small"), "--betas got 'small'; expected numbers with commas, or FROM:TO:COUNT"),
        (("--gates", "5"), "--gates are of relu networks; leave them out, or choose --family relu"),
        (("--regate", "1"), "takes no --regate"),
        (("--immutable", "wdith"), "there is no feature 'wdith'; did you mean 'width'?"),
        (("--picture", "nowhere/band.png"), "--picture names nowhere/band.png"),
        (("--save", "net.txt"), "a network is saved as .npz"),
    ],
)
def test_what_cannot_be_done_is_refused_before_work(run, csv, options, said, monkeypatch):
    monkeypatch.setattr("cvxrobust.problems.model_selection.paths.solve", None)
    code, out, err = run("tune", "--data", csv, "--threat-radius", 0.2, *options)
    assert (code, out) == (2, "")
    assert said in err
