"""Losses of targets by the first-order methods, with kinks and jumps: the optimum that conic solvers find."""

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, ConvexReLU, Settings, StandardSDP, solve

pytest.importorskip("torch")
RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4))
Y = X[:, 0] ** 2 - X[:, 1] + 0.3 * RNG.standard_normal(40)
Y[:4] += 8.0  # outliers
GATES = {"beta": 0.02, "n_gates": 6, "seed": 0}
PROBLEMS = {
    "polynomial": lambda loss, y=Y: StandardSDP(X, y, beta=0.02, loss=loss),
    "cone": lambda loss, y=Y: ConvexReLU(X, y, loss=loss, formulation="cone", **GATES),
    "gated": lambda loss, y=Y: ConvexReLU(X, y, loss=loss, formulation="gated", **GATES),
    "two outputs": lambda loss: ConvexReLU(X, np.column_stack([Y, X[:, 2]]), loss=loss, formulation="cone", **GATES),
    "attacked cone": lambda loss, y=Y: AdversarialReLU(X, y, radius=0.03, loss=loss, formulation="cone", **GATES),
    "attacked gated": lambda loss, y=Y: AdversarialReLU(
        X, y, radius=0.1, norm=2, loss=loss, formulation="gated", **GATES
    ),
}


@pytest.mark.parametrize("unit", [1e-3, 1e3])
@pytest.mark.parametrize("name", ["polynomial", "cone", "gated", "attacked gated"])
def test_units_of_targets_are_no_matter_to_an_absolute_loss(name, unit):
    found = [
        solve(PROBLEMS[name]("absolute", size * Y), backend="torch", settings=Settings(tolerance=1e-4, threads=1))
        for size in (1.0, unit)
    ]
    assert {(each.quality, each.termination) for each in found} == {("certified", "converged")}
    # Networks and losses are in the same units, and so is their optimum.
    assert found[1].certificate.upper == pytest.approx(unit * found[0].certificate.upper, rel=2e-4)
    assert found[1].iterations <= 2 * found[0].iterations


@pytest.mark.parametrize("loss", ["absolute", "huber", "huber:0.3"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_first_order_methods_find_the_optimum_of_conic_solvers(name, loss):
    problem = PROBLEMS[name](loss)
    ours = solve(problem, backend="torch", settings=Settings(tolerance=1e-4, threads=1))
    assert (ours.quality, ours.termination) == ("certified", "converged")
    exact = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6, threads=1)).certificate
    assert ours.certificate.lower <= exact.upper * (1.0 + 1e-9)
    assert exact.lower <= ours.certificate.upper * (1.0 + 1e-9)
