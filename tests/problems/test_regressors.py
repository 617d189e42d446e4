"""The estimators for real targets: losses, attacks of the worst error, and what attacks are said to cost."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from cvxrobust import AdversarialSDP, InputError, PolynomialRegressor, Quality, ReLURegressor, load

LOSSES = ["squared", "absolute", "huber", "huber:0.5"]
RELU = {"n_gates": 8, "tolerance": 1e-3}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = 3.0 + rng.standard_normal((40, 3)) * [1.0, 10.0, 0.1]
    Z = (X - 3.0) / [1.0, 10.0, 0.1]
    return X, 20.0 + Z[:, 0] - 0.5 * Z[:, 1] ** 2 + 0.1 * rng.standard_normal(40)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_a_polynomial_regressor_is_certified_and_knows_its_worst_errors(data, loss, radius):
    X, y = data
    model = PolynomialRegressor(loss=loss, radius=radius, method="auto" if radius == 0.0 else "cutting-set").fit(X, y)
    assert model.result_.quality is Quality.CERTIFIED
    assert model.score(X, y) > 0.8
    errors = model.robust_errors(X, y, radius)
    assert (errors >= np.abs(model.predict(X) - y) - 1e-9).all()
    inputs = model.network_.standardizer.transform(X)
    targets = (y - y.mean()) / y.std()
    problem = AdversarialSDP(inputs, targets, radius, loss=loss)
    worst = problem.losses_at(targets + errors / y.std()).mean() + problem.beta * model.network_.penalty
    assert worst == pytest.approx(model.result_.certificate.upper, rel=1e-9)
    tried = np.random.default_rng(1).standard_normal((200, 40, 3))
    tried *= radius / np.linalg.norm(tried, axis=2, keepdims=True) * model.network_.standardizer.scale
    found = [np.abs(model.predict(X + moves) - y) for moves in tried]
    assert (np.max(found, axis=0) <= errors * (1.0 + 1e-9) + 1e-9).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("norm", ["inf", 2])
def test_a_relu_regressor_brackets_its_worst_errors(data, loss, norm):
    X, y = data
    model = ReLURegressor(loss=loss, radius=0.05, norm=norm, **RELU).fit(X, y)
    assert model.result_.quality is Quality.CERTIFIED
    assert model.score(X, y) > 0.3
    clean = np.abs(model.predict(X) - y)
    attacked, certified = model.attacked_errors(X, y, 0.05), model.certified_errors(X, y, 0.05)
    assert (clean - 1e-9 <= attacked).all()
    assert (attacked <= certified + 1e-9).all()
    assert attacked.mean() > clean.mean()
    np.testing.assert_allclose(model.certified_errors(X, y, 0.0), clean, rtol=1e-9, atol=1e-9)


def test_immutable_features_cost_no_error(data):
    X, y = data
    given = {"radius": 0.3, "method": "cutting-set", "tolerance": 1e-3}
    masked = PolynomialRegressor(immutable=[1], **given).fit(X, y)
    assert masked.attack_reach_[1] == 0.0
    free = PolynomialRegressor(**given).fit(X, y)
    assert masked.result_.certificate.lower < free.result_.certificate.upper
    moves = np.outer(np.linspace(-1.0, 1.0, 9) * masked.attack_reach_[0], [1.0, 0.0, 0.0])
    found = np.max([np.abs(masked.predict(X + move) - y) for move in moves], axis=0)
    assert (found <= masked.robust_errors(X, y, 0.3) * (1.0 + 1e-9)).all()
    assert (masked.robust_errors(X, y, 0.3) < free.robust_errors(X, y, 0.3) + 1e-9).mean() > 0.5


def test_relu_regressors_have_shapes_of_attacks_too(data):
    X, y = data
    model = ReLURegressor(radius=0.2, immutable=[1], scale=[1.0, 1.0, 0.5], **RELU).fit(X, y)
    deviations = model.network_.standardizer.scale
    assert model.attack_reach_ == pytest.approx(0.2 * deviations * [1.0, 0.0, 0.5])
    certified = model.certified_errors(X, y, 0.2)
    for corner in ([1, 0, 0.5], [-1, 0, 0.5], [1, 0, -0.5], [-1, 0, -0.5]):
        errors = np.abs(model.predict(X + 0.2 * deviations * np.array(corner)) - y)
        assert (errors <= certified + 1e-6).all()


def test_what_is_saved_predicts_the_same_numbers(data, tmp_path):
    X, y = data
    for model in (PolynomialRegressor(), ReLURegressor(**RELU)):
        model.fit(X, y).network_.save(tmp_path / "net.npz")
        again = load(tmp_path / "net.npz")
        mean, scale = again.metadata["target_mean"], again.metadata["target_scale"]
        np.testing.assert_array_equal(mean + scale * again.predict(X), model.predict(X))


@pytest.mark.parametrize("kind", [PolynomialRegressor, ReLURegressor])
def test_neither_the_mean_nor_the_units_of_the_targets_matter(data, kind):
    X, y = data
    plain, moved = kind(tolerance=1e-5).fit(X, y), kind(tolerance=1e-5).fit(X, 1e3 * y - 5e5)
    assert moved.result_.certificate.upper == pytest.approx(plain.result_.certificate.upper, rel=1e-4)
    np.testing.assert_allclose(moved.predict(X), 1e3 * plain.predict(X) - 5e5, atol=30.0)
    assert (plain.target_mean_, plain.target_scale_) == pytest.approx((y.mean(), y.std()))
    raw = kind(standardize=False).fit(X, y)
    assert (raw.target_mean_, raw.target_scale_) == (0.0, 1.0)
    np.testing.assert_array_equal(raw.predict(X), raw.network_.predict(X))


def test_weights_are_repetitions_and_grids_are_searched(data):
    X, y = data
    weights = np.random.default_rng(3).integers(0, 3, y.size)
    rows = np.random.default_rng(4).permutation(np.repeat(np.arange(y.size), weights))
    weighted = PolynomialRegressor().fit(X, y, sample_weight=weights)
    repeated = PolynomialRegressor().fit(X[rows], y[rows])
    assert weighted.predict(X).tobytes() == repeated.predict(X).tobytes()
    search = GridSearchCV(PolynomialRegressor(tolerance=1e-2), {"loss": ["squared", "absolute"]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.5


@pytest.mark.parametrize("kind", [PolynomialRegressor, ReLURegressor])
def test_what_is_no_regression_is_refused(data, kind):
    X, y = data
    with pytest.raises(InputError, match="loss is 'hinge', which is of labels; expected 'squared', 'absolute' or"):
        kind(loss="hinge").fit(X, y)
    with pytest.raises(InputError, match="unknown loss 'squarred'"):
        kind(loss="squarred").fit(X, y)
    with pytest.raises(InputError, match="y cannot be read as numbers"):
        kind().fit(X, np.where(y > 0, "a", "b"))
    model = kind(tolerance=1e-1).fit(X, y)
    errors = model.robust_errors if kind is PolynomialRegressor else model.certified_errors
    with pytest.raises(InputError, match=r"y has shape \(39,\); expected \(40,\), one target per row of X"):
        errors(X, y[1:], 0.1)
