"""Polynomial problems in the span of their rows: the same optimum, networks of all inputs, bounds about all data."""

import json
import pickle
import tracemalloc

import numpy as np
import pytest
from wide_cases import unreduced, wide_sdp

from cvxrobust import AdversarialSDP, InputError, PolynomialNetwork, Settings, StandardSDP, solve
from cvxrobust.core.programs.polynomial.certificate import MomentMultipliers, PointMultipliers
from cvxrobust.core.programs.polynomial.moments import SpanMultipliers
from cvxrobust.problems.data import row_span

TIGHT = Settings(tolerance=1e-8)


def data(seed=0, n=6, d=20):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.where(X[:, 0] > 0, 1.0, -1.0)


def network(seed, d, activation=(0.09, 0.5, 0.47), m=4):
    """Neurons that lie neither in the span of any rows nor outside it."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((m, d))
    return PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), rng.standard_normal(m), activation)


@pytest.mark.parametrize("number", range(24))
def test_reduced_and_unreduced_problems_have_the_same_optimum(number):
    problem = wide_sdp(number)
    assert problem.span is not None
    fewer, all_ = (solve(p, "clarabel", "direct", TIGHT) for p in (problem, unreduced(problem)))
    for result in (fewer, all_):
        assert result.certificate.absolute_gap <= 1e-7
        assert result.network.n_features == problem.X.shape[1]
    assert fewer.certificate.upper == pytest.approx(all_.certificate.upper, abs=1e-7)
    assert problem.to_conic().b.size < unreduced(problem).to_conic().b.size
    # Networks are judged by the data as it was given.
    assert unreduced(problem).objective(fewer.network) == pytest.approx(fewer.certificate.upper, rel=1e-12)


@pytest.mark.parametrize("number", range(4))
def test_the_readable_reference_is_that_of_the_data_given(number):
    problem = wide_sdp(number)
    readable = problem.to_cvxpy().solve(solver="CLARABEL", tol_gap_rel=1e-9, tol_gap_abs=1e-9, tol_feas=1e-9)
    assert solve(problem, "clarabel", "direct", TIGHT).certificate.upper == pytest.approx(readable, abs=2e-7)


def test_the_rows_alone_would_be_another_problem():
    # All that neurons may lack inside the span they must have somewhere.
    X, y = np.array([[2.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0]]), np.array([1.0, -1.0])
    problem = StandardSDP(X, y, beta=0.3, activation=(-1.0, 0.0, 1.0))
    optimum = solve(problem, "clarabel", "direct", TIGHT).certificate
    rows_alone = solve(StandardSDP(problem.span.coordinates, y, beta=0.3, activation=(-1.0, 0.0, 1.0)), "clarabel")
    assert optimum.upper == pytest.approx(0.5, abs=1e-6)
    assert rows_alone.certificate.lower == pytest.approx(0.6, abs=1e-6)
    assert optimum.upper == pytest.approx(solve(unreduced(problem), "clarabel").certificate.upper, abs=1e-5)


@pytest.mark.parametrize(
    ("backend", "method"),
    [("ipm", "direct"), ("torch", "direct"), ("clarabel", "direct"), ("clarabel", "cutting-set"), ("auto", "auto")],
)
def test_every_way_to_solve_it_hands_back_a_network_of_all_inputs(backend, method):
    X, y = data()
    problem = StandardSDP(X, y)
    optimum = solve(unreduced(problem), "clarabel", "direct", TIGHT).certificate
    result = solve(problem, backend, method, Settings(tolerance=1e-4))
    assert result.quality == "certified"
    assert result.network.n_features == 20
    assert np.linalg.norm(result.network.u, axis=1) == pytest.approx(1.0, abs=1e-14)
    assert result.certificate.lower <= optimum.upper + 1e-9
    assert result.certificate.upper >= optimum.lower - 1e-9
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
def test_all_classes_are_solved_in_one_span(backend):
    X, _ = data(n=7)
    y = np.array(["a", "b", "c"])[np.arange(7) % 3]
    problem = StandardSDP(X, y)
    assert all(part.span is problem.span for part in problem.parts)
    result = solve(problem, backend, settings=Settings(tolerance=1e-4))
    other = solve(unreduced(problem), "clarabel", settings=Settings(tolerance=1e-7))
    assert result.quality == "certified"
    assert result.certificate.upper == pytest.approx(other.certificate.upper, rel=2e-4)
    again = solve(problem, backend, settings=Settings(tolerance=1e-4), warm_start=result)
    assert again.certificate.upper <= result.certificate.upper * (1 + 1e-12)


def test_what_neurons_do_on_the_data_survives_the_way_there_and_back():
    X, y = data()
    problem = StandardSDP(X, y)
    given = network(0, 20)
    inside = problem.projected(given)
    back = problem.lifted(inside)
    assert inside.decision_function(problem.coordinates) == pytest.approx(given.decision_function(X), rel=1e-12)
    assert back.decision_function(X) == pytest.approx(given.decision_function(X), rel=1e-12)
    assert problem.projected(back).u == pytest.approx(inside.u, abs=1e-14)
    assert problem.objective(back) == pytest.approx(problem.objective(given), rel=1e-12)


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
def test_a_network_of_all_inputs_is_a_start(backend):
    X, y = data()
    problem = StandardSDP(X, y)
    optimal = solve(problem, "clarabel", "direct", TIGHT)
    result = solve(problem, backend, "direct", Settings(tolerance=1e-4), warm_start=optimal.network)
    assert result.certificate.upper <= optimal.certificate.upper
    bad = network(3, 20)
    assert solve(problem, backend, "direct", Settings(tolerance=1e-4), warm_start=bad).quality == "certified"


def test_a_network_in_other_coordinates_is_refused():
    X, y = data()
    problem = StandardSDP(X, y)
    with pytest.raises(InputError, match=r"has 20 inputs; the programme of this problem has 7"):
        problem.lifted(network(0, 20))
    with pytest.raises(InputError, match=r"warm_start does not fit.*7 inputs"):
        solve(problem, warm_start=network(0, 7))


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic", "squared"])
def test_no_network_is_better_than_the_bound_of_any_multipliers(loss):
    X, y = data()
    problem = StandardSDP(X, y, loss=loss, beta=0.01)
    rng = np.random.default_rng(0)
    best = solve(unreduced(problem), "clarabel", "direct", TIGHT).certificate.upper
    for _ in range(20):
        theta = rng.uniform(-0.2, 1.0, 6) / 6
        moments = np.zeros((6, 21, 21))
        moments[:, -1, -1] = theta
        kinds = (
            PointMultipliers(theta, np.arange(6), X),
            MomentMultipliers(moments),
            SpanMultipliers(theta, rng.standard_normal((20, 2)), rng.standard_normal((6, 2))),
            problem.network_multipliers(network(int(rng.integers(100)), 20)),
        )
        assert all(problem.lower_bound(multipliers) <= best + 1e-9 for multipliers in kinds)
        # Without attack nothing counts but the weight of each sample.
        same = [unreduced(problem).lower_bound(kinds[0]), *(problem.lower_bound(m) for m in kinds[:3])]
        assert same == pytest.approx([same[0]] * 4, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("noise", [1e-2, 0.1, 0.3])
def test_directions_that_are_dropped_make_no_bound_false(noise, monkeypatch):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((9, 3)) @ rng.standard_normal((3, 15)) + noise * rng.standard_normal((9, 15))
    y = np.where(rng.random(9) < 0.5, 1.0, -1.0)
    optimum = solve(StandardSDP(X, y, beta=1e-3), "clarabel", "direct", TIGHT).certificate
    monkeypatch.setattr(row_span, "DEPENDENT", noise)
    problem = StandardSDP(X, y, beta=1e-3)
    assert problem.span.rank < 9
    result = solve(problem, "clarabel", "direct", Settings(tolerance=1e-7, time_limit=20.0))
    assert result.certificate.lower <= optimum.upper
    assert result.certificate.upper >= optimum.lower
    # Of the data without the directions more is true than of the data with them.
    own = unreduced(StandardSDP(problem.coordinates, y, beta=1e-3))
    assert solve(own, "clarabel", "direct", TIGHT).certificate.lower > optimum.upper


def test_priced_neurons_are_neurons_of_all_inputs():
    X, y = data()
    problem = StandardSDP(X, y, beta=1e-3)
    bound = problem.dual(problem.network_multipliers(problem.trivial_network()))
    assert bound.neurons.shape == (2, 20)
    lifted = np.hstack([X, np.ones((6, 1))])
    a, b, c = problem.activation
    theta = -problem._loss.derivative(np.zeros(6), y) / 6
    for sign, u, violation in zip((1.0, -1.0), bound.neurons, bound.violations, strict=True):
        t = lifted[:, :-1] @ u
        assert sign * (theta * y) @ (a * t**2 + b * t + c) == pytest.approx(violation, rel=1e-10)


def test_problems_without_attack_are_reduced_and_those_attacked_in_balls():
    X, y = data()
    assert AdversarialSDP(X, y, radius=0.0).span is not None
    assert AdversarialSDP(X, y, radius=0.1).span is not None
    assert AdversarialSDP(X, y, radius=0.1, scale=np.arange(20.0)).span is None
    assert AdversarialSDP(X, y, radius=0.0, scale=np.arange(20.0)).span is not None
    assert StandardSDP(*data(n=20, d=6)).span is None
    assert StandardSDP(*data(n=9, d=10)).span is None


def test_the_report_says_what_was_reduced():
    X, y = data()
    result = solve(StandardSDP(X, y), settings=Settings(tolerance=1e-3))
    assert result.report == {"reduced": {"samples": 6, "inputs": 20, "rank": 6}}
    json.dumps(result.to_dict())
    assert "reduced" not in solve(StandardSDP(*data(n=20, d=3)), settings=Settings(tolerance=1e-3)).report


def test_it_means_the_same_in_another_process():
    problem = StandardSDP(*data())
    fresh = pickle.loads(pickle.dumps(StandardSDP(*data())))
    assert np.array_equal(problem.to_conic().A.toarray(), fresh.to_conic().A.toarray())


def test_nothing_of_order_d_squared_is_ever_held():
    d = 3_000
    X, y = data(n=5, d=d)
    solve(StandardSDP(*data(n=5, d=30)), settings=Settings(tolerance=1e-3))  # imports take memory, too
    tracemalloc.start()
    try:
        for method in ("direct", "cutting-set"):
            assert solve(StandardSDP(X, y), "clarabel", method, Settings(tolerance=1e-4)).quality == "certified"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * d * d / 4
