"""The reference instance: time and memory to a certified gap on Breast Cancer Wisconsin (Diagnostic).

    python -m cvxrobust.bench.studies.reference_instance [--backend clarabel] [--method cutting-set] [--radius 0.3]

All 569 rows are standardised with population statistics, 455 drawn with seed 0; hinge loss, beta = 0.01. For radius
0.3 the optimum lies in [0.12085555, 0.12085559].
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.bundled import load_breast_cancer
from cvxrobust.bench.studies.common import study_parser

Array = NDArray[np.float64]


def breast_cancer(rows: int = 455, features: int = 30) -> tuple[Array, Array]:
    """Standardised inputs, shape (rows, features), and labels in {-1, +1}, shape (rows,)."""
    data = load_breast_cancer()
    X = (data.X - data.X.mean(axis=0)) / data.X.std(axis=0)
    order = np.random.default_rng(0).permutation(len(X))[:rows]
    return X[order][:, :features], np.where(data.target[order] == 1, 1.0, -1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve once and print the result, its phases and its certified bounds over time."""
    from cvxrobust import AdversarialSDP, Settings, solve

    parser = study_parser(
        __doc__, backend="clarabel", method="cutting-set", radius=0.3, rows=455, tolerance=1e-6, time_limit=120.0
    )
    given = parser.parse_args(arguments)
    X, y = breast_cancer(given.rows)
    settings = Settings(tolerance=given.tolerance, time_limit=given.time_limit)
    problem = AdversarialSDP(X, y, radius=given.radius)
    result = solve(problem, backend=given.backend, method=given.method, settings=settings)
    for point in result.trace:
        print(f"{point.elapsed:8.2f} s  upper {point.upper:.8f}  lower {point.lower:.8f}")
    print(result)
    print(f"{result.rounds} rounds, peak memory {result.peak_memory / 2**20:.0f} MiB, {result.times}")


if __name__ == "__main__":
    main()
