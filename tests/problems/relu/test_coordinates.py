"""ReLU problems in the span of their rows: same gates, same optimum, networks of all inputs, bounds about all data."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from wide_cases import unreduced, wide_relu

from cvxrobust import AdversarialReLU, ConvexReLU, InputError, ReLUNetwork, Settings, solve
from cvxrobust.core.programs.gated.certificate import GatedMultipliers, network_multipliers
from cvxrobust.problems.data import row_span

TIGHT = Settings(tolerance=1e-8)


def data(seed=0, n=6, d=20):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.where(X[:, 0] > 0, 1.0, -1.0)


def network(seed, d, bias=False, m=4):
    """Neurons that lie neither in the span of any rows nor outside it."""
    rng = np.random.default_rng(seed)
    return ReLUNetwork(rng.standard_normal((m, d + bias)) / d**0.5, 0.3 * rng.standard_normal(m), bias=bias)


@pytest.mark.parametrize("number", range(36))
def test_reduced_and_unreduced_problems_have_the_same_optimum(number):
    problem = wide_relu(number)
    twin = unreduced(problem)
    assert problem.span is not None
    assert np.array_equal(problem.gate_set.patterns, twin.gate_set.patterns)
    fewer, all_ = (solve(p, "clarabel", "direct", TIGHT) for p in (problem, twin))
    # The network of the gated relaxation costs more than its programme, whose optimum is then known from below alone.
    gated = problem.formulation == "gated"
    for result in (fewer, all_):
        assert gated or result.certificate.absolute_gap <= 1e-7
        assert result.network.n_features == problem.X.shape[1]
    assert fewer.certificate.lower == pytest.approx(all_.certificate.lower, abs=1e-7)
    assert problem.conic_rows <= twin.conic_rows
    # Networks are judged by the data as it was given.
    assert twin.objective(fewer.network) == pytest.approx(fewer.certificate.upper, rel=1e-9)


@pytest.mark.parametrize("number", [1, 2, 5, 8])
def test_the_readable_reference_is_that_of_the_data_given(number):
    problem = wide_relu(number)
    readable = problem.to_cvxpy().solve(solver="CLARABEL", tol_gap_rel=1e-9, tol_gap_abs=1e-9, tol_feas=1e-9)
    assert solve(problem, "clarabel", "direct", TIGHT).certificate.lower == pytest.approx(readable, abs=2e-7)


def test_a_bias_is_a_coordinate_beside_the_span():
    # In the span of (1, 0, 1) an attack on the inputs would touch the bias, too: the optimum would be .01286.
    problem = AdversarialReLU(
        np.array([[1.0, 0.0]]), np.array([1.0]), radius=0.9, norm=2, patterns=np.array([[True]]), beta=0.01, bias=True
    )
    assert problem.span.rank == 1
    assert problem.coordinates.shape == (1, 2)
    assert solve(problem, "clarabel", settings=TIGHT).certificate.upper == pytest.approx(0.01 / 1.01**0.5, abs=1e-8)


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
@pytest.mark.parametrize("formulation", ["one-sided", "cone"])
def test_every_backend_hands_back_a_network_of_all_inputs(backend, formulation):
    X, y = data()
    problem = AdversarialReLU(X, y, radius=0.1, norm=2, n_gates=5, bias=True, formulation=formulation)
    optimum = solve(unreduced(problem), "clarabel", "direct", TIGHT).certificate
    result = solve(problem, backend, "direct", Settings(tolerance=1e-4))
    assert result.quality == "certified"
    assert result.network.n_features == 20
    assert result.certificate.lower <= optimum.upper + 1e-9
    assert result.certificate.upper >= optimum.lower - 1e-9
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)


@pytest.mark.parametrize("multiclass", ["one-versus-all", "vector-output"])
@pytest.mark.parametrize("backend", ["ipm", "clarabel"])
def test_several_classes_are_solved_in_one_span(multiclass, backend):
    X, _ = data(n=7)
    problem = ConvexReLU(X, np.arange(7) % 3, loss="squared", multiclass=multiclass, n_gates=4, beta=0.05)
    assert all(part.span is problem.span for part in problem.parts)
    result = solve(problem, backend, settings=Settings(tolerance=1e-5))
    other = solve(unreduced(problem), "clarabel", settings=Settings(tolerance=1e-7))
    assert result.certificate.upper == pytest.approx(other.certificate.upper, rel=2e-5)
    assert result.network.decision_function(X).shape == (7, 3)
    again = solve(problem, backend, settings=Settings(tolerance=1e-5), warm_start=result)
    assert again.certificate.upper <= result.certificate.upper * (1 + 1e-9)


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_network_of_all_inputs_is_a_start_and_its_projection_is_no_worse(backend, bias):
    X, y = data()
    problem = AdversarialReLU(X, y, radius=0.1, norm=2, n_gates=5, bias=bias)
    given = network(1, 20, bias)
    inside = problem.projected(given)
    outputs = inside.decision_function(problem.coordinates[:, : inside.n_features])
    assert outputs == pytest.approx(given.decision_function(X), rel=1e-12)
    assert problem.objective(problem.lifted(inside)) < problem.objective(given)
    result = solve(problem, backend, "direct", Settings(tolerance=1e-4), warm_start=given)
    assert result.certificate.upper <= problem.objective(given)
    again = solve(problem, backend, "direct", Settings(tolerance=1e-4), warm_start=result)
    assert again.certificate.upper <= result.certificate.upper * (1 + 1e-12)


def test_a_network_in_other_coordinates_is_refused():
    X, y = data()
    problem = ConvexReLU(X, y, n_gates=5)
    with pytest.raises(InputError, match=r"has 20 inputs and bias=False; the programme of this problem has 6"):
        problem.lifted(network(0, 20))
    with pytest.raises(InputError, match=r"warm_start does not fit.*6 inputs"):
        solve(problem, warm_start=network(0, 6))


@pytest.mark.parametrize("gates", [{"n_gates": 7, "seed": 3}, {"patterns": "all"}, {"n_gates": 50}])
@pytest.mark.parametrize("bias", [False, True])
def test_gates_are_drawn_before_anything_is_reduced(gates, bias):
    X, y = data(n=4)
    problem = AdversarialReLU(X, y, radius=0.1, norm=2, bias=bias, **gates)
    untouched = AdversarialReLU(X, y, radius=0.1, norm="inf", bias=bias, **gates)
    assert problem.span is not None
    assert untouched.span is None
    assert np.array_equal(problem.gate_set.patterns, untouched.gate_set.patterns)
    assert np.array_equal(problem.gate_set.vectors, untouched.gate_set.vectors)
    assert problem.gate_set.vectors.shape[0] == 20 + bias


def test_mixed_bounds_know_the_gates_in_all_inputs():
    X, y = data()
    problem = AdversarialReLU(X, y, radius=1.0, norm=2, n_gates=6, bound="mixed")
    assert np.array_equal(problem.program.gates, unreduced(problem).program.gates)


def test_regating_stays_in_the_span_and_ends_where_it_would_without():
    X, y = data(n=8)
    problem = AdversarialReLU(X, y, radius=0.3, norm=2, n_gates=4, beta=0.03)
    network = solve(problem, "clarabel", settings=TIGHT).network
    better, other = problem.regated(network), unreduced(problem).regated(network)
    assert better.span is problem.span
    assert np.array_equal(better.slots.gates, other.slots.gates)
    first, last = (solve(p, "clarabel", settings=TIGHT).certificate for p in (problem, better))
    assert last.upper <= first.upper + 1e-8
    result = solve(replace(problem, regate=2), "clarabel", settings=Settings(tolerance=1e-6))
    assert result.problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)


@pytest.mark.parametrize("formulation", ["one-sided", "cone"])
def test_growing_stays_in_the_span(formulation):
    X, y = data(n=8)
    problem = AdversarialReLU(X, y, radius=0.1, norm=2, n_gates=2, beta=0.01, formulation=formulation, grow=3, seed=2)
    result = solve(problem, "clarabel", gates="grow", settings=Settings(tolerance=1e-6, time_limit=30.0))
    assert len(result.history) > 1
    assert result.problem.span is problem.span
    assert result.history[-1].certificate.upper < result.history[0].certificate.lower
    assert result.network.n_features == 20


def test_other_norms_of_the_attack_are_not_reduced():
    X, y = data()
    for norm in ("inf", 1):
        assert AdversarialReLU(X, y, radius=0.1, norm=norm, n_gates=3).span is None
        assert AdversarialReLU(X, y, radius=0.0, norm=norm, n_gates=3).span is not None
    assert ConvexReLU(*data(n=20, d=6), n_gates=3).span is None


@pytest.mark.parametrize("formulation", ["one-sided", "cone", "gated"])
@pytest.mark.parametrize("bias", [False, True])
def test_no_network_is_better_than_the_bound_of_any_multipliers(formulation, bias):
    X, y = data()
    problem = AdversarialReLU(X, y, radius=0.2, norm=2, n_gates=4, bias=bias, formulation=formulation, beta=0.01)
    rng, (n, k) = np.random.default_rng(0), (6, problem.span.rank)
    K = problem.program.signs.size
    best = solve(unreduced(problem), "clarabel", "direct", TIGHT).certificate.upper
    for seed in range(20):
        m = GatedMultipliers(
            rng.uniform(-0.2, 1.0, (n, 1)) / 6,
            rng.standard_normal((n, 1, k)),
            rng.uniform(-0.1, 0.2, (n, K, 1)),
            rng.standard_normal((K, 1, k)),
        )
        U = rng.standard_normal((K, 1, k + bias))
        for multipliers in (m, network_multipliers(problem.program, U)):
            assert problem.lower_bound(multipliers) <= best + 1e-9
        if formulation == "one-sided":
            assert problem.objective(network(seed, 20, bias)) >= best - 1e-7


@pytest.mark.parametrize("noise", [1e-2, 0.1, 0.3])
def test_directions_that_are_dropped_make_no_bound_false(noise, monkeypatch):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((9, 3)) @ rng.standard_normal((3, 15)) + noise * rng.standard_normal((9, 15))
    y = np.where(rng.random(9) < 0.5, 1.0, -1.0)
    given = {"beta": 1e-3, "patterns": np.ones((9, 1), dtype=bool), "radius": 0.01, "norm": 2}
    optimum = solve(AdversarialReLU(X, y, **given), "clarabel", settings=TIGHT).certificate
    monkeypatch.setattr(row_span, "DEPENDENT", noise)
    problem = AdversarialReLU(X, y, **given)
    assert problem.span.rank < 9
    result = solve(problem, "clarabel", settings=Settings(tolerance=1e-7, time_limit=20.0))
    assert result.certificate.lower <= optimum.upper
    assert result.certificate.upper >= optimum.lower
    # Of the data without the directions more is true than of the data with them.
    own = unreduced(AdversarialReLU(problem.coordinates, y, **given))
    assert solve(own, "clarabel", settings=TIGHT).certificate.lower > optimum.upper


@pytest.mark.parametrize("seed", range(5))
def test_networks_on_the_boundary_of_their_cones_stay_feasible_in_all_inputs(seed):
    # Opposite samples that share a gate leave the cone without interior: its neurons are orthogonal to them.
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((5, 30))
    X[1] = -2.0 * X[0]
    patterns = rng.random((5, 3)) < 0.7
    patterns[:2] = True
    problem = ConvexReLU(X, rng.standard_normal(5), loss="squared", patterns=patterns, beta=1e-3)
    result = solve(problem, "clarabel", settings=TIGHT)
    assert np.isfinite(result.certificate.upper)
    assert result.certificate.upper == pytest.approx(solve(unreduced(problem), "clarabel").certificate.upper, abs=1e-5)


def test_the_own_objective_is_that_of_all_inputs():
    X, y = data()
    problem = AdversarialReLU(X, y, radius=0.3, norm=2, n_gates=5)
    trained = solve(problem, "clarabel", settings=Settings(tolerance=1e-6)).network
    for given in (trained, network(0, 20)):
        found, other = (p.own_objective(given) for p in (problem, unreduced(problem)))
        assert found.lower <= other.upper + 1e-12
        assert other.lower <= found.upper + 1e-12
        assert found.upper == pytest.approx(other.upper, rel=1e-6)


def test_the_report_says_what_was_reduced():
    X, y = data()
    result = solve(ConvexReLU(X, y, n_gates=3), settings=Settings(tolerance=1e-3))
    assert result.report["reduced"] == {"samples": 6, "inputs": 20, "rank": 6}
    json.dumps(result.to_dict())
    assert "reduced" not in solve(ConvexReLU(*data(n=20, d=3), n_gates=3), settings=Settings(tolerance=1e-3)).report


def test_nothing_of_order_d_squared_is_ever_held():
    d = 3_000
    X, y = data(n=5, d=d)
    solve(ConvexReLU(*data(n=5, d=30), n_gates=3), settings=Settings(tolerance=1e-3))  # imports take memory, too
    tracemalloc.start()
    try:
        for problem in (ConvexReLU(X, y, n_gates=3), AdversarialReLU(X, y, radius=0.1, norm=2, n_gates=3, bias=True)):
            assert solve(problem, "clarabel", settings=Settings(tolerance=1e-4)).quality == "certified"
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * d * d / 4
