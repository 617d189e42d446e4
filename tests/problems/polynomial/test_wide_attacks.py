"""Attacked polynomial problems in the span of their rows: the same optimum, and networks that are spread outside it."""

import json
import pickle
import tracemalloc

import numpy as np
import pytest
from wide_cases import unreduced, wide_attacked_sdp

import cvxrobust
from cvxrobust import AdversarialSDP, InputError, PolynomialClassifier, PolynomialNetwork, Settings, StandardSDP, solve
from cvxrobust.core.programs.polynomial.certificate import MomentMultipliers, PointMultipliers
from cvxrobust.core.programs.polynomial.moments import SpanMultipliers
from cvxrobust.problems.data import row_span

TIGHT = Settings(tolerance=1e-8)
WAYS = [("ipm", "direct"), ("torch", "direct"), ("clarabel", "direct"), ("clarabel", "cutting-set"), ("auto", "auto")]


def example():
    """Six samples whose worst attacks leave their span: an optimum of .3931349."""
    X = 3.0 * np.random.default_rng(0).standard_normal((6, 10))
    return AdversarialSDP(X, np.array([-1.0] * 5 + [1.0]), radius=4.0, beta=0.02)


def data(seed=0, n=6, d=20):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.where(X[:, 0] > 0, 1.0, -1.0)


def network(seed, d, m=4):
    """Neurons that lie neither in the span of any rows nor outside it."""
    rng = np.random.default_rng(seed)
    u = rng.standard_normal((m, d))
    return PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), rng.standard_normal(m))


def spread_by(X, y, radius=1.0):
    """A network that was trained against attacks on other wide data."""
    found = solve(AdversarialSDP(X, y, radius), "ipm", settings=Settings(tolerance=1e-4)).network
    assert found.complement is not None
    return found


@pytest.mark.parametrize(("backend", "method"), WAYS)
def test_the_example_has_the_optimum_that_attacks_outside_the_span_leave_it(backend, method):
    problem = example()
    assert problem.span is not None
    tolerance = 1e-4 if backend == "torch" else 1e-7
    result = solve(problem, backend, method, Settings(tolerance=tolerance))
    assert result.quality == "certified"
    assert result.certificate.upper == pytest.approx(0.3931349, abs=4e-5 if backend == "torch" else 1e-6)
    assert result.certificate.lower <= 0.39313492
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)


def test_neither_a_ball_of_the_coordinates_nor_the_rows_alone_would_do():
    problem = example()
    naive = AdversarialSDP(problem.coordinates, problem.y, radius=4.0, beta=0.02)
    assert solve(unreduced(naive), "ipm", settings=TIGHT).certificate.upper == pytest.approx(0.3983349, abs=1e-6)
    rows = AdversarialSDP(problem.span.coordinates, problem.y, radius=4.0, beta=0.02)
    assert solve(rows, "ipm", settings=TIGHT).certificate.upper == pytest.approx(0.4008356, abs=1e-6)


@pytest.mark.parametrize("number", range(48))
def test_reduced_and_unreduced_problems_have_the_same_optimum(number):
    problem = wide_attacked_sdp(number)
    assert problem.span is not None
    backend = "ipm" if problem.loss in ("hinge", "squared_hinge", "logistic") else "clarabel"
    fewer, all_ = (solve(p, backend, "direct", TIGHT) for p in (problem, unreduced(problem)))
    for result in (fewer, all_):
        assert result.certificate.absolute_gap <= 1e-6
        assert result.network.n_features == problem.X.shape[1]
    assert fewer.certificate.upper == pytest.approx(all_.certificate.upper, abs=1e-7)
    assert fewer.certificate.lower <= all_.certificate.upper + 1e-12
    assert all_.certificate.lower <= fewer.certificate.upper + 1e-12
    # Networks are judged by the data as it was given.
    assert unreduced(problem).objective(fewer.network) == pytest.approx(fewer.certificate.upper, rel=1e-12)


@pytest.mark.parametrize("number", range(0, 30, 6))
def test_the_cutting_set_method_agrees(number):
    problem = wide_attacked_sdp(number)
    direct = solve(problem, "ipm", "direct", TIGHT).certificate
    masters = solve(problem, "clarabel", "cutting-set", Settings(tolerance=1e-6)).certificate
    assert masters.relative_gap <= 1e-5
    assert masters.upper == pytest.approx(direct.upper, rel=2e-5, abs=1e-7)
    assert masters.lower <= direct.upper + 1e-12


@pytest.mark.parametrize("number", [0, 3, 4])
def test_the_readable_reference_is_that_of_the_data_given(number):
    problem = wide_attacked_sdp(number)
    readable = problem.to_cvxpy().solve(solver="CLARABEL", tol_gap_rel=1e-8, tol_gap_abs=1e-8, tol_feas=1e-8)
    assert solve(problem, "clarabel", "direct", TIGHT).certificate.upper == pytest.approx(readable, abs=5e-7)


@pytest.mark.parametrize(("backend", "method"), WAYS)
def test_every_way_to_solve_it_hands_back_a_network_of_all_inputs(backend, method):
    problem = AdversarialSDP(*data(), radius=0.5)
    optimum = solve(unreduced(problem), "clarabel", "direct", TIGHT).certificate
    result = solve(problem, backend, method, Settings(tolerance=1e-4))
    assert result.quality == "certified"
    assert result.network.n_features == 20
    assert result.network.complement is not None
    assert result.certificate.lower <= optimum.upper + 1e-9
    assert result.certificate.upper >= optimum.lower - 1e-9
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    assert result.report == {"reduced": {"samples": 6, "inputs": 20, "rank": 6}}
    json.dumps(result.to_dict())


def test_what_would_hardly_shrink_stays_as_it_is():
    for n, d in ((20, 6), (10, 10), (9, 10)):
        problem = AdversarialSDP(*data(n=n, d=d), radius=0.5)
        assert problem.span is None
        assert solve(problem, settings=Settings(tolerance=1e-3)).network.complement is None


def test_a_complement_of_one_direction_is_as_exact(monkeypatch):
    monkeypatch.setattr(row_span, "PAYS", 1.0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X, y = 2.0 * rng.standard_normal((5, 6)), rng.choice([-1.0, 1.0], 5)
        problem = AdversarialSDP(X, y, radius=2.0, beta=0.02)
        assert problem.span.rank == 5
        fewer, all_ = (solve(p, "ipm", settings=TIGHT).certificate for p in (problem, unreduced(problem)))
        assert fewer.upper == pytest.approx(all_.upper, abs=1e-7)


def test_on_what_samples_have_the_attacks_are_those_of_a_ball():
    X, y = data()
    reduced, given = AdversarialSDP(X, y, 0.5), AdversarialSDP(X, y, 0.5, scale=np.linspace(0.5, 1.0, 20))
    assert not reduced.inner_attack.uneven
    assert not unreduced(reduced).inner_attack.uneven
    assert given.inner_attack.uneven


def test_attacks_that_go_further_in_some_inputs_than_in_others_are_not_reduced():
    X, y = data()
    assert AdversarialSDP(X, y, 0.5, scale=np.linspace(0.5, 1.0, 20)).span is None
    assert AdversarialSDP(X, y, 0.0, scale=np.ones(20)).span is not None  # nobody attacks


# -- networks on the way there and back ------------------------------------------------------------------------------


def test_what_a_network_is_worth_survives_the_way_there_and_back_if_it_is_spread():
    X, y = data()
    problem = AdversarialSDP(X, y, radius=1.0)
    other = spread_by(*data(seed=5))
    for given in (network(0, 20), solve(problem, "ipm", settings=TIGHT).network, other):
        inside = problem.projected(given)
        back = problem.lifted(inside)
        assert inside.complement is None
        assert back.complement is not None
        assert back.penalty == pytest.approx(given.penalty, rel=1e-9)
        assert back.decision_function(X) == pytest.approx(given.decision_function(X), rel=1e-9, abs=1e-9)
        assert problem.objective(back) <= problem.objective(given) + 1e-9
        again = problem.lifted(problem.projected(back))
        assert problem.objective(again) == pytest.approx(problem.objective(back), rel=1e-9)
    with pytest.raises(InputError, match=r"has 20 inputs; the programme of this problem has 7"):
        problem.lifted(network(0, 20))


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
def test_any_network_of_all_inputs_is_a_start(backend):
    X, y = data()
    problem = AdversarialSDP(X, y, radius=0.5)
    optimal = solve(problem, "ipm", settings=TIGHT)
    settings = Settings(tolerance=1e-4)
    for start in (optimal, optimal.network):
        result = solve(problem, backend, "direct", settings, warm_start=start)
        assert result.certificate.upper <= optimal.certificate.upper
    for start in (network(3, 20), spread_by(*data(seed=5))):
        assert solve(problem, backend, "direct", settings, warm_start=start).quality == "certified"


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
def test_a_spread_network_starts_problems_of_every_kind(backend):
    X, y = data(n=6, d=8)
    start, settings = spread_by(*data(n=4, d=8)), Settings(tolerance=1e-3)
    more = data(seed=3, n=12, d=8)
    for problem in (
        StandardSDP(X, y),
        AdversarialSDP(X, y, 0.5, scale=np.linspace(0.5, 1.0, 8)),
        AdversarialSDP(*more, 0.5),
        StandardSDP(*more),
        StandardSDP(more[0], more[0][:, 1], loss="squared"),
    ):
        cold, worth = solve(problem, backend, settings=settings), problem.objective(start)
        warm = solve(problem, backend, settings=settings, warm_start=start)
        assert warm.quality == "certified"
        assert warm.certificate.upper <= worth
        assert warm.certificate.upper == pytest.approx(cold.certificate.upper, rel=2e-3)
        assert problem.lower_bound(problem.network_multipliers(start)) <= cold.certificate.upper


@pytest.mark.parametrize("backend", ["ipm", "torch", "clarabel"])
def test_all_classes_are_spread_over_one_complement(backend):
    X, _ = data(n=7)
    y = np.array(["a", "b", "c"])[np.arange(7) % 3]
    problem = AdversarialSDP(X, y, radius=0.5)
    assert all(part.span is problem.span for part in problem.parts)
    result = solve(problem, backend, settings=Settings(tolerance=1e-4))
    other = solve(unreduced(problem), "ipm", settings=Settings(tolerance=1e-7))
    assert result.quality == "certified"
    assert result.certificate.upper == pytest.approx(other.certificate.upper, rel=2e-4)
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    own, same = (r.network.robust_accuracy(X, y, [0.0, 0.2]) for r in (result, other))
    assert own == pytest.approx(same)
    again = solve(problem, backend, settings=Settings(tolerance=1e-4), warm_start=result)
    assert again.certificate.upper <= result.certificate.upper * (1 + 1e-12)


def test_classes_with_networks_of_different_kinds_become_one_that_is_no_worse():
    X, _ = data(n=7)
    y = np.arange(7) % 3
    for radius, scale in ((0.5, None), (0.5, np.linspace(0.5, 1.0, 20)), (0.0, None)):
        problem = AdversarialSDP(X, y, radius=radius, scale=scale)
        parts = [spread_by(*data(seed=5)), network(1, 20), problem.parts[2].trivial_network()]
        for networks in (parts, parts[::-1], parts[1:], parts[::2]):
            own = [*networks, *parts][:3]
            worth = sum(part.objective(one) for part, one in zip(problem.parts, own, strict=True))
            assert problem.objective(problem.combine(own)) <= worth + 1e-9


def test_it_means_the_same_in_another_process():
    problem = AdversarialSDP(*data(), radius=0.5)
    fresh = pickle.loads(pickle.dumps(AdversarialSDP(*data(), radius=0.5)))
    assert np.array_equal(problem.to_conic().A.toarray(), fresh.to_conic().A.toarray())
    within = solve(problem, "ipm", settings=Settings(tolerance=1e-4, time_limit=60.0)).network
    assert np.array_equal(pickle.loads(pickle.dumps(within)).u, within.u)


def test_files_hold_what_was_trained(tmp_path):
    X, y = data()
    result = solve(AdversarialSDP(X, y, radius=0.5), settings=Settings(tolerance=1e-4))
    result.network.save(tmp_path / "network.npz")
    again = cvxrobust.load(tmp_path / "network.npz")
    assert AdversarialSDP(X, y, radius=0.5).objective(again) == pytest.approx(result.certificate.upper, rel=1e-12)
    assert again.metadata["certificate_relative_gap"] <= 1e-4


def test_estimators_take_wide_data():
    X, y = data(n=12, d=40)
    model = PolynomialClassifier(radius=0.3).fit(X, y)
    assert model.network_.complement is not None
    exact = model.network_.replace(complement=None, u=np.empty((0, 40)), alpha=np.empty(0))
    assert model.score(X, y) == 1.0
    assert exact.n_neurons == 0
    assert model.robust_score(X, y, [0.1]) == pytest.approx(model.network_.robust_accuracy(X, y, [0.1]))


# -- bounds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic", "squared"])
def test_no_network_is_better_than_the_bound_of_any_multipliers(loss):
    X, y = data()
    problem = AdversarialSDP(X, y, radius=np.linspace(0.0, 2.0, 6), loss=loss)
    rng = np.random.default_rng(0)
    best = solve(unreduced(problem), "clarabel", "direct", TIGHT).certificate.upper
    for _ in range(20):
        theta = rng.uniform(-0.2, 1.0, 6) / 6
        basis, mean = rng.standard_normal((20, 2)), rng.standard_normal((6, 2))
        factors = rng.standard_normal((6, 21, 3))
        kinds = [
            PointMultipliers(theta, np.arange(6), X + rng.standard_normal((6, 20))),
            problem.network_multipliers(network(int(rng.integers(100)), 20)),
        ]
        if loss != "squared":
            kinds += [
                MomentMultipliers(factors @ factors.swapaxes(1, 2)),
                MomentMultipliers(factors[:, :4] @ factors[:, :4].swapaxes(1, 2), np.linalg.qr(X.T)[0][:, :3]),
                SpanMultipliers(theta, basis, mean, rng.uniform(0.0, 1.0, (6, 2))),
            ]
        assert all(problem.lower_bound(multipliers) <= best + 1e-9 for multipliers in kinds)


def test_multipliers_about_all_inputs_prove_at_least_as_much_as_there():
    problem = example()
    whole = unreduced(problem)
    optimum = solve(whole, "clarabel", "direct", TIGHT)
    multipliers = whole.multipliers(optimum.solution)
    assert isinstance(multipliers, MomentMultipliers)
    assert problem.lower_bound(multipliers) == pytest.approx(optimum.certificate.lower, abs=1e-7)
    in_a_basis = MomentMultipliers(multipliers.moments, np.eye(10))
    assert problem.lower_bound(in_a_basis) == pytest.approx(problem.lower_bound(multipliers), abs=1e-12)
    theta, spread = multipliers.moments[:, -1, -1], np.full((6, 10), 1.0)
    random = SpanMultipliers(theta, np.eye(10), np.zeros((6, 10)), spread)
    assert problem.lower_bound(random) >= whole.lower_bound(random) - 1e-12


@pytest.mark.parametrize("noise", [1e-2, 0.1, 0.3])
def test_directions_that_are_dropped_make_no_bound_false(noise, monkeypatch):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((9, 3)) @ rng.standard_normal((3, 15)) + noise * rng.standard_normal((9, 15))
    y = np.where(rng.random(9) < 0.5, 1.0, -1.0)
    optimum = solve(unreduced(AdversarialSDP(X, y, 0.3, beta=1e-3)), "ipm", settings=TIGHT).certificate
    monkeypatch.setattr(row_span, "DEPENDENT", noise)
    problem = AdversarialSDP(X, y, 0.3, beta=1e-3)
    assert problem.span.rank < 9
    result = solve(problem, "clarabel", "direct", Settings(tolerance=1e-7, time_limit=20.0))
    assert result.certificate.lower <= optimum.upper
    assert result.certificate.upper >= optimum.lower
    # Of the data without the directions more is true than of the data with them.
    scale = problem.inner_attack.ellipsoid.scale
    own = AdversarialSDP(problem.coordinates, y, 0.3, beta=1e-3, scale=scale)
    assert solve(own, "ipm", settings=TIGHT).certificate.lower > optimum.upper


def test_priced_neurons_are_neurons_of_all_inputs():
    problem = AdversarialSDP(*data(), radius=0.5, beta=1e-3)
    bound = problem.dual(problem.network_multipliers(problem.trivial_network()))
    assert bound.neurons.shape == (2, 20)
    assert np.linalg.norm(bound.neurons, axis=1) == pytest.approx(1.0)


def test_nothing_of_order_d_squared_is_ever_held():
    d = 3_000
    X, y = data(n=5, d=d)
    small = AdversarialSDP(*data(n=5, d=30), radius=0.5)
    solve(small, settings=Settings(tolerance=1e-3))  # imports take memory, too
    problem = AdversarialSDP(X, y, radius=5.0)
    tracemalloc.start()
    try:
        for backend, method in (("clarabel", "direct"), ("clarabel", "cutting-set"), ("ipm", "direct")):
            result = solve(problem, backend, method, Settings(tolerance=1e-3))
            assert result.quality == "certified"
            result.network.robust_accuracy(X, y, [1.0, 2.0])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * d * d / 4
