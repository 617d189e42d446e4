"""The torch backend through the front door: all four families, its settings, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cvxrobust import (
    AdversarialReLU,
    AdversarialSDP,
    ConvexReLU,
    InputError,
    Quality,
    Settings,
    StandardSDP,
    Termination,
    UnknownNameError,
    UnsupportedProgramError,
    solve,
)
from cvxrobust.backends.torch.conic import solve as conic
from cvxrobust.backends.torch.polynomial import solve as polynomial
from cvxrobust.core.contracts.result import Solution
from cvxrobust.core.discovery.registry import get_backend

rng = np.random.default_rng(0)
X = rng.standard_normal((40, 4))
y = np.where(X[:, 0] + 0.5 * X[:, 1] ** 2 > 0.3, 1.0, -1.0)
THREE = np.digitize(X[:, 0], [-0.5, 0.5])

PROBLEMS = {
    "standard-sdp": StandardSDP(X, y, loss="squared"),
    "adversarial-sdp": AdversarialSDP(X, y, radius=0.2),
    "convex-relu": ConvexReLU(X, y, n_gates=6, loss="logistic", formulation="cone"),
    "adversarial-relu": AdversarialReLU(X, y, 0.05, n_gates=6, bias=True),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_certifies_every_family(name):
    problem = PROBLEMS[name]
    result = solve(problem, backend="torch", settings=Settings(tolerance=1e-3, time_limit=60))
    reference = solve(problem, backend="clarabel").certificate
    assert (result.quality, result.backend, result.method) == (Quality.CERTIFIED, "torch", "direct")
    assert result.certificate.lower <= reference.upper * (1 + 1e-12)
    assert reference.lower <= result.certificate.upper * (1 + 1e-12)
    assert problem.objective(result.network) == pytest.approx(result.certificate.upper, rel=1e-12)
    assert len(result.trace) > 1
    assert result.times.assemble < 1.0


@pytest.mark.parametrize("problem", [AdversarialSDP(X, THREE, radius=0.1), ConvexReLU(X, THREE, n_gates=5, regate=1)])
def test_classes_and_rounds_of_refinement_run_through_it(problem):
    result = solve(problem, backend="torch", settings=Settings(tolerance=1e-2, time_limit=60))
    assert result.quality is Quality.CERTIFIED
    assert len(result.parts) == 3
    assert all(not part.history or part.history[-1].kind == "regated" for part in result.parts)


@pytest.mark.parametrize("name", PROBLEMS)
def test_it_starts_from_a_network(name):
    problem = PROBLEMS[name]
    good = solve(problem, backend="clarabel")
    again = solve(problem, backend="torch", warm_start=good, settings=Settings(tolerance=1e-2, time_limit=60))
    assert again.certificate.upper <= good.certificate.upper * (1 + 1e-12)
    assert again.quality is Quality.CERTIFIED


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_time_limit_returns_a_certified_network(name):
    result = solve(PROBLEMS[name], backend="torch", settings=Settings(tolerance=1e-6, time_limit=1e-3))
    assert result.termination is Termination.TIME_LIMIT
    assert result.certificate.lower <= result.certificate.upper < np.inf


def test_unknown_options_and_missing_devices_are_refused_before_any_work():
    problem = PROBLEMS["adversarial-sdp"]
    with pytest.raises(UnknownNameError, match=r"torch option 'neuron'.*Did you mean 'neurons'"):
        solve(problem, backend="torch", settings=Settings(options={"neuron": 3}))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device is 'cuda', but PyTorch sees 0 CUDA devices; use 'cpu'"):
            solve(problem, backend="torch", settings=Settings(device="cuda"))
    if not torch.backends.mps.is_available():
        with pytest.raises(InputError, match="device is 'mps', but PyTorch sees no such device"):
            solve(problem, backend="torch", settings=Settings(device="mps"))


def test_settings_that_reach_nothing_are_reported():
    settings = Settings(tolerance=1e-2, seed=3, options={"neurons": 4})
    result = solve(PROBLEMS["adversarial-sdp"], backend="torch", settings=settings)
    assert "deterministic" in result.ignored["seed"]
    assert result.applied["dtype"] == "float64"


def test_small_data_gets_one_thread_unless_more_are_asked_for(monkeypatch):
    asked = []

    def spy(program, settings, *rest):
        asked.append(settings.threads)
        return Solution(Termination.TIME_LIMIT)

    monkeypatch.setattr(polynomial, "solve_polynomial", spy)
    backend, small = get_backend("torch"), PROBLEMS["adversarial-sdp"].to_structured()
    large = replace(small, X=np.zeros((1001, 500)))
    for program, settings in ((small, Settings()), (small, Settings(threads=2)), (large, Settings())):
        backend.solve(program, settings)
    assert asked == [1, 2, None]


def test_what_is_no_programme_of_ours_is_refused():
    with pytest.raises(
        UnsupportedProgramError,
        match="reads polynomial, gated, boxed polynomial, attacked targets and conic programmes, not ndarray",
    ):
        get_backend("torch").solve(np.eye(3), Settings())


def test_conic_programmes_are_solved_by_splitting_and_problems_by_their_structure(monkeypatch):
    def spy(program, *_):
        return Solution(Termination.TIME_LIMIT, message=type(program).__name__)

    monkeypatch.setattr(conic, "solve_conic", spy)
    problem = PROBLEMS["adversarial-sdp"]
    assert get_backend("torch").solve(problem.to_conic(), Settings()).message == "ConicProgram"
    for method in ("auto", "direct"):
        assert (
            solve(problem, backend="torch", method=method, settings=Settings(tolerance=0.1)).message != "ConicProgram"
        )
    assert solve(problem, backend="torch", method="cutting-set").message == "ConicProgram"
