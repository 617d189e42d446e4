"""The torch backend on conic programmes: its projections, its splitting, and what it returns however it stops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, Quality, Settings, StandardSDP, Termination, solve
from cvxrobust.backends.torch.conic import linear as conic_linear
from cvxrobust.backends.torch.conic import solve as conic
from cvxrobust.backends.torch.conic.acceleration import Anderson
from cvxrobust.backends.torch.conic.cones import DualProjection, layout_of
from cvxrobust.backends.torch.conic.exponential import project_exponentials
from cvxrobust.backends.torch.conic.linear import DeviceSystem, HostSystem
from cvxrobust.backends.torch.conic.scaling import equilibrated
from cvxrobust.core.conic.cones import PSD, Exponential, NonNegative, SecondOrder, Zero
from cvxrobust.core.conic.exponential import project_exponential
from cvxrobust.core.conic.program import ConicProgram
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.solving.isolation import solve_isolated
from cvxrobust.core.solving.plan import conic_backend
from cvxrobust.core.testing import MIXED, infeasible_program, planted_program, unbounded_program
from cvxrobust.core.testing.hard import hard_program

CPU = torch.device("cpu")
SEVERAL = (*MIXED, PSD(4), PSD(2), SecondOrder(3), NonNegative(0), PSD(0))
ROWS = sum(cone.dim for cone in SEVERAL)
TIGHT = Settings(tolerance=1e-6)

rng = np.random.default_rng(0)
X = rng.standard_normal((30, 4))
y = np.where(X[:, 0] + 0.5 * X[:, 1] ** 2 > 0.3, 1.0, -1.0)
PROBLEMS = {
    "squared sdp": StandardSDP(X, y, loss="squared"),
    "logistic sdp": StandardSDP(X, y, loss="logistic"),
    "adversarial sdp": AdversarialSDP(X, y, radius=0.2),
    "squared relu": ConvexReLU(X, y, n_gates=6, loss="squared", formulation="cone"),
    "logistic relu": ConvexReLU(X, y, n_gates=6, loss="logistic", formulation="cone"),
    "adversarial relu": AdversarialReLU(X, y, 0.05, n_gates=6, bias=True),
}


def frame(cones, columns=1):
    rows = sum(cone.dim for cone in cones)
    return ConicProgram(np.zeros(columns), sparse.csc_array((rows, columns)), np.zeros(rows), tuple(cones))


def dual_projection(program, z, dtype=torch.float64, calls=1):
    """What the backend makes of z, in the programme's own order of rows."""
    layout = layout_of(program)
    project = DualProjection(layout, CPU, dtype)
    for _ in range(calls):
        found = torch.from_numpy(z[layout.rows]).to(dtype)
        project(found)
    answer = np.empty_like(z)
    answer[layout.rows] = found.double().numpy()
    return answer


@given(z=arrays(float, ROWS, elements=st.floats(-1e3, 1e3, allow_subnormal=False)))
@hypothesis_settings(max_examples=60)
def test_projections_are_those_of_core_for_any_mixture_of_cones(z):
    program = frame(SEVERAL)
    found = dual_projection(program, z)
    assert found == pytest.approx(program.project_dual(z), abs=1e-9 * (1 + np.abs(z).max()))


@given(z=arrays(float, ROWS, elements=st.floats(-1e3, 1e3, allow_subnormal=False)))
@hypothesis_settings(max_examples=60)
def test_moreau_decomposition_and_idempotence(z):
    program = frame(SEVERAL)
    dual = dual_projection(program, z)
    primal = dual - z  # the projection of -z onto the cone itself
    size = 1 + np.abs(z).max()
    for cone, rows in zip(program.cones, program.blocks, strict=True):
        assert primal[rows] @ dual[rows] == pytest.approx(0, abs=1e-9 * size**2), cone
        assert cone.project(primal[rows]) == pytest.approx(primal[rows], abs=1e-8 * size), cone
    assert dual_projection(program, dual) == pytest.approx(dual, abs=1e-8 * size)


EDGES = [0.0, 1e-300, 1e-9, 1.0, 30.0, 1e6, -1e-9, -1.0, -30.0, -1e6]


def test_exponential_projections_agree_with_the_reference_at_every_combination_of_extremes():
    z = np.array(np.meshgrid(EDGES, EDGES, EDGES)).reshape(3, -1).T
    found, _ = project_exponentials(torch.from_numpy(z.copy()))
    expected = np.array([project_exponential(point) for point in z])
    scale = 1 + np.abs(z).max(1, keepdims=True)
    np.testing.assert_allclose(found.numpy() / scale, expected / scale, atol=1e-12)


@given(
    z=arrays(float, (7, 3), elements=st.floats(-1e2, 1e2, allow_subnormal=False)),
    start=arrays(float, 7, elements=st.floats(-600, 600)),
)
@hypothesis_settings(max_examples=60)
def test_exponential_projections_do_not_depend_on_where_the_root_finder_starts(z, start):
    found, _ = project_exponentials(torch.from_numpy(z), torch.from_numpy(start))
    expected = np.array([project_exponential(point) for point in z])
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-11 * (1 + np.abs(z).max()))


def test_a_denormal_coordinate_counts_as_zero():
    found, _ = project_exponentials(torch.tensor([[-2.0, 5e-324, 0.0]], dtype=torch.float64))
    assert found[0].tolist() == pytest.approx([-2.0, 0.0, 0.0], abs=1e-300)


def test_exponential_projections_leave_the_cone_alone_and_are_the_nearest_points():
    points = np.array([[0.0, 1.0, 1.0], [0.5, 1.0, 2.0], [-3.0, 0.0, 2.0], [1.0, 2.0, 2.0 * np.exp(0.5)]])
    assert project_exponentials(torch.from_numpy(points))[0].numpy() == pytest.approx(points, abs=1e-14)
    z = np.random.default_rng(1).standard_normal((200, 3))
    found = project_exponentials(torch.from_numpy(z))[0].numpy()
    ratios = np.linspace(-6, 6, 2001)
    rays = np.stack([ratios, np.ones_like(ratios), np.exp(ratios)], axis=1)
    lengths = np.maximum(z @ rays.T, 0) / (rays**2).sum(1)
    others = np.linalg.norm(z[:, None] - lengths[..., None] * rays, axis=2).min(1)
    assert (np.linalg.norm(z - found, axis=1) <= others + 1e-12).all()


def test_equal_cones_are_one_batch_and_every_row_is_used_once():
    layout = layout_of(frame(SEVERAL))
    assert sorted(layout.rows) == list(range(ROWS))
    assert (PSD, 4, 2) in layout.batches
    assert (SecondOrder, 3, 2) in layout.batches
    assert (Exponential, 3, 3) in layout.batches
    assert layout.free == 2
    assert layout.nonnegative == 8  # with PSD(1) and SecondOrder(1)


def test_scaling_keeps_cones_what_they_are():
    program, planted = planted_program(0, SEVERAL)
    layout = layout_of(program)
    scaled = equilibrated(program, layout)
    whole = [np.unique(layout.owners[np.isin(layout.rows, range(block.start, block.stop))]) for block in program.blocks]
    for cone, owners in zip(program.cones, whole, strict=True):
        assert owners.size == (cone.dim if isinstance(cone, Zero | NonNegative) else min(cone.dim, 1))
    assert all(np.ptp(scaled.D[layout.owners == owner]) == 0 for owner in layout.owners)
    x, s = scaled.size_b * planted.x / scaled.E, scaled.size_b * scaled.D * planted.s[layout.rows]
    assert scaled.A @ x + s == pytest.approx(scaled.b, abs=1e-12)
    dual = scaled.size_q * planted.y[layout.rows] / scaled.D
    assert scaled.A.T @ dual == pytest.approx(-scaled.q, abs=1e-12)


@pytest.mark.parametrize("make", ["host dense", "host sparse", "device dense", "device gradients"])
def test_every_linear_system_is_solved(make, monkeypatch):
    A = sparse.random_array((40, 12), density=0.3, rng=np.random.default_rng(0), format="csr")
    if make == "host sparse":
        monkeypatch.setattr(conic_linear, "DENSE_COLUMNS", 0)
    if make == "device gradients":
        monkeypatch.setattr(conic_linear, "DENSE_ENTRIES", 0)
    host = make.startswith("host")
    columns = 12 if make == "device dense" else 0
    system = HostSystem(A, torch.float64) if host else DeviceSystem(A, CPU, torch.float64, columns)
    a, b, r_x, r_y = (torch.from_numpy(np.random.default_rng(k).random(size)) for k, size in enumerate([12, 40] * 2))
    r_x, r_y = r_x * 1e-3, r_y + 0.1
    for weights in (r_y, 10 * r_y):  # the second one shows that factors are renewed
        system.factorise(r_x, weights)
        x, y = system.solve(a, b, exact=True)
        assert (r_x * x + system.transposed_times(y)).numpy() == pytest.approx(a.numpy(), abs=1e-9)
        assert (weights * y - system.times(x)).numpy() == pytest.approx(b.numpy(), abs=1e-9)


def contraction(x):
    return 1.0 + torch.linspace(0.3, 0.95, 6, dtype=torch.float64) * x


def test_acceleration_solves_a_linear_fixed_point_long_before_the_iteration_does():
    anderson = Anderson(torch.ones(6, dtype=torch.float64), memory=6)
    plain = fast = torch.zeros(6, dtype=torch.float64)
    for _ in range(20):
        plain, fast = contraction(plain), anderson.extrapolate(fast, contraction(fast))
    assert float((fast - contraction(fast)).abs().max()) < 1e-4 * float((plain - contraction(plain)).abs().max())


def test_an_extrapolation_that_does_not_help_is_taken_back():
    anderson = Anderson(torch.ones(6, dtype=torch.float64), memory=2)
    before = x = torch.zeros(6, dtype=torch.float64)
    for _ in range(3):
        before, x = x, anderson.extrapolate(x, contraction(x))
    assert not torch.equal(x, contraction(before))
    assert torch.equal(anderson.checked(x, x + 1e6), contraction(before))
    assert torch.equal(anderson.checked(x, x + 1e6), x + 1e6)  # there is nothing to take back any more


@pytest.mark.parametrize(
    ("system", "seed"),
    [("host", 0), ("host", 1), ("device dense", 0), ("device gradients", 0), ("device gradients", 1)],
)
def test_the_planted_optimum_is_found_whatever_solves_the_linear_systems(system, seed, monkeypatch):
    if system != "host":
        columns = conic_linear.DEVICE_COLUMNS if system == "device dense" else 0
        monkeypatch.setattr(
            conic, "_system", lambda scaled, device, dtype: DeviceSystem(scaled.A, device, dtype, columns)
        )
    program, planted = planted_program(seed, SEVERAL, columns=15)
    found = get_backend("torch").solve(program, TIGHT)
    assert found.termination is Termination.CONVERGED
    assert np.abs(program.dimacs_errors(found)).max() < 1e-5
    assert program.q @ found.x == pytest.approx(program.q @ planted.x, rel=1e-5, abs=1e-5)
    assert found.s == pytest.approx(program.project(found.s), abs=1e-9)
    assert found.y == pytest.approx(program.project_dual(found.y), abs=1e-9)
    assert found.setup_seconds > 0
    assert found.solve_seconds > 0


@pytest.mark.parametrize("name", PROBLEMS)
def test_real_programmes_have_clarabels_optimum(name):
    program = PROBLEMS[name].to_conic()
    exact = get_backend("clarabel").solve(program, Settings(tolerance=1e-7))
    found = get_backend("torch").solve(program, Settings(tolerance=1e-5))
    assert found.termination is Termination.CONVERGED
    assert np.abs(program.dimacs_errors(found)).max() < 1e-4
    assert program.q @ found.x == pytest.approx(program.q @ exact.x, abs=1e-4)
    assert found.iterations < 3000


def test_the_cutting_set_method_runs_on_conic_masters():
    problem = PROBLEMS["adversarial sdp"]
    result = solve(problem, backend="torch", method="cutting-set", settings=Settings(tolerance=1e-3, time_limit=60))
    reference = solve(problem, backend="clarabel").certificate
    assert (result.quality, result.method) == (Quality.CERTIFIED, "cutting-set")
    assert result.certificate.lower <= reference.upper * (1 + 1e-12)
    assert reference.lower <= result.certificate.upper * (1 + 1e-12)


def test_nobody_gets_it_unasked_for_conic_programmes():
    chosen = conic_backend(PROBLEMS["adversarial sdp"])
    assert chosen.capabilities.method == "interior-point"


RECESSION = ConicProgram(np.array([-1.0, 0.0]), sparse.csc_array(-np.eye(3)[:, :2]), np.zeros(3), (SecondOrder(3),))


@pytest.mark.parametrize("program", [infeasible_program(), replace(infeasible_program(), q=np.zeros(1))])
def test_infeasibility_is_certified(program):
    found = get_backend("torch").solve(program, Settings())
    assert found.termination is Termination.INFEASIBLE
    assert not found.has_primal
    assert np.abs(program.A.T @ found.y).max() < 1e-6
    assert program.b @ found.y == pytest.approx(-1)
    assert found.y == pytest.approx(program.project_dual(found.y), abs=1e-9)


@pytest.mark.parametrize("program", [unbounded_program(), RECESSION])
def test_unboundedness_is_certified(program):
    found = get_backend("torch").solve(program, Settings())
    assert found.termination is Termination.UNBOUNDED
    assert not found.has_dual
    assert program.A @ found.x + found.s == pytest.approx(np.zeros_like(program.b), abs=1e-6)
    assert program.q @ found.x == pytest.approx(-1)
    assert found.s == pytest.approx(program.project(found.s), abs=1e-9)


@pytest.mark.parametrize("cones", [(PSD(3), NonNegative(4)), (SecondOrder(4), Exponential(), Zero(3))])
def test_planted_infeasibility_in_other_cones_is_certified(cones):
    """With y in K*, A'y = 0 and b'y = -1 by construction."""
    program, planted = planted_program(0, cones, columns=4)
    direction = planted.y / np.linalg.norm(planted.y)
    A = program.A.toarray()
    A -= np.outer(direction, direction @ A)
    b = program.b - direction * (direction @ program.b + 1.0)
    found = get_backend("torch").solve(ConicProgram(program.q, sparse.csc_array(A), b, program.cones), Settings())
    assert found.termination is Termination.INFEASIBLE
    assert np.abs(A.T @ found.y).max() < 1e-6


@pytest.mark.parametrize(
    ("limits", "termination"),
    [
        ({"max_iterations": 60}, Termination.ITERATION_LIMIT),
        ({"time_limit": 1e-6}, Termination.TIME_LIMIT),
        ({}, Termination.INTERRUPTED),
    ],
)
def test_every_stop_returns_a_point_of_the_cones(limits, termination):
    program = PROBLEMS["adversarial sdp"].to_conic()
    monitor = Monitor()
    if termination is Termination.INTERRUPTED:
        monitor.stop()
    found = get_backend("torch").solve(program, Settings(tolerance=1e-6, **limits), monitor)
    assert found.termination is termination
    assert found.has_primal
    assert found.has_dual
    assert found.s == pytest.approx(program.project(found.s), abs=1e-7 * (1 + np.abs(found.s).max()))
    assert found.y == pytest.approx(program.project_dual(found.y), abs=1e-7 * (1 + np.abs(found.y).max()))


def test_the_best_iterate_is_returned_and_not_the_last():
    program = PROBLEMS["adversarial sdp"].to_conic()
    counts = range(25, 300, 25)
    errors = [
        conic.solve_conic(program, Settings(tolerance=1e-6, max_iterations=count)).message.split()[-4]
        for count in counts
    ]
    assert (np.diff([float(error) for error in errors]) <= 0).all()


@pytest.mark.parametrize("points", [0, 1])
def test_an_iterate_without_tau_is_a_direction_and_ranks_below_every_point(points, monkeypatch):
    """Divided by the smallest number allowed it was returned as a point of size 1e31."""
    program, exact, seen = PROBLEMS["adversarial sdp"].to_conic(), conic.Splitting.point, []
    first = conic.solve_conic(program, Settings(tolerance=1e-6, max_iterations=conic.TUNING.check_every))

    def point(self):
        seen.append(exact(self))
        return seen[-1] if len(seen) <= points else replace(seen[-1], tau=0.0)

    monkeypatch.setattr(conic.Splitting, "point", point)
    found = conic.solve_conic(program, Settings(tolerance=1e-6, max_iterations=4 * conic.TUNING.check_every))
    assert len(seen) == 4
    assert np.abs(found.x).max() < 1e6
    assert not points or np.array_equal(found.x, first.x)


def test_a_stall_ends_the_solve_and_is_named(monkeypatch):
    monkeypatch.setattr(conic, "TUNING", replace(conic.TUNING, stall=100))
    made = hard_program("with huge multipliers", get_backend("torch").capabilities.cones)
    found = get_backend("torch").solve(made.program, Settings(tolerance=1e-6, max_iterations=50_000))
    assert found.termination is Termination.NUMERICAL
    assert found.iterations < 10_000
    assert found.message.startswith("stalled, no better for ")
    assert found.has_primal


@pytest.mark.parametrize("program", [infeasible_program(), unbounded_program()])
def test_a_verdict_comes_with_its_own_residuals(program):
    message = get_backend("torch").solve(program, Settings()).message
    assert float(message.split()[-4]) <= 1.0, message


def test_a_warm_start_from_the_solution_needs_a_fraction_of_the_iterations():
    program = PROBLEMS["logistic relu"].to_conic()
    backend, settings = get_backend("torch"), Settings(tolerance=1e-5)
    cold = backend.solve(program, settings)
    warm = backend.solve(program, settings, warm_start=cold)
    assert warm.termination is Termination.CONVERGED
    assert warm.iterations < cold.iterations / 2


def test_single_precision_reaches_what_it_can_and_says_so():
    program, planted = planted_program(1, SEVERAL)
    found = get_backend("torch").solve(program, Settings(tolerance=1e-6, dtype="float32"))
    assert found.termination is Termination.CONVERGED
    assert found.x.dtype == np.float64
    assert program.q @ found.x == pytest.approx(program.q @ planted.x, rel=1e-3)
    assert "float32" in found.ignored["tolerance"]
    modest = get_backend("torch").solve(program, Settings(tolerance=1e-3, dtype="float32"))
    assert "tolerance" not in modest.ignored
    assert modest.applied["dtype"] == "float32"


@pytest.mark.parametrize("columns", [0, 3])
def test_programmes_of_nothing_are_solved(columns):
    empty = ConicProgram(np.zeros(columns), sparse.csc_array((0, columns)), np.zeros(0), ())
    found = get_backend("torch").solve(empty, Settings())
    assert found.termination is Termination.CONVERGED
    assert found.x == pytest.approx(np.zeros(columns))
    rows = ConicProgram(np.zeros(0), sparse.csc_array((3, 0)), np.array([1.0, 2.0, 0.5]), (SecondOrder(0), PSD(2)))
    with_rows = get_backend("torch").solve(rows, Settings())
    assert with_rows.termination is Termination.INFEASIBLE
    unbounded = ConicProgram(np.ones(2), sparse.csc_array((0, 2)), np.zeros(0), ())
    assert get_backend("torch").solve(unbounded, Settings()).termination is Termination.UNBOUNDED


def test_options_without_meaning_here_are_reported():
    program, _ = planted_program(0, (NonNegative(20),))
    found = get_backend("torch").solve(program, Settings(options={"neurons": 3}))
    assert "no neurons" in found.ignored["neurons"]


def test_a_failed_decomposition_is_an_answer(monkeypatch):
    def fail(*_):
        raise torch.linalg.LinAlgError("no convergence")

    program, _ = planted_program(0)
    monkeypatch.setattr(torch.linalg, "eigh", fail)
    assert get_backend("torch").solve(program, Settings()).termination is Termination.NUMERICAL


def test_it_runs_in_a_child_process():
    program = PROBLEMS["squared sdp"].to_conic()
    there = solve_isolated("torch", program, Settings(threads=1), Monitor())
    here = get_backend("torch").solve(program, Settings(threads=1))
    assert there.termination is here.termination
    assert there.x == pytest.approx(here.x, abs=1e-9)
