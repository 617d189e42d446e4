"""Cone programmes on directions in their cones: projections, Newton steps, bounds, limits and checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import nnls

from cvxrobust import AdversarialReLU, ConvexReLU, Settings, solve
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.certificate import brackets, gated_bound, network_multipliers

torch = pytest.importorskip("torch")
checkpoints = pytest.importorskip("cvxrobust.backends.torch.checkpoint")
columns = pytest.importorskip("cvxrobust.backends.torch.gated.columns.method")
gated_best = pytest.importorskip("cvxrobust.backends.torch.gated.best_so_far")
gated_torch = pytest.importorskip("cvxrobust.backends.torch.gated.solve")
masters = pytest.importorskip("cvxrobust.backends.torch.gated.columns.master")
projections = pytest.importorskip("cvxrobust.backends.torch.gated.columns.projection")

CPU = torch.device("cpu")
CASES = [
    (loss, radius, norm)
    for loss in ("hinge", "squared_hinge", "logistic", "squared", "absolute")
    for radius, norm in ((0.0, "inf"), (0.01, "inf"), (0.02, 2), (0.02, 1))
]


def problem(n=80, d=4, seed=0, radius=0.0, **parameters):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.where(np.abs(X[:, 0]) - 0.7 + 0.4 * X[:, 1] > 0.0, 1.0, -1.0)
    y[rng.random(n) < 0.1] *= -1.0
    given = {"n_gates": 8, "beta": 0.01, "formulation": "cone"} | parameters
    return AdversarialReLU(X, y, radius, resample=True, **given) if radius else ConvexReLU(X, y, **given)


def certified(program, solution):
    """What core makes of an answer."""
    upper = gated.objective(program, gated.from_network(program, solution.network))
    return upper, gated_bound(program, solution.multipliers).value


def begun(program, settings=None):
    best = gated_best.GatedIncumbent(program, settings or Settings(tolerance=1e-3), Monitor())
    best.offer_point(best.U)
    best.offer_multipliers(network_multipliers(program, best.U))
    return columns.ColumnMethod(best, False, "cpu", torch.float64)


@pytest.fixture
def by_columns(monkeypatch):
    """Small programmes with cones are solved on directions, and by nothing else."""
    monkeypatch.setattr(gated_torch, "LARGE_CONES", 0)
    monkeypatch.setattr(gated_torch, "begin", lambda *_: pytest.fail("went over to the path"))


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "squared", "absolute"])
def test_narrow_cones_end_at_the_tolerance(by_columns, loss):
    """Attacks leave these cones so narrow that lying inside by 1e-9 made projections too long by 1e-5."""
    rng = np.random.default_rng(312)
    X = rng.standard_normal((300, 12))
    score = X @ rng.standard_normal(12) / 12**0.5 + 0.5 * X[:, 0] * X[:, 1] + 0.5 * rng.standard_normal(300)
    y = np.where(score > np.median(score), 1.0, -1.0)
    program = AdversarialReLU(X, y, 0.05, norm=2, n_gates=30, formulation="cone", loss=loss).program
    solution = gated_torch.solve_gated(program, Settings(tolerance=1e-6))
    assert solution.termination is Termination.CONVERGED
    upper, lower = certified(program, solution)
    assert upper - lower <= 1e-6 * upper


@pytest.mark.parametrize(("radius", "norm"), [(0.0, "inf"), (0.02, "inf"), (0.05, 2), (0.05, 1)])
def test_projections_are_inside_nearest_and_come_with_their_multipliers(radius, norm):
    program = problem(radius=radius, norm=norm).program if radius else problem().program
    cones = projections.ConeProjections(program, CPU)
    rng, other = np.random.default_rng(1), None
    for _ in range(3):  # the second and third time from warm working sets
        Z = rng.standard_normal((program.shape[0], program.shape[2]))
        P, inside = cones.project(torch.tensor(Z), 0.0)
        P = P.numpy()
        assert inside.all()
        assert gated.is_feasible(program, P[:, None, :])
        # Moreau: what is left over is orthogonal to the projection and makes an obtuse angle with the whole cone.
        np.testing.assert_allclose(((Z - P) * P).sum(axis=1), 0.0, atol=1e-6)
        if other is not None:
            assert (((Z - P) * other).sum(axis=1) <= 1e-6).all()
        other = P
        mu, q = (part.numpy() for part in cones.multipliers())
        assert (mu >= 0.0).all()
        assert (program.attack.geometry.size(q) <= 1.0 + 1e-9).all()
        added = np.where(program.gates, mu, -mu).T @ program.X + (program.radius @ mu)[:, None] * q
        np.testing.assert_allclose(Z + added, P, atol=1e-9)


def test_projections_without_attack_agree_with_non_negative_least_squares():
    program = problem(200, 6, n_gates=12).program
    Z = np.random.default_rng(2).standard_normal((program.shape[0], 6))
    P, _ = projections.ConeProjections(program, CPU).project(torch.tensor(Z), 0.0)
    for k in range(program.shape[0]):
        turned = np.where(program.gates[:, k, None], program.X, -program.X)
        weights, length = nnls(turned.T, -Z[k])
        np.testing.assert_allclose(P[k].numpy(), Z[k] + weights @ turned, atol=1e-6)
        assert float(P[k].norm()) == pytest.approx(length, abs=1e-6)


def test_projections_end_where_they_are_short_enough_and_when_told_to():
    program = problem(200, 6).program
    Z = torch.tensor(np.random.default_rng(3).standard_normal((program.shape[0], 6)))
    exact, _ = projections.ConeProjections(program, CPU).project(Z, 0.0)
    rough, inside = projections.ConeProjections(program, CPU).project(Z, 1.0)
    short = exact.norm(dim=1) < 1.0
    assert short.any()
    assert not short.all()
    assert (rough.norm(dim=1)[short] <= 1.0 + 1e-12).all()
    torch.testing.assert_close(rough[~short & inside], exact[~short & inside], atol=1e-6, rtol=0.0)
    cones = projections.ConeProjections(program, CPU)
    early, _ = cones.project(Z, 0.0, lambda: True)
    assert (early.norm(dim=1) >= exact.norm(dim=1) - 1e-9).all()


def test_cones_without_interior_are_bounded_and_get_no_direction():
    program = problem(60, 3).program
    # Opposite samples that share a gate leave a plane.
    X = np.vstack([program.X, -program.X[:1]])
    gates = np.vstack([program.gates, program.gates[:1]])
    labels, attack = np.vstack([program.labels, program.labels[:1]]), replace(program.attack, radius=np.zeros(61))
    flat = replace(program, X=X, gates=gates, labels=labels, attack=attack)
    Z = np.random.default_rng(4).standard_normal((program.shape[0], 3))
    P, inside = projections.ConeProjections(flat, CPU).project(torch.tensor(Z), 0.0)
    assert not inside.any()
    for k in range(flat.shape[0]):
        turned = np.where(gates[:, k, None], X, -X)
        assert float(P[k].norm()) == pytest.approx(nnls(turned.T, -Z[k])[1], abs=1e-6)


@pytest.mark.parametrize(("loss", "radius", "norm"), CASES)
def test_the_newton_equations_are_those_of_the_objective(loss, radius, norm):
    program = problem(40, loss=loss, **({"radius": radius, "norm": norm} if radius else {})).program
    master = masters.Master(program, CPU, torch.float64)
    rng = np.random.default_rng(5)
    m, K = 9, program.shape[0]
    A = torch.tensor(rng.standard_normal((m, 4)))
    master.add(A / A.norm(dim=1, keepdim=True), torch.tensor(rng.integers(0, K, m)), 1.0, 1.0)
    c, step = torch.tensor(rng.uniform(0.5, 1.5, m)), torch.tensor(1e-5 * rng.standard_normal(m))
    smoothing = masters.MasterSmoothing(0.3, 0.2, 0.1, 0.05)

    def gradient(c):
        here = master.at(c, smoothing)
        unit = here.U / here.roots
        found = (master._jacobian(here).T @ here.omega) / 40 - smoothing.barrier / c
        return here, found + program.beta * (master.directions * unit[master.group]).sum(1)

    here, slope = gradient(c)
    ahead, behind = gradient(c + step), gradient(c - step)
    assert float(slope @ step) == pytest.approx(0.5 * (ahead[0].value - behind[0].value), rel=1e-4)
    H = master._curvature(here, master._jacobian(here), here.U / here.roots) + torch.diag(smoothing.barrier / c**2)
    change = 0.5 * (ahead[1] - behind[1])
    torch.testing.assert_close(H @ step, change, rtol=1e-4, atol=1e-6 * float(change.abs().max()))


@pytest.mark.parametrize(("loss", "radius", "norm"), CASES)
def test_the_optimum_is_that_of_an_interior_point_solver(by_columns, loss, radius, norm):
    given = problem(loss=loss, **({"radius": radius, "norm": norm} if radius else {}))
    solution = gated_torch.solve_gated(given.program, Settings(tolerance=1e-5))
    upper, lower = certified(given.program, solution)
    assert solution.termination is Termination.CONVERGED
    assert "directions" in solution.message
    assert upper - lower <= 1e-5 * upper
    exact = solve(given, backend="clarabel", settings=Settings(tolerance=1e-7)).certificate
    assert lower <= exact.upper * (1.0 + 1e-12)
    assert exact.lower <= upper * (1.0 + 1e-12)
    assert upper < 0.97 * gated.objective(given.program, np.zeros(given.program.shape))


def test_merging_directions_keeps_the_point_and_what_came_last():
    program = problem().program
    master = masters.Master(program, CPU, torch.float64)
    rng = np.random.default_rng(7)
    A = torch.tensor(rng.standard_normal((11, 4)))
    slots = torch.tensor([2, 0, 2, 2, 0, 2, 5, 2, 2, 0, 2])
    master.add(A / A.norm(dim=1, keepdim=True), slots, 1.0, 1.0)
    master.c = torch.tensor(rng.uniform(0.5, 1.5, 11))
    smoothing = masters.MasterSmoothing(0.3, 0.2, 0.1, 0.0)
    before, last = master.at(master.c, smoothing), master.directions[-3:]
    master.merge(4, 2)
    after = master.at(master.c, smoothing)
    # Of the seven of slot 2 the last two are left, and one for the others.
    assert master.slots.tolist() == [2, 0, 0, 5, 2, 0, 2]
    assert after.value == pytest.approx(before.value, rel=1e-12)
    torch.testing.assert_close(after.U, before.U)
    assert (master.c > 0.0).all()
    torch.testing.assert_close(master.directions[-3:], last)


def test_vectors_of_multipliers_are_those_that_were_projected():
    program = problem(radius=0.02, norm=2).program
    work = begun(program)
    place = work._outline()
    P, _ = work._price(place, 0.0)
    B, _ = brackets(program, work.best.dual)
    np.testing.assert_allclose(B[:, 0], P.numpy(), atol=1e-9)


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_units_of_the_data_do_not_matter(by_columns, factor):
    program = problem(radius=0.01, norm=2).program
    attack = replace(program.attack, radius=factor * program.radius)
    other = replace(program, X=factor * program.X, attack=attack, beta=factor * program.beta)
    here, there = (gated_torch.solve_gated(each, Settings(tolerance=1e-4)) for each in (program, other))
    assert there.termination is Termination.CONVERGED
    assert certified(program, here)[0] == pytest.approx(certified(other, there)[0], rel=2e-4)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("radius", [0.0, 0.01])
def test_answers_are_feasible_at_every_moment(by_columns, monkeypatch, dtype, radius):
    program = problem(radius=radius, n_gates=20).program
    monkeypatch.setattr(gated_torch, "begin", lambda *_: pytest.fail("went over to the path"))
    for steps in (1, 5, 20, 60):
        solution = gated_torch.solve_gated(program, Settings(max_iterations=steps), dtype=dtype)
        assert solution.iterations <= steps
        point = gated.from_network(program, solution.network)
        assert gated.is_feasible(program, point)
        assert gated.objective(program, point) <= gated.objective(program, 0.0 * point)
        assert np.isfinite(gated_bound(program, solution.multipliers).value)


def test_single_precision_iterates_reach_a_useful_gap_in_double_precision(by_columns):
    program = problem().program
    solution = gated_torch.solve_gated(program, Settings(tolerance=1e-3), dtype="float32")
    upper, lower = certified(program, solution)
    assert upper - lower <= 1e-3 * upper


def test_bounds_are_reported_and_only_get_better(by_columns):
    program, seen = problem(radius=0.01).program, []
    gated_torch.solve_gated(program, Settings(tolerance=1e-5), Monitor(hear=lambda *pair: seen.append(pair[:2])))
    uppers, lowers = np.array(seen).T
    assert len(seen) > 3
    assert (np.diff(uppers) <= 0.0).all()
    assert (np.diff(lowers) >= 0.0).all()


def test_limits_end_the_solve(by_columns):
    program = problem(200, 6, n_gates=20).program
    few = gated_torch.solve_gated(program, Settings(tolerance=1e-9, max_iterations=30))
    assert (few.termination, few.iterations) == (Termination.ITERATION_LIMIT, 30)
    late = gated_torch.solve_gated(program, Settings(tolerance=1e-9, time_limit=1e-9))
    assert (late.termination, late.iterations) == (Termination.TIME_LIMIT, 0)
    monitor = Monitor()
    monitor.hear = lambda upper, lower, iterate: monitor.stop() if upper < 0.9 else None
    stopped = gated_torch.solve_gated(program, Settings(tolerance=1e-9), monitor)
    assert stopped.termination is Termination.INTERRUPTED
    assert stopped.network.n_neurons > 0
    for solution in (few, late, stopped):
        assert np.isfinite(certified(program, solution)).all()


@pytest.mark.parametrize("radius", [0.0, 0.01])
def test_the_answer_is_the_same_every_time(by_columns, radius):
    program = problem(radius=radius).program
    first, second = (gated_torch.solve_gated(program, Settings(tolerance=1e-4)) for _ in range(2))
    assert np.array_equal(first.network.u, second.network.u)
    assert np.array_equal(first.multipliers.mu, second.multipliers.mu)


def test_a_start_saves_steps_and_is_never_lost(by_columns):
    program = problem(200, 6, n_gates=20).program
    cold = gated_torch.solve_gated(program, Settings(tolerance=1e-4))
    warm = gated_torch.solve_gated(program, Settings(tolerance=1e-4), start=cold.network)
    assert warm.termination is Termination.CONVERGED
    assert warm.iterations < cold.iterations
    assert certified(program, warm)[0] <= certified(program, cold)[0] * (1.0 + 1e-12)


@pytest.mark.parametrize("radius", [0.0, 0.01])
def test_a_solve_goes_on_from_its_checkpoint(by_columns, tmp_path, radius):
    program = problem(200, 6, n_gates=20, radius=radius).program
    mark = checkpoints.fingerprint(program)

    def run(**limits):
        kept = checkpoints.Checkpoint(tmp_path, mark)
        return gated_torch.solve_gated(program, Settings(tolerance=1e-5, **limits), checkpoint=kept)

    whole = gated_torch.solve_gated(program, Settings(tolerance=1e-5))
    seen = run(max_iterations=whole.iterations // 2)
    assert seen.termination is Termination.ITERATION_LIMIT
    before = certified(program, seen)
    little = run(max_iterations=1)
    assert certified(program, little)[0] <= before[0]
    assert certified(program, little)[1] >= before[1] * (1.0 - 1e-12)
    rest = run()
    assert rest.termination is Termination.CONVERGED
    assert rest.iterations < whole.iterations


def test_directions_survive_a_checkpoint_and_nonsense_does_not():
    program = problem(200, 6, n_gates=20).program
    first, other = begun(program, Settings(tolerance=1e-9, max_iterations=40)), begun(program)
    first.run()
    state = {name: np.asarray(part) for name, part in first.state().items()}
    other.restore(state)
    assert first.master.count > 0
    torch.testing.assert_close(other.master.c, first.master.c)
    torch.testing.assert_close(other.master.features, first.master.features)
    torch.testing.assert_close(other.cones.weights, first.cones.weights)
    assert other.width == first.width
    for name, part in (("sizes", -state["columns_sizes"]), ("slots", state["columns_slots"] + 1000)):
        last = begun(program)
        last.restore(state | {f"columns_{name}": part})
        assert last.master.count == 0


def test_working_sets_survive_a_checkpoint_and_nonsense_does_not():
    program = problem(200, 6).program
    Z = torch.tensor(np.random.default_rng(6).standard_normal((program.shape[0], 6)))
    first, other, third = (projections.ConeProjections(program, CPU) for _ in range(3))
    P, _ = first.project(Z, 0.0)
    other.restore(**first.state())
    seen = []
    again, _ = other.project(Z, 0.0, lambda: bool(seen.append(1)))
    torch.testing.assert_close(again, P)
    assert not seen  # nothing was missing
    third.restore(first.state()["weights"], first.state()["owners"] + 1000)
    assert not third.weights.any()


def test_what_does_not_suit_goes_another_way():
    program = problem().program
    assert columns.suits(program)
    assert not columns.suits(replace(program, formulation="gated"))
    assert columns.suits(problem(radius=0.01, loss="squared").program)
    zero = np.vstack([program.X[:-1], np.zeros((1, 4))])
    assert columns.suits(replace(program, X=zero))
    assert not columns.suits(replace(program, X=zero, attack=replace(program.attack, radius=np.full(80, 0.1))))
    outputs = problem(loss="squared").program
    assert not columns.suits(replace(outputs, labels=np.tile(outputs.labels, 2)))


def test_narrow_cones_of_larger_programmes_are_solved_on_directions():
    assert gated_torch.by_columns(problem(250, 10, n_gates=10).program)
    assert not gated_torch.by_columns(problem(20, 4).program)
    assert not gated_torch.by_columns(problem(100, 40, n_gates=20).program)  # wide
    assert not gated_torch.by_columns(problem(250, 10, n_gates=10, formulation="one-sided").program)


def test_zero_inputs_and_a_heavy_penalty_are_no_obstacle(by_columns):
    program = problem().program
    zero = replace(program, X=np.vstack([program.X[:-3], np.zeros((3, 4))]))
    solution = gated_torch.solve_gated(zero, Settings(tolerance=1e-4))
    upper, lower = certified(zero, solution)
    assert upper - lower <= 1e-4 * upper
    heavy = gated_torch.solve_gated(replace(program, beta=100.0), Settings(tolerance=1e-6))
    assert heavy.termination is Termination.CONVERGED
    assert heavy.network.n_neurons == 0


def test_a_search_that_gets_no_further_goes_over_to_the_path(monkeypatch):
    monkeypatch.setattr(gated_torch, "LARGE_CONES", 0)
    monkeypatch.setattr(columns, "TUNING", replace(columns.TUNING, patience=0))
    program = problem().program
    solution = gated_torch.solve_gated(program, Settings(tolerance=1e-3))
    assert solution.termination is Termination.CONVERGED
    assert "second derivatives" in solution.message
