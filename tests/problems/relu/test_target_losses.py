"""Absolute and Huber losses of ReLU networks beside the squared one: conic forms, references, certificates."""

from dataclasses import replace

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, ConvexReLU, Settings, solve
from cvxrobust.core import get_backend
from cvxrobust.core.errors import UnsupportedProgramError
from cvxrobust.core.programs.gated.certificate import GatedMultipliers, gated_bound, network_multipliers

LOSSES = ("squared", "absolute", "huber", "huber:0.3")
TIGHT = Settings(tolerance=1e-7, threads=1)


def data(C=1, n=14, d=3):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, C)), 0.0) + 0.2 * rng.standard_normal((n, C))
    y[0] += 4.0  # an outlier
    return X, y[:, 0] if C == 1 else y


def problem(loss, formulation="cone", radius=0.0, C=1):
    X, y = data(C)
    shared = {"loss": loss, "formulation": formulation, "n_gates": 4, "seed": 2, "beta": 0.05}
    return AdversarialReLU(X, y, radius=radius, norm="inf", **shared) if radius else ConvexReLU(X, y, **shared)


CASES = [("cone", 0.0, 1), ("gated", 0.0, 1), ("cone", 0.05, 1), ("gated", 0.1, 1), ("cone", 0.0, 2), ("cone", 0.03, 2)]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("formulation", "radius", "C"), CASES)
def test_the_conic_form_the_formulas_and_the_certificate_agree(loss, formulation, radius, C):
    part = problem(loss, formulation, radius, C)
    result = solve(part, backend="clarabel", settings=TIGHT)
    assert result.quality == "certified"
    reference = part.to_cvxpy()
    reference.solve(solver="CLARABEL")
    assert reference.value == pytest.approx(result.certificate.lower, rel=2e-6)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("C", [1, 2])
def test_no_multipliers_prove_more_than_the_optimum(loss, C):
    part = problem(loss, "cone", 0.03, C)
    optimum = solve(part, backend="clarabel", settings=TIGHT).certificate.upper
    program, rng = part.to_structured(), np.random.default_rng(0)
    (n, d), (K, _, _) = (program.X.shape[0], program.attackable), program.shape
    for size in (1e-3, 0.05, 10.0):
        shapes = (n, C), (n, C, d), (n, K, C), (K, C, d), (n, C)
        theta, attacks, mu, directions, omega = (rng.standard_normal(shape) for shape in shapes)
        wild = GatedMultipliers(size * theta, attacks, size * np.abs(mu), directions, size * omega)
        assert gated_bound(program, wild).value <= optimum
    trivial = gated_bound(program, network_multipliers(program, np.zeros(program.shape))).value
    assert part.at_once().lower <= trivial + 1e-12
    assert trivial <= optimum


def test_targets_and_thresholds_scale_together():
    X, y = data()
    shared = {"n_gates": 4, "seed": 2, "formulation": "cone"}
    one = solve(ConvexReLU(X, y, loss="huber:0.6", beta=0.05, **shared), backend="clarabel", settings=TIGHT)
    other = solve(ConvexReLU(X, 2.0 * y, loss="huber:1.2", beta=0.1, **shared), backend="clarabel", settings=TIGHT)
    assert other.certificate.upper == pytest.approx(4.0 * one.certificate.upper, rel=1e-6)


def test_backends_of_structured_programmes_know_them_and_refuse_others_by_name():
    pytest.importorskip("torch")
    part = problem("absolute")
    exact = solve(part, backend="clarabel", settings=TIGHT).certificate.upper
    for backend in ("ipm", "torch"):
        program = part.to_structured()
        with pytest.raises(UnsupportedProgramError, match="does not know the loss 'cauchy'"):
            get_backend(backend).solve(replace(program, loss="cauchy"), Settings())
        result = solve(part, backend=backend, settings=Settings(tolerance=1e-5, threads=1))
        assert result.quality == "certified"
        assert result.certificate.upper == pytest.approx(exact, rel=2e-5)


@pytest.mark.parametrize("backend", ["torch", "ipm", "clarabel"])
def test_networks_of_targets_predict_numbers_whoever_trained_them(backend):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 2))
    problem = AdversarialReLU(X, X[:, 0], 0.05, loss="absolute", n_gates=3, beta=0.01)
    network = solve(problem, backend, settings=Settings(tolerance=1e-3)).network
    assert network.regression
    np.testing.assert_array_equal(network.predict(X), network.decision_function(X))
