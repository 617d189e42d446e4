"""One place reads data for everybody: what is no real number, and what is no label, is refused at every door."""

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from cvxrobust import (
    AdversarialSDP,
    Batches,
    ConvexReLU,
    PolynomialClassifier,
    PolynomialNetwork,
    ReLUNetwork,
    Standardizer,
    StandardSDP,
    StreamedSDP,
)
from cvxrobust.core.errors import InputError

X = np.random.default_rng(0).normal(size=(12, 2))
SIGNS = np.where(np.arange(12) % 2, 1.0, -1.0)
POLYNOMIAL = PolynomialNetwork(np.eye(2), np.ones(2))
RELU = ReLUNetwork(np.eye(2), np.ones(2))
CLASSIFIER = PolynomialClassifier(tolerance=0.1, time_limit=5.0)


@pytest.fixture(scope="module")
def fitted():
    return PolynomialClassifier(tolerance=0.1).fit(X, SIGNS)


def masked(array, place):
    found = np.ma.masked_array(array.copy(), mask=False)
    found[place] = np.ma.masked
    return found


def with_object(value):
    table = X.astype(object)
    table[3, 0] = value
    return table


class Unreadable:
    def __array__(self, *_, **__):
        raise RuntimeError("not today")

    def __repr__(self):
        raise RuntimeError("nor this")


TABLES = {
    "masked": masked(X, (3, 0)),
    "masked rows in a list": [np.ma.masked_array([1.0, 2.0], [False, True])] * 12,
    "masked numbers in lists": [[np.ma.masked, 1.0]] * 12,
    "complex": X + 0j,
    "a complex object": with_object(1j),
    "text": X.astype(str),
    "new text": X.astype(str).astype(np.dtypes.StringDType()),
    "bytes": X.astype("S"),
    "text that is a number": with_object("1.5"),
    "dates": np.full((12, 2), np.datetime64("2020-01-01")),
    "NaT": np.full((12, 2), np.datetime64("NaT")),
    "times": np.full((12, 2), np.timedelta64(3, "s")),
    "a time": with_object(np.timedelta64("NaT")),
    "NaT of pandas": with_object(pd.NaT),
    "NA": with_object(pd.NA),
    "None": with_object(None),
    "a date": with_object(datetime.date(2020, 1, 1)),
    "a number without end": with_object(10**400),
    "frame of dates": pd.DataFrame({"a": pd.date_range("2020", periods=12), "b": X[:, 0]}),
    "frame of text": pd.DataFrame(X.astype(str)),
    "categories": pd.DataFrame({"a": pd.Categorical(list("ab") * 6), "b": X[:, 0]}),
    "complex tensor": torch.tensor(X) + 0j,
    "complex sparse": sparse.csr_array(X + 0j),
    "sparse with NaN": sparse.csr_array(np.where(X > 1.0, np.nan, X)),
    "records": np.zeros(12, dtype=[("a", float), ("b", float)]),
    "set": {1.0},
    "what cannot be read": Unreadable(),
    "what cannot be shown": with_object(Unreadable()),
}
DOORS = {
    "StandardSDP": lambda table, _: StandardSDP(table, SIGNS),
    "ConvexReLU": lambda table, _: ConvexReLU(table, SIGNS, n_gates=3),
    "Batches": lambda table, _: Batches([(table, SIGNS)]),
    "Standardizer.fit": lambda table, _: Standardizer.fit(table),
    "Standardizer.transform": lambda table, _: Standardizer.fit(X).transform(table),
    "predict": lambda table, _: POLYNOMIAL.predict(table),
    "predict of ReLU": lambda table, _: RELU.predict(table),
    "robust_accuracy": lambda table, _: POLYNOMIAL.robust_accuracy(table, SIGNS, [0.1]),
    "certified_accuracy": lambda table, _: RELU.certified_accuracy(table, SIGNS, [0.1]),
    "estimator's fit": lambda table, _: CLASSIFIER.fit(table, SIGNS),
    "estimator's predict": lambda table, fitted: fitted.predict(table),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("table", TABLES)
def test_what_is_no_table_of_real_numbers_is_refused_at_every_door(table, door, fitted):
    # scikit-learn's conventions ask for its own words, and for TypeErrors, where it refuses, too.
    with pytest.raises((ValueError, TypeError) if "estimator" in door else InputError) as refused:
        DOORS[door](TABLES[table], fitted)
    assert str(refused.value)


@pytest.mark.parametrize("door", [door for door in DOORS if "estimator" not in door])
@pytest.mark.parametrize(
    "table",
    [
        X.tolist(),
        torch.tensor(X, requires_grad=True),
        np.ma.masked_array(X),
        pd.DataFrame(X),
        with_object(Decimal("1.5")),
        X > 0.0,
        X.astype(np.float16),
        sparse.csr_array(X),
    ],
    ids=["list", "tensor", "nothing masked", "frame", "decimal", "bools", "float16", "sparse"],
)
def test_real_numbers_of_any_make_pass(table, door, fitted):
    DOORS[door](table, fitted)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("door", DOORS)
def test_sparse_matrices_of_every_form_are_the_tables_they_stand_for(form, door, fitted):
    given = sparse.random_array((12, 2), density=0.5, rng=np.random.default_rng(1), format=form)
    for table in (given, sparse.coo_matrix(given).asformat(form)):
        found, expected = DOORS[door](table, fitted), DOORS[door](given.toarray(), fitted)
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(found, expected)
        elif isinstance(expected, StandardSDP | ConvexReLU):
            np.testing.assert_array_equal(found.X, expected.X)
            assert not found.X.flags.writeable


@pytest.mark.parametrize("door", DOORS)
def test_sparse_matrices_that_fit_into_no_memory_are_refused_with_their_size(door, fitted):
    endless = sparse.csr_array((12, 2**40))
    size = r"sparse matrix of 12 x 1,099,511,627,776 with 0 entries, which takes 98304\.0 GiB"
    with pytest.raises(InputError, match=size):
        DOORS[door](endless, fitted)


LABELS = {
    "masked": masked(SIGNS, 3),
    "masked whole numbers": masked(SIGNS.astype(int), 3),
    "masked objects": masked(SIGNS.astype(object), 3),
    "masked in a list": list(masked(SIGNS, 3)),
    "complex": SIGNS + 0j,
    "dates": np.full(12, np.datetime64("2020")),
    "NaT": np.full(12, np.datetime64("NaT")),
    "times": np.full(12, np.timedelta64(1, "s")),
    "bytes": np.where(SIGNS > 0, b"a", b"b"),
    "NaN": np.where(SIGNS > 0, np.nan, 1.0),
    "infinite": np.where(SIGNS > 0, np.inf, 1.0),
    "pairs": [(1, 2)] * 12,
    "sets": [{1}] * 12,
    "NUL": ["a\0", "b"] * 6,
    "half a character": ["\ud800", "b"] * 6,
    "no character": np.full(12, 0x110000, dtype=np.uint32).view("<U1"),
    "too large": [2**70, 1] * 6,
    "merged by rounding": [2**63, -1, 2**63 + 1] * 4,
    "missing text": pd.Series(["a", pd.NA] * 6, dtype="string"),
    "missing number": pd.Series([1, pd.NA] * 6, dtype="Int64"),
    "missing category": pd.Categorical(["a", None] * 6),
    "sparse": sparse.csr_array(SIGNS[None]),
}
LABEL_DOORS = {
    "StandardSDP": lambda y: StandardSDP(X, y),
    "ConvexReLU": lambda y: ConvexReLU(X, y, n_gates=3),
    "StreamedSDP": lambda y: StreamedSDP(Batches([(X, y)])),
    "margins": lambda y: POLYNOMIAL.margins(X, y),
    "robust_accuracy": lambda y: POLYNOMIAL.robust_accuracy(X, y, [0.1]),
    "attack": lambda y: RELU.attack(X, y, 0.1),
    "estimator's fit": lambda y: CLASSIFIER.fit(X, y),
}


@pytest.mark.parametrize("door", LABEL_DOORS)
@pytest.mark.parametrize("labels", LABELS)
def test_what_is_no_label_is_refused_at_every_door(labels, door):
    with pytest.raises((ValueError, TypeError) if "estimator" in door else InputError):
        LABEL_DOORS[door](LABELS[labels])


@pytest.mark.parametrize("door", LABEL_DOORS)
@pytest.mark.parametrize(
    "labels", [SIGNS.astype(int).astype(object), SIGNS.astype(object), pd.Series(SIGNS, dtype="Int64")]
)
def test_numbers_of_type_object_are_labels_at_every_door(labels, door):
    LABEL_DOORS[door](labels)


@pytest.mark.parametrize(
    "radius", ["0.1", ["0.1"], 0.1j, np.ma.masked_array([0.1], [True]), np.datetime64("2020"), None]
)
@pytest.mark.parametrize(
    "door",
    [
        lambda radius: AdversarialSDP(X, SIGNS, radius),
        lambda radius: POLYNOMIAL.robust_accuracy(X, SIGNS, radius),
        lambda radius: RELU.attack(X, SIGNS, radius),
        lambda radius: StandardSDP(X, SIGNS, beta=radius),
    ],
)
def test_radii_and_weights_that_are_no_real_numbers_are_refused(radius, door):
    with pytest.raises(InputError):
        door(radius)


def test_inputs_whose_squares_overflow_are_refused_by_their_place():
    for door in (lambda: StandardSDP(1e120 * X, SIGNS), lambda: POLYNOMIAL.predict(1e120 * X)):
        with pytest.raises(InputError, match=r"at row 0, column 0, whose square is too large .* Standardizer"):
            door()


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_continuous_targets_are_refused_by_margin_losses_at_once(loss):
    targets = np.random.default_rng(1).normal(size=12)
    for make in (StandardSDP, ConvexReLU):
        with pytest.raises(
            InputError, match=rf"12 different numbers in 12 rows.*but {loss} loss needs classes.*squared"
        ):
            make(X, targets, loss=loss)
    with pytest.raises(InputError, match="but squared loss needs classes here; leave multiclass out"):
        ConvexReLU(X, targets, loss="squared", multiclass="one-versus-all")
    assert StandardSDP(X, np.arange(12) % 6).classes == (0, 1, 2, 3, 4, 5)


def test_labels_are_compared_exactly_whatever_their_types():
    network = PolynomialNetwork(np.zeros((1, 2)), np.array([[0.0, 1.0, 0.0]]), classes=(2**53 + 1, 2**53, 3))
    assert network.robust_accuracy(X, np.full(12, 2.0**53), [0.0]) == 1.0
    with pytest.raises(InputError, match="this network knows"):
        network.margins(X, np.full(12, 2.0**53 + 2))
