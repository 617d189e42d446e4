"""One geometry per norm: support, its maximisers, nearest points and samples, the same on arrays of either kind."""

import re
from pathlib import Path

import numpy as np
import pytest

import cvxrobust
from cvxrobust.core.attacks.ball import AttackBall
from cvxrobust.core.attacks.norms import GEOMETRIES, NORMS

norms = pytest.mark.parametrize("norm", NORMS)
ORDER = {"inf": np.inf, 2: 2, 1: 1}


def vectors(n=60, d=5, seed=0):
    """Of all sizes, a zero, ties and a single coordinate among them; with a coordinate that attacks cannot touch."""
    rng = np.random.default_rng(seed)
    V = rng.standard_normal((n, d + 1)) * 10.0 ** rng.uniform(-2, 1, (n, 1))
    V[0], V[1], V[2, 1:] = 0.0, 1.0, 0.0
    return V


def ball(norm, n=60, d=5):
    radius = np.random.default_rng(1).uniform(0.1, 2.0, n)
    radius[3] = 0.0
    return AttackBall(norm, radius, d)


@norms
def test_the_maximiser_is_a_unit_attack_that_attains_the_dual_norm(norm):
    G, attack = vectors(), ball(norm)
    z, q = attack.maximiser(G), ORDER[attack.geometry.dual]
    assert z.shape == (60, 5)
    assert attack.dual_norm(G) == pytest.approx(np.linalg.norm(G[:, :5], q, axis=1), rel=1e-14)
    assert np.einsum("ij,ij->i", G[:, :5], z) == pytest.approx(attack.dual_norm(G), rel=1e-14)
    assert (np.linalg.norm(z, ORDER[norm], axis=1) <= 1.0 + 1e-15).all()
    others = AttackBall(norm, np.ones(60), 5).sample(np.random.default_rng(2))
    assert (np.einsum("ij,ij->i", G[:, :5], others) <= attack.dual_norm(G) * (1.0 + 1e-14)).all()


@norms
def test_the_projection_is_inside_nearest_and_leaves_attacks_alone(norm):
    D, attack, rng = vectors()[:, :5], ball(norm), np.random.default_rng(3)
    near = attack.project(D)
    assert (attack.size(near) <= attack.radius * (1.0 + 1e-14)).all()
    assert np.array_equal(near[attack.contains(D)], D[attack.contains(D)])
    assert attack.contains(D).any()
    assert not attack.contains(D).all()
    corners = attack.radius[:, None] * attack.maximiser(D - near)
    for other in (corners, *(attack.sample(rng) for _ in range(20))):
        assert attack.of(slice(None)).contains(other * (1.0 - 1e-15)).all()
        assert (np.einsum("ij,ij->i", D - near, other - near) <= 1e-13 * (1.0 + np.abs(D).max())).all()


@norms
def test_what_may_stand_in_a_certificate_is_a_unit_attack_without_rounding(norm):
    P = 1e3 * vectors(2_000)[:, :5]
    inside = ball(norm).inside(P).astype(np.longdouble)
    sizes = {"inf": np.abs(inside).max(axis=1), 2: np.sqrt((inside**2).sum(axis=1)), 1: np.abs(inside).sum(axis=1)}
    assert (sizes[norm] <= 1.0).all()
    assert inside.astype(np.float64) == pytest.approx(ball(norm).nearest(P), abs=1e-12)


@norms
def test_no_unit_attack_is_longer_than_the_euclidean_reach_and_one_is_as_long(norm):
    attack = AttackBall(norm, np.ones(200), 5)
    ends = attack.maximiser(np.sign(np.random.default_rng(0).standard_normal((200, 5))))
    lengths = np.linalg.norm(np.vstack([attack.sample(np.random.default_rng(1)), ends]), axis=1)
    assert lengths.max() == pytest.approx(attack.euclidean_reach)


@norms
def test_tensors_are_answered_as_arrays_are(norm):
    torch = pytest.importorskip("torch")
    V, attack = vectors(), ball(norm)
    there, same = AttackBall(norm, torch.tensor(attack.radius), 5), 8.0 * np.finfo(np.float64).eps
    for found, expected in [
        (there.dual_norm(torch.tensor(V)), attack.dual_norm(V)),
        (there.maximiser(torch.tensor(V)), attack.maximiser(V)),
        (there.project(torch.tensor(V[:, :5])), attack.project(V[:, :5])),
        (there.nearest(torch.tensor(V[:, :5])), attack.nearest(V[:, :5])),
        (there.size(torch.tensor(V[:, :5])), attack.size(V[:, :5])),
    ]:
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), expected, rtol=same, atol=same)


@norms
def test_attacks_see_a_vector_through_their_axes_and_nothing_of_the_rest(norm):
    V, attack = vectors(), ball(norm)
    seen = V @ attack.axes(6).T
    assert np.array_equal(GEOMETRIES[norm].dual_norm(seen), attack.dual_norm(V))
    V[:, 5] = 1e9
    assert np.array_equal(GEOMETRIES[norm].dual_norm(seen), attack.dual_norm(V))
    nowhere = AttackBall(norm, attack.radius, 0)
    assert not nowhere.present
    assert not nowhere.dual_norm(V).any()


@pytest.mark.parametrize("floor", ["core", "problems", "backends"])
def test_nothing_asks_for_a_norm_by_name(floor):
    """Norms are looked up in tables, which have no silent default."""
    asked = re.compile(r"""\bnorm (==|!=) ["12]""")
    for path in (Path(cvxrobust.__file__).parent / floor).rglob("*.py"):
        found = [line for line in path.read_text().splitlines() if asked.search(line)]
        assert not found, f"{path.name}: {found}"


@pytest.mark.parametrize(
    "table",
    [
        "backends.torch.gated.balls.SMOOTH_BALLS",
        "backends.ipm.gated.epigraph.EPIGRAPHS",
        "problems.relu.assembly.EPIGRAPHS",
        "core.attacks.relu_exact.METHODS",
    ],
)
def test_adapters_know_every_norm(table):
    module, _, name = table.rpartition(".")
    assert set(getattr(pytest.importorskip(f"cvxrobust.{module}"), name)) == set(NORMS)
