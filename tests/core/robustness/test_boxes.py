"""What `evaluate_robustness` says of polynomial networks in boxes: brackets that close, or nearly."""

import numpy as np
import pytest

from cvxrobust import Threat, evaluate_robustness
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.robustness.attacks import ATTACKS
from cvxrobust.core.robustness.boxes import MOST_INPUTS


def network(rng, d, outputs=1, curve=0.09):
    u = rng.standard_normal((2 * d, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    alpha = rng.standard_normal((2 * d, outputs))
    classes = tuple(range(max(outputs, 2)))
    return PolynomialNetwork(u, alpha[:, 0] if outputs == 1 else alpha, (curve, 0.5, 0.47), classes)


def corners(X, low, high, rng, many=400):
    """Random vertices and points of what is between, of every row; shape (many, n, d)."""
    share = np.where(rng.random((many, 1, 1)) < 0.7, rng.integers(0, 2, (many, *X.shape)), rng.random((many, *X.shape)))
    return low + share * (high - low)


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("ranged", [False, True])
def test_random_points_never_beat_what_is_certified(outputs, ranged):
    rng = np.random.default_rng([outputs, ranged])
    d, radii = 4, [0.0, 0.1, 0.3]
    model, X = network(rng, d, outputs, curve=1.0), rng.uniform(0.0, 1.0, (80, d))
    y, scale = model.predict(X), np.array([1.0, 0.5, 0.0, 2.0])
    threat = Threat("inf", scale=scale, bounds=(0.0, 1.0) if ranged else None)
    report = evaluate_robustness(model, X, y, threat, radii, steps=5, restarts=1)
    assert report.certified[0] == 1.0
    assert (np.diff(report.certified) <= 0.0).all()
    for k, radius in enumerate(radii):
        low, high = X - radius * scale, X + radius * scale
        if ranged:
            low, high = np.clip(low, 0.0, 1.0), np.clip(high, 0.0, 1.0)
        tried = corners(X, low, high, rng)
        broken = np.stack([model.predict(points) != y for points in tried]).any(axis=0)
        assert not (broken & report.held[k]).any()
    assert (report.certified == report.attacked).all()


def test_a_range_leaves_attackers_less():
    rng = np.random.default_rng(2)
    model, X = network(rng, 5, curve=0.5), rng.integers(0, 2, (100, 5)).astype(float)
    y, ranged = model.predict(X), Threat("inf", bounds=(0.0, 1.0))
    free = evaluate_robustness(model, X, y, Threat("inf"), [0.8], steps=5, restarts=1)
    kept = evaluate_robustness(model, X, y, ranged, [0.8], steps=5, restarts=1)
    assert (kept.held | ~free.held).all()
    assert kept.certified[0] > free.certified[0]


def triangle(constant):
    """``constant (x_4^2 + 1) / 2 - sum (x_i - x_j)^2`` over the edges of a triangle, whose cut no relaxation knows."""
    edges = np.array([[1.0, -1.0, 0.0, 0.0], [1.0, 0.0, -1.0, 0.0], [0.0, 1.0, -1.0, 0.0]]) / 2.0**0.5
    u = np.vstack([edges, [0.0, 0.0, 0.0, 1.0]])
    return PolynomialNetwork(u, np.array([-2.0, -2.0, -2.0, 0.5 * constant + 3.0]), (1.0, 0.0, 1.0))


@pytest.mark.parametrize(("constant", "alive"), [(8.5, True), (7.9, False), (9.1, True)])
def test_branch_and_bound_settles_what_bounds_leave_open(constant, alive):
    X, y, threat = np.array([[0.0, 0.0, 0.0, 1.0]]), [1], Threat("inf", scale=[1.0, 1.0, 1.0, 0.0])
    # The worst cut is 8, and the relaxation says 9.
    loose = evaluate_robustness(triangle(constant), X, y, threat, [1.0], steps=10)
    exact = evaluate_robustness(triangle(constant), X, y, threat, [1.0], steps=10, exact_seconds=60.0)
    assert loose.certified[0] == (constant > 9.0)
    assert exact.certified[0] == alive
    assert exact.attacked[0] == loose.attacked[0] == alive
    assert "branch and bound" in exact.certificate


def test_nothing_that_is_ours_joins_attacks_that_were_named():
    rng = np.random.default_rng(3)
    model, X = network(rng, 6, curve=1.0), rng.standard_normal((60, 6))
    alone = {"fgsm": ATTACKS["fgsm"]}
    report = evaluate_robustness(model, X, model.predict(X), Threat("inf"), [0.2], attacks=alone, audit=0)
    assert set(report.broken_by) <= {"", "fgsm"}


def test_boxes_of_very_many_inputs_are_judged_by_the_ball_around_them():
    rng = np.random.default_rng(4)
    d = MOST_INPUTS + 1
    u = rng.standard_normal((2, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    model, X = PolynomialNetwork(u, np.array([1.0, -2.0])), 3.0 * rng.standard_normal((5, d))
    report = evaluate_robustness(model, X, model.predict(X), Threat("inf"), [1e-4], steps=2, restarts=0, audit=0)
    assert "trust-region" in report.certificate
