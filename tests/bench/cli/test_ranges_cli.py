"""The range of inputs on the command line, --bounds and --outside: programmes, rows outside of it, and who judges."""

import json

import numpy as np
import pytest

import cvxrobust
from cvxrobust import AdversarialReLU, AdversarialSDP, Standardizer, Threat, evaluate_robustness
from cvxrobust.bench.data.dataset import load_dataset

RELU = ("--problem", "adversarial-relu", "--n-gates", 4, "--beta", 0.01, "--backend", "clarabel")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rows in the unit cube, many on its faces, with labels (`classes.csv`) and with numbers (`numbers.csv`)."""
    home, rng = tmp_path_factory.mktemp("ranges"), np.random.default_rng(0)
    X = np.clip(rng.normal(0.5, 0.4, (60, 3)), 0.0, 1.0)
    score = X @ [1.0, 1.0, -1.0] + 0.05 * rng.normal(size=60)
    for name, last in (("classes", np.where(score > 0.4, "yes", "no")), ("numbers", score)):
        rows = [",".join(map(repr, row)) + f",{end}" for row, end in zip(X.tolist(), last.tolist(), strict=True)]
        (home / f"{name}.csv").write_text("\n".join(["a,b,c,label", *rows]), encoding="utf-8")
    return home


def asked(run, command, data, *options):
    code, out, err = run(command, "--data", data, *options, "--json", "-q")
    assert code == 0, err
    return json.loads(out)


@pytest.mark.parametrize("standardize", ["--standardize", "--no-standardize"])
def test_the_programme_is_that_of_the_range(run, folder, standardize):
    data = load_dataset(folder / "classes.csv")
    units = Standardizer.fit(data.X) if standardize == "--standardize" else Standardizer(np.zeros(3), np.ones(3))
    bounds = [(end - units.mean) / units.scale for end in (0.0, 1.0)]
    for options, make, given in (
        (RELU, AdversarialReLU, {"n_gates": 4, "norm": "inf"}),
        (("--norm", "inf", "--beta", 0.01, "--backend", "clarabel"), AdversarialSDP, {"norm": "inf"}),
    ):
        more = ("--radius", 0.1, "--bounds", 0, 1, "--test-fraction", 0, "--tolerance", 1e-7, standardize)
        found = asked(run, "solve", folder / "classes.csv", *options, *more)
        problem = make(units.transform(data.X), data.y, 0.1, bounds=bounds, beta=0.01, **given)
        value = cvxrobust.solve(problem, backend="clarabel").certificate.upper
        assert found["result"]["upper"] == pytest.approx(value, rel=1e-5)
        assert found["parameters"]["bounds"] == [0.0, 1.0]
        assert found["accuracy"]["train_certified"] <= found["accuracy"]["train_attacked"]


def test_rows_outside_are_refused_or_clipped_and_judged_as_they_are_trained_on(run, folder, tmp_path):
    data, saved = folder / "classes.csv", tmp_path / "net.npz"
    given = ("--data", data, *RELU, "--radius", 0.2, "--bounds", 0.2, 0.8, "--tolerance", 1e-6)
    code, _, err = run("solve", *given)
    assert code == 2
    assert "48 rows of classes.csv lie outside of --bounds 0.2 0.8, first in column 'a';" in " ".join(err.split())
    found = asked(run, "solve", data, *given[2:], "--outside", "clip", "--save", saved, "--seed", 3)
    network = cvxrobust.load(saved)
    assert json.loads(network.metadata["bounds"]) == [0.2, 0.8]
    assert network.metadata["outside"] == "clip"
    rows = load_dataset(data)
    _, test = cvxrobust.bench.data.dataset.stratified_split(rows, 0.2, 3)
    X, labels = np.clip(test.X, 0.2, 0.8), np.where(test.y > 0.0, "yes", "no")
    report = evaluate_robustness(network, X, labels, Threat("inf", bounds=(0.2, 0.8)), [0.2])
    assert found["accuracy"]["test_certified"] == report.certified[0]
    judged = ("evaluate", saved, "--data", data, "--radius", 0.2, "--bounds", 0.2, 0.8)
    assert run(*judged)[0] == 2
    code, out, err = run(*judged, "--outside", "clip", "--json")
    assert code == 0, err
    assert json.loads(out)["robust_accuracy"][0]["certified"] == report.certified[0]
    again = asked(run, "solve", data, *given[2:], "--outside", "clip", "--save", saved, "--seed", 3, "--resume")
    assert again["result"]["upper"] == pytest.approx(found["result"]["upper"], rel=1e-6)


def test_rows_with_radii_of_their_own_are_attacked_in_the_range(run, folder, tmp_path):
    lines = (folder / "classes.csv").read_text(encoding="utf-8").splitlines()
    path = tmp_path / "radii.csv"
    own = [f"{line},{0.3 * (number % 2)}" for number, line in enumerate(lines[1:])]
    path.write_text("\n".join([lines[0] + ",reach", *own]), encoding="utf-8")
    for options in (RELU, ("--norm", "inf")):
        more = ("--radius-column", "reach", "--test-fraction", 0, "--tolerance", 1e-4)
        free, kept = (asked(run, "solve", path, *options, *more, *range_) for range_ in ((), ("--bounds", 0, 1)))
        assert kept["accuracy"]["train_certified"] <= kept["accuracy"]["train_attacked"]
        assert kept["result"]["lower"] <= free["result"]["upper"]


def test_paths_and_exports_keep_the_range(run, folder, tmp_path):
    data = folder / "classes.csv"
    ranged = ("--bounds", 0.1, 1, "--outside", "clip", "--problem", "adversarial-relu", "--n-gates", 3)
    found = asked(run, "path", data, *ranged, "--betas", "0.05", "--radii", "0,0.3", "--backend", "clarabel")
    optima = [point["upper"] for point in found["points"]]
    one = asked(run, "solve", data, *ranged, "--beta", 0.05, "--radius", 0.3, "--tolerance", 1e-6)
    # Gates of a path are those of its largest radius.
    assert optima[-1] == pytest.approx(one["result"]["upper"], rel=1e-4)
    asked(run, "export", data, tmp_path / "p.cbf", *ranged, "--radius", 0.3)
    from cvxrobust.bench.workflows.exchange import _load_sidecar, sidecar_of
    from cvxrobust.bench.workflows.requests import TrainingRequest
    from cvxrobust.core.settings import Settings

    prepared, _ = _load_sidecar(sidecar_of(tmp_path / "p.cbf"), TrainingRequest("", Settings()))
    assert prepared.problem.attack.shape == "cut box"
    assert prepared.train.X.min() == 0.1


@pytest.mark.parametrize("options", [("--family", "relu", "--gates", 3), ("--norm", "inf")])
def test_tune_chooses_and_judges_in_the_range(run, folder, options):
    quick = ("--betas", "0.1", "--radii", "0.2", "--folds", 2, "--backend", "clarabel", "--threat-radius", 0.3)
    found = asked(run, "tune", folder / "classes.csv", *options, *quick, "--bounds", 0, 1)
    free = asked(run, "tune", folder / "classes.csv", *options, *quick)
    held = [one["held_out"]["certified_at_threat"] for one in (found, free)]
    assert held[0] <= found["held_out"]["attacked_at_threat"]
    scores = [np.mean(one["cross_validation"]["scores"]) for one in (found, free)]
    assert scores[0] >= scores[1]


def test_numbers_are_judged_in_the_range(run, folder, tmp_path):
    data, saved = folder / "numbers.csv", tmp_path / "net.npz"
    given = ("--regression", "--loss", "squared", "--formulation", "gated", *RELU, "--radius", 0.3, "--save", saved)
    found = asked(run, "solve", data, *given, "--bounds", 0, 1, "--tolerance", 1e-4)
    worst = {name: found["errors"][f"test_{name}"] for name in ("attacked", "certified")}
    assert worst["attacked"] <= worst["certified"]
    code, out, err = run("evaluate", saved, "--data", data, "--radius", 0.3, "--bounds", 0, 1, "--json")
    assert code == 0, err
    assert json.loads(out)["errors_under_attack"][0]["certified"] == pytest.approx(worst["certified"], rel=1e-9)
    _, out, _ = run("evaluate", saved, "--data", data, "--radius", 0.3, "--json")
    assert json.loads(out)["errors_under_attack"][0]["certified"] > worst["certified"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((*RELU, "--outside", "clip"), "--outside clip is about rows outside of a range, and there is none; add --bou"),
        ((*RELU, "--bounds", 1, 0), "--bounds 1 0 leave nothing between; give the least value before the largest."),
        ((*RELU, "--bounds", 0, 1, "--outside", "maybe"), "unknown outside 'maybe'; known: clip, refuse."),
        ((*RELU, "--bounds", 0, 1, "--norm", 2), "bounds are given, but norm is 2: what a range leaves of a box is a"),
        (("--bounds", 0, 1), "bounds are given, but worst cases of l2 attacks are exact without a range only;"),
        (("--problem", "joint-sdp", "--bounds", 0, 1), "problem 'joint-sdp' takes no --bounds;"),
    ],
)
def test_what_makes_no_range_is_refused(run, folder, options, said):
    code, _, err = run("solve", "--data", folder / "classes.csv", "--radius", 0.2, *options)
    assert code == 2
    assert said in " ".join(err.split())


def test_exact_answers_keep_to_the_range(run, folder, tmp_path):
    data, saved = folder / "classes.csv", tmp_path / "net.npz"
    asked(run, "solve", data, *RELU, "--radius", 0.3, "--bounds", 0, 1, "--beta", 0.002, "--save", saved)
    given = ("evaluate", saved, "--data", data, "--split", "all", "--radius", 0.3, 0.8, "--exact", "--json")
    (code, out, err), (_, free, _) = run(*given, "--bounds", 0, 1), run(*given)
    assert code == 0, err
    for kept, wide in zip(json.loads(out)["robust_accuracy"], json.loads(free)["robust_accuracy"], strict=True):
        exact = kept["exact"]
        assert kept["certified"] <= exact["at_least"] <= exact["at_most"] <= kept["attacked"]
        assert exact["rows_proven"] == exact["rows"]
        assert exact["at_least"] >= wide["exact"]["at_most"]
    code, _, err = run(*given, "--bounds", 0, 1, "--norm", 2)
    assert code == 2
    assert "--exact proves worst cases in a range in the norm inf alone;" in " ".join(err.split())
