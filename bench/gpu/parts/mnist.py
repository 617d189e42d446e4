"""Adversarial training of a polynomial network on all training images of MNIST, to a certified gap of one per cent."""

import time
from collections.abc import Iterator

from cvxrobust.bench.gpu.context import Context, TableRow, solved
from cvxrobust.bench.gpu.inputs import load_images

TITLE = "Polynomial network on 60,000 images of 784 pixels, to a certified 1e-2"
NOTE = (
    "Backend `torch`: hinge, l2 radius 0.3, beta 0.01, 0 to 4 against 5 to 9, pixels in [0, 1]. The second row makes "
    "the large products in single precision; certificates are in double precision in both."
)
BUDGET = 100.0


def rows(context: Context) -> Iterator[TableRow]:
    """Both precisions, as time allows."""
    from cvxrobust import AdversarialSDP, Settings, solve

    name, X, y = load_images(context.inputs, context.size(60_000, 300))
    if context.rehearsal:
        X = X.reshape(-1, 7, 4, 7, 4).mean((2, 4)).reshape(-1, 49)
    problem = AdversarialSDP(X, y, radius=0.3, beta=0.01)
    for dtype, share in (("float64", 0.75), ("float32", 1.0)):
        settings = Settings(
            tolerance=0.1 if context.rehearsal else 1e-2,
            device=context.device,
            dtype=dtype,
            threads=context.threads,
            time_limit=context.left(share),
        )
        began = time.perf_counter()
        result = solve(problem, backend="torch", settings=settings)
        seconds = time.perf_counter() - began
        yield solved(result, seconds, data=name, n=X.shape[0], d=X.shape[1], dtype=dtype)
