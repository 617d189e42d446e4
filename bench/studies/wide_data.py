"""Wide data, solved in the span of its rows: CPU seconds and peak memory, from the problem to a network that is loaded.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.wide_data --out FILE.jsonl [--size 200x20000]
    python -m cvxrobust.bench.studies.wide_data --show FILE.jsonl

Standard normal inputs, labels by the sign of the first one. Problems are unattacked, attacked in l2 balls, in ten
inputs alone, in all but ten, or in every other one, of radius 1. Every solve, by backend ``"auto"`` with one thread,
has a process of its own, which then judges the rows by the network, saves and loads it. Memory is the largest resident
set of that process alone, of which the data takes n d 8 bytes; seconds are those of the processor from the data to the
certificate, children included.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import Row, markdown, measure_or_show, numbers_of, study_parser
from cvxrobust.core.environment import cpu_seconds

Array = NDArray[np.float64]

KINDS = ("standard", "relu l2", "ball", "ten open", "ten immutable", "half immutable")
BETAS = (1.0, 0.1)
RADIUS, GATES, FEW = 1.0, 10, 10


def made(kind: str, X: Array, beta: float) -> Any:
    """The problem of a kind."""
    from cvxrobust import AdversarialReLU, AdversarialSDP, StandardSDP

    y, column = np.where(X[:, 0] > 0.0, 1.0, -1.0), np.arange(X.shape[1])
    if kind == "standard":
        return StandardSDP(X, y, beta=beta)
    if kind == "relu l2":
        return AdversarialReLU(X, y, RADIUS, norm=2, beta=beta, n_gates=GATES)
    masks = {
        "ball": None, "ten open": column < FEW, "ten immutable": column >= FEW, "half immutable": column % 2 == 1
    }  # fmt: skip
    mask = masks[kind]
    return AdversarialSDP(X, y, RADIUS, beta=beta, scale=None if mask is None else mask.astype(np.float64))


def measure_one(kind: str, size: str, beta: float, tolerance: float, time_limit: float) -> Row:
    """What a problem takes in this process."""
    import resource

    import cvxrobust
    from cvxrobust import ReLUNetwork, Settings, solve

    X = np.random.default_rng(0).standard_normal(numbers_of(size))
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, cpu_seconds()
    problem = made(kind, X, beta)
    result = solve(problem, settings=Settings(tolerance=tolerance, time_limit=time_limit, threads=1))
    seconds, network = cpu_seconds() - began, result.network
    judged = cpu_seconds()
    if isinstance(network, ReLUNetwork):
        holds = network.lower_bound(problem.X, problem.y, RADIUS, 2) > 0.0
    else:
        holds = network.worst_margins(problem.X, problem.y, RADIUS) > 0.0
    judged = cpu_seconds() - judged
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.npz"
        network.save(path)
        again, file = cvxrobust.load(path), path.stat().st_size
    same = bool(np.array_equal(again.decision_function(problem.X), network.decision_function(problem.X)))
    reduced = result.report.get("reduced", {})
    return {
        "kind": kind, "size": size, "beta": beta, "backend": result.backend, "rank": reduced.get("rank"),
        "quality": str(result.quality), "gap": result.certificate.relative_gap, "upper": result.certificate.upper,
        "seconds": seconds, "judging": judged, "holds": float(holds.mean()), "file": file, "same": same,
        "data_mb": before / 1024, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }  # fmt: skip


def measure(asked: Any) -> Iterator[Row]:
    """One row for every kind and beta, each from a process of its own."""
    for kind in KINDS:
        for beta in asked.betas:
            question = json.dumps([kind, asked.size, float(beta), asked.tolerance, asked.time_limit])
            command = [sys.executable, "-m", __spec__.name, "--one", question]
            answer = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ))
            yield json.loads(answer.stdout.splitlines()[-1])


def show(rows: Sequence[Row]) -> None:
    """A table in Markdown."""
    lines = [
        [
            row["kind"], row["size"], f"{row['beta']:g}", str(row["rank"] or "-"), row["backend"], f"{row['gap']:.1e}",
            f"{row['seconds']:.1f}", f"{row['judging']:.2f}", f"{row['data_mb']:.0f}", f"{row['peak_mb']:.0f}",
            f"{row['file'] / 1e6:.1f}", "yes" if row["same"] else "no",
        ]
        for row in rows
    ]  # fmt: skip
    columns = [
        "attacks", "size", "beta", "rank", "by", "gap", "seconds", "judging", "before (MB)", "peak (MB)", "file (MB)",
        "loads the same",
    ]  # fmt: skip
    print(markdown(columns, lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    own = sys.argv[1:] if arguments is None else list(arguments)
    if own[:1] == ["--one"]:
        print(json.dumps(measure_one(*json.loads(own[1]))))
        return
    parser = study_parser(__doc__, betas=BETAS, size="200x20000", tolerance=1e-4, time_limit=300.0)
    measure_or_show(parser, own, measure, lambda rows, asked: show(rows))


if __name__ == "__main__":
    main()
