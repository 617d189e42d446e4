"""Gradients of weighted scores, and the one-step attack on the sum of the wrong ones."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cvxrobust import PolynomialNetwork, ReLUNetwork, Threat, evaluate_robustness
from cvxrobust.core.robustness.attacks import ATTACKS, Best, Effort
from cvxrobust.core.robustness.models import as_model

THREE = ("a", "b", "c")


def networks(seed, outputs):
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((5, 4))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    alpha = rng.standard_normal(5 if outputs == 1 else (5, outputs))
    classes = None if outputs == 1 else THREE
    yield PolynomialNetwork(u, alpha, classes=classes), 4
    yield ReLUNetwork(u, alpha, bias=True, classes=classes), 3


def module(outputs):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.Tanh(), torch.nn.Linear(6, outputs)).double().eval()


def views():
    rng = np.random.default_rng(1)
    for outputs in (1, 3):
        labels = [-1, 1] if outputs == 1 else THREE
        for network, d in networks(outputs, outputs):
            yield as_model(network, labels), network.decision_function, d
        own = module(outputs)
        yield as_model(own, labels), lambda X, own=own: own(_tensor(X)).detach().numpy().squeeze(), 3
        X, y = rng.standard_normal((30, 3)), np.arange(30) % len(labels)
        linear = LogisticRegression().fit(X, np.array(labels)[y])
        yield as_model(linear, labels), linear.decision_function, 3


def _tensor(X):
    return pytest.importorskip("torch").tensor(X)


def test_it_is_the_gradient_of_the_weighted_scores():
    rng = np.random.default_rng(2)
    for view, scores, d in views():
        X, weights = view.inputs(rng.standard_normal((6, d))), rng.standard_normal((6, len(view.classes)))

        def total(at, scores=scores, weights=weights):
            found = scores(at)
            return (weights * (np.stack([-found, found], axis=1) if found.ndim == 1 else found)).sum(axis=1)

        slopes = [(total(X + 1e-6 * e) - total(X - 1e-6 * e)) / 2e-6 for e in np.eye(d)]
        assert view.pull(X, weights) == pytest.approx(np.stack(slopes, axis=1), abs=1e-6)


def test_of_two_classes_it_is_the_step_on_the_margin():
    rng = np.random.default_rng(3)
    for view, _, d in views():
        if len(view.classes) == 2:
            X, index = view.inputs(rng.standard_normal((6, d))), np.arange(6) % 2
            attacks = Threat("inf").on(X).of_radius(0.3)
            one, other = (Best.of(view, X, index) for _ in range(2))
            ATTACKS["fgsm"](view, attacks, index, one, Effort())
            ATTACKS["fgsm of the sum"](view, attacks, index, other, Effort())
            np.testing.assert_allclose(one.points, other.points, atol=1e-12)


def test_of_more_it_says_less_than_the_step_on_the_margin():
    rng = np.random.default_rng(4)
    (network, _), _ = networks(3, 3)
    X = 0.5 * rng.standard_normal((300, 4))
    y = network.predict(X)
    left = {
        name: evaluate_robustness(network, X, y, Threat("inf"), [0.2], attacks={name: ATTACKS[name]}, audit=0)
        for name in ("fgsm", "fgsm of the sum")
    }
    broken = {name: set(report.broken_by.tolist()) - {"", "exact worst case"} for name, report in left.items()}
    assert broken == {"fgsm": {"fgsm"}, "fgsm of the sum": {"fgsm of the sum"}}
    view, index = as_model(network, THREE), np.array([THREE.index(label) for label in y])
    margins = {}
    for name in left:
        best = Best.of(view, X, index)
        ATTACKS[name](view, Threat("inf").on(X).of_radius(0.2), index, best, Effort())
        margins[name] = best.margins.mean()
    assert margins["fgsm"] < margins["fgsm of the sum"] < view.margins(X, index).mean()
