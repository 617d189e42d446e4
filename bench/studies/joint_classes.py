"""Several classes under one loss beside one against the others, both chosen on training rows, judged on others.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.joint_classes --out FILE.jsonl [--only iris wine] [--seeds 0 1]
    python -m cvxrobust.bench.studies.joint_classes --show FILE.jsonl

Tables of scikit-learn, standardised (digits divided by 16), split in halves that keep the classes' shares (digits: 300
rows and the others). Beta (0.003, 0.01, 0.03; digits 0.003, 0.01) and the radius to train at (0, 1 and 2 times that of
the threat; digits 1 and 2) are those of the best exact robust accuracy at the threat's radius over three folds of the
training rows; then all of these are trained on once more. Both ways have the same folds and grid; each point is trained
by the backend that ``"auto"`` takes, to a certified gap of 1e-2, with 800 iterations at most. Rows that are held out
have no part in any choice. Seconds are of the processor, for the whole search.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import Row, markdown, measure_or_show, number, study_parser

Array = NDArray[np.float64]
THREATS = {"iris": (0.3, 0.6), "wine": (0.5, 1.0), "digits": (0.5,)}
"""Radii of the attacks that classifiers are judged by."""
GRIDS = {"digits": ((0.003, 0.01), (1.0, 2.0))}
GRID = ((0.003, 0.01, 0.03), (0.0, 1.0, 2.0))
"""Betas, and radii to train at in units of the threat's."""
ROWS = {"digits": 300}
TOLERANCE, ITERATIONS, FOLDS = 1e-2, 800, 3
WAYS = ("joint", "one-versus-all")


def split(name: str, seed: int) -> tuple[Array, Array, Array, Array]:
    """Inputs and labels to train on, and those held out."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    parts: Any = train_test_split(X, y, train_size=ROWS.get(name, 0.5), random_state=seed, stratify=y)
    train, test, labels, others = (np.asarray(part, dtype=np.float64) for part in parts)
    if name == "digits":
        return train / 16.0, test / 16.0, labels, others
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    return (train - mean) / deviation, (test - mean) / deviation, labels, others


def trained(way: str, X: Array, y: Array, radius: float, beta: float) -> Any:
    """The result of one training."""
    from cvxrobust import AdversarialSDP, JointSDP, Settings, solve

    problem = (JointSDP if way == "joint" else AdversarialSDP)(X, y, radius=radius, beta=beta)
    settings = Settings(tolerance=TOLERANCE, max_iterations=ITERATIONS, threads=1)
    return solve(problem, settings=settings)


def searched(way: str, X: Array, y: Array, threat: float, grid: Any) -> tuple[float, float, float, int]:
    """The best beta and radius, their score over folds, and how many points missed the gap."""
    from sklearn.model_selection import StratifiedKFold

    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(X, y))
    beta, radius, score, missed = 0.0, 0.0, -1.0, 0
    for weight, factor in product(*grid):
        scores = []
        for fitted, scored in folds:
            result = trained(way, X[fitted], y[fitted], factor * threat, weight)
            missed += result.quality != "certified"
            scores.append(float(result.network.robust_accuracy(X[scored], y[scored], [threat])[0]))
        if np.mean(scores) > score:
            beta, radius, score = weight, factor * threat, float(np.mean(scores))
    return beta, radius, score, missed


def measure(asked: argparse.Namespace) -> Iterator[Row]:
    """One row for every table, seed, threat and way."""
    for name in asked.only:
        for seed, threat, way in product(asked.seeds, THREATS[name], WAYS):
            train, test, y, y_test = split(name, int(seed))
            began = time.process_time()
            beta, radius, score, missed = searched(way, train, y, threat, GRIDS.get(name, GRID))
            result = trained(way, train, y, radius, beta)
            clean, robust = result.network.robust_accuracy(test, y_test, [0.0, threat])
            row = {
                "table": name, "seed": int(seed), "threat": threat, "way": way, "beta": beta, "radius": radius,
                "folds": score, "clean": float(clean), "robust": float(robust), "held_out": int(y_test.size),
                "gap": result.certificate.relative_gap, "missed": int(missed), "seconds": time.process_time() - began,
            }  # fmt: skip
            print(row, flush=True)
            yield row


def show(rows: Sequence[Row], asked: argparse.Namespace) -> None:
    """Means over seeds, way beside way."""
    cells = []
    for name, threat in dict.fromkeys((row["table"], row["threat"]) for row in rows):
        for way in WAYS:
            own = [row for row in rows if (row["table"], row["threat"], row["way"]) == (name, threat, way)]
            if own:
                means = [float(np.mean([row[key] for row in own])) for key in ("clean", "robust", "seconds", "missed")]
                clean, robust, seconds, missed = means
                spread = "-" if len(own) < 2 else number(float(np.std([r["robust"] for r in own], ddof=1)), ".3f")
                cells.append(
                    [name, f"{threat:g}", way, str(len(own)), number(clean, ".3f"), number(robust, ".3f"), spread,
                     number(seconds, ".0f"), number(missed, ".1f")]
                )  # fmt: skip
    columns = ["table", "radius", "way", "splits", "clean", "robust", "deviation", "seconds", "missed the gap"]
    print(markdown(columns, cells))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__, seeds=(0, 1, 2), only=THREATS)
    measure_or_show(parser, arguments, measure, show)


if __name__ == "__main__":
    main()
