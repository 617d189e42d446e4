"""The interior-point method against boxes: the optima of Clarabel, its own system, weights, samples without attack."""

import numpy as np
import pytest
import torch

from cvxrobust import Settings, solve
from cvxrobust.backends.ipm.boxes.method import BoxMethod, BoxSystem
from cvxrobust.core.kit import BestSoFar
from cvxrobust.core.programs.boxes.certificate import evaluated
from cvxrobust.problems.polynomial.boxes.box_sdp import BoxSDP
from cvxrobust.problems.polynomial.standard_sdp import StandardSDP

LOSSES = ("hinge", "squared_hinge", "logistic")


def instance(seed):
    """Samples that can and cannot be moved, by scales of their own, weighed, within a range now and then."""
    rng = np.random.default_rng([seed, 1])
    n, d = int(rng.integers(6, 16)), int(rng.integers(1, 5))
    X, y = rng.standard_normal((n, d)), np.where(rng.random(n) < 0.5, -1.0, 1.0)
    more = {"bounds": (-1.5, 1.5), "outside": "clip"} if seed % 3 == 1 else {}
    if seed % 2:
        more |= {"scale": rng.uniform(0.1, 1.5, d) * (rng.random(d) > 0.3)}
    if seed % 4 == 2:
        more |= {"sample_weight": rng.uniform(0.2, 3.0, n)}
    activation = (0.09, 0.5, 0.47) if seed % 5 else (-0.3, 0.2, 0.1)
    radius = rng.uniform(0.0, 0.5, n) * (rng.random(n) > 0.2)
    return BoxSDP(X, y, radius, beta=0.03, loss=LOSSES[seed % 3], activation=activation, **more)


@pytest.mark.parametrize("seed", range(10))
def test_it_certifies_what_clarabel_finds(seed):
    problem = instance(seed)
    other = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-7))
    own = solve(problem, backend="ipm", settings=Settings(tolerance=1e-7))
    assert own.quality == "certified"
    assert own.iterations <= 30
    assert own.certificate.upper == pytest.approx(other.certificate.upper, abs=1e-6)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_directions_solve_the_linearised_conditions(seed):
    """Duals of Z and Z' balance what samples pull at, in every direction: the reduced system has all of them."""
    problem = instance(seed)
    program = problem.to_structured()
    method = BoxMethod(program, BestSoFar(Settings()), torch.device("cpu"))
    with torch.inference_mode():
        at = method._start()
        system = BoxSystem(at.data, at.point, method.triangle)
        step = system.direction(0.1 * system.mu, system.direction(0.0, None))
        assert system.residual < 1e-10
        at = system.advanced(step, 1.0, 1.0)
        gathered = torch.zeros_like(at.Z)
        if at.attacked is not None:
            gathered += system.data.attacked.summed(at.attacked.X)
        if at.clean is not None:
            gathered += system.data.clean.gather(at.clean.theta)
        penalty = torch.zeros_like(at.Z)
        penalty[-1, -1] = problem.beta
        J = torch.diag(system.signature)
        for sign, U, nu in ((1.0, at.U, at.nu[0]), (-1.0, at.Up, at.nu[1])):
            np.testing.assert_allclose(U, penalty + nu * J - sign * gathered, atol=1e-9 * float(at.U.abs().max()))


def test_margins_of_its_iterates_are_bounds():
    problem = instance(0)
    program = problem.to_structured()
    seen = []

    class Watching(BoxMethod):
        def _offer(self, at):
            super()._offer(at)
            seen.append((self.progress.primal, self.progress.upper))

    with torch.inference_mode():
        Watching(program, BestSoFar(Settings(tolerance=1e-7)), torch.device("cpu")).run()
    for network, upper in seen:
        assert evaluated(program, network).value <= upper + 1e-7


def test_without_any_attack_it_is_standard_training():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((30, 3)), np.where(rng.random(30) < 0.5, -1.0, 1.0)
    box, standard = (solve(p, backend="ipm") for p in (BoxSDP(X, y, 0.0), StandardSDP(X, y)))
    assert box.certificate.upper == pytest.approx(standard.certificate.upper, rel=2e-6)


def test_three_classes_and_a_start():
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((24, 3)), rng.integers(0, 3, 24)
    problem = BoxSDP(X, y, 0.1, beta=0.02)
    cold = solve(problem, backend="ipm")
    assert cold.quality == "certified"
    assert cold.network.alpha.shape[1] == 3
    warm = solve(problem, backend="ipm", warm_start=cold.network)
    assert warm.certificate.upper <= cold.certificate.upper
    assert solve(problem).quality == "certified"
