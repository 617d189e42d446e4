"""The scikit-learn estimator keeps scikit-learn's conventions and our certificates."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import parametrize_with_checks

from cvxrobust import PolynomialClassifier, Quality


@parametrize_with_checks([PolynomialClassifier(tolerance=1e-2, time_limit=5.0)])
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
    assert robust == (model.network_.worst_case(model.network_.standardizer.transform(X), y, 0.2).lower > 0).mean()
    np.testing.assert_array_equal(model.predict(X), model.network_.predict(model.network_.standardizer.transform(X)))


def test_it_searches_over_grids(data):
    search = GridSearchCV(PolynomialClassifier(tolerance=1e-2), {"radius": [0.0, 0.3]}, cv=2).fit(*data)
    assert search.best_params_["radius"] in (0.0, 0.3)
