"""The scikit-learn estimators keep scikit-learn's conventions and our certificates."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from cvxrobust import (
    JointSDP,
    PolynomialClassifier,
    PolynomialClassifierCV,
    PolynomialRegressor,
    Quality,
    ReLUClassifier,
    ReLURegressor,
    Standardizer,
)


@parametrize_with_checks(
    [
        PolynomialClassifier(loss="logistic", backend="clarabel", tolerance=1e-2, time_limit=None),
        ReLUClassifier(radius=0.01, n_gates=3, backend="clarabel", tolerance=1e-2, time_limit=None),
        PolynomialRegressor(tolerance=1e-2, time_limit=None),
        PolynomialRegressor(radius=0.01, loss="huber", method="cutting-set", tolerance=1e-2, time_limit=None),
        ReLURegressor(n_gates=3, tolerance=1e-2, time_limit=None),
        ReLURegressor(radius=0.01, loss="absolute", n_gates=3, backend="clarabel", tolerance=1e-2, time_limit=None),
    ]
)
def test_it_keeps_the_conventions(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = 3.0 + 10.0 * rng.standard_normal((60, 3))
    return X, np.where(X[:, 0] - X[:, 1] > 1.0, "yes", "no")


def test_it_fits_robustly_and_says_how_well(data):
    X, y = data
    model = PolynomialClassifier(radius=0.2).fit(X, y)
    assert model.result_.quality is Quality.CERTIFIED
    assert model.score(X, y) > 0.9
    clean, robust = model.robust_score(X, y, [0.0, 0.2])
    assert clean == model.score(X, y)
    assert robust == (model.network_.worst_case(X, y, 0.2).lower > 0).mean()
    np.testing.assert_array_equal(model.predict(X), model.network_.predict(X))


@pytest.mark.parametrize(
    "model",
    [
        PolynomialClassifier(tolerance=1e-15, backend="clarabel"),
        ReLUClassifier(tolerance=1e-15, n_gates=3, backend="clarabel"),
        PolynomialClassifier(tolerance=1e-15, backend="clarabel", calibration="sigmoid"),
        PolynomialClassifierCV(tolerance=1e-15, backend="clarabel", betas=0.1, radii=0.0, cv=2),
        PolynomialRegressor(tolerance=1e-15, backend="clarabel"),
    ],
    ids=["polynomial", "relu", "calibrated", "chosen", "regressor"],
)
def test_a_training_that_is_not_certified_says_so_where_it_was_asked_for(data, model):
    X, y = data
    said = r"not certified to 1e-15 \(inaccurate: optimum in \[.*gap .*, clarabel.*network is kept.*time_limit"
    with pytest.warns(ConvergenceWarning, match=said) as warned:
        model.fit(X, y if is_classifier(model) else X[:, 0])
    assert {Path(one.filename).name for one in warned} == {Path(__file__).name}
    assert model.result_.quality is Quality.INACCURATE


def test_a_relu_classifier_brackets_its_robust_accuracy(data):
    X, y = data
    model = ReLUClassifier(radius=0.1, n_gates=8, regate=1).fit(X, y)
    assert model.result_.quality is Quality.CERTIFIED
    assert model.result_.problem.radius[0] == 0.1
    assert model.score(X, y) > 0.9
    certified, attacked = model.certified_score(X, y, [0.0, 0.1]), model.attacked_score(X, y, [0.0, 0.1])
    assert certified[0] == attacked[0] == model.score(X, y)
    assert 0.5 < certified[1] <= attacked[1] <= attacked[0]


def test_a_relu_classifier_tells_three_classes_apart():
    rng = np.random.default_rng(0)
    y = np.repeat(["a", "b", "c"], 20)
    X = rng.standard_normal((60, 2)) + 4.0 * np.repeat([[0, 0], [1, 0], [0, 1]], 20, axis=0)
    model = ReLUClassifier(n_gates=5, tolerance=1e-3).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.decision_function(X).shape == (60, 3)


@pytest.mark.parametrize("make", [np.asfortranarray, np.array, np.ndarray.tolist], ids=["columns", "rows", "list"])
def test_estimator_and_standardizer_agree_to_the_last_bit(data, make):
    X, y = data[0] * [1.0, 1e3, 1e-3], data[1]
    model = PolynomialClassifier(tolerance=1e-2).fit(make(X), y)
    standardizer = Standardizer.fit(X)
    assert model.network_.standardizer.mean.tobytes() == standardizer.mean.tobytes()
    assert model.network_.standardizer.scale.tobytes() == standardizer.scale.tobytes()
    outputs = model.network_.inner.decision_function(standardizer.transform(X))
    assert model.decision_function(make(X)).tobytes() == outputs.tobytes()


def test_whole_numbers_of_type_object_are_classes(data):
    y = np.where(data[1] == "yes", 2**60, 7).astype(object)
    model = PolynomialClassifier(tolerance=1e-2).fit(data[0], y)
    assert model.classes_.tolist() == [7, 2**60]
    assert model.robust_score(data[0], y, [0.0]) == model.score(data[0], y.astype(int))


def test_features_that_carry_nothing_are_named(data):
    X = np.hstack([data[0][:, :1], np.full((60, 1), 0.1), data[0][:, 1:]])
    model = PolynomialClassifier(tolerance=1e-1)
    assert model.fit(X, data[1]).constant_features_ == (1,)
    assert model.fit(pd.DataFrame(X, columns=["a", "same", "b", "c"]), data[1]).constant_features_ == ("same",)


def test_it_searches_over_grids(data):
    search = GridSearchCV(PolynomialClassifier(tolerance=1e-2), {"radius": [0.0, 0.3]}, cv=2).fit(*data)
    assert search.best_params_["radius"] in (0.0, 0.3)


@pytest.mark.parametrize(
    "kind", [PolynomialClassifier, lambda **given: ReLUClassifier(radius=0.05, n_gates=5, **given)]
)
def test_rows_that_come_again_and_weights_give_the_same_model_to_the_last_bit(data, kind):
    X, y = data
    weights = np.random.default_rng(3).integers(0, 4, y.size)
    rows = np.random.default_rng(4).permutation(np.repeat(np.arange(y.size), weights))
    weighted, repeated = (
        kind(tolerance=1e-2).fit(X, y, sample_weight=weights),
        kind(tolerance=1e-2).fit(X[rows], y[rows]),
    )
    assert weighted.decision_function(X).tobytes() == repeated.decision_function(X).tobytes()
    assert weighted.network_.standardizer.scale == pytest.approx(X[rows].std(axis=0), rel=1e-13)
    assert weighted.result_.certificate == repeated.result_.certificate


def test_class_weights_are_by_label(data):
    X, y = data
    balanced, by_hand = (
        PolynomialClassifier(tolerance=1e-3, class_weight=given).fit(X, y)
        for given in ("balanced", {"yes": 1.0, "no": (y == "yes").sum() / (y == "no").sum()})
    )
    assert balanced.result_.certificate.upper == pytest.approx(by_hand.result_.certificate.upper, rel=1e-3)
    with pytest.raises(ValueError, match=r"class_weight names \['Yes'\], which no row is labelled"):
        PolynomialClassifier(class_weight={"Yes": 2.0}).fit(X, y)


def test_classes_can_be_trained_jointly():
    rng = np.random.default_rng(0)
    y = np.array(["a", "b", "c"])[np.arange(45) % 3]
    X = rng.standard_normal((45, 2)) + 2.0 * np.array([[0, 0], [1, 0], [0, 1]])[np.arange(45) % 3]
    model = PolynomialClassifier(multiclass="joint", radius=0.1, beta=0.02, tolerance=1e-3).fit(X, y)
    assert model.result_.quality == "certified"
    assert model.network_.classes == ("a", "b", "c")
    assert model.decision_function(X).shape == (45, 3)
    scaled = (X - X.mean(axis=0)) / X.std(axis=0)
    worth = JointSDP(scaled, y, 0.1, 0.02).objective(model.network_.inner)
    assert worth == pytest.approx(model.result_.certificate.upper)
    assert model.robust_score(X, y, [0.1]) <= model.score(X, y)


def test_two_classes_are_the_same_problem_either_way(data):
    joint, apart = (
        PolynomialClassifier(multiclass=how, tolerance=1e-2).fit(*data) for how in ("joint", "one-versus-all")
    )
    assert joint.decision_function(data[0]).tobytes() == apart.decision_function(data[0]).tobytes()


def test_an_unknown_strategy_of_classes_is_refused(data):
    with pytest.raises(ValueError, match=r"multiclass 'jont'.*Did you mean 'joint'"):
        PolynomialClassifier(multiclass="jont").fit(*data)
