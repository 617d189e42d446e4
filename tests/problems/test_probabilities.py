"""Probabilities of labels: the model's own, or learned from rows held out; who has none says so."""

import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score

from cvxrobust import (
    InputError,
    PolynomialClassifier,
    PolynomialClassifierCV,
    PolynomialRegressor,
    ReLUClassifier,
    UnknownNameError,
)
from cvxrobust.core.losses.base import LikelihoodLoss
from cvxrobust.core.losses.by_name import LOSSES
from cvxrobust.problems.data.folds import most_folds, splits

QUICK = {"tolerance": 1e-1, "backend": "clarabel"}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((80, 2))
    return X, np.where(X[:, 0] + X[:, 1] ** 2 + rng.logistic(size=80) > 1.0, "ill", "healthy")


@pytest.mark.parametrize("make", [PolynomialClassifier, lambda **given: ReLUClassifier(n_gates=5, **given)])
def test_the_logistic_loss_has_a_model_of_its_own(data, make):
    X, y = data
    model = make(loss="logistic", radius=0.1, **QUICK).fit(X, y)
    f, p = model.decision_function(X), model.predict_proba(X)
    np.testing.assert_allclose(p[:, 1], 1.0 / (1.0 + np.exp(-f)))
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    np.testing.assert_array_equal(model.classes_[p.argmax(axis=1)], model.predict(X))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), p)
    far = model.predict_log_proba(X + 1e3)  # where probabilities are 0 and 1 logarithms still tell them apart
    assert np.isfinite(far).all()


def test_its_probabilities_are_those_of_the_objective(data):
    """Without attack and penalty the mean loss is the negative log-likelihood."""
    X, y = data
    model = PolynomialClassifier(loss="logistic", beta=1e-3, tolerance=1e-3, backend="clarabel").fit(X, y)
    objective = log_loss(y, model.predict_proba(X)) + model.beta * model.network_.penalty
    assert objective == pytest.approx(model.certificate_.upper)
    again = cross_val_score(PolynomialClassifier(loss="logistic", **QUICK), X, y, scoring="neg_log_loss", cv=2)
    assert (again > np.log(0.5)).all()


def test_of_several_classes_they_are_those_of_each_against_the_others():
    X, y = load_iris(return_X_y=True)
    model = PolynomialClassifier(loss="logistic", **QUICK).fit(X[::3], y[::3])
    f, p = model.decision_function(X), model.predict_proba(X)
    own = 1.0 / (1.0 + np.exp(-f))
    np.testing.assert_allclose(p, own / own.sum(axis=1, keepdims=True))
    np.testing.assert_array_equal(p.argmax(axis=1), model.predict(X))
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), p)
    ovr = LogisticRegression().fit(X[::3], y[::3]).predict_proba(X)
    assert (p.argmax(axis=1) == ovr.argmax(axis=1)).mean() > 0.85


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibration_learns_from_networks_that_had_not_seen_the_rows(data, method):
    X, y = data
    model = PolynomialClassifier(calibration=method, random_state=3, **QUICK).fit(X, y)
    plain, index = PolynomialClassifier(**QUICK).fit(X, y), np.where(y == "ill", 1, 0)
    assert model.decision_function(X).tobytes() == plain.decision_function(X).tobytes()
    outputs = np.empty(80)
    for train, held in splits(5, X, index, np.ones(80, dtype=bool), None, 3):
        outputs[held] = PolynomialClassifier(**QUICK).fit(X[train], y[train]).decision_function(X[held])
    curve = CalibratedClassifierCV(FrozenEstimator(LogisticRegression().fit(outputs[:, None], index)), method=method)
    # What a logistic regression hands on is a line of the outputs, which neither curve minds.
    curve.cv, curve.ensemble = [(np.arange(80), np.arange(80))], False
    expected = curve.fit(outputs[:, None], index).predict_proba(plain.decision_function(X)[:, None])
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=2e-3)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(model.predict_log_proba(X), np.log(model.predict_proba(X)))


def test_weights_and_rows_that_come_again_calibrate_alike(data):
    X, y = data
    weights = np.random.default_rng(3).integers(0, 3, y.size)
    rows = np.random.default_rng(4).permutation(np.repeat(np.arange(y.size), weights))
    weighted = PolynomialClassifier(calibration="sigmoid", **QUICK).fit(X, y, sample_weight=weights)
    repeated = PolynomialClassifier(calibration="sigmoid", **QUICK).fit(X[rows], y[rows])
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-4)
    # Classes weigh in training, not in what is counted afterwards.
    heavy = PolynomialClassifier(calibration="sigmoid", class_weight={"ill": 5.0}, **QUICK).fit(X, y)
    assert heavy.predict_proba(X)[:, 1].mean() == pytest.approx((y == "ill").mean(), abs=0.05)
    assert (heavy.predict(X) == "ill").mean() > (y == "ill").mean()


def test_classes_of_several_and_of_weight_zero_are_calibrated():
    X, y = load_iris(return_X_y=True)
    model = PolynomialClassifier(calibration="sigmoid", **QUICK).fit(X[::3], y[::3])
    p = model.predict_proba(X)
    assert p.shape == (150, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert log_loss(y, p) < 0.5
    two = PolynomialClassifier(calibration="sigmoid", class_weight={1: 0.0}, **QUICK).fit(X[::3], y[::3])
    assert two.classes_.tolist() == [0, 2]
    assert two.predict_proba(X).shape == (150, 2)


def test_searches_calibrate_what_they_chose(data):
    X, y = data
    given = QUICK | {"search_tolerance": 1e-1, "warm": False, "betas": (0.1, 0.01), "radii": 0.1, "cv": 2}
    model = PolynomialClassifierCV(calibration="sigmoid", **given).fit(X, y)
    alone = PolynomialClassifier(calibration="sigmoid", beta=model.beta_, radius=0.1, **QUICK).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), alone.predict_proba(X))
    assert not hasattr(model.set_params(calibration=None).fit(X, y), "calibrator_")
    assert not hasattr(model, "predict_proba")


def test_who_has_no_probabilities_says_so(data):
    X, y = data
    for model in (PolynomialClassifier(), ReLUClassifier(loss="squared_hinge"), PolynomialClassifierCV()):
        assert not hasattr(model, "predict_proba")
        assert not hasattr(model, "predict_log_proba")
        assert hasattr(model, "decision_function")
    with pytest.raises(AttributeError) as raised:
        PolynomialClassifier().predict_proba(X)
    assert "with loss='logistic', which are then the model's own, or with calibration='sigmoid'" in str(
        raised.value.__cause__
    )
    joint = PolynomialClassifier(loss="logistic", multiclass="joint", **QUICK)
    assert not hasattr(joint, "predict_proba")
    assert hasattr(joint.fit(X, y), "predict_proba")  # of two classes it is the same model
    assert not hasattr(PolynomialRegressor(), "predict_proba")
    with pytest.raises(
        UnknownNameError, match=r"unknown calibration 'sigmod'; known: isotonic, sigmoid\. Did you mean 'sigmoid'"
    ):
        PolynomialClassifier(calibration="sigmod").fit(X, y)
    with pytest.raises(UnknownNameError, match="unknown calibration 'platt'"):
        PolynomialClassifierCV(calibration="platt").fit(X, y)
    few = np.where(np.arange(80) == 7, "ill", "healthy")
    with pytest.raises(
        InputError, match="calibration is 'sigmoid', which learns from rows that are held out, but a class"
    ):
        PolynomialClassifier(calibration="sigmoid", **QUICK).fit(X, few)
    assert most_folds(X, (few == "ill").astype(int)) == 1


def test_losses_that_are_likelihoods_know_it():
    t, target = np.linspace(-3.0, 3.0, 7), np.ones(7)
    known = {name: loss for name, loss in LOSSES.items() if isinstance(loss, LikelihoodLoss)}
    assert set(known) == {"logistic"}
    for loss in known.values():
        np.testing.assert_allclose(loss.log_probability(t), -loss.value(t, target))
        np.testing.assert_allclose(np.exp(loss.log_probability(t)) + np.exp(loss.log_probability(-t)), 1.0)
