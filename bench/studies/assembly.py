"""Assembling the direct conic form against compiling the same model in cvxpy.

    python -m cvxrobust.bench.studies.assembly [--rows 100] [--features 30] [--repeats 3]

The instance is `rows` rows of Breast Cancer Wisconsin (Diagnostic), standardised, hinge loss, radius 0.3: one linear
matrix inequality of order `features` + 1 per row. Both times are taken in turn in one process; the ratio is what
counts. cvxpy's time is that of its compilation alone, without building the expressions.
"""

from collections.abc import Sequence
from functools import partial
from statistics import median

from cvxrobust.bench.studies.common import study_parser, timed
from cvxrobust.bench.studies.reference_instance import breast_cancer


def measure(rows: int, features: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds of `to_conic` and of cvxpy's compilation, `repeats` of each, in turn."""
    import cvxpy

    from cvxrobust import AdversarialSDP

    X, y = breast_cancer(rows, features)
    assembled, compiled = [], []
    for run in range(repeats + 1):
        problem = AdversarialSDP(X, y, radius=0.3)
        assembled.append(timed(problem.to_conic)[0])
        compiled.append(timed(partial(problem.to_cvxpy().get_problem_data, cvxpy.CLARABEL))[0])
        if run == 0:
            # The first run pays for imports.
            assembled, compiled = [], []
    return assembled, compiled


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the medians and their ratio."""
    asked = study_parser(__doc__, rows=100, features=30, repeats=3).parse_args(arguments)
    assembled, compiled = measure(asked.rows, asked.features, asked.repeats)
    ratios = [slow / fast for fast, slow in zip(assembled, compiled, strict=True)]
    print(f"n = {asked.rows}, d = {asked.features}, {asked.repeats} repeats")
    print(f"to_conic   median {median(assembled):8.4f} s")
    print(f"cvxpy      median {median(compiled):8.4f} s")
    print(f"ratio      median {median(ratios):8.1f}, smallest {min(ratios):.1f}")


if __name__ == "__main__":
    main()
