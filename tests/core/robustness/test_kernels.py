"""Slopes of support vector machines: those that differences find, and what attacks make of them."""

import numpy as np
import pytest
from sklearn.svm import SVC, NuSVC

from cvxrobust import Threat, evaluate_robustness
from cvxrobust.core.robustness import kernels
from cvxrobust.core.robustness.attacks import ATTACKS
from cvxrobust.core.robustness.models import PredictorModel


def machine(kernel, seed=0, n=60, d=4, kind=SVC, **options):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.where(X[:, 0] + X[:, 1] ** 2 - 1.0 + 0.3 * rng.standard_normal(n) > 0.0, "yes", "no")
    return kind(kernel=kernel, **options).fit(X, y), X, y


KINDS = [
    ("rbf", {}), ("rbf", {"gamma": 2.0}), ("poly", {"degree": 3, "coef0": 1.0}), ("poly", {"degree": 1}),
    ("poly", {"degree": 2, "gamma": "auto"}), ("sigmoid", {"gamma": 0.1, "coef0": 0.2}), ("linear", {}),
]  # fmt: skip


@pytest.mark.parametrize(("kernel", "options"), KINDS)
@pytest.mark.parametrize("kind", [SVC, NuSVC])
def test_scores_are_scikit_learns_and_slopes_those_that_differences_find(kernel, options, kind, monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 500)
    model, X, _ = machine(kernel, kind=kind, **options)
    values, gradients = kernels.scores(model, X)
    np.testing.assert_allclose(values, model.decision_function(X), rtol=1e-9, atol=1e-10)
    for column, step in enumerate(1e-4 * np.eye(4)):
        found = (model.decision_function(X + step) - model.decision_function(X - step)) / 2e-4
        np.testing.assert_allclose(gradients[:, column], found, rtol=1e-5, atol=1e-5 * np.abs(values).max())


def test_margins_slopes_and_pulls_are_about_the_class_asked_for():
    model, X, _ = machine("rbf")
    view, index = PredictorModel(model), np.arange(60) % 2
    margins, slopes = view.slopes(X, index)
    np.testing.assert_allclose(margins, view.margins(X, index), rtol=1e-9, atol=1e-10)
    _, gradients = kernels.scores(model, X)
    np.testing.assert_array_equal(slopes, np.where(index == 1, 1.0, -1.0)[:, None] * gradients)
    weights = np.random.default_rng(0).standard_normal((60, 2))
    np.testing.assert_allclose(view.pull(X, weights), (weights[:, 1] - weights[:, 0])[:, None] * gradients)


def test_attacks_with_slopes_break_more_rows_than_those_without():
    model, X, y = machine("rbf", n=80, d=12)
    rows, threat, radii = slice(0, 40), Threat(2), [0.4, 0.8]
    with_slopes = evaluate_robustness(model, X[rows], y[rows], threat, radii)
    blind = {name: ATTACKS[name] for name in ("search", "towards others")}
    groping = evaluate_robustness(model, X[rows], y[rows], threat, radii, attacks=blind)
    assert (with_slopes.attacked <= groping.attacked).all()
    assert with_slopes.attacked.sum() < groping.attacked.sum()


def test_other_machines_have_no_slopes():
    _, X, y = machine("rbf")

    def own(A, B):
        return A @ B.T

    class Changed(SVC):
        def decision_function(self, X):
            return super().decision_function(X) ** 3

    three = np.arange(60) % 3
    for model, labels in ((SVC(kernel=own), y), (Changed(), y), (SVC(), three)):
        assert PredictorModel(model.fit(X, labels)).slopes(X, np.zeros(60, dtype=np.intp)) is None
