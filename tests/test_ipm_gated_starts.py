"""Where the interior-point solver of gated programmes starts, far from feasible multipliers."""

import numpy as np
import pytest
from gated_cases import gap

from cvxrobust import ConvexReLU, Settings

gated_ipm = pytest.importorskip("cvxrobust.backends.ipm.gated")
gated_steps = pytest.importorskip("cvxrobust.backends.ipm.gated_steps")
solve_gated = gated_ipm.solve_gated


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
    assert [patience.ends((1.0, 9.0, 0.98**99)) for _ in range(2 * gated_steps.PATIENCE)][-1]
