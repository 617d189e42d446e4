"""Files of networks: what is none is said to be what it is, and what is one predicts from the data's own units."""

import gzip
import io
import json
import pickle
import re
import zipfile
from contextlib import suppress

import numpy as np
import pytest
import torch

import cvxrobust
from cvxrobust import AdversarialReLU, InputError, PolynomialNetwork, ReLUNetwork, Settings, Standardizer, StandardSDP
from cvxrobust.core import Ellipsoid
from cvxrobust.core.errors import WriteError
from cvxrobust.core.networks import archive

SCALED = Standardizer(np.array([100.0, -3.0]), np.array([20.0, 0.01]), ("a", "b"))


def polynomial(**fields):
    u = np.array([[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
    return PolynomialNetwork(u, np.array([1.0, -2.0, 0.5]), **fields)


def relu(**fields):
    return ReLUNetwork(np.array([[0.6, 0.8, 0.1], [0.0, -1.0, 0.2]]), np.array([1.0, -2.0]), bias=True, **fields)


FAMILIES = pytest.mark.parametrize("family", [polynomial, relu])


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "network.npz"
    polynomial(standardizer=SCALED, classes=("no", "yes"), metadata={"beta": 0.1}).save(found)
    return found


def change(path, **changes):
    """The file with arrays replaced, or left out where they are None; a dictionary changes the header's fields."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    header = json.loads(str(arrays["header"])) | changes.pop("header", {})
    arrays = {name: array for name, array in (arrays | changes).items() if array is not None}
    np.savez(path, **(arrays | {"header": np.array(json.dumps(header))}))


# -- what is no network ----------------------------------------------------------------------------------------------


def archived(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as written:
        for name in names:
            written.writestr(name, b"content")
    return content.getvalue()


def encrypted(whole):
    """The archive with the flags that say so."""
    changed = bytearray(whole)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = changed.find(mark)
        while start >= 0:
            changed[start + offset] |= 1
            start = changed.find(mark, start + 1)
    return bytes(changed)


OTHERS = {
    "empty": (lambda whole: b"", "it is empty"),
    "zeros": (lambda whole: bytes(len(whole)), "it is nothing but zeros"),
    "csv": (
        lambda whole: b"width,height,label\n1,2,yes\n",
        "it is text, perhaps CSV, and begins with 'width,height,label'",
    ),
    "json": (lambda whole: b'{"u": []}', "it is text, perhaps JSON"),
    "words": (lambda whole: b"to be done\n", "it is text that begins with 'to be done'"),
    "npy": (lambda whole: b"\x93NUMPY\x01\x00", "it is a single NumPy array"),
    "pickle": (lambda whole: pickle.dumps([1]), "it is a Python pickle, which is never loaded"),
    "gzip": (lambda whole: gzip.compress(whole), "it is compressed by gzip; decompress it first"),
    "lfs": (lambda whole: b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
    "pgp": (lambda whole: b"-----BEGIN PGP MESSAGE-----\n", "it is encrypted or signed by PGP"),
    "noise": (lambda whole: b"\xa7\xfe" * 50, "it is damaged, encrypted, or of a kind that is not known here"),
    "cut": (
        lambda whole: whole[: len(whole) // 2],
        r"it begins like one but is damaged or cut short after [\d,]+ bytes",
    ),
    "encrypted": (encrypted, "it is an encrypted archive; decrypt it first"),
    "torch": (lambda whole: archived("model/data.pkl", "model/version"), "it is a file of PyTorch's"),
    "xlsx": (lambda whole: archived("[Content_Types].xml", "xl/workbook.xml"), "it is a document or spreadsheet"),
    "zip": (lambda whole: archived("a.txt", "b.txt"), "it is a zip archive of 'a.txt', 'b.txt'"),
    "empty zip": (lambda whole: archived(), "it is a zip archive of nothing"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_file_of_another_kind_is_said_to_be_what_it_is(path, what):
    make, said = OTHERS[what]
    path.write_bytes(make(path.read_bytes()))
    for load in (cvxrobust.load, PolynomialNetwork.load, ReLUNetwork.load):
        with pytest.raises(InputError, match=rf"network\.npz is not a network saved by cvxrobust \({said}"):
            load(path)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"X": np.eye(2), "y": np.ones(2)}, "it has no header, but holds data: 'X', 'y'"),
        ({"checkpoint_of": np.array(["a", "1"])}, "it is a checkpoint of a solve"),
        ({"header": np.array(json.dumps({"kind": "export", "format": 1}))}, "it lies beside an exported programme"),
        ({"header": np.array(json.dumps([1]))}, "its header is no JSON object"),
        ({"header": np.array("{" * 100_000)}, "Expecting property name"),
        ({"header": np.array("[" * 100_000)}, "RecursionError"),
        ({"header": np.array([1.0])}, "its header is no text"),
        (
            {"header": np.array(json.dumps({"kind": "relu", "format": True}))},
            "its header says kind 'relu' and format Tr",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_archive_of_something_else_is_said_to_be_what_it_is(path, arrays, said):
    np.savez(path, **arrays)
    with pytest.raises(InputError, match="is not a network saved by cvxrobust") as caught:
        cvxrobust.load(path)
    assert said in str(caught.value)


def test_folders_missing_files_and_what_cannot_be_opened_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="it is a folder"):
        cvxrobust.load(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        cvxrobust.load(tmp_path / "none.npz")
    with pytest.raises(InputError, match="cannot be read: File name too long"):
        cvxrobust.load(tmp_path / ("n" * 300))
    with pytest.raises(InputError, match="it is no regular file"):
        cvxrobust.load("/dev/null")  # a pipe would be waited for without end


def test_a_file_that_would_fill_the_memory_is_refused(path, monkeypatch):
    monkeypatch.setattr(archive, "SMALL", 1_000_000)
    with path.open("wb") as file:
        np.savez_compressed(file, u=np.zeros((1000, 1000)), header=np.array("{}"))
    with pytest.raises(InputError, match=r"it would unpack to 8,000,\d+ bytes, from"):
        cvxrobust.load(path)


def test_members_that_come_twice_are_refused(path):
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as written:
        written.writestr("u.npy", b"another")
    with pytest.raises(InputError, match="holds some members twice"):
        cvxrobust.load(path)


# -- what is a damaged one -------------------------------------------------------------------------------------------

U = np.array([[0.6, 0.8], [0.0, 1.0], [1.0, 0.0]])
WRONG = [
    ({"u": None}, "it has no u"),
    ({"alpha": None}, "it has no alpha"),
    ({"u": U.astype(complex)}, "u has dtype complex128; expected real numbers"),
    ({"u": U.astype(str)}, "u has dtype <U32"),
    ({"u": U.astype(bool)}, "u has dtype bool"),
    ({"u": np.where(U > 0.9, np.nan, U)}, "u holds NaN or infinite numbers"),
    ({"alpha": np.array([1.0, np.inf, 0.0])}, "alpha holds NaN or infinite numbers"),
    ({"alpha": np.ones(2)}, r"u has shape \(3, 2\) and alpha \(2,\)"),
    ({"alpha": np.ones((3, 0)), "classes": None}, r"alpha \(3, 0\); expected inputs and outputs"),
    ({"u": U[None]}, r"u has shape \(1, 3, 2\)"),
    ({"u": np.empty((3, 0)), "mean": None, "scale": None}, "expected inputs and outputs"),
    ({"classes": np.array(["a", "a"])}, r"classes \('a', 'a'\) are not distinct"),
    ({"classes": np.array(["a", "b", "c"])}, "3 classes given for a network that tells 2 apart"),
    ({"classes": np.array([1.0, np.nan])}, "classes hold NaN"),
    ({"classes": np.array([1j, 2j])}, "classes have .* dtype complex"),
    ({"classes": np.array([["a", "b"]])}, r"classes have shape \(1, 2\)"),
    ({"scale": np.array([1.0, 0.0])}, "scale holds numbers that are not positive"),
    ({"scale": np.array([1.0, -1.0])}, "scale holds numbers that are not positive"),
    ({"scale": np.array([1.0, np.inf])}, "scale holds NaN or infinite"),
    ({"scale": None}, "it has no scale"),
    ({"mean": None}, "it has no mean"),
    ({"mean": np.ones(3)}, r"mean has shape \(3,\), scale \(2,\)"),
    ({"header": {"names": ["a"]}}, "there are 1 names; expected 2 each"),
    ({"header": {"names": [1, 2]}}, "the names of its inputs are no list of strings"),
    ({"header": {"activation": [0, 1, 1]}}, "expected a, b, c with a other than 0"),
    ({"header": {"activation": [1, 1]}}, "expected 3 finite numbers"),
    ({"header": {"activation": [1, "2", 1]}}, "expected 3 finite numbers"),
    ({"header": {"activation": [float("nan"), 1, 1]}}, "expected 3 finite numbers"),
    ({"header": {"activation": [10**400, 1, 1]}}, "expected 3 finite numbers"),
    ({"header": {"regression": "no"}}, "regression is 'no'; expected true or false"),
    ({"header": {"metadata": [1]}}, r"metadata is \[1\]; expected an object"),
    ({"header": {"metadata": {"beta": None}}}, "metadata 'beta' is None"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=lambda value: str(value)[:50])
def test_every_field_of_a_file_is_checked(path, changes, said):
    change(path, **changes)
    with pytest.raises(InputError, match=said):
        cvxrobust.load(path)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"bias": 1}, "bias is 1; expected true or false"),
        ({"slots": [0, -1]}, "expected whole numbers of 0 or more"),
        ({"norm": 3}, "unknown norm 3"),
    ],
)
def test_so_are_the_fields_that_relu_networks_alone_have(path, header, said):
    relu().save(path)
    change(path, header=header)
    with pytest.raises(InputError, match=said):
        cvxrobust.load(path)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_becomes_of_a_file_it_is_a_network_or_an_input_error(path, seed):
    rng = np.random.default_rng(seed)
    (relu if seed % 2 else polynomial)(standardizer=SCALED, classes=("no", "yes")).save(path)
    whole = path.read_bytes()
    for _ in range(60):
        path.write_bytes(mutated(whole, rng))
        with suppress(InputError):  # and nothing else
            network = cvxrobust.load(path)
            assert len(network.predict(np.ones((2, network.n_features)))) == 2


def mutated(whole, rng):
    """The file with bytes changed, cut out, put in or repeated."""
    changed = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        at, size = int(rng.integers(len(changed) + 1)), int(rng.integers(1, 9))
        match rng.integers(5):
            case 0:
                changed[at : at + size] = rng.bytes(min(size, len(changed) - at))
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = rng.bytes(size)
            case 3:
                del changed[at:]
            case _:
                changed[at:at] = changed[at : at + 40]
    return bytes(changed)


# -- what attacks a network was trained for --------------------------------------------------------------------------

SHAPES = {
    "scale": {"scale": [0.5, 0.0]},
    "directions": {"directions": [[1.0], [2.0]]},
    "whole": {"covariance": [[2, 1], [1, 2]]},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shape_of_attacks_is_stored_with_the_network(path, shape):
    rows, labels = SCALED.mean + SCALED.scale * np.random.default_rng(0).standard_normal((9, 2)), np.ones(9)
    network = polynomial(standardizer=SCALED, ellipsoid=Ellipsoid.of(2, **SHAPES[shape]))
    network.save(path)
    loaded = cvxrobust.load(path)
    for radius in (0.1, 1.0):
        expected = network.worst_case(rows, labels, radius)
        assert np.array_equal(loaded.worst_case(rows, labels, radius).lower, expected.lower)
    assert np.array_equal(loaded.distance_to_boundary(rows), network.distance_to_boundary(rows))
    other = loaded.replace(ellipsoid=None).distance_to_boundary(rows)
    assert not np.allclose(loaded.distance_to_boundary(rows), other)
    # Whoever knows format 1 alone would answer about balls.
    with np.load(path) as stored:
        assert json.loads(str(stored["header"]))["format"] == 2
    polynomial().save(path)
    with np.load(path) as stored:
        assert json.loads(str(stored["header"]))["format"] == 1


@pytest.mark.parametrize(("norm", "shape"), [("inf", "scale"), (1, "scale"), *((2, shape) for shape in SHAPES)])
def test_relu_networks_are_stored_with_the_norm_and_the_shape_of_their_attacks(path, norm, shape):
    rows, labels = SCALED.mean + SCALED.scale * np.random.default_rng(0).standard_normal((9, 2)), np.ones(9)
    network = relu(standardizer=SCALED, norm=norm, ellipsoid=Ellipsoid.of(2, **SHAPES[shape]))
    network.save(path)
    loaded = cvxrobust.load(path)
    assert loaded.norm == norm
    bounds = network.lower_bound(rows, labels, 0.5)
    assert np.array_equal(loaded.lower_bound(rows, labels, 0.5), bounds)
    assert np.array_equal(loaded.lower_bound(rows, labels, 0.5, norm), bounds)
    assert not np.allclose(loaded.replace(ellipsoid=None).lower_bound(rows, labels, 0.5), bounds)
    assert np.array_equal(loaded.certified_radius(rows), network.certified_radius(rows))
    with np.load(path) as stored:
        assert json.loads(str(stored["header"]))["format"] == 2
    relu(norm=norm).save(path)
    with np.load(path) as stored:
        assert json.loads(str(stored["header"]))["format"] == 1


def test_what_files_of_old_say_nothing_of_is_the_inf_norm(path):
    relu(norm=2).save(path)
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    header = json.loads(str(arrays["header"]))
    del header["norm"]
    np.savez(path, **(arrays | {"header": np.array(json.dumps(header))}))
    assert cvxrobust.load(path).norm == "inf"


@pytest.mark.parametrize(
    ("array", "said"),
    [
        ({"attack_scale": np.ones(3)}, "scale has shape (3,); expected (2,)"),
        ({"attack_scale": np.array([1.0, -1.0])}, "scale holds -1 at column 1"),
        ({"attack_directions": np.ones((2, 1)), "attack_scale": np.ones(2)}, "scale and directions are given"),
        ({"attack_directions": np.array([["a"], ["b"]])}, "attack_directions has dtype"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_stored_shape_that_is_none_is_refused(path, array, said):
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(path, **arrays, **array)
    with pytest.raises(InputError, match=re.escape(said)):
        cvxrobust.load(path)


# -- what cannot be saved --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"classes": ("a", "a")}, "not distinct"),
        ({"classes": (None, "b")}, "classes hold None"),
        ({"classes": (2**70, 1)}, "mix types"),
        ({"classes": ("a\0", "a")}, "mix types|not distinct"),
        ({"alpha": np.array([np.nan, 1.0, 1.0])}, "alpha holds NaN"),
        ({"metadata": {"data": object()}}, "metadata can hold strings and numbers only"),
        ({"metadata": {"data": None}}, "metadata 'data' is None"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path, fields, said):
    with pytest.raises(InputError, match=said):
        polynomial().replace(**fields).save(tmp_path / "network.npz")
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_written_is_not_lost(tmp_path):
    with pytest.raises(
        WriteError, match=r"No such file or directory\. The network \([\d,]+ bytes\) is still in memory"
    ):
        polynomial().save(tmp_path / "none" / "network.npz")


# -- units and labels ------------------------------------------------------------------------------------------------


@FAMILIES
def test_a_network_that_is_loaded_takes_the_data_as_it_is_and_answers_with_its_labels(family, tmp_path):
    rng = np.random.default_rng(0)
    Z = rng.standard_normal((40, 2))
    X, inner = 100.0 + 20.0 * Z[:, :1], family()
    X = np.hstack([X, -3.0 + 0.01 * Z[:, 1:]])
    family(standardizer=SCALED, classes=("no", "yes")).save(tmp_path / "network.npz")
    found = cvxrobust.load(tmp_path / "network.npz")
    assert type(found) is type(inner)
    assert found.decision_function(X) == pytest.approx(inner.decision_function(Z), rel=1e-9, abs=1e-9)
    assert found.predict(X).tolist() == np.where(inner.decision_function(Z) >= 0, "yes", "no").tolist()
    assert np.array_equal(found.inner.decision_function(Z), inner.decision_function(Z))
    assert np.array_equal(found.inner.inner.u, found.u)
    assert found.margins(X, found.predict(X)) == pytest.approx(np.abs(inner.decision_function(Z)), rel=1e-9, abs=1e-9)
    with torch.no_grad():
        outputs = found.to_torch()(torch.tensor(X)).numpy()
    assert outputs == pytest.approx(found.decision_function(X), rel=1e-9, abs=1e-9)


def test_attacks_are_in_the_units_of_the_data_and_radii_in_standard_deviations():
    Z = np.random.default_rng(1).standard_normal((6, 2))
    X, y = SCALED.mean + SCALED.scale * Z, np.array([1.0, -1.0] * 3)
    own, scaled = polynomial(), polynomial(standardizer=SCALED)
    found, expected = scaled.worst_case(X, y, 0.3), own.worst_case(Z, y, 0.3)
    assert found.lower == pytest.approx(expected.lower)
    assert SCALED.transform(found.points) == pytest.approx(expected.points)
    assert scaled.margins(found.points, y) == pytest.approx(found.margins)
    assert scaled.distance_to_boundary(X) == pytest.approx(own.distance_to_boundary(Z))
    assert scaled.robust_accuracy(X, y, [0.0, 0.3]).tolist() == own.robust_accuracy(Z, y, [0.0, 0.3]).tolist()
    assert np.array_equal(scaled.worst_case(X, y, 0.0).points, X)
    own, scaled = relu(), relu(standardizer=SCALED)
    for method in ("attack", "exact_worst_case"):
        found, expected = getattr(scaled, method)(X, y, 0.3, "inf"), getattr(own, method)(Z, y, 0.3, "inf")
        assert SCALED.transform(found.points) == pytest.approx(expected.points, rel=1e-6, abs=1e-6)
        assert scaled.margins(found.points, y) == pytest.approx(found.margins, rel=1e-6, abs=1e-6)
    assert scaled.lower_bound(X, y, 0.3) == pytest.approx(own.lower_bound(Z, y, 0.3))
    for method in ("certified_accuracy", "attacked_accuracy"):
        assert getattr(scaled, method)(X, y, [0.0, 0.3]).tolist() == getattr(own, method)(Z, y, [0.0, 0.3]).tolist()


def test_no_attack_within_a_certified_radius_changes_a_label():
    network, X = relu(), np.random.default_rng(2).standard_normal((20, 2))
    labels = network.predict(X)
    for norm in ("inf", 2, 1):
        radii = network.certified_radius(X, norm)
        assert (radii > 0.0).any()
        assert (network.lower_bound(X, labels, radii, norm)[radii > 0.0] > 0.0).all()
        wider = network.lower_bound(X, labels, 1.02 * radii + 1e-5, norm)
        assert (wider[radii < 2.0**19] <= 1e-9).all()  # but for those that nothing in reach turns
    constant = ReLUNetwork(np.empty((0, 2)), np.empty(0))
    assert constant.certified_radius(X).tolist() == [0.0] * 20
    with pytest.raises(InputError, match="polynomial networks answer about attacks in norm 2 and inf"):
        polynomial().certified_radius(X, 1)


@pytest.mark.parametrize(
    ("problem", "family"),
    [
        (lambda X, y: StandardSDP(X, y), polynomial),
        (lambda X, y: AdversarialReLU(X, y, radius=0.01, n_gates=3, bias=True), relu),
    ],
)
def test_a_problem_refuses_to_judge_a_network_that_standardises_by_itself(problem, family):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 2))
    posed, network = problem(X, np.sign(X[:, 0])), family(standardizer=SCALED)
    for judge in (posed.objective, posed.separate, lambda start: cvxrobust.solve(posed, warm_start=start)):
        with pytest.raises(InputError, match=r"the network standardises its inputs itself.*network\.inner"):
            judge(network)


def test_a_network_trained_on_standardised_rows_is_saved_with_their_standardizer_or_on_demand(tmp_path):
    X = np.random.default_rng(0).standard_normal((12, 3)) * [1.0, 20.0, 0.0] + 5.0
    y, standardizer, path = np.sign(X[:, 0] - 5.0), Standardizer.fit(X), tmp_path / "network.npz"
    network = cvxrobust.solve(StandardSDP(standardizer.transform(X), y), settings=Settings(tolerance=1e-2)).network
    with pytest.raises(InputError, match=r"would misread data as it is; save network.replace\(standardizer=\.\.\.\)"):
        network.save(path)
    network.save(path, standardized=True)
    assert cvxrobust.load(path).standardizer is None
    network.replace(standardizer=standardizer).save(path)
    predicted = cvxrobust.load(path).predict(X)
    assert np.array_equal(predicted, network.predict(standardizer.transform(X)))
    cvxrobust.solve(StandardSDP(X, y), settings=Settings(tolerance=1e-2)).network.save(path)


def test_a_file_says_what_was_solved_how_well_and_on_which_data(tmp_path):
    X = np.random.default_rng(0).standard_normal((12, 2))
    y = np.sign(X[:, 0])
    result = cvxrobust.solve(StandardSDP(X, y, beta=0.03), settings=Settings(tolerance=1e-2))
    result.network.save(tmp_path / "network.npz")
    said = cvxrobust.load(tmp_path / "network.npz").metadata
    assert said["problem"] == "StandardSDP"
    assert said["beta"] == 0.03
    assert said["certificate_upper"] == result.certificate.upper
    assert said["certificate_lower"] == result.certificate.lower
    assert said["certificate_relative_gap"] == result.certificate.relative_gap
    assert said["version"]
    again = cvxrobust.solve(StandardSDP(X, -y), settings=Settings(tolerance=1e-2)).network.metadata
    assert again["training_fingerprint"] != said["training_fingerprint"]
