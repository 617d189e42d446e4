"""Boxes: what is proved and what is attacked of polynomial networks in the norm inf, and what training takes.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.boxes --out FILE.jsonl [--data-folder FOLDER]
    python -m cvxrobust.bench.studies.boxes --show FILE.jsonl

Held-out rows of tables (standardised by training rows), and of digits and images in [0, 1], whose range attackers keep.
Networks are trained without attack, against the l2 ball of half the length of a corner of the box, and against the box
itself where there are few inputs. Nothing is tuned: this is about how tight proofs are, and what they take.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import Row, markdown, measure_or_show, study_parser

Array = NDArray[np.float64]

MOST = 40
"""Inputs up to which networks are trained against boxes here."""


@dataclass(frozen=True)
class Case:
    """A data set, the radii of its threats, and how many rows train and test.

    Args:
        name: As `--only` has it.
        radii: Of attacks in the norm inf; the last is the one that networks are trained for.
        beta: Weight of the penalty.
        train: Training rows, at most.
        test: Test rows, at most.
        pixels: Whether inputs are in [0, 1], and stay there.
    """

    name: str
    radii: tuple[float, ...]
    beta: float
    train: int = 1000
    test: int = 2000
    pixels: bool = False


CASES = {
    case.name: case
    for case in (
        Case("pima_diabetes", (0.05, 0.1, 0.3), 0.01),
        Case("heart_statlog", (0.05, 0.1, 0.3), 0.03),
        Case("breast-cancer", (0.05, 0.1, 0.2), 0.01),
        Case("ionosphere", (0.05, 0.1, 0.2), 0.01),
        Case("digits", (0.02, 0.05, 0.1), 0.01, pixels=True),
        Case("mnist", (0.02, 0.05, 0.1), 0.01, test=10_000, pixels=True),
    )
}


def rows_of(case: Case, folder: Path | None) -> tuple[Array, Array, Array, Array]:
    """Training inputs and labels, test inputs and labels."""
    X, y = _all_rows(case.name, folder)
    order = np.random.default_rng(0).permutation(y.size)
    train = order[: min(case.train, round(0.7 * y.size))]
    test = np.setdiff1d(order, train)[: case.test]
    if case.pixels:
        return X[train], y[train], X[test], y[test]
    mean, spread = X[train].mean(axis=0), np.maximum(X[train].std(axis=0), 1e-9)
    return (X[train] - mean) / spread, y[train], (X[test] - mean) / spread, y[test]


def _all_rows(name: str, folder: Path | None) -> tuple[Array, Array]:
    if name == "digits":
        from cvxrobust.bench.data.bundled import load_digits

        bundled = load_digits()
        return _three_or_eight(bundled.X / 16.0, bundled.target)
    if name == "mnist":
        from cvxrobust.bench.data.images import load_mnist, three_or_eight

        return three_or_eight(*load_mnist("train", folder))
    from cvxrobust.bench.data.dataset import load_dataset

    data = load_dataset(name, folder)
    kept = data.X.std(axis=0) > 0.0
    return np.asarray(data.X[:, kept], dtype=np.float64), np.asarray(data.y, dtype=np.float64)


def _three_or_eight(X: Array, digits: NDArray[Any]) -> tuple[Array, Array]:
    kept = (digits == 3) | (digits == 8)
    return np.asarray(X[kept], dtype=np.float64), np.where(digits[kept] == 3, 1.0, -1.0)


def trained(case: Case, X: Array, y: Array, time_limit: float) -> Iterator[tuple[str, float, Any, float]]:
    """Kinds of networks, the radii that they were trained against, results, and seconds of the processor."""
    from cvxrobust import AdversarialSDP, Settings, StandardSDP, solve

    settings, d, radius = Settings(tolerance=1e-3, time_limit=time_limit, threads=1), X.shape[1], case.radii[-1]
    bounds = (0.0, 1.0) if case.pixels else None
    ball = 0.5 * radius * d**0.5
    kinds = {"standard": 0.0, "l2 ball": ball} | ({"box": radius} if d <= MOST else {})
    for kind, asked in kinds.items():
        began = _seconds()
        problem: Any = StandardSDP(X, y, beta=case.beta)
        if kind != "standard":
            more: dict[str, Any] = {"norm": "inf", "bounds": bounds} if kind == "box" else {}
            problem = AdversarialSDP(X, y, asked, beta=case.beta, **more)
        result = solve(problem, settings=settings)
        yield kind, asked, result, _seconds() - began


def _seconds() -> float:
    """Of the processor, children included."""
    return sum(os.times()[:4])


def measure(asked: Any) -> Iterator[Row]:
    """One row for every network."""
    from cvxrobust import Threat, evaluate_robustness
    from cvxrobust.core.attacks.norms import EPS

    for name in asked.only:
        case = CASES[name]
        X, y, X_test, y_test = rows_of(case, asked.data_folder)
        d = X.shape[1]
        threat = Threat("inf", bounds=(0.0, 1.0) if case.pixels else None)
        for kind, radius, result, seconds in trained(case, X, y, asked.time_limit):
            network = result.network
            began = _seconds()
            found = evaluate_robustness(network, X_test, y_test, threat, case.radii, steps=10, restarts=1)
            judging = _seconds() - began
            right = network.predict(X_test) == y_test
            distance = network.replace(norm=2).distance_to_boundary(X_test)
            around = [float(np.mean(right & (distance > r * d**0.5 * (1.0 + 4.0 * EPS)))) for r in case.radii]
            yield {
                "set": name, "n": X.shape[0], "d": d, "kind": kind, "trained_radius": radius, "beta": case.beta,
                "gap": result.certificate.relative_gap, "seconds": seconds, "backend": result.backend,
                "rows": int(y_test.size), "clean": float(right.mean()), "radii": list(case.radii),
                "certified": found.certified.tolist(), "attacked": found.attacked.tolist(), "ball": around,
                "judging": judging, "box": result.report.get("box"),
            }  # fmt: skip


def show(rows: Sequence[Row]) -> None:
    """A table in Markdown: one line for every network and radius."""
    lines = [
        [
            f"{row['set']} {row['n']} x {row['d']}", row["kind"], f"{row['gap']:.0e}", f"{row['seconds']:.1f}",
            f"{row['clean']:.3f}", f"{radius:g}", f"{ball:.3f}", f"{certified:.4f}", f"{attacked:.4f}",
            f"{row['judging']:.2f}",
        ]
        for row in rows
        for radius, ball, certified, attacked in zip(
            row["radii"], row["ball"], row["certified"], row["attacked"], strict=True
        )
    ]  # fmt: skip
    columns = [
        "data", "trained against", "gap", "seconds", "clean", "radius", "by the ball around", "certified", "attacked",
        "judging (s)",
    ]  # fmt: skip
    print(markdown(columns, lines))
    worst = max(a - c for row in rows for a, c in zip(row["attacked"], row["certified"], strict=True))
    print(f"\nCertified and attacked accuracy differ by {worst:.4f} at most.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__, only=CASES, data_folder=Path, time_limit=60.0)
    measure_or_show(parser, arguments, measure, lambda rows, asked: show(rows))


if __name__ == "__main__":
    main()
