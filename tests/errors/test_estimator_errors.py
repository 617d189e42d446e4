"""Estimators refuse what they cannot be fitted with, data in scikit-learn's words where its conventions have them."""

from inspect import signature

import numpy as np
import pytest
from wrong_inputs import Entry, review
from wrong_values import NAMES, NO_ESTIMATOR_ROWS, SIGNS, TARGETS, Rude, X, cases

from cvxrobust import (
    PolynomialClassifier,
    PolynomialClassifierCV,
    PolynomialRegressor,
    PolynomialRegressorCV,
    ReLUClassifier,
    ReLUClassifierCV,
    ReLURegressor,
    ReLURegressorCV,
)

DATA = ("X", "y", "sample_weight", "groups", "sample_radius")
QUICK = {"backend": "clarabel", "tolerance": 1e-2}
GRID = {"betas": [0.1], "radii": [0.1], "cv": 2, "threat_radius": 0.1, "search_tolerance": 0.1}


def fitting(family, targets, search):
    """`fit` of an estimator, by parameters of its constructor and of `fit` alike."""
    given = QUICK | (GRID if search else {})
    if family in (ReLUClassifier, ReLURegressor):
        given |= {"n_gates": 3}
    if family in (ReLUClassifierCV, ReLURegressorCV):
        given |= {"gates": [3]}

    def fit(**wrong):
        data = {"X": X, "y": targets} | {name: value for name, value in wrong.items() if name in DATA}
        return family(**(given | {name: value for name, value in wrong.items() if name not in DATA})).fit(**data)

    return fit


def is_no(name, *values, said="{} is {!r}"):
    """Values that messages show by their `repr`."""
    return tuple(({name: value}, said.format(name, value)) for value in values)


def unknown(name, *values):
    """Values that are none of some words."""
    return is_no(name, *values, said="unknown {} {!r}")


def unread(name, *values):
    """Values that are no numbers."""
    nobodys = (*values, "x", object(), {1}, Rude())
    return tuple(({name: value}, f"{name} cannot be read as numbers") for value in nobodys)


FLAGS = ("x", 3, None, "yes", np.nan)
PARAMETERS = {
    # What is standardised may be larger than what is not.
    "X": (*cases("X", NO_ESTIMATOR_ROWS[:-1]), ({"X": X[:0]}, "Found array with 0 sample(s) (shape=(0, 2)) while")),
    "y": (
        ({"y": None}, "requires y to be passed"),
        ({"y": SIGNS[:3]}, "Found input variables with inconsistent numbers"),
    ),
    "sample_weight": (
        ({"sample_weight": [1]}, "sample_weight has shape (1,)"),
        ({"sample_weight": np.zeros(16)}, "sample_weight is zero for every row"),
        ({"sample_weight": -np.ones(16)}, "sample_weight holds -1 at position 0"),
        *unread("sample_weight", {"a": 1}),
    ),
    "sample_radius": (
        ({"sample_radius": [0.1]}, "sample_radius has shape (1,)"),
        ({"sample_radius": -np.ones(16)}, "sample_radius holds -1"),
        *unread("sample_radius", {"a": 1}),
    ),
    "groups": (({"groups": [1]}, "Found input variables with inconsistent numbers"),),
    "radius": (
        *is_no("radius", -1, "x", np.nan, True, {1}, 1j),
        ({"radius": [0.1, 0.2]}, "radius has shape (2,)"),
        ({"radius": Rude()}, "radius is a Rude"),
    ),
    "beta": (*is_no("beta", 0, -1, "x", None, True, [0.1, 0.2]), ({"beta": Rude()}, "beta is a Rude")),
    "loss": unknown("loss", "x", None, 3, ["hinge"], "hinges", ""),
    "activation": is_no("activation", 3, (1, 2), (1, np.nan, 0), "relu", None),
    "multiclass": unknown("multiclass", "x", 3, ["joint"]),
    "standardize": is_no("standardize", *FLAGS),
    "backend": (*unknown("backend", "x", "", "CLARABEL"), *is_no("backend", None, 3, ["clarabel"])),
    "method": unknown("method", "x", None, 3, ["direct"]),
    "tolerance": is_no("tolerance", 0, 1, "x", None, np.nan, [1e-3]),
    "search_tolerance": is_no("tolerance", 0, "x"),
    "time_limit": is_no("time_limit", -1, 0, "x", np.inf, [1]),
    "polish": (*unknown("backend", "x"), *is_no("backend", 3)),
    "class_weight": (
        *unknown("class_weight", "x", 3, ["balanced"]),
        ({"class_weight": {"maybe": 1}}, "class_weight names ['maybe'], which no row is"),
        ({"class_weight": {"yes": -1}}, "class_weight is {'yes': -1}"),
    ),
    "norm": unknown("norm", 3, "x", None, [2], True, {1}),
    "scale": (({"scale": [1]}, "scale has shape (1,)"), ({"scale": [-1, 1]}, "scale holds -1"), *unread("scale")),
    "covariance": (({"covariance": np.eye(3)}, "covariance has shape (3, 3)"), *unread("covariance", {"a": 1})),
    "directions": (({"directions": [1, 2]}, "directions has shape (2,)"), *unread("directions", {"a": 1})),
    "bounds": is_no("bounds", 3, (5,), {1}, "x", said="bounds"),
    "immutable": (
        ({"immutable": "age"}, "there is no feature 'age'"),
        ({"immutable": [9]}, "there is no feature number 9"),
        ({"immutable": -1}, "there is no feature number -1"),
        ({"immutable": 0.5}, "a feature is called 0.5"),
        ({"immutable": [True]}, "a mask has 1 entries"),
    ),
    "error": unknown("error", "x", None, 3, ["squared"]),
    "attack_units": unknown("attack_units", "x", None, 3, ["data"]),
    "calibration": unknown("calibration", "x", 3, True),
    "random_state": (*is_no("random_state", -1, "x", 1.5, [1]), ({"random_state": Rude()}, "random_state is a Rude")),
    "formulation": unknown("formulation", "x", 3, "", ["cone"]),
    "n_gates": is_no("n_gates", 0, "x", 2.5, True, [3]),
    "bias": is_no("bias", *FLAGS),
    "regate": is_no("regate", -1, "x", 1.5, None),
    "resample": is_no("resample", *FLAGS),
    "threat_radius": (*is_no("threat_radius", -1, [0.1], np.nan), *unread("threat_radius")),
    "betas": (
        ({"betas": []}, "betas have shape (0,): []"),
        ({"betas": [0]}, "betas are [0.0]"),
        ({"betas": None}, "betas have shape (1,): None"),
        *is_no("betas", 0, -1, 10**9, True),
        *unread("betas"),
    ),
    "radii": (
        ({"radii": [-1]}, "the radii to train at are [-1.0]"),
        ({"radii": []}, "radii have shape (0,): []"),
        ({"radii": True}, "radii is True"),
        *unread("radii"),
    ),
    "radius_factors": (({"radii": [0.1], "radius_factors": [1]}, "radii and radius_factors are given"),),
    "gates": (
        ({"gates": [0]}, "gates are [0.0]"),
        ({"gates": [1.5]}, "gates are [1.5]"),
        ({"gates": []}, "gates have shape (0,): []"),
        *unread("gates"),
    ),
    "cv": (
        *is_no("cv", 1, -1, "x", 1.5, True),
        ({"cv": 100}, "100"),
        ({"cv": []}, "cv makes a fold without rows to train on or to"),
    ),
    "rule": unknown("rule", "x", None, 3, ["best"]),
    "refit": is_no("refit", *FLAGS),
    "warm": is_no("warm", *FLAGS),
    "verbose": is_no("verbose", "x", -1, 1.5, None),
    "n_jobs": is_no("n_jobs", 0, "x", 1.5, True),
    "folder": is_no("folder", 3, "", b"x", ["x"], True),
    "seed": (),
}
"""Wrong values of what estimators are made with and fitted with, by parameter; seed is the old name of random_state."""

FAMILIES = (
    (PolynomialClassifier, NAMES, False), (PolynomialRegressor, TARGETS, False), (ReLUClassifier, NAMES, False),
    (ReLURegressor, TARGETS, False), (PolynomialClassifierCV, NAMES, True), (PolynomialRegressorCV, TARGETS, True),
    (ReLUClassifierCV, NAMES, True), (ReLURegressorCV, TARGETS, True),
)  # fmt: skip
OF_LABELS = (
    ({"y": TARGETS}, "Unknown label type: continuous"),
    ({"y": ["a"] * 16}, "y holds one class, ['a']"),
    ({"y": [None] * 16}, "y holds missing labels"),
)
OF_TARGETS = (
    ({"y": ["a"] * 16}, "y cannot be read as numbers (it holds text, such"),
    ({"y": [None] * 16}, "y holds NaN or inf at position 0"),
    ({"loss": "hinge"}, "loss is 'hinge', which is of labels"),
)
OWN = {
    ReLUClassifier: (({"formulation": "cone", "regate": 1}, "regate=1 belongs to the one-sided formulation"),),
    ReLURegressor: (({"formulation": "one-sided"}, "the one-sided formulation needs a margin loss"),),
}
"""What does not go together."""


def fits(family, targets, search):
    """The fit of a family as an entry: every parameter that it has, and what its data are."""
    names = [*signature(family).parameters, *list(signature(family.fit).parameters)[1:]]
    wrong = tuple(case for name in names for case in PARAMETERS[name])
    besides = OF_LABELS if targets is NAMES else OF_TARGETS
    call = fitting(family, targets, search)
    return Entry(f"{family.__name__}.fit", call, wrong + besides + OWN.get(family, ()), conventions=True)


ENTRIES = tuple(fits(*family) for family in FAMILIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
def test_wrong_inputs_are_refused_in_our_own_words(entry):
    assert "\n".join(review(entry)) == ""
