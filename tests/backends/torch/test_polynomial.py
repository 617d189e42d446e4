"""The first-order solver for polynomial programmes: honest bounds, global optima, and attacks in a small space."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from random_problems import random_case

from cvxrobust import AdversarialSDP, Settings, StandardSDP, solve
from cvxrobust.backends.torch.polynomial.attacks import Spectrum, smoothed_attacks, varying_coordinates
from cvxrobust.backends.torch.polynomial.neurons import compressed, merged
from cvxrobust.backends.torch.polynomial.objective import PolynomialSmoothing, Query, SmoothedObjective
from cvxrobust.backends.torch.polynomial.objective_numpy import SmallObjective
from cvxrobust.backends.torch.polynomial.samples import LocalSamples
from cvxrobust.backends.torch.polynomial.solve import solve_polynomial
from cvxrobust.backends.torch.process_group import Team
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.errors import InputError, UnknownNameError
from cvxrobust.core.kit import network_of
from cvxrobust.core.networks.polynomial import PolynomialNetwork
from cvxrobust.core.solving.judging import sanitize

ACTIVATIONS = ((0.09, 0.5, 0.47), (-0.2, 0.4, 0.1))
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small_problem(loss="hinge", n=30, d=5, radius=0.2, seed=0, beta=0.01):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    score = X @ rng.standard_normal(d) + 0.5 * rng.standard_normal(n)
    if loss == "squared":
        return StandardSDP(X, score, beta=beta, loss=loss)
    return AdversarialSDP(X, np.where(score > 0.0, 1.0, -1.0), radius=radius, beta=beta, loss=loss)


def certificate(problem, solution):
    """Bounds by the problem's own judgement: nothing of the solver's is believed."""
    return Certificate(
        problem.objective(sanitize.network_of(problem, solution)), problem.lower_bound(solution.multipliers)
    )


def random_network(rng, m, d, activation):
    u = rng.standard_normal((m, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return PolynomialNetwork(u, rng.standard_normal(m), activation)


def as_tensors(network):
    neurons = torch.tensor(np.sqrt(np.abs(network.alpha))[:, None] * network.u)
    return neurons, torch.tensor(np.sign(network.alpha))


def objective_of(program):
    return SmoothedObjective(program, LocalSamples(program, CPU, torch.float64, Team(), lambda: False))


# -- attacks --------------------------------------------------------------------------------------------------------


def random_attacks(rng, n, k, nu, guess=None):
    """Curvatures ``scale_i values``, half gradients, some of them tiny or without the first entry, and the attacks."""
    scale, values = torch.tensor(rng.standard_normal(n)), torch.tensor(np.sort(rng.standard_normal(k)))
    half = torch.tensor(rng.standard_normal((n, k)))
    half[: n // 4] *= 1e-6
    half[n // 4 : n // 2, 0] = 0.0
    every = torch.arange(k)
    found = smoothed_attacks(scale, values, half, nu, every, guess)
    return scale, values, half, found


def test_smoothed_margins_lie_below_the_exact_ones_and_tend_to_them():
    for nu in (1.0, 0.1, 1e-3):
        *_, exact = random_attacks(np.random.default_rng(0), 40, 5, 1e-12)
        *_, found = random_attacks(np.random.default_rng(0), 40, 5, nu)
        assert (found.change <= exact.change + 1e-10).all()
        assert (found.change >= exact.change - 6.0 * nu).all()


@pytest.mark.parametrize("convex", [False, True])
@pytest.mark.parametrize("nu", [1.0, 0.05, 1e-4])
def test_random_attacks_fill_the_ball_and_no_more(nu, convex):
    rng = np.random.default_rng(1)
    scale, values = torch.tensor(rng.standard_normal(60)), torch.tensor([-1.0, 0.2, 0.3, 2.0]).double()
    half = torch.tensor(rng.standard_normal((60, 4)))
    half[:20, 0] = 0.0
    if convex:  # some minimisers lie inside the ball then, in one case without any attack
        scale, values = scale.abs() + 2.0, values + 3.0
        half[0] = 0.0
    found = smoothed_attacks(scale, values, half, nu, torch.arange(4))
    lengths = (found.against**2).sum(dim=1) + found.variance.sum(dim=1)
    assert (lengths <= 1.0 + 1e-8).all()
    multiplier = found.shift - (scale[:, None] * values).amin(dim=1)
    assert (multiplier >= -1e-15).all()
    assert multiplier * (1.0 - lengths) == pytest.approx(0.0, abs=1e-7)
    for factor in (3.0, 0.01):
        again = smoothed_attacks(scale, values, half, nu, torch.arange(4), guess=factor * found.shift)
        assert again.against.numpy() == pytest.approx(found.against.numpy(), abs=1e-6)


@pytest.mark.parametrize("sides", ["both", "positive", "negative"])
@pytest.mark.parametrize("nu", [1e-1, 1e-3, 1e-5])
def test_coordinates_left_out_have_no_variance(nu, sides):
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.05, 0.2, 50) * (rng.choice([-1.0, 1.0], 50) if sides == "both" else 1.0)
    scale = torch.tensor(-scale if sides == "negative" else scale)
    values, half = torch.tensor(np.sort(rng.standard_normal(6))), torch.tensor(0.1 * rng.standard_normal((50, 6)))
    bounds = (float(scale.min()), float(scale.max()), float(scale.abs().min()))
    some = varying_coordinates(values, bounds, nu)
    whole = smoothed_attacks(scale, values, half, nu, torch.arange(6))
    part = smoothed_attacks(scale, values, half, nu, some)
    assert part.change.numpy() == pytest.approx(whole.change.numpy(), abs=1e-13)
    assert part.variance.numpy() == pytest.approx(whole.variance[:, some].numpy(), abs=1e-10)
    if nu < 1e-4:
        assert some.numel() == (2 if sides == "both" else 1)


# -- the objective --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic", "squared"])
@pytest.mark.parametrize("m", [3, 9])
def test_the_gradient_is_the_derivative_of_the_value(loss, m):
    program = small_problem(loss, n=12, d=6, radius=np.linspace(0.0, 1.5, 12)).to_structured()
    rng = np.random.default_rng(m)
    neurons, direction = (torch.tensor(0.3 * rng.standard_normal((m, 6))) for _ in range(2))
    signs = torch.tensor(np.where(rng.random(m) < 0.5, 1.0, -1.0))
    objective = objective_of(program)
    smoothing = PolynomialSmoothing(1.0, 0.2, torch.tensor(rng.random(12)))
    (found,) = objective.evaluate([Query(0, neurons, signs, smoothing)])
    if loss == "hinge":  # every term matters
        assert ((found.weights > 0.0) & (found.weights < 1.0)).any()
    slope = float((found.gradient * direction).sum())
    t = 1e-5
    queries = [Query(0, neurons + s * t * direction, signs, smoothing) for s in (1.0, -1.0)]
    values = [objective.evaluate([query])[0].value for query in queries]
    # Evaluated together or alone is the same.
    assert [found.value for found in objective.evaluate(queries)] == pytest.approx(values, rel=1e-13)
    assert (values[0] - values[1]) / (2.0 * t) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic", "squared"])
@pytest.mark.parametrize("m", [3, 6, 9])
@pytest.mark.parametrize("radius", [0.0, 0.3, "mixed"])
def test_numpy_evaluates_small_problems_as_pytorch_does(loss, m, radius):
    rng = np.random.default_rng(m)
    radius = rng.choice([0.0, 0.1, 2.0], 40) if radius == "mixed" else radius
    program = small_problem(loss, n=40, d=6, radius=radius).to_structured()
    samples = LocalSamples(program, CPU, torch.float64, Team(), lambda: False)
    small, plain = SmallObjective(program, samples), SmoothedObjective(program, samples)
    for nu in (1.0, 0.03, 1e-4):
        neurons = torch.tensor(0.3 * rng.standard_normal((m, 6)))
        signs = torch.tensor(np.where(rng.random(m) < 0.5, 1.0, -1.0))
        query = Query(0, neurons, signs, PolynomialSmoothing(0.3, nu, torch.tensor(rng.random(40))))
        # The second time from a guess.
        for ours, theirs in zip(small.evaluate([query] * 2), plain.evaluate([query] * 2), strict=True):
            assert ours.value == pytest.approx(theirs.value, rel=1e-12)
            for name in ("gradient", "margins", "weights", "shift"):
                first, second = getattr(ours, name), getattr(theirs, name)
                assert first.dtype == torch.float64
                assert first.shape == second.shape
                assert first.numpy() == pytest.approx(second.numpy(), rel=1e-7, abs=1e-9), name


@pytest.mark.parametrize("limit", [0, 2**20])
def test_what_is_few_decides_who_evaluates_and_changes_no_answer(monkeypatch, limit):
    monkeypatch.setattr("cvxrobust.backends.torch.polynomial.samples.SMALL", limit)
    used, whole = [], SmallObjective._evaluated
    monkeypatch.setattr(SmallObjective, "_evaluated", lambda *query: used.append(1) or whole(*query))
    problem = small_problem(n=60, d=8)
    solution = solve_polynomial(problem.to_structured(), Settings(tolerance=1e-4))
    assert solution.termination is Termination.CONVERGED
    assert len(used) == (solution.iterations if limit else 0)
    assert certificate(problem, solution).relative_gap <= 1.01e-4


def test_threads_share_the_blocks_and_agree_with_one(monkeypatch):
    monkeypatch.setattr("cvxrobust.backends.torch.polynomial.samples.BLOCK", 1)
    program = small_problem(n=2000, d=6, radius=np.linspace(0.0, 1.0, 2000)).to_structured()
    network = random_network(np.random.default_rng(3), 6, 6, program.activation)
    query = Query(0, *as_tensors(network), PolynomialSmoothing(0.1, 1e-2, torch.zeros(2000).double()))
    alone = objective_of(program).evaluate([query])[0]
    used = []
    whole = SmoothedObjective._add_share
    monkeypatch.setattr(SmoothedObjective, "_add_share", lambda *share: used.append(len(share[2])) or whole(*share))
    torch.set_num_threads(2)  # the fixture sets it back
    objective = objective_of(program)
    for _ in range(2):
        shared = objective.evaluate([query])[0]
        assert torch.get_num_threads() == 2
        assert sorted(used) == [4, 4]
        used.clear()
        assert shared.value == pytest.approx(alone.value, rel=1e-12)
        assert shared.gradient.numpy() == pytest.approx(alone.gradient.numpy(), rel=1e-9, abs=1e-12)
        for name in ("margins", "weights", "shift"):
            assert getattr(shared, name).numpy() == pytest.approx(getattr(alone, name).numpy(), rel=1e-6, abs=1e-9)


def test_the_smoothed_objective_tends_to_the_true_one():
    problem = small_problem(n=20, d=4, radius=np.linspace(0.0, 1.0, 20))
    network = random_network(np.random.default_rng(3), 6, 4, problem.activation)
    objective = objective_of(problem.to_structured())
    smoothing = PolynomialSmoothing(1e-9, 1e-9, torch.zeros(20, dtype=torch.float64))
    value = objective.evaluate([Query(0, *as_tensors(network), smoothing)])[0].value
    assert value == pytest.approx(problem.objective(network), rel=1e-6)


def test_a_spectrum_rebuilds_the_matrix_from_few_or_many_neurons():
    rng = np.random.default_rng(4)
    for m in (2, 9):
        neurons, signs = torch.tensor(rng.standard_normal((m, 5))), torch.tensor(np.sign(rng.standard_normal(m)))
        spectrum = Spectrum.of(neurons, signs, -0.5)
        rebuilt = (spectrum.vectors * spectrum.values) @ spectrum.vectors.T
        assert rebuilt.numpy() == pytest.approx(-0.5 * ((neurons.T * signs) @ neurons).numpy(), abs=1e-12)
        assert spectrum.values.numel() == min(m, 5)


# -- whole solves ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic", "squared"])
def test_the_optimum_is_the_one_that_clarabel_finds(loss):
    problem = small_problem(loss)
    settings = Settings(tolerance=1e-5)
    solution = solve_polynomial(problem.to_structured(), settings)
    mine = certificate(problem, solution)
    method = "direct" if loss == "squared" else "cutting-set"
    reference = solve(problem, backend="clarabel", method=method, settings=settings).certificate
    assert solution.termination is Termination.CONVERGED
    assert mine.relative_gap <= 1.01e-5
    # Two certified intervals of one optimum overlap, or somebody lies.
    assert mine.lower <= reference.upper + 1e-12
    assert reference.lower <= mine.upper + 1e-12


@pytest.mark.parametrize("number", range(27))
def test_small_random_problems_are_solved_or_honestly_not(number):
    case = random_case(number)
    problem = case.problem
    settings = Settings(tolerance=1e-4, max_iterations=1200)
    solution = solve_polynomial(problem.to_structured(), settings)
    found = certificate(problem, solution)
    assert found.lower <= found.upper + 1e-12
    network = sanitize.network_of(problem, solution)
    assert problem.lower_bound(problem.network_multipliers(network)) <= found.upper + 1e-12
    if case.well_scaled:
        assert found.relative_gap <= 1e-3 or found.absolute_gap <= 1e-9, str(case)
    if solution.termination is Termination.CONVERGED:
        assert found.relative_gap <= 1.01e-4


@pytest.mark.parametrize(("n", "d"), [(1, 1), (12, 1), (2, 6)])
@pytest.mark.parametrize("one_class", [True, False])
def test_the_smallest_shapes_are_solved(n, d, one_class):
    problem = small_problem(n=n, d=d, radius=0.1)
    program = problem.to_structured()
    if one_class:
        program = replace(program, labels=np.ones_like(program.labels))
        problem = AdversarialSDP(program.X, program.labels[:, 0], radius=0.1)
    solution = solve_polynomial(program, Settings(tolerance=1e-4, time_limit=10.0))
    assert solution.termination is Termination.CONVERGED
    assert certificate(problem, solution).relative_gap <= 1.01e-4


def test_merged_neurons_are_the_same_function():
    rng, program = np.random.default_rng(6), small_problem(d=4).to_structured()
    neurons, signs = rng.standard_normal((14, 4)), np.where(np.arange(14) < 9, 1.0, -1.0)
    merged, kinds = compressed(neurons, signs)
    assert merged.shape[0] == kinds.size <= 10
    full, small = (network_of(program, *pair) for pair in ((neurons, signs), (merged, kinds)))
    X = rng.standard_normal((20, 4))
    assert small.decision_function(X) == pytest.approx(full.decision_function(X))
    assert small.penalty == pytest.approx(full.penalty)


def test_neurons_that_fade_or_repeat_are_merged_and_nothing_else_is():
    rng, program = np.random.default_rng(7), small_problem(d=6).to_structured()
    strong, signs = rng.standard_normal((4, 6)), np.array([1.0, 1.0, -1.0, -1.0])
    fading = 1e-3 * rng.standard_normal((8, 6))
    neurons = np.vstack([strong, 0.5 * strong, fading])
    kinds = np.concatenate([signs, signs, np.where(np.arange(8) < 3, 1.0, -1.0)])
    few, left = merged(neurons, kinds, 1e-5)
    assert sorted(left) == [-1.0, -1.0, 1.0, 1.0]
    full, small = (network_of(program, *pair) for pair in ((neurons, kinds), (few, left)))
    X = rng.standard_normal((20, 6))
    assert small.decision_function(X) == pytest.approx(full.decision_function(X), abs=1e-4)
    assert small.penalty == pytest.approx(full.penalty, rel=1e-5)
    # What counts stays, and so does a network that would hardly get smaller.
    assert merged(neurons, kinds, 1e-9)[1].size == 12
    again = merged(few, left, 1e-5)
    assert again[0] is few
    assert again[1] is left
    # One sign may be gone altogether.
    assert set(merged(np.vstack([strong[:2], fading]), np.repeat([1.0, -1.0], [2, 8]), 1e-5)[1]) == {1.0}


def test_the_network_ends_up_with_as_few_neurons_as_its_matrices_need():
    problem = small_problem(n=60, d=8)
    solution = solve_polynomial(problem.to_structured(), Settings(tolerance=1e-5))
    assert solution.termination is Termination.CONVERGED
    assert solution.network.n_neurons <= 12  # of 18 at the start


def test_the_limit_is_global_from_a_single_neuron():
    problem = small_problem(n=40, d=6, radius=0.5)
    lonely = Settings(tolerance=1e-4, options={"neurons": 1}, time_limit=20.0)
    solution = solve_polynomial(problem.to_structured(), lonely)
    assert solution.termination is Termination.CONVERGED
    assert solution.network.n_neurons > 2
    assert certificate(problem, solution).relative_gap <= 1.01e-4


def test_reported_bounds_only_get_better_and_are_the_ones_returned():
    problem, seen = small_problem(), []
    monitor = Monitor(hear=lambda upper, lower, iterate: seen.append((upper, lower)))
    solution = solve_polynomial(problem.to_structured(), Settings(tolerance=1e-4), monitor)
    uppers, lowers = np.array(seen).T
    assert len(seen) > 3
    assert (np.diff(uppers) <= 0.0).all()
    assert (np.diff(lowers) >= 0.0).all()
    found = certificate(problem, solution)
    assert found.upper == pytest.approx(uppers[-1], rel=1e-12)
    assert found.lower == pytest.approx(lowers[-1], rel=1e-12)


def test_a_good_start_is_used_and_saves_work():
    problem = small_problem(n=60, d=8)
    program, settings = problem.to_structured(), Settings(tolerance=1e-4)
    cold = solve_polynomial(program, settings)
    seen = []
    monitor = Monitor(hear=lambda upper, lower, iterate: seen.append(upper))
    warm = solve_polynomial(program, settings, monitor, start=cold.network)
    assert warm.iterations < cold.iterations
    assert seen[0] == pytest.approx(1.0)
    # Known from the second report on, the first being the network without neurons.
    assert seen[1] <= problem.objective(cold.network) * (1.0 + 1e-9)


def test_the_iteration_limit_is_kept_and_the_best_is_returned():
    problem = small_problem()
    solution = solve_polynomial(problem.to_structured(), Settings(tolerance=1e-9, max_iterations=50))
    assert solution.termination is Termination.ITERATION_LIMIT
    assert solution.iterations <= 50
    found = certificate(problem, solution)
    assert found.upper < float(np.mean(np.ones(30)))
    assert 0.0 < found.lower <= found.upper


def test_a_stopped_monitor_ends_the_solve_with_what_there_is():
    problem, monitor = small_problem(), Monitor()
    monitor.hear = lambda upper, lower, iterate: monitor.stop() if lower > 0.0 and upper < 0.9 else None
    solution = solve_polynomial(problem.to_structured(), Settings(tolerance=1e-9), monitor)
    assert solution.termination is Termination.INTERRUPTED
    assert np.isfinite(certificate(problem, solution).relative_gap)
    assert solution.iterations < 200


@pytest.mark.parametrize("by", ["deadline", "setting"])
def test_a_deadline_ends_the_solve(by):
    problem = small_problem(n=60, d=8, radius=1.0)
    past = Monitor(deadline=time.perf_counter()) if by == "deadline" else None
    limit = None if by == "deadline" else 1e-6
    solution = solve_polynomial(problem.to_structured(), Settings(tolerance=1e-9, time_limit=limit), past)
    assert solution.termination is Termination.TIME_LIMIT
    assert solution.iterations <= 1
    assert certificate(problem, solution).upper <= 1.0


def test_a_seed_fixes_the_answer():
    program = small_problem().to_structured()
    settings = Settings(tolerance=1e-4, seed=3)
    first, second = (solve_polynomial(program, settings) for _ in range(2))
    assert np.array_equal(first.network.u, second.network.u)
    assert np.array_equal(first.multipliers.theta, second.multipliers.theta)
    other = solve_polynomial(program, replace(settings, seed=4))
    assert not np.array_equal(first.network.u, other.network.u)


def test_single_precision_products_still_give_a_double_precision_certificate():
    problem = small_problem(n=60, d=8)
    solution = solve_polynomial(problem.to_structured(), Settings(tolerance=1e-4), dtype="float32")
    assert solution.termination is Termination.CONVERGED
    assert solution.network.u.dtype == np.float64
    assert solution.multipliers.theta.dtype == np.float64
    assert certificate(problem, solution).relative_gap <= 1.0001e-4
    assert solution.applied["dtype"] == "float32"


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_the_programme_is_left_alone(loss):
    program = small_problem(loss, n=12, d=3).to_structured()
    before = [array.copy() for array in (program.X, program.labels, program.radius)]
    solve_polynomial(program, Settings(tolerance=1e-2))
    for old, new in zip(before, (program.X, program.labels, program.radius), strict=True):
        assert np.array_equal(old, new)


def test_a_network_that_does_not_pay_is_left_out():
    problem = small_problem(beta=50.0)
    solution = solve_polynomial(problem.to_structured(), Settings(tolerance=1e-6))
    assert solution.termination is Termination.CONVERGED
    assert certificate(problem, solution).upper == pytest.approx(1.0)


def test_what_cannot_be_solved_is_refused_in_words():
    program = small_problem().to_structured()
    with pytest.raises(InputError, match=r"\(30, 2\).*one column"):
        solve_polynomial(replace(program, labels=np.hstack([program.labels] * 2)), Settings())
    with pytest.raises(UnknownNameError, match="neurons"):
        solve_polynomial(program, Settings(options={"nuerons": 3}))
    with pytest.raises(InputError, match="whole number"):
        solve_polynomial(program, Settings(options={"neurons": 0}))
    with pytest.raises(InputError, match="expected 5"):
        solve_polynomial(program, Settings(), start=random_network(np.random.default_rng(0), 2, 3, ACTIVATIONS[0]))
    with pytest.raises(UnknownNameError, match="float16"):
        solve_polynomial(program, Settings(), dtype="float16")


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
@pytest.mark.parametrize("radius", [1.2, 2.0, 4.0])
def test_where_attacks_leave_nothing_to_learn_the_zero_network_is_certified(radius, loss):
    """Descent alone ended at gaps of 1e-5 to 1e-3: its multipliers priced neurons at barely more than beta."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 20))
    y = np.where(X @ rng.standard_normal(20) + 0.5 * rng.standard_normal(50) > 0.0, 1.0, -1.0)
    problem = AdversarialSDP(X, y, radius=radius, beta=0.03, loss=loss)
    result = solve(problem, backend="torch", settings=Settings(threads=1))
    assert result.termination is Termination.CONVERGED
    exact = solve(problem, backend="ipm", settings=Settings(threads=1)).certificate
    assert result.certificate.lower <= exact.upper * (1.0 + 1e-9)
    assert result.certificate.upper >= exact.lower * (1.0 - 1e-9)
    if radius > 1.5:
        assert result.network.n_neurons == 0
        assert result.iterations < 1000


def test_attacks_are_smoothed_no_less_for_a_network_that_nobody_wants():
    """With ever less smoothing multipliers had to be found again and again: a gap of 0.86 after 2,000 evaluations."""
    rng = np.random.default_rng(1)
    mixed = rng.standard_normal((20, 4))
    X = rng.standard_normal((40, 4)) @ mixed.T + 0.1 * rng.standard_normal((40, 20))
    problem = AdversarialSDP(X, np.where(X[:, 0] > 0.0, 1.0, -1.0), radius=8.0, beta=1e-3)
    result = solve(problem, backend="torch", settings=Settings(threads=1, max_iterations=1000))
    assert result.termination is Termination.CONVERGED
    assert result.network.n_neurons == 0
