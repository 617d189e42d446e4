"""Assembling the direct conic form against compiling the same model in cvxpy.

    python -m cvxrobust.bench.studies.assembly [--rows 100] [--features 30] [--repeats 3]

The instance is `rows` rows of Breast Cancer Wisconsin (Diagnostic), standardised, hinge loss, radius 0.3: one linear
matrix inequality of order `features` + 1 per row. Both times are taken in turn in one process; the ratio is what
counts. cvxpy's time is that of its compilation alone, without building the expressions.
"""

import argparse
import time
from statistics import median

from cvxrobust.bench.studies.reference_instance import breast_cancer


def measure(rows: int, features: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of `to_conic` and of cvxpy's compilation, `repeats` of each, in turn."""
    import cvxpy

    from cvxrobust import AdversarialSDP

    X, y = breast_cancer(rows, features)
    assembled, compiled = [], []
    for run in range(repeats + 1):
        problem = AdversarialSDP(X, y, radius=0.3)
        start = time.perf_counter()
        problem.to_conic()
        assembled.append(time.perf_counter() - start)
        model = problem.to_cvxpy()
        start = time.perf_counter()
        model.get_problem_data(cvxpy.CLARABEL)
        compiled.append(time.perf_counter() - start)
        if run == 0:
            # The first run pays for imports.
            assembled, compiled = [], []
    return assembled, compiled


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--features", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    assembled, compiled = measure(arguments.rows, arguments.features, arguments.repeats)
    ratios = [slow / fast for fast, slow in zip(assembled, compiled, strict=True)]
    print(f"n = {arguments.rows}, d = {arguments.features}, {arguments.repeats} repeats")
    print(f"to_conic   median {median(assembled):8.4f} s")
    print(f"cvxpy      median {median(compiled):8.4f} s")
    print(f"ratio      median {median(ratios):8.1f}, smallest {min(ratios):.1f}")


if __name__ == "__main__":
    main()
