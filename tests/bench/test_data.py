"""Data by name and from files: what is accepted, what is refused and with which words."""

import hashlib
import os
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from cvxrobust.bench.data import known as known_data
from cvxrobust.bench.data.dataset import load_dataset, stratified_split
from cvxrobust.bench.data.strata import drawn_rows, shuffled_rows
from cvxrobust.bench.harness.suite.suite import load_suite
from cvxrobust.core.errors import InputError, UnknownNameError


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A data folder with a small set under the name of a known one, checksum and all."""
    text = "a,b,label\n1,2,-1\n3,,1\n5,6,1\n7,8,-1\n"
    known = replace(
        known_data.KNOWN_FILES["breast_cancer_wisconsin_original"],
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
    monkeypatch.setitem(known_data.KNOWN_FILES, "breast_cancer_wisconsin_original", known)
    monkeypatch.delenv("CVXROBUST_DATA", raising=False)
    write(tmp_path / known.file, text)
    return tmp_path


def test_breast_cancer_comes_from_scikit_learn_with_benign_positive():
    data = load_dataset("breast-cancer")
    assert data.X.shape == (569, 30)
    assert data.classes == ("malignant", "benign")
    assert np.sum(data.y == 1) == 357
    assert np.sum(data.y == -1) == 212
    assert data.feature_names[0] == "mean radius"
    assert "label 'benign' is +1" in data.notes[0]


@pytest.mark.parametrize("name", ["breast_cancer", "Breast-Cancer"])
def test_hyphens_underscores_and_case_do_not_matter(name):
    assert load_dataset(name).name == "breast-cancer"


@pytest.mark.parametrize("name", ["breast_cancer_wisconsin_original", "breast-cancer-wisconsin-original"])
def test_a_known_set_is_read_from_the_folder_given(folder, name):
    data = load_dataset(name, folder=folder)
    assert data.name == "breast_cancer_wisconsin_original"
    assert data.y.tolist() == [-1, 1, -1]


def test_rows_with_missing_values_of_a_known_set_are_left_out_and_noted(folder):
    data = load_dataset("breast_cancer_wisconsin_original", folder=folder)
    assert data.X.tolist() == [[1, 2], [5, 6], [7, 8]]
    assert data.notes == ("left out 1 rows with missing values",)


def test_the_folder_may_come_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("CVXROBUST_DATA", str(folder))
    assert load_dataset("breast_cancer_wisconsin_original").n_rows == 3


def test_an_altered_file_is_refused_by_name_but_not_by_path(folder):
    path = folder / "breast_cancer_wisconsin_original.csv"
    write(path, "a,label\n1,-1\n2,1\n")
    with pytest.raises(InputError, match=r"has sha256 .* pass its path instead of the name"):
        load_dataset("breast_cancer_wisconsin_original", folder=folder)
    assert load_dataset(path).n_rows == 2


@pytest.mark.parametrize("name", list(known_data.KNOWN_FILES))
def test_a_missing_set_says_where_it_can_be_had(name, tmp_path, monkeypatch):
    monkeypatch.delenv("CVXROBUST_DATA", raising=False)
    known = known_data.KNOWN_FILES[name]
    expected = rf"{known.file} \(sha256 {known.sha256}\).*--data-folder.*Origin: "
    with pytest.raises(InputError, match=r"no data folder is given.*" + expected):
        load_dataset(name)
    with pytest.raises(InputError, match=r"which does not exist.*" + expected):
        load_dataset(name, folder=tmp_path)


SHAPES = {
    "ionosphere": (351, 34),
    "pima_diabetes": (768, 8),
    "heart_statlog": (270, 13),
    "breast_cancer_wisconsin_original": (683, 9),
}


@pytest.mark.skipif("CVXROBUST_DATA" not in os.environ, reason="CVXROBUST_DATA names no data folder")
@pytest.mark.parametrize("name", list(SHAPES))
def test_the_real_files_have_the_shapes_that_the_literature_gives(name):
    data = load_dataset(name)
    assert data.X.shape == SHAPES[name]
    assert set(data.y.tolist()) == {-1.0, 1.0}


def test_a_stranger_is_told_the_names_that_would_work():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'ionosphere'\? Or pass the path"):
        load_dataset("ionosfere")


@pytest.mark.parametrize(
    ("labels", "classes", "y"),
    [
        ("0 1 0", (0, 1), [-1, 1, -1]),
        ("-1 1 1", (-1, 1), [-1, 1, 1]),
        ("2.0 1.0 2", (1, 2), [1, -1, 1]),
        ("no yes no", ("no", "yes"), [-1, 1, -1]),
    ],
)
def test_two_labels_become_minus_and_plus_one_in_sorted_order(tmp_path, labels, classes, y):
    rows = "".join(f"{k},{label}\n" for k, label in enumerate(labels.split()))
    data = load_dataset(write(tmp_path / "d.csv", "a,label\n" + rows))
    assert data.classes == classes
    assert data.y.tolist() == y
    if classes != (-1, 1):
        assert data.notes == (f"label {classes[1]!r} is +1 and {classes[0]!r} is -1",)


def test_more_than_two_labels_are_kept(tmp_path):
    data = load_dataset(write(tmp_path / "d.csv", "a,kind\n1,x\n2,z\n3,y\n"), label="kind")
    assert data.classes == ("x", "y", "z")
    assert data.y.tolist() == ["x", "z", "y"]


def test_expected_classes_fix_the_meaning_of_plus_one(tmp_path):
    path = write(tmp_path / "d.csv", "a,label\n1,cat\n2,cat\n")
    assert load_dataset(path, classes=("dog", "cat")).y.tolist() == [1, 1]
    with pytest.raises(InputError, match=r"has labels \['cat'\], but the labels expected are \['dog', 'cow'\]"):
        load_dataset(path, classes=("dog", "cow"))


def test_whole_numbers_are_the_same_labels_among_fractions_and_alone(tmp_path):
    first = load_dataset(write(tmp_path / "d.csv", "a,label\n1,0.5\n2,1\n3,0.5\n"))
    assert first.classes == (0.5, 1)
    again = load_dataset(write(tmp_path / "e.csv", "a,label\n1,1\n2,1.0\n"), classes=[str(c) for c in first.classes])
    assert again.y.tolist() == [1, 1]
    assert load_dataset(write(tmp_path / "f.csv", "a,label\n1,1\n"), classes=(0.5, 1.0, 2.0)).y.tolist() == [1.0]


def test_windows_line_ends_byte_order_marks_spaces_and_closing_empty_lines_are_read(tmp_path):
    path = tmp_path / "d.csv"
    path.write_bytes("\ufeffa, label\r\n 1, 0\r\n2,1 \r\n\r\n".encode())
    data = load_dataset(path)
    assert data.feature_names == ("a",)
    assert data.X.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", r"no column 'label' to take labels from; its columns are a, b\. .*--label"),
        ("a,b,label\n1,,1\n2,3,0\n,NaN,1\n", r"3 missing values, in columns a, b, data rows 1, 3"),
        ("a,label\n1,\n2,1\n", r"missing values, in columns label, data rows 1"),
        (
            "a,b,label\n1,u,1\n2,v,0\n",
            r"columns that are not numbers: b \(for example 'u' in column 'b', data row 1",
        ),
        ("a,label\n1,1\ninf,0\n", r"1 NaN or infinite values, in columns a, data rows 2"),
        ("a,label\n1,1\n2,3,4\n", r"cannot be read as CSV"),
        ("", r"cannot be read as CSV"),
        ("a,label\n", r"holds 0 rows"),
        ("label\n1\n0\n", r"no column besides 'label'"),
        ("a,label\n1,3\n2,3\n", r"every row of data set 'd.csv' has the label 3"),
        (
            "a,label\n" + "".join(f"{k},{k / 7}\n" for k in range(40)),
            r"look like real numbers rather than classes",
        ),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_reason(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load_dataset(write(tmp_path / "d.csv", text))


def test_npz_files_are_read_and_images_flattened(tmp_path):
    X = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    np.savez(tmp_path / "a.npz", X=X, y=np.array([0, 1, 2]))
    np.savez(tmp_path / "b.npz", images=X, labels=np.array(["u", "v", "u"]))
    np.savez(tmp_path / "c.npz", X=X, kind=np.array([1.0, 0.0, 1.0]))
    assert load_dataset(tmp_path / "a.npz").X.tolist() == X.reshape(3, 4).tolist()
    assert load_dataset(tmp_path / "b.npz").y.tolist() == [-1, 1, -1]
    assert load_dataset(tmp_path / "c.npz", label="kind").classes == (0, 1)


@pytest.mark.parametrize("name", ["~nobody at all/d.csv", "x" * 5000 + ".csv", "x" * 5000, "a\0b.csv", "", "/"])
def test_names_that_no_file_can_have_are_refused(name):
    with pytest.raises(InputError):
        load_dataset(name)
    for suite in (name, name + ".toml"):
        with pytest.raises(InputError):
            load_suite(suite)


def test_large_whole_numbers_in_npz_files_do_not_overflow(tmp_path):
    np.savez(tmp_path / "d.npz", X=np.eye(4), y=np.array([2**63, 2**63 + 1, 2**64 - 1, 2**63], dtype=np.uint64))
    assert load_dataset(tmp_path / "d.npz").classes == (2**63, 2**63 + 1, 2**64 - 1)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"Z": np.ones(3)}, r"holds the arrays Z; expected 'X' \(or 'images'\) and 'y' \(or 'labels'\)"),
        ({"X": np.ones((3, 2)), "y": np.ones(2)}, r"'X' has shape \(3, 2\) and 'y' has shape \(2,\)"),
        ({"X": np.array([["u"], ["v"]]), "y": np.ones(2)}, r"'X' has dtype <U1; expected real numbers"),
        (
            {"X": np.array([[1.0], [np.nan]]), "y": np.array([0, 1])},
            r"1 NaN or infinite values, in columns x1",
        ),
        ({"X": np.ones((2, 1)), "y": np.array([0, np.nan])}, r"every row needs a label"),
        ({"X": np.ones((0, 3)), "y": np.ones(0)}, r"holds 0 rows and 3 features"),
        ({"X": np.ones((2, 1)), "y": np.array(["a", "b"], dtype="S1")}, r"'y' has dtype \|S1"),
        ({"X": np.array([["2020"]] * 2, dtype="M8[Y]"), "y": np.ones(2)}, r"'X' has dtype"),
        (
            {"X": np.ones((2, 1)), "y": np.array([0, None], dtype=object)},
            r"\(it holds pickled objects\); .* without pickles",
        ),
    ],
)
def test_a_bad_npz_file_is_refused_with_its_reason(tmp_path, arrays, message):
    np.savez(tmp_path / "d.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_dataset(tmp_path / "d.npz")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not an NPZ archive"):
        load_dataset(write(tmp_path / "d.npz", "text"))
    with pytest.raises(InputError, match=r"ends in '\.txt'; expected a \.csv or \.npz file"):
        load_dataset(write(tmp_path / "d.txt", "text"))
    with pytest.raises(InputError, match=r"there is no file .*none\.csv"):
        load_dataset(tmp_path / "none.csv")


@pytest.fixture(scope="module")
def breast_cancer():
    return load_dataset("breast-cancer")


def test_a_data_set_cannot_be_changed(breast_cancer):
    with pytest.raises(FrozenInstanceError):
        breast_cancer.name = "other"


def test_the_split_is_stratified_disjoint_and_complete(breast_cancer):
    train, test = stratified_split(breast_cancer, 0.2, seed=3)
    assert (train.n_rows, test.n_rows) == (455, 114)
    assert np.mean(train.y) == pytest.approx(np.mean(test.y), abs=0.02)
    together = np.vstack([train.X, test.X])
    assert np.array_equal(np.sort(together, axis=0), np.sort(breast_cancer.X, axis=0))


def test_rows_are_those_that_scikit_learn_draws():
    from sklearn.model_selection import train_test_split

    for seed in range(200):
        rng = np.random.default_rng(seed)
        labels = np.repeat(np.arange(1 + seed % 5), 3 + rng.integers(0, 20, 1 + seed % 5)).astype(str)
        rng.shuffle(labels)
        fraction = float(rng.choice([0.2, 0.25, 0.33, 0.5, 0.6]))
        n_test = max(int(np.ceil(fraction * labels.size)), 1 + seed % 5)
        theirs = train_test_split(np.arange(labels.size), test_size=n_test, random_state=seed, stratify=labels)
        assert all(map(np.array_equal, drawn_rows(labels, n_test, seed), theirs))
        theirs = train_test_split(np.arange(labels.size), test_size=n_test, random_state=seed)
        assert all(map(np.array_equal, shuffled_rows(labels.size, n_test, seed), theirs))


def test_the_same_seed_splits_alike_and_another_does_not(breast_cancer):
    first, again, other = (stratified_split(breast_cancer, 0.2, seed)[1] for seed in (0, 0, 1))
    assert np.array_equal(first.X, again.X)
    assert not np.array_equal(first.X, other.X)


def test_nothing_need_be_held_out(breast_cancer):
    train, test = stratified_split(breast_cancer, 0.0)
    assert (train.n_rows, test.n_rows) == (569, 0)


@pytest.mark.parametrize(
    ("text", "fraction", "seed", "message"),
    [
        ("1,a\n2,a\n3,b\n", 0.5, 0, r"class .* has a single row"),
        ("1,a\n2,a\n3,b\n4,b\n", 0.1, 0, r"splits the 4 rows .* into 3 and 1, fewer than its 2 classes"),
        ("1,a\n2,a\n3,b\n4,b\n", 1.0, 0, r"the test fraction is 1\.0; expected at least 0 and below 1"),
        ("1,a\n2,a\n3,b\n4,b\n", 0.5, -1, r"the seed is -1; expected a whole number"),
    ],
)
def test_an_impossible_split_is_refused_with_its_reason(tmp_path, text, fraction, seed, message):
    data = load_dataset(write(tmp_path / "d.csv", "x,label\n" + text))
    with pytest.raises(InputError, match=message):
        stratified_split(data, fraction, seed)


def test_the_fingerprint_sees_numbers_labels_and_order(breast_cancer):
    shuffled = breast_cancer.take(np.arange(569)[::-1])
    flipped = replace(breast_cancer, y=-breast_cancer.y)
    prints = {data.fingerprint for data in (breast_cancer, shuffled, flipped)}
    assert len(prints) == 3
    assert load_dataset("breast-cancer").fingerprint == breast_cancer.fingerprint
