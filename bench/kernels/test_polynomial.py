"""Kernels of polynomial networks: worst cases, certificates, gradients, assembly."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cvxrobust import AdversarialSDP, PolynomialNetwork, StandardSDP
from cvxrobust.core.attacks.quadratic import Quadratic
from cvxrobust.core.attacks.trust_region import minimize_in_ball, minimize_on_sphere

Array = NDArray[np.float64]
ACTIVATION = (0.09, 0.5, 0.47)
NEURONS = 24


def network(d: int) -> PolynomialNetwork:
    """A random one."""
    rng = np.random.default_rng(1)
    u = rng.standard_normal((NEURONS, d))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return PolynomialNetwork(u, rng.standard_normal(NEURONS), ACTIVATION)


@pytest.mark.benchmark(group="trust region")
def test_worst_cases_in_the_ball(benchmark: Any, samples: tuple[Array, Array]) -> None:
    """Every sample's subproblem in all d dimensions, by one eigendecomposition."""
    X, _ = samples
    rng = np.random.default_rng(2)
    P = rng.standard_normal((X.shape[1],) * 2)
    benchmark(minimize_in_ball, P + P.T, X, np.full(len(X), 0.3))


@pytest.mark.benchmark(group="trust region")
def test_worst_cases_in_the_span(benchmark: Any, samples: tuple[Array, Array]) -> None:
    """The same in the span of the neurons, as problems do it."""
    X, y = samples
    net = network(X.shape[1])
    f = Quadratic.of(net.u, net.alpha, ACTIVATION)
    benchmark(f.worst_margins, X, y, np.full(len(X), 0.3))


@pytest.mark.benchmark(group="trust region")
@pytest.mark.parametrize("d", [30, 128, 512])
def test_pricing_on_the_sphere(benchmark: Any, d: int) -> None:
    """One subproblem with an equality, which finds the neuron that improves a network most."""
    rng = np.random.default_rng(3)
    G = rng.standard_normal((d, d))
    benchmark(minimize_on_sphere, G + G.T, rng.standard_normal((1, d)))


@pytest.mark.benchmark(group="certificate")
def test_upper_and_lower_bound_of_a_network(benchmark: Any, samples: tuple[Array, Array]) -> None:
    """The objective with exact worst cases, and the bound from the network's own multipliers."""
    problem = AdversarialSDP(*samples, radius=0.3, beta=0.01)
    net = network(samples[0].shape[1])

    def certify() -> tuple[float, float]:
        return problem.objective(net), problem.lower_bound(problem.network_multipliers(net))

    upper, lower = benchmark(certify)
    assert lower <= upper


@pytest.mark.benchmark(group="first-order step")
def test_a_robust_gradient(benchmark: Any, samples: tuple[Array, Array]) -> None:
    """As the backend ``torch`` evaluates it, root-finding warm."""
    from cvxrobust.backends.torch.polynomial.robust_gradient import RobustGradient

    X, y = samples
    gradient = RobustGradient(AdversarialSDP(X, y, radius=0.3, beta=0.01).to_structured(), threads=1)
    neurons = 0.1 * network(X.shape[1]).u
    signs = np.where(np.arange(NEURONS) % 2, 1.0, -1.0)
    gradient(neurons, signs)
    benchmark(gradient, neurons, signs)


@pytest.mark.benchmark(group="assembly")
@pytest.mark.parametrize(("n", "d"), [(200, 30), (455, 30)])
def test_matrix_inequalities(benchmark: Any, n: int, d: int) -> None:
    """One inequality of order d + 1 per sample."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((n, d))
    problem = AdversarialSDP(X, np.sign(X[:, 0]), radius=0.3, beta=0.01)
    benchmark.pedantic(problem.to_conic, rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="assembly")
def test_standard_programme(benchmark: Any) -> None:
    """No adversary: two matrices and n rows."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((1000, 40))
    benchmark.pedantic(StandardSDP(X, np.sign(X[:, 0]), beta=0.01).to_conic, rounds=5, warmup_rounds=1)
