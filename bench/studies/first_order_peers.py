"""Our first-order backend against others on the reference instance: seconds to certified gaps, in one run.

    python -m cvxrobust.bench.studies.first_order_peers [--threads 2] [--time-limit 300] [--clarabel-direct]

First Breast Cancer Wisconsin cut to n = 100 (d = 30, hinge, l2 radius 0.3, beta = 0.01): torch to a certified 1e-4; SCS
on the S-procedure's matrix inequalities at its own eps of 1e-5, as assembled here and as cvxpy compiles the paper's
formulas; Clarabel by masters, and on the same inequalities if asked, because that takes 14 GB. Then the whole reference
instance, n = 455: torch polished to 1e-6 and 1e-8, against masters alone.
"""

import warnings
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from cvxrobust.bench.metrics import seconds_to
from cvxrobust.bench.studies.common import number, print_rows, study_parser, timed
from cvxrobust.bench.studies.reference_instance import breast_cancer

if TYPE_CHECKING:
    from cvxrobust.core.contracts.result import Result

COLUMNS = ["n", "way", "tolerance", "reached after", "certified gap", "objective", "s in all", "ended by"]


@dataclass(frozen=True)
class Line:
    """One solve.

    Args:
        rows: Rows of the reference instance.
        backend: Name of the backend.
        method: ``"direct"`` or ``"cutting-set"``.
        tolerance: Certified gap asked for.
        polish: Name of the backend that polishes, or False.
        options: The backend's native options.
    """

    rows: int
    backend: str
    method: str
    tolerance: float
    polish: str | bool = False
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def way(self) -> str:
        """In words."""
        return f"{self.backend}, {self.method}" + (f", polished by {self.polish}" if self.polish else "")


OURS = Line(100, "torch", "direct", 1e-4)
THEIRS = Line(100, "scs", "direct", 1e-4, options=(("eps_abs", 1e-5), ("eps_rel", 1e-5)))
LARGE = Line(100, "clarabel", "direct", 1e-4)
LINES = (
    OURS,
    THEIRS,
    Line(100, "clarabel", "cutting-set", 1e-4),
    Line(455, "torch", "direct", 1e-6, "clarabel"),
    Line(455, "torch", "direct", 1e-8, "clarabel"),
    Line(455, "clarabel", "cutting-set", 1e-6),
    Line(455, "clarabel", "cutting-set", 1e-8),
)


def measure(line: Line, threads: int, time_limit: float) -> "Result[Any]":
    """Solve as the line says."""
    from cvxrobust import AdversarialSDP, Settings, solve

    problem = AdversarialSDP(*breast_cancer(line.rows), radius=0.3, beta=0.01)
    settings = Settings(tolerance=line.tolerance, time_limit=time_limit, threads=threads, options=dict(line.options))
    return solve(problem, backend=line.backend, method=line.method, settings=settings, polish=line.polish)


def textbook(time_limit: float) -> tuple[float, float, str]:
    """Seconds, objective and status of SCS on the paper's formulas through cvxpy, at eps 1e-5, compilation left out."""
    import cvxpy

    from cvxrobust import AdversarialSDP

    modelled = AdversarialSDP(*breast_cancer(OURS.rows), radius=0.3, beta=0.01).to_cvxpy()
    modelled.get_problem_data(cvxpy.SCS)  # compiles, and keeps what it compiled
    limits = {"eps_abs": 1e-5, "eps_rel": 1e-5, "max_iters": 1_000_000, "time_limit_secs": time_limit}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "may be inaccurate", which the status says, too
        seconds, objective = timed(partial(modelled.solve, solver=cvxpy.SCS, **limits))
    assert isinstance(objective, float), f"SCS left no objective: {modelled.status}"
    return seconds, objective, str(modelled.status)


def solved(lines: Sequence[Line], asked: Namespace, results: "dict[Line, Result[Any]]") -> Iterator[list[str]]:
    """One row for every line; `results` takes what they came from."""
    for line in lines:
        result = results[line] = measure(line, asked.threads, asked.time_limit)
        yield [
            str(line.rows),
            line.way,
            f"{line.tolerance:.0e}",
            number(seconds_to(result, line.tolerance)),
            f"{result.certificate.relative_gap:.1e}",
            f"{result.certificate.upper:.8f}",
            f"{result.times.wall:.2f}",
            str(result.termination),
        ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Solve and print, one line after the other."""
    from cvxrobust import AdversarialSDP, Settings, solve

    parser = study_parser(__doc__, threads=2, time_limit=300.0)
    parser.add_argument("--clarabel-direct", action="store_true", help="also Clarabel on the inequalities: 14 GB")
    asked = parser.parse_args(arguments)
    # The first use of PyTorch loads its libraries; nobody's time should hold that.
    small = AdversarialSDP(*breast_cancer(20, 3), radius=0.3)
    solve(small, backend="torch", settings=Settings(tolerance=1e-1, threads=asked.threads))
    results: dict[Line, Result[Any]] = {}
    lines = (*LINES, LARGE) if asked.clarabel_direct else LINES
    print_rows(f"The reference instance, {asked.threads} threads each", COLUMNS, solved(lines, asked, results), left=2)
    ours, theirs = results[OURS], results[THEIRS]
    seconds, value, status = textbook(asked.time_limit)
    print(f"n = 100, SCS on the paper's formulas compiled by cvxpy: {seconds:.1f} s, objective {value:.6f}, {status}")
    ratio = theirs.times.wall / ours.times.wall
    print(
        f"n = 100: torch {ours.times.wall:.2f} s to a certified gap of {ours.certificate.relative_gap:.1e}, SCS "
        f"{theirs.times.wall:.2f} s to {theirs.certificate.relative_gap:.1e}: {ratio:.0f} times as long"
    )


if __name__ == "__main__":
    main()
