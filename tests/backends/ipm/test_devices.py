"""The interior-point backend on a device other than the CPU: no tensor is left behind, and answers are the same.

`elsewhere` plays the device, so this runs on every machine; what a real GPU computes is for
`test_a_gpu_certifies_the_same_optimum`.
"""

from dataclasses import replace

import numpy as np
import pytest
from polynomial_cases import adversarial, certified, solved
from random_problems import ellipsoid_problem, random_case
from random_relu import any_gates, random_recipe, shaped_recipe
from threadpoolctl import threadpool_info

from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, Settings, StandardSDP
from cvxrobust.bench.data.teachers import quadratic_teacher
from cvxrobust.core.discovery.registry import get_backend
from cvxrobust.core.errors import InputError
from cvxrobust.core.kit.threads import torch_alone
from cvxrobust.core.solving.judging.sanitize import network_of

torch = pytest.importorskip("torch")
elsewhere = pytest.importorskip("fake_device")


def both(problem, start=None, **settings):
    """Solutions on the CPU and elsewhere, roughly: after iterations that pass by every line."""
    program, backend = problem.to_structured(), get_backend("ipm")
    settings = Settings(**({"tolerance": 1e-2, "threads": 1, "max_iterations": 12} | settings))
    here = backend.solve(program, settings, None, start)
    with elsewhere.emulated():
        there = backend.solve(program, settings.replace(device="cuda"), None, start)
    return here, there


def assert_same(problem, here, there):
    assert there.applied["device"] == "cuda"
    assert (here.termination, here.iterations) == (there.termination, there.iterations)
    assert problem.objective(network_of(problem, there)) == pytest.approx(
        problem.objective(network_of(problem, here)), rel=1e-9
    )
    assert problem.lower_bound(there.multipliers) == pytest.approx(problem.lower_bound(here.multipliers), rel=1e-9)


@pytest.mark.parametrize("number", range(0, 100, 11))
def test_polynomial_programmes_leave_no_tensor_behind(number):
    problem = random_case(number).problem
    assert_same(problem, *both(problem))


@pytest.mark.parametrize(("kind", "number"), [("scale", 0), ("covariance", 1), ("directions", 2)])
def test_attacks_in_ellipsoids_leave_no_tensor_behind(kind, number):
    problem = ellipsoid_problem(kind, number)
    assert_same(problem, *both(problem))
    rough = get_backend("ipm").solve(problem.to_structured(), Settings(tolerance=0.1, threads=1))
    assert_same(problem, *both(problem, rough, options={"subspace": kind != "scale"}))


@pytest.mark.parametrize("recipe", [random_recipe, any_gates, shaped_recipe])
@pytest.mark.parametrize("number", range(6))
def test_gated_programmes_leave_no_tensor_behind(recipe, number):
    for problem in recipe(number).problem().parts:
        assert_same(problem, *both(problem))


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber:0.4"])
def test_losses_of_targets_leave_no_tensor_behind(loss):
    rng = np.random.default_rng(0)
    X, radius, weights = rng.standard_normal((12, 3)), rng.integers(0, 2, 12) * 0.3, rng.uniform(0.3, 2.0, 12)
    y = X[:, 0] ** 2 - X[:, 1]
    attacked = AdversarialSDP(X, y, radius, beta=0.02, loss=loss, sample_weight=weights)
    rough = get_backend("ipm").solve(attacked.to_structured(), Settings(tolerance=0.1, threads=1))
    assert_same(attacked, *both(attacked))
    assert_same(attacked, *both(attacked, rough, options={"subspace": True}))
    for form, norm in (("cone", "inf"), ("gated", 2)):
        given = {"loss": loss, "formulation": form, "n_gates": 4, "sample_weight": weights}
        for gated in (ConvexReLU(X, y, **given), AdversarialReLU(X, y, 0.3 * radius, norm=norm, **given)):
            assert_same(gated, *both(gated))


@pytest.mark.parametrize("radius", [0.0, 0.2])
def test_subspaces_and_starts_leave_no_tensor_behind(radius):
    X, y = quadratic_teacher(30, 10)
    problem = AdversarialSDP(X, y, radius=radius, beta=0.02) if radius else StandardSDP(X, y, beta=0.02)
    rough = get_backend("ipm").solve(problem.to_structured(), Settings(tolerance=0.1, threads=1))
    assert_same(problem, *both(problem, rough))
    assert_same(problem, *both(problem, rough, options={"subspace": True}))


def test_factoring_over_samples_leaves_no_tensor_behind(monkeypatch):
    system = pytest.importorskip("cvxrobust.backends.ipm.polynomial.newton_system")
    monkeypatch.setattr(system, "TUNING", replace(system.TUNING, small=0))
    problem = StandardSDP(*quadratic_teacher(40, 15), beta=0.02)
    assert_same(problem, *both(problem))


def test_factoring_rows_leaves_no_tensor_behind(monkeypatch):
    iteration = pytest.importorskip("cvxrobust.backends.ipm.polynomial.iteration")
    monkeypatch.setattr(iteration, "TUNING", replace(iteration.TUNING, poor=-1.0))
    problem = StandardSDP(*quadratic_teacher(40, 6), beta=0.02)
    assert_same(problem, *both(problem))


def test_the_played_device_refuses_what_a_gpu_refuses():
    with elsewhere.emulated():
        there = torch.ones(3, device="cuda")
        assert (there.device, (2.0 * there + torch.tensor(1.0)).device) == (elsewhere.ELSEWHERE, elsewhere.ELSEWHERE)
        assert there.cpu().numpy().tolist() == [1.0, 1.0, 1.0]
        with pytest.raises(RuntimeError, match="are on the CPU, others are not"):
            there + torch.ones(3)
        with pytest.raises(RuntimeError, match="are on the CPU, others are not"):
            there[torch.tensor([0, 1])] = 2.0
        with pytest.raises(TypeError, match="no NumPy array"):
            there.numpy()
    assert torch.ones(3).device.type == "cpu"


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
