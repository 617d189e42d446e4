"""Gated ReLU programmes as they grow: CPU seconds to certified relative gaps, and memory.

    CVXROBUST_DATA=... python -m cvxrobust.bench.studies.relu_scaling [--time-limit 300] [--threads 2] [--only NAME ...]

Teacher: standard normal inputs, labels of a random ReLU network with 8 neurons, one in ten wrong. MNIST: even against
odd digits, the pixels projected onto d random directions and standardised. Hinge loss, beta = 0.01; MNIST needs the
file ``mnist.npz`` in that folder. A gap counts as reached when every later bound is within it, too: where gates are
refined, that is in every programme.
"""

import argparse
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.known import FOLDER_VARIABLE
from cvxrobust.bench.data.teachers import relu_teacher
from cvxrobust.bench.display import console, make_table
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

        X, y = relu_teacher(self.n, self.d) if self.data == "teacher" else mnist(self.n, self.d)
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

    def settled(self, gap: float) -> float:
        """CPU seconds after which all gaps are at most `gap`; infinite if the last one is not."""
        found = math.inf
        for seconds, seen in reversed(self._seen):
            if seen > gap:
                break
            found = seconds
        return found


def mnist(n: int, d: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Even against odd digits: standardised random projections, shape (n, d), and labels, shape (n,)."""
    with np.load(Path(os.environ.get(FOLDER_VARIABLE, ".")) / "mnist.npz") as file:
        images, digits = file["train_images"][:n], file["train_labels"][:n]
    rng = np.random.default_rng(seed)
    X = (images.reshape(n, -1) / 255.0) @ (rng.standard_normal((784, d)) / math.sqrt(d))
    return (X - X.mean(axis=0)) / X.std(axis=0), np.where(digits % 2 == 0, 1.0, -1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve each instance and print when each gap was reached."""
    from cvxrobust import Settings, solve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2, help="threads of the solver and of BLAS")
    parser.add_argument("--time-limit", type=float, default=300.0, help="seconds per solve")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="certified relative gap to reach")
    parser.add_argument("--only", nargs="*", choices=INSTANCES, default=list(INSTANCES), help="instances to run")
    asked = parser.parse_args(arguments)
    rows = []
    for name in asked.only:
        instance = INSTANCES[name]
        settings = Settings(tolerance=asked.tolerance, time_limit=asked.time_limit, threads=asked.threads)
        problem, watch = instance.problem(), Watch()
        result = solve(problem, backend="torch", method="direct", settings=settings, callback=watch)
        times = [watch.settled(gap) for gap in GAPS]
        rows.append(
            [
                name,
                *(str(size) for size in (instance.n, instance.d, instance.gates)),
                instance.formulation,
                *(f"{seconds:.1f}" if math.isfinite(seconds) else "-" for seconds in times),
                f"{result.certificate.relative_gap:.1e}",
                f"{result.certificate.upper:.6f}",
                f"{watch.seconds():.1f}",
                f"{result.times.wall:.1f}",
                f"{result.peak_memory / 1e9:.2f}",
            ]
        )
        print("  ".join(rows[-1]), flush=True)
    columns = ["instance", "n", "d", "gates", "formulation", *(f"CPU s to {gap:.0e}" for gap in GAPS)]
    columns += ["final gap", "objective", "CPU s in all", "wall s", "GB"]
    console().print(
        make_table(f"CPU seconds to certified relative gaps, {asked.threads} threads", columns, rows, left=1)
    )


if __name__ == "__main__":
    main()
