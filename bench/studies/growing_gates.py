"""Growing gates: the objective against the number of gates, sampled at once or grown where the multipliers say.

Breast Cancer Wisconsin (n = 455 training rows of the main job) and, where its file is at hand, Ionosphere (n = 351);
hinge, beta = 0.01, one-sided ConvexReLU. First the time, memory and certified gap with 50 sampled gates, then growth
from 20. Writes a picture and prints what it shows. Run it with

    python -m cvxrobust.bench.studies.growing_gates [--out FOLDER] [--time-limit 120] [--threads 2]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cvxrobust.bench.data.dataset import load_dataset, stratified_split
from cvxrobust.bench.data.known import BREAST_CANCER
from cvxrobust.bench.studies.common import print_table, study_parser
from cvxrobust.core.errors import InputError
from cvxrobust.core.pictures.canvas import new_figure

if TYPE_CHECKING:
    from numpy.typing import NDArray

BETA = 0.01
FIRST = 20
SAMPLED = (20, 50, 100)
REFERENCE = 50
GROWN = "grown"
PICTURE = "growing_gates.png"


@dataclass(frozen=True)
class Instance:
    """Standardised training rows."""

    name: str
    X: "NDArray[np.float64]"
    y: "NDArray[np.float64]"


@dataclass(frozen=True)
class Curve:
    """Certified objectives against numbers of slots, one slot per gate and sign."""

    instance: str
    label: str
    slots: tuple[int, ...]
    upper: tuple[float, ...]
    lower: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def grows(self) -> bool:
        """Whether each step has the gates of the one before, and some more."""
        return self.label == GROWN


def instances() -> list[Instance]:
    """The data sets that are at hand."""
    from cvxrobust import Standardizer

    found = []
    for name in (BREAST_CANCER, "ionosphere"):
        try:
            dataset = load_dataset(name)
        except InputError as error:
            print(f"{name} is left out: {error}")
            continue
        training = stratified_split(dataset, 0.2, 0)[0] if name == BREAST_CANCER else dataset
        spread = training.X.std(axis=0) > 0.0  # a constant column tells nothing
        X = training.X[:, spread]
        found.append(Instance(name, Standardizer.fit(X).transform(X), training.y.astype(np.float64)))
    return found


def reference(instance: Instance, threads: int) -> list[list[str]]:
    """Both formulations with `REFERENCE` gates: what they cost and how certain they are."""
    from cvxrobust import ConvexReLU, Settings, solve

    rows = []
    for formulation in ("one-sided", "cone"):
        problem: Any = ConvexReLU(instance.X, instance.y, n_gates=REFERENCE, beta=BETA, formulation=formulation)
        result = solve(problem, backend="clarabel", settings=Settings(tolerance=1e-6, threads=threads))
        rows.append(
            [
                instance.name,
                formulation,
                f"{instance.X.shape[0]} x {instance.X.shape[1]}",
                f"{result.certificate.upper:.8f}",
                f"{result.certificate.relative_gap:.1e}",
                str(result.network.n_neurons),
                f"{result.times.wall:.1f} s",
                f"{result.peak_memory / 2**20:.0f} MiB",
            ]
        )
        print("  ".join(rows[-1]), flush=True)
    return rows


def grown(instance: Instance, time_limit: float, threads: int) -> Curve:
    """The history of one solve with ``gates="grow"``."""
    from cvxrobust import ConvexReLU, Settings, solve

    settings = Settings(tolerance=1e-6, threads=threads, time_limit=time_limit)
    problem = ConvexReLU(instance.X, instance.y, n_gates=FIRST, beta=BETA, grow_gain=0.0)
    result = solve(problem, backend="clarabel", settings=settings, gates="grow")
    steps = [step for step in result.history if step.certificate.relative_gap < 1e-3]
    return Curve(
        instance.name,
        GROWN,
        tuple(step.size for step in steps),
        tuple(step.certificate.upper for step in steps),
        tuple(step.certificate.lower for step in steps),
        tuple(step.elapsed for step in steps),
    )


def sampled(instance: Instance, threads: int) -> Curve:
    """One solve for each number of gates sampled at once."""
    from cvxrobust import ConvexReLU, Settings, solve

    results = []
    for n_gates in SAMPLED:
        problem = ConvexReLU(instance.X, instance.y, n_gates=n_gates, beta=BETA)
        settings = Settings(tolerance=1e-6, threads=threads)
        results.append((problem.size, solve(problem, backend="clarabel", settings=settings)))
    return Curve(
        instance.name,
        "sampled",
        tuple(size for size, _ in results),
        tuple(result.certificate.upper for _, result in results),
        tuple(result.certificate.lower for _, result in results),
        tuple(result.times.wall for _, result in results),
    )


def draw(curves: Sequence[Curve], path: Path) -> None:
    """Objective against slots, one panel per data set."""
    names = list(dict.fromkeys(curve.instance for curve in curves))
    figure = new_figure((5.5 * len(names), 4.2))
    for index, name in enumerate(names):
        axes = figure.add_subplot(1, len(names), index + 1)
        for curve in (curve for curve in curves if curve.instance == name):
            axes.plot(curve.slots, curve.upper, marker="o", markersize=4, label=curve.label)
        # A time limit may end growth before anything is certified.
        for bound in (curve.lower[0] for curve in curves if curve.instance == name and curve.grows and curve.lower):
            axes.axhline(bound, color="grey", linestyle=":", label=f"certified bound with {FIRST} sampled gates")
        axes.set_title(name)
        axes.set_xlabel("slots (gates times signs)")
        axes.set_ylabel("certified objective")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and draw."""
    parser = study_parser(__doc__, threads=2)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder of the picture")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds of growth per data set")
    asked = parser.parse_args(arguments)
    asked.out.mkdir(parents=True, exist_ok=True)
    curves, costs = [], []
    for instance in instances():
        costs += reference(instance, asked.threads)
        curves += [sampled(instance, asked.threads), grown(instance, asked.time_limit, asked.threads)]
    columns = ["data", "formulation", "n x d", "objective", "gap", "neurons", "time", "peak memory"]
    print_table(f"{REFERENCE} sampled gates, Clarabel", columns, costs, left=3)
    rows = [
        [curve.instance, curve.label, size, f"{upper:.6f}", f"{(upper - lower) / upper:.0e}", f"{seconds:.1f} s"]
        for curve in curves
        for size, upper, lower, seconds in zip(curve.slots, curve.upper, curve.lower, curve.seconds, strict=True)
    ]
    title = "Certified objective against slots; seconds of a solve (sampled) or since the start (grown)"
    print_table(title, ["data", "gates", "slots", "objective", "gap", "time"], rows, left=2)
    draw(curves, asked.out / PICTURE)
    print(f"Picture: {asked.out / PICTURE}")


if __name__ == "__main__":
    main()
