"""The structured interior-point method on polynomial programmes: true optima, true bounds, honest ends."""

import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from random_problems import random_case
from threadpoolctl import threadpool_info

from cvxrobust import AdversarialSDP, Settings, StandardSDP, solve
from cvxrobust.bench.ipm_comparison import teacher
from cvxrobust.core.backend import Monitor
from cvxrobust.core.certificate import MomentMultipliers
from cvxrobust.core.errors import InputError, UnknownNameError, UnsupportedProgramError
from cvxrobust.core.registry import get_backend
from cvxrobust.core.result import Solution, Termination
from cvxrobust.core.translation import torch_alone

torch = pytest.importorskip("torch")
method = pytest.importorskip("cvxrobust.backends.ipm.polynomial_method")
schur = pytest.importorskip("cvxrobust.backends.ipm.polynomial_schur")
spread = pytest.importorskip("cvxrobust.backends.ipm.polynomial_spread")
start = pytest.importorskip("cvxrobust.backends.ipm.polynomial_start")
system = pytest.importorskip("cvxrobust.backends.ipm.polynomial_system")
bounds = pytest.importorskip("cvxrobust.backends.ipm.polynomial_bounds")
subspace = pytest.importorskip("cvxrobust.backends.ipm.polynomial_subspace")
progress = pytest.importorskip("cvxrobust.backends.ipm.progress")
triangles = pytest.importorskip("cvxrobust.backends.ipm.triangles")

CPU = torch.device("cpu")


def cloud(n=40, d=5, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, np.where(np.abs(X[:, 0]) - 0.7 + 0.5 * X[:, 1] + 0.3 * rng.standard_normal(n) > 0, 1.0, -1.0)


def adversarial(n=40, d=5, seed=0, **parameters):
    return AdversarialSDP(*cloud(n, d, seed), **({"radius": 0.3, "beta": 0.01} | parameters))


def solved(problem, monitor=None, warm_start=None, **settings):
    settings = Settings(**({"tolerance": 1e-8, "threads": 1} | settings))
    return get_backend("ipm").solve(problem.to_structured(), settings, monitor, warm_start)


def certified(problem, solution):
    """Both bounds as the problem itself has them."""
    return problem.objective(solution.network), problem.lower_bound(solution.multipliers)


# -- optima ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
@pytest.mark.parametrize("radius", [0.0, 1e-6, 0.3, 3.0])
@pytest.mark.parametrize("activation", [(0.09, 0.5, 0.47), (-0.2, 0.4, 0.1)])
def test_every_loss_and_radius_is_certified_to_1e_8(loss, radius, activation):
    problem = adversarial(loss=loss, radius=radius, activation=activation)
    solution = solved(problem)
    upper, lower = certified(problem, solution)
    assert solution.termination is Termination.CONVERGED
    assert 0.0 <= upper - lower <= 1e-8 * upper


def test_regression_is_certified_with_few_and_with_many_samples():
    rng = np.random.default_rng(0)
    for n, d in ((8, 5), (60, 4)):
        X = rng.standard_normal((n, d))
        problem = StandardSDP(X, X[:, 0] ** 2 - X[:, 1], beta=0.01, loss="squared")
        upper, lower = certified(problem, solved(problem))
        assert 0.0 <= upper - lower <= 1e-8 * upper


def test_samples_with_and_without_attack_may_be_mixed():
    X, y = cloud()
    problem = AdversarialSDP(X, y, radius=np.where(np.arange(40) % 3 == 0, 0.0, 0.4), beta=0.02)
    upper, lower = certified(problem, solved(problem))
    assert 0.0 <= upper - lower <= 1e-8 * upper


@pytest.mark.parametrize("number", [*range(0, 480, 7), 293])
def test_random_and_degenerate_problems_converge_or_end_honestly(number):
    case = random_case(number)
    solution = solved(case.problem)
    upper, lower = certified(case.problem, solution)
    assert np.isfinite(upper)
    assert lower <= upper * (1.0 + 1e-12)
    if solution.termination is Termination.CONVERGED:
        assert upper - lower <= 1.001e-8 * upper
    else:
        assert solution.termination is Termination.NUMERICAL
        assert solution.message
    # Data of size 1e4 is beyond double precision now and then; what is scaled like data never is.
    assert upper - lower <= 1e-7 * upper or not case.well_scaled


@pytest.mark.parametrize("number", [0, 5, 10, 13, 30, 41, 54])
def test_it_agrees_with_clarabel(number):
    case = random_case(number)
    exact = solve(case.problem, backend="clarabel", method="direct", settings=Settings(tolerance=1e-7)).certificate
    upper, lower = certified(case.problem, solved(case.problem))
    slack = 1e-9 * (1.0 + exact.upper)
    assert lower <= exact.upper + slack
    assert upper >= exact.lower - slack


def breast_cancer_problem():
    from sklearn.datasets import load_breast_cancer
    from sklearn.preprocessing import StandardScaler

    data = load_breast_cancer()
    order = np.random.default_rng(0).permutation(569)[:455]
    X = StandardScaler().fit_transform(data.data[order])
    return AdversarialSDP(X, np.where(data.target[order] == 1, 1.0, -1.0), radius=0.3, beta=0.01)


def test_the_reference_instance_is_certified_to_1e_8():
    result = solve(breast_cancer_problem(), backend="ipm", settings=Settings(tolerance=1e-8, threads=1))
    assert result.quality == "certified"
    assert result.certificate.relative_gap <= 1e-8
    assert result.network.n_neurons < 15, "neurons of no weight are left out"


@pytest.mark.parametrize(("n", "d", "beta"), [(60, 10, 0.0003), (200, 20, 0.002)])
def test_noisy_labels_and_few_samples_are_certified_too(n, d, beta):
    # As many margins at one as unknowns: the reduced system has entries of sizes that differ by 1 / mu^2.
    problem = AdversarialSDP(*teacher(n, d), radius=0.3, beta=beta)
    solution = solved(problem, tolerance=1e-6)
    assert solution.termination is Termination.CONVERGED, solution.message
    upper, lower = certified(problem, solution)
    assert upper - lower <= 1e-6 * upper


def test_far_from_the_margin_samples_count_along_the_axes_alone(monkeypatch):
    shares = []
    original = system.NewtonSystem._factor

    def recorded(self):
        n = len(self.attacked.point.w)
        idle = n * torch.minimum(self.attacked.point.moments.theta, 1.0 / n - self.attacked.point.moments.theta) < 1e-3
        whole = torch.zeros(n, dtype=torch.bool)
        whole[self.attacked.spread.whole] = True
        shares.append((float(idle.double().mean()), float((whole & idle).sum()) / max(1, int(idle.sum()))))
        original(self)

    monkeypatch.setattr(system.NewtonSystem, "_factor", recorded)
    problem = breast_cancer_problem()
    solution = solved(problem, tolerance=1e-6)
    assert solution.termination is Termination.CONVERGED
    idle, whole = shares[-1]
    assert idle > 0.8, "most multipliers are zero or saturated"
    assert whole < 0.15


# -- the linear algebra, against its definition --------------------------------------------------------------------


def interior(problem, iterations=4):
    """A point on the way, in its own frame, and the system there."""
    program = problem.to_structured()
    judge = bounds.Bounds(program, problem.X, CPU)
    at = start.cold_start(judge, start.Activation(*program.activation))
    triangle = triangles.Triangle(problem.X.shape[1] + 1, CPU)
    for _ in range(iterations):
        at = at.turned()
        newton = system.NewtonSystem(at.data, at.point, triangle)
        step = newton.direction(0.3 * newton.mu, None)
        primal, dual = newton.longest(step, 1.0)
        at = replace(at, point=newton.advanced(step, 0.7 * primal, 0.6 * dual))
    at = at.turned()
    return at, system.NewtonSystem(at.data, at.point, triangle)


def dense(at):
    """M_i and X_i from their definitions, and the linear maps between T and M_i."""
    data, point = at.data.attacked, at.point.attacked
    n, d = data.x.shape
    E = torch.eye(d + 1, dtype=torch.float64).repeat(n, 1, 1)
    E[:, :d, :d] *= data.r[:, None, None]
    E[:, :d, d] = data.x
    J = torch.diag(torch.tensor([1.0] * d + [-1.0], dtype=torch.float64))
    last = torch.zeros(d + 1, d + 1, dtype=torch.float64)
    last[d, d] = 1.0

    def M(T, lam, w):
        inner = data.y[:, None, None] * (E.mT @ data.activation.times(T) @ E)
        return inner + lam[:, None, None] * J - w[:, None, None] * last

    def adjoint(X):
        return data.activation.times((data.y[:, None, None] * (E @ X @ E.mT)).sum(0))

    m = point.moments
    X = torch.zeros(n, d + 1, d + 1, dtype=torch.float64)
    X[:, :d, :d] = m.cov + m.theta[:, None, None] * m.mean[:, :, None] * m.mean[:, None, :]
    X[:, :d, d] = X[:, d, :d] = m.theta[:, None] * m.mean
    X[:, d, d] = m.theta
    return M, adjoint, X, J


def moved(at, newton, step, size):
    """The moment matrices after a step of the duals alone."""
    return dense(replace(at, point=newton.advanced(step, 0.0, size)))[2]


def correlations(at):
    """Frobenius norms of the correlations of every sample's attacks, shape (n,)."""
    cov = at.point.attacked.moments.cov
    scale = torch.rsqrt(torch.diagonal(cov, dim1=1, dim2=2))
    return torch.linalg.matrix_norm(cov * scale[:, :, None] * scale[:, None, :] - torch.eye(cov.shape[1]))


@pytest.fixture(params=["all", "some", "none"])
def counting(request, monkeypatch):
    """Systems that count the correlations of all samples, of half of them, of none; with X as they take it."""

    def prepared(at, triangle):
        sizes = correlations(at)
        limit = {"all": 0.0, "some": float(torch.quantile(sizes, 0.5)), "none": np.inf}[request.param]
        monkeypatch.setattr(spread, "NEAR", limit)
        newton = system.NewtonSystem(at.data, at.point, triangle)
        n = len(sizes)
        assert newton.attacked.spread.whole.numel() == {"all": n, "some": n // 2, "none": 0}[request.param]
        moments = at.point.attacked.moments
        mask = torch.where((sizes > limit)[:, None, None], 1.0, torch.eye(moments.cov.shape[1], dtype=torch.float64))
        attacked = replace(at.point.attacked, moments=replace(moments, cov=mask * moments.cov))
        return newton, dense(replace(at, point=replace(at.point, attacked=attacked)))[2]

    return prepared


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_a_direction_solves_the_linearised_optimality_conditions(loss, counting):
    at, newton = interior(adversarial(12, 4, loss=loss, activation=(0.3, 0.7, 0.2)))
    newton, taken = counting(at, newton.triangle)
    mu, weights = 0.2 * newton.mu, newton.weights
    step = newton.direction(mu, None)
    M, adjoint, _, J = dense(at)
    point, beta = at.point, at.data.beta
    lam, w = point.attacked.lam, point.attacked.w
    now = M(point.T, lam.slack, w)
    change = M(step.dT, step.attacked.response.lam, step.attacked.response.w)
    new = moved(at, newton, step, 1.0)
    inverse = torch.linalg.inv(now)
    product = taken @ change @ inverse
    # The direction of Helmberg et al.; X is linear in the step of the duals.
    inner = weights.inequalities * mu
    assert weights.inequalities < 1.0
    assert torch.allclose(new, inner * inverse - 0.5 * (product + product.mT), atol=1e-12)
    corner = torch.zeros_like(point.Z)
    corner[-1, -1] = beta
    F = adjoint(new)
    for sign, U, dU, nu, dnu in zip(
        (1.0, -1.0), (point.U, point.Up), (step.dU, step.dUp), point.nu, step.dnu, strict=True
    ):
        assert torch.allclose(corner + (nu + dnu) * J - sign * F, U + dU, atol=1e-11)
    for Z, dZ, U, dU in ((point.Z, step.dZ, point.U, step.dU), (point.Zp, step.dZp, point.Up, step.dUp)):
        assert float((J * (Z + dZ)).sum()) == pytest.approx(0.0, abs=1e-11)
        # Nesterov and Todd: dU = mu Z^-1 - U - G^-1 dZ G^-1 with G U G = Z.
        root = torch.linalg.cholesky(Z)
        inside = torch.linalg.eigh(root.T @ U @ root)
        G = root @ (inside.eigenvectors * inside.eigenvalues**-0.5) @ inside.eigenvectors.T @ root.T
        assert torch.allclose(G @ U @ G, Z, atol=1e-10)
        inverse_G = torch.linalg.inv(G)
        assert torch.allclose(
            dU, weights.matrices * mu * torch.linalg.inv(Z) - U - inverse_G @ dZ @ inverse_G, atol=1e-9
        )
    assert torch.allclose(step.dT, step.dZ - step.dZp, atol=1e-11)
    alpha = lam.multiplier + step.attacked.lam.multiplier
    trace = torch.einsum("iab,ab->i", new, J)
    assert torch.allclose(-trace, alpha, atol=1e-12)
    assert torch.allclose(alpha, inner / lam.slack - lam.multiplier / lam.slack * step.attacked.lam.slack, atol=1e-12)


@pytest.mark.parametrize("at_once", [12, 5])
def test_what_is_factored_is_the_operator_that_refinement_applies(counting, at_once, monkeypatch):
    # Refinement would hide a wrong factor.
    monkeypatch.setattr(schur, "BLOCK", at_once * 15)
    monkeypatch.setattr(schur, "CACHED", at_once // 2 * 15)
    at, newton = interior(adversarial(12, 4, activation=(0.3, 0.7, 0.2)))
    newton, _ = counting(at, newton.triangle)
    T = torch.tensor(np.random.default_rng(0).standard_normal((2, 5, 5)))
    T = T + T.mT
    found = newton.schur.solve(newton.apply(schur.Solved(T)))
    assert torch.allclose(found.T, T, atol=1e-8)


def test_the_second_order_correction_is_that_of_the_dense_matrices(counting):
    at, newton = interior(adversarial(10, 3))
    newton, taken = counting(at, newton.triangle)
    first = newton.direction(0.0, None)
    mu = 0.1 * newton.mu
    second = newton.direction(mu, first)
    M, _, X, _ = dense(at)
    point = at.point
    inverse = torch.linalg.inv(M(point.T, point.attacked.lam.slack, point.attacked.w))
    changes = [M(s.dT, s.attacked.response.lam, s.attacked.response.w) for s in (first, second)]
    # What the linear part leaves out of X counts with the previous direction.
    product = taken @ changes[1] @ inverse + (moved(at, newton, first, 1.0) - taken) @ changes[0] @ inverse
    assert not torch.allclose(taken, X, atol=1e-6) or newton.attacked.spread.whole.numel() == 10
    expected = newton.weights.inequalities * mu * inverse - 0.5 * (product + product.mT)
    assert torch.allclose(moved(at, newton, second, 1.0), expected, atol=1e-12)


def test_the_second_order_correction_of_scaled_matrices_is_mehrotras():
    _, newton = interior(adversarial(10, 3))
    first = newton.direction(0.0, None)
    mu = 0.1 * newton.mu
    second = newton.direction(mu, first)
    for k, scaled in enumerate((newton.one, newton.two)):
        (dz, du), (change, answer) = first.scaled[k], second.scaled[k]
        S, product = torch.diag(scaled.values), dz @ du
        left = 0.5 * (S @ (change + answer) + (change + answer) @ S)
        assert torch.allclose(left, mu * torch.eye(4, dtype=S.dtype) - S @ S - 0.5 * (product + product.T), atol=1e-12)


def test_complementarity_after_a_step_is_what_it_becomes():
    for problem in (adversarial(10, 3), adversarial(10, 3, radius=0.0)):
        at, newton = interior(problem)
        step = newton.direction(0.3 * newton.mu, None)
        longest = newton.longest(step, 1.0)
        primal, dual = 0.5 * longest[0], 0.3 * longest[1]
        predicted = newton.mu_after(step, primal, dual)
        after = replace(at, point=newton.advanced(step, primal, dual)).turned()
        found = system.NewtonSystem(after.data, after.point, newton.triangle)
        assert found.mu == pytest.approx(predicted, rel=1e-9)


def test_steps_are_the_longest_that_stay_inside():
    at, newton = interior(adversarial(10, 3))
    step = newton.direction(0.0, None)
    primal, dual = newton.longest(step, 1.0)
    for k, longest in enumerate((primal, dual)):
        assert 0.0 < longest <= 1.0
        inside = newton.advanced(step, *(0.99 * longest if k == j else 0.0 for j in range(2)))
        outside = newton.advanced(step, *(1.15 * longest if k == j else 0.0 for j in range(2)))
        for point, expected in ((inside, True), (outside, False)):
            M, _, X, _ = dense(replace(at, point=point))
            matrices = [point.Z, point.Zp] if k == 0 else [point.U, point.Up]
            matrices += list(M(point.T, point.attacked.lam.slack, point.attacked.w) if k == 0 else X)
            numbers = [part for pair in point.attacked.pairs for part in ((pair.slack, pair.multiplier)[k],)]
            positive = all(float(torch.linalg.eigvalsh(part)[0]) > 0.0 for part in matrices)
            positive = positive and all(bool((part > 0.0).all()) for part in numbers)
            assert positive is expected or longest == 1.0


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_factoring_over_samples_and_over_entries_agree(loss, monkeypatch):
    monkeypatch.setattr(system, "SMALL", 0)
    at, few = interior(adversarial(9, 6, radius=0.0, loss=loss), 6)
    many = system.NewtonSystem(at.data, at.point, few.triangle, dense=True)
    assert isinstance(few.schur, schur.KernelSchur)
    assert isinstance(many.schur, schur.DenseSchur)
    one, two = (newton.direction(0.1 * few.mu, None) for newton in (few, many))
    for name in ("dT", "dZ", "dZp", "dU", "dUp"):
        assert torch.allclose(getattr(one, name), getattr(two, name), rtol=1e-7, atol=1e-10), name


def test_a_sandwich_is_the_quadratic_form():
    rng = np.random.default_rng(0)
    triangle = triangles.Triangle(4, CPU)
    Y, W, T = (torch.tensor(part + np.swapaxes(part, -1, -2)) for part in rng.standard_normal((3, 5, 4, 4)))
    H = triangle.sandwich(triangle.entries(Y).T @ triangle.entries(W))
    v = triangle.vector(T[0])
    expected = torch.einsum("nab,bc,ncd,da->", Y, T[0], W, T[0])
    assert float(v @ H @ v) == pytest.approx(float(expected), rel=1e-12)
    assert torch.allclose(triangle.matrix(v), T[0])


def test_a_shift_of_the_reduced_system_leaves_small_unknowns_alone():
    H = torch.tensor([[1e12, 1e12, 0.0], [1e12, 1e12, 0.0], [0.0, 0.0, 1e-4]], dtype=torch.float64)
    factor, shift = schur._cholesky(H)
    assert 0.0 < shift < 1e-12
    assert float(factor[2, 2] ** 2) == pytest.approx(1e-4, rel=1e-10)


# -- manners -----------------------------------------------------------------------------------------------------


def test_every_iteration_reports_bounds_that_hold():
    problem, seen = adversarial(30, 4), []
    monitor = Monitor(report=lambda upper, lower: seen.append((upper, lower)))
    solution = solved(problem, monitor)
    upper, lower = certified(problem, solution)
    assert len(seen) == solution.iterations + 1
    assert all(a >= lower - 1e-12 and b <= upper + 1e-12 for a, b in seen)
    assert all(first[0] >= second[0] and first[1] <= second[1] for first, second in itertools.pairwise(seen))


def test_the_bound_in_the_loop_is_the_one_that_core_proves():
    problem = adversarial(20, 5)
    at, _ = interior(problem)
    judge = bounds.Bounds(problem.to_structured(), problem.X, CPU)
    moments = at.point.attacked.moments
    # Masses beyond the loss's domain and attacks beyond their balls have to be cut back.
    for mass, reach in ((1.0, 1.0), (30.0, 1.0), (1.0, 4.0), (30.0, 4.0)):
        moved = replace(
            moments, theta=mass * moments.theta, mean=reach * moments.mean, cov=mass * reach**2 * moments.cov
        )
        dual = bounds.DualPoint(moved.theta, moved, at.frame)
        assert judge.bound(dual).value == pytest.approx(problem.lower_bound(judge.multipliers(dual)), rel=1e-10)


def test_limits_end_it_with_a_true_certificate():
    problem = adversarial(60, 8)
    best = certified(problem, solved(problem))
    few = solved(problem, max_iterations=6)
    assert (few.termination, few.iterations) == (Termination.ITERATION_LIMIT, 6)
    late = solved(problem, Monitor(deadline=time.perf_counter()))
    assert late.termination is Termination.TIME_LIMIT
    for solution in (few, late):
        upper, lower = certified(problem, solution)
        assert upper >= best[1]
        assert lower <= best[0]
    stopped = Monitor()
    threading.Timer(0.05, stopped.stop).start()
    assert solved(adversarial(300, 20), stopped, tolerance=1e-9).termination is Termination.INTERRUPTED


def test_warm_starts_save_iterations_and_are_upper_bounds_from_the_first_moment():
    counts = np.zeros(2)
    for seed in range(4):
        problem, seen = adversarial(80, 8, seed), []
        cold, near = solved(problem), solved(problem, tolerance=1e-2)
        monitor = Monitor(report=lambda upper, lower, seen=seen: seen.append(upper))
        warm = solved(problem, monitor, warm_start=near)
        assert warm.termination is Termination.CONVERGED
        assert seen[0] <= problem.objective(near.network) * (1.0 + 1e-12)
        counts += cold.iterations, warm.iterations
    assert counts[1] < counts[0]


def test_a_warm_start_from_a_useless_network_does_no_harm():
    problem = adversarial()
    bad = problem.trivial_network()
    bad = replace(bad, u=np.eye(5), alpha=np.full(5, -100.0))
    solution = solved(problem, warm_start=Solution(Termination.INTERRUPTED, network=bad))
    assert solution.termination is Termination.CONVERGED


def test_the_same_programme_has_the_same_answer_twice():
    first, second = (solved(adversarial()) for _ in range(2))
    assert np.array_equal(first.network.u, second.network.u)
    assert first.iterations == second.iterations


def test_where_the_penalty_is_large_the_answer_has_no_neurons():
    solution = solved(adversarial(beta=50.0))
    assert solution.termination is Termination.CONVERGED
    assert solution.network.n_neurons == 0


def test_mistakes_are_named_before_any_work():
    problem = adversarial()
    with pytest.raises(UnknownNameError, match="subspaces"):
        solved(problem, options={"subspaces": True})
    with pytest.raises(InputError, match="subspace is 3"):
        solved(problem, options={"subspace": 3})
    with pytest.raises(UnsupportedProgramError, match="ConicProgram"):
        get_backend("ipm").solve(problem.to_conic(), Settings())
    several = AdversarialSDP(cloud()[0], np.arange(40) % 3, radius=0.1)
    with pytest.raises(InputError, match="one column"):
        solved(several)


def test_what_cannot_be_honoured_is_reported():
    ignored = solved(adversarial(), dtype="float32", seed=3, tolerance=1e-12, max_iterations=2).ignored
    assert set(ignored) == {"dtype", "seed", "tolerance"}


# -- devices -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device")
@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_a_gpu_certifies_the_same_optimum(loss, radius):
    problem = adversarial(60, 8, loss=loss, radius=radius)
    there, here = (certified(problem, solved(problem, device=device)) for device in ("cuda", "cpu"))
    assert 0.0 <= there[0] - there[1] <= 1e-8 * there[0]
    assert there[0] == pytest.approx(here[0], rel=2e-8)


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch sees a CUDA device")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(InputError, match="0 CUDA devices"):
        solved(adversarial(), device="cuda")


def test_no_other_pool_of_threads_is_awake_beside_that_of_pytorch():
    blas = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    before = torch.get_num_threads()
    assert blas
    with torch_alone(2):
        assert torch.get_num_threads() == 2
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
    with torch_alone(None):
        assert torch.get_num_threads() == before
    assert [pool for pool in threadpool_info() if pool["user_api"] == "blas"] == blas
    assert torch.get_num_threads() == before


# -- subspaces ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [0.0, 0.3])
def test_a_growing_subspace_finds_the_same_optimum(radius):
    problem = adversarial(50, 20, radius=radius, beta=0.05)
    whole = certified(problem, solved(problem))
    solution = solved(problem, options={"subspace": True})
    upper, lower = certified(problem, solution)
    assert solution.termination is Termination.CONVERGED
    assert 0.0 <= upper - lower <= 1e-8 * upper
    assert upper == pytest.approx(whole[0], rel=2e-8)


def test_it_ends_before_the_subspace_is_everything_where_networks_are_small():
    X, y = cloud(60, 6)
    wide = np.hstack([X, 0.01 * np.random.default_rng(1).standard_normal((60, 60))])
    problem = AdversarialSDP(wide, y, radius=0.2, beta=0.05)
    solution = solved(problem, options={"subspace": True}, tolerance=1e-6)
    upper, lower = certified(problem, solution)
    assert upper - lower <= 1e-6 * upper
    assert solution.multipliers.basis.shape[1] < 66


@pytest.fixture
def bases(monkeypatch):
    """The bases of the subspaces that are solved in, in order."""
    found = []
    solve_in = subspace.SubspaceMethod._solve_in

    def noted(self, basis):
        found.append(basis)
        return solve_in(self, basis)

    monkeypatch.setattr(subspace.SubspaceMethod, "_solve_in", noted)
    return found


def wide_and_simple(n=60, d=60):
    """A problem of many inputs, two of which matter."""
    X = np.random.default_rng(1).standard_normal((n, d))
    return AdversarialSDP(X, np.where(X[:, 0] + 0.5 * X[:, 1] ** 2 > 0.4, 1.0, -1.0), radius=0.8, beta=0.1)


def test_directions_that_no_neuron_uses_leave_again(bases):
    problem = wide_and_simple()
    solution = solved(problem, options={"subspace": True}, tolerance=1e-6)
    upper, lower = certified(problem, solution)
    assert upper - lower <= 1e-6 * upper
    sizes = [basis.shape[1] for basis in bases]
    assert min(np.diff(sizes)) < 0
    assert max(sizes) < 60
    for basis in bases:
        assert np.allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-10)


def test_a_start_gives_the_subspace_its_directions(bases):
    problem = wide_and_simple()
    without = solved(problem, options={"subspace": True}, tolerance=1e-6)
    start = solved(problem, options={"subspace": True}, tolerance=1e-4)
    cold = len(bases)
    solution = solved(problem, warm_start=start, options={"subspace": True}, tolerance=1e-6)
    upper, lower = certified(problem, solution)
    assert upper - lower <= 1e-6 * upper
    assert solution.iterations < without.iterations
    outside = start.network.u - (start.network.u @ bases[cold]) @ bases[cold].T
    weights = np.abs(start.network.alpha)
    assert weights @ (outside**2).sum(axis=1) <= 1e-3 * weights.sum()


def search_in(problem):
    """Column generation on a problem, before its first round."""
    heard = progress.Progress(Settings(), Monitor(), 100)
    return subspace.SubspaceMethod(problem.to_structured(), problem.X, heard, CPU)


def test_the_zero_network_does_not_empty_the_subspace():
    search = search_in(adversarial(30, 12))
    zero = method.trivial_dual(search.bounds)[0]
    search.progress.offer_primal(zero, search.bounds.objective(zero.network))
    basis = np.eye(12)[:, :5]
    assert search._needed(basis, 1e-3) is basis


def test_the_neurons_that_pricing_finds_join_the_subspace_first():
    search = search_in(adversarial(30, 12))
    dual = method.trivial_dual(search.bounds)[1]
    pricing = search._priced(dual)
    basis = np.eye(12)[:, :3]
    found = subspace._joined(basis, search._candidates(basis, pricing, 2))
    assert found.shape[1] == 5
    neurons = search.bounds.bound(dual).neurons
    assert np.allclose(found @ (found.T @ neurons.T), neurons.T, atol=1e-12)
    assert np.allclose(found.T @ found, np.eye(5), atol=1e-12)


def test_moments_in_a_basis_prove_what_the_same_moments_prove_without():
    rng = np.random.default_rng(3)
    problem = adversarial(20, 6)
    basis = np.linalg.qr(rng.standard_normal((6, 2)))[0]
    factors = 0.05 * rng.standard_normal((20, 3, 4))
    inside = factors @ np.swapaxes(factors, 1, 2)
    lift = np.zeros((7, 3))
    lift[:6, :2], lift[6, 2] = basis, 1.0
    for scale in (1.0, 3.0):
        plain = problem.lower_bound(MomentMultipliers(lift @ inside @ lift.T))
        assert problem.lower_bound(MomentMultipliers(inside, basis)) == pytest.approx(plain, rel=1e-9)
        # A basis that is no basis stretches attacks; they are shortened into their balls, so the bound still holds.
        assert problem.lower_bound(MomentMultipliers(inside, scale * basis)) <= certified(problem, solved(problem))[0]
    with pytest.raises(InputError, match="basis"):
        problem.lower_bound(MomentMultipliers(inside, np.nan * basis))
