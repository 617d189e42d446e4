"""Margins in boxes against brute force: bounds hold, attacks are attacks, branch and bound closes what is between."""

from itertools import product

import numpy as np
import pytest

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.boxes.attack import attack_boxes
from cvxrobust.core.attacks.boxes.certify import SMALL, certified
from cvxrobust.core.attacks.boxes.exact import worst_in_box
from cvxrobust.core.attacks.boxes.factors import Shape, multipliers_of, proved, starts, swept
from cvxrobust.core.attacks.boxes.margins import Boxes, BoxMargins
from cvxrobust.core.attacks.boxes.shor import shor_bounds
from cvxrobust.core.attacks.complement import Complement
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.errors import InputError


def least_in_box(C, h):
    """``min 2 h'e + e'C e`` over ``|e_k| <= 1``, face by face: every coordinate at an end, or free."""
    best = 0.0
    for sides in product((-1.0, 0.0, 1.0), repeat=h.size):
        e = np.array(sides)
        free = e == 0.0
        if free.any():
            inner = C[np.ix_(free, free)]
            if np.linalg.eigvalsh(inner)[0] <= 1e-12:
                continue
            e[free] = -np.linalg.solve(inner, (h + C @ e)[free])
            if np.abs(e).max() > 1.0:
                continue
        best = min(best, float(2.0 * h @ e + e @ C @ e))
    return best


def network(rng, d, a=None):
    m = int(rng.integers(1, 2 * d + 2))
    u = rng.standard_normal((m, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    curve = float(rng.choice([-1.0, 0.09, 1.0])) if a is None else a
    return Quadratic.of(u, 3.0 * rng.standard_normal(m), (curve, 0.5, 0.47))


def case(seed, n=6):
    """A network, samples and their boxes: scales, immutable inputs, radii of 0, and a range now and then."""
    rng = np.random.default_rng(seed)
    d = int(rng.integers(1, 6))
    f, X, signs = network(rng, d), rng.uniform(-1.0, 1.0, (n, d)), rng.choice([-1.0, 1.0], n)
    scale = rng.uniform(0.1, 2.0, d) * (rng.random(d) > 0.2)
    radius = rng.uniform(0.0, 1.0, n) * (rng.random(n) > 0.1)
    ellipsoid = Ellipsoid.of(d, scale) if rng.random() < 0.7 else None
    attack = AttackBall.of_shape("inf", radius, d, ellipsoid)
    low, high = (np.full(d, -1.0), np.full(d, 1.0)) if seed % 2 else (None, None)
    boxes = Boxes.around(X, attack, low, high)
    return f, X, signs, attack, boxes, BoxMargins.of_quadratic(f, signs, boxes)


@pytest.mark.parametrize("seed", range(25))
def test_bounds_hold_and_branch_and_bound_is_exact(seed):
    f, _, signs, _, boxes, margins = case(seed)
    found = shor_bounds(margins, tolerance=1e-8)
    e, values = attack_boxes(margins, np.random.default_rng(0))
    points = margins.points(boxes, e)
    np.testing.assert_allclose(signs * f.expand(points)[0], values, atol=1e-9)
    assert (np.abs(points - boxes.centres) <= boxes.widths + 1e-15).all()
    for i, C in enumerate(margins.matrices()):
        exact = least_in_box(C[:-1, :-1], C[:-1, -1]) + margins.values[i]
        size = 1e-6 * (1.0 + np.abs(C).sum())
        assert found.lower[i] <= exact + 1e-12 <= values[i] + 2e-12
        assert found.relaxed[i] - size <= found.lower[i]
        assert found.relaxed[i] <= exact + size
        worst = worst_in_box(margins.rows(np.array([i])), seconds=60.0)
        assert worst.lower <= exact + 1e-12 <= worst.value + 2e-12
        assert exact - size <= worst.lower
        assert worst.value <= exact + size


def test_the_relaxation_is_that_of_cvxpy():
    cp = pytest.importorskip("cvxpy")
    _, _, _, _, _, margins = case(4)
    lower = shor_bounds(margins, tolerance=1e-9).lower
    for i, C in enumerate(margins.matrices()):
        X = cp.Variable(C.shape, PSD=True)
        limits = [cp.diag(X)[:-1] <= 1.0, X[-1, -1] == 1.0]
        value = cp.Problem(cp.Minimize(cp.trace(C @ X)), limits).solve(solver="CLARABEL") + margins.values[i]
        assert lower[i] == pytest.approx(value, abs=1e-6 * (1.0 + np.abs(C).sum()))


@pytest.mark.parametrize("d", [5, SMALL + 10])
def test_what_is_certified_no_attack_breaks_and_hardly_anything_is_left_open(d):
    rng = np.random.default_rng(d)
    f, X = network(rng, d, 0.09), rng.standard_normal((60, d))
    signs = np.where(f.expand(X)[0] >= 0.0, 1.0, -1.0)
    margins = BoxMargins.of_quadratic(f, signs, Boxes.around(X, AttackBall("inf", np.full(60, 1.0 / d), d)))
    held = certified(margins)
    _, values = attack_boxes(margins, rng)
    assert (values[held] > 0.0).all()
    assert held.any()
    assert not held.all()
    # In general some stay open; of these, with hardly any curvature, none.
    assert ((values > 0.0) == held).all()


def test_multipliers_of_factors_prove_what_interior_points_do():
    rng = np.random.default_rng(0)
    f, X = network(rng, 12, 1.0), rng.standard_normal((80, 12))
    signs = np.where(f.expand(X)[0] >= 0.0, 1.0, -1.0)
    margins = BoxMargins.of_quadratic(f, signs, Boxes.around(X, AttackBall("inf", np.full(80, 0.05), 12)))
    shape, V = Shape.of(margins.P), starts(margins, 3, rng)
    relaxed = swept(margins, V, 300, shape)
    lower = shor_bounds(margins).lower
    np.testing.assert_allclose(relaxed, lower, atol=1e-5)
    good = proved(margins, multipliers_of(margins, V, shape), 0.0)
    assert not (good & (lower <= 0.0)).any()
    assert (good == (lower > 0.0))[np.abs(lower) > 1e-4].all()
    # Multipliers that are wrong prove nothing that is false.
    junk = rng.uniform(0.0, 1.0, (80, 13))
    assert not (proved(margins, junk, 0.0) & (relaxed <= 0.0)).any()


@pytest.mark.parametrize("some", [False, True])
def test_neurons_that_are_spread_are_seen_as_a_whole(some):
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.standard_normal((5, 2)))[0]
    if some:  # two directions of three inputs; nothing bends along the other two
        basis[3:] = 0.0
        basis[:3] = np.linalg.qr(rng.standard_normal((3, 2)))[0]
    inside = 0.7 * rng.standard_normal((4, 2))
    u = inside / np.maximum(np.linalg.norm(inside, axis=1, keepdims=True), 1.0) @ basis.T
    f = Quadratic.of(u, rng.standard_normal(4), (1.0, 0.5, 0.47), Complement(basis, np.arange(3) if some else None))
    X, signs = rng.standard_normal((10, 5)), rng.choice([-1.0, 1.0], 10)
    boxes = Boxes.around(X, AttackBall("inf", np.full(10, 0.4), 5))
    margins = BoxMargins.of_quadratic(f, signs, boxes)
    e = rng.uniform(-1.0, 1.0, (10, 5))
    np.testing.assert_allclose(margins.at(e), signs * f.expand(margins.points(boxes, e))[0], atol=1e-12)


def test_a_range_cuts_boxes_off():
    X = np.array([[0.0, 0.5, 1.0]])
    boxes = Boxes.around(X, AttackBall("inf", np.full(1, 0.3), 3), np.zeros(3), np.ones(3))
    np.testing.assert_allclose(boxes.centres, [[0.15, 0.5, 0.85]], atol=1e-15)
    np.testing.assert_allclose(boxes.widths, [[0.15, 0.3, 0.15]], atol=1e-14)
    assert (boxes.centres - boxes.widths <= [[0.0, 0.2, 0.7]]).all()
    assert (boxes.centres + boxes.widths >= [[0.3, 0.8, 1.0]]).all()


def test_balls_of_other_norms_are_no_boxes():
    with pytest.raises(InputError, match="norm 2; boxes are those in norm inf"):
        Boxes.around(np.zeros((1, 2)), AttackBall(2, np.ones(1), 2))
