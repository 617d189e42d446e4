"""What our solvers hand over as they go, in case they have to be ended in the midst of a step."""

import numpy as np
import pytest

from cvxrobust import AdversarialSDP, ConvexReLU, Settings, StandardSDP
from cvxrobust.core import Monitor, get_backend

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 4))
Y = np.where(X @ RNG.standard_normal(4) + 0.5 * RNG.standard_normal(40) > 0.0, 1.0, -1.0)
PROBLEMS = {
    "gated": ConvexReLU(X, Y, n_gates=4),
    "polynomial": StandardSDP(X, Y),
    "attacked polynomial": AdversarialSDP(X, Y, radius=0.3),
}


@pytest.mark.parametrize("kind", PROBLEMS)
@pytest.mark.parametrize("backend", ["ipm", "torch"])
def test_our_solvers_hand_their_iterates_over_as_they_go(backend, kind):
    problem = PROBLEMS[kind]
    kept = []
    monitor = Monitor(hear=lambda upper, lower, iterate: iterate and kept.append(iterate()))
    get_backend(backend).solve(problem.to_structured(), Settings(tolerance=1e-4, threads=1), monitor=monitor)
    assert len(kept) > 1
    uppers = [problem.objective(solution.network) for solution in kept]
    lowers = [problem.lower_bound(solution.multipliers) for solution in kept]
    assert (np.diff(uppers) <= 1e-9).all()
    assert (np.diff(lowers) >= -1e-9).all()
    assert uppers[-1] < uppers[0]
    assert lowers[-1] > lowers[0]
