"""Ellipsoids, and scaled balls of the other norms, answer as balls do, through S."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from cvxrobust import InputError
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.ellipsoid import Ellipsoid

RNG = np.random.default_rng(0)
S = RNG.standard_normal((5, 3))
SHAPES = {
    "scale": Ellipsoid.of(5, scale=[1.0, 0.0, 0.3, 2.0, 0.0]),
    "whole scale": Ellipsoid.of(5, scale=RNG.uniform(0.2, 2.0, 5)),
    "covariance": Ellipsoid.of(5, covariance=S @ S.T),
    "directions": Ellipsoid.of(5, directions=S),
    "too many directions": Ellipsoid.of(5, directions=np.hstack([S, S[:, :1], S @ S.T])),
}
shapes = pytest.mark.parametrize("name", SHAPES)
SETS = [(2, name) for name in SHAPES] + list(product(["inf", 1], ["scale", "whole scale"]))
sets = pytest.mark.parametrize(("norm", "name"), SETS)


def attack_of(name, norm=2):
    return AttackBall(norm, RNG.uniform(0.1, 2.0, 40), 5, SHAPES[name])


def test_ranks_are_those_of_the_sets():
    assert [ellipsoid.rank for ellipsoid in SHAPES.values()] == [3, 5, 3, 3, 3]
    assert Ellipsoid.of(5) is None
    assert Ellipsoid.of(5, scale=np.zeros(5)).rank == 0
    assert Ellipsoid.of(5, directions=np.zeros((5, 2))).rank == 0


def test_no_direction_is_lost_to_the_units_of_another():
    """What counts as zero is relative to each input's own size: raw units span many orders of magnitude."""
    units = 10.0 ** np.array([-8.0, -3.0, 0.0, 4.0, 9.0])
    root = units[:, None] * np.linalg.cholesky(np.eye(5) + 0.3)
    shapes = [
        {"covariance": root @ root.T},
        {"directions": root},
        {"directions": np.hstack([root, root]) / np.sqrt(2.0)},
    ]
    for found in (Ellipsoid.of(5, **described) for described in shapes):
        assert found.rank == 5
        unit = found.pushed(np.eye(5)) / units
        np.testing.assert_allclose(unit.T @ unit, np.eye(5) + 0.3, atol=1e-12)
    assert Ellipsoid.of(5, covariance=np.outer(units, units)).rank == 1


@sets
def test_vectors_and_matrices_are_seen_through_s(norm, name):
    attack, G, P = attack_of(name, norm), RNG.standard_normal((40, 5)), RNG.standard_normal((5, 5))
    whole, P = attack.spanned(None), P + P.T
    assert whole.shape == (5, attack.dimension)
    np.testing.assert_allclose(attack.pulled(G), G @ whole, atol=1e-14)
    np.testing.assert_allclose(attack.seen(P), whole.T @ P @ whole, atol=1e-13)
    e = RNG.standard_normal((40, attack.dimension))
    np.testing.assert_allclose(attack.pushed(e), e @ whole.T, atol=1e-14)
    np.testing.assert_allclose(attack.coordinates(attack.pushed(e)), e, atol=1e-12)
    M = e.T @ e
    np.testing.assert_allclose(attack.spread(M), whole @ M @ whole.T, atol=1e-12)
    np.testing.assert_allclose(attack.axes(7).toarray()[:, :5], whole.T, atol=1e-15)
    if norm == 2:
        assert attack.euclidean_reach == pytest.approx(np.linalg.norm(whole, 2))
        turn, _ = np.linalg.qr(RNG.standard_normal((attack.dimension, attack.dimension)))
        np.testing.assert_allclose(attack.turned(turn).spanned(None), whole @ turn, atol=1e-14)


@sets
def test_linear_functions_projections_and_random_attacks(norm, name):
    attack, G = attack_of(name, norm), RNG.standard_normal((40, 5))
    z = attack.maximiser(G)
    assert np.einsum("ij,ij->i", G, z) == pytest.approx(attack.dual_norm(G), rel=1e-12)
    assert (attack.size(z) <= 1.0 + 1e-12).all()
    assert (np.linalg.norm(z, axis=1) <= attack.euclidean_reach * (1.0 + 1e-12)).all()
    random = attack.sample(np.random.default_rng(1))
    assert attack.contains(random * (1.0 - 1e-12)).all()
    assert (np.einsum("ij,ij->i", G, random) <= attack.radius * attack.dual_norm(G) * (1.0 + 1e-12)).all()
    near = attack.project(10.0 * G)
    assert attack.contains(near * (1.0 - 1e-9)).all()
    for other in (random, attack.radius[:, None] * z):
        assert (np.einsum("ij,ij->i", 10.0 * G - near, other - near) <= 1e-8).all()


@sets
def test_no_unit_attack_is_longer_than_the_euclidean_reach_and_one_is_as_long(norm, name):
    attack = AttackBall(norm, np.ones(500), 5, SHAPES[name])
    ends = attack.maximiser(np.sign(RNG.standard_normal((500, 5))))
    far = attack.pushed(attack.geometry.maximiser(np.eye(attack.dimension)))
    if SHAPES[name].directions is not None:
        far = attack.maximiser(np.linalg.svd(SHAPES[name].directions)[0][:, :1].T)
    lengths = np.linalg.norm(np.vstack([attack.sample(np.random.default_rng(1)), ends, far]), axis=1)
    assert lengths.max() == pytest.approx(attack.euclidean_reach)


@sets
def test_what_may_stand_in_a_certificate_is_a_unit_attack_and_the_nearest(norm, name):
    attack, P = attack_of(name, norm), 3.0 * RNG.standard_normal((40, 5))
    inside = attack.inside(P)
    assert (attack.size(inside) <= 1.0 + attack.unnoticed * 1e3).all()
    np.testing.assert_allclose(inside, attack.nearest(P), atol=1e-12)
    np.testing.assert_allclose(attack.inside(0.1 * inside), 0.1 * inside, atol=1e-12)
    for other in (attack.sample(np.random.default_rng(3)) / attack.radius[:, None], attack.maximiser(P - inside)):
        assert (np.einsum("ij,ij->i", P - inside, other - inside) <= 1e-8).all()


@sets
def test_attacks_see_nothing_of_what_they_do_not_reach(norm, name):
    attack, G = attack_of(name, norm), RNG.standard_normal((40, 6))
    rest = attack.unseen(G)
    assert np.array_equal(rest[:, 5], G[:, 5])
    assert (attack.dual_norm(rest) <= attack.unnoticed * np.linalg.norm(G, axis=1)).all()
    np.testing.assert_allclose((G - rest)[:, :5] @ rest[:, :5].T, 0.0, atol=1e-12)
    assert (attack.dual_norm(G) <= attack.magnitude(G) * (1.0 + 1e-12)).all()
    assert SHAPES[name].scale is None or np.array_equal(attack.dual_norm(G), attack.magnitude(G))


@sets
def test_what_is_no_attack_is_made_one_and_what_is_stays(norm, name):
    attack = attack_of(name, norm)
    inside = 0.999 * attack.sample(np.random.default_rng(2))
    np.testing.assert_allclose(attack.shortened(inside), inside, atol=1e-13)
    far = replace(attack, radius=np.full(attack.radius.shape, 1e4))
    np.testing.assert_array_equal(far.shortened(0.0 * inside), 0.0)  # no warning, whatever the radius
    outside = attack.shortened(10.0 * RNG.standard_normal((40, 5)))
    assert attack.contains(outside * (1.0 - 1e-12)).all()
    assert not attack.contains(RNG.standard_normal((40, 5)) * 10.0).any()


@shapes
def test_what_a_subspace_sees_is_made_of_the_same_coordinates(name):
    attack = attack_of(name)
    basis, _ = np.linalg.qr(RNG.standard_normal((5, 2)))
    seen, frame = attack.within(basis)
    np.testing.assert_allclose(frame.T @ frame, np.eye(frame.shape[1]), atol=1e-14)
    np.testing.assert_allclose(seen.spanned(None) @ frame.T, basis.T @ attack.spanned(None), atol=1e-14)


@sets
def test_tensors_are_answered_as_arrays_are(norm, name):
    torch = pytest.importorskip("torch")
    attack, G = attack_of(name, norm), RNG.standard_normal((40, 5))
    there, V = attack.like(torch.tensor(G)), torch.tensor(G)
    e, P = RNG.standard_normal((40, attack.dimension)), G.T @ G
    for found, expected in [
        (there.pulled(V), attack.pulled(G)),
        (there.pushed(torch.tensor(e)), attack.pushed(e)),
        (there.seen(torch.tensor(P)), attack.seen(P)),
        (there.dual_norm(V), attack.dual_norm(G)),
        (there.maximiser(V), attack.maximiser(G)),
        (there.project(3.0 * V), attack.project(3.0 * G)),
        (there.coordinates(V), attack.coordinates(G)),
        (there.radius, attack.radius),
    ]:
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_a_scale_of_ones_is_no_scale_and_a_constant_is_a_larger_radius(norm):
    radius, G = RNG.uniform(0.1, 2.0, 40), 2.0 * RNG.standard_normal((40, 5))
    ball, same = AttackBall(norm, radius, 5), AttackBall(norm, radius, 5, Ellipsoid.of(5, scale=np.ones(5)))
    larger, tripled = AttackBall(norm, 3 * radius, 5), AttackBall(norm, radius, 5, Ellipsoid.of(5, scale=np.full(5, 3)))
    for one, other, factor in ((ball, same, 1.0), (larger, tripled, 3.0)):
        np.testing.assert_allclose(one.project(G), other.project(G), atol=1e-12)
        np.testing.assert_allclose(factor * one.dual_norm(G), other.dual_norm(G), rtol=1e-14)
        np.testing.assert_allclose(factor * one.maximiser(G), other.maximiser(G), rtol=1e-14)
        assert factor * one.euclidean_reach == pytest.approx(other.euclidean_reach)
        assert [one.shape, other.shape] == ["ball", "ellipsoid" if norm == 2 else "scaled ball"]


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_attacks_that_reach_nothing_leave_all_as_it_is(norm):
    nowhere, G = AttackBall(norm, np.ones(4), 3, Ellipsoid.of(3, scale=np.zeros(3))), RNG.standard_normal((4, 3))
    assert not nowhere.present
    assert nowhere.euclidean_reach == 0.0
    for none in (nowhere.dual_norm(G)[:, None], nowhere.maximiser(G), nowhere.project(G), nowhere.inside(G)):
        assert not none.any()
    assert not nowhere.sample(np.random.default_rng(0)).any()
    assert np.array_equal(nowhere.unseen(G), G)


@pytest.mark.parametrize("norm", ["inf", 1])
def test_directions_are_of_norm_two(norm):
    with pytest.raises(InputError, match=f"norm is {norm!r}, but attacks in directions of their own"):
        AttackBall(norm, np.ones(3), 5, SHAPES["directions"])


def test_shapes_are_of_as_many_inputs():
    ellipsoid = SHAPES["scale"]
    with pytest.raises(InputError, match="the ellipsoid of the attacks has 5 inputs; expected 4"):
        AttackBall(2, np.ones(3), 4, ellipsoid)


@pytest.mark.parametrize("seed", range(20))
def test_what_has_no_covariance_and_no_direction_is_touched_by_no_rounding(seed):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(3, 12))
    S = rng.standard_normal((d, d + 2))
    immutable = np.sort(rng.choice(d, max(1, d // 3), replace=False))
    S[immutable] = 0.0
    for given in ({"covariance": S @ S.T}, {"directions": S}):
        found = Ellipsoid.of(d, **given)
        assert found.immutable == tuple(immutable)
        moves = found.pushed(rng.standard_normal((50, found.rank)))
        assert not moves[:, immutable].any()
        np.testing.assert_allclose(found.pushed(found.pushed(np.eye(found.rank)).T), S @ S.T, atol=1e-12)
    assert Ellipsoid.of(3, scale=[0.0, 1.0, 0.0]).immutable == (0, 2)
