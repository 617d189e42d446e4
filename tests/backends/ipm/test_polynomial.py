"""The structured interior-point method on polynomial programmes: true optima, true bounds, honest ends."""

import importlib
import itertools
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from polynomial_cases import adversarial, certified, cloud, solved
from random_problems import random_case

from cvxrobust import AdversarialSDP, Settings, StandardSDP, solve
from cvxrobust.bench.data.teachers import quadratic_teacher
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.contracts.result import Solution, Termination
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import InputError, UnknownNameError, UnsupportedProgramError

torch = pytest.importorskip("torch")
system = pytest.importorskip("cvxrobust.backends.ipm.polynomial.newton_system")


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


# Every loss meets every activation and degeneracy.
@pytest.mark.parametrize("number", [*range(0, 480, 11), 293])
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
    problem = AdversarialSDP(*quadratic_teacher(n, d), radius=0.3, beta=beta)
    solution = solved(problem, tolerance=1e-6)
    assert solution.termination is Termination.CONVERGED, solution.message
    upper, lower = certified(problem, solution)
    assert upper - lower <= 1e-6 * upper


def test_far_from_the_margin_samples_count_along_the_axes_alone(monkeypatch):
    shares = []
    original = system.NewtonSystem._factor

    def recorded(self, *how):
        n = len(self.attacked.point.w)
        idle = n * torch.minimum(self.attacked.point.moments.theta, 1.0 / n - self.attacked.point.moments.theta) < 1e-3
        whole = torch.zeros(n, dtype=torch.bool)
        whole[self.attacked.spread.whole] = True
        shares.append((float(idle.double().mean()), float((whole & idle).sum()) / max(1, int(idle.sum()))))
        original(self, *how)

    monkeypatch.setattr(system.NewtonSystem, "_factor", recorded)
    problem = breast_cancer_problem()
    solution = solved(problem, tolerance=1e-6)
    assert solution.termination is Termination.CONVERGED
    idle, whole = shares[-1]
    assert idle > 0.8, "most multipliers are zero or saturated"
    assert whole < 0.15


# -- manners -----------------------------------------------------------------------------------------------------


def test_every_iteration_reports_bounds_that_hold():
    problem, seen = adversarial(30, 4), []
    monitor = Monitor(hear=lambda upper, lower, iterate: seen.append((upper, lower)))
    solution = solved(problem, monitor)
    upper, lower = certified(problem, solution)
    assert len(seen) == solution.iterations + 1
    assert all(a >= lower - 1e-12 and b <= upper + 1e-12 for a, b in seen)
    assert all(first[0] >= second[0] and first[1] <= second[1] for first, second in itertools.pairwise(seen))


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
        monitor = Monitor(hear=lambda upper, lower, iterate, seen=seen: seen.append(upper))
        warm = solved(problem, monitor, warm_start=near)
        assert warm.termination is Termination.CONVERGED
        assert seen[0] <= problem.objective(near.network) * (1.0 + 1e-12)
        counts += cold.iterations, warm.iterations
    assert counts[1] < counts[0]


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "logistic"])
def test_a_warm_start_finds_the_central_path_of_every_sample_at_little_expense(loss, monkeypatch):
    """Bisections within bisections looked at all samples 1,640 times, a third of a warm solve."""
    rooms = ("start", "samples", "certify")
    starts, samples, certify = (importlib.import_module(f"cvxrobust.backends.ipm.polynomial.{room}") for room in rooms)
    problem, looks, primal = adversarial(60, 6, loss=loss), [], samples.AttackedData.primal

    def looked(*args, **choices):
        looks.append(1)
        return primal(*args, **choices)

    monkeypatch.setattr(samples.AttackedData, "primal", looked)
    program, near = problem.to_structured(), solved(problem, tolerance=1e-2).network
    bounds = certify.Bounds(program, problem.X, torch.device("cpu"))
    activation = samples.Activation(*program.activation)
    looks.clear()
    at = starts.warm_start(bounds, activation, near, starts.cold_start(bounds, activation))
    assert len(looks) < 60
    point, theta = at.point.attacked, at.point.attacked.moments.theta
    data, T, _ = samples.in_own_frame(at.data.attacked, at.point.T)
    slacks, inner = data.primal(T, point.lam.slack, point.w), point.lam.slack * point.lam.multiplier
    assert torch.allclose(theta * slacks.s, inner, rtol=1e-6)
    flat = theta * (1.0 - (slacks.attack**2).sum(1))
    assert torch.allclose(flat, inner * (1.0 / point.lam.slack + (1.0 / slacks.D).sum(1)), rtol=1e-6)
    assert torch.allclose(point.loss.theta, theta, rtol=1e-3)


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
