"""The torch solver of gated programmes: bounds that hold, gaps that close, limits that are kept."""

import time
from dataclasses import replace

import numpy as np
import pytest
from gated_cases import CASES, bounds, gap
from random_relu import FORMS, any_gates, random_recipe

from cvxrobust import AdversarialReLU, ConvexReLU, Settings, solve
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.errors import UnknownNameError, UnsupportedProgramError
from cvxrobust.core.programs.gated import evaluation as gated

torch = pytest.importorskip("torch")
gated_torch = pytest.importorskip("cvxrobust.backends.torch.gated.solve")
gated_path = pytest.importorskip("cvxrobust.backends.torch.gated.newton.path")
gated_best = pytest.importorskip("cvxrobust.backends.torch.gated.best_so_far")
solve_gated = gated_torch.solve_gated


def moons(n=60, seed=0, **parameters):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    y = np.where(np.abs(X[:, 0]) - 0.7 + 0.4 * X[:, 1] > 0, 1.0, -1.0)
    given = {"n_gates": 8, "beta": 0.01} | parameters
    return AdversarialReLU(X, y, **given) if "radius" in given else ConvexReLU(X, y, **given)


@pytest.mark.parametrize(("formulation", "norm", "loss", "radius"), CASES)
def test_the_gap_closes_for_every_formulation_loss_and_norm(formulation, norm, loss, radius):
    program = moons(30, formulation=formulation, norm=norm, loss=loss, radius=radius).program
    solution = solve_gated(program, Settings(tolerance=1e-4))
    assert solution.termination is Termination.CONVERGED
    assert gap(program, solution) <= 1e-4
    assert bounds(program, solution)[0] < 0.97 * gated.objective(program, np.zeros(program.shape))


@pytest.mark.parametrize("make", [random_recipe, any_gates])
def test_no_certificate_lies_and_most_are_tight(make):
    closed, total = 0, 0
    for number in range(0, 120, 12):
        for k in (number, number + 3):
            problem = make(k).problem()
            if problem.one_versus_all:
                continue
            solution = solve_gated(problem.program, Settings(tolerance=1e-4, max_iterations=400))
            upper, lower = bounds(problem.program, solution)
            exact = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-7)).certificate
            slack = 1e-9 * (1.0 + exact.upper)
            assert upper >= exact.lower - slack, str(make(k))
            assert lower <= exact.upper + slack, str(make(k))
            assert gated.is_feasible(problem.program, gated.from_network(problem.program, solution.network))
            closed, total = closed + (upper - lower <= 1e-4 * upper + 1e-12), total + 1
    assert closed >= 0.9 * total


@pytest.mark.parametrize("formulation", ["gated", "cone"])
@pytest.mark.parametrize("radius", [0.0, 0.02])
def test_several_outputs_share_slots(formulation, radius):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((30, 4))
    Y = np.maximum(X @ rng.standard_normal((4, 3)), 0.0)
    problem = AdversarialReLU(X, Y, radius=radius, loss="squared", formulation=formulation, n_gates=6)
    solution = solve_gated(problem.program, Settings(tolerance=1e-4))
    assert problem.program.shape[1] == 3
    assert gap(problem.program, solution) <= 1e-4


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("radius", [0.0, 0.02])
def test_answers_to_cone_programmes_are_feasible_at_every_moment(dtype, radius):
    program = moons(60, formulation="cone", radius=radius, n_gates=30).program
    for steps in (1, 5, 20, 60):
        solution = solve_gated(program, Settings(max_iterations=steps), dtype=dtype)
        point = gated.from_network(program, solution.network)
        assert gated.is_feasible(program, point)
        assert gated.objective(program, point) <= gated.objective(program, 0.0 * point)


@pytest.mark.parametrize("formulation", ["one-sided", "gated", "cone"])
def test_single_precision_iterates_reach_a_useful_gap_in_double_precision(formulation):
    program = moons(formulation=formulation).program
    solution = solve_gated(program, Settings(tolerance=5e-3), dtype="float32")
    assert solution.applied["dtype"] == "float32"
    # Processors round differently: 2.7e-3 on one where another has 2e-3.
    assert gap(program, solution) <= 5e-3


@pytest.mark.parametrize("formulation", ["one-sided", "gated"])
def test_a_gated_point_survives_the_way_through_its_network(formulation):
    program = moons(formulation=formulation).program
    seen = []
    solution = solve_gated(program, Settings(tolerance=1e-4), Monitor(hear=lambda *pair: seen.append(pair[:2])))
    upper, lower = bounds(program, solution)
    assert upper == pytest.approx(seen[-1][0], rel=1e-10)
    assert lower == pytest.approx(seen[-1][1], rel=1e-10)


def test_a_start_is_never_lost():
    program = moons().program
    good = solve_gated(program, Settings(tolerance=1e-5)).network
    again = solve_gated(program, Settings(tolerance=1e-12, max_iterations=1), start=good)
    cold = solve_gated(program, Settings(tolerance=1e-12, max_iterations=1))
    assert bounds(program, again)[0] <= bounds(program, replace(again, network=good))[0] * (1.0 + 1e-12)
    assert bounds(program, again)[0] < bounds(program, cold)[0]


@pytest.mark.parametrize("formulation", ["one-sided", "cone"])
def test_a_start_saves_steps(formulation):
    program = moons(formulation=formulation).program
    cold = solve_gated(program, Settings(tolerance=1e-4))
    warm = solve_gated(program, Settings(tolerance=1e-4), start=cold.network)
    assert warm.termination is Termination.CONVERGED
    assert warm.iterations < cold.iterations


def begun(program, start=None):
    """A path at its beginning."""
    best = gated_best.GatedIncumbent(program, Settings(), Monitor())
    best.offer_point(best.U if start is None else gated.from_network(program, start))
    return gated_path.begin(best, start is not None, "cpu", torch.float64)


def test_the_path_begins_at_the_start():
    program = moons().program
    start = solve_gated(program, Settings(tolerance=1e-3)).network
    assert np.allclose(begun(program, start).U.numpy(), gated.from_network(program, start))
    assert begun(program, start).width < begun(program).width


def test_what_rounding_moves_out_of_its_cone_is_moved_back():
    program = moons(formulation="cone").program
    path = begun(program)
    U = path.U.numpy().copy()
    size = np.linalg.norm(U[0, 0])
    row = np.argmin(np.abs(program.X @ U[0, 0]) / np.linalg.norm(program.X, axis=1))
    x = program.X[row]
    # Just across the nearest boundary.
    U[0, 0] -= (x @ U[0, 0] / (x @ x)) * (1.0 + 1e-6) * x
    assert not gated.is_feasible(path.data.program, U)
    moved = gated_path._moved_inside(path, U)
    assert gated.is_feasible(path.data.program, moved)
    assert 0.0 < np.abs(moved - U).max() < 1e-2 * size


def test_bounds_are_reported_and_only_get_better():
    program, seen = moons(radius=0.02).program, []
    solve_gated(
        program, Settings(tolerance=1e-4), Monitor(hear=lambda upper, lower, iterate: seen.append((upper, lower)))
    )
    uppers, lowers = np.array(seen).T
    assert len(seen) > 3
    assert (np.diff(uppers) <= 0.0).all()
    assert (np.diff(lowers) >= 0.0).all()


def test_limits_end_the_solve():
    program = moons().program
    few = solve_gated(program, Settings(tolerance=1e-9, max_iterations=3))
    assert (few.termination, few.iterations) == (Termination.ITERATION_LIMIT, 3)
    late = solve_gated(program, Settings(tolerance=1e-9), Monitor(deadline=time.perf_counter()))
    assert (late.termination, late.iterations) == (Termination.TIME_LIMIT, 0)
    assert solve_gated(program, Settings(tolerance=1e-9, time_limit=1e-9)).termination is Termination.TIME_LIMIT
    monitor = Monitor()
    monitor.hear = lambda upper, lower, iterate: monitor.stop() if upper < 0.9 else None
    stopped = solve_gated(program, Settings(tolerance=1e-9), monitor)
    assert stopped.termination is Termination.INTERRUPTED
    for solution in (few, late, stopped):
        assert np.isfinite(bounds(program, solution)).all()


def test_a_tolerance_out_of_reach_ends_too():
    solution = solve_gated(moons(20).program, Settings(tolerance=1e-15))
    assert solution.termination in (Termination.NUMERICAL, Termination.ITERATION_LIMIT)


@pytest.mark.parametrize("formulation", ["one-sided", "cone"])
def test_the_answer_is_the_same_every_time(formulation):
    program = moons(radius=0.02, formulation=formulation).program
    first, second = (solve_gated(program, Settings(tolerance=1e-4)) for _ in range(2))
    assert np.array_equal(first.network.u, second.network.u)
    assert np.array_equal(first.multipliers.theta, second.multipliers.theta)


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_no_slots_and_a_heavy_penalty_give_the_zero_network(loss):
    program = moons(loss=loss).program
    empty = replace(program, gates=program.gates[:, :0], signs=program.signs[:0])
    for given in (empty, replace(program, beta=100.0)):
        solution = solve_gated(given, Settings(tolerance=1e-6))
        assert solution.termination is Termination.CONVERGED
        assert solution.network.n_neurons == 0


def test_cones_without_interior_are_left_out_and_paid_for():
    program = moons(60, formulation="cone", radius=0.1, n_gates=20).program
    inside = gated_path.interiors(gated_path.GatedTensors.of(program, "cpu", torch.float64))[1] > gated_path.THIN
    assert 0 < int(inside.sum()) < program.signs.size
    assert gap(program, solve_gated(program, Settings(tolerance=1e-3))) <= 1e-3


@pytest.mark.parametrize("form", FORMS[:2])
def test_second_derivatives_and_gradients_agree_with_differences(form):
    formulation = "cone" if form == "cone" else "one-sided"
    program = moons(20, formulation=formulation, radius=0.01, norm=2).program
    data = gated_path.GatedTensors.of(program, "cpu", torch.float64)
    generator = torch.Generator().manual_seed(0)
    U = torch.randn(program.shape, generator=generator, dtype=torch.float64)
    if form == "cone":
        U = gated_path.interiors(data)[0][:, None, :] + 0.0 * U
        keep = gated_path.interiors(data)[1] > gated_path.THIN
        part = gated_path._part(program, np.flatnonzero(keep.numpy()))
        data, U = gated_path.GatedTensors.of(part, "cpu", torch.float64), U[keep]
    V = 1e-5 * torch.randn(U.shape, generator=generator, dtype=torch.float64)
    slots = torch.full((*U.shape[:2], 1), 1e-3, dtype=torch.float64)
    widths = gated_path.SmoothingWidths(0.1, 0.1, 0.1, slots, 0.1, 1e-3)
    here, ahead, behind = (gated_path.at(data, U + s * V, widths) for s in (0.0, 1.0, -1.0))
    assert np.isfinite(here.value)
    assert float((here.gradient() * V).sum()) == pytest.approx(0.5 * (ahead.value - behind.value), rel=1e-5)
    change = 0.5 * (ahead.gradient() - behind.gradient())
    # Derivatives start as those at the point, so that the curvature is the exact one.
    assert torch.allclose(here.curve(V), change, rtol=1e-4, atol=1e-6 * float(change.abs().max()))


def test_what_the_formulations_do_not_know_is_refused():
    program = moons().program
    with pytest.raises(UnsupportedProgramError, match="bounds margins"):
        solve_gated(replace(program, loss="squared"), Settings())
    with pytest.raises(UnsupportedProgramError, match="one output"):
        solve_gated(replace(program, labels=np.tile(program.labels, 2)), Settings())
    with pytest.raises(UnsupportedProgramError, match="'cauchy' is none of"):
        solve_gated(replace(program, loss="cauchy"), Settings())
    with pytest.raises(UnknownNameError, match="option"):
        solve_gated(program, Settings(options={"momentum": 1}))


def test_a_path_whose_networks_become_better_goes_on_though_no_multipliers_do(monkeypatch):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((80, 8))
    y = np.where(X @ rng.standard_normal(8) + 0.5 * rng.standard_normal(80) > 0.0, 1.0, -1.0)
    program = ConvexReLU(X * 10.0 ** rng.uniform(-3.0, 4.0, 8), y, loss="squared_hinge", n_gates=10).to_structured()
    # Stages so short that the first ones end far from where multipliers are feasible.
    monkeypatch.setattr(gated_path, "TUNING", replace(gated_path.TUNING, steps_per_stage=4))
    assert gap(program, solve_gated(program, Settings())) < 1e-2
