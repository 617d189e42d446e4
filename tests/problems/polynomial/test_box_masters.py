"""Masters of training against boxes: relaxed attacks as cuts, and the first-order method that they go on from."""

import numpy as np
import pytest
import torch

from cvxrobust import Settings, solve
from cvxrobust.backends.torch.boxes.objective import BoxObjective, BoxQuery, _least
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.programs.boxes.certificate import BoxMultipliers, evaluated, repaired_moments
from cvxrobust.problems.polynomial.boxes.box_sdp import BoxSDP
from cvxrobust.problems.polynomial.boxes.masters import Moves, moves_of

LOSSES = ("hinge", "squared_hinge", "logistic")


def instance(seed, n=30, d=4):
    """A problem with a margin now and then, radii and scales of 0, weights and a range."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.where(X[:, 0] + X[:, 1] ** 2 - 1.0 + 0.3 * rng.standard_normal(n) > 0.0, 1.0, -1.0)
    more = {"bounds": (-1.5, 1.5), "outside": "clip"} if seed % 3 == 2 else {}
    if seed % 2:
        more |= {"scale": rng.uniform(0.2, 1.5, d) * (rng.random(d) > 0.3)}
    if seed % 4 == 1:
        more |= {"sample_weight": rng.integers(0, 3, n) + (np.arange(n) < 2)}
    radius = rng.uniform(0.0, 0.4, n) * (rng.random(n) > 0.1)
    return BoxSDP(X, y, radius, beta=0.03, loss=LOSSES[seed % 3], **more)


def network(rng, d, m=5):
    u = rng.standard_normal((m, d))
    return PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), rng.standard_normal(m))


@pytest.mark.parametrize("seed", range(3))
def test_masters_end_where_interior_points_do(seed):
    problem = instance(seed)
    own = solve(problem, backend="ipm", settings=Settings(tolerance=1e-6))
    found = solve(problem, backend="clarabel", method="cutting-set", settings=Settings(tolerance=1e-5))
    assert (own.quality, found.quality) == ("certified", "certified"), found.message
    assert found.certificate.lower <= own.certificate.upper
    assert own.certificate.lower <= found.certificate.upper
    assert found.network.norm == "inf"


@pytest.mark.parametrize("seed", range(6))
def test_relaxed_attacks_are_worth_the_relaxations_value_and_above_it_for_other_networks(seed):
    problem, rng = instance(seed), np.random.default_rng(seed)
    program, everyone = problem.to_structured(), np.arange(problem.X.shape[0])
    first, other = (network(rng, problem.X.shape[1]) for _ in range(2))
    attacks = problem.pessimize(first)
    exact = evaluated(program, first).bounds.lower
    np.testing.assert_array_equal(attacks.values, exact)
    outputs = program.labels[:, 0] * Moves.of(program, everyone, attacks.points).outputs(first)
    # Beyond a margin of 1 nobody looks further where losses end there.
    near = exact < 1.0 if program.loss_function.attains_infimum else exact < np.inf
    np.testing.assert_allclose(outputs[near], exact[near], atol=1e-6)
    assert (outputs >= exact - 1e-9).all()
    above = program.labels[:, 0] * Moves.of(program, everyone, attacks.points).outputs(other)
    assert (above >= evaluated(program, other).bounds.lower - 1e-9).all()


def test_rows_of_a_master_are_the_outputs_at_relaxed_attacks():
    problem, rng = instance(0), np.random.default_rng(0)
    f = network(rng, problem.X.shape[1])
    owners = rng.integers(0, problem.X.shape[0], 12)
    points = problem.pessimize(f).points[owners]
    lifted = np.hstack([f.u, np.ones((f.n_neurons, 1))])
    for atoms in (None, problem.atoms_of(f)):
        master = problem.restricted(owners, points, atoms)
        program = master.to_conic()
        Z, Zp = ((lifted * np.maximum(s * f.alpha, 0.0)[:, None]).T @ lifted for s in (1.0, -1.0))
        variables = np.zeros(program.q.size)
        for k, unit in enumerate(np.eye(master.frame.size)):
            whole = master.frame.matrices(unit)
            variables[k] = sum(float((a * b).sum()) for a, b in zip(whole, (Z, Zp), strict=True))
        # Variables are inner products with orthonormal matrices, so long as the frame is a span.
        if atoms is not None:
            signed = -program.A[2:14, : master.frame.size] @ variables[: master.frame.size]
            outputs = problem.signs[owners] * Moves.of(problem.to_structured(), owners, points).outputs(f)
            np.testing.assert_allclose(signed, outputs, atol=1e-9)


def test_several_attacks_on_a_sample_prove_no_more_than_is_true():
    problem, rng = instance(4), np.random.default_rng(4)
    optimum = solve(problem, backend="ipm", settings=Settings(tolerance=1e-7)).certificate.upper
    q = problem.to_structured().inputs.size
    for _ in range(30):
        k = int(rng.integers(1, 40))
        factors = rng.standard_normal((k, q + 1, 3))
        weights = rng.uniform(0.0, 3.0, k) / k
        noise = rng.exponential(1.0, (k, q)) if k % 2 else None
        assert problem.lower_bound(BoxMultipliers(weights, factors, rng.integers(0, 30, k), noise)) <= optimum + 1e-12
    owners, spoilt = np.array([0, 0, 1]), np.full((3, q + 1, 2), np.nan)
    for noise in (None, np.full((3, q), -1.0), np.full((3, q), np.inf)):
        junk = BoxMultipliers(np.array([np.nan, -1.0, np.inf]), spoilt, owners, noise)
        assert problem.lower_bound(junk) <= optimum


def test_moments_are_repaired_as_a_whole():
    rng = np.random.default_rng(0)
    factors, noise = repaired_moments(rng.standard_normal((20, 5, 2)), rng.exponential(1.0, (20, 4)))
    diagonal = np.einsum("kip,kip->ki", factors, factors)
    diagonal[:, :-1] += noise
    assert (diagonal[:, :-1] <= 1.0).all()
    np.testing.assert_allclose(diagonal[:, -1], 1.0)


def test_attacks_of_factors_are_the_same_however_factors_are_turned():
    problem, rng = instance(0), np.random.default_rng(3)
    program = problem.to_structured()
    factors, _ = repaired_moments(rng.standard_normal((30, program.inputs.size + 1, 3)))
    turned = factors @ np.linalg.qr(rng.standard_normal((30, 3, 3)))[0]
    np.testing.assert_allclose(moves_of(program, factors), moves_of(program, turned), atol=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_slopes_are_those_of_the_smoothed_objective(seed):
    problem, rng = instance(seed, n=12), np.random.default_rng(seed)
    program = problem.to_structured()
    objective = BoxObjective(program, torch.device("cpu"))
    signs = objective.tensor([1.0, 1.0, -1.0, -1.0])
    v = objective.tensor(0.5 * rng.standard_normal((4, program.X.shape[1])))
    smoothing = PolynomialSmoothing(0.3, 0.1, torch.zeros(program.X.shape[0], dtype=torch.float64))

    def value(neurons):
        for _ in range(100):  # until relaxed attacks have come to rest
            found = objective.evaluate(BoxQuery(neurons, signs, smoothing))
        return found

    slope = value(v).gradient
    for _ in range(3):
        way = objective.tensor(rng.standard_normal(v.shape))
        change = (value(v + 1e-5 * way).value - value(v - 1e-5 * way).value) / 2e-5
        assert change == pytest.approx(float((slope * way).sum()), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("seed", range(3, 6))
def test_descent_comes_near_and_masters_finish(seed):
    problem = instance(seed)
    own = solve(problem, backend="ipm", settings=Settings(tolerance=1e-6)).certificate
    near = solve(problem, backend="torch", settings=Settings(tolerance=1e-2))
    assert near.certificate.lower <= own.upper
    assert near.certificate.upper <= own.upper * 1.02
    finished = solve(problem, backend="torch", polish=True, settings=Settings(tolerance=1e-5))
    assert finished.quality == "certified", finished.message
    assert finished.certificate.upper >= own.lower


def test_noise_is_the_least_of_what_a_coordinate_is_worth():
    rng = np.random.default_rng(1)
    length, curve = torch.tensor(rng.exponential(0.5, 40)), torch.tensor(rng.standard_normal(40))
    length[0], nu = 0.0, 0.05
    t, s = _least(length, curve, nu)
    assert (t * t + s <= 1.0 + 1e-12).all()

    def worth(t, s):
        return curve * (t * t + s) - 2.0 * length * t - nu * torch.log(s)

    grid_t, grid_s = (torch.tensor(part) for part in np.meshgrid(np.linspace(0, 1, 201), np.linspace(1e-4, 1, 400)))
    for a, b in zip(grid_t.ravel()[::7], grid_s.ravel()[::7], strict=True):
        if a * a + b <= 1.0:
            assert (worth(t, s) <= worth(a, b) + 1e-9).all()


def test_descent_alone_certifies_where_attacks_have_many_kinks():
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 20))
    y = np.where(X[:, :3].sum(axis=1) + 0.3 * rng.standard_normal(60) > 0.0, 1.0, -1.0)
    found = solve(BoxSDP(X, y, 0.1, beta=0.05), backend="torch", settings=Settings(tolerance=1e-2))
    assert found.quality == "certified", found


def test_classes_are_trained_one_against_the_others():
    rng = np.random.default_rng(8)
    X = rng.standard_normal((45, 3))
    y = np.array(["a", "b", "c"])[np.argmax(X + 0.3 * rng.standard_normal(X.shape), axis=1)]
    result = solve(BoxSDP(X, y, 0.1, beta=0.05), backend="torch", polish=True, settings=Settings(tolerance=1e-4))
    assert result.quality == "certified"
    assert result.network.alpha.shape[1] == 3


def test_a_start_is_gone_on_from():
    problem = instance(0)
    before = solve(problem, backend="ipm", settings=Settings(tolerance=1e-5))
    found = solve(
        problem, backend="torch", warm_start=before, settings=Settings(tolerance=1e-2, max_iterations=3)
    )  # fmt: skip
    assert found.certificate.upper <= before.certificate.upper
