"""Answers to held attacks in balls and ellipsoids: valid bounds of every shape, gaps that descent does not reach."""

import numpy as np
import pytest

from cvxrobust import AdversarialSDP, Settings, solve
from cvxrobust.backends.torch.polynomial import answers, training
from cvxrobust.backends.torch.polynomial.answers import Answers

SHAPES = ("ball", "scale", "covariance", "directions", "weights")


def instance(seed, n=50, d=5):
    """A problem of one of the losses and shapes, with radii of 0 now and then."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.where(X[:, 0] * X[:, 1] + 0.5 * X[:, 2] + 0.3 * rng.standard_normal(n) > 0.0, 1.0, -1.0)
    root = rng.standard_normal((d, d))
    more = {
        "ball": {},
        "scale": {"scale": rng.uniform(0.3, 1.5, d) * (np.arange(d) != 1)},
        "covariance": {"covariance": root @ root.T / d},
        "directions": {"directions": root[:, :2]},
        "weights": {"sample_weight": rng.integers(0, 3, n) + (np.arange(n) < 2)},
    }[SHAPES[seed % len(SHAPES)]]
    radius = rng.uniform(0.1, 1.0, n) * (rng.random(n) > 0.1)
    return AdversarialSDP(X, y, radius=radius, beta=0.02, loss=("hinge", "squared_hinge", "logistic")[seed % 3], **more)


@pytest.mark.parametrize("seed", range(10))
def test_answers_prove_what_holds(seed, monkeypatch):
    problem, given = instance(seed), []
    monkeypatch.setattr(training, "SLOW", 0)
    monkeypatch.setattr(training, "LITTLE", 0.0)
    monkeypatch.setattr(training, "COARSE", 0.0)
    answer = Answers.to
    monkeypatch.setattr(Answers, "to", lambda self, *asked: given.append(1) or answer(self, *asked))
    known = solve(problem, backend="ipm", settings=Settings(tolerance=1e-6)).certificate
    found = solve(problem, backend="torch", settings=Settings(tolerance=1e-6, max_iterations=250))
    assert given
    assert found.complaints == ()
    assert found.certificate.lower <= known.upper
    assert known.lower <= found.certificate.upper
    assert found.certificate.relative_gap < 0.02


@pytest.mark.parametrize("norm", [2, "inf"])
def test_attacks_on_more_than_memory_should_hold_are_not_held(norm, monkeypatch):
    monkeypatch.setattr(training, "SLOW", 0)
    monkeypatch.setattr(training, "LITTLE", 0.0)
    monkeypatch.setattr(training, "COARSE", 0.0)
    given, answer = [], Answers.to
    monkeypatch.setattr(Answers, "to", lambda self, *asked: given.append(1) or answer(self, *asked))
    problem = AdversarialSDP(*(getattr(instance(0), name) for name in ("X", "y")), radius=0.3, beta=0.02, norm=norm)
    for largest, expected in ((2**24, True), (100, False)):
        monkeypatch.setattr(answers, "LARGEST", largest)
        given.clear()
        solve(problem, backend="torch", settings=Settings(tolerance=1e-6, max_iterations=120))
        assert bool(given) is expected


def test_large_radii_are_proved_where_descent_alone_proves_little(monkeypatch):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((600, 40))
    y = np.where((X[:, :5] ** 2).sum(axis=1) - 5.0 + 2.0 * X[:, 5] + rng.standard_normal(600) > 3.0, 1.0, -1.0)
    problem = AdversarialSDP(X, y, radius=1.5, beta=0.01)
    gaps = []
    for slow in (training.SLOW, 10**6):
        monkeypatch.setattr(training, "SLOW", slow)
        found = solve(problem, backend="torch", settings=Settings(tolerance=1e-3, max_iterations=500))
        gaps.append(found.certificate.relative_gap)
    assert gaps[0] < 0.5 * gaps[1]
