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

BETAS = {"polynomial": (0.1, 0.03, 0.01, 0.003, 0.001), "relu": (0.03, 0.003)}
RADII = {"polynomial": (0.0, 0.1, 0.2, 0.3, 0.5, 1.0), "relu": (0.0, 0.02, 0.05, 0.1, 0.2)}
THREATS = {"polynomial": (0.0, 0.1, 0.3, 0.5), "relu": (0.0, 0.02, 0.05, 0.1)}
GATES = (5, 10, 20, 50)
FIXED_GATES, FIXED_RADIUS = 10, 0.05
"""Numbers of gates are compared at this radius, radii with that many gates."""

TIME_LIMIT = 120.0


def tables() -> Iterator[Dataset]:
    """Those that are at hand."""
    for name in ("breast-cancer", *KNOWN_FILES):
        try:
            yield load_dataset(name)
        except InputError as error:
            print(f"{name} is left out: {error}")


def points(family: str) -> Iterator[tuple[float, float, int]]:
    """Beta, radius and gates of what is trained; no gates for polynomial networks."""
    for beta in BETAS[family]:
        if family == "polynomial":
            yield from ((beta, radius, 0) for radius in RADII[family])
        else:
            yield from ((beta, radius, FIXED_GATES) for radius in RADII[family])
            yield from ((beta, FIXED_RADIUS, count) for count in GATES if count != FIXED_GATES)


def measure(family: str, folds: int, seed: int) -> Iterator[Row]:
    """One row for every fold, table and point."""
    from cvxrobust.problems.model_selection.folds import splits

    parts = []
    for table in tables():
        train, _ = stratified_split(table, 0.2, seed)
        everyone = np.ones(train.n_rows, dtype=np.bool_)
        parts.append((train, splits(folds, train.X, (train.y > 0.0).astype(np.intp), everyone, None, seed)))
    for number in range(folds):
        for table, pairs in parts:
            for beta, radius, gates in points(family):
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
    settings = Settings(tolerance=1e-3, time_limit=TIME_LIMIT, threads=1)
    seconds, result = timed(partial(solve, problem, settings=settings), lambda: sum(os.times()[:4]))
    network = result.network.replace(standardizer=scale)
    threat = Threat(2 if family == "polynomial" else "inf")
    scores = {r: float(withstands(network, held.X, held.y, threat, r).mean()) for r in THREATS[family]}
    return {
        "family": family, "data": table.name, "n": train.n_rows, "d": table.n_features, "seed": seed, "beta": beta,
        "radius": radius, "gates": gates, "gap": result.certificate.relative_gap, "seconds": seconds,
        "neurons": network.n_neurons, "scores": scores,
    }  # fmt: skip


def show(rows: Sequence[Row]) -> None:
    """For every hyperparameter, what fixing it costs: tables in Markdown."""
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        print(f"\n{family}: {len(own)} trainings, {sum(row['gap'] <= 1e-3 for row in own)} certified to 1e-3")
        _show_best(own)
        for name, key in (("beta", "beta"), ("training radius", "radius"), ("gates", "gates")):
            if family == "relu" or key != "gates":
                print(f"\nBest certified accuracy (%) by {name}, the other hyperparameters chosen; seconds\n")
                _show_fixed(own, key)


def _surface(rows: Sequence[Row], threat: str) -> dict[tuple[float, float, int], float]:
    """Mean scores over folds by beta, radius and gates; points that some fold lacks are left out."""
    folds = {row["fold"] for row in rows}
    found: dict[tuple[float, float, int], list[float]] = {}
    for row in rows:
        found.setdefault((row["beta"], row["radius"], row["gates"]), []).append(row["scores"][threat])
    return {point: float(np.mean(scores)) for point, scores in found.items() if len(scores) == len(folds)}


def _by_table(rows: Sequence[Row]) -> Iterator[tuple[str, list[Row]]]:
    for name in dict.fromkeys(row["data"] for row in rows):
        yield name, [row for row in rows if row["data"] == name]


def _show_best(rows: Sequence[Row]) -> None:
    lines = []
    for name, own in _by_table(rows):
        for threat in own[0]["scores"]:
            surface = _surface(own, threat)
            if surface:
                beta, radius, gates = max(surface, key=lambda point: surface[point])
                cells = [f"{beta:g}", f"{radius:g}", *([str(gates)] if gates else [])]
                lines.append([name, threat, f"{100 * surface[beta, radius, gates]:.1f}", *cells])
    names = ["table", "threat", "best (%)", "beta", "radius", *(["gates"] if rows[0]["gates"] else [])]
    print(f"\n{markdown(names, lines)}")


def _show_fixed(rows: Sequence[Row], key: str) -> None:
    place = ("beta", "radius", "gates").index(key)
    if key == "gates":
        rows = [row for row in rows if row["radius"] == FIXED_RADIUS]
    elif rows[0]["gates"]:
        rows = [row for row in rows if row["gates"] == FIXED_GATES]
    values = sorted({row[key] for row in rows})
    lines, lost = [], []
    for name, own in _by_table(rows):
        for threat in own[0]["scores"]:
            surface = _surface(own, threat)
            best = [max((s for at, s in surface.items() if at[place] == value), default=np.nan) for value in values]
            lost.append(np.max(best) - np.array(best))
            lines.append([name, threat, *(f"{100 * one:.1f}" for one in best)])
    lines.append(["mean loss", "", *(f"{100 * one:.1f}" for one in np.nanmean(np.array(lost), axis=0))])
    seconds = [[row["seconds"] for row in rows if row[key] == value] for value in values]
    lines.append(["seconds each", "", *(f"{np.mean(one):.1f}" for one in seconds)])
    print(markdown(["table", "threat", *(f"{value:g}" for value in values)], lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__)
    parser.add_argument("--family", choices=tuple(BETAS), default="polynomial", help="which networks")
    parser.add_argument("--folds", type=int, default=3, help="folds per table")
    parser.add_argument("--seed", type=int, default=0, help="of splits, folds and gates")
    measure_or_show(
        parser, arguments, lambda asked: measure(asked.family, asked.folds, asked.seed), lambda rows, asked: show(rows)
    )


if __name__ == "__main__":
    main()
