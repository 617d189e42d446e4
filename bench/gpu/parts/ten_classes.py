"""Ten classes at once on random features, and one step of the method that penalises eigenvalues for comparison."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from cvxrobust.bench.baselines.eigenvalue_penalty import PenaltyStep
from cvxrobust.bench.gpu.context import Context, TableRow, solved

TITLE = "Ten classes, 50,000 samples of 512 random features"
NOTE = (
    "Features: standardised relu of random combinations of 40 normal variables, made here; classes: the largest of ten "
    "outputs of a random network on those variables; hinge, l2 radius 0.3, beta 0.01, one network per class. Backend "
    "`torch`, all classes together. The step of the penalty method (arXiv:2405.14033 penalises negative eigenvalues of "
    "one matrix of order d + 1 per sample; Adam, batches of 100, single precision, as in published code) is timed for "
    "one class on up to 1,000 samples. `whole` multiplies by samples and classes: it is extrapolated, not run, and it "
    "is one pass over the data, not a solution."
)
BUDGET = 110.0
CLASSES = 10


def features(n: int, d: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Random features, shape (n, d), standardised, and labels 0 to 9."""
    rng = np.random.default_rng(0)
    latent = rng.standard_normal((n, 40))
    scores = np.maximum(latent @ rng.standard_normal((40, 64)), 0.0) @ rng.standard_normal((64, CLASSES))
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    X = np.maximum(latent @ rng.standard_normal((40, d)), 0.0)
    return (X - X.mean(axis=0)) / X.std(axis=0), scores.argmax(axis=1)


def rows(context: Context) -> Iterator[TableRow]:
    """The penalty method's step first: it is quick and its time is known."""
    from cvxrobust import AdversarialSDP, Settings, solve

    n, d = context.size(50_000, 400), context.size(512, 24)
    X, y = features(n, d)
    yield from _steps(context, X, y)
    settings = Settings(
        tolerance=0.1 if context.rehearsal else 1e-2,
        device=context.device,
        threads=context.threads,
        time_limit=context.left(),
    )
    problem = AdversarialSDP(X, y, radius=0.3, beta=0.01)
    began = time.perf_counter()
    result = solve(problem, backend="torch", settings=settings)
    seconds = time.perf_counter() - began
    worst = max(part.certificate.relative_gap for part in result.parts)
    yield {"table": "solve"} | solved(result, seconds, n=n, d=d, classes=CLASSES) | {"worst class's gap": worst}


def _steps(context: Context, X: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Iterator[TableRow]:
    """Seconds of a pass of the penalty method over more and more samples."""
    n, d = X.shape
    # On a processor ten times fewer samples say the same; published code used a GPU.
    most = context.size(1_000 if context.device != "cpu" else 100, 400)
    signs = np.where(y == 0, 1.0, -1.0)
    seen = []
    for count in (most // 4, most // 2, most):
        step = PenaltyStep(X[:count], signs[:count], 0.3, 0.01, context.device)
        step.run()
        context.synchronize()
        began = time.perf_counter()
        step.run()
        context.synchronize()
        seen.append((count, time.perf_counter() - began))
        yield {"table": "penalty", "samples": count, "d": d, "s per pass": seen[-1][1]}
    sizes, seconds = np.log([pair[0] for pair in seen]), np.log([pair[1] for pair in seen])
    whole = seen[-1][1] / seen[-1][0] * n * CLASSES
    yield {
        "table": "penalty",
        "samples": f"{n} x {CLASSES} classes, extrapolated",
        "d": d,
        "s per pass": whole,
        "log-log slope": float(np.polyfit(sizes, seconds, 1)[0]),
    }
