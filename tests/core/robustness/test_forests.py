"""Forests and boosted trees: what is certified holds in every cell that an attack reaches, and one tree is exact."""

from itertools import product

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.robustness.evaluate import evaluate_robustness
from cvxrobust.core.robustness.forests import is_ensemble, lower_margins

ENSEMBLES = [
    lambda seed: RandomForestClassifier(4, max_depth=3, random_state=seed),
    lambda seed: ExtraTreesClassifier(3, max_depth=3, random_state=seed),
    lambda seed: GradientBoostingClassifier(n_estimators=4, max_depth=2, learning_rate=0.7, random_state=seed),
    lambda seed: GradientBoostingClassifier(n_estimators=3, max_depth=2, init="zero", random_state=seed),
]
ORDERS = {"inf": np.inf, 2: 2, 1: 1}


def case(seed, classes):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, 2))
    score = X[:, 0] + 0.5 * X[:, 1] ** 2 + 0.3 * rng.standard_normal(40)
    return X, np.digitize(score, [0.0, 1.0][: classes - 1])


def trees_of(model):
    return [one.tree_ for one in np.ravel(model.estimators_)]


def broken(model, x, label, radius, order, scale):
    """Whether some cell of the grid of all thresholds that an attack reaches has another label."""
    sides = [[-np.inf], [-np.inf]]
    for tree in trees_of(model):
        for feature, threshold in zip(tree.feature, tree.threshold, strict=True):
            if feature >= 0:
                sides[feature].append(threshold)
    cells = [list(zip(sorted(set(side)), [*sorted(set(side))[1:], np.inf], strict=True)) for side in sides]
    points, lengths = [], []
    for cell in product(*cells):
        low, high = np.array(cell).T
        away = np.maximum(np.maximum(low - x, x - high), 0.0)
        if ((away > 0.0) & (scale == 0.0)).any():
            continue
        lengths.append(np.linalg.norm(away[scale > 0.0] / scale[scale > 0.0], ord=order))
        inner = np.where(np.isfinite(low), low, np.where(np.isfinite(high), high - 2.0, 0.0))
        points.append(np.clip(x, inner + 1e-5, np.maximum(np.where(np.isfinite(high), high, np.inf) - 1e-5, inner)))
    near = np.array(lengths) < radius * (1.0 - 1e-6) - 1e-4
    return near.any() and (model.predict(np.array(points)[near]) != label).any()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("make", range(len(ENSEMBLES)))
def test_what_is_certified_holds_in_every_cell_within_reach(make, classes):
    if make == 3 and classes == 3:
        classes = 2  # a second seed of two classes, from a score of 0
    shares = []
    for seed, norm in enumerate(("inf", 2, 1)):
        X, y = case(seed, classes)
        model = ENSEMBLES[make](seed).fit(X, y)
        labels = model.predict(X)
        scale = np.array([1.0, 0.0]) if seed == 1 else np.array([1.0, 0.5])
        report = evaluate_robustness(model, X, labels, Threat(norm, scale=scale), [0.0, 0.1, 0.4], steps=5, restarts=0)
        assert report.kind == "bound"
        assert report.certified[0] == 1.0
        assert (report.held <= report.alive).all()
        shares.append(report.certified[1])
        for k, radius in enumerate(report.radii):
            for row in np.flatnonzero(report.held[k])[:10]:
                assert not broken(model, X[row], labels[row], radius, ORDERS[norm], scale)
    assert max(shares) > 0.2  # not for want of certificates


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_a_forest_of_one_tree_is_judged_as_the_tree_is(norm):
    X, y = case(5, 3)
    forest = RandomForestClassifier(1, bootstrap=False, max_features=None, random_state=0).fit(X, y)
    tree = DecisionTreeClassifier(random_state=forest.estimators_[0].random_state).fit(X, y)
    radii = [0.0, 0.05, 0.2, 0.5]
    labels = tree.predict(X)
    assert (forest.predict(X) == labels).all()
    bound = evaluate_robustness(forest, X, labels, Threat(norm), radii, steps=3, restarts=0)
    exact = evaluate_robustness(tree, X, labels, Threat(norm), radii, steps=3, restarts=0)
    np.testing.assert_array_equal(bound.held, exact.held)


def test_margins_without_an_attack_are_those_of_the_classifier():
    X, y = case(6, 3)
    forest = RandomForestClassifier(7, random_state=0).fit(X, y)
    shares = np.sort(forest.predict_proba(X), axis=1)
    index = forest.predict(X).astype(np.intp)
    ball = Threat(2).on(X).ball
    found = lower_margins(forest, X, index, ball, np.array([0.0]))[0]
    np.testing.assert_allclose(found, shares[:, -1] - shares[:, -2], atol=1e-12)


def test_what_is_no_sum_over_trees_is_left_alone():
    X, y = case(7, 2)
    begun = GradientBoostingClassifier(init=SVC(probability=False), n_estimators=2)
    assert not is_ensemble(begun)
    assert not is_ensemble(RandomForestClassifier())
    twice = RandomForestClassifier(2).fit(X, np.column_stack([y, y]))
    assert not is_ensemble(twice)

    class Contrary(RandomForestClassifier):
        def predict(self, X):
            return 1 - super().predict(X)

    assert not is_ensemble(Contrary(2).fit(X, y))
