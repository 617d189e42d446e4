"""An attacked one-sided ReLU programme far beyond what conic solvers reach."""

import time
from collections.abc import Iterator

from cvxrobust.bench.gpu.context import Context, TableRow, solved

TITLE = "Attacked one-sided ReLU, 50,000 samples, 128 inputs, 100 gates"
NOTE = (
    "Backend `torch`: hinge, linf radius 0.05, beta 0.01, labels of a random ReLU network, one in ten wrong "
    "(`cvxrobust.bench.data.teachers`); the certified gap after the time that there was."
)
BUDGET = 50.0


def rows(context: Context) -> Iterator[TableRow]:
    """One solve."""
    from cvxrobust import AdversarialReLU, Settings, solve
    from cvxrobust.bench.data.teachers import relu_teacher

    n, d, gates = context.size(50_000, 200), context.size(128, 8), context.size(100, 6)
    problem = AdversarialReLU(*relu_teacher(n, d), radius=0.05, norm="inf", n_gates=gates, beta=0.01)
    settings = Settings(tolerance=1e-2, device=context.device, threads=context.threads, time_limit=context.left())
    began = time.perf_counter()
    result = solve(problem, backend="torch", settings=settings)
    yield solved(result, time.perf_counter() - began, n=n, d=d, gates=gates)
