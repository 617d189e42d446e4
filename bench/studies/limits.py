"""How well time limits are kept, whatever the problem, its size and the backend.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.limits --out FILE.jsonl [--cases 60] [--first 0]
    python -m cvxrobust.bench.studies.limits --show FILE.jsonl

Each case is drawn from its own number, so that one that went wrong can be run again alone (``--first 17 --cases 1``):
a family, loss, norm, formulation, size, number of gates and backend, and a limit, log-uniform in [0.01, 5] seconds.
Cases run in a process that has imported everything and solved a small problem of each kind. What is measured is the
call of `solve` alone. It is late after ``max(1.05 limit, limit + 1)`` seconds; its bounds must be in order, and the
lower one must not exceed the objective of the network that is handed back. A case that is not back after `PATIENCE`
more seconds is ended, as is one that takes more memory than ``--memory``. A row is kept as soon as it is known.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from cvxrobust.bench.data.teachers import product_rule
from cvxrobust.bench.studies.common import Apart, Row, measure_or_show, number, print_table, study_parser
from cvxrobust.core.losses.by_name import loss_by_name

PATIENCE = 45.0
"""Seconds beyond the limit after which a case is ended: it is known to be late by then."""

SLACK = 1e-9
"""Relative error of rounding that bounds may have against an objective that is evaluated again."""

BACKENDS = ("auto", "ipm", "torch", "clarabel", "scs", "cvxpy:CLARABEL")
CONIC = ("clarabel", "scs", "cvxpy:CLARABEL")
LARGE = ((5000, 100), (200, 5000), (60_000, 50), (2000, 500), (60, 2000), (1000, 1000), (20_000, 10), (3000, 3))
LARGE_SHARE = 0.4
"""Of the cases whose size is one of `LARGE`; the others are log-uniform, 10 to 3000 by 2 to 200."""

MOST_ENTRIES = 3e8
"""Of a conic programme that a backend was named for: where nobody refuses, it would take all of the memory."""


@dataclass(frozen=True)
class Case:
    """One solve.

    Args:
        number: What it is drawn from.
        family: ``"standard"``, ``"attacked"``, ``"relu"`` or ``"attacked relu"``.
        loss: Of the family's.
        norm: Of the attack on ReLU networks.
        formulation: Of ReLU networks.
        n: Samples.
        d: Inputs.
        gates: Of ReLU networks.
        backend: The backend.
        limit: Seconds.
    """

    number: int
    family: str
    loss: str
    norm: Any
    formulation: str
    n: int
    d: int
    gates: int
    backend: str
    limit: float

    @property
    def allowed(self) -> float:
        """Seconds that the call may take."""
        return max(1.05 * self.limit, self.limit + 1.0)

    def problem(self) -> Any:
        """The problem: normal inputs, noisy labels of a linear rule with one product."""
        from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, StandardSDP

        rng = np.random.default_rng(self.number)
        X, score = product_rule(self.n, self.d, rng)
        y = np.where(score > np.median(score), 1.0, -1.0) if loss_by_name(self.loss).margin else score
        radius = float(10.0 ** rng.uniform(-2.0, 0.0))
        if self.family == "standard":
            return StandardSDP(X, y, loss=self.loss)
        if self.family == "attacked":
            return AdversarialSDP(X, y, radius=radius, loss=self.loss)
        relu: dict[str, Any] = {"n_gates": self.gates, "loss": self.loss, "formulation": self.formulation}
        if self.family == "relu":
            return ConvexReLU(X, y, **relu)
        return AdversarialReLU(X, y, radius=0.1 * radius, norm=self.norm, **relu)


def drawn(number: int) -> Case:
    """The case of a number."""
    rng = np.random.default_rng([2026, number])
    pick = rng.integers
    family = ("standard", "attacked", "relu", "attacked relu")[pick(4)]
    losses = ["hinge", "squared_hinge", "logistic"] + ["squared"] * (family != "attacked")
    loss = losses[pick(len(losses))]
    formulations = ["cone", "gated"] + ["one-sided"] * 2 * loss_by_name(loss).margin
    norm, formulation = ("inf", 2, 1)[pick(3)], formulations[pick(len(formulations))]
    if rng.uniform() < LARGE_SHARE:
        n, d = LARGE[pick(len(LARGE))]
    else:
        n, d = (int(10.0 ** rng.uniform(*np.log10(ends))) for ends in ((10, 3000), (2, 200)))
    gates, backend = (5, 20, 50)[pick(3)], BACKENDS[pick(len(BACKENDS))]
    limit = round(float(10.0 ** rng.uniform(*np.log10((0.01, 5.0)))), 3)
    return Case(number, family, loss, norm, formulation, n, d, gates, backend, limit)


def measured(case: Case) -> Row:
    """What became of a case."""
    from cvxrobust import Settings, solve
    from cvxrobust.core.errors import InputError

    try:
        problem = case.problem()
    except InputError as error:
        return {"outcome": "refused", "message": str(error)}
    began = time.perf_counter()
    try:
        result = solve(problem, backend=case.backend, settings=Settings(time_limit=case.limit, threads=1))
    except InputError as error:
        return {"outcome": "refused", "seconds": time.perf_counter() - began, "message": str(error)}
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
        return {"outcome": "raised", "seconds": time.perf_counter() - began, "message": message}
    seconds, bounds = time.perf_counter() - began, result.certificate
    again, slack = problem.objective(result.network), SLACK * (1.0 + abs(bounds.upper))
    ordered = bounds.lower <= bounds.upper + slack and abs(again - bounds.upper) <= slack
    trivial = bounds.lower <= 0.0 and result.network.n_neurons == 0
    return {
        "outcome": "late" if seconds > case.allowed else "in time",
        "seconds": seconds,
        "upper": bounds.upper,
        "lower": bounds.lower,
        "valid": bool(math.isfinite(bounds.upper) and ordered),
        "trivial": bool(trivial and result.quality != "certified"),
        "quality": str(result.quality),
        "termination": str(result.termination),
        "by": f"{result.backend} {result.method}",
        "message": result.message[-300:],
    }


def prepare() -> None:
    """Import everything, and solve a small problem of each kind."""
    import clarabel  # noqa: F401
    import cvxpy  # noqa: F401
    import scs  # noqa: F401
    import torch  # noqa: F401

    from cvxrobust import Settings, solve

    for family in ("standard", "attacked", "relu", "attacked relu"):
        for backend in BACKENDS:
            small = Case(0, family, "hinge", 2, "one-sided", 12, 3, 5, backend, 5.0)
            solve(small.problem(), backend=backend, settings=Settings(time_limit=5.0, threads=1))


def fits(case: Case) -> bool:
    """Whether a conic programme that nobody may refuse would be of a size that can be tried."""
    if case.backend not in CONIC:
        return True
    if case.family == "attacked":
        return case.n * case.d**2 <= MOST_ENTRIES
    if case.family == "standard":
        return min(case.n, case.d) ** 2 * case.n <= MOST_ENTRIES
    return case.n * min(case.n, case.d) * case.gates <= MOST_ENTRIES


def measure(first: int, cases: int, memory: float) -> Iterator[Row]:
    """One row for every case."""
    with Apart(measured, prepare, int(memory * 2**30)) as process:
        for case in filter(fits, map(drawn, range(first, first + cases))):
            try:
                found = process.ask(case.allowed + PATIENCE, case)
            except OSError:
                found = {"outcome": "ended", "seconds": None, "message": f"not back {PATIENCE:g} s after its time"}
            yield {**asdict(case), "allowed": case.allowed, **found}


def show(rows: Sequence[Row], *, all_of_them: bool) -> None:
    """What was late, raised or invalid (or everything), and how many of each."""

    def wrong(row: Row) -> bool:
        trivial = row.get("trivial", False) and row["limit"] >= 0.5
        return row["outcome"] not in ("in time", "refused") or not row.get("valid", True) or trivial

    shown = [
        [
            str(row["number"]),
            row["family"],
            f"{row['loss']}" + (f", {row['formulation']}, {row['norm']}" if "relu" in row["family"] else ""),
            f"{row['n']} x {row['d']}" + (f", {row['gates']}" if "relu" in row["family"] else ""),
            row["backend"],
            f"{row['limit']:.2f}",
            number(row.get("seconds")),
            row["outcome"]
            + ("" if row.get("valid", True) else ", invalid")
            + (", trivial" * row.get("trivial", False)),
            "-" if row.get("upper") is None else f"[{row['lower']:.4g}, {row['upper']:.4g}]",
        ]
        for row in rows
        if all_of_them or wrong(row)
    ]
    columns = ["case", "family", "loss", "size", "backend", "limit", "seconds", "outcome", "bounds"]
    print_table("All cases" if all_of_them else "What went wrong", columns, shown)
    outcomes = [row["outcome"] for row in rows]
    print(f"{len(rows)} cases: " + ", ".join(f"{outcomes.count(kind)} {kind}" for kind in dict.fromkeys(outcomes)))
    overrun = [row["seconds"] - row["limit"] for row in rows if row.get("seconds") is not None]
    print(f"seconds beyond the limit: at most {max(overrun, default=0.0):.2f}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__, all=False)
    parser.add_argument("--cases", type=int, default=60, help="how many to draw")
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--memory", type=float, default=12.0, help="GiB that the measuring process may take")
    measure_or_show(
        parser,
        arguments,
        lambda asked: measure(asked.first, asked.cases, asked.memory),
        lambda rows, asked: show(rows, all_of_them=asked.all),
    )


if __name__ == "__main__":
    main()
