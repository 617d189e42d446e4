"""What becomes of networks that the command line saves: nothing lost on full disks, nothing misread on new data."""

import base64
import csv as csv_files
import errno
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest
from strict_json import pure_json

import cvxrobust
from cvxrobust import Settings, StandardSDP
from cvxrobust.bench.workflows import output_files
from cvxrobust.core import files

SOLVE = ["solve", "--backend", "clarabel", "--beta", "0.05", "--tolerance", "1e-3", "--quiet"]
RELU = ["solve", "--problem", "convex-relu", "--n-gates", "5", "--tolerance", "1e-2", "--quiet"]


@pytest.fixture
def network(run, csv, tmp_path):
    path = tmp_path / "net.npz"
    assert run(*SOLVE, "--data", csv, "--radius", 0.2, "--save", path)[0] == 0
    return path


@pytest.fixture
def relu(run, csv, tmp_path):
    path = tmp_path / "relu.npz"
    assert run(*RELU, "--data", csv, "--save", path)[0] == 0
    return path


def columns(text):
    rows = list(csv_files.DictReader(io.StringIO(text)))
    return {name: [row[name] for row in rows] for name in rows[0]}


def data_of(csv):
    lines = [line.split(",") for line in csv.read_text(encoding="utf-8").splitlines()[1:]]
    return np.array([[float(a), float(b)] for a, b, _ in lines]), np.array([label for *_, label in lines])


# -- nothing lost ----------------------------------------------------------------------------------------------------


@pytest.fixture
def full(monkeypatch):
    """Makes the disks of some folders full from the moment that a solve is done."""

    def fill(*folders):
        solve, begin, full = cvxrobust.solve, files._begin, []

        def begin_unless_full(target, mode):
            if full and any(target.is_relative_to(folder) for folder in folders):
                raise OSError(errno.ENOSPC, "No space left on device")
            return begin(target, mode)

        def solve_and_fill(*arguments, **keywords):
            result = solve(*arguments, **keywords)
            full.append(True)
            return result

        monkeypatch.setattr(files, "_begin", begin_unless_full)
        monkeypatch.setattr(cvxrobust, "solve", solve_and_fill)

    return fill


def test_a_disk_that_fills_while_solving_costs_nothing(run, csv, tmp_path, full, monkeypatch):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    here.mkdir()
    elsewhere.mkdir()
    monkeypatch.setattr(output_files.tempfile, "tempdir", str(elsewhere))
    full(here)
    code, out, err = run(*SOLVE, "--data", csv, "--radius", 0.2, "--save", here / "net.npz", "--json")
    assert code == 74
    found = pure_json(out)
    assert "No space left on device" in found["save_failure"]
    assert Path(found["saved"]).is_relative_to(elsewhere)
    assert f"It was saved to {found['saved']} instead; move it from there." in err
    assert len(err.splitlines()) == 1
    assert cvxrobust.load(found["saved"]).metadata["radius"] == 0.2
    assert not list(here.iterdir())


def test_where_no_folder_takes_it_the_network_is_printed(run, csv, tmp_path, full):
    full(Path("/"))
    code, out, err = run(*SOLVE, "--data", csv, "--radius", 0.2, "--save", tmp_path / "net.npz")
    assert code == 74
    assert "it is printed as base64" in err
    (tmp_path / "again.npz").write_bytes(base64.b64decode(out.splitlines()[-1]))
    assert cvxrobust.load(tmp_path / "again.npz").classes == ("no", "yes")


@pytest.mark.parametrize(
    "command",
    [
        [*SOLVE, "--radius", "1", "--data", "CSV", "--save", "FOLDER/net.npz"],
        ["export", "FOLDER/p.dat-s", "--data", "CSV", "--problem", "standard-sdp"],
        ["demo", "--out", "FOLDER"],
    ],
    ids=lambda command: command[0],
)
def test_a_folder_that_takes_no_files_is_found_before_any_work(run, csv, tmp_path, monkeypatch, command):
    begin = files._begin

    def begin_elsewhere(target, mode):
        if target.parent.name == "readonly":
            raise OSError(errno.EROFS, "Read-only file system")
        return begin(target, mode)

    monkeypatch.setattr(files, "_begin", begin_elsewhere)
    monkeypatch.setattr(cvxrobust, "solve", lambda *_, **__: pytest.fail("solved before looking"))
    monkeypatch.setattr(StandardSDP, "to_conic", lambda _: pytest.fail("assembled before looking"))
    (tmp_path / "readonly").mkdir()
    places = {"CSV": str(csv), "FOLDER": str(tmp_path / "readonly")}
    for place, path in places.items():
        command = [text.replace(place, path) for text in command]
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert "nothing can be written to" in err
    assert "Read-only file system" in err
    assert len(err.splitlines()) == 1


def test_what_is_read_is_never_overwritten(run, csv, network, tmp_path):
    data = tmp_path / "data.npz"
    X, labels = data_of(csv)
    np.savez(data, X=X, y=labels)
    before = data.read_bytes(), network.read_bytes()
    commands = (
        [*SOLVE, "--data", data, "--radius", 0.2, "--save", data],
        ["predict", network, "--data", csv, "--out", csv],
        ["predict", network, "--data", csv, "--out", tmp_path / "." / network.name],
    )
    for command in commands:
        code, _, err = run(*command)
        assert code == 2
        assert "which is read in this command; choose another file" in err
    assert (data.read_bytes(), network.read_bytes()) == before


def test_an_export_on_a_full_disk_ends_with_74_and_keeps_the_last_one(run, csv, tmp_path, monkeypatch):
    path = tmp_path / "problem.dat-s"
    export = ["export", path, "--data", csv, "--problem", "standard-sdp", "--quiet"]
    assert run(*export)[0] == 0
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    replace = os.replace

    def full(source, target):
        if str(target).endswith("dat-s"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    code, _, err = run(*export, "--beta", 0.5)
    assert code == 74
    assert "problem.dat-s cannot be written: No space left on device" in err
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_a_programme_that_its_sidecar_does_not_belong_to_is_not_scored(run, csv, tmp_path):
    path = tmp_path / "problem.dat-s"
    assert run("export", path, "--data", csv, "--problem", "standard-sdp", "--quiet")[0] == 0
    path.write_text(path.read_text(encoding="ascii") + "\n", encoding="ascii")
    (tmp_path / "answer.txt").write_text("1\n")
    code, _, err = run("import", path, tmp_path / "answer.txt")
    assert code == 2
    assert "is not the file that" in err
    assert "export it again" in err


def test_whatever_becomes_of_a_sidecar_it_is_one_line(run, csv, tmp_path):
    path, answer = tmp_path / "problem.dat-s", tmp_path / "answer.npz"
    assert run("export", path, "--data", csv, "--problem", "standard-sdp", "--quiet")[0] == 0
    sidecar = path.with_name("problem.dat-s.npz")
    np.savez(answer, x=np.zeros(3))
    with np.load(sidecar) as stored:
        whole = {name: stored[name] for name in stored.files}
    header = json.loads(str(whole["header"]))
    said = {"name": [], "feature_names": ["a"], "classes": [{}], "notes": [1]}
    changes = [
        *({"header": np.array(json.dumps(header | {name: value}))} for name in header for value in (None, [])),
        *({"header": np.array(json.dumps(header | {"dataset": header["dataset"] | {k: v}}))} for k, v in said.items()),
        {"X": np.full_like(whole["X"], np.nan)},
        {"y": whole["y"] + 5.0},
        {"scale": 0.0 * whole["scale"]},
        {"train_rows": np.array([1000])},
    ]
    for change in changes:
        np.savez(sidecar, **(whole | change))
        code, out, err = run("import", path, answer)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1


# -- read back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["network", "relu"])
def test_a_saved_network_predicts_raw_data_as_well_as_solve_said(run, csv, request, kind):
    path = request.getfixturevalue(kind)
    X, labels = data_of(csv)
    found = cvxrobust.load(path)
    code, out, _ = run("evaluate", path, "--data", csv, "--radius", 0.1, "--split", "all", "--json")
    assert code == 0
    assert (found.predict(X) == labels).mean() == pure_json(out)["clean_accuracy"] > 0.9
    assert found.classes == ("no", "yes")


def test_a_saved_network_says_how_good_it_is(network):
    said = cvxrobust.load(network).metadata
    assert said["beta"] == 0.05
    assert said["certificate_lower"] <= said["certificate_upper"]
    assert said["certificate_relative_gap"] <= 1e-3
    assert {"version", "data_fingerprint", "training_fingerprint", "quality"} <= set(said)


def test_numbers_stay_numbers_as_labels(run, tmp_path):
    X = np.random.default_rng(0).normal(size=(30, 2))
    y = np.where(X[:, 0] > 0, 7, 3)
    np.savez(tmp_path / "data.npz", X=X, y=y)
    assert run(*SOLVE, "--data", tmp_path / "data.npz", "--radius", 0.1, "--save", tmp_path / "net.npz")[0] == 0
    found = cvxrobust.load(tmp_path / "net.npz")
    assert found.classes == (3, 7)
    assert (found.predict(X) == y).mean() > 0.9


def test_a_network_of_before_that_knows_its_classes_by_metadata_alone_is_evaluated(run, csv, network):
    found = cvxrobust.load(network)
    found.replace(classes=None).save(network)
    code, out, _ = run("evaluate", network, "--data", csv, "--radius", 0.1, "--json")
    assert code == 0
    assert pure_json(out)["clean_accuracy"] > 0.6


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({"test_fraction": "some"}, "does not say how its data was split"),
        ({"split_seed": float("inf")}, "does not say how its data was split"),
        ({"feature_names": "{"}, None),
        ({"class_labels": "[1, 2]"}, "says class_labels"),
    ],
)
def test_metadata_of_any_kind_is_a_network_or_one_line(run, csv, network, metadata, said):
    found = cvxrobust.load(network)
    found.replace(metadata={**found.metadata, **metadata}, classes=None).save(network)
    code, _, err = run("evaluate", network, "--data", csv, "--radius", 0.1)
    assert code == (0 if said is None else 2)
    assert (said or "") in err


# -- predict ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["network", "relu"])
def test_predict_writes_label_margin_and_radius_of_every_row(run, csv, tmp_path, request, kind):
    path, X = request.getfixturevalue(kind), data_of(csv)[0]
    lines = csv.read_text(encoding="utf-8").splitlines()
    new = tmp_path / "new.csv"  # other order, a column more, no labels
    new.write_text("\n".join(f"{b},{k},{a}" for k, (a, b, _) in enumerate(line.split(",") for line in lines)))
    new.write_text(new.read_text().replace("height,0,width", "height,number,width"))
    code, out, err = run("predict", path, "--data", new)
    assert code == 0
    assert "columns left aside: number" in err
    assert "in standard deviations of the training features" in err
    table, found = columns(out), cvxrobust.load(path)
    assert list(table) == ["row", "label", "margin", "certified_radius"]
    assert table["row"] == [str(k + 1) for k in range(30)]
    assert table["label"] == found.predict(X).tolist()
    assert list(map(float, table["margin"])) == pytest.approx(found.margins(X, found.predict(X)))
    norm = 2 if kind == "network" else "inf"
    assert list(map(float, table["certified_radius"])) == found.certified_radius(X, norm).tolist()
    assert run("predict", path, "--data", new, "--out", tmp_path / "out.csv", "--quiet")[1:] == ("", "")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == out


def test_predict_takes_arrays_by_position_and_named_sets(run, csv, network, tmp_path):
    X, _ = data_of(csv)
    np.savez(tmp_path / "new.npz", X=X)
    by_position = run("predict", network, "--data", tmp_path / "new.npz", "--quiet")
    assert by_position == run("predict", network, "--data", csv, "--quiet")
    code, _, err = run("predict", network, "--data", "breast-cancer")
    assert code == 2
    assert "rows of 30 inputs, but the network takes 2" in err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("width,label\n1,yes\n", "lacks 1 of the 2 columns that the network was trained on: height"),
        ("width,height\n1,\n", "has 1 missing values, in columns height, data rows 1"),
        ("width,height\n1,tall\n", "has columns that are not numbers: height"),
        ("width,height\n", "has 0 rows"),
    ],
)
def test_data_that_cannot_be_predicted_for_is_refused(run, network, tmp_path, content, said):
    new, out = tmp_path / "new.csv", tmp_path / "out.csv"
    new.write_text(content, encoding="utf-8")
    code, printed, err = run("predict", network, "--data", new, "--out", out)
    assert (code, printed) == (2, "")
    assert said in err
    assert not out.exists()


def test_labels_that_spreadsheets_would_run_are_quoted(run, csv, network):
    found = cvxrobust.load(network)
    for classes, shown in (
        (("=1+1", "@SUM(A1)"), {"'=1+1", "'@SUM(A1)"}),
        (("-1", "+1"), {"-1", "+1"}),
        (("-", "+"), {"-", "+"}),
    ):
        found.replace(classes=classes).save(network)
        assert set(columns(run("predict", network, "--data", csv, "--quiet")[1])["label"]) == shown


def test_a_regression_network_predicts_numbers(run, csv, tmp_path):
    X, _ = data_of(csv)
    result = cvxrobust.solve(StandardSDP(X, X[:, 0], loss="squared"), settings=Settings(tolerance=1e-2))
    result.network.save(tmp_path / "net.npz")
    code, out, _ = run("predict", tmp_path / "net.npz", "--data", csv)
    assert code == 0
    table = columns(out)
    assert list(table) == ["row", "value"]
    assert list(map(float, table["value"])) == cvxrobust.load(tmp_path / "net.npz").predict(X).tolist()
