"""Wide data under masks of which both parts are large: the spans of both, and what lies outside of each."""

import tracemalloc

import numpy as np
import pytest
from random_problems import of_the_set
from wide_cases import MARGIN, wide_data

import cvxrobust
from cvxrobust import AdversarialSDP, InputError, PolynomialNetwork, Settings, solve
from cvxrobust.core.attacks.complement import Complement
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.programs.polynomial.certificate import MomentMultipliers, PointMultipliers
from cvxrobust.core.programs.polynomial.moments import SpanMultipliers
from cvxrobust.problems.data import row_span
from cvxrobust.problems.polynomial.base import SharedSpan

TIGHT = Settings(tolerance=1e-8, threads=1)


def masked_sdp(number):
    """Problem `number` of an endless list: half of the inputs immutable, in an order of their own; weights, radii."""
    rng = np.random.default_rng([number, 211])
    X, y, kind = wide_data(number, rng)
    X = np.hstack([X, X @ rng.standard_normal((X.shape[1], 5)) / 3.0])
    n, d = X.shape
    if number % 3 == 0:
        X[:, 0] = 1.0  # a bias is an input that nothing touches
    still = np.append(0, 1 + rng.permutation(d - 1)[: d // 2 - 1])
    scale = np.full(d, float(rng.choice([1.0, 0.6])))
    scale[still] = 0.0
    if number % 5 == 0:
        scale[1 + (still[-1] % (d - 1))] = 2.0  # and one that attacks move by more
    loss = (*MARGIN, "squared", "absolute", "huber")[number % 6]
    if loss not in MARGIN:
        y, loss = (y, "hinge") if kind == "three classes" else (rng.standard_normal(n), loss)
    radius = float(rng.choice([0.3, 1.0, 3.0])) * rng.uniform(0.05, 1.0, n)
    radius = np.full(n, radius.max()) if number % 2 else np.where(rng.random(n) < 0.2, 0.0, radius)
    weights = rng.uniform(0.2, 2.0, n) if number % 3 == 1 else None
    activation = ((0.09, 0.5, 0.47), (-0.2, 0.3, 0.1), (0.5, 0.0, 0.0))[int(rng.integers(3))]
    beta = float(10.0 ** rng.uniform(-2.5, -1.0))
    return AdversarialSDP(X, y, radius, beta, loss, activation, scale=scale, sample_weight=weights)


def whole(problem):
    """The same problem, written in all of its inputs."""
    given = AdversarialSDP(
        problem.X, problem.y, problem.radius, problem.beta, problem.loss, problem.activation, scale=problem.scale,
        sample_weight=problem.sample_weight,
    )  # fmt: skip
    object.__setattr__(given, "found", SharedSpan(None))
    return given


def both_large(seed=0, n=4, d=16):
    rng = np.random.default_rng(seed)
    X, scale = 2.0 * rng.standard_normal((n, d)), np.where(np.arange(d) % 2, 0.8, 0.0)
    y = np.where(X[:, 0] + X[:, 1] > 0.0, 1.0, -1.0)
    return AdversarialSDP(X, y, np.linspace(0.2, 1.5, n), beta=0.05, scale=scale)


@pytest.fixture
def reduce_always(monkeypatch):
    """Also where one direction alone is saved."""
    monkeypatch.setattr(row_span, "PAYS", 1.0)


@pytest.mark.parametrize("number", range(30))
def test_reduced_and_unreduced_problems_have_the_same_optimum(number, reduce_always):
    problem = masked_sdp(number)
    assert problem.span is not None
    backend = "ipm" if problem.loss == "logistic" else "clarabel"
    fewer, everything = (solve(one, backend, "direct", TIGHT) for one in (problem, whole(problem)))
    for result in (fewer, everything):
        assert result.certificate.absolute_gap <= 1e-6
    assert fewer.certificate.upper == pytest.approx(everything.certificate.upper, abs=1e-7)
    assert fewer.certificate.lower <= everything.certificate.upper + 1e-12
    assert everything.certificate.lower <= fewer.certificate.upper + 1e-12
    # Networks are judged by the data as it was given, and lose nothing on the way into the span and back.
    assert whole(problem).objective(fewer.network) == pytest.approx(fewer.certificate.upper, rel=1e-12)
    if problem.y.ndim == 1 and everything.network.alpha.ndim == 1:
        back = problem.lifted(problem.projected(everything.network))
        assert whole(problem).objective(back) <= everything.certificate.upper * (1.0 + 1e-9) + 1e-12
        again = problem.lifted(problem.projected(back))
        assert whole(problem).objective(again) <= everything.certificate.upper * (1.0 + 1e-9) + 1e-12


def test_what_was_reduced_to_what():
    problem = both_large()
    # Four coordinates of each part, one direction outside each.
    assert problem.coordinates.shape == (4, 10)
    assert problem.span.report() == {"samples": 4, "inputs": 16, "rank": 8}
    assert problem.inner_attack.ellipsoid.scale == pytest.approx([0.8] * 4 + [0.0] * 5 + [0.4])
    nothing = AdversarialSDP(np.where(problem.scale > 0.0, problem.X, 0.0), problem.y, 1.0, scale=problem.scale)
    assert nothing.coordinates.shape == (4, 6)
    assert solve(nothing, settings=Settings(tolerance=1e-6)).quality == "certified"


def test_no_multipliers_prove_more_than_the_optimum():
    problem = both_large()
    optimum, rng = solve(problem, "ipm", settings=TIGHT).certificate.upper, np.random.default_rng(1)
    q, d = problem.attack.dimension, problem.X.shape[1]
    for size in (0.01, 0.2, 1.0):
        weights, owners = size * rng.uniform(0.0, 1.0, 8), np.tile(np.arange(4), 2)
        inside = np.vstack([of_the_set(problem, i, 1, rng) for i in owners])
        for points in (inside, problem.X[owners] + rng.standard_normal((8, d))):
            assert problem.lower_bound(PointMultipliers(weights, owners, points)) <= optimum
        basis = np.linalg.qr(rng.standard_normal((q, 2)))[0]
        attacks = SpanMultipliers(
            weights[:4], basis, size * rng.standard_normal((4, 2)), rng.uniform(0.0, size, (4, 2))
        )
        factors = size * rng.standard_normal((4, q + 1, 3))
        for given in (attacks, MomentMultipliers(factors @ np.swapaxes(factors, 1, 2))):
            assert problem.lower_bound(given) <= optimum


@pytest.mark.parametrize(("backend", "method"), [("torch", "direct"), ("clarabel", "cutting-set"), ("auto", "auto")])
def test_every_way_to_solve_it_ends_at_the_optimum_of_all_inputs(backend, method):
    problem = both_large(1)
    optimum = solve(whole(problem), "clarabel", "direct", TIGHT).certificate
    result = solve(problem, backend, method, Settings(tolerance=1e-4))
    assert result.quality == "certified"
    assert result.certificate.lower <= optimum.upper + 1e-9
    assert optimum.lower <= whole(problem).objective(result.network) + 1e-9


def test_networks_answer_save_and_load_as_they_are(tmp_path):
    problem, rng = both_large(3), np.random.default_rng(0)
    network = solve(problem, "ipm", settings=TIGHT).network
    assert network.complement.inputs.tolist() == list(range(1, 16, 2))
    X, y = np.vstack([problem.X, rng.standard_normal((4, 16))]), np.tile(problem.y, 2)
    full = Quadratic.whole(network.u, network.alpha, network.activation, network.complement)
    outputs = full.expand(X)[0]
    np.testing.assert_allclose(network.decision_function(X), outputs, rtol=1e-10, atol=1e-12)
    T = network.matrices()[0]
    lifted = np.hstack([X, np.ones((8, 1))])
    a, b, c = network.activation
    lifted_T = np.einsum("ni,ij,nj->n", X, a * T[:-1, :-1], X) + b * X @ T[:-1, -1] + c * T[-1, -1]
    assert lifted.shape[1] == T.shape[0]
    np.testing.assert_allclose(lifted_T, outputs, rtol=1e-10, atol=1e-12)
    ours = network.worst_case(X, y, 0.8)
    ball = type(problem.attack)(2, np.full(8, 0.8), 16, network.ellipsoid)
    np.testing.assert_allclose(ours.lower, full.worst_margins(X, y, ball), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(y * network.decision_function(ours.points), ours.margins, rtol=1e-9, atol=1e-10)
    assert not (ours.points - X)[:, ::2].any()
    balls = network.replace(ellipsoid=None)
    whole_ball = type(problem.attack)(2, np.full(8, 0.8), 16)
    np.testing.assert_allclose(balls.worst_margins(X, y, 0.8), full.worst_margins(X, y, whole_ball), rtol=1e-9)
    network.save(tmp_path / "net.npz")
    again = cvxrobust.load(tmp_path / "net.npz")
    assert again.complement.agrees(network.complement)
    np.testing.assert_array_equal(again.decision_function(X), network.decision_function(X))
    np.testing.assert_allclose(again.distance_to_boundary(X), network.distance_to_boundary(X))
    import torch

    with torch.no_grad():
        found = network.to_torch()(torch.tensor(X)).numpy()
    np.testing.assert_allclose(found, network.decision_function(X), rtol=1e-12)


def test_wide_data_costs_what_the_rows_cost():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((12, 3000)), np.where(rng.random(12) < 0.5, 1.0, -1.0)
    problem = AdversarialSDP(X, y, 0.5, scale=np.arange(3000) % 2.0)
    tracemalloc.start()
    result = solve(problem, settings=Settings(tolerance=1e-2))
    result.network.distance_to_boundary(X[:5])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.quality == "certified"
    assert peak < 40 * X.nbytes < 3000 * 3000 * 8


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ([0, 1, 2, 3], "fewer columns than rows"),
        ([1, 0], "no ascending numbers below 6"),
        ([4, 6], "no ascending numbers below 6"),
        ([0, 1, 4, 5], "columns of the basis mix the inputs"),
    ],
)
def test_what_is_no_complement_of_some_inputs_is_refused(inputs, said):
    with pytest.raises(InputError, match=said):
        Complement(np.eye(6)[:, :4], np.array(inputs)) if said != "columns of the basis mix the inputs" else Complement(
            np.linalg.qr(np.random.default_rng(0).standard_normal((6, 2)))[0], np.array(inputs)
        )


def test_neurons_may_have_what_they_like_of_the_other_inputs():
    complement = Complement(np.eye(6)[:, :1], np.arange(3))
    u = np.array([[0.3, 0.0, 0.0, 0.4, 0.5, 0.1]])
    network = PolynomialNetwork(u, np.ones(1), complement=complement)
    x, (a, b, c) = np.arange(1.0, 7.0)[None], network.activation
    t = float(x[0] @ u[0])
    expected = a * t * t + b * t + c + a * (1.0 - u[0] @ u[0]) * (2.0**2 + 3.0**2) / 2.0
    assert network.decision_function(x)[0] == pytest.approx(expected, rel=1e-14)
