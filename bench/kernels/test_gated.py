"""Kernels of ReLU programmes: certificate and assembly."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cvxrobust import AdversarialReLU

Array = NDArray[np.float64]


def problem(samples: tuple[Array, Array]) -> AdversarialReLU:
    """Forty gates, attacked."""
    X, y = samples
    return AdversarialReLU(X, y, radius=0.01, norm="inf", n_gates=40, beta=0.01)


@pytest.mark.benchmark(group="certificate")
def test_a_bound_repaired_gate_by_gate(benchmark: Any, samples: tuple[Array, Array]) -> None:
    """The lower bound from multipliers that a network suggests."""
    part = problem(samples)
    multipliers = part.network_multipliers(part.trivial_network())
    benchmark.pedantic(part.lower_bound, (multipliers,), rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="assembly")
def test_a_gated_programme(benchmark: Any) -> None:
    """n = 455, d = 30."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((455, 30))
    part = problem((X, np.sign(X[:, 0])))
    benchmark.pedantic(part.to_conic, rounds=3, warmup_rounds=1)
