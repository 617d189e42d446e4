"""Baselines: each trains against the attacks that it is asked to, and is judged like our own networks."""

import sys
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.ensemble import RandomForestClassifier

from cvxrobust import CvxRobustError, InputError, MissingExtraError
from cvxrobust.bench.baselines.adversarial_network import AdversarialNetwork
from cvxrobust.bench.baselines.forest import Forest
from cvxrobust.bench.baselines.kernels import QuadraticSVC
from cvxrobust.bench.baselines.robust_linear import RobustLinear
from cvxrobust.bench.baselines.robust_tree import RobustTree
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.robustness.evaluate import evaluate_robustness


def data(classes=2, n=80):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 3))
    scores = np.column_stack([X[:, 0], X[:, 1] - 0.3, X[:, 2]])[:, :classes]
    return X, np.array(["a", "b", "c"])[scores.argmax(axis=1)]


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("scale", [None, [1.0, 0.0, 2.0]])
def test_the_robust_linear_objective_is_the_worst_case(norm, scale):
    X, y = data()
    threat, radius, beta = Threat(norm, scale=scale), 0.3, 0.1
    model = RobustLinear(threat, radius, beta, "logistic").fit(X, y)
    signs = np.where(y == "b", 1.0, -1.0)
    attacks = threat.on(X).of_radius(radius)

    def objective(v):
        w, b = v[:3], v[3]
        points = attacks.X + radius * attacks.steepest(signs[:, None] * w)
        return np.logaddexp(0.0, -signs * (points @ w + b)).mean() + 0.5 * beta * w @ w

    found = np.append(model.coef_[0], model.intercept_[0])
    best = minimize(objective, np.append(found[:3] * 0.5, 0.0), method="Nelder-Mead", options={"maxiter": 4000})
    assert objective(found) <= best.fun * (1.0 + 1e-5)


@pytest.mark.parametrize("classes", [2, 3])
def test_robust_training_helps_where_it_was_asked_to(classes):
    X, y = data(classes, n=150)
    threat = Threat("inf")
    for kind in (RobustLinear, AdversarialNetwork):
        options = {"seed": 1, "epochs": 30} if kind is AdversarialNetwork else {}
        plain, robust = (kind(threat, radius, **options).fit(X, y) for radius in (0.0, 0.4))
        reports = [evaluate_robustness(model, X, y, threat, [0.0, 0.4]) for model in (plain, robust)]
        assert reports[1].attacked[1] >= reports[0].attacked[1], kind
        assert reports[1].kind != "none"
        assert set(robust.predict(X)) <= set(y)


def test_adversarial_training_is_the_same_for_the_same_seed():
    X, y = data()
    first, again, other = (AdversarialNetwork(None, 0.2, epochs=3, seed=seed).fit(X, y) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.network_.u, again.network_.u)
    assert (first.network_.u != other.network_.u).any()


def leaf(label):
    value = np.array([1.0, 0.0]) if label == 0 else np.array([0.0, 1.0])
    return SimpleNamespace(is_leaf=lambda: True, value=value)


def stump(feature, threshold, left, right):
    return SimpleNamespace(
        is_leaf=lambda: False, feature=feature, threshold=threshold, left_child=left, right_child=right
    )


class Grown:
    """What `groot-trees` would grow: a tree of two splits."""

    def __init__(self, **options):
        self.options = options

    def fit(self, X, index):
        self.root_ = stump(0, 0.0, leaf(0), stump(1, 0.5, leaf(1), leaf(0)))
        return self


def test_trees_of_others_are_judged_by_their_leaves():
    X, y = data()
    with mock.patch("cvxrobust.bench.baselines.robust_tree.groot_tree", return_value=Grown):
        tree = RobustTree(Threat("inf", scale=[1.0, 0.0, 2.0]), 0.2).fit(X, y)
    assert tree.tree_.options["attack_model"] == [0.2, 0.0, 0.4]
    expected = np.where((X[:, 0] > 0.0) & (X[:, 1] <= 0.5), "b", "a")
    np.testing.assert_array_equal(tree.predict(X), expected)
    report = evaluate_robustness(tree, X, expected, Threat("inf"), [0.0, 0.1, 0.3])
    away = np.maximum.reduce([-X[:, 0], X[:, 1] - 0.5])
    np.testing.assert_array_equal(report.held, np.abs(away) > np.array([[0.0], [0.1], [0.3]]))
    np.testing.assert_array_equal(report.held, report.alive)


@pytest.mark.parametrize("d", [2, 9])
def test_a_quadratic_machine_is_the_network_that_it_is_written_as(d):
    rng = np.random.default_rng(d)
    X, others = rng.standard_normal((2, 120, d))
    y = np.where(X[:, 0] ** 2 - X[:, 1] + 0.3 * rng.standard_normal(120) > 0.5, "b", "a")
    machine = QuadraticSVC(2.0, 0.7, 0.5).fit(X, y)
    expected = machine.svc_.decision_function(others)
    np.testing.assert_allclose(machine.decision_function(others), expected, atol=1e-10 * np.abs(expected).max())
    np.testing.assert_array_equal(machine.predict(others), machine.svc_.predict(others))
    np.testing.assert_allclose(np.linalg.norm(machine.network_.u, axis=1), 1.0)
    report = evaluate_robustness(machine, X, y, Threat(2), [0.0, 0.2])
    assert report.kind == "exact"
    np.testing.assert_array_equal(report.held, report.alive)


def test_a_quadratic_machine_without_a_trace_is_no_network():
    X = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    with pytest.raises(CvxRobustError, match="trace"):
        QuadraticSVC(coef0=0.0).fit(X, [1, 1, -1, -1])


def test_a_quick_forest_is_the_forest():
    X, y = data(3)
    quick, usual = (kind(20, random_state=0).fit(X, y) for kind in (Forest, RandomForestClassifier))
    others = np.random.default_rng(1).standard_normal((50, 3))
    np.testing.assert_allclose(quick.predict_proba(others), usual.predict_proba(others), rtol=0.0, atol=1e-15)
    np.testing.assert_array_equal(quick.predict(others), usual.predict(others))


def test_without_the_package_of_trees_the_message_says_what_to_install():
    X, y = data()
    missing = mock.patch.dict(sys.modules, {"groot": None, "groot.model": None})
    with missing, pytest.raises(MissingExtraError, match="baselines"):
        RobustTree().fit(X, y)


@pytest.mark.parametrize("kind", [RobustLinear, AdversarialNetwork, RobustTree, QuadraticSVC])
def test_one_class_is_refused(kind):
    with pytest.raises(InputError, match="class"):
        kind().fit(np.zeros((3, 2)), ["a", "a", "a"])
