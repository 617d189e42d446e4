"""The problem family under its contract, and what makes it different from its neighbours."""

import numpy as np
import pytest
from cvxrobust_outsiders.positive_sdp import PositiveSDP

from cvxrobust import InputError, PolynomialNetwork, Settings, StandardSDP, solve
from cvxrobust.core import measure
from cvxrobust.core.testing import ProblemContract

RNG = np.random.default_rng(3)
X = RNG.normal(size=(12, 3))
Y = np.where(X[:, 0] + X[:, 1] ** 2 > 0.5, 1.0, -1.0)


class TestPositiveSDP(ProblemContract):
    def make(self):
        return PositiveSDP(X, Y, beta=0.05)


class TestPositiveSDPSquaredHinge(ProblemContract):
    def make(self):
        return PositiveSDP(X, Y, beta=0.05, loss="squared_hinge")


class TestPositiveSDPLogistic(ProblemContract):
    def make(self):
        return PositiveSDP(X, Y, beta=0.05, loss="logistic", activation=(0.3, -0.2, 0.1))


@pytest.fixture(scope="module")
def result():
    return solve(PositiveSDP(X, Y, beta=0.05), backend="moreau", settings=Settings(tolerance=1e-5))


def test_weights_are_positive_and_scores_convex(result):
    assert (result.network.alpha > 0).all()
    ends, middle = RNG.normal(size=(2, 50, 3)), RNG.uniform(size=(50, 1))
    first, second = (result.network.decision_function(points) for points in ends)
    between = result.network.decision_function(middle * ends[0] + (1 - middle) * ends[1])
    assert (between <= middle[:, 0] * first + (1 - middle[:, 0]) * second + 1e-9).all()


def test_weights_of_both_signs_do_at_least_as_well(result):
    free = solve(StandardSDP(X, Y, beta=0.05), backend="clarabel", settings=Settings(tolerance=1e-6))
    assert free.certificate.lower <= result.certificate.upper


def test_no_random_network_of_the_family_is_better(result):
    problem = PositiveSDP(X, Y, beta=0.05)
    for _ in range(100):
        u = RNG.normal(size=(4, 3))
        network = PolynomialNetwork(u / np.linalg.norm(u, axis=1)[:, None], RNG.exponential(size=4))
        assert problem.objective(network) >= result.certificate.lower


def test_a_network_with_a_negative_weight_is_refused():
    network = PolynomialNetwork(np.eye(3)[:1], np.array([-1.0]))
    with pytest.raises(InputError, match="negative output weight"):
        PositiveSDP(X, Y).objective(network)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"beta": 0.0}, "beta is 0.0"),
        ({"loss": "squared"}, "unknown loss 'squared'"),
        ({"activation": (-1.0, 0.0, 0.0)}, "a > 0"),
    ],
)
def test_unusable_parameters_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        PositiveSDP(X, Y, **arguments)


def test_labels_other_than_signs_are_refused():
    with pytest.raises(InputError, match=r"expected -1 or \+1"):
        PositiveSDP(X, np.arange(12))


def test_the_metric_counts_neurons_by_weight(result):
    found = measure(result, ["effective-neurons"])
    assert found.failures == {}
    assert 1.0 <= found.values["effective-neurons"] <= result.network.n_neurons + 1e-9
