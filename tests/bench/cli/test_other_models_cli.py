"""`cvxrobust evaluate` on classifiers of others: who is trusted, whose labels, and what is written of every row."""

import csv
import pickle
import sys
import types
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier
from strict_json import pure_json

from cvxrobust import PolynomialNetwork, Threat, evaluate_robustness

NAMES = ["a", "b", "c"]


def write(path, X, labels, order=(0, 1, 2)):
    table = pd.DataFrame(X[:, order], columns=[NAMES[place] for place in order])
    table.assign(label=labels).to_csv(path, index=False)
    return path


@pytest.fixture
def rows():
    X = np.random.default_rng(0).standard_normal((60, 3))
    return X, np.where(X[:, 0] + 0.5 * X[:, 1] > 0.2, "yes", "no")


@pytest.fixture
def data(rows, tmp_path):
    return write(tmp_path / "rows.csv", *rows)


@pytest.fixture
def linear(rows, tmp_path):
    path = tmp_path / "linear.joblib"
    joblib.dump(LogisticRegression().fit(pd.DataFrame(rows[0], columns=NAMES), rows[1]), path)
    return path


def network(outputs):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.ReLU(), torch.nn.Linear(6, outputs)).eval()


def scripted(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still what many files are
        torch.jit.save(torch.jit.script(module), path)


def exported(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = ({0: torch.export.Dim("n")},)
        torch.export.save(torch.export.export(module, (torch.zeros(5, 3),), dynamic_shapes=rows), path)


def test_a_classifier_of_scikit_learn_is_judged_as_in_python(run, rows, data, linear, tmp_path):
    X, y = rows
    code, out, err = run("evaluate", linear, "--trust-code", "--data", data, "--radius", 0.1, 0.4, "--json")
    assert (code, err) == (0, "")
    found = pure_json(out)
    expected = evaluate_robustness(joblib.load(linear), X, y, Threat("inf"), [0.1, 0.4])
    assert [one["accuracy"] for one in found["robust_accuracy"]] == expected.certified.tolist()
    assert found["evidence"]["certificate"] == "the dual norm of the weights"
    # Columns are matched by the names that the classifier knows.
    swapped = write(tmp_path / "swapped.csv", X, y, (2, 0, 1))
    again = pure_json(run("evaluate", linear, "--trust-code", "--data", swapped, "--radius", 0.1, 0.4, "--json")[1])
    assert again["robust_accuracy"] == found["robust_accuracy"]


def test_what_may_run_code_is_loaded_only_if_somebody_vouches_for_it(run, data, tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("this was run",))

    traps = [tmp_path / "trap.pkl", tmp_path / "trap.joblib", tmp_path / "trap.pickle"]
    for path in traps:
        path.write_bytes(pickle.dumps(Trap()))
    script, programme = tmp_path / "net.pt", tmp_path / "net.pt2"
    script.write_bytes(b"")
    programme.write_bytes(b"")
    for path in [*traps, script, programme]:
        code, out, err = run("evaluate", path, "--data", data, "--radius", 0.1)
        assert (code, out) == (2, "")
        assert "may run any code on this machine as it is loaded" in err
        assert "give --trust-code if you trust whoever wrote it" in err


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_modules_are_read_from_torchscript_and_from_exported_programmes(run, rows, tmp_path, outputs):
    X, module = rows[0], network(outputs)
    with torch.no_grad():
        scores = module(torch.tensor(X, dtype=torch.float32)).numpy()
    index = scores.argmax(axis=1) if outputs > 1 else (scores[:, 0] >= 0.0).astype(int)
    index[:3] = np.arange(3) % max(outputs, 2)
    data = write(tmp_path / "labels.csv", X, np.array(["blue", "green", "red"])[index])
    scripted(module, tmp_path / "net.pt")
    exported(module, tmp_path / "net.pt2")
    expected = evaluate_robustness(module, X, index, Threat(2), [0.3], steps=5, restarts=0)
    for name in ("net.pt", "net.pt2"):
        asked = ["--data", data, "--radius", 0.3, "--norm", 2, "--steps", 5, "--restarts", 0, "--trust-code", "--json"]
        code, out, err = run("evaluate", tmp_path / name, *asked)
        assert (code, err) == (0, "")
        found = pure_json(out)
        assert found["robust_accuracy"] == [
            {"radius": 0.3, "certified": 0.0, "attacked": pytest.approx(expected.attacked[0], abs=1e-12)}
        ]


def test_images_and_ranges_are_said_on_the_command_line(run, tmp_path):
    X = np.random.default_rng(1).uniform(size=(20, 8))
    torch.manual_seed(1)
    module = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 2), torch.nn.Flatten(), torch.nn.Linear(3, 2)).eval()
    with torch.no_grad():
        y = module(torch.tensor(X, dtype=torch.float32).reshape(-1, 2, 2, 2)).argmax(dim=1).numpy()
    y[:2] = (0, 1)
    np.savez(tmp_path / "images.npz", X=X, y=y)
    scripted(module, tmp_path / "net.pt")
    asked = ["evaluate", tmp_path / "net.pt", "--data", tmp_path / "images.npz", "--radius", 0.3, "--trust-code"]
    code, out, _ = run(*asked, "--input-shape", "2,2,2", "--bounds", 0, 1, "--json")
    assert code == 0
    expected = evaluate_robustness(module, X.reshape(-1, 2, 2, 2), y, Threat("inf", bounds=(0, 1)), [0.3])
    assert pure_json(out)["robust_accuracy"][0]["attacked"] == expected.attacked[0]
    code, _, err = run(*asked)
    assert code == 2
    assert "does not take inputs of shape (2, 8)" in err


def test_labels_may_be_named_in_the_classifiers_own_order(run, rows, data, tmp_path):
    X, y = rows
    path = tmp_path / "tree.pkl"
    joblib.dump(DecisionTreeClassifier(max_depth=3, random_state=0).fit(X, (y == "no").astype(int)), path)
    code, _, err = run("evaluate", path, "--trust-code", "--data", data, "--radius", 0.1)
    assert code == 2
    assert "the labels expected are [0, 1]" in err
    code, out, _ = run(
        *["evaluate", path, "--trust-code", "--data", data, "--radius", 0.1, "--classes", "yes,no", "--json"]
    )
    assert code == 0
    assert pure_json(out)["clean_accuracy"] > 0.9
    code, _, err = run("evaluate", path, "--trust-code", "--data", data, "--radius", 0.1, "--classes", "yes,no,so")
    assert "2 classes, 0, 1, but --classes names 3" in err


class Opaque:
    """What is no classifier."""


def fake_skops(unknown):
    io = types.ModuleType("skops.io")
    io.get_untrusted_types = lambda file: unknown
    io.load = lambda file, trusted: joblib.load(file) if list(trusted) == unknown else pytest.fail("not vetted")
    package = types.ModuleType("skops")
    package.io, package.__spec__ = io, types.SimpleNamespace(name="skops")
    return {"skops": package, "skops.io": io}


def test_files_of_skops_need_no_trust_but_for_types_that_it_does_not_know(run, data, linear, tmp_path, monkeypatch):
    path = tmp_path / "linear.skops"
    path.write_bytes(linear.read_bytes())
    monkeypatch.setitem(sys.modules, "skops", None)
    code, _, err = run("evaluate", path, "--data", data, "--radius", 0.1)
    assert code == 2
    assert 'need skops, which is not installed: pip install "cvxrobust[skops]"' in err
    for unknown, more in (([], ()), (["os.system"], ("--trust-code",))):
        for name, module in fake_skops(unknown).items():
            monkeypatch.setitem(sys.modules, name, module)
        code, out, _ = run("evaluate", path, "--data", data, "--radius", 0.1, *more)
        assert code == 0
        assert "exact robust accuracy" in out
    code, _, err = run("evaluate", path, "--data", data, "--radius", 0.1)
    assert code == 2
    assert "it asks for os.system" in err


@pytest.fixture
def quadratic(rows, tmp_path):
    rng = np.random.default_rng(5)
    u = rng.standard_normal((4, 3))
    net = PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), rng.standard_normal(4))
    net.save(tmp_path / "net.npz")
    labels = np.where(net.predict(rows[0]) > 0.0, "yes", "no")
    labels[:2] = ("no", "yes")
    return net, tmp_path / "net.npz", write(tmp_path / "quadratic.csv", rows[0], labels)


def test_every_row_is_written_with_what_holds_and_what_broke_it(run, rows, quadratic, tmp_path):
    net, path, _ = quadratic
    data = write(tmp_path / "signs.csv", rows[0], net.predict(rows[0]).astype(int))
    out, drawn = tmp_path / "rows_out.csv", tmp_path / "band.png"
    code, text, _ = run("evaluate", path, "--data", data, "--radius", 0.05, 0.2, "--rows", out)
    assert code == 0
    assert run("evaluate", path, "--data", data, "--radius", 0.05, 0.2, "--picture", drawn)[1] == text
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert "Certified by trust-region subproblems." in text
    with out.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    expected = evaluate_robustness(net, rows[0], net.predict(rows[0]), Threat(2), [0.05, 0.2])
    assert [line["row"] for line in lines] == [str(k + 1) for k in range(60)]
    for line, radius, broken, name in zip(
        lines, expected.certified_at, expected.broken_at, expected.broken_by, strict=True
    ):
        assert line["certified_radius"] == ("" if np.isnan(radius) else str(radius))
        assert line["broken_at"] == ("" if np.isinf(broken) else str(broken))
        assert line["broken_by"] == name
    code, _, err = run("evaluate", path, "--data", data, "--radius", 0.05, "--rows", data)
    assert code == 2
    assert "--rows names" in err


def test_the_evaluation_is_checked_and_a_failed_check_is_the_exit_code(run, quadratic, data, tmp_path):
    _, path, own = quadratic
    asked = ["--radius", 0, 0.3, "--steps", 5, "--restarts", 1, "--sanity"]
    code, out, _ = run("evaluate", path, "--data", own, *asked)
    assert code == 0
    assert "Is that to be believed? At radius 0.3:" in out
    assert "ok    larger radii are stronger" in out

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network(1)

        def forward(self, x):
            return torch.sign(self.inner(x))

    scripted(Hidden().eval(), tmp_path / "hidden.pt")
    code, out, _ = run("evaluate", tmp_path / "hidden.pt", "--trust-code", "--data", data, *asked, "--json")
    assert code == 1
    checks = pure_json(out)["sanity"]
    assert (checks["passed"], checks["radius"]) == (False, 0.3)
    assert "slopes lead somewhere" in {check["name"] for check in checks["checks"] if not check["passed"]}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["NET", "--trust-code"], "is read as a network of this package"),
        (["NET", "--radius", "0", "--sanity"], "every --radius is 0"),
        (["NET", "--radius", "0", "--picture", "NONE.png"], "draws a band over radii"),
        (["NET", "--picture", "NET"], "--picture names"),
        (["NET", "--exact", "--bounds", "-9", "9"], "leave out --exact"),
        (["NET", "--bounds", "0", "1"], "lie outside of --bounds 0 1"),
        (["LINEAR", "--trust-code", "--exact"], "whose worst cases are exact already or unknown"),
        (["LINEAR", "--trust-code", "--split", "test"], "leave --split out"),
        (["LINEAR", "--trust-code", "--immutable", "d"], "'d'"),
        (["LINEAR", "--trust-code", "--input-shape", "3,x"], "--input-shape got '3,x'"),
        (["OPAQUE", "--trust-code"], "expected a fitted classifier or a PyTorch module"),
        (["TORN", "--trust-code"], "cannot be read as a pickle"),
        (["TORN.pt", "--trust-code"], "cannot be read as TorchScript"),
        (["TORN.pt2", "--trust-code"], "cannot be read as a programme"),
        (["NONE.joblib", "--trust-code"], "there is no file"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_what_cannot_be_judged_is_refused(run, quadratic, data, linear, tmp_path, asked, message):
    places = {"NET": quadratic[1], "LINEAR": linear, "OPAQUE": tmp_path / "opaque.joblib"}
    places |= {"TORN": tmp_path / "torn.pkl", "TORN.pt": tmp_path / "torn.pt", "TORN.pt2": tmp_path / "torn.pt2"}
    joblib.dump(Opaque, tmp_path / "opaque.joblib")
    for suffix in ("pkl", "pt", "pt2"):
        (tmp_path / f"torn.{suffix}").write_bytes(b"torn")
    arguments = [places.get(part, tmp_path / part if part.startswith("NONE") else part) for part in asked]
    own = [] if "--radius" in asked else ["--radius", "0.1"]
    code, out, err = run("evaluate", *arguments, *own, "--data", quadratic[2] if "NET" in asked else data)
    assert (code, out) == (2, "")
    assert message in err
