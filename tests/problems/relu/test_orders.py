"""ReLU problems compared with one another: radii, gates, formulations, and gates found better ones for."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from random_relu import FORMS, LOSSES, NORMS, random_recipe
from relu_cases import ROUNDING, SETTINGS, certified, clear_gates, data, optimum

from cvxrobust import (
    AdversarialReLU,
    ConvexReLU,
    ReLUNetwork,
    solve,
)
from cvxrobust.core.solving.plan import make_plan

# -- orders between optima --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("norm", NORMS)
def test_a_larger_radius_never_lowers_the_optimum(norm, form):
    X, y = data(1, n=10)
    bound = {"formulation": form} if form in ("cone", "gated") else {"bound": form}
    gates = clear_gates(X, keep=5)
    # The gates of the mixed bound follow the radius, so optima of different radii are not comparable.
    radii = (0.0, 0.05, 0.2, 0.6) if form != "mixed" else (0.0, 5.0)
    found = [optimum(AdversarialReLU(X, y, r, norm=norm, gates=gates, **bound)) for r in radii]
    for smaller, larger in pairwise(found):
        assert smaller.lower <= larger.upper
        assert larger.upper >= smaller.upper * (1 - 1e-6)
    assert found[-1].upper > found[0].upper * 1.01


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_more_gates_never_raise_the_optimum(radius, loss):
    X, y = data(2, n=14)
    gates = clear_gates(X, keep=8)
    for formulation in ("cone", "one-sided", "gated"):
        if (loss, formulation) == ("squared", "one-sided"):
            continue
        found = [
            optimum(AdversarialReLU(X, y, radius, norm=2, gates=gates[:, :P], loss=loss, formulation=formulation))
            for P in (1, 3, 8)
        ]
        for fewer, more in pairwise(found):
            assert more.upper <= fewer.upper * (1 + 1e-6)
            assert more.lower <= fewer.upper
        assert found[-1].upper < found[0].upper * 0.99


@pytest.mark.parametrize("number", [n for n in range(120) if random_recipe(n).form == "cone"][:20])
def test_cones_cost_more_than_their_violations_and_the_relaxation_costs_least(number):
    problem, result = certified(number)
    upper = result.certificate.upper
    assert optimum(replace(problem, formulation="gated")).upper <= upper * (1 + 1e-6)
    if problem.loss != "squared":
        assert optimum(replace(problem, formulation="one-sided")).upper <= upper * (1 + 1e-6)


@pytest.mark.parametrize("number", range(60))
def test_no_network_does_worse_by_itself_than_its_programme_says(number):
    problem, result = certified(number)
    own = problem.own_objective(result.network)
    assert own.lower <= own.upper
    if problem.formulation == "gated" or problem.labels.shape[1] > 1:
        return
    assert own.upper <= result.certificate.upper * (1 + ROUNDING)
    if problem.formulation == "cone":
        assert own.upper == pytest.approx(result.certificate.upper, rel=1e-9)
        assert own.lower == pytest.approx(own.upper, rel=1e-5)


@pytest.mark.parametrize("slots", [None, "last", "first"])
def test_neurons_that_share_a_slot_are_no_better_than_apart(slots):
    """Their sum would be another network, with a smaller penalty and, where they cancel, smaller losses."""
    X, y = data(n=12)
    rng = np.random.default_rng(0)
    for trial in range(20):
        problem = AdversarialReLU(X, y, 0.2 * (trial % 2), n_gates=8)
        last = problem.size - 1
        u = rng.standard_normal(3)
        known = {None: None, "last": (last, last), "first": (0, 0)}[slots]
        network = ReLUNetwork(np.stack([u, 0.1 * rng.standard_normal(3) - u]), np.array([-1.0, -1.0]), slots=known)
        own = problem.own_objective(network)
        assert problem.objective(network) >= own.upper * (1 - ROUNDING)
        stranger = replace(network, slots=None)
        assert own.upper >= problem.own_objective(stranger).lower * (1 - ROUNDING)


# -- better gates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("radius", [0.0, 0.05, 0.15])
def test_regating_never_raises_the_optimum(radius, norm):
    X, y = data(3, n=18)
    problem = AdversarialReLU(X, y, radius, norm=norm, n_gates=6, beta=0.005)
    first = solve(problem, backend="clarabel", settings=SETTINGS)
    result = solve(replace(problem, regate=4), backend="clarabel", settings=SETTINGS)
    history = result.history
    assert history[0].kind == "given"
    assert history[0].certificate.upper == pytest.approx(first.certificate.upper, rel=1e-9)
    assert 1 < len(history) <= 5
    assert {step.kind for step in history[1:]} == {"regated"}
    assert {step.size for step in history} == {problem.size}
    for step in history:
        assert step.certificate.lower <= step.certificate.upper
        assert step.certificate.relative_gap <= 1e-6
    for before, after in pairwise(history):
        assert after.certificate.upper <= before.certificate.upper
    assert result.certificate == history[-1].certificate
    assert result.certificate.upper < first.certificate.upper * 0.999
    assert result.problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=ROUNDING)
    assert result.problem.own_objective(result.network).upper <= result.certificate.upper * (1 + ROUNDING)


def test_every_round_of_regating_that_was_asked_for_is_run():
    X, y = data(3, n=18)
    problem = ConvexReLU(X, y, n_gates=6, beta=0.005)
    histories = [solve(replace(problem, regate=k), backend="clarabel", settings=SETTINGS).history for k in range(4)]
    # After two rounds no sample gains by changing its gates.
    assert [len(history) for history in histories] == [0, 2, 3, 3]
    for shorter, longer in pairwise(histories[1:]):
        assert [step.certificate for step in shorter] == [step.certificate for step in longer][: len(shorter)]


def test_without_attack_no_regated_optimum_is_below_that_of_all_patterns():
    X, y = data(4, n=9, d=2)
    everything = optimum(ConvexReLU(X, y, "all", beta=0.02))
    result = solve(ConvexReLU(X, y, gates=[[1.0], [0.2]], regate=20, beta=0.02), settings=SETTINGS)
    assert result.certificate.upper >= everything.lower * (1 - 1e-9)
    assert len(result.history) < 21


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(2))
def test_growing_from_one_poor_gate_reaches_the_optimum_of_all_patterns(seed, loss):
    X, y = data(seed, n=9, d=2)
    # One seed needs neurons of the one sign, the other of the other.
    target = (1.0 - 2.0 * seed) * (np.abs(X[:, 0]) - X[:, 1] if loss == "squared" else y)
    poor = [[1.0], [0.3]]
    formulation = "cone" if loss == "squared" else None
    everything = optimum(ConvexReLU(X, target, "all", loss=loss, beta=0.01, formulation=formulation))
    problem = ConvexReLU(X, target, gates=poor, loss=loss, beta=0.01, formulation=formulation, grow=3)
    problem = replace(problem, grow_gain=0.0)
    result = solve(problem, backend="clarabel", settings=SETTINGS, gates="grow")
    sizes = [step.size for step in result.history]
    uppers = [step.certificate.upper for step in result.history]
    assert len(sizes) > 2
    assert sizes == sorted(set(sizes))
    assert uppers == sorted(uppers, reverse=True)
    assert all(step.certificate.lower <= step.certificate.upper for step in result.history)
    assert uppers[-1] < uppers[0] * 0.9
    assert uppers[-1] >= everything.lower * (1 - 1e-9)
    assert uppers[-1] == pytest.approx(everything.upper, rel=1e-5)
    assert result.report["slots"] == sizes[-1] == result.problem.size
    assert result.report["gates"] == 1
    assert result.problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=ROUNDING)


def test_growing_under_attack_lowers_the_optimum_and_ends():
    X, y = data(1, n=12, d=2)
    problem = AdversarialReLU(X, y, 0.1, norm=2, gates=[[1.0, -1.0], [0.3, 0.2]], grow=4, regate=2, beta=0.005)
    result = solve(problem, backend="clarabel", settings=SETTINGS, gates="grow")
    kinds = [step.kind for step in result.history]
    uppers = [step.certificate.upper for step in result.history]
    assert uppers == sorted(uppers, reverse=True)
    assert uppers[-1] < uppers[0] * 0.95
    assert kinds == sorted(kinds, key=["given", "grown", "regated"].index)
    assert kinds.count("grown") < 100
    assert result.problem.own_objective(result.network).upper <= result.certificate.upper * (1 + ROUNDING)


def test_growing_ends_with_a_round_that_no_longer_pays():
    X, y = data(2, n=40, d=4)
    whole = solve(ConvexReLU(X, y, n_gates=4, beta=0.005, grow_gain=0.001), "clarabel", settings=SETTINGS, gates="grow")
    problem = ConvexReLU(X, y, n_gates=4, beta=0.005, grow_gain=0.05)
    result = solve(problem, "clarabel", settings=SETTINGS, gates="grow")
    uppers = [step.certificate.upper for step in result.history]
    gains = [1.0 - later / earlier for earlier, later in pairwise(uppers)]
    assert all(gain >= 0.05 for gain in gains[:-1])
    assert gains[-1] < 0.05
    assert result.quality == "certified"
    assert f"growing ended with {result.problem.size} slots" in result.message
    assert len(whole.history) > len(result.history)
    assert [step.certificate.upper for step in whole.history][: len(uppers)] == pytest.approx(uppers, rel=1e-6)


def test_rounds_add_half_as_many_gates_again():
    X, y = data(2, n=60, d=5)
    result = solve(
        ConvexReLU(X, y, n_gates=8, beta=0.002, grow=4, grow_gain=0.02), "clarabel", settings=SETTINGS, gates="grow"
    )
    sizes = [step.size for step in result.history]
    assert len(sizes) > 2
    assert all(later - earlier <= max(4, earlier // 2) for earlier, later in pairwise(sizes))
    assert sizes[1] - sizes[0] == sizes[0] // 2 > 4


def test_grown_programmes_are_planned_for_their_own_size(monkeypatch):
    planned = []

    def watched(problem, *rest):
        planned.append(problem.parts[0].size)
        return make_plan(problem, *rest)

    monkeypatch.setattr("cvxrobust.core.solving.call.make_plan", watched)
    X, y = data(2, n=40, d=4)
    result = solve(ConvexReLU(X, y, n_gates=4, beta=0.005, grow_gain=0.05), settings=SETTINGS, gates="grow")
    assert planned == [step.size for step in result.history]


def test_classes_of_a_regated_problem_each_get_gates_of_their_own():
    X, _ = data(n=15, d=2)
    y = np.arange(15) % 3
    result = solve(ConvexReLU(X, y, n_gates=4, regate=2), backend="clarabel", settings=SETTINGS)
    for part in result.parts:
        assert part.certificate.upper <= part.history[0].certificate.upper
    assert result.certificate.upper == pytest.approx(sum(part.certificate.upper for part in result.parts))
