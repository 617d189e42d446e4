"""Margins of polynomial networks on inputs of very different scales: rigorous, no looser than their own rounding."""

from fractions import Fraction

import numpy as np
import pytest

from cvxrobust.core.attacks import quadratic as module
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.quadratic import Quadratic

ACTIVATION = (0.09, 0.5, 0.47)


def raw(seed, n=30, d=6, m=9):
    """Rows with columns from 1e-3 to 1e4, and neurons to whom all columns matter about as much."""
    rng = np.random.default_rng(seed)
    scales = 10.0 ** np.linspace(-3.0, 4.0, d)
    X = rng.standard_normal((n, d)) * scales
    u = rng.standard_normal((m, d)) / scales
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return X, np.where(rng.random(n) < 0.5, -1.0, 1.0), u, 3.0 * rng.standard_normal(m)


def exact_output(x, u, alpha):
    """The network's output, without any rounding."""
    a, b, c = (Fraction(part) for part in ACTIVATION)
    x = [Fraction(part) for part in x]
    total = Fraction(0)
    for row, weight in zip(u, alpha, strict=True):
        t = sum((Fraction(own) * part for own, part in zip(row, x, strict=True)), Fraction(0))
        total += Fraction(weight) * (a * t * t + b * t + c)
    return total


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_margins_lose_what_their_own_neurons_round_away_and_no_more(seed):
    X, sign, u, alpha = raw(seed)
    f = Quadratic.of(u, alpha, ACTIVATION)
    # What the entries of P alone could promise.
    assert f.uncertainty * float(np.sum(X**2, axis=1).max()) > 1e-7
    found = f.worst_margins(X, sign, AttackBall(2, np.zeros(30), 6))
    for x, side, margin in zip(X, sign, found, strict=True):
        lost = Fraction(side) * exact_output(x, u, alpha) - Fraction(margin)
        assert 0 <= lost < 1e-10


@pytest.mark.parametrize("seed", [0, 1])
def test_no_attack_beats_them(seed):
    X, sign, u, alpha = raw(seed)
    attack = AttackBall(2, np.full(30, 0.1), 6)
    f = Quadratic.of(u, alpha, ACTIVATION)
    _, lower, move = f.worst_case(X, sign, attack)
    for x, side, margin, inside in zip(X, sign, lower, move, strict=True):
        at_worst = x + f.vectors @ inside
        # The attack is as exact as its sum with a sample of size 1e4 is.
        reached = Fraction(side) * exact_output(at_worst, u, alpha)
        slope = np.abs(alpha) @ np.abs(2.0 * ACTIVATION[0] * (u @ at_worst) + ACTIVATION[1])
        assert -1e-10 - 1e-12 * slope * np.linalg.norm(x) <= float(reached - Fraction(margin)) < 1e-7


def test_ordinary_inputs_never_see_it(monkeypatch):
    rng = np.random.default_rng(0)
    X, u, alpha = rng.standard_normal((40, 5)), rng.standard_normal((6, 5)), rng.standard_normal(6)
    monkeypatch.setattr(module.Neurons, "expand", None)
    f = Quadratic.of(u / np.linalg.norm(u, axis=1, keepdims=True), alpha, ACTIVATION)
    assert np.isfinite(f.worst_margins(X, np.ones(40), AttackBall(2, np.full(40, 0.3), 5))).all()
