"""ReLU networks under attacks with a shape: bounds, attacks and exact worst cases against a cover of the whole set."""

from itertools import product

import numpy as np
import pytest

from cvxrobust import InputError
from cvxrobust.core import AttackBall, Ellipsoid, ReLUNetwork

D = 4
RNG = np.random.default_rng(0)
S = RNG.standard_normal((D, 2))
SHAPES = {
    "scale": Ellipsoid.of(D, scale=[0.5, 0.0, 2.0, 0.0]),
    "one input": Ellipsoid.of(D, scale=[0.0, 0.0, 0.0, 1.5]),
    "covariance": Ellipsoid.of(D, covariance=S @ S.T),
    "directions": Ellipsoid.of(D, directions=S),
}
SETS = [(2, name) for name in SHAPES] + list(product(["inf", 1], ["scale", "one input"]))
sets = pytest.mark.parametrize(("norm", "name"), SETS)
CLASSES = ("ash", "birch", "cedar")


def instances(norm, ellipsoid):
    """Networks with inputs and labels: one output and three classes, with bias and without."""
    for seed, (outputs, bias) in enumerate(product((1, 3), (False, True))):
        rng = np.random.default_rng(seed)
        alpha = rng.standard_normal((7, outputs)) if outputs > 1 else rng.standard_normal(7)
        named = {"classes": CLASSES} if outputs > 1 else {}
        network = ReLUNetwork(rng.standard_normal((7, D + bias)), alpha, bias, norm=norm, ellipsoid=ellipsoid, **named)
        X = rng.standard_normal((5, D))
        yield network, X, rng.choice(CLASSES if outputs > 1 else [-1.0, 1.0], 5)


def cover(norm, ellipsoid):
    """Points that cover the attacks of radius 1, those at its corners included."""
    axis = np.linspace(-1.0, 1.0, 121)
    square = np.array(list(product(*[axis] * ellipsoid.rank)))
    attack = AttackBall(norm, np.ones(len(square)), D, ellipsoid)
    size = attack.geometry.size(square)
    # Shrink each square's surface to that of the ball: a radial map that keeps the centre.
    return attack.pushed(square * (np.abs(square).max(axis=1) / np.where(size > 0.0, size, 1.0))[:, None])


@sets
def test_worst_cases_are_those_of_the_whole_set(norm, name):
    moves, radius = cover(norm, SHAPES[name]), np.array([0.1, 0.3, 0.7, 1.0, 2.0])
    for network, X, y in instances(norm, SHAPES[name]):
        samples = zip(X, radius, y, strict=True)
        everywhere = np.array([network.margins(x + r * moves, [t] * len(moves)).min() for x, r, t in samples])
        found, exact = network.attack(X, y, radius), network.exact_worst_case(X, y, radius)
        lower = network.lower_bound(X, y, radius)
        assert (lower <= everywhere + 1e-12).all()
        assert (exact.lower <= everywhere + 1e-12).all()
        assert exact.proven.all()
        assert exact.margins == pytest.approx(exact.lower, abs=1e-3)
        # The cover is as fine as this, and no attack leaves the set.
        assert (exact.margins >= everywhere - 0.05 * radius * (1.0 + np.abs(everywhere))).all()
        assert (exact.margins <= everywhere + 1e-4).all()
        assert (found.margins >= exact.lower - 1e-12).all()
        for points in (found.points, exact.points):
            attack = AttackBall(norm, radius, D, SHAPES[name])
            assert attack.contains((points - X) * (1.0 - 1e-9)).all()
            if SHAPES[name].scale is not None:
                assert np.array_equal(points[:, SHAPES[name].scale == 0.0], X[:, SHAPES[name].scale == 0.0])


@sets
def test_accuracies_and_certified_radii_are_about_the_shape(norm, name):
    moves = cover(norm, SHAPES[name])
    for network, X, _ in instances(norm, SHAPES[name]):
        labels, radius = network.predict(X), network.certified_radius(X)
        assert (radius > 0.0).all()
        for x, label, r in zip(X, labels, radius, strict=True):
            assert (network.predict(x + r * moves) == label).all()
        radii = np.sort(radius) * (1.0 + 1e-6)
        certified = network.certified_accuracy(X, labels, radii)
        assert (certified <= network.attacked_accuracy(X, labels, radii)).all()
        # The same attacks, a quarter as large, four times the radius.
        parts = SHAPES[name].scale, SHAPES[name].directions
        quarter = Ellipsoid(*(None if part is None else 0.25 * part for part in parts))
        assert network.replace(ellipsoid=quarter).certified_radius(X) == pytest.approx(4.0 * radius, rel=1e-9)


def test_another_norm_may_be_asked_for_but_not_with_directions():
    (network, X, y), *_ = instances("inf", SHAPES["scale"])
    for norm in (2, 1):
        own = network.replace(norm=norm)
        assert np.array_equal(network.lower_bound(X, y, 0.3, norm), own.lower_bound(X, y, 0.3))
        assert np.array_equal(network.certified_radius(X, norm), own.certified_radius(X))
    (network, X, y), *_ = instances(2, SHAPES["directions"])
    with pytest.raises(InputError, match="directions of their own"):
        network.lower_bound(X, y, 0.3, "inf")
    with pytest.raises(InputError, match="the ellipsoid of the attacks has 4 inputs; expected 3"):
        ReLUNetwork(np.ones((1, 3)), np.ones(1), ellipsoid=SHAPES["scale"])
