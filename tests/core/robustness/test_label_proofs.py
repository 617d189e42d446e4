"""What is proved of the labels and outputs of networks row by row: against bisection, corners and random attacks."""

import numpy as np
import pytest

from cvxrobust import PolynomialNetwork, ReLUNetwork, Threat, evaluate_robustness
from cvxrobust.core.attacks.largest_radius import largest_certified
from cvxrobust.core.networks.standardizer import Standardizer
from cvxrobust.core.robustness.label_proofs import LabelProofs
from cvxrobust.core.robustness.target_errors import OutputRange

D = 4
SHAPES = {
    "balls": {},
    "masks": {"scale": [1.0, 0.0, 2.0, 0.5]},
    "tiny units": {"scale": [1e-9, 1e-9, 2e-9, 1e-9]},
}


def polynomial(seed, outputs=1, **more):
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((2 * D, D))
    alpha = rng.standard_normal((2 * D, outputs))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return PolynomialNetwork(u, alpha[:, 0] if outputs == 1 else alpha, **more)


def relu(seed, outputs=1, **more):
    rng = np.random.default_rng(seed)
    alpha = rng.standard_normal((6, outputs))
    return ReLUNetwork(rng.standard_normal((6, D + 1)), alpha[:, 0] if outputs == 1 else alpha, bias=True, **more)


def rows(seed, n=20):
    return np.random.default_rng([seed, 1]).standard_normal((n, D))


def attacked(threat, X, radius, rng, count=40):
    """Inputs under attacks of a radius each, many of them at the end of what is allowed."""
    attacks = threat.on(X)
    ball = attacks.of_radii(radius).ball
    for _ in range(count):
        push = ball.maximiser(rng.standard_normal(X.shape)) * radius[:, None]
        yield X + push
        yield X + ball.sample(rng)


@pytest.mark.parametrize("make", [polynomial, relu])
@pytest.mark.parametrize("norm", [2, "inf", 1])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_no_attack_changes_what_is_certified(make, norm, shape, outputs):
    network, X, rng = make(outputs, outputs), rows(outputs), np.random.default_rng(7)
    threat = Threat(norm, **SHAPES[shape])
    proofs = LabelProofs.of(network, X, threat)
    labels, radius = network.predict(X), proofs.radius()
    assert (radius > 0.0).all()
    near = np.minimum(radius, 1e12)
    assert proofs.held(near).all()
    for points in attacked(threat, X, near, rng):
        np.testing.assert_array_equal(network.predict(points), labels)
    held = proofs.held(np.full(X.shape[0], np.median(radius)))
    assert 0 < held.sum() < held.size
    assert not proofs.held(2.0 * radius).all()
    assert proofs.held(np.zeros(X.shape[0])).all()


@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("shape", ["balls", "masks", "directions"])
def test_in_l2_the_radius_is_where_the_worst_margin_vanishes(outputs, shape):
    given = SHAPES | {"directions": {"directions": np.random.default_rng(3).standard_normal((D, 2))}}
    network, X, threat = polynomial(outputs + 5, outputs), rows(outputs + 5, 8), Threat(2, **given[shape])
    proofs = LabelProofs.of(network, X, threat)
    radius, y = proofs.radius(), network.predict(X)
    judged = network.replace(ellipsoid=threat.on(X).ball.ellipsoid)
    low, high = np.zeros(8), np.full(8, 1e3)
    for _ in range(60):
        middle = 0.5 * (low + high)
        good = judged.worst_margins(X, y, middle) > 0.0
        low, high = np.where(good, middle, low), np.where(good, high, middle)
    finite = radius < 1e3
    assert finite.sum() > 3
    np.testing.assert_allclose(radius[finite], low[finite], rtol=1e-6)
    assert (low[~finite] > 999.0).all()


def test_more_is_proved_in_boxes_than_of_the_balls_around_them():
    network, X = polynomial(1), rows(1)
    boxes, balls = (LabelProofs.of(network, X, Threat(norm)).radius() for norm in ("inf", 2))
    assert (boxes >= 0.5 * balls).all()  # the l2 ball around a box in four inputs is twice as large
    assert boxes.mean() > 1.05 * 0.5 * balls.mean()
    ranged = LabelProofs.of(network, X, Threat("inf", bounds=(X.min(axis=0), X.max(axis=0)))).radius()
    assert (ranged >= boxes * 0.98).all()


@pytest.mark.parametrize("outputs", [1, 3])
def test_more_is_proved_of_relu_networks_where_inputs_have_a_range(outputs):
    network, X = relu(1, outputs), rows(1)
    bounds = X.min(axis=0), X.max(axis=0)
    plain, ranged = (LabelProofs.of(network, X, Threat("inf", bounds=b)) for b in (None, bounds))
    free, kept = plain.radius(), ranged.radius()
    assert (kept >= 0.98 * free).all()
    assert (kept > 1.05 * free).any()
    proved, rng = np.minimum(kept, 5.0), np.random.default_rng(2)
    for _ in range(20):
        points = np.clip(X + proved[:, None] * rng.choice([-1.0, 1.0, 0.3], X.shape), *bounds)
        np.testing.assert_array_equal(network.predict(points), network.predict(X))
    y, radii = network.predict(X), [0.1, 0.4]
    reports = [
        evaluate_robustness(network, X, y, Threat("inf", bounds=b), radii, exact_seconds=5.0) for b in (None, bounds)
    ]
    for report in reports:
        assert (report.certified <= report.attacked).all()
    assert (reports[1].certified >= reports[0].certified).all()


@pytest.mark.parametrize("make", [polynomial, relu])
@pytest.mark.parametrize("norm", [2, "inf", 1])
def test_what_cannot_move_changes_nothing(make, norm):
    proofs = LabelProofs.of(make(0), rows(0), Threat(norm, scale=np.zeros(D)))
    assert np.isinf(proofs.radius()).all()
    assert proofs.held(np.full(20, 1e9)).all()


def test_radii_are_in_the_units_of_the_threat_whatever_those_of_the_data():
    X, unit = rows(2), np.array([1e-8, 1.0, 1e4, 1e-3])
    for make in (polynomial, relu):
        network = make(2).replace(standardizer=Standardizer(np.ones(D), unit))
        for norm in (2, "inf", 1):
            standard = LabelProofs.of(make(2), X, Threat(norm)).radius()
            in_data = LabelProofs.of(network, 1.0 + X * unit, Threat(norm, scale=1e8 * np.ones(D))).radius()
            np.testing.assert_allclose(in_data, 1e-8 * standard, rtol=0.02)


@pytest.mark.parametrize("make", [polynomial, relu])
@pytest.mark.parametrize("norm", [2, "inf", 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_outputs_stay_in_their_range(make, norm, shape):
    network, X, rng = make(3, regression=True), rows(3), np.random.default_rng(8)
    threat, radius = Threat(norm, **SHAPES[shape]), np.linspace(0.0, 0.5, 20)
    radius *= 1e9 if shape == "tiny units" else 1.0
    found = OutputRange.of_threat(network, X, radius, threat)
    for points in attacked(threat, X, radius, rng):
        f = network.decision_function(points)
        assert (found.low - 1e-9 <= f).all()
        assert (f <= found.high + 1e-9).all()
    np.testing.assert_allclose(found.low[0], network.decision_function(X)[0], rtol=1e-9)
    wide = OutputRange.of_threat(network, X, radius, Threat(norm, scale=np.zeros(D)))
    np.testing.assert_allclose(wide.high, network.decision_function(X), rtol=1e-9)


def test_the_search_for_a_radius_goes_on_from_what_is_known():
    limit, asked = np.array([3e-9, 5.0, 1e4, 0.0]), []

    def holds(which, radii):
        asked.append(radii.copy())
        return radii <= limit[which]

    found = largest_certified(holds, 4, unit=1e-8)
    np.testing.assert_allclose(found[0], 3e-9, rtol=0.01)
    assert found[3] == 0.0
    asked.clear()
    found = largest_certified(holds, 4, known=np.array([2e-9, 4.0, np.inf, 0.0]))
    assert found[2] == np.inf
    assert max(part.max() for part in asked) == 8.0
    np.testing.assert_allclose(found[:2], limit[:2], rtol=0.011)
