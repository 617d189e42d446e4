"""What beta, training radius and number of gates bring under attack: certified accuracies of rows not trained on.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.hyperparameters --family relu --out FILE.jsonl [--folds 3]
    python -m cvxrobust.bench.studies.hyperparameters --show FILE.jsonl

The tables that are at hand, each split into 80 % and the rest, which is never looked at; of the 80 %, folds with the
classes in equal proportion, where rows that come again stay together. Networks are trained at every point of a grid to
a certified gap of 1e-3 and scored at several radii of the threat: polynomial ones against l2 attacks, exactly, ReLU
ones against linf attacks by linear relaxation. Seconds are those of the processor, children included. A fold of all
tables comes before the next one, and rows are kept as soon as they are known. ``--show`` prints, for every table and
threat, what the best point scores, and what is lost by fixing one hyperparameter and choosing the others.
"""

import math
import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from cvxrobust.bench.data.dataset import Dataset, load_dataset, stratified_split
from cvxrobust.bench.data.known import KNOWN_FILES
from cvxrobust.bench.studies.common import Row, markdown, measure_or_show, study_parser, timed
from cvxrobust.core.attacks.threat import Threat
from cvxrobust.core.errors import InputError

Point = tuple[float, float, int]
"""Beta, training radius and number of gates."""

BETAS = {"polynomial": (0.3, 0.1, 0.03, 0.01, 0.003, 0.001), "relu": (0.1, 0.03, 0.01, 0.003)}
RADII = {"polynomial": (0.0, 0.1, 0.2, 0.3, 0.5, 1.0), "relu": (0.0, 0.02, 0.05, 0.1, 0.2)}
THREATS = {"polynomial": (0.0, 0.1, 0.3, 0.5), "relu": (0.0, 0.02, 0.05, 0.1)}
GATES = (5, 10, 20, 50)
FIXED_GATES, FIXED_RADIUS = 10, 0.05
"""Numbers of gates are compared at this radius, radii and betas with that many gates."""

GATE_BETAS = (0.03, 0.003)
"""What numbers of gates are compared with."""

GRIDS = {
    "polynomial": (
        ((0.1, 0.03, 0.01), (0, 1, 2)), ((0.1, 0.03, 0.01), (0, 0.5, 1, 2)), ((0.1, 0.03, 0.01), (1,)),
        ((0.1, 0.03, 0.01), (0,)), ((0.03,), (0, 1, 2)), ((0.03,), (2,)), ((0.03,), (1,)), ((0.03,), (0,)),
        ((0.01,), (0, 1, 2)), ((0.01,), (2,)), ((0.01,), (1,)), ((0.01,), (0,)),
    ),
    "relu": (
        ((0.1, 0.03, 0.01), (0, 1, 2)), ((0.03, 0.01), (0, 1, 2)), ((0.03, 0.003), (0, 1, 2)),
        ((0.1, 0.03, 0.01), (1,)), ((0.1, 0.03, 0.01), (0,)), ((0.1,), (1,)), ((0.1,), (0,)),
        ((0.03,), (0, 1, 2)), ((0.03,), (2,)), ((0.03,), (1,)), ((0.03,), (0,)),
        ((0.01,), (0, 1, 2)), ((0.01,), (2,)), ((0.01,), (1,)), ((0.01,), (0,)), ((0.003,), (1,)), ((0.003,), (0,)),
    ),
}  # fmt: skip
"""Betas, and radii to train at in radii of the threat."""

TOLERANCE, TIME_LIMIT = 1e-3, 120.0


def tables() -> Iterator[Dataset]:
    """Those that are at hand."""
    for name in ("breast-cancer", *KNOWN_FILES):
        try:
            yield load_dataset(name)
        except InputError as error:
            print(f"{name} is left out: {error}")


def points(family: str, betas: Sequence[float] | None = None) -> Iterator[Point]:
    """Beta, radius and gates of what is trained, some betas or all; no gates for polynomial networks."""
    for beta in BETAS[family] if betas is None else betas:
        if family == "polynomial":
            yield from ((beta, radius, 0) for radius in RADII[family])
        else:
            yield from ((beta, radius, FIXED_GATES) for radius in RADII[family])
            yield from ((beta, FIXED_RADIUS, count) for count in GATES if count != FIXED_GATES and beta in GATE_BETAS)


def measure(family: str, folds: int, seed: int, betas: Sequence[float] | None = None) -> Iterator[Row]:
    """One row for every fold, table and point."""
    from cvxrobust.problems.data.folds import splits

    parts = []
    for table in tables():
        train, _ = stratified_split(table, 0.2, seed)
        everyone = np.ones(train.n_rows, dtype=np.bool_)
        parts.append((train, splits(folds, train.X, (train.y > 0.0).astype(np.intp), everyone, None, seed)))
    for number in range(folds):
        for table, pairs in parts:
            for beta, radius, gates in points(family, betas):
                yield train_one(family, table, pairs[number], beta, radius, gates, seed) | {"fold": number}


def train_one(
    family: str, table: Dataset, pair: tuple[Any, Any], beta: float, radius: float, gates: int, seed: int
) -> Row:
    """Train at a point on the first rows of a pair, and judge on the second."""
    from cvxrobust import AdversarialReLU, AdversarialSDP, Settings, Standardizer, solve
    from cvxrobust.problems.model_selection.scoring import withstands

    train, held = (table.take(rows) for rows in pair)
    scale = Standardizer.fit(train.X)
    X = scale.transform(train.X)
    problem: Any = AdversarialSDP(X, train.y, radius, beta=beta)
    if family == "relu":
        problem = AdversarialReLU(X, train.y, radius, beta=beta, n_gates=gates, seed=seed, bias=True)
    settings = Settings(tolerance=TOLERANCE, time_limit=TIME_LIMIT, threads=1)
    seconds, result = timed(partial(solve, problem, settings=settings), lambda: sum(os.times()[:4]))
    network = result.network.replace(standardizer=scale)
    threat = Threat(2 if family == "polynomial" else "inf")
    shares = withstands(network, held.X, held.y, threat, np.array(THREATS[family])).mean(axis=1)
    return {
        "family": family, "data": table.name, "n": train.n_rows, "d": table.n_features, "seed": seed, "beta": beta,
        "radius": radius, "gates": gates, "gap": result.certificate.relative_gap, "seconds": seconds,
        "neurons": network.n_neurons, "scores": dict(zip(map(str, THREATS[family]), shares.tolist(), strict=True)),
    }  # fmt: skip


def show(rows: Sequence[Row]) -> None:
    """For every hyperparameter, what fixing it costs, and what smaller grids do: tables in Markdown."""
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        seeds = len({row["seed"] for row in own})
        certified = sum(row["gap"] <= TOLERANCE for row in own)
        print(f"\n{family}: {len(own)} trainings, {certified} certified to {TOLERANCE:g}, seeds: {seeds}")
        _show_best(own)
        for name, key in (("beta", "beta"), ("training radius", "radius"), ("number of gates", "gates")):
            if family == "relu" or key != "gates":
                print(f"\nBest certified accuracy (%) by {name}, the other hyperparameters chosen; seconds\n")
                _show_fixed(own, key)
        print("\nWhat grids lose against all that was tried (points of accuracy, over tables and threats)\n")
        _show_grids(own)


def surface(rows: Sequence[Row], threat: str) -> dict[Point, float]:
    """Mean scores over folds by beta, radius and gates; folds that lack a point are left out."""
    folds: dict[tuple[int, int], dict[Point, float]] = {}
    for row in rows:
        at = (row["beta"], row["radius"], row["gates"])
        folds.setdefault((row["seed"], row["fold"]), {})[at] = row["scores"][threat]
    most = max(map(len, folds.values()))
    whole = [fold for fold in folds.values() if len(fold) == most]
    return {at: float(np.mean([fold[at] for fold in whole])) for at in whole[0]}


def _surfaces(rows: Sequence[Row]) -> Iterator[tuple[str, str, dict[Point, float]]]:
    """Table, threat and scores."""
    for name in dict.fromkeys(row["data"] for row in rows):
        own = [row for row in rows if row["data"] == name]
        yield from ((name, threat, surface(own, threat)) for threat in own[0]["scores"])


def _show_best(rows: Sequence[Row]) -> None:
    gated = bool(rows[0]["gates"])
    lines = []
    for name, threat, found in _surfaces(rows):
        beta, radius, gates = max(found, key=lambda point: found[point])
        cells = [f"{beta:g}", f"{radius:g}", *([str(gates)] if gated else [])]
        lines.append([name, threat, f"{100 * found[beta, radius, gates]:.1f}", *cells])
    print(f"\n{markdown(['table', 'threat', 'best (%)', 'beta', 'radius', *(['gates'] if gated else [])], lines)}")


def _show_fixed(rows: Sequence[Row], key: str) -> None:
    place = ("beta", "radius", "gates").index(key)
    if key == "gates":
        rows = [row for row in rows if row["radius"] == FIXED_RADIUS and row["beta"] in GATE_BETAS]
    elif rows[0]["gates"]:
        rows = [row for row in rows if row["gates"] == FIXED_GATES]
    values = sorted({row[key] for row in rows})
    lines, lost = [], []
    for name, threat, found in _surfaces(rows):
        best = [max((s for at, s in found.items() if at[place] == value), default=math.nan) for value in values]
        lost.append(np.nanmax(best) - np.array(best))
        lines.append([name, threat, *(f"{100 * one:.1f}" for one in best)])
    lines.append(["mean loss", "", *(f"{100 * one:.2f}" for one in np.nanmean(np.array(lost), axis=0))])
    seconds = [[row["seconds"] for row in rows if row[key] == value] for value in values]
    lines.append(["seconds each", "", *(f"{np.mean(one):.1f}" for one in seconds)])
    print(markdown(["table", "threat", *(f"{value:g}" for value in values)], lines))


def _show_grids(rows: Sequence[Row]) -> None:
    """Only under a threat: radii are those nearest to so many of its radii."""
    lines = []
    for betas, factors in GRIDS[rows[0]["family"]]:
        lost = []
        for _, threat, found in _surfaces(rows):
            radii = np.array(sorted({at[1] for at in found}))
            near = {float(radii[np.abs(radii - factor * float(threat)).argmin()]) for factor in factors}
            kept = [score for at, score in found.items() if at[0] in betas and at[1] in near]
            if float(threat) > 0.0 and kept:
                lost.append(100.0 * (max(found.values()) - max(kept)))
        lines.append([", ".join(map(str, betas)), ", ".join(f"{one:g}" for one in factors)])
        lines[-1] += [f"{np.mean(lost):.2f}", f"{np.max(lost):.1f}"]
    print(markdown(["betas", "radii of the threat", "mean", "most"], lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__)
    parser.add_argument("--family", choices=tuple(BETAS), default="polynomial", help="which networks")
    parser.add_argument("--folds", type=int, default=3, help="folds per table")
    parser.add_argument("--seed", type=int, default=0, help="of splits, folds and gates")
    parser.add_argument("--betas", type=float, nargs="+", help="these alone, to add to rows that are there")
    measure_or_show(
        parser, arguments, lambda asked: measure(asked.family, asked.folds, asked.seed, asked.betas),
        lambda rows, asked: show(rows),
    )  # fmt: skip


if __name__ == "__main__":
    main()
