"""ReLU networks of every kind at n * gates * d of 1e6, 1e7 and 1e8: does the default end with a certified answer?

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.relu_grid --out FILE.jsonl [--sizes 1000x20x50 ...]
    python -m cvxrobust.bench.studies.relu_grid --show FILE.jsonl [--all]

Teacher: standard normal inputs, labels of a random ReLU network with 8 neurons, one in ten wrong (squared loss: the
same labels as targets); beta = 0.01; all losses and formulations, no attack and attacks in the norms inf (radius
0.02), 2 (0.1) and 1 (0.2). Each case is solved by `solve(problem)` as it is, to 1e-3 within 60 s, in a process of its
own; seconds are those of the call. A row is kept as soon as it is known, and a file that has one already goes on
after it.
"""

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.display import console, make_table
from cvxrobust.bench.studies.kept_rows import measure_or_show

SIZES = ("1000x20x50", "2000x100x50", "10000x100x100")
LOSSES = ("hinge", "squared_hinge", "logistic", "squared")
ATTACKS: tuple[tuple[Any, float], ...] = ((None, 0.0), ("inf", 0.02), (2, 0.1), (1, 0.2))
FORMULATIONS = ("one-sided", "cone", "gated")
KEY = ("size", "loss", "norm", "formulation")
PATIENCE = 120.0
"""Seconds beyond the limit after which a case is ended."""


def cases(sizes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What is solved; squared losses have no one-sided form."""
    for size in sizes:
        for norm, radius in ATTACKS:
            for loss in LOSSES:
                for formulation in FORMULATIONS:
                    if (loss, formulation) != ("squared", "one-sided"):
                        yield {"size": size, "loss": loss, "norm": norm, "radius": radius, "formulation": formulation}


def answer(case: dict[str, Any], limit: float, tolerance: float, pipe: Connection) -> None:
    """Solve one case; what a process of its own runs."""
    import torch  # noqa: F401

    from cvxrobust import AdversarialReLU, ConvexReLU, Settings, solve
    from cvxrobust.bench.data.teachers import relu_teacher

    n, d, gates = (int(part) for part in case["size"].split("x"))
    X, y = relu_teacher(n, d)
    choices = {"beta": 0.01, "loss": case["loss"], "formulation": case["formulation"], "n_gates": gates}
    problem: Any = (
        ConvexReLU(X, y, **choices)
        if case["norm"] is None
        else AdversarialReLU(X, y, radius=case["radius"], norm=case["norm"], **choices)
    )
    began = time.perf_counter()
    result = solve(problem, settings=Settings(time_limit=limit, tolerance=tolerance, threads=1))
    seconds = time.perf_counter() - began
    usage = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    pipe.send(
        {
            **case, "seconds": seconds, "gap": result.certificate.relative_gap, "quality": str(result.quality),
            "lower": result.certificate.lower, "upper": result.certificate.upper,
            "termination": str(result.termination),
            "by": f"{result.backend} {result.method}", "iterations": result.iterations, "mib": max(usage) // 1024,
            "message": result.message[-400:],
        }
    )  # fmt: skip


def known(path: Path | None) -> set[tuple[Any, ...]]:
    """The cases that a file has already."""
    if path is None or not path.exists():
        return set()
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {tuple(row[part] for part in KEY) for row in rows}


def measure(sizes: Sequence[str], limit: float, tolerance: float, path: Path | None) -> Iterator[dict[str, Any]]:
    """One row for every case that is not known yet."""
    done, context = known(path), multiprocessing.get_context("spawn")
    for case in cases(sizes):
        if tuple(case[part] for part in KEY) in done:
            continue
        here, there = context.Pipe()
        process = context.Process(target=answer, args=(case, limit, tolerance, there))
        process.start()
        there.close()
        try:
            row = here.recv() if here.poll(limit + PATIENCE) else None
        except EOFError:
            row = None
        process.kill()
        process.join()
        yield row or {**case, "quality": "no answer", "gap": None, "seconds": None, "by": "", "message": ""}


def show(rows: Sequence[dict[str, Any]], tolerance: float, *, all_of_them: bool) -> None:
    """Certified cases and the slowest of them by size and kind; then those that fell short."""
    grouped: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
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
    console().print(
        make_table(f"Seconds to a certified {tolerance:g}, or the gap at the limit", columns, shown, left=3)
    )
    for row in rows:
        if all_of_them or row["quality"] != "certified":
            print({part: row.get(part) for part in (*KEY, "gap", "seconds", "by", "message")})
    seconds = [row["seconds"] for row in rows if row["quality"] == "certified"]
    print(f"{len(rows)} cases, {len(seconds)} certified, {np.sum(seconds):.0f} s for these")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="samples x inputs x gates")
    parser.add_argument("--time-limit", type=float, default=60.0, help="seconds per solve")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="relative gap to certify")
    parser.add_argument("--all", action="store_true", help="print every row")
    measure_or_show(
        parser,
        arguments,
        lambda asked: measure(asked.sizes, asked.time_limit, asked.tolerance, asked.out),
        lambda rows, asked: show(rows, asked.tolerance, all_of_them=asked.all),
    )


if __name__ == "__main__":
    main()
