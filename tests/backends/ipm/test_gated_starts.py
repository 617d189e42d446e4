"""Where the interior-point solver of gated programmes starts: far from feasible multipliers, or near a network."""

import numpy as np
import pytest
from gated_cases import gap
from sklearn.datasets import load_breast_cancer

from cvxrobust import AdversarialReLU, ConvexReLU, ReLUNetwork, Settings
from cvxrobust.core.contracts.result import Termination

gated_ipm = pytest.importorskip("cvxrobust.backends.ipm.gated.solve")
gated_steps = pytest.importorskip("cvxrobust.backends.ipm.gated.iteration")
solve_gated = gated_ipm.solve_gated


def moons(n=30, **parameters):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, 4))
    y = np.where(np.abs(X[:, 0]) - 0.7 + 0.4 * X[:, 1] > 0, 1.0, -1.0)
    given = {"n_gates": 6, "beta": 0.01} | parameters
    return AdversarialReLU(X, y, **given) if "radius" in given else ConvexReLU(X, y, **given)


@pytest.mark.parametrize("kind", ["offset", "binary", "sparse"])
@pytest.mark.parametrize("beta", [1e-3, 1e-4])
def test_small_penalties_on_data_that_is_not_centred(kind, beta):
    rng = np.random.default_rng(1)
    X = rng.standard_normal((300, 10)) + 1.0
    if kind != "offset":
        X = (rng.random((300, 10)) < (0.5 if kind == "binary" else 0.1)).astype(float)
    # Samples of both signs pull every neuron the same way, at first by several hundred times beta.
    f = X @ rng.standard_normal(10)
    program = ConvexReLU(X, np.where(f > np.median(f), 1.0, -1.0), beta=beta).program
    solution = solve_gated(program, Settings())
    assert gap(program, solution) <= 1e-6
    assert solution.iterations <= 40


def test_slow_progress_of_any_measure_is_progress():
    # Two per cent a step, as where a start is far from the multipliers that are feasible, and nothing else falls.
    patience = gated_steps.Patience()
    assert not any(patience.ends((1.0, 1.02**step, 0.98**step)) for step in range(100))
    assert [patience.ends((1.0, 9.0, 0.98**99)) for _ in range(2 * gated_steps.TUNING.patience)][-1]


STARTS = [
    (loss, formulation, radius)
    for formulation in ("one-sided", "cone", "gated")
    for loss in ("hinge", "squared_hinge", "logistic")
    for radius in (0.0, 0.02)
]


@pytest.mark.parametrize(("loss", "formulation", "radius"), STARTS)
def test_no_start_is_worse_than_none(loss, formulation, radius):
    def program(beta):
        return moons(20, loss=loss, formulation=formulation, radius=radius, beta=beta, n_gates=5).program

    asked, settings, rng = program(0.003), Settings(), np.random.default_rng(1)
    cold = solve_gated(asked, settings)
    hidden, output = rng.standard_normal((5, 4)), rng.standard_normal(5)
    starts = [ReLUNetwork(hidden, size * output) for size in (1.0, 1e3)]
    starts += [solve_gated(program(beta), Settings(tolerance=1e-4)).network for beta in (0.01, 0.001)]
    for start in starts:
        warm = solve_gated(asked, settings, start=start)
        assert warm.termination is Termination.CONVERGED
        assert gap(asked, warm) <= 1e-6
        assert warm.iterations <= 1.3 * cold.iterations


def test_a_start_that_leads_nowhere_is_given_up(monkeypatch):
    program = moons().program
    near = solve_gated(program, Settings(tolerance=0.1)).network
    run, ended = gated_steps.Steps.run, []

    def fails_once(steps):
        ended.append(steps.count)
        if len(ended) > 1:
            return run(steps)
        steps.count += 3
        return Termination.NUMERICAL

    monkeypatch.setattr(gated_steps.Steps, "run", fails_once)
    solution = solve_gated(program, Settings(), start=near)
    assert ended == [0, 3]
    assert solution.termination is Termination.CONVERGED
    assert solution.iterations > 3


@pytest.mark.parametrize("loss", ["squared_hinge", "logistic"])
def test_the_network_of_a_larger_beta_saves_a_third_of_the_steps(loss):
    """Its multipliers promise a gap that the start does not keep; started as sharply as that, it saved next to none."""
    X, target = load_breast_cancer(return_X_y=True)
    X, y = ((X - X.mean(0)) / X.std(0))[:200, :20], 2.0 * target[:200] - 1.0
    larger, smaller = (AdversarialReLU(X, y, 0.05, n_gates=6, beta=b, loss=loss).program for b in (3e-3, 1e-3))
    start, cold = solve_gated(larger, Settings()).network, solve_gated(smaller, Settings())
    warm = solve_gated(smaller, Settings(), start=start)
    assert warm.termination is Termination.CONVERGED
    assert gap(smaller, warm) <= 1e-6
    assert warm.iterations <= cold.iterations * 2 / 3
