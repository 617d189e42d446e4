"""The interior-point solver of gated programmes: gaps that close, bounds that hold, limits that are kept."""

import time
from dataclasses import replace

import numpy as np
import pytest
from gated_cases import CASES, bounds, gap
from random_relu import any_gates, random_recipe

from cvxrobust import AdversarialReLU, ConvexReLU, Settings, solve
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.errors import UnknownNameError, UnsupportedProgramError
from cvxrobust.core.programs.gated import evaluation as gated

torch = pytest.importorskip("torch")
gated_ipm = pytest.importorskip("cvxrobust.backends.ipm.gated.solve")
gated_data = pytest.importorskip("cvxrobust.backends.ipm.gated.tensors")
gated_elimination = pytest.importorskip("cvxrobust.backends.ipm.gated.elimination")
gated_interior = pytest.importorskip("cvxrobust.backends.ipm.gated.facial_reduction")
gated_model = pytest.importorskip("cvxrobust.backends.ipm.gated.model")
gated_scaling = pytest.importorskip("cvxrobust.backends.ipm.gated.scaling")
solve_gated = gated_ipm.solve_gated

TIGHT = Settings(tolerance=1e-7)


def moons(n=30, seed=0, **parameters):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    y = np.where(np.abs(X[:, 0]) - 0.7 + 0.4 * X[:, 1] > 0, 1.0, -1.0)
    given = {"n_gates": 6, "beta": 0.01} | parameters
    return AdversarialReLU(X, y, **given) if "radius" in given else ConvexReLU(X, y, **given)


def outputs(**parameters):
    """A programme of three outputs."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((25, 4))
    Y = np.maximum(X @ rng.standard_normal((4, 3)), 0.0)
    return AdversarialReLU(X, Y, loss="squared", n_gates=5, **parameters).program


@pytest.mark.parametrize(("formulation", "norm", "loss", "radius"), CASES)
def test_the_gap_closes_for_every_formulation_loss_and_norm(formulation, norm, loss, radius):
    program = moons(formulation=formulation, norm=norm, loss=loss, radius=radius).program
    solution = solve_gated(program, TIGHT)
    assert solution.termination is Termination.CONVERGED
    assert solution.iterations <= 40
    assert -1e-12 <= gap(program, solution) <= 1e-7
    assert bounds(program, solution)[0] < 0.97 * gated.objective(program, np.zeros(program.shape))


@pytest.mark.parametrize("formulation", ["one-sided", "gated", "cone"])
def test_eight_digits_are_within_reach(formulation):
    program = moons(formulation=formulation).program
    assert gap(program, solve_gated(program, Settings(tolerance=1e-8))) <= 1e-8


@pytest.mark.parametrize("make", [random_recipe, any_gates])
def test_answers_agree_with_a_conic_solver_on_degenerate_problems(make):
    seen = 0
    for number in range(3, 480, 16):
        problem = make(number).problem()
        if problem.one_versus_all:
            continue
        program = problem.program
        solution = solve_gated(program, TIGHT)
        upper, lower = bounds(program, solution)
        exact = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-8)).certificate
        slack = 1e-9 * (1.0 + exact.upper)
        assert upper >= exact.lower - slack, str(make(number))
        assert lower <= exact.upper + slack, str(make(number))
        assert solution.termination is Termination.CONVERGED, str(make(number))
        assert upper - lower <= 1e-7 * upper + 1e-12, str(make(number))
        seen += 1
    assert seen >= 25


@pytest.mark.parametrize("formulation", ["gated", "cone"])
@pytest.mark.parametrize(("radius", "norm"), [(0.0, "inf"), (0.05, "inf"), (0.05, 2), (0.05, 1)])
def test_several_outputs_share_slots(formulation, radius, norm):
    program = outputs(formulation=formulation, radius=radius, norm=norm)
    assert program.shape[1] == 3
    assert gap(program, solve_gated(program, TIGHT)) <= 1e-7


@pytest.mark.parametrize("loss", ["hinge", "squared"])
@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_every_sample_has_its_own_radius_some_of_them_zero(loss, norm):
    rng = np.random.default_rng(5)
    radius = rng.uniform(0.0, 0.05, 30) * rng.integers(0, 2, 30)
    assert (radius == 0.0).any()
    for formulation in ("one-sided", "cone")[loss == "squared" :]:
        program = moons(formulation=formulation, loss=loss, norm=norm, radius=radius).program
        assert gap(program, solve_gated(program, TIGHT)) <= 1e-7


@pytest.mark.parametrize("formulation", ["one-sided", "gated", "cone"])
@pytest.mark.parametrize("radius", [0.0, 0.02])
def test_a_bias_is_not_attacked(formulation, radius):
    program = moons(formulation=formulation, radius=radius, bias=True).program
    assert gap(program, solve_gated(program, TIGHT)) <= 1e-7


# -- the reduced system -----------------------------------------------------------------------------------------------


def system_at_random(program, order):
    """A model, a scaling at random points inside all cones, and the factored normal equations."""
    model = gated_model.Model(gated_data.GatedTensors.of(program, "cpu"))
    cones, generator = model.cones, torch.Generator().manual_seed(1)

    def inside():
        v = torch.rand(cones.layout.size, generator=generator, dtype=torch.float64) + 0.2
        for name in cones.balls:
            part = cones.ball(v, name)
            part[..., 1:] -= 0.7
            part[..., 0] += torch.linalg.vector_norm(part[..., 1:], dim=-1)
        return v

    scaling = gated_scaling.Scaling(cones, inside(), inside())
    seen = model.forward(torch.zeros(model.variables.size, dtype=torch.float64))[1]
    members = np.unique(program.gates, axis=1, return_inverse=True)[1].reshape(-1)
    if np.unique(members).size == members.size:
        members = np.arange(members.size)
    curvature = model.loss_slopes(seen)[1]
    system = gated_elimination.Elimination(model, scaling, curvature, torch.as_tensor(members), order)
    return model, scaling, system


def test_cones_that_share_a_sample_with_a_hinge_weigh_less():
    program = moons(formulation="one-sided", loss="hinge").program
    _, scaling, _ = system_at_random(program, "slots")
    cones, s, z = scaling.cones, scaling.s, scaling.z
    weight = gated_model.CONES / program.gates.shape[1] ** 0.5
    weights = cones.layout.views(torch.cat([cones.weights, s.new_ones(cones.layout.size - cones.linear)]))
    assert 0.0 < weight < 1.0
    assert all(bool((weights[name] == weight).all()) for name in ("pair", "ReLU"))
    assert all(bool((weights[name] == 1.0).all()) for name in ("hinge", "loss"))
    # From any point: the target, the start and the range of what is centred are those of the weighted path.
    mu, m, counts = s.new_tensor([0.3]), cones.linear, cones.live > 0.0
    for there in (s * (z + scaling.target(mu)), s * cones.centred(s, mu)):
        assert torch.allclose(there[:m][counts], 0.3 * cones.weights[counts])
    assert float(cones.inner(s, cones.centred(s, mu))) == pytest.approx(0.3 * cones.degree)
    centred = cones.centred(s, mu)
    assert not scaling.centring(s, centred, 0.29, 0.31)[:m].any()
    assert bool((scaling.centring(s, centred, 0.31, 0.4)[:m][counts] > 0.0).all())


@pytest.mark.parametrize("changes", [{"loss": "logistic"}, {"radius": 0.02}, {"formulation": "gated"}])
def test_elsewhere_all_cones_weigh_the_same(changes):
    program = moons(**({"formulation": "one-sided", "loss": "hinge"} | changes)).program
    assert gated_model.Model(gated_data.GatedTensors.of(program, "cpu")).cones.weights is None


SYSTEMS = [
    (loss, formulation, norm, radius)
    for loss in ("hinge", "squared_hinge", "logistic", "squared")
    for formulation in ("one-sided", "gated", "cone")
    for radius, norm in ((0.0, "inf"), (0.1, "inf"), (0.1, 2), (0.1, 1))
    if not (formulation == "one-sided" and loss == "squared")
]


def orders(formulation, radius):
    """The orders of elimination that a programme has."""
    return ("slots", "samples") if radius == 0.0 else ("slots", "both") if formulation == "one-sided" else ("slots",)


@pytest.mark.parametrize(
    ("loss", "formulation", "norm", "radius", "order"),
    [(*system, order) for system in SYSTEMS for order in orders(system[1], system[3])],
)
def test_elimination_solves_the_dense_normal_equations(loss, formulation, norm, radius, order):
    program = moons(12, formulation=formulation, loss=loss, norm=norm, radius=radius, n_gates=4, bias=True).program
    model, _, system = system_at_random(program, order)
    expected = {"slots": "Coupling", "samples": "BySamples", "both": "ByBoth"}
    assert type(system.coupling).__name__ == expected[order]
    assert_solves(model, system)


@pytest.mark.parametrize("norm", ["inf", 2])
def test_elimination_copes_with_gates_that_occur_once_or_many_times(norm):
    program = moons(12, formulation="one-sided", norm=norm, radius=0.1, n_gates=4, bias=True).program
    some = [0, 1, 2, 6, 0, 0, 1, 7]
    program = replace(program, gates=program.gates[:, some], signs=program.signs[some])
    model, _, system = system_at_random(program, "both")
    assert system.coupling.most == 3
    assert_solves(model, system)


def assert_solves(model, system):
    """The elimination is the inverse of the normal equations."""
    size = model.variables.size
    matrix = torch.stack([system.times(column) for column in torch.eye(size, dtype=torch.float64)])
    assert torch.allclose(matrix, matrix.T, atol=1e-12)
    # Harmful ReLUs of helpful slots are variables that do not matter.
    idle = torch.diagonal(matrix) == 0.0
    rhs = torch.randn(size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rhs[idle] = 0.0
    dense = torch.linalg.solve(matrix + torch.diag(idle.to(matrix.dtype)), rhs)
    error = torch.linalg.vector_norm(system._eliminated(rhs) - dense) / torch.linalg.vector_norm(dense)
    assert float(error) <= 1e-11


def test_elimination_couples_outputs_through_lengths():
    for order in ("slots", "samples"):
        model, _, system = system_at_random(outputs(formulation="cone", radius=0.0), order)
        rhs = torch.randn(model.variables.size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        rest = system.times(system._eliminated(rhs)) - rhs
        assert float(torch.linalg.vector_norm(rest) / torch.linalg.vector_norm(rhs)) <= 1e-10


@pytest.mark.parametrize(("formulation", "norm"), [("one-sided", "inf"), ("cone", 2), ("gated", 1)])
def test_slacks_and_multipliers_map_to_each_other(formulation, norm):
    model, scaling, _ = system_at_random(moons(10, formulation=formulation, norm=norm, radius=0.1).program, None)
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(model.variables.size, generator=generator, dtype=torch.float64)
    v = torch.randn(model.cones.layout.size, generator=generator, dtype=torch.float64)
    assert float(model.forward(x)[0] @ v) == pytest.approx(float(model.adjoint(v) @ x), rel=1e-12)
    image, z = model.cones.layout.views(scaling.squared(scaling.s)), model.cones.layout.views(scaling.z)
    for name in model.cones.balls:
        assert torch.allclose(image[name], z[name])


# -- cones without interior -------------------------------------------------------------------------------------------


def with_gates(X, y, gates, **fields):
    """A cone programme with slots of both signs for each column of gates."""
    program = moons(formulation="cone").program
    both, signs = np.hstack([gates, gates]), np.repeat([1.0, -1.0], gates.shape[1])
    attack = replace(program.attack, radius=np.zeros(len(X)), attackable=X.shape[1])
    return replace(program, X=X, labels=y[:, None], gates=both, signs=signs, attack=attack, **fields)


def interior_of(program):
    return gated_interior.interiors(gated_data.GatedTensors.of(program, "cpu"))


def test_contradictory_gates_confine_a_slot_to_a_face():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((12, 3))
    X = np.vstack([X, X[:1]])
    vectors = rng.standard_normal((3, 2))
    # A vector of the wall that the first sample makes, so that the face holds more than zero.
    vectors[:, 0] -= (X[0] @ vectors[:, 0]) / (X[0] @ X[0]) * X[0]
    gates = X @ vectors >= 0.0
    gates[0, 0], gates[-1, 0] = True, False
    program = with_gates(X, np.where(X[:, 1] > 0.3 * X[:, 0], 1.0, -1.0), gates, beta=1e-3)
    interior = interior_of(program)
    # Where the same sample wants both signs, the slot keeps the plane orthogonal to it.
    rank = torch.diagonal(interior.faces, dim1=1, dim2=2).sum(1).round()
    assert rank.tolist() == [2.0, 3.0, 2.0, 3.0]
    solution = solve_gated(program, TIGHT)
    assert solution.termination is Termination.CONVERGED
    point = gated.from_network(program, solution.network)
    assert gated.is_feasible(program, point)
    assert np.abs(point[0]).max() > 1e-3 or np.abs(point[2]).max() > 1e-3


def test_constraints_that_force_each_other_are_found_together():
    # x1 >= 0 and x1 <= 0; on that line x2 >= 0 and x1 + x2 <= 0.
    X = np.array([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [1.0, 1.0, 0], [0, 0, 1.0]])
    gates = np.array([[True], [False], [True], [False], [True]])
    program = with_gates(X, np.array([1.0, -1, 1, -1, 1]), gates)
    interior = interior_of(program)
    assert torch.diagonal(interior.faces, dim1=1, dim2=2).sum(1).round().tolist() == [1.0, 1.0]
    assert gap(program, solve_gated(program, TIGHT)) <= 1e-7


@pytest.mark.parametrize("number", [223, 301, 343])
def test_rounding_does_not_lead_vectors_out_of_their_faces(number):
    program = any_gates(number).problem().program
    assert interior_of(program).faces is not None
    assert gap(program, solve_gated(program, TIGHT)) <= 1e-7


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_cones_that_attacks_close_are_left_out_and_paid_for(norm):
    program = moons(40, formulation="cone", radius=0.12, norm=norm, n_gates=20).program
    inside = interior_of(program).inside
    assert 0 < int(inside.sum()) < program.signs.size
    assert gap(program, solve_gated(program, TIGHT)) <= 1e-7


def test_where_no_cone_holds_a_neuron_zero_is_certified():
    program = moons(40, formulation="cone", radius=2.0).program
    assert not interior_of(program).inside.any()
    solution = solve_gated(program, TIGHT)
    assert solution.termination is Termination.CONVERGED
    assert solution.network.n_neurons == 0


@pytest.mark.parametrize("formulation", ["one-sided", "gated", "cone"])
@pytest.mark.parametrize("radius", [0.0, 0.02])
def test_samples_that_are_zero_do_no_harm(formulation, radius):
    program = moons(formulation=formulation, radius=radius).program
    X = program.X.copy()
    X[:2] = 0.0
    radius = np.where(np.arange(len(X)) == 0, 0.0, program.radius)
    program = replace(program, X=X, attack=replace(program.attack, radius=radius))
    assert gap(program, solve_gated(program, TIGHT)) <= 1e-7


# -- limits, starts and other manners ---------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_no_slots_and_a_heavy_penalty_give_the_zero_network(loss):
    program = moons(loss=loss).program
    empty = replace(program, gates=program.gates[:, :0], signs=program.signs[:0])
    for given in (empty, replace(empty, formulation="cone"), replace(program, beta=100.0)):
        solution = solve_gated(given, TIGHT)
        assert solution.termination is Termination.CONVERGED
        assert solution.network.n_neurons == 0


@pytest.mark.parametrize("radius", [0.0, 0.02])
def test_answers_to_cone_programmes_are_feasible_at_every_moment(radius):
    program = moons(formulation="cone", radius=radius, n_gates=12).program
    for steps in (1, 5, 10, 20):
        solution = solve_gated(program, Settings(tolerance=1e-8, max_iterations=steps))
        point = gated.from_network(program, solution.network)
        assert gated.is_feasible(program, point)
        assert gated.objective(program, point) <= gated.objective(program, 0.0 * point)


def test_limits_end_the_solve_with_a_certificate():
    program = moons(60, radius=0.02, formulation="cone").program
    few = solve_gated(program, Settings(tolerance=1e-9, max_iterations=3))
    assert (few.termination, few.iterations) == (Termination.ITERATION_LIMIT, 3)
    late = solve_gated(program, Settings(tolerance=1e-9), Monitor(deadline=time.perf_counter()))
    assert (late.termination, late.iterations) == (Termination.TIME_LIMIT, 0)
    assert solve_gated(program, Settings(tolerance=1e-9, time_limit=1e-9)).termination is Termination.TIME_LIMIT
    monitor = Monitor()
    monitor.hear = lambda upper, lower, iterate: monitor.stop() if upper < 0.9 else None
    stopped = solve_gated(program, Settings(tolerance=1e-9), monitor)
    assert stopped.termination is Termination.INTERRUPTED
    optimum = bounds(program, solve_gated(program, TIGHT))
    for solution in (few, late, stopped):
        upper, lower = bounds(program, solution)
        assert np.isfinite([upper, lower]).all()
        assert lower <= optimum[0]
        assert upper >= optimum[1]


def test_bounds_are_reported_and_only_get_better():
    program, seen = moons(radius=0.02).program, []
    solution = solve_gated(program, TIGHT, Monitor(hear=lambda upper, lower, iterate: seen.append((upper, lower))))
    uppers, lowers = np.array(seen).T
    assert len(seen) >= solution.iterations
    assert (np.diff(uppers) <= 0.0).all()
    assert (np.diff(lowers) >= 0.0).all()


def test_a_tolerance_out_of_reach_ends_too():
    solution = solve_gated(moons(20).program, Settings(tolerance=1e-15))
    assert solution.termination is Termination.NUMERICAL
    assert gap(moons(20).program, solution) <= 1e-9


@pytest.mark.parametrize("formulation", ["one-sided", "cone"])
def test_a_start_is_never_lost_and_saves_steps(formulation):
    program = moons(60, formulation=formulation).program
    cold = solve_gated(program, Settings(tolerance=1e-5))
    once = solve_gated(program, Settings(tolerance=1e-12, max_iterations=1), start=cold.network)
    assert bounds(program, once)[0] <= bounds(program, cold)[0] * (1.0 + 1e-12)
    warm = solve_gated(program, Settings(tolerance=1e-5), start=cold.network)
    assert warm.termination is Termination.CONVERGED
    assert warm.iterations < cold.iterations


def test_slots_that_add_nothing_are_left_out():
    program = moons(60, formulation="cone", n_gates=30, beta=0.03).program
    solution = solve_gated(program, TIGHT)
    sizes = np.linalg.norm(gated.from_network(program, solution.network), axis=(1, 2))
    assert solution.network.n_neurons <= 20
    assert sizes[sizes > 0.0].min() > 1e-8 * sizes.max()
    assert gap(program, solution) <= 1e-7


@pytest.mark.parametrize("formulation", ["one-sided", "cone"])
def test_the_answer_is_the_same_every_time(formulation):
    program = moons(radius=0.02, formulation=formulation).program
    first, second = (solve_gated(program, TIGHT) for _ in range(2))
    assert np.array_equal(first.network.u, second.network.u)
    assert np.array_equal(first.multipliers.theta, second.multipliers.theta)


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
