"""Boxes that a range of inputs cuts off hold just the attacked inputs in it, and answer as boxes do."""

import itertools

import numpy as np
import pytest

from cvxrobust import InputError
from cvxrobust.core.attacks import relu_bounds, relu_exact
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid
from cvxrobust.core.attacks.ranges import cut_off

seeds = pytest.mark.parametrize("seed", range(4))
LOW, HIGH = np.zeros(3), np.ones(3)


def cut(seed):
    """Inputs in the unit cube, some at its ends, the attacks on them, and what is left of these."""
    rng = np.random.default_rng(seed)
    X = np.clip(rng.uniform(-0.2, 1.2, (12, 3)), 0.0, 1.0)
    shape = None if seed % 2 else Ellipsoid.of(3, np.array([1.0, 0.0, 0.6]))
    ball = AttackBall("inf", rng.uniform(0.0, 0.6, 12) * (np.arange(12) > 1), 3, shape)
    return X, ball, *cut_off(X, ball, LOW, HIGH)


def ends(X, ball):
    """The least and the largest attacked inputs in the range."""
    reach = ball.radius[:, None] * ball.pushed(np.ones(ball.dimension))
    return np.maximum(X - reach, LOW), np.minimum(X + reach, HIGH)


@seeds
def test_what_is_left_is_the_attacked_inputs_in_the_range(seed):
    X, ball, middles, left = cut(seed)
    least, most = ends(X, ball)
    assert np.allclose(middles - left.extent * (ball.pushed(np.ones(ball.dimension))), least, atol=1e-14)
    assert np.allclose(middles + left.extent * (ball.pushed(np.ones(ball.dimension))), most, atol=1e-14)
    for up in itertools.product((False, True), repeat=3):
        assert left.contains((1.0 - 1e-12) * (np.where(up, most, least) - middles)).all()
    outside = np.where(np.arange(3) == 2, most + 1e-6, middles)
    assert not left.contains(outside - middles).any()
    rng = np.random.default_rng(seed)
    points = middles + left.sample(rng)
    assert ((points >= LOW - 1e-15) & (points <= HIGH + 1e-15)).all()
    assert left.contains(left.shortened(rng.normal(size=X.shape))).all()
    far = rng.normal(size=X.shape)
    assert np.allclose(middles + left.project(far), np.clip(middles + far, least, most), atol=1e-14)


@seeds
def test_the_dual_norms_are_the_most_that_attacks_add(seed):
    X, ball, middles, left = cut(seed)
    least, most = ends(X, ball)
    G = np.random.default_rng(seed).normal(size=(12, 2, 3))
    own = np.einsum("ijd,id->ij", np.maximum(G, 0.0), most) - np.einsum("ijd,id->ij", np.maximum(-G, 0.0), least)
    own -= np.einsum("ijd,id->ij", G, middles)
    assert np.allclose(left.reach(G), own)
    assert np.allclose(np.stack([left.reaches(g)[i] for i, g in enumerate(G)]), own)
    worst = left.extent[:, None, :] * left.maximiser(G)
    assert np.allclose((worst * G).sum(-1), own)
    rows = np.array([5, 5, 2])
    assert np.allclose(left.of(rows).reach(G[rows]), own[rows])
    assert left.shape == "cut box"
    assert left.like(G) is left


def test_what_no_range_cuts_stays_as_it_is_to_the_last_digit():
    X, ball, *_ = cut(1)
    assert cut_off(X, ball, np.full(3, -np.inf), np.full(3, np.inf)) == (X, ball)
    middles, left = cut_off(X, ball, np.array([0.0, -9.0, -9.0]), np.full(3, 9.0))
    assert np.array_equal(middles[:, 1:], X[:, 1:])
    assert (left.widths[2:, 1:] == 1.0).all()


def test_balls_of_other_norms_are_not_cut_off():
    with pytest.raises(InputError, match="only boxes, norm inf, can be cut off"):
        AttackBall(2, np.ones(2), 3, None, np.ones((2, 3)))


@seeds
def test_margins_of_relu_networks_lie_between_bounds_and_attacks(seed):
    X, ball, middles, left = cut(seed)
    least, most = ends(X, ball)
    rng = np.random.default_rng(seed)
    contests = relu_bounds.Contests(
        rng.normal(size=(5, 3)), rng.normal(size=5), rng.normal(size=(12, 5)), middles, left
    )  # fmt: skip
    lower, (points, found) = relu_bounds.lower_bounds(contests, 10), relu_bounds.attack(contests, 10, 2, rng)
    assert (lower <= found + 1e-12).all()
    assert ((points >= least - 1e-12) & (points <= most + 1e-12)).all()
    exact = relu_exact.worst_cases(contests, 12, relu_exact.Clock(None, 12))
    shares = np.stack(np.meshgrid(*[np.linspace(0.0, 1.0, 7)] * 3), axis=-1).reshape(-1, 3)
    grid = np.stack([contests.expand(least + share * (most - least))[0] for share in shares])
    assert (exact.lower <= grid.min(axis=0) + 1e-9).all()
    assert (exact.values >= exact.lower - 1e-9).all()
    assert (exact.values - exact.lower <= exact.tolerance + 1e-9).all()
