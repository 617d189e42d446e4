"""ReLU networks of every kind at n * gates * d of 1e6, 1e7 and 1e8: does the default end with a certified answer?

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.relu_grid --out FILE.jsonl [--sizes 1000x20x50 ...]
    python -m cvxrobust.bench.studies.relu_grid --show FILE.jsonl [--all]

Teacher: standard normal inputs, labels of a random ReLU network with 8 neurons, one in ten wrong (squared loss: the
same labels as targets); beta = 0.01; all losses and formulations, no attack and attacks in the norms inf (radius
0.02), 2 (0.1) and 1 (0.2). Each case is solved by `solve(problem)` as it is, to 1e-3 within 60 s, in a process of its
own; seconds are those of the call. A row is kept as soon as it is known, and a file that has one already goes on
after it.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.studies.common import (
    Apart,
    Row,
    measure_or_show,
    numbers_of,
    print_table,
    read_rows,
    study_parser,
    timed,
)
from cvxrobust.core.environment import peak_memory
from cvxrobust.core.losses.by_name import loss_by_name
from cvxrobust.core.programs.gated.formulations import FORMULATIONS as RULES

SIZES = ("1000x20x50", "2000x100x50", "10000x100x100")
LOSSES = ("hinge", "squared_hinge", "logistic", "squared")
ATTACKS: tuple[tuple[Any, float], ...] = ((None, 0.0), ("inf", 0.02), (2, 0.1), (1, 0.2))
FORMULATIONS = ("one-sided", "cone", "gated")
KEY = ("size", "loss", "norm", "formulation")
PATIENCE = 120.0
"""Seconds beyond the limit after which a case is ended."""


def cases(sizes: Sequence[str]) -> Iterator[Row]:
    """What is solved; losses of real numbers have no one-sided form."""
    for size in sizes:
        for norm, radius in ATTACKS:
            for loss in LOSSES:
                for formulation in FORMULATIONS:
                    if loss_by_name(loss).margin or not RULES[formulation].one_sided:
                        yield {"size": size, "loss": loss, "norm": norm, "radius": radius, "formulation": formulation}


def prepare() -> None:
    """What nobody's time should hold."""
    import torch  # noqa: F401


def answer(case: Row, limit: float, tolerance: float) -> Row:
    """Solve one case; what a process of its own runs."""
    from cvxrobust import AdversarialReLU, ConvexReLU, Settings, solve
    from cvxrobust.bench.data.teachers import relu_teacher

    n, d, gates = numbers_of(case["size"])
    X, y = relu_teacher(n, d)
    choices = {"beta": 0.01, "loss": case["loss"], "formulation": case["formulation"], "n_gates": gates}
    problem: Any = (
        ConvexReLU(X, y, **choices)
        if case["norm"] is None
        else AdversarialReLU(X, y, radius=case["radius"], norm=case["norm"], **choices)
    )
    settings = Settings(time_limit=limit, tolerance=tolerance, threads=1)
    seconds, result = timed(partial(solve, problem, settings=settings))
    return {
        **case, "seconds": seconds, "gap": result.certificate.relative_gap, "quality": str(result.quality),
        "lower": result.certificate.lower, "upper": result.certificate.upper, "termination": str(result.termination),
        "by": f"{result.backend} {result.method}", "iterations": result.iterations, "mib": peak_memory() // 2**20,
        "message": result.message[-400:],
    }  # fmt: skip


def known(path: Path | None) -> set[tuple[Any, ...]]:
    """The cases that a file has already."""
    return set() if path is None else {tuple(row[part] for part in KEY) for row in read_rows(path)}


def measure(sizes: Sequence[str], limit: float, tolerance: float, path: Path | None) -> Iterator[Row]:
    """One row for every case that is not known yet."""
    done = known(path)
    for case in cases(sizes):
        if tuple(case[part] for part in KEY) in done:
            continue
        with Apart(answer, prepare) as process:
            try:
                row = process.ask(limit + PATIENCE, case, limit, tolerance)
            except OSError:
                row = {**case, "quality": "no answer", "gap": None, "seconds": None, "by": "", "message": ""}
        yield row


def show(rows: Sequence[Row], tolerance: float, *, all_of_them: bool) -> None:
    """Certified cases and the slowest of them by size and kind; then those that fell short."""
    grouped: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        kind = "no attack" if row["norm"] is None else f"attack, {row['norm']}"
        grouped.setdefault((row["size"], kind, row["formulation"]), []).append(row)
    shown = [
        [
            size,
            kind,
            formulation,
            f"{sum(row['quality'] == 'certified' for row in own)} of {len(own)}",
            *(
                next(
                    (
                        f"{row['seconds']:.1f}" if row["quality"] == "certified" else f"gap {row['gap'] or 1.0:.1e}"
                        for row in own
                        if row["loss"] == loss
                    ),
                    "",
                )
                for loss in LOSSES
            ),
        ]
        for (size, kind, formulation), own in grouped.items()
    ]
    columns = ["n x d x gates", "attack", "formulation", "certified", *(loss.replace("_", " ") for loss in LOSSES)]
    print_table(f"Seconds to a certified {tolerance:g}, or the gap at the limit", columns, shown, left=3)
    for row in rows:
        if all_of_them or row["quality"] != "certified":
            print({part: row.get(part) for part in (*KEY, "gap", "seconds", "by", "message")})
    seconds = [row["seconds"] for row in rows if row["quality"] == "certified"]
    print(f"{len(rows)} cases, {len(seconds)} certified, {np.sum(seconds):.0f} s for these")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__, sizes=SIZES, time_limit=60.0, tolerance=1e-3, all=False)
    measure_or_show(
        parser,
        arguments,
        lambda asked: measure(asked.sizes, asked.time_limit, asked.tolerance, asked.out),
        lambda rows, asked: show(rows, asked.tolerance, all_of_them=asked.all),
    )


if __name__ == "__main__":
    main()
