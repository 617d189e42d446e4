"""Instances that several kernels share: sizes of the reference instance, of digits, and of larger data."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

Array = NDArray[np.float64]


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Figures are compared with a baseline: threads that wait for each other would only add noise."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(params=[(455, 30), (1500, 64), (10_000, 128)], ids=lambda size: f"n={size[0]},d={size[1]}")
def samples(request: pytest.FixtureRequest) -> tuple[Array, Array]:
    """Inputs, shape (n, d), and labels in {-1, +1}."""
    n, d = request.param
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    return X, np.where(X[:, 0] + 0.5 * X[:, 1] ** 2 > 0.5, 1.0, -1.0)


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, object]) -> None:
    """A baseline says what kind of machine it is from, not which."""
    machine_info.pop("node", None)
