"""Rank-one recovery: from psd matrices, whatever state a solver left them in, to unit neurons."""

import numpy as np
import pytest

from cvxrobust.core.conic.cones import svec
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.polynomial.recovery import neurons_from_matrix, rank_one_terms, restore_feasibility
from cvxrobust.problems.polynomial.matrix_variables import features

SHAPES = [(d, rank) for d in (1, 2, 3, 6, 11) for rank in range(1, d + 2)]


def balanced(factors):
    """``F F'`` with the last row of F scaled so that the block traces agree."""
    block, corner = np.linalg.norm(factors[:-1]), np.linalg.norm(factors[-1])
    scaled = np.vstack([factors[:-1], factors[-1:] * (block / corner)])
    return scaled @ scaled.T


def random_matrix(d, rank, seed=0):
    return balanced(np.random.default_rng([d, rank, seed]).standard_normal((d + 1, rank)))


def rebuilt(u, alpha):
    atoms = np.hstack([u, np.ones((alpha.size, 1))])
    return (atoms * alpha[:, None]).T @ atoms


def assert_proper(u, alpha, d):
    assert u.shape == (alpha.size, d)
    assert np.linalg.norm(u, axis=1) == pytest.approx(np.ones(alpha.size), rel=1e-14)
    assert (alpha > 0.0).all()
    assert (np.diff(alpha) <= 0.0).all()


@pytest.mark.parametrize(("d", "rank"), SHAPES)
def test_rank_one_terms_reproduce_the_matrix_and_balance_their_parts(d, rank):
    for seed in range(5):
        Z = random_matrix(d, rank, seed)
        terms = rank_one_terms(Z)
        assert terms.shape == (rank, d + 1)
        size = np.trace(Z)
        assert np.abs(terms.T @ terms - Z).max() <= 1e-14 * size
        squares = terms**2
        assert np.abs(squares[:, :d].sum(axis=1) - squares[:, d]).max() <= 1e-14 * size


@pytest.mark.parametrize(("d", "rank"), SHAPES)
def test_neurons_reproduce_the_matrix(d, rank):
    for seed in range(5):
        Z = random_matrix(d, rank, seed)
        u, alpha = neurons_from_matrix(Z)
        assert_proper(u, alpha, d)
        assert alpha.size <= rank
        assert np.abs(rebuilt(u, alpha) - Z).max() <= 1e-13 * np.trace(Z)
        assert alpha.sum() == pytest.approx(Z[d, d], rel=1e-13)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("d", [1, 2, 7])
def test_rank_one_gives_back_the_neuron(d, sign):
    u = np.random.default_rng(d).standard_normal(d)
    u *= sign / np.linalg.norm(u)
    found, alpha = neurons_from_matrix(3.0 * np.outer(np.append(u, 1.0), np.append(u, 1.0)))
    assert found == pytest.approx(u[None], rel=1e-14)
    assert alpha == pytest.approx([3.0])


def test_every_sign_pattern_of_the_eigenvectors_is_handled():
    # eigh fixes eigenvectors up to sign; every choice of signs and orders must do.
    rng = np.random.default_rng(0)
    for flips in np.ndindex(2, 2, 2, 2):
        signs = 1.0 - 2.0 * np.array(flips)
        factors = np.linalg.qr(rng.standard_normal((4, 4)))[0] * np.sqrt([4.0, 3.0, 2.0, 1.0])
        Z = balanced(factors * signs)
        mirrored = np.outer(signs, signs) * Z
        for matrix in (Z, mirrored):
            u, alpha = neurons_from_matrix(matrix)
            assert_proper(u, alpha, 3)
            assert np.abs(rebuilt(u, alpha) - matrix).max() <= 1e-13 * np.trace(matrix)


def test_diagonal_matrices_have_neurons_that_cancel_in_pairs():
    u, alpha = neurons_from_matrix(np.eye(2))
    assert sorted(u.ravel()) == pytest.approx([-1.0, 1.0])
    assert alpha == pytest.approx([0.5, 0.5])
    u, alpha = neurons_from_matrix(np.diag([0.5, 0.5, 1.0]))
    assert_proper(u, alpha, 2)
    assert rebuilt(u, alpha) == pytest.approx(np.diag([0.5, 0.5, 1.0]), abs=1e-15)


@pytest.mark.parametrize(
    "Z",
    [
        np.zeros((3, 3)),
        -np.eye(3),
        np.diag([1.0, 1.0, 0.0]),
        np.diag([0.0, 0.0, 1.0]),
        np.full((3, 3), np.nan),
        np.diag([1.0, np.inf, 1.0]),
        np.zeros((2, 2)),
    ],
    ids=["zero", "negative", "block only", "corner only", "nan", "inf", "zero of order 2"],
)
def test_matrices_without_a_feasible_part_have_no_neurons(Z):
    u, alpha = neurons_from_matrix(Z)
    assert u.shape == (0, Z.shape[0] - 1)
    assert alpha.shape == (0,)


@pytest.mark.parametrize("power", [-200, -100, -30, -8, 8, 30, 100, 200])
def test_neurons_do_not_depend_on_the_scale(power):
    Z = random_matrix(5, 4)
    u, alpha = neurons_from_matrix(Z)
    scaled_u, scaled_alpha = neurons_from_matrix(Z * 4.0**power)
    assert scaled_u == pytest.approx(u, rel=1e-9)
    assert scaled_alpha == pytest.approx(alpha * 4.0**power, rel=1e-9)


@pytest.mark.parametrize("power", [-290, 290])
def test_terms_survive_scales_at_which_their_products_would_not(power):
    Z = random_matrix(4, 3) * 10.0**power
    terms = rank_one_terms(Z)
    assert np.abs(terms.T @ terms / Z - 1.0).max() <= 1e-12
    assert np.linalg.norm(terms[:, :4], axis=1) == pytest.approx(np.abs(terms[:, 4]), rel=1e-12)


@pytest.mark.parametrize("residual", [1e-4, 1e-6, 1e-9])
@pytest.mark.parametrize("skewed", [False, True], ids=["symmetric", "not symmetric"])
def test_residuals_of_a_solver_move_the_network_no_more_than_their_size(residual, skewed):
    rng = np.random.default_rng(7)
    for d in (1, 3, 8):
        for rank in range(1, d + 2):
            Z = random_matrix(d, rank)
            noise = rng.standard_normal(Z.shape) * np.abs(Z).max()
            # Indefinite, of full rank, and with traces that do not match.
            noisy = Z + residual * (noise if skewed else 0.5 * (noise + noise.T))
            u, alpha = neurons_from_matrix(noisy)
            assert_proper(u, alpha, d)
            assert np.array_equal(alpha, neurons_from_matrix(noisy.T)[1])  # neither triangle counts for more
            assert np.abs(rebuilt(u, alpha) - Z).max() <= 10.0 * (d + 1) * residual * np.abs(Z).max()


def test_restoring_feasibility_yields_a_psd_matrix_with_equal_traces():
    rng = np.random.default_rng(1)
    for _ in range(50):
        d = int(rng.integers(1, 7))
        Z = rng.standard_normal((d + 1, d + 1)) + np.eye(d + 1)
        before = Z.copy()
        restored = restore_feasibility(Z)
        assert np.array_equal(Z, before)
        size = np.abs(Z).max()
        assert np.linalg.eigvalsh(restored).min() >= -1e-14 * size
        assert np.trace(restored[:d, :d]) == pytest.approx(restored[d, d], rel=1e-13, abs=1e-14 * size)
    feasible = random_matrix(4, 2)
    assert restore_feasibility(feasible) == pytest.approx(feasible, rel=1e-12)


def test_surplus_in_either_part_is_shrunk_and_never_amplified():
    u = np.array([0.6, 0.8, 1.0])
    Z = np.outer(u, u)
    for surplus in (np.diag([1.0, 0.0, 0.0]), np.diag([0.0, 0.0, 1.0])):
        restored = restore_feasibility(Z + 1e-3 * surplus)
        assert (np.diag(restored) <= np.diag(Z + 1e-3 * surplus) * (1.0 + 1e-14)).all()
        assert np.abs(restored - Z).max() <= 2e-3


@pytest.mark.parametrize("activation", [(0.09, 0.5, 0.47), (-0.5, 1.0, 0.0), (2.0, 0.0, -1.0)])
def test_outputs_from_the_matrix_equal_those_of_the_network(activation):
    Z, Zp = random_matrix(4, 3), random_matrix(4, 2, seed=1)
    (up, positive), (down, negative) = neurons_from_matrix(Z), neurons_from_matrix(Zp)
    network = PolynomialNetwork(np.vstack([up, down]), np.concatenate([positive, -negative]), activation)
    X = np.random.default_rng(2).standard_normal((20, 4))
    assert network.decision_function(X) == pytest.approx(features(X, activation) @ svec(Z - Zp), rel=1e-10, abs=1e-10)
    assert network.penalty == pytest.approx(Z[4, 4] + Zp[4, 4], rel=1e-12)
