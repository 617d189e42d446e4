"""The device tests of the suite on this machine's device, and the same solves on the CPU and on the device."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.gpu.context import Context, TableRow

TITLE = "CPU against device"
NOTE = (
    "Tests named for devices, as pytest ran them here; then the same computation on the CPU and on the device, with "
    "the largest relative difference. Asked for: 1e-8."
)
BUDGET = 95.0
ASKED = 1e-8
ITERATIONS = 60


def rows(context: Context) -> Iterator[TableRow]:
    """Differences first, because they are quick; then the tests, file by file."""
    yield from _differences(context)
    yield from _tests(context)


def _differences(context: Context) -> Iterator[TableRow]:
    from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, StandardSDP

    X, y = _noisy(context.size(400, 40), context.size(24, 4))
    problems: dict[str, Any] = {
        "AdversarialSDP, hinge": AdversarialSDP(X, y, radius=0.3, beta=0.01),
        "AdversarialSDP, logistic": AdversarialSDP(X, y, radius=0.3, beta=0.01, loss="logistic"),
        "StandardSDP": StandardSDP(X, y, beta=0.01),
        "ConvexReLU, one-sided": ConvexReLU(X, y, n_gates=8),
        "ConvexReLU, cone": ConvexReLU(X, y, n_gates=8, formulation="cone"),
        "AdversarialReLU, linf": AdversarialReLU(X, y, radius=0.05, n_gates=8),
    }
    yield _gradient(problems["AdversarialSDP, hinge"], context)
    for name, problem in problems.items() if not context.rehearsal else list(problems.items())[::3]:
        yield _optimum(name, problem, context)


def _gradient(problem: Any, context: Context) -> TableRow:
    """One smoothed robust gradient, entry by entry."""
    from cvxrobust import Settings
    from cvxrobust.core.discovery.registry import get_backend

    backend: Any = get_backend("torch")
    rng, d = np.random.default_rng(1), problem.X.shape[1]
    neurons, signs = rng.standard_normal((2 * d, d)) / d**0.5, np.where(np.arange(2 * d) % 2 == 0, 1.0, -1.0)
    found = []
    for device in ("cpu", context.device):
        gradient = backend.robust_gradient(problem.to_structured(), Settings(device=device, threads=context.threads))
        found.append(gradient(neurons, signs))
    (here, mine), (there, its) = found
    difference = max(abs(here - there) / abs(here), float(np.abs(mine - its).max() / np.abs(mine).max()))
    return {"table": "differences", "what": "torch: robust gradient", "difference": difference, **_verdict(difference)}


def _optimum(name: str, problem: Any, context: Context) -> TableRow:
    """The same iterations of ipm: both bounds of both."""
    from cvxrobust import Settings
    from cvxrobust.core.discovery.registry import get_backend
    from cvxrobust.core.solving.judging.sanitize import network_of

    backend, found = get_backend("ipm"), []
    for device in ("cpu", context.device):
        began = time.perf_counter()
        # No time limit: it would end the two at different iterations.
        settings = Settings(tolerance=1e-8, device=device, threads=context.threads, max_iterations=ITERATIONS)
        solution: Any = backend.solve(problem.to_structured(), settings)
        bounds = problem.objective(network_of(problem, solution)), problem.lower_bound(solution.multipliers)
        found.append((*bounds, solution.iterations, time.perf_counter() - began))
    here, there = found
    difference = max(abs(here[k] - there[k]) / abs(here[0]) for k in range(2))
    facts = {"iterations": f"{here[2]} and {there[2]}", "s on the CPU": here[3], "s on the device": there[3]}
    return {"table": "differences", "what": f"ipm: {name}", "difference": difference, **_verdict(difference), **facts}


def _verdict(difference: float) -> TableRow:
    return {"within 1e-8": "yes" if difference <= ASKED else "NO"}


def _noisy(n: int, d: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    score = X @ rng.standard_normal(d) + X[:, 0] * X[:, 1] + rng.standard_normal(n)
    return X, np.where(score > 0.0, 1.0, -1.0)


class _Watch:
    """Hears from pytest what became of each test."""

    def __init__(self) -> None:
        self.counts = {"passed": 0, "failed": 0, "skipped": 0}
        self.complaints: list[str] = []

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count the outcome of a test; an error around it counts, too."""
        if report.when == "call" or report.outcome != "passed":
            self.counts[report.outcome] += 1
        if report.outcome == "failed":
            self._complain(report)

    def pytest_collectreport(self, report: Any) -> None:
        """A file that cannot be collected has failed."""
        if report.failed:
            self.counts["failed"] += 1
            self._complain(report)

    def _complain(self, report: Any) -> None:
        last = str(report.longrepr).strip().splitlines()[-1:]
        self.complaints.append(f"{report.nodeid}: {' '.join(last)[:200]}")


def _tests(context: Context) -> Iterator[TableRow]:
    """Test files that are about devices, each by itself."""
    sys.path.append(str(context.inputs / "tests"))
    try:
        import pytest
    except ImportError as error:
        yield {"table": "tests", "file": "none", "remark": f"not run: {error}"}
        return
    root = Path(__file__).resolve().parents[3] / "tests"
    files = sorted(path for path in root.rglob("test_*device*.py") if "thirdparty" not in path.parts)
    if not files:
        yield {"table": "tests", "file": "none", "remark": f"not run: there are no tests in {root}; run in a checkout"}
    # On the CPU the same tests run under their other parameter; a few of them rehearse this.
    chosen = "cuda or gpu" if context.device != "cpu" else "(a_pass_is_the_same and hinge-cpu) or played_device"
    for path in files:
        watch, began = _Watch(), time.perf_counter()
        # Other versions of PyTorch warn of other things; here it matters what they compute.
        options = ["-q", "-k", chosen, "-p", "no:cacheprovider", "-W", "default", "-o", "filterwarnings=default"]
        pytest.main([*options, str(path)], plugins=[watch])
        yield {
            "table": "tests",
            "file": path.relative_to(root).as_posix(),
            **watch.counts,
            "seconds": time.perf_counter() - began,
            "remark": "; ".join(watch.complaints)[:600],
        }
