"""How the structured interior-point backend scales in samples and inputs, attacked polynomial networks.

    python -m cvxrobust.bench.studies.ipm_scaling [--threads 2] [--device cpu] [--quick] [--plot FILE]

Teacher data of `cvxrobust.bench.studies.ipm_comparison`, hinge, l2 radius 0.3 / sqrt(d), beta = 0.01, to a certified
gap of 1e-6. The work of an iteration is linear in n for a given d, and grows with d^4 n, from which small sizes stay
away.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cvxrobust.bench.data.teachers import quadratic_teacher
from cvxrobust.bench.studies.common import print_rows, study_parser
from cvxrobust.bench.studies.gradient_scaling import slope
from cvxrobust.core.pictures.canvas import new_figure

SAMPLES, INPUTS = (250, 500, 1000, 2000, 4000, 8000), 20
SIZES, ROWS = (8, 16, 32, 64), 500
COLUMNS = ["n", "d", "seconds", "iterations", "seconds each", "certified gap", "MiB"]


@dataclass(frozen=True)
class Cost:
    """One solve.

    Args:
        n: Samples.
        d: Inputs.
        seconds: In all.
        iterations: Of the method.
        gap: Certified, relative.
        memory: High-water mark of the process, in MiB.
    """

    n: int
    d: int
    seconds: float
    iterations: int
    gap: float
    memory: float

    @property
    def each(self) -> float:
        """Seconds of an iteration."""
        return self.seconds / max(self.iterations, 1)


def measure(n: int, d: int, threads: int, device: str) -> Cost:
    """Solve one size."""
    from cvxrobust import AdversarialSDP, Settings, solve

    problem = AdversarialSDP(*quadratic_teacher(n, d), radius=0.3 / d**0.5, beta=0.01)
    settings = Settings(tolerance=1e-6, threads=threads, device=device, time_limit=600.0)
    result = solve(problem, backend="ipm", settings=settings)
    gap, memory = result.certificate.relative_gap, result.peak_memory / 2**20
    return Cost(n, d, result.times.wall, result.iterations, gap, memory)


def plot(costs: Sequence[Cost], path: Path) -> None:
    """Seconds of a solve and of an iteration against n and d."""
    figure = new_figure((9, 4))
    for axes, (name, fixed, at) in zip(figure.subplots(1, 2), (("n", "d", INPUTS), ("d", "n", ROWS)), strict=True):
        shown = sorted((cost for cost in costs if getattr(cost, fixed) == at), key=lambda cost: getattr(cost, name))
        sizes = [getattr(cost, name) for cost in shown]
        for label, seconds, style in (
            ("solve", [cost.seconds for cost in shown], "o-"),
            ("iteration", [cost.each for cost in shown], "s--"),
        ):
            steep = slope(sizes[-3:], seconds[-3:])
            axes.loglog(sizes, seconds, style, label=f"{label}, slope of the last three {steep:.2f}")
        axes.set(xlabel=name, ylabel="seconds", title=f"{fixed} = {at}")
        axes.set_xticks(sizes, [str(size) for size in sizes], minor=False)
        axes.set_xticks([], minor=True)
        axes.grid(True, alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=150)


def measured(sizes: Sequence[tuple[int, int]], asked: Namespace, costs: list[Cost]) -> Iterator[list[str]]:
    """One row for every size; `costs` takes what they came from."""
    for n, d in sizes:
        cost = measure(n, d, asked.threads, asked.device)
        costs.append(cost)
        yield [
            f"{n}", f"{d}", f"{cost.seconds:.2f}", f"{cost.iterations}", f"{cost.each:.3f}", f"{cost.gap:.1e}",
            f"{cost.memory:.0f}",
        ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and plot."""
    asked = study_parser(__doc__, threads=2, device="cpu", quick=False, plot=Path).parse_args(arguments)
    fewer = -2 if asked.quick else None
    measure(50, 4, asked.threads, asked.device)
    sizes = [(n, INPUTS) for n in SAMPLES[:fewer]] + [(ROWS, d) for d in SIZES[:fewer]]
    costs: list[Cost] = []
    title = f"Seconds to a certified gap of 1e-6, {asked.device}, {asked.threads} threads"
    print_rows(title, COLUMNS, measured(sizes, asked, costs), left=0)
    if asked.plot:
        plot(costs, asked.plot)


if __name__ == "__main__":
    main()
