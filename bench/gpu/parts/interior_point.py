"""The structured interior-point backend on digits and on MNIST of the same size, on the device and on the CPU."""

import time
from collections.abc import Iterator

from cvxrobust.bench.gpu.context import Context, TableRow, solved
from cvxrobust.bench.gpu.inputs import load_digits_problem, load_small_mnist

TITLE = "Interior-point method to a certified 1e-6"
NOTE = (
    "Backend `ipm`: hinge, l2 radius 0.3, beta 0.01, even against odd digits, 64 pixels in [-1, 1]; seconds of the "
    "whole call of `solve`, after a first small one."
)
BUDGET = 75.0


def rows(context: Context) -> Iterator[TableRow]:
    """Device first; the CPU for comparison, on digits."""
    from cvxrobust import AdversarialSDP, Settings, solve

    tolerance = 1e-3 if context.rehearsal else 1e-6
    instances = {
        "digits": load_digits_problem(context.inputs, context.size(1500, 80)),
        "mnist-5000": load_small_mnist(context.inputs, context.size(5000, 100)),
    }
    for name, device, share in (
        ("digits", context.device, 0.5),
        ("mnist-5000", context.device, 0.7),
        ("digits", "cpu", 1.0),
    ):
        found = instances[name]
        if found is None:
            yield {"instance": name, "device": device, "termination": "not run: MNIST was not brought along"}
            continue
        X, y = found
        if context.rehearsal:
            X = X[:, 18:30]
        settings = Settings(tolerance=tolerance, device=device, threads=context.threads)
        small = AdversarialSDP(X[:40, 2:8], y[:40], radius=0.3, beta=0.01)
        solve(small, backend="ipm", settings=settings.replace(tolerance=1e-3))
        problem = AdversarialSDP(X, y, radius=0.3, beta=0.01)
        began = time.perf_counter()
        result = solve(
            problem, backend="ipm", method="direct", settings=settings.replace(time_limit=context.left(share))
        )
        seconds = time.perf_counter() - began
        yield solved(result, seconds, instance=name, device=device, n=X.shape[0], d=X.shape[1])
