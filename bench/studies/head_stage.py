"""Ten classes on 512 features of 50,000 images: joint training beside the method that penalises n eigenvalues.

    CVXROBUST_DATA=... OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.head_stage --out FILE.jsonl
    python -m cvxrobust.bench.studies.head_stage --show FILE.jsonl

CIFAR-10 on standardised random features (`cifar.random_features`). Ours: `JointSDP`, hinge, l2 attacks, backend
``"torch"``; its bounds are kept as they become known, with seconds of the wall. Theirs: a pass over the data of
`baselines.eigenvalue_penalty`, one class against the others, one eigenvalue problem of order d + 1 per sample, on 125
to 1,000 samples. A pass over all of them for all classes is extrapolated, in proportion to samples and classes; how
straight the times of the smaller ones are is shown beside it. A pass is no solution, and an evaluation of ours is none:
what is compared is a step that has seen every sample of every class. Each measurement has a process of its own.
"""

import argparse
import time
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import Apart, Row, markdown, measure_or_show, number
from cvxrobust.bench.studies.mnist import images_parser
from cvxrobust.core.environment import cpu_seconds, peak_memory

Array = NDArray[np.float64]
CLASSES = 10
COUNTS = (125, 250, 500, 1000)
GAPS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)


def images_of(samples: int, features: int, folder: str | None) -> tuple[Array, NDArray[np.int64]]:
    """Standardised features, shape (samples, features), and classes."""
    from cvxrobust.bench.data.cifar import load_cifar
    from cvxrobust.bench.studies.cifar import random_features

    train, _ = load_cifar(folder)
    X = random_features(train.images[:samples], features)
    return (X - X.mean(axis=0)) / X.std(axis=0), train.labels[:samples]


def measure_penalty(asked: argparse.Namespace, count: int) -> Row:
    """Seconds of a pass over some samples of one class; the first pass, which makes buffers, is not timed."""
    import torch

    from cvxrobust.bench.baselines.eigenvalue_penalty import PenaltyStep

    torch.set_num_threads(asked.threads)
    X, labels = images_of(count, asked.features, asked.data_folder)
    before = _memory()
    step = PenaltyStep(X, np.where(labels == 0, 1.0, -1.0), asked.radius, asked.beta, "cpu")
    step.run()
    began = time.process_time()
    step.run()
    return {"way": "penalty", "samples": count, "features": asked.features, "seconds": time.process_time() - began} | {
        "data_mb": before, "peak_mb": _memory()
    }  # fmt: skip


def measure_joint(asked: argparse.Namespace) -> Row:
    """Seconds, evaluations and memory of a solve, and every bound that became known."""
    from cvxrobust import JointSDP, Settings, solve

    X, labels = images_of(asked.samples, asked.features, asked.data_folder)
    before, began = _memory(), cpu_seconds()
    seen: list[tuple[float, float, float]] = []

    def note(elapsed: float, upper: float, lower: float) -> None:
        seen.append((round(elapsed, 2), upper, lower))

    problem = JointSDP(X, labels, radius=asked.radius, beta=asked.beta)
    settings = Settings(tolerance=asked.tolerance, time_limit=asked.time_limit, threads=asked.threads)
    result = solve(problem, backend="torch", settings=settings, callback=note)
    return {
        "way": "joint", "samples": asked.samples, "features": asked.features, "radius": asked.radius,
        "beta": asked.beta, "seconds": cpu_seconds() - began,
        "wall": result.times.wall, "evaluations": result.iterations, "gap": result.certificate.relative_gap,
        "upper": result.certificate.upper, "lower": result.certificate.lower, "quality": str(result.quality),
        "trace": seen,
        "data_mb": before, "peak_mb": _memory(),
    }  # fmt: skip


def _memory() -> float:
    return peak_memory() / 2**20  # a solve with a time limit has a process of its own, which counts


def rows(asked: argparse.Namespace) -> Iterator[Row]:
    """The penalty method's passes first: they take a minute."""
    for count in asked.counts:
        with Apart(measure_penalty) as process:
            yield process.ask(600.0, asked, count)
    with Apart(measure_joint) as process:
        yield process.ask(asked.time_limit + 600.0, asked)


def straightness(counts: Sequence[float], seconds: Sequence[float]) -> float:
    """The power of the number of samples that seconds grow with; 1 is proportion."""
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])


def show(found: Sequence[Row], asked: argparse.Namespace) -> None:
    """Both ways, and how many times longer a step of the one takes."""
    passes = [row for row in found if row["way"] == "penalty"]
    cells = (
        [str(row["samples"]), *(number(value) for value in (row["seconds"], 1e3 * row["seconds"] / row["samples"]))]
        for row in passes
    )
    print(markdown(("samples", "seconds of a pass", "ms a sample"), cells))
    each = passes[-1]["seconds"] / passes[-1]["samples"]
    power = straightness([row["samples"] for row in passes], [row["seconds"] for row in passes])
    print(f"\nSeconds grow with the power {power:.2f} of the number of samples.\n")
    columns = (
        "radius", "penalty: seconds of a pass", "joint: seconds of an evaluation", "ratio", "evaluations", "seconds",
        "gap", "lower", "upper", "MB at the peak", "of which data",
    )  # fmt: skip
    print(markdown(columns, (_line(row, each) for row in found if row["way"] == "joint")), "\n")
    for row in (row for row in found if row["way"] == "joint"):
        print(f"Radius {row['radius']:g}:\n")
        print(markdown(("gap", "seconds of the wall"), first_times(row["trace"])), "\n")


def _line(row: Row, each: float) -> list[str]:
    whole, step = each * row["samples"] * CLASSES, row["seconds"] / row["evaluations"]
    return [
        f"{row['radius']:g}", f"{whole:.0f}", f"{step:.2f}", f"{whole / step:.0f}", str(row["evaluations"]),
        f"{row['seconds']:.0f}", f"{row['gap']:.1e}", f"{row['lower']:.5f}", f"{row['upper']:.5f}",
        f"{row['peak_mb']:.0f}", f"{row['data_mb']:.0f}",
    ]  # fmt: skip


def first_times(trace: Sequence[Sequence[float]]) -> list[list[str]]:
    """When each gap was first certified."""

    def reached(gap: float) -> float | None:
        return next((when for when, upper, lower in trace if (upper - lower) <= gap * max(abs(upper), 1e-300)), None)

    return [[f"{gap:g}", number(reached(gap), ".0f")] for gap in GAPS]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = images_parser(__doc__, 50_000, "l2 attack radius on standardised features")
    parser.add_argument("--features", type=int, default=512, help="random features, a multiple of 4")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="samples of passes of the penalty method")
    measure_or_show(parser, arguments, rows, show)


if __name__ == "__main__":
    main()
