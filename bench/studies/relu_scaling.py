"""Gated ReLU programmes as they grow: CPU seconds to certified relative gaps, and memory.

    CVXROBUST_DATA=... python -m cvxrobust.bench.studies.relu_scaling [--time-limit 300] [--threads 2] [--only NAME ...]

Teacher: standard normal inputs, labels of a random ReLU network with 8 neurons, one in ten wrong. MNIST: even against
odd digits, the pixels projected onto d random directions and standardised. Hinge loss, beta = 0.01; MNIST needs the
file ``mnist.npz`` in that folder. A gap counts as reached when every later bound is within it, too: where gates are
refined, that is in every programme.
"""

import math
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.images import even_odd, load_mnist
from cvxrobust.bench.data.teachers import relu_teacher
from cvxrobust.bench.studies.common import number, print_rows, study_parser
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.programs.gated.program import Formulation

GAPS = (1e-1, 1e-2, 3e-3, 1e-3)


@dataclass(frozen=True)
class Instance:
    """One programme.

    Args:
        data: ``"teacher"`` or ``"mnist"``.
        n: Samples.
        d: Inputs.
        gates: Sampled gates.
        formulation: Of the problem.
        radius: Of the attack.
        norm: Of the attack.
        regate: Rounds of regating.
    """

    data: str
    n: int
    d: int
    gates: int
    formulation: Formulation = "one-sided"
    radius: float = 0.05
    norm: Norm = "inf"
    regate: int = 0

    def problem(self) -> Any:
        """The training problem."""
        from cvxrobust import AdversarialReLU

        X, y = samples(self.data, self.n, self.d)
        return AdversarialReLU(
            X, y, self.radius, n_gates=self.gates, formulation=self.formulation, norm=self.norm, regate=self.regate
        )


INSTANCES = {
    "teacher-2000": Instance("teacher", 2000, 30, 50),
    "mnist-2000": Instance("mnist", 2000, 30, 50),
    "mnist-5000": Instance("mnist", 5000, 50, 100),
    "mnist-5000-clean": Instance("mnist", 5000, 50, 100, radius=0.0),
    "mnist-5000-gated": Instance("mnist", 5000, 50, 100, "gated", 0.0),
    "mnist-5000-cone": Instance("mnist", 5000, 50, 100, "cone", 0.0),
    "mnist-10000": Instance("mnist", 10_000, 100, 200),
    "mnist-10000-l2": Instance("mnist", 10_000, 100, 200, radius=0.1, norm=2),
    "mnist-10000-regated": Instance("mnist", 10_000, 100, 200, regate=1),
    "teacher-10000": Instance("teacher", 10_000, 100, 200),
}


class Watch:
    """Hears of certified bounds and remembers them with the CPU seconds that they took."""

    def __init__(self) -> None:
        self._begin = time.process_time()
        self._seen: list[tuple[float, float]] = []

    def __call__(self, elapsed: float, upper: float, lower: float) -> None:
        """Take note of certified bounds."""
        self._seen.append((self.seconds(), (upper - lower) / max(upper, 1e-300)))

    def seconds(self) -> float:
        """CPU seconds since the beginning."""
        return time.process_time() - self._begin

    def settled(self, gap: float) -> float | None:
        """CPU seconds after which all gaps are at most `gap`; None if the last one is not."""
        found = None
        for seconds, seen in reversed(self._seen):
            if seen > gap:
                break
            found = seconds
        return found


def samples(data: str, n: int, d: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the teacher, or of MNIST: standardised random projections, shape (n, d), and even against odd, shape (n,)."""
    if data == "teacher":
        return relu_teacher(n, d)
    images, digits = load_mnist()
    projection = np.random.default_rng(0).standard_normal((784, d)) / math.sqrt(d)
    X = (images[:n].reshape(n, -1) / 255.0) @ projection
    return (X - X.mean(axis=0)) / X.std(axis=0), even_odd(digits[:n])


def measure(asked: Namespace) -> Iterator[list[str]]:
    """One row for every instance."""
    from cvxrobust import Settings, solve

    settings = Settings(tolerance=asked.tolerance, time_limit=asked.time_limit, threads=asked.threads)
    for name in asked.only:
        instance = INSTANCES[name]
        problem, watch = instance.problem(), Watch()
        result = solve(problem, backend="torch", method="direct", settings=settings, callback=watch)
        yield [
            name,
            *(str(size) for size in (instance.n, instance.d, instance.gates)),
            instance.formulation,
            *(number(watch.settled(gap), ".1f") for gap in GAPS),
            f"{result.certificate.relative_gap:.1e}",
            f"{result.certificate.upper:.6f}",
            f"{watch.seconds():.1f}",
            f"{result.times.wall:.1f}",
            f"{result.peak_memory / 1e9:.2f}",
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve each instance and print when each gap was reached."""
    asked = study_parser(__doc__, threads=2, time_limit=300.0, tolerance=1e-3, only=INSTANCES).parse_args(arguments)
    columns = ["instance", "n", "d", "gates", "formulation", *(f"CPU s to {gap:.0e}" for gap in GAPS)]
    columns += ["final gap", "objective", "CPU s in all", "wall s", "GB"]
    print_rows(f"CPU seconds to certified relative gaps, {asked.threads} threads", columns, measure(asked), left=1)


if __name__ == "__main__":
    main()
