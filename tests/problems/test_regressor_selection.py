"""Regressors that choose their own hyperparameters, by the largest errors that attacks may make on rows held out."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GroupKFold, KFold

from cvxrobust import (
    AdversarialSDP,
    InputError,
    PolynomialRegressor,
    PolynomialRegressorCV,
    ReLURegressor,
    ReLURegressorCV,
    Settings,
    Standardizer,
    UnknownNameError,
    load,
    solve,
)
from cvxrobust.problems.data.folds import splits

QUICK = {"search_tolerance": 1e-2, "tolerance": 1e-2, "backend": "clarabel", "warm": False}
SMALL = {"betas": (0.1, 0.01), "radius_factors": (0.0, 1.0), "cv": 2, "random_state": 3} | QUICK
ALL = np.ones(12, dtype=bool)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = 3.0 + 10.0 * rng.standard_normal((40, 3))
    return X, 50.0 + X[:, 0] - X[:, 1] + 4.0 * rng.standard_normal(40)


@pytest.fixture(scope="module")
def fitted(data):
    return PolynomialRegressorCV(threat_radius=0.3, **SMALL).fit(*data)


@pytest.mark.parametrize("error", ["squared", "absolute"])
def test_every_score_is_the_exact_error_of_rows_that_neither_network_nor_statistics_have_seen(data, error):
    X, y = data
    cv = KFold(2, shuffle=True, random_state=1)
    model = PolynomialRegressorCV(threat_radius=0.3, error=error, **SMALL | {"cv": cv}).fit(X, y)
    for f, (train, held) in enumerate(cv.split(X)):
        inputs, targets = Standardizer.fit(X[train]), Standardizer.fit(y[train, None])
        for b, beta in enumerate((0.1, 0.01)):
            for r, radius in enumerate((0.0, 0.3)):
                rows, goal = inputs.transform(X[train]), targets.transform(y[train, None])[:, 0]
                problem = AdversarialSDP(rows, goal, radius, beta=beta, loss="squared")
                network = solve(problem, "clarabel", settings=Settings(tolerance=1e-2)).network
                signed, n = network.replace(regression=False), held.size
                ends = [s * signed.worst_margins(inputs.transform(X[held]), s * np.ones(n), 0.3) for s in (1.0, -1.0)]
                goal = targets.transform(y[held, None])[:, 0]
                worst = targets.scale[0] * np.maximum(goal - ends[0], ends[1] - goal)
                expected = np.mean(worst**2 if error == "squared" else worst)
                assert model.scores_[b, r, 0, f] == pytest.approx(-expected, rel=1e-9)
    assert model.best_score_ == model.scores_.mean(axis=-1).max()
    assert model.best_params_ == {"beta": model.beta_, "radius": model.radius_}


def test_it_is_the_regressor_of_what_it_chose(data, fitted, tmp_path):
    X, y = data
    alone = clone(fitted.best_estimator_).fit(X, y)
    assert isinstance(alone, PolynomialRegressor)
    np.testing.assert_array_equal(alone.predict(X), fitted.predict(X))
    assert (alone.target_mean_, alone.target_scale_) == (fitted.target_mean_, fitted.target_scale_)
    assert fitted.certificate_ == alone.certificate_
    np.testing.assert_array_equal(fitted.robust_errors(X, y, 0.3), alone.robust_errors(X, y, 0.3))
    np.testing.assert_array_equal(fitted.predict_interval(X), alone.predict_interval(X, 0.3))
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(again.surface_.scores, fitted.surface_.scores)
    fitted.network_.save(tmp_path / "net.npz")
    found = load(tmp_path / "net.npz")
    outputs = found.metadata["target_mean"] + found.metadata["target_scale"] * found.predict(X)
    np.testing.assert_array_equal(outputs, fitted.predict(X))
    assert fitted.score(X, y) > 0.5


def test_training_against_the_threat_is_chosen_where_it_pays(data):
    X, y = data
    given = QUICK | {"betas": 0.01, "radius_factors": (0.0, 1.0), "cv": 2}
    attacked = PolynomialRegressorCV(threat_radius=1.0, refit=False, **given).fit(X, y)
    assert attacked.radius_ == 1.0
    assert attacked.scores_[0, 1].mean() > attacked.scores_[0, 0].mean()


@pytest.mark.parametrize("norm", [2, "inf", 1])
def test_numbers_of_gates_are_chosen_as_well(data, norm):
    X, y = data
    given = QUICK | {"betas": 0.1, "radii": 0.1, "cv": 2, "gates": (2, 4)}
    model = ReLURegressorCV(threat_radius=0.2, norm=norm, random_state=1, **given).fit(X, y)
    assert model.scores_.shape == (1, 1, 2, 2)
    assert model.n_gates_ == model.best_estimator_.n_gates
    assert (model.robust_errors(X, y, 0.2) >= np.abs(model.predict(X) - y) - 1e-9).all()
    assert isinstance(clone(model.best_estimator_), ReLURegressor)
    unasked = ReLURegressorCV(**given | {"gates": None, "refit": False}).fit(X, y)
    assert unasked.surface_.candidates.gates == (10,)


def test_weights_and_rows_that_come_again_choose_alike(data):
    X, y = data
    weights = np.random.default_rng(3).integers(0, 4, y.size)
    rows = np.random.default_rng(4).permutation(np.repeat(np.arange(y.size), weights))
    given = SMALL | {"betas": 0.1, "threat_radius": 0.3}
    weighted = PolynomialRegressorCV(**given).fit(X, y, sample_weight=weights)
    repeated = PolynomialRegressorCV(**given).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.scores_, repeated.scores_, rtol=1e-9)
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))


def test_folds_of_targets_keep_rows_that_come_again_and_groups_together():
    rng = np.random.default_rng(0)
    X, y = np.repeat(rng.standard_normal((6, 2)), 2, axis=0), np.repeat(rng.standard_normal(6), 2)
    for train, held in splits(3, X, y, ALL, None, 0, targets=True):
        assert {*train // 2} & {*held // 2} == set()
        assert sorted([*train, *held]) == list(range(12))
    groups, different = np.arange(12) // 4, rng.standard_normal((12, 2))
    for train, held in splits(3, different, y, ALL, groups, 0, targets=True):
        assert {*groups[train]} & {*groups[held]} == set()
    assert len(splits(GroupKFold(3), different, y, ALL, groups, 0, targets=True)) == 3
    with pytest.raises(InputError, match=r"X holds 6 samples \(each once\), but cv is 7 folds"):
        splits(7, X, y, ALL, None, 0, targets=True)
    with pytest.raises(InputError, match=r"X holds 3 groups .*, but cv is 4 folds"):
        splits(4, different, y, ALL, groups, 0, targets=True)


def test_a_table_of_measurements_is_searched_along_paths(tmp_path):
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:100, :4], y[:100]
    given = {"threat_radius": 0.2, "betas": (0.1, 0.03), "radii": (0.0, 0.2), "cv": 2, "tolerance": 1e-2}
    path = PolynomialRegressorCV(backend="clarabel", search_tolerance=1e-3, folder=tmp_path, **given).fit(X, y)
    alone = PolynomialRegressorCV(backend="clarabel", search_tolerance=1e-3, warm=False, **given).fit(X, y)
    np.testing.assert_allclose(path.scores_, alone.scores_, rtol=1e-2)
    assert path.score(X, y) > 0.0
    assert path.score(X, y, sample_radius=np.full(100, 0.2)) < path.score(X, y)


def test_what_cannot_be_searched_is_refused_before_work(data, monkeypatch):
    monkeypatch.setattr("cvxrobust.problems.model_selection.paths.solve", None)
    with pytest.raises(UnknownNameError, match="unknown error 'median'; known: absolute, squared"):
        PolynomialRegressorCV(error="median").fit(*data)
    with pytest.raises(InputError, match="loss is 'hinge', which is of labels; expected 'squared', 'absolute' or"):
        PolynomialRegressorCV(loss="hinge").fit(*data)
    with pytest.raises(InputError, match=r"X holds 40 samples \(each once\), but cv is 50 folds"):
        ReLURegressorCV(cv=50).fit(*data)
    with pytest.raises(InputError, match="threat_radius is -1; expected one finite number of 0 or more"):
        ReLURegressorCV(threat_radius=-1).fit(*data)


def test_without_a_last_training_there_is_a_choice_and_no_network(data):
    model = PolynomialRegressorCV(refit=False, **SMALL).fit(*data)
    assert set(model.best_params_) == {"beta", "radius"}
    with pytest.raises(NotFittedError, match=r"refit=False, so there is no network"):
        model.predict(data[0])
