"""Decomposed vectors keep their gates, add up, and are as short as a conic model can make them."""

import cvxpy as cp
import numpy as np
import pytest

from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.programs.gated.cones import interior
from cvxrobust.core.programs.gated.evaluation import EPS, FEASIBLE
from cvxrobust.problems.relu import decomposition
from cvxrobust.problems.relu.decomposition import decompose
from cvxrobust.problems.relu.gates.cones import resampled

DUAL = {"inf": 1, 2: 2, 1: np.inf}
CASES = [
    (norm, bias, radius) for norm in ("inf", 2, 1) for bias in (False, True) for radius in (0.0, 0.03, 0.1)
]  # fmt: skip
cases = pytest.mark.parametrize(("norm", "bias", "scale"), CASES, ids=str)


def cone(norm, bias, scale, n=40, d=6, seed=0):
    """Data, patterns that carry and what else describes their cones."""
    rng = np.random.default_rng([seed, n, d])
    X = rng.standard_normal((n, d))
    X = np.hstack([X, np.ones((n, 1))]) if bias else X
    attack = AttackBall(norm, scale * rng.uniform(0.3, 1.0, n), d)
    return X, resampled(X, 4, 1, attack), attack


def slacks(u, X, pattern, attack):
    reach = np.linalg.norm(u[: attack.attackable], DUAL[attack.norm])
    return np.where(pattern, 1.0, -1.0) * (X @ u) - attack.radius * reach


def assert_decomposes(found, u, X, pattern, attack):
    assert found.exact
    for part in (found.v, found.w):
        rounding = FEASIBLE * np.linalg.norm(X, axis=1) * np.linalg.norm(part)
        assert (slacks(part, X, pattern, attack) >= -rounding).all()
    np.testing.assert_allclose(found.v - found.w, u, rtol=0, atol=8e-16 * np.abs([found.v, found.w]).max())


def length(found):
    return np.linalg.norm(found.v) + np.linalg.norm(found.w)


def shortest(u, X, pattern, attack):
    """The least sum of lengths, from a conic model."""
    v, w = cp.Variable(u.size), cp.Variable(u.size)
    turned = np.where(pattern, 1.0, -1.0)[:, None] * X
    reach = [attack.radius * cp.norm(part[: attack.attackable], DUAL[attack.norm]) for part in (v, w)]
    held = [turned @ v >= reach[0], turned @ w >= reach[1]]
    return float(cp.Problem(cp.Minimize(cp.norm(v) + cp.norm(w)), [v - w == u, *held]).solve(solver="CLARABEL"))


@cases
def test_both_parts_are_in_the_cone_and_no_longer_than_they_must_be(norm, bias, scale):
    X, gates, *rest = cone(norm, bias, scale)
    rng = np.random.default_rng(2)
    for pattern, inside in zip(gates.patterns.T, gates.vectors.T, strict=True):
        random = rng.standard_normal(X.shape[1])
        # Far from the cone, near it and near its negative.
        for u in (random, inside / np.linalg.norm(inside) + 0.1 * random, 0.2 * random - 3.0 * inside):
            found = decompose(u, X, pattern, *rest)
            assert_decomposes(found, u, X, pattern, *rest)
            assert length(found) == pytest.approx(shortest(u, X, pattern, *rest), rel=1e-5)


@cases
def test_a_vector_that_fits_stays_whole(norm, bias, scale):
    X, gates, *rest = cone(norm, bias, scale)
    for pattern, u in zip(gates.patterns.T, gates.vectors.T, strict=True):
        found = decompose(u, X, pattern, *rest)
        assert found.exact
        np.testing.assert_array_equal(found.v, u)
        np.testing.assert_array_equal(found.w, np.zeros_like(u))
        found = decompose(-u, X, pattern, *rest)
        assert found.exact
        np.testing.assert_array_equal(found.v, np.zeros_like(u))
        np.testing.assert_array_equal(found.w, u)


def test_a_vector_on_the_boundary_up_to_rounding_stays_whole():
    X, pattern = np.eye(2), np.ones(2, dtype=bool)
    found = decompose(np.array([1.0, -1e-16]), X, pattern, AttackBall(2, np.zeros(2), 2))
    assert found.exact
    assert found.w.tolist() == [0.0, 0.0]
    found = decompose(np.array([1.0, -1e-12]), X, pattern, AttackBall(2, np.zeros(2), 2))
    assert found.w[1] >= 1e-12


def test_positive_and_negative_parts_are_found_in_the_orthant():
    u = np.array([3.0, -4.0, 0.5, 0.0])
    found = decompose(u, np.eye(4), np.ones(4, dtype=bool), AttackBall("inf", np.zeros(4), 4))
    np.testing.assert_allclose(found.v, np.maximum(u, 0.0), atol=1e-7)
    np.testing.assert_allclose(found.w, np.maximum(-u, 0.0), atol=1e-7)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("size", [1e-250, 1e-8, 1e8, 1e250])
def test_size_does_not_matter(norm, size):
    X, gates, *rest = cone(norm, False, 0.05)
    u = np.random.default_rng(0).standard_normal(6)
    plain = decompose(u, X, gates.patterns[:, 0], *rest)
    found = decompose(size * u, X, gates.patterns[:, 0], *rest)
    np.testing.assert_allclose(found.v / size, plain.v, rtol=1e-6)
    np.testing.assert_allclose(found.w / size, plain.w, rtol=1e-6)
    assert found.exact


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("scale", [0.0, 0.05])
def test_without_least_squares_the_interior_is_enough(norm, scale, monkeypatch):
    X, gates, *rest = cone(norm, True, scale)
    u, pattern = np.random.default_rng(3).standard_normal(7), gates.patterns[:, 1]
    best = decompose(u, X, pattern, *rest)
    inside = interior(X, pattern, *rest)
    monkeypatch.setattr(decomposition, "_least_distance", lambda rows, limits: None)
    found = decompose(u, X, pattern, *rest, inside)
    assert_decomposes(found, u, X, pattern, *rest)
    assert length(found) > length(best)
    # The least multiple of that vector does it.
    far = found.w @ inside.direction
    np.testing.assert_allclose(found.w, far * inside.direction, atol=1e-12)
    least = slacks(u + 0.999 * far * inside.direction, X, pattern, *rest).min()
    assert least < 0.0


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_thin_cones_make_long_but_exact_parts(norm):
    X = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, -1.0]])
    pattern, attack = np.ones(3, dtype=bool), AttackBall(norm, np.full(3, 1.0 - 1e-6), 2)
    u = np.array([0.0, 1.0])
    found = decompose(u, X, pattern, attack)
    assert_decomposes(found, u, X, pattern, attack)
    assert length(found) > 1e2
    for part in (found.v, found.w):
        # No constraint is met by rounding alone.
        precise = slacks(part.astype(np.longdouble), X.astype(np.longdouble), pattern, attack)
        assert (precise > 2.0 * EPS * np.linalg.norm(X, axis=1) * np.linalg.norm(part)).all()


def test_constraints_that_exclude_each_other_have_no_shortest_vector():
    assert decomposition._least_distance(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, 1.0])) is None
    shortest_one, active = decomposition._least_distance(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, -1.0]))
    np.testing.assert_allclose(shortest_one, [1.0, 0.0])
    assert active.tolist() == [True, False]


# -- cones without an interior ----------------------------------------------------------------------------------------

OPPOSITE = np.array([[1.0, 2.0, 0.0], [-0.5, -1.0, 0.0], [0.0, 0.0, 1.0]])


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_in_a_flat_cone_only_vectors_of_its_plane_have_parts(norm):
    pattern, attack = np.ones(3, dtype=bool), AttackBall(norm, np.zeros(3), 3)
    # The plane has an orthant of two sides, and this vector lies in neither it nor its negative.
    X, u = np.zeros((4, 4)), np.array([2.0, -1.0, -3.0, 1.0])
    X[:3, :3] = OPPOSITE
    X[3, 3] = 1.0
    rest = (X, np.ones(4, dtype=bool), AttackBall(norm, np.zeros(4), 4))
    found = decompose(u, *rest)
    assert_decomposes(found, u, *rest)
    np.testing.assert_allclose(found.w, [0.0, 0.0, 3.0, 0.0], atol=3.0)
    u = np.array([2.0, -0.9, -3.0])
    found = decompose(u, OPPOSITE, pattern, attack)
    assert not found.exact
    np.testing.assert_array_equal(found.v, u)
    np.testing.assert_array_equal(found.w, np.zeros(3))


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_where_the_cone_is_a_point_only_zero_has_parts(norm):
    X = np.random.default_rng(0).standard_normal((30, 3))
    rest = (X, X[:, 0] > 0.0, AttackBall(norm, np.full(30, 3.0), 3))
    assert interior(*rest) is None
    u = np.ones(3)
    found = decompose(u, *rest)
    assert not found.exact
    np.testing.assert_array_equal(found.v, u)
    zero = decompose(np.zeros(3), *rest)
    assert zero.exact
    assert not np.any([zero.v, zero.w])


def test_attacked_samples_that_are_zero_leave_only_the_bias():
    X = np.array([[0.0, 0.0], [1.0, 1.0]])
    rest = (X, np.ones(2, dtype=bool), AttackBall("inf", np.full(2, 0.1), 1))
    assert decompose(np.array([0.0, 1.0]), *rest).exact
    assert not decompose(np.array([1.0, 1.0]), *rest).exact


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_come_back_as_they_are(value):
    u = np.array([1.0, value])
    found = decompose(u, np.eye(2), np.ones(2, dtype=bool), AttackBall(2, np.zeros(2), 2))
    assert not found.exact
    np.testing.assert_array_equal(found.v, u)
