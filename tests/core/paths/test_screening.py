"""Points over the samples that matter: bounds of some samples are bounds of all."""

import numpy as np
import pytest

from cvxrobust import AdversarialReLU, AdversarialSDP, Settings, StandardSDP, solve, solve_path
from cvxrobust.core.contracts.backend import Monitor
from cvxrobust.core.paths.screening import Asked, solve_over_rows

LOOSE = Settings(tolerance=1e-3)


def rows(n=60, d=3, classes=2, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    scores = 3.0 * X[:, :2] @ rng.standard_normal((2, classes)) + 0.3 * rng.standard_normal((n, classes))
    return X, scores.argmax(axis=1) if classes > 2 else np.sign(scores[:, 0])


X, Y = rows()
WEIGHTS = 1.0 + np.arange(60) % 3
PROBLEMS = {
    "hinge": AdversarialSDP(X, Y, 0.1, 0.01),
    "squared-hinge": StandardSDP(X, Y, 0.01, "squared_hinge"),
    "weighted": AdversarialSDP(X, Y, 0.1, 0.01, sample_weight=WEIGHTS),
    "radii": AdversarialSDP(X, Y, np.linspace(0.0, 0.2, 60), 0.01, scale=[0.0, 1.0, 2.0]),
    "classes": AdversarialSDP(*rows(classes=3), 0.1, 0.01),
    "wide": AdversarialSDP(*rows(16, 24), 0.5, 0.05),
    "relu": AdversarialReLU(X, Y, 0.02, beta=0.01, n_gates=5, sample_weight=WEIGHTS),
    "relu-bias": AdversarialReLU(X, Y, 0.02, beta=0.01, n_gates=5, bias=True, bound="mixed"),
    "relu-classes": AdversarialReLU(*rows(classes=3), 0.02, beta=0.01, n_gates=4),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_some_samples_bound_all_of_them(name):
    problem, rng = PROBLEMS[name], np.random.default_rng(1)
    n = problem.X.shape[0]
    network = solve(problem, settings=Settings(tolerance=1e-2)).network
    some = np.flatnonzero(rng.random(n) < 0.6)
    part, share = problem.of_rows(some)
    assert share * part.objective(network) <= problem.objective(network) * (1.0 + 1e-12)
    # With all samples that lose anything it is the same objective.
    losing = np.flatnonzero(problem.matters(network, 0.0))
    assert losing.size < n
    part, share = problem.of_rows(losing)
    assert share * part.objective(network) == pytest.approx(problem.objective(network), rel=1e-12)
    whole, one = problem.of_rows(np.arange(n))
    assert one == pytest.approx(1.0)
    assert whole.objective(network) == pytest.approx(problem.objective(network), rel=1e-12)


@pytest.mark.parametrize("from_start", [False, True])
@pytest.mark.parametrize("name", ["weighted", "classes", "relu", "relu-bias"])
def test_what_some_samples_prove_is_true_of_all(name, from_start):
    problem = PROBLEMS[name]
    start = solve(problem.at(beta=0.02), settings=Settings(tolerance=1e-2)).network
    found = solve_over_rows(problem, Asked("auto", "auto", LOOSE, Monitor(None), from_start, True), start)
    assert found is not None
    assert found.quality == "certified"
    assert problem.objective(found.network) == found.certificate.upper
    alone = solve(problem, settings=LOOSE).certificate
    assert found.certificate.lower <= alone.upper
    assert alone.lower <= found.certificate.upper


def test_where_all_samples_matter_none_are_left_out():
    asked = Asked("auto", "auto", LOOSE, Monitor(None), True, True)
    for problem in (
        AdversarialSDP(X, Y, 0.1, 0.01, "logistic"),
        AdversarialSDP(X, X[:, 0], 0.1, 0.01, "absolute"),
        AdversarialReLU(X, Y, 0.001, beta=0.01, n_gates=5, formulation="cone"),
        AdversarialSDP(X, Y, 0.1, 10.0),
    ):
        network = problem.trivial_network()
        assert problem.matters(network, 0.0).all()
        assert solve_over_rows(problem, asked, network) is None


def test_networks_of_a_path_say_what_they_are():
    path = solve_path(PROBLEMS["hinge"], betas=[0.03, 0.02, 0.01], settings=Settings(tolerance=1e-2))
    for point in path:
        known = point.network.metadata
        assert known["beta"] == point.beta
        assert known["radius"] == point.radius
        assert known["certificate_upper"] == point.certificate.upper
        assert known["training_fingerprint"] == path[0, 0].network.metadata["training_fingerprint"]
