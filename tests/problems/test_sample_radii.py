"""Radii of rows in `fit`: divided among folds as weights are, by searches and by routing; what scores make of them."""

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cvxrobust import (
    InputError,
    PolynomialClassifier,
    PolynomialClassifierCV,
    PolynomialRegressor,
    PolynomialRegressorCV,
    ReLUClassifier,
    ReLURegressor,
    Standardizer,
)

QUICK = {"tolerance": 1e-2, "backend": "clarabel"}
MAKES = {
    "polynomial": PolynomialClassifier(**QUICK),
    "relu": ReLUClassifier(n_gates=4, **QUICK),
    "polynomial of targets": PolynomialRegressor(**QUICK),
    "relu of targets": ReLURegressor(n_gates=4, **QUICK),
}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 2))
    score = X @ [1.0, -1.0] + 0.3 * rng.standard_normal(40)
    return X, score, rng.uniform(0.0, 0.5, 40)


def labels(model, score):
    return score if sklearn.base.is_regressor(model) else np.where(score > 0.0, "a", "b")


@pytest.fixture
def routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.parametrize("name", MAKES)
def test_radii_of_rows_are_those_of_the_constructor(data, name):
    X, score, radii = data
    model = sklearn.base.clone(MAKES[name])
    y = labels(model, score)
    asked = model.fit(X, y, sample_radius=radii).predict(X)
    upper = model.certificate_.upper
    given = sklearn.base.clone(model).set_params(radius=radii).fit(X, y)
    assert given.certificate_.upper == upper
    np.testing.assert_array_equal(given.predict(X), asked)
    half = sklearn.base.clone(model).set_params(radius=0.5).fit(X, y, sample_radius=2.0 * radii)
    assert half.certificate_.upper == pytest.approx(upper, rel=1e-9)
    none = sklearn.base.clone(model).set_params(radius=0.0).fit(X, y, sample_radius=radii)
    assert none.certificate_.upper == sklearn.base.clone(model).fit(X, y).certificate_.upper
    assert none.certificate_.upper < upper


def test_weights_go_with_them(data):
    X, score, radii = data
    y, weights = labels(MAKES["polynomial"], score), np.arange(40) % 3
    rows = np.repeat(np.arange(40), weights)
    weighted = PolynomialClassifier(**QUICK).fit(X, y, weights, sample_radius=radii)
    repeated = PolynomialClassifier(**QUICK).fit(X[rows], y[rows], sample_radius=radii[rows])
    assert weighted.decision_function(X).tobytes() == repeated.decision_function(X).tobytes()


@pytest.mark.parametrize("name", MAKES)
def test_searches_divide_them_among_folds(data, name):
    X, score, radii = data
    model, cv = MAKES[name], [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    y = labels(model, score)
    search = GridSearchCV(model, {"radius": [0.0, 1.0]}, cv=cv, return_train_score=False).fit(X, y, sample_radius=radii)
    for k, (train, held) in enumerate(cv):
        alone = sklearn.base.clone(model).set_params(radius=1.0).fit(X[train], y[train], sample_radius=radii[train])
        assert search.cv_results_[f"split{k}_test_score"][1] == alone.score(X[held], y[held])


@pytest.mark.usefixtures("routing")
@pytest.mark.parametrize("name", ["polynomial", "polynomial of targets"])
def test_routing_brings_them_to_training_and_to_scores(data, name):
    X, score, radii = data
    model = sklearn.base.clone(MAKES[name]).set_fit_request(sample_radius=True).set_score_request(sample_radius=True)
    y, cv = labels(model, score), [(np.arange(25), np.arange(25, 40))]
    alone = sklearn.base.clone(MAKES[name]).fit(X[:25], y[:25], sample_radius=radii[:25])
    expected = alone.score(X[25:], y[25:], sample_radius=radii[25:])
    assert expected < alone.score(X[25:], y[25:])
    found = cross_validate(model, X, y, cv=cv, params={"sample_radius": radii})["test_score"]
    assert found == [expected]
    search = GridSearchCV(model, {"beta": [model.beta, 1.0]}, cv=cv).fit(X, y, sample_radius=radii)
    assert search.cv_results_["split0_test_score"][0] == expected
    assert search.best_estimator_.certificate_.upper == pytest.approx(
        sklearn.base.clone(MAKES[name])
        .set_params(**search.best_params_)
        .fit(X, y, sample_radius=radii)
        .certificate_.upper
    )
    line = make_pipeline(StandardScaler(), model).fit(X, y, sample_radius=radii)
    plain = sklearn.base.clone(MAKES[name]).fit(StandardScaler().fit_transform(X), y, sample_radius=radii)
    np.testing.assert_array_equal(line.predict(X), plain.predict(StandardScaler().fit_transform(X)))


def test_scores_with_radii_are_certified(data):
    X, score, radii = data
    y = labels(MAKES["polynomial"], score)
    model = PolynomialClassifier(radius=0.2, **QUICK).fit(X, y)
    held = (model.predict(X) == y) & (model.certified_radius(X) >= radii)
    assert model.score(X, y, sample_radius=radii) == held.mean()
    weights = np.arange(40.0)
    assert model.score(X, y, weights, sample_radius=radii) == pytest.approx(np.average(held, weights=weights))
    assert model.score(X, y, sample_radius=np.zeros(40)) == model.score(X, y)


@pytest.mark.parametrize("warm", [False, True])
def test_choices_among_hyperparameters_know_radii_of_rows(data, warm, tmp_path):
    X, score, radii = data
    y = labels(MAKES["polynomial"], score)
    cv = StratifiedKFold(2, shuffle=True, random_state=0)
    given = {"betas": (0.1, 0.01), "radii": (0.5, 1.0), "cv": cv, "search_tolerance": 1e-6, "warm": warm}
    given |= {"folder": tmp_path} if warm else {}
    model = PolynomialClassifierCV(**given | QUICK).fit(X, y, sample_radius=radii)
    for f, (train, held) in enumerate(cv.split(X, y)):
        for b, beta in enumerate((0.1, 0.01)):
            for r, factor in enumerate((0.5, 1.0)):
                one = PolynomialClassifier(radius=factor, beta=beta, tolerance=1e-6, backend="clarabel")
                one.fit(X[train], y[train], sample_radius=radii[train])
                worth = one.score(X[held], y[held], sample_radius=radii[held])
                assert model.scores_[b, r, 0, f] == worth
    alone = PolynomialClassifier(radius=model.radius_, beta=model.beta_, **QUICK).fit(X, y, sample_radius=radii)
    np.testing.assert_array_equal(model.decision_function(X), alone.decision_function(X))
    with pytest.raises(InputError, match="with a radius for each row"):
        model.predict_certified(X)


def test_regressors_choose_by_radii_of_rows_and_of_the_threat(data):
    X, score, radii = data
    given = {
        "betas": 0.1,
        "radii": 1.0,
        "cv": [(np.arange(25), np.arange(25, 40))],
        "search_tolerance": 1e-2,
        "warm": False,
    }
    model = PolynomialRegressorCV(threat_radius=0.5, **given | QUICK).fit(X, score, sample_radius=radii)
    scale = Standardizer.fit(X[:25])
    assert scale.mean.shape == (2,)
    one = PolynomialRegressor(radius=1.0, beta=0.1, **QUICK).fit(X[:25], score[:25], sample_radius=radii[:25])
    worst = one.robust_errors(X[25:], score[25:], 0.5 * radii[25:])
    assert model.best_score_ == pytest.approx(-np.mean(worst**2), rel=1e-9)


@pytest.mark.parametrize(
    ("given", "radius", "said"),
    [
        (np.ones(39), None, r"sample_radius has shape \(39,\); expected \(40,\), one radius per row of X"),
        (-np.ones(40), None, r"sample_radius holds -1 at position 0; expected one number of 0 or more"),
        (np.full(40, np.inf), None, r"sample_radius holds inf at position 0"),
        (["a"] * 40, None, r"sample_radius cannot be read as numbers"),
        (np.ones(40), np.ones(40), r"radius has shape \(40,\), and sample_radius is given, which radius multiplies"),
        (np.ones(40), -1.0, r"radius is -1\.0; expected a finite attack radius"),
    ],
    ids=["few", "negative", "infinite", "text", "twice", "factor"],
)
def test_what_is_no_radius_of_rows_is_refused(data, given, radius, said):
    X, score, _ = data
    for make in (PolynomialClassifier, PolynomialRegressor):
        model = make(radius=radius)
        with pytest.raises(InputError, match=said):
            model.fit(X, labels(model, score), sample_radius=given)
