"""Backends on problems that nobody here wrote: the instances of SDPLIB at hand, solved through the backends alone.

Each instance in the form given, a matrix inequality, and in the equality form, its dual. An answer is what
`solve_conic` returns: what the backend says, as far as it holds on the programme as given. Published optima: Borchers
(1999), *SDPLIB 1.2, a library of semidefinite programming test problems*, Optim. Methods Softw. 11; they are given to
the digits shown. The files are found through CVXROBUST_DATA, in the folder `sdplib`. Run it with

    python -m cvxrobust.bench.studies.sdplib --out FILE [--backends clarabel scs] [--time-limit 30] | --show FILE
"""

import argparse
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.studies.common import Apart, Row, markdown, measure_or_show, study_parser, timed

OPTIMA: dict[str, float] = {
    "truss1": -8.999996, "truss2": -1.233804e2, "truss3": -9.109996, "truss5": -1.326357e2, "truss7": -9.00001e2,
    "control1": 1.778463e1, "control2": 8.3, "hinf1": 2.0326, "hinf2": 1.0967e1, "hinf4": 2.74764e2, "qap5": -4.36e2,
    "qap6": -3.8144e2, "theta1": 2.3e1, "theta2": 3.287917e1, "mcp100": 2.261574e2, "mcp250-1": 3.172643e2,
    "arch0": 5.66517e-1,
}  # fmt: skip
"""Of the form given; that of the equality form is the same, negated."""

VERDICTS = {"infp1": ("infeasible", "unbounded"), "infd1": ("unbounded", "infeasible")}
"""What the instances without an optimum are, in the form given and in the equality form."""

BACKENDS = ("clarabel", "cvxpy", "cvxpy:CVXOPT", "scs", "torch")
FORMS = ("given", "equality")
DIGITS = 1e-4
"""Relative error of an objective that may be called converged."""

LATE = 8.0
"""Seconds after the time limit at which a process that has not answered is ended."""

MEMORY = 9 * 2**30
"""Bytes of addresses that a solver's process may have."""


def folder() -> Path:
    """Where the instances are.

    Raises:
        SystemExit: They are not.
    """
    found = Path(os.environ.get("CVXROBUST_DATA", "."), "sdplib")
    if not found.is_dir():
        raise SystemExit(f"there is no folder {found}; set CVXROBUST_DATA to the one that holds sdplib/*.dat-s.")
    return found


def answer(backend: str, name: str, form: str, tolerance: float, time_limit: float) -> Row:
    """Solve one instance in one form; everything that is asked about it."""
    from cvxrobust.core.conic.dual import dual_program
    from cvxrobust.core.conic.residuals import residuals
    from cvxrobust.core.discovery.registry import get_backend
    from cvxrobust.core.formats.sdpa_program import read_sdpa_program
    from cvxrobust.core.settings import Settings
    from cvxrobust.core.solving.invoke import solve_conic

    given = read_sdpa_program(folder() / f"{name}.dat-s")
    program = given if form == "given" else dual_program(given)
    settings = Settings(tolerance=tolerance, time_limit=time_limit, threads=1)
    solver = get_backend(backend)
    seconds, found = timed(lambda: solve_conic(program, solver, settings))
    x, off = found.x, residuals(program, found)
    value = None if x is None or not np.isfinite(x).all() else float(program.q @ x) * (1.0 if form == "given" else -1.0)
    return {
        "status": str(found.termination),
        "objective": value,
        "dimacs": [None if math.isnan(error) else error for error in program.dimacs_errors(found)],
        "worst": None if off is None else off.worst,
        "seconds": seconds,
        "iterations": found.iterations,
        "message": found.message,
    }


def attempt(*question: Any) -> Row:
    """What `answer` says, or what it raised."""
    try:
        return answer(*question)
    except Exception as error:
        return {"status": "error", "objective": None, "message": f"{type(error).__name__}: {error}"}


def measure(asked: argparse.Namespace) -> Iterator[Row]:
    """One row per backend, instance and form."""
    names = [name for name in (*OPTIMA, *VERDICTS) if (folder() / f"{name}.dat-s").exists()]
    for backend in asked.backends:
        with Apart(attempt, memory=MEMORY) as process:
            # The first solve imports what the backend needs.
            _asked(process, backend, names[0], "given", asked)
            for name in asked.instances or names:
                for form in asked.forms:
                    found = _asked(process, backend, name, form, asked)
                    row = {"backend": backend, "instance": name, "form": form, "tolerance": asked.tolerance, **found}
                    print(f"{backend:14} {name:9} {form:9} {cell(row)}", flush=True)
                    yield row


def _asked(process: Apart, backend: str, name: str, form: str, asked: argparse.Namespace) -> Row:
    began = time.perf_counter()
    try:
        return process.ask(asked.time_limit + LATE, backend, name, form, asked.tolerance, asked.time_limit)
    except OSError as error:
        seconds = time.perf_counter() - began
        return {"status": "killed", "objective": None, "seconds": seconds, "message": str(error)}


def error_of(row: Row) -> float | None:
    """Relative distance of the objective to the published optimum."""
    best = OPTIMA.get(row["instance"])
    if best is None or row["objective"] is None:
        return None
    return float(abs(row["objective"] - best) / max(1.0, abs(best)))


def is_wrong(row: Row) -> bool:
    """Whether it says what is not so: converged and off, or a verdict on what has none, or the other verdict."""
    error, verdict = error_of(row), VERDICTS.get(row["instance"])
    if row["status"] == "converged":
        return verdict is not None or error is None or error > DIGITS
    if row["status"] in ("infeasible", "unbounded"):
        return verdict is None or row["status"] != verdict[FORMS.index(row["form"])]
    return False


def is_solved(row: Row) -> bool:
    """Whether it says what is so."""
    return row["status"] in ("converged", "infeasible", "unbounded") and not is_wrong(row)


def cell(row: Row) -> str:
    """Status, error of the objective, worst residual, seconds."""
    error, worst = error_of(row), row.get("worst")
    words = [row["status"] + (" **wrong**" if is_wrong(row) else "")]
    if error is not None:
        words.append(f"{error:.0e}")
    if worst is not None and row["instance"] in OPTIMA:
        words.append(f"{worst[0]:.0e}")
    if row.get("seconds") is not None:
        words.append(f"{row['seconds']:.1f} s")
    return ", ".join(words)


def show(rows: Sequence[Row], asked: argparse.Namespace) -> None:
    """Tables in Markdown: one per form, and how many were solved."""
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    by_place: dict[Any, Row] = {(row["form"], row["instance"], row["backend"]): row for row in rows}
    for form in FORMS:
        lines = [
            [name, *("" if (row := by_place.get((form, name, backend))) is None else cell(row) for backend in backends)]
            for name in (*OPTIMA, *VERDICTS)
        ]
        print("\n" + markdown([f"{form} form", *backends], lines))
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in by_place.values():
        for k, holds in enumerate((True, is_solved(row), is_wrong(row))):
            counts[row["backend"]][k] += holds
    print()
    for backend, (asked_for, solved, wrong) in counts.items():
        print(f"{backend}: {solved} of {asked_for} solved, {wrong} wrong")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure or show."""
    parser = study_parser(__doc__, tolerance=1e-6, time_limit=30.0)
    parser.add_argument("--backends", nargs="*", default=list(BACKENDS), help="backends to ask")
    parser.add_argument("--instances", nargs="*", choices=[*OPTIMA, *VERDICTS], help="instances; all at hand if none")
    parser.add_argument("--forms", nargs="*", choices=FORMS, default=list(FORMS), help="forms to solve")
    measure_or_show(parser, arguments, measure, show)


if __name__ == "__main__":
    main()
