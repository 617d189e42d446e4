"""Methods for cone programmes side by side: processor seconds to a certified relative gap of 1e-3.

    CVXROBUST_DATA=... python -m cvxrobust.bench.studies.relu_cone_methods [--time-limit 60] [--only NAME ...]
                                                                                [--write FILE]

The torch backend in its own two ways, on directions in the cones and along its barrier with Newton steps, and the
conic solvers Clarabel and SCS, on the same programmes in one run with one thread. Breast Cancer: 455 standardised rows,
squared loss, as in `scnn_comparison`. Teacher: a random ReLU network, patterns that hold neurons under the attack.
MNIST: likewise, with the file ``mnist.npz`` in that folder; its conic form, of fifty million entries, is left alone.
Seconds are those of the processor for the whole call of ``solve``, assembly and certificates included: on a machine
with other work they say more than wall time, which is what limits are about.
"""

import importlib
import platform
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.studies.common import markdown, print_rows, study_parser, timed
from cvxrobust.bench.studies.reference_instance import breast_cancer
from cvxrobust.bench.studies.relu_scaling import samples
from cvxrobust.bench.studies.scnn_comparison import distinct_gates
from cvxrobust.core.attacks.norms import Norm
from cvxrobust.core.environment import cpu_seconds
from cvxrobust.core.files import write_whole

METHODS = ("torch, directions", "torch, barrier", "clarabel", "scs")
MOST_ENTRIES = 5_000_000
"""Entries of the constraints of the cones up to which conic solvers are asked."""
COLUMNS = ["instance", "n", "d", "gates", "loss", "attack", "method", "CPU s", "wall s", "gap", "objective", "ended"]


@dataclass(frozen=True)
class Instance:
    """One programme.

    Args:
        data: ``"breast-cancer"``, ``"teacher"`` or ``"mnist"``.
        n: Samples.
        d: Inputs.
        gates: Sampled gates.
        loss: Name of the loss.
        radius: Of the attack.
        norm: Of the attack.
    """

    data: str
    n: int
    d: int
    gates: int
    loss: str = "hinge"
    radius: float = 0.0
    norm: Norm = "inf"

    @property
    def attack(self) -> str:
        """For tables."""
        return f"l{self.norm} {self.radius:g}" if self.radius else "none"

    def problem(self) -> Any:
        """The training problem."""
        from cvxrobust import AdversarialReLU, ConvexReLU

        if self.data == "breast-cancer":
            X, y = breast_cancer(self.n, self.d)
            gates = distinct_gates(X, np.random.default_rng(0).standard_normal((self.d, self.gates)))
            return ConvexReLU(X, y, gates=gates, loss=self.loss, formulation="cone")
        X, y = samples(self.data, self.n, self.d)
        if not self.radius:
            return ConvexReLU(X, y, n_gates=self.gates, loss=self.loss, formulation="cone")
        return AdversarialReLU(
            X, y, self.radius, norm=self.norm, n_gates=self.gates, loss=self.loss, formulation="cone", resample=True
        )


INSTANCES = {
    "breast-cancer": Instance("breast-cancer", 455, 30, 50, "squared"),
    "teacher-l2": Instance("teacher", 1000, 10, 60, radius=0.01, norm=2),
    "teacher-linf": Instance("teacher", 1000, 10, 60, radius=0.001),
    "teacher-wide": Instance("teacher", 160, 40, 20),
    "mnist-2000": Instance("mnist", 2000, 30, 50),
    "mnist-5000": Instance("mnist", 5000, 50, 100),
}


@contextmanager
def way(method: str) -> Iterator[str]:
    """The name of the backend of a method, which goes that way as long as this lasts whatever the programme."""
    from cvxrobust.core.discovery.registry import backends

    if not method.startswith("torch"):
        yield method
        return
    # The choice is the backend's own and no setting, so that only a measurement may change it.
    chooser: Any = importlib.import_module(f"{type(backends()['torch']).__module__}.gated.solve")
    before = chooser.LARGE_CONES, chooser.NARROW
    chooser.LARGE_CONES, chooser.NARROW = (0, 0) if "directions" in method else (10**18, 0)
    try:
        yield "torch"
    finally:
        chooser.LARGE_CONES, chooser.NARROW = before


def measure(name: str, instance: Instance, method: str, tolerance: float, time_limit: float) -> list[str]:
    """One row of the table."""
    from cvxrobust import Settings, solve

    problem = instance.problem()
    sizes = [str(size) for size in (instance.n, instance.d, instance.gates)]
    row = [name, *sizes, instance.loss, instance.attack, method]
    K, _, D = problem.program.shape
    if not method.startswith("torch") and instance.n * K * D > MOST_ENTRIES:
        return [*row, "-", "-", "-", "-", "not tried"]
    settings = Settings(tolerance=tolerance, time_limit=time_limit, threads=1)
    with way(method) as backend:
        call = partial(solve, problem, backend=backend, method="direct", settings=settings)
        seconds, result = timed(call, cpu_seconds)
    found = result.certificate
    return [
        *row,
        f"{seconds:.1f}",
        f"{result.times.wall:.1f}",
        f"{found.relative_gap:.1e}",
        f"{found.upper:.6f}",
        str(result.termination.value),
    ]


def report(rows: Sequence[Sequence[str]], tolerance: float, time_limit: float) -> str:
    """The table as Markdown, with what it was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "clarabel", "scs", "numpy", "scipy"))
    lines = [
        "# Methods for cone programmes",
        "",
        f"From `python -m cvxrobust.bench.studies.relu_cone_methods --time-limit {time_limit:g}` ({packages}; Python "
        f"{platform.python_version()}, one thread, float64). Asked for: a certified relative gap of {tolerance:g}; "
        "beta = 0.01. CPU s: processor seconds of the whole call, assembly and certificates included; limits are about "
        "wall seconds.",
        "",
        markdown(COLUMNS, rows),
    ]
    return "\n".join(lines) + "\n"


def measured(asked: Namespace) -> Iterator[list[str]]:
    """One row for every instance and method; all so far are in the report if one is to be written."""
    rows = []
    for name in asked.only:
        for method in METHODS:
            rows.append(measure(name, INSTANCES[name], method, asked.tolerance, asked.time_limit))
            if asked.write:
                write_whole(asked.write, report(rows, asked.tolerance, asked.time_limit))
            yield rows[-1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report if asked."""
    parser = study_parser(__doc__, time_limit=60.0, tolerance=1e-3, only=INSTANCES)
    parser.add_argument("--write", type=Path, help="where to write the table as Markdown")
    asked = parser.parse_args(arguments)
    # Imports and first calls are not what is measured.
    for method in METHODS:
        measure("warm-up", Instance("teacher", 40, 3, 4), method, 1e-2, 60.0)
    print_rows(f"Processor seconds to a certified gap of {asked.tolerance:g}", COLUMNS, measured(asked), left=1)


if __name__ == "__main__":
    main()
