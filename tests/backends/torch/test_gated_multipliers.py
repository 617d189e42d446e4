"""The method of multipliers for gated programmes: gradients, multipliers, bounds, limits and checkpoints."""

import time
from dataclasses import replace

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, ConvexReLU, Settings
from cvxrobust.core.attacks.norms import GEOMETRIES
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Termination
from cvxrobust.core.errors import InputError
from cvxrobust.core.programs.gated import evaluation as gated
from cvxrobust.core.programs.gated.batch_repair import UnrepairedSlots, shortened
from cvxrobust.core.programs.gated.certificate import brackets, gated_bound, network_multipliers, tightened

torch = pytest.importorskip("torch")
gated_torch = pytest.importorskip("cvxrobust.backends.torch.gated.solve")
averages = pytest.importorskip("cvxrobust.backends.torch.gated.averages")
balls = pytest.importorskip("cvxrobust.backends.torch.gated.balls")
gated_best = pytest.importorskip("cvxrobust.backends.torch.gated.best_so_far")
checkpoints = pytest.importorskip("cvxrobust.backends.torch.checkpoint")
lagrangian = pytest.importorskip("cvxrobust.backends.torch.gated.multipliers.lagrangian")
method = pytest.importorskip("cvxrobust.backends.torch.gated.multipliers.method")
pieces = pytest.importorskip("cvxrobust.backends.torch.gated.multipliers.blocks")

FORMS = [("one-sided", loss) for loss in ("hinge", "squared_hinge", "logistic")]
FORMS += [("gated", "hinge"), ("gated", "squared"), ("gated", "absolute")]


def noisy(n=200, d=6, seed=0, radius=0.0, **parameters):
    """Two classes of a random teacher, one label in ten wrong."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.where(np.abs(X[:, 0]) - 0.7 + 0.4 * X[:, 1] > 0.0, 1.0, -1.0)
    y[rng.random(n) < 0.1] *= -1.0
    given = {"n_gates": 10, "beta": 0.01} | parameters
    return (AdversarialReLU(X, y, radius, **given) if radius else ConvexReLU(X, y, **given)).program


def begun(program, settings=None, monitor=None):
    best = gated_best.GatedIncumbent(program, settings or Settings(tolerance=1e-3), monitor or Monitor())
    best.offer_point(best.U)
    best.offer_multipliers(network_multipliers(program, best.U))
    return method.MultiplierMethod(best, np.zeros(program.shape), "cpu", torch.float64)


@pytest.fixture
def at_scale(monkeypatch):
    """Small programmes are sent to the method of multipliers."""
    monkeypatch.setattr(gated_torch, "LARGE", 0)
    monkeypatch.setattr(gated_torch, "LARGE_GATED", 0)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize(("form", "loss"), FORMS)
@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_gradients_agree_with_differences_and_multipliers_with_gradients(form, loss, norm, radius):
    program = noisy(40, 4, radius=radius, loss=loss, formulation=form, **({"norm": norm} if radius else {}))
    whole = lagrangian.Lagrangian(program, torch.device("cpu"), torch.float64)
    generator = torch.Generator().manual_seed(0)
    (K, _, D) = program.shape
    # Every third slot is left out, so that slots in use and slots of the programme differ.
    used = np.flatnonzero(np.arange(K) % 3 != 1)
    whole.choose(used)
    centres, widths = whole.centres(), pieces.Widths(0.3, 0.2, 0.1, 0.15)
    part = whole.part(centres)
    w = 0.3 * torch.randn((used.size, D), generator=generator, dtype=torch.float64)
    step = 1e-6 * torch.randn(w.shape, generator=generator, dtype=torch.float64)
    here = whole.evaluate(w, part, widths, keep=True)
    ahead, behind = (whole.evaluate(w + s * step, part, widths) for s in (1.0, -1.0))
    assert float((here.gradient * step).sum()) == pytest.approx(0.5 * (ahead.value - behind.value), rel=1e-4)
    multipliers = whole.multipliers(whole.whole(here.multipliers, centres))
    B, _ = brackets(program, multipliers)
    np.testing.assert_allclose(B[whole.slots[used], 0], -here.derivative.numpy(), atol=1e-12)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_smoothing_errors_are_what_smoothing_takes_off_the_loss(norm):
    """Centred at the maximising multipliers, the smoothed parts are linear in them: what is missing is the error."""
    program = noisy(60, 4, radius=0.1, norm=norm)
    whole = lagrangian.Lagrangian(program, torch.device("cpu"), torch.float64)
    w = 0.4 * torch.randn((program.shape[0], 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    U = np.zeros(program.shape)
    U[whole.slots, 0] = whole.point(w).numpy()
    narrow = whole.evaluate(w, whole.centres(), pieces.Widths(1e-9, 1e-9, 1e-9, 1e-9), keep=True)
    assert narrow.value == pytest.approx(gated.objective(program, U), rel=1e-6)
    assert max(narrow.errors) < 1e-6
    wide = whole.evaluate(w, whole.centres(), pieces.Widths(1.0, 1.0, 1.0, 1.0), keep=True)
    assert wide.value < narrow.value
    assert min(wide.errors) > 1e-4


@pytest.mark.parametrize("norm", ["inf", 2, 1])
def test_balls_are_projected_onto(norm):
    P = 2.0 * torch.randn((50, 5), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ball = balls.SMOOTH_BALLS[norm]
    near = ball.nearest(P)
    order = {"inf": float("inf"), 2: 2, 1: 1}[norm]
    assert float(torch.linalg.vector_norm(near, order, dim=1).max()) <= 1.0 + 1e-12
    # A projection's residual makes an obtuse angle with every point of the ball.
    other = ball.nearest(torch.randn((50, 5), generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    assert float(((P - near) * (other - near)).sum(1).max()) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 1e3])
def test_l1_balls_are_projected_onto_as_by_sorting(scale, dtype):
    P = scale * torch.randn((40, 60), generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    P[0], P[1, 1:], P[2] = 0.0, 0.0, scale  # nothing, one coordinate, all alike
    expected = GEOMETRIES[1].project(P.numpy(), np.ones(40))
    near = balls.SMOOTH_BALLS[1].nearest(P.to(dtype)).numpy()
    assert near == pytest.approx(expected, abs=8.0 * max(1.0, scale) * torch.finfo(dtype).eps)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize(("form", "loss"), FORMS)
def test_the_gap_closes(at_scale, form, loss, norm):
    program = noisy(150, 5, radius=0.05, norm=norm, formulation=form, loss=loss)
    solution = gated_torch.solve_gated(program, Settings(tolerance=2e-3))
    assert solution.termination is Termination.CONVERGED
    assert "evaluations" in solution.message
    upper = gated.objective(program, gated.from_network(program, solution.network))
    assert upper - gated_bound(program, solution.multipliers).value <= 2e-3 * upper
    assert upper < 0.97


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_the_units_of_the_data_do_not_matter(at_scale, factor):
    program = noisy(150, 5, radius=0.05)
    attack = replace(program.attack, radius=factor * program.radius)
    other = replace(program, X=factor * program.X, attack=attack, beta=factor * program.beta)
    here, there = (gated_torch.solve_gated(each, Settings(tolerance=2e-3)) for each in (program, other))
    assert there.termination is Termination.CONVERGED
    assert there.iterations <= 2 * here.iterations
    uppers = [gated.objective(p, gated.from_network(p, s.network)) for p, s in ((program, here), (other, there))]
    assert uppers[0] == pytest.approx(uppers[1], rel=3e-3)


def test_columns_of_wildly_different_sizes_are_no_obstacle(at_scale):
    program = noisy(150, 5)
    wild = replace(program, X=program.X * np.array([1e3, 1e-3, 1.0, 30.0, 0.03]))
    assert gated_torch.solve_gated(wild, Settings(tolerance=2e-3)).termination is Termination.CONVERGED


def test_slots_that_nobody_calls_for_are_left_out_and_the_bound_is_about_all(at_scale):
    program = noisy(200, 6, n_gates=40)
    work = begun(program)
    assert work.run() is Termination.CONVERGED
    assert work.whole.used.size < program.signs.size
    assert gated_bound(program, work.best.dual).value == pytest.approx(work.best.lower)


def test_limits_end_the_method(at_scale):
    program = noisy()
    few = gated_torch.solve_gated(program, Settings(tolerance=1e-9, max_iterations=30))
    assert few.termination is Termination.ITERATION_LIMIT
    assert few.iterations <= 30
    assert gated_torch.solve_gated(program, Settings(time_limit=1e-9)).termination is Termination.TIME_LIMIT
    monitor = Monitor()
    monitor.hear = lambda upper, lower, iterate: monitor.stop() if upper < 0.9 else None
    stopped = gated_torch.solve_gated(program, Settings(tolerance=1e-9), monitor)
    assert stopped.termination is Termination.INTERRUPTED
    assert stopped.network.n_neurons > 0


def test_the_answer_is_the_same_every_time(at_scale):
    first, second = (gated_torch.solve_gated(noisy(radius=0.05), Settings(tolerance=1e-2)) for _ in range(2))
    assert np.array_equal(first.network.u, second.network.u)


@pytest.mark.parametrize("large", [0, 10**9])
@pytest.mark.parametrize("form", ["one-sided", "cone"])
def test_a_solve_goes_on_from_its_checkpoint(monkeypatch, tmp_path, large, form):
    monkeypatch.setattr(gated_torch, "LARGE", large)
    program = noisy(120, 5, formulation=form)
    mark = checkpoints.fingerprint(program)

    def solve(**limits):
        kept = checkpoints.Checkpoint(tmp_path, mark)
        return gated_torch.solve_gated(program, Settings(tolerance=2e-3, **limits), checkpoint=kept)

    whole = gated_torch.solve_gated(program, Settings(tolerance=2e-3))
    seen = solve(max_iterations=whole.iterations // 2)
    assert seen.termination is Termination.ITERATION_LIMIT
    best = gated_bound(program, seen.multipliers).value
    little = solve(max_iterations=1)
    assert little.iterations <= 2  # of this call
    assert gated_bound(program, little.multipliers).value >= best
    rest = solve()
    assert rest.termination is Termination.CONVERGED
    assert rest.iterations < 1.2 * whole.iterations  # curvature is learnt anew


def test_a_checkpoint_of_another_programme_is_refused(tmp_path):
    program = noisy(60)
    kept = checkpoints.Checkpoint(tmp_path, "0" * 64)
    gated_torch.solve_gated(program, Settings(max_iterations=1, tolerance=1e-9), checkpoint=kept)
    other = checkpoints.Checkpoint(tmp_path, "0" * 63 + "1")
    with pytest.raises(InputError, match="another programme"):
        gated_torch.solve_gated(program, Settings(), checkpoint=other)


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_many_slots_are_repaired_together_nearly_as_well_as_one_by_one(monkeypatch, radius, norm):
    program = noisy(150, 5, radius=radius, **({"norm": norm} if radius else {}))
    U = 0.3 * np.random.default_rng(0).standard_normal(program.shape)
    given = network_multipliers(program, U)
    alone = tightened(program, given)
    monkeypatch.setattr("cvxrobust.core.programs.gated.certificate.EXACT", 0)
    together = tightened(program, given)
    before, one, many = (np.linalg.norm(brackets(program, m)[0][:, 0], axis=1) for m in (given, alone, together))
    assert (many <= before * (1.0 + 1e-12)).all()
    over = before > program.beta
    assert over.any()
    assert np.maximum(many[over], program.beta).sum() <= 1.02 * np.maximum(one[over], program.beta).sum()
    bad = gated.harmful(program)
    assert (together.mu[..., 0] >= 0.0).all()
    assert (together.mu[..., 0] <= together.theta * bad).all()
    assert gated_bound(program, together).value >= gated_bound(program, given).value


def test_repair_leaves_alone_what_nobody_can_harm():
    program = noisy(30, 3)
    slot = UnrepairedSlots(program, np.array([0]), np.ones((1, 3)), np.zeros(30))
    mu, q = shortened(slot, np.zeros((30, 1)), np.zeros((1, 3)), program.beta)
    assert not mu.any()
    assert not q.any()


def two_multipliers(program, seed=0):
    rng = np.random.default_rng(seed)
    return [network_multipliers(program, 0.3 * rng.standard_normal(program.shape)) for _ in range(2)]


@pytest.mark.parametrize("norm", ["inf", 2, 1])
@pytest.mark.parametrize(("form", "loss"), FORMS)
def test_averages_of_multipliers_have_averages_of_vectors_and_prove_at_least_the_average(form, loss, norm):
    program = noisy(60, 4, radius=0.1, norm=norm, formulation=form, loss=loss)
    first, second = two_multipliers(program)
    between = averages.average(program, first, second, 0.3)
    B, C, mixed = (brackets(program, m)[0] for m in (first, second, between))
    np.testing.assert_allclose(mixed, 0.7 * B + 0.3 * C, atol=1e-12)
    # Scaled to feasibility, which is what the bounds are about.
    ends = [gated_bound(program, m) for m in (first, second)]
    fit = [scaled(m, b.scale) for m, b in zip((first, second), ends, strict=True)]
    middle = gated_bound(program, averages.average(program, *fit, 0.5)).value
    assert middle >= 0.5 * (ends[0].value + ends[1].value) - 1e-12


def scaled(m, scale):
    return replace(m, theta=scale * m.theta, mu=scale * m.mu, omega=None if m.omega is None else scale * m.omega)


@pytest.mark.parametrize(("form", "loss"), FORMS)
def test_the_best_share_is_best_and_the_best_average_is_kept(form, loss):
    program = noisy(100, 5, radius=0.05, formulation=form, loss=loss)
    pair = [tightened(program, m) for m in two_multipliers(program, 1)]
    vectors = [brackets(program, m)[0] for m in pair]
    share, value = averages.best_share(program, pair[0], vectors[0], pair[1], vectors[1])
    tried = [
        gated_bound(program, averages.average(program, *pair, float(each))).value for each in np.linspace(0, 1, 41)
    ]
    assert value >= max(tried) - 1e-9
    assert max(tried) > 1.001 * max(tried[0], tried[-1])
    assert gated_bound(program, averages.average(program, *pair, share)).value == pytest.approx(value, rel=1e-9)
    best = gated_best.GatedIncumbent(program, Settings(), Monitor())
    for m, B in zip(pair, vectors, strict=True):
        best.offer_average(m, B)
    assert best.lower == pytest.approx(value, rel=1e-9)
    np.testing.assert_allclose(best.brackets, brackets(program, best.dual)[0], atol=1e-12)
    before = best.lower
    best.offer_average(scaled(pair[1], 0.0), 0.0 * vectors[1])
    assert best.lower == before


def test_multipliers_are_handed_over_feasible(at_scale):
    program = noisy(200, 6, radius=0.05)
    solution = gated_torch.solve_gated(program, Settings(tolerance=1e-9, max_iterations=60))
    bound = gated_bound(program, solution.multipliers)
    assert bound.violations.max() == pytest.approx(program.beta, rel=1e-9)
    work = begun(program, Settings(tolerance=1e-9, max_iterations=60))
    work.run()
    assert gated_bound(program, work.best.dual).violations.max() > 1.001 * program.beta
    assert bound.value == pytest.approx(work.best.lower, rel=1e-9)


@pytest.mark.parametrize("radius", [0.0, 0.1])
def test_slots_take_over_multipliers_and_only_those_asked_for(radius):
    program = noisy(80, 4, radius=radius)
    whole = lagrangian.Lagrangian(program, torch.device("cpu"), torch.float64)
    start = torch.full((80,), 0.5, dtype=torch.float64)
    old, given = replace(whole.centres(), loss=start), two_multipliers(program)[0]
    before = whole.multipliers(old)
    chosen = np.flatnonzero(np.arange(program.signs.size) % 4 == 1)
    whole.adopt(given, chosen, old)
    after, slots = whole.multipliers(old), whole.slots[chosen]
    rest = np.setdiff1d(np.arange(program.signs.size), slots)
    carries = given.theta[:, 0] > 0.0
    share = given.mu[carries][:, slots, 0] / given.theta[carries]
    np.testing.assert_allclose(after.mu[carries][:, slots, 0], share * after.theta[carries], atol=1e-15)
    assert not np.array_equal(after.mu[:, slots], before.mu[:, slots])
    np.testing.assert_array_equal(after.mu[:, rest], before.mu[:, rest])
    if radius:
        np.testing.assert_array_equal(after.directions[slots], given.directions[slots])
    np.testing.assert_array_equal(after.directions[rest], before.directions[rest])


def test_time_is_kept_back_for_the_last_certificate():
    program = noisy(60)
    best = gated_best.GatedIncumbent(program, Settings(), Monitor(time.perf_counter() + 100.0))
    assert not best.late
    best.deadline.reserve = 20.0
    assert not best.late
    best.monitor.deadline = time.perf_counter() + 15.0
    assert best.late
    # But no more than a share of the limit.
    best.monitor.deadline, best.deadline.reserve = time.perf_counter() + 40.0, 1e9
    assert not best.late
    work = begun(program)
    assert work.best.deadline.reserve == 0.0
    work._round()
    assert 0.0 < work.best.deadline.reserve < 10.0


@pytest.mark.parametrize("radius", [0.0, 0.05])
def test_repair_goes_on_where_little_is_missing(radius):
    """At the end a violation of one part in a thousand is the whole gap."""
    program, rng = noisy(400, 8, radius=radius), np.random.default_rng(0)
    given = tightened(program, network_multipliers(program, 0.3 * rng.standard_normal(program.shape)))
    vectors = brackets(program, given)[0][:, 0]
    k = [int(np.argmax(np.linalg.norm(vectors, axis=1)))]
    theta, shortest = given.theta[:, 0], np.linalg.norm(vectors[k])

    def moved(mu, q):
        pull = np.where(program.gates[:, k], mu, -mu)
        return pull.T @ program.X + (program.radius @ mu)[:, None] * q

    mu, q = given.mu[:, k, 0], given.directions[k, 0]
    fixed = vectors[k] - moved(mu, q)
    noise = 0.3 * rng.standard_normal(mu.shape) * theta[:, None] * gated.harmful(program)[:, k]
    worse = np.clip(mu + noise, 0.0, theta[:, None])
    assert np.linalg.norm(fixed + moved(worse, q)) > 1.05 * shortest
    better = shortened(UnrepairedSlots(program, np.array(k), fixed, theta), worse, q, shortest * (1.0 + 1e-7))
    assert np.linalg.norm(fixed + moved(*better)) <= shortest * (1.0 + 1e-6)


@pytest.mark.parametrize("exact", [0, 10**9])
def test_repair_ends_when_it_is_told_to(monkeypatch, exact):
    monkeypatch.setattr("cvxrobust.core.programs.gated.certificate.EXACT", exact)
    program = noisy(150, 5)
    given = two_multipliers(program)[0]
    asked = []

    def go_on():
        asked.append(True)
        return False

    whole = tightened(program, given, stopped=go_on)
    assert len(asked) > 2
    cut = tightened(program, given, stopped=lambda: True)
    before, after, best = (np.linalg.norm(brackets(program, m)[0][:, 0], axis=1).sum() for m in (given, cut, whole))
    assert best < after * (1.0 - 1e-6)
    assert after <= before * (1.0 + 1e-12)


def test_averages_without_attack_weigh_nothing_but_the_residuals():
    """Where residuals change sign their average is smaller than the average of their sizes, and bounds more."""
    program = noisy(60, 4, formulation="gated", loss="squared")
    first, second = (replace(m, omega=None) for m in two_multipliers(program))
    assert (first.theta * second.theta < 0.0).any()
    between = averages.average(program, first, second, 0.5)
    assert between.omega is None
    vectors = [brackets(program, m)[0] for m in (first, second)]
    share, value = averages.best_share(program, first, vectors[0], second, vectors[1])
    assert gated_bound(program, averages.average(program, first, second, share)).value == pytest.approx(value, rel=1e-9)
