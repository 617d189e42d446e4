"""The main job: its table, pictures, numbers and networks."""

import numpy as np
import pytest
from strict_json import pure_json

import cvxrobust
from cvxrobust.bench.demo import breast_cancer, setting
from cvxrobust.bench.workflows.requests import TrainingRequest
from cvxrobust.bench.workflows.training import train


@pytest.fixture
def demo(run, csv, tmp_path, monkeypatch):
    """The main job on thirty rows instead of its own."""
    monkeypatch.setattr(setting, "DATA", str(csv))
    monkeypatch.setattr(setting, "TOLERANCE", 1e-4)
    out = tmp_path / "made" / "here"
    return out, *run("demo", "--out", out)


def test_the_main_job_leaves_table_picture_numbers_and_networks(demo):
    out, code, printed, err = demo
    assert code == 0
    assert all(label in printed for label in ("standard", "adversarial, r = 0.3", "adversarial, r = 1", "r = 1.5"))
    assert "upper" in err
    assert (out / "robust_accuracy.png").read_bytes().startswith(b"\x89PNG")
    networks = pure_json((out / "results.json").read_text(encoding="utf-8"))["networks"]
    assert [network["parameters"].get("radius") for network in networks] == [None, 0.3, 1.0]
    for network in networks:
        accuracies = network["robust_test_accuracy"]
        assert len(accuracies) == 5
        assert accuracies == sorted(accuracies, reverse=True)
        assert network["result"]["relative_gap"] <= 1e-4
        assert cvxrobust.PolynomialNetwork.load(network["saved"]).metadata["data"] == "small.csv"


def test_the_main_job_compares_relu_networks_too(demo):
    out, code, printed, err = demo
    assert code == 0
    assert all(words in printed for words in ("no adversary", "cone form", "one-sided", "own objective", "carriers"))
    assert "ReLU, one-sided" in err
    assert (out / "relu_robust_accuracy.png").read_bytes().startswith(b"\x89PNG")
    relu = pure_json((out / "results.json").read_text(encoding="utf-8"))["relu"]
    assert [network["problem"] for network in relu["networks"]] == ["convex-relu", *["adversarial-relu"] * 2]
    for network in relu["networks"]:
        assert [found["radius"] for found in network["robust_test_accuracy"]] == [0.05, 0.1, 0.2]
        assert all(found["certified"] <= found["attacked"] for found in network["drawn"])
        assert network["result"]["report"]["gates_asked"] == 20
        assert cvxrobust.ReLUNetwork.load(network["saved"]).metadata["data"] == "small.csv"


def test_the_main_job_refuses_a_folder_that_cannot_be_made(run, csv):
    code, _, err = run("demo", "--out", csv / "below")
    assert code == 2
    assert "cannot be a folder" in err


def test_the_curve_passes_through_the_exact_accuracies(csv, tmp_path):
    from matplotlib.figure import Figure

    request = TrainingRequest(
        str(csv),
        cvxrobust.Settings(tolerance=1e-4),
        parameters={"radius": 0.3},
        backend="clarabel",
        test_fraction=0.5,
    )
    training = train(request)
    network, test = training.result.network, training.test
    lost_at = breast_cancer.robustness_radii(network, test)
    axes = Figure().add_subplot()
    breast_cancer._draw_curve(axes, lost_at, 5.0, breast_cancer.PolynomialEntry("", training, ()), "black")
    x, y = axes.lines[0].get_data()
    for radius in (0.0, 0.1, 0.3, 1.0, 2.0):
        drawn = y[np.flatnonzero(x <= radius)[-1]]
        assert drawn == pytest.approx(100 * network.robust_accuracy(test.X, test.y, radius)[0])
