"""What one robust gradient of a polynomial network costs, against its matrix products alone, as data grows.

    python -m cvxrobust.bench.studies.gradient_scaling [--threads 2] [--device cpu] [--dtype float64] [--plot FILE]

The gradient of the smoothed robust objective, exact worst cases of all samples included, for 64 neurons, hinge, l2
radius 0.3, on standard normal inputs divided by sqrt(d); and the two products with X that it needs, in the same blocks.
Every time is the shortest of several; the first evaluation, which has no roots to start from, is timed by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.bench.studies.common import print_table, study_parser, timed
from cvxrobust.core.environment import peak_memory
from cvxrobust.core.kit.threads import blas_threads
from cvxrobust.core.pictures.canvas import new_figure

if TYPE_CHECKING:
    from cvxrobust import Settings

SAMPLES = (3_125, 6_250, 12_500, 25_000, 50_000)
INPUTS = (64, 128, 256, 512)
NEURONS, RADIUS, REPEATS = 64, 0.3, 5


@dataclass(frozen=True)
class Cost:
    """Seconds and rates for one size.

    Args:
        n: Samples.
        d: Inputs.
        gradient: Seconds of one robust gradient.
        first: Seconds of the first one.
        products: Seconds of its matrix products alone.
    """

    n: int
    d: int
    gradient: float
    first: float
    products: float

    @property
    def ratio(self) -> float:
        """The gradient in units of its products."""
        return self.gradient / self.products

    @property
    def rate(self) -> float:
        """GFLOP/s of the products while the gradient is computed."""
        return 4e-9 * self.n * self.d * min(NEURONS, self.d) / self.gradient


def measure(n: int, d: int, settings: "Settings") -> Cost:
    """Time one size."""
    from cvxrobust.core.attacks.ball import AttackBall
    from cvxrobust.core.discovery.registry import get_backend
    from cvxrobust.core.programs.polynomial.program import PolynomialProgram

    backend: Any = get_backend("torch")
    rng = np.random.default_rng(n + d)
    X = rng.standard_normal((n, d)) / d**0.5
    labels = np.where(rng.random((n, 1)) < 0.5, -1.0, 1.0)
    program = PolynomialProgram(X, labels, "hinge", (0.09, 0.5, 0.47), AttackBall(2, np.full(n, RADIUS), d), 0.01)
    gradient = backend.robust_gradient(program, settings)
    signs = np.where(np.arange(NEURONS) % 2 == 0, 1.0, -1.0)
    # Neighbouring points, as a descent visits them.
    start = rng.standard_normal((NEURONS, d)) / d**0.5
    points = [start + 1e-3 * rng.standard_normal((NEURONS, d)) / d**0.5 for _ in range(REPEATS)]
    gradient.products(start[:d])
    # What comes back lies in the host's memory, so that a GPU is waited for.
    first, _ = timed(partial(gradient, points[0], signs))
    return Cost(
        n,
        d,
        min(timed(partial(gradient, point, signs))[0] for point in points),
        first,
        min(timed(partial(gradient.products, point[:d]))[0] for point in points),
    )


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Of the line through the points in log-log coordinates."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def plot(costs: Sequence[Cost], path: Path) -> None:
    """Cost against n and d."""
    figure = new_figure((9, 4))
    for axes, (name, fixed) in zip(figure.subplots(1, 2), (("n", "d"), ("d", "n")), strict=True):
        largest = max(getattr(cost, fixed) for cost in costs)
        shown = [cost for cost in costs if getattr(cost, fixed) == largest]
        sizes = [getattr(cost, name) for cost in shown]
        for label, style in (("gradient", "o-"), ("products", "s--")):
            seconds = [getattr(cost, label) for cost in shown]
            axes.loglog(sizes, seconds, style, label=f"{label}, slope {slope(sizes, seconds):.2f}")
        axes.set(xlabel=name, ylabel="seconds", title=f"{fixed} = {largest}, {NEURONS} neurons")
        axes.grid(True, which="both", alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and plot."""
    from cvxrobust import Settings

    asked = study_parser(__doc__, threads=2, device="cpu", dtype="float64", plot=Path).parse_args(arguments)
    settings = Settings(device=asked.device, dtype=asked.dtype, threads=asked.threads)
    sizes = [(n, max(INPUTS)) for n in SAMPLES] + [(max(SAMPLES), d) for d in INPUTS[:-1]]
    with blas_threads(asked.threads):
        costs = [measure(n, d, settings) for n, d in sizes]
    rows = [
        [
            f"{c.n}", f"{c.d}", f"{c.gradient:.3f}", f"{c.first:.3f}", f"{c.products:.3f}", f"{c.ratio:.2f}",
            f"{c.rate:.1f}",
        ]
        for c in costs
    ]  # fmt: skip
    columns = ["n", "d", "gradient", "first gradient", "products alone", "ratio", "GFLOP/s"]
    title = f"Seconds of one robust gradient, {NEURONS} neurons, {asked.dtype}, {asked.device}, {asked.threads} threads"
    print_table(title, columns, rows, left=0)
    shown = sorted((c for c in costs if c.d == max(INPUTS)), key=lambda c: c.n)
    print(f"log-log slope in n: {slope([c.n for c in shown], [c.gradient for c in shown]):.2f}")
    print(f"peak memory of the process: {peak_memory() / 2**30:.2f} GiB")
    if asked.plot:
        plot(costs, asked.plot)


if __name__ == "__main__":
    main()
