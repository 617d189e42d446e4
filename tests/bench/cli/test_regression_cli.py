"""Numbers to be predicted, from the command line: training, attacked or not, and predictions with worst errors."""

import csv
import io
import json
import re

import numpy as np
import pytest

import cvxrobust
from cvxrobust import AdversarialSDP, PolynomialRegressor, Settings, StandardSDP
from cvxrobust.bench.data.dataset import load_dataset
from cvxrobust.bench.workflows.exchange import _load_sidecar, sidecar_of
from cvxrobust.bench.workflows.requests import TrainingRequest

N = 40


def rows_and_prices():
    rng = np.random.default_rng(0)
    X = 3.0 + rng.standard_normal((N, 2)) * [1.0, 10.0]
    Z = (X - 3.0) / [1.0, 10.0]
    return X, 200.0 + 30.0 * Z[:, 0] - 10.0 * Z[:, 1] ** 2 + rng.standard_normal(N)


@pytest.fixture
def priced(tmp_path):
    """Two measurements, a price, and a radius for each row."""
    X, y = rows_and_prices()
    lines = [
        f"{a!r},{b!r},{c!r},{k % 3 / 10}" for k, (a, b, c) in enumerate(zip(*X.T.tolist(), y.tolist(), strict=True))
    ]
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(["width,height,price,reach", *lines]), encoding="utf-8")
    return path


def solved(run, data, *options):
    fixed = ["--data", data, "--label", "price", "--radius-column", "reach", "--tolerance", 1e-5, "--json", "-q"]
    code, out, err = run("solve", *fixed, *options)
    assert code == 0, err
    return json.loads(out)


def predicted(run, network, data, *options):
    code, out, err = run("predict", network, "--data", data, *options)
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(out)))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}, " ".join(err.split())


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber:0.5"])
def test_what_is_trained_is_what_the_estimator_trains(run, priced, tmp_path, loss):
    path = tmp_path / "net.npz"
    found = solved(run, priced, "--loss", loss, "--test-fraction", 0, "--save", path)
    X, y = rows_and_prices()
    radii = np.arange(N) % 3 / 10
    model = PolynomialRegressor(radius=radii, loss=loss, tolerance=1e-5).fit(X, y)
    assert found["result"]["upper"] == pytest.approx(model.result_.certificate.upper, rel=3e-5)
    own, notes = predicted(run, path, priced, "--radius-column", "reach")
    assert "radius of each row, at most 0.2" in notes
    Z, t = (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()
    problem = AdversarialSDP(Z, t, radii, loss=loss)
    worst = problem.losses_at(t + own["worst_error"] / y.std()).mean()
    network = cvxrobust.load(path)
    assert worst + problem.beta * network.penalty == pytest.approx(found["result"]["upper"], rel=1e-9)
    assert found["errors"]["train_worst"] == pytest.approx(own["worst_error"].mean())
    assert found["errors"]["train_mean_absolute"] == pytest.approx(np.abs(own["value"] - y).mean())
    assert found["accuracy"] == {}
    assert network.regression
    assert network.classes is None


def test_predictions_stay_within_what_attacks_can_do(run, priced, tmp_path):
    path = tmp_path / "net.npz"
    solved(run, priced, "--loss", "squared", "--save", path)
    own, _ = predicted(run, path, priced, "--radius", 0.3)
    network, (X, y) = cvxrobust.load(path), rows_and_prices()
    about = network.metadata
    value = about["target_mean"] + about["target_scale"] * network.decision_function(X)
    np.testing.assert_allclose(own["value"], value, rtol=1e-12)
    rng = np.random.default_rng(1)
    for _ in range(50):
        moves = rng.standard_normal(X.shape)
        moves *= 0.3 / np.linalg.norm(moves, axis=1, keepdims=True) * network.standardizer.scale
        moved = about["target_mean"] + about["target_scale"] * network.decision_function(X + moves)
        assert (own["lowest"] - 1e-9 <= moved).all()
        assert (moved <= own["highest"] + 1e-9).all()
    np.testing.assert_allclose(own["worst_error"], np.maximum(y - own["lowest"], own["highest"] - y), rtol=1e-12)
    without = tmp_path / "new.csv"
    without.write_text("height,width\n1,2\n3,4", encoding="utf-8")
    new, _ = predicted(run, path, without, "--radius", 0)
    assert list(new) == ["row", "value"]


def test_standard_training_fits_numbers_too_and_says_so(run, priced, tmp_path):
    code, out, err = run(
        "solve", "--data", priced, "--label", "price", "--problem", "standard-sdp", "--loss", "squared"
    )
    assert code == 0, err
    words = " ".join(out.split())
    assert "mean absolute error, held-out rows" in words
    assert "accuracy" not in words
    X, y = rows_and_prices()
    np.savez(tmp_path / "d.npz", X=X, y=y)
    options = ["--problem", "standard-sdp", "--loss", "absolute", "--no-standardize", "--test-fraction", 0]
    code, out, err = run("solve", "--data", tmp_path / "d.npz", *options, "--json", "--save", tmp_path / "n.npz")
    assert code == 0, err
    expected = cvxrobust.solve(StandardSDP(X, y, loss="absolute")).certificate.upper
    assert json.loads(out)["result"]["upper"] == pytest.approx(expected, rel=3e-6)
    assert list(predicted(run, tmp_path / "n.npz", tmp_path / "d.npz")[0]) == ["row", "value", "worst_error"]


def test_relu_networks_fit_numbers_within_two_bounds(run, priced, tmp_path):
    path = tmp_path / "net.npz"
    relu = ["--problem", "adversarial-relu", "--n-gates", 4, "--bias", "--loss", "huber", "--save", path]
    found = solved(run, priced, *relu)["errors"]
    assert found["test_mean_absolute"] <= found["test_attacked"] <= found["test_certified"]
    own, _ = predicted(run, path, priced, "--radius", 0.1)
    assert (own["lowest"] < own["value"]).all()
    assert (own["value"] < own["highest"]).all()


@pytest.mark.parametrize("problem", [[], ["--problem", "adversarial-relu", "--n-gates", 4, "--norm", 2]])
def test_evaluate_says_how_far_attacks_push_numbers_and_remembers_their_column(run, priced, tmp_path, problem):
    path = tmp_path / "net.npz"
    trained = solved(run, priced, "--loss", "squared", "--save", path, *problem)["errors"]
    code, out, err = run("evaluate", path, "--data", priced, "--radius", 0, 0.1, 0.2, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["split"], found["rows"], found["norm"]) == ("test", 8, 2)
    for name, value in found["errors"].items():
        assert value == pytest.approx(trained[f"test_{name}"])
    low = [one.get("worst", one.get("attacked")) for one in found["errors_under_attack"]]
    high = [one.get("worst", one.get("certified")) for one in found["errors_under_attack"]]
    assert low[0] == high[0] == pytest.approx(found["errors"]["mean_absolute"])
    assert low == sorted(low)
    assert high == sorted(high)
    assert all(one <= other for one, other in zip(low, high, strict=True))
    code, out, err = run("evaluate", path, "--data", priced, "--radius", 0.1, "--split", "all")
    assert code == 0, err
    assert "40 rows" in out
    assert "mean absolute error: " in out


@pytest.mark.parametrize("family", ["polynomial", "relu"])
def test_tune_chooses_a_network_that_predicts_numbers(run, priced, tmp_path, family):
    own = ["--gates", 3, "--norm", 2] if family == "relu" else []
    grid = ["--betas", "0.03,0.3", "--radii", "0,0.1", "--folds", 2, "--search-tolerance", 0.05, "--tolerance", 1e-3]
    asked = ["--data", priced, "--label", "price", "--loss", "squared", "--threat-radius", 0.1, "--family", family]
    code, out, err = run("tune", *asked, *own, *grid, "--save", tmp_path / "net.npz", "--json", "-q")
    assert code == 0, err
    found = json.loads(out)
    errors = found["held_out"]["errors"]
    assert found["chosen"]["beta"] in (0.03, 0.3)
    assert errors["mean_absolute"] <= errors.get("worst", errors.get("certified"))
    assert cvxrobust.load(tmp_path / "net.npz").regression
    judged = run("evaluate", tmp_path / "net.npz", "--data", priced, "--radius", 0.1, "--json")[1]
    (again,) = json.loads(judged)["errors_under_attack"]
    assert again == pytest.approx({"radius": 0.1} | {name: errors[name] for name in again if name != "radius"})
    code, out, err = run("tune", *asked, *own, *grid)
    assert code == 0, err
    assert "largest errors at radius 0.1, 2 folds of the training rows" in " ".join(out.split())
    assert "mean absolute error, held-out rows" in out


def test_a_path_shows_how_much_its_networks_explain(run, priced, tmp_path):
    options = ["--label", "price", "--loss", "squared", "--betas", "0.1,0.01", "--radii", "0,0.1", "--json", "-q"]
    code, out, err = run("path", "--data", priced, *options, "--out", tmp_path / "out")
    assert code == 0, err
    points = json.loads(out)["points"]
    assert len(points) == 4
    assert all(0.5 < point["explained"] < 1.0 for point in points)


def test_exported_programmes_of_numbers_come_back(run, priced, tmp_path):
    path = tmp_path / "p.cbf"
    options = ["--data", priced, "--label", "price", "--loss", "absolute", "--radius", 0.1]
    code, _, err = run("export", path, *options)
    assert code == 0, err
    prepared, _ = _load_sidecar(sidecar_of(path), TrainingRequest("", Settings()))
    assert prepared.dataset.regression
    assert prepared.units.mean == pytest.approx(prepared.train.y.mean())
    np.testing.assert_allclose(prepared.problem.y.mean(), 0.0, atol=1e-12)


def test_whole_numbers_are_targets_if_somebody_says_so(run, tmp_path):
    path = tmp_path / "stars.csv"
    rows = [f"{k % 7},{(k % 7) // 2 + 1}" for k in range(28)]
    path.write_text("\n".join(["x,label", *rows]), encoding="utf-8")
    code, _, err = run("solve", "--data", path, "--problem", "standard-sdp", "--loss", "squared")
    assert code == 2
    assert "add --regression if these are numbers to be fitted" in " ".join(err.split())
    code, out, err = run(
        "solve", "--data", path, "--problem", "standard-sdp", "--loss", "squared", "--regression", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["errors"]["train_explained"] > 0.8


def test_decimal_commas_are_read_in_targets(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("x;label\n1,5;2,25\n2,5;3,75\n", encoding="utf-8")
    form = cvxrobust.bench.data.csv_files.CsvFormat(";", ",")
    assert load_dataset(path, form=form, targets=True).y.tolist() == [2.25, 3.75]


@pytest.mark.parametrize(
    ("command", "options", "said"),
    [
        ("solve", [], "look like real numbers rather than classes. Fit them by a loss of targets .--loss squared,"),
        ("solve", ["--loss", "hinge"], "look like real numbers rather than classes"),
        ("solve", ["--regression"], "--regression fits numbers, but there is no --loss; give --loss squared"),
        ("solve", ["--regression", "--loss", "logistic"], "but the loss 'logistic' is of labels"),
        ("solve", ["--loss", "squared", "--class-weight", "balanced"], "--class-weight is about classes"),
        ("tune", ["--loss", "hinge", "--threat-radius", 0.1], "look like real numbers rather than classes"),
        ("tune", ["--loss", "squared", "--threat-radius", 0.1, "--picture", "p.png"], "--picture draws accuracies"),
    ],
)
def test_what_fits_no_numbers_is_refused_before_work(run, priced, command, options, said):
    own = [] if command == "tune" else ["--radius", 0.1]
    code, _, err = run(command, "--data", priced, "--label", "price", *own, *options)
    assert code == 2
    assert re.search(said, " ".join(err.split())), err


def test_the_other_commands_say_what_they_do_not_do(run, priced, csv, tmp_path):
    numbers, labels = tmp_path / "numbers.npz", tmp_path / "labels.npz"
    solved(run, priced, "--loss", "squared", "--save", numbers)
    assert run("solve", "--data", csv, "--radius", 0.1, "--save", labels)[0] == 0
    for arguments, said in (
        (["evaluate", numbers, "--data", priced, "--radius", 0.1, "--exact"], "--exact can be asked of classifiers"),
        (["predict", labels, "--data", csv, "--radius", 0.1], "predicts labels, each with the radius up to which"),
        (["predict", numbers, "--data", priced, "--label", "prise"], "no column 'prise' .* Did you mean 'price'"),
        (["predict", numbers, "--data", priced, "--radius", -1], "the radius -1.0 is no radius"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert re.search(said, " ".join(err.split())), err
