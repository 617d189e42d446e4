"""What an evaluation costs: exact l2 curves of polynomial networks, all rows at once and one at a time.

    python -m cvxrobust.bench.studies.evaluation_speed [--sizes 10000x512 1000000x20] [--radii 50] [--neurons 32]

Random networks, random rows, a tenth of the labels wrong, radii from 0 to 3. `proofs` is `robust_accuracy`, the exact
curve; `evaluation` is `evaluate_robustness`: the same curve, an attack that reaches it on every row that can be turned
wrong, and all attacks on 200 certified rows. `one at a time` is a call of `distance_to_boundary` per row, measured on
the first 300 rows and multiplied. Seconds are those of the processor, one thread, so that other jobs on the machine
do not count; elapsed ones stand beside them. Memory is the largest that the process ever had, with what it began with.
"""

import resource
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import numbers_of, print_rows, study_parser, timed

Array = NDArray[np.float64]

SINGLY = 300
"""Rows that are asked about one at a time."""

COLUMNS = ("rows x inputs", "what", "CPU s", "elapsed s", "largest memory, MB", "accuracy at half the radii")


def instance(n: int, d: int, neurons: int) -> tuple[Any, Array, Array]:
    """A network, inputs (n, d), and labels (n,)."""
    from cvxrobust import PolynomialNetwork

    rng = np.random.default_rng([n, d])
    u = rng.standard_normal((neurons, d))
    network = PolynomialNetwork(u / np.linalg.norm(u, axis=1, keepdims=True), rng.standard_normal(neurons))
    X = rng.standard_normal((n, d))
    y = network.predict(X)
    return network, X, np.where(rng.uniform(size=n) < 0.1, -y, y)


def memory() -> float:
    """The largest that this process had so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def measured(act: Callable[[], Any]) -> tuple[float, float, Any]:
    """CPU seconds, elapsed ones, and what came of it."""
    elapsed, (seconds, found) = timed(lambda: timed(act, time.process_time))
    return seconds, elapsed, found


def rows_of(size: str, radii: Array, neurons: int) -> list[list[str]]:
    """The lines of one size."""
    from cvxrobust import Threat, evaluate_robustness

    n, d = numbers_of(size)
    network, X, y = instance(n, d, neurons)
    network.distance_to_boundary(X[:SINGLY])
    lines = [[size, "rows and network alone", "", "", f"{memory():.0f}", ""]]

    def line(what: str, seconds: float, elapsed: float, found: Array | None) -> None:
        share = "" if found is None else f"{found[radii.size // 2]:.4f}"
        lines.append([size, what, f"{seconds:.2f}", f"{elapsed:.2f}", f"{memory():.0f}", share])

    seconds, elapsed, curve = measured(lambda: network.robust_accuracy(X, y, radii))
    line("proofs", seconds, elapsed, curve)
    seconds, elapsed, report = measured(lambda: evaluate_robustness(network, X, y, Threat(2), radii))
    line("evaluation", seconds, elapsed, report.certified)
    if not ((report.certified == curve).all() and (report.attacked == curve).all()):
        raise SystemExit("the evaluation and the curve differ, and both are exact: one of the two is wrong")
    singly = min(SINGLY, n)
    seconds, elapsed, _ = measured(lambda: [network.distance_to_boundary(X[k : k + 1]) for k in range(singly)])
    line(f"one at a time, from {singly}", seconds * n / singly, elapsed * n / singly, None)
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table; each size in the memory that the ones before it left."""
    from threadpoolctl import threadpool_limits

    parser = study_parser(__doc__, sizes=("10000x512", "1000000x20"), radii=50, neurons=32)
    given = parser.parse_args(arguments)
    with threadpool_limits(limits=1):
        radii = np.linspace(0.0, 3.0, given.radii)
        lines = (line for size in given.sizes for line in rows_of(size, radii, given.neurons))
        print_rows("What an evaluation costs", COLUMNS, lines, 2)


if __name__ == "__main__":
    main()
