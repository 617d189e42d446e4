"""How many gates a ReLU network needs: certified optimum, test error and seconds against the number of gates.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.gate_counts --out FILE.jsonl [--seeds 3] [--time-limit 60]
    python -m cvxrobust.bench.studies.gate_counts --show FILE.jsonl

One-sided `ConvexReLU`, hinge, bias, standardised inputs, beta 0.01 and 0.001; each seed draws the split into 80 % for
training and the rest, and the gates. The sets of a table that are at hand, images of MNIST (3 against 8, 14 x 14),
and teachers: ReLU networks of eight neurons on normal inputs, a tenth of the labels flipped. ``--show`` prints, for
every set, how far the optimum with so many gates lies above that with `MOST`, and the smallest number within a
hundredth of it. A row is kept as soon as it is known.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.dataset import Dataset, load_dataset, stratified_split
from cvxrobust.bench.data.images import load_mnist
from cvxrobust.bench.data.known import KNOWN_FILES
from cvxrobust.bench.studies.common import Row, measure_or_show, print_table, study_parser, timed
from cvxrobust.core.errors import InputError

Array = NDArray[np.float64]
COUNTS = (5, 10, 20, 50, 100)
MOST = COUNTS[-1]
BETAS = (1e-2, 1e-3)
TEACHERS = ((200, 2), (1000, 2), (200, 10), (1000, 10), (3000, 10), (300, 50), (2000, 50), (500, 200))
IMAGES, FIRST_IMAGES = "mnist 3/8", 800
"""Of MNIST, three against eight."""

CLOSE = 0.01
"""What an optimum may lie above that with `MOST` gates, relative, and count as no worse."""


def images(count: int) -> Dataset:
    """Threes (-1) and eights (+1) of MNIST's training images, 14 x 14 pixels in [0, 1], the first `count` of them."""
    found, digits = load_mnist()
    kept = np.flatnonzero(np.isin(digits, (3, 8)))[:count]
    pixels = (found[kept] / 255.0).reshape(-1, 14, 2, 14, 2).mean((2, 4)).reshape(count, -1)
    names = tuple(f"pixel {j}" for j in range(pixels.shape[1]))
    return Dataset(pixels, np.where(digits[kept] == 8, 1.0, -1.0), names, IMAGES, (3, 8))


def datasets() -> Iterator[Dataset]:
    """Those that are at hand, without columns that are constant."""
    from cvxrobust.bench.data.teachers import relu_teacher

    found = []
    for name in ("breast-cancer", *KNOWN_FILES, IMAGES):
        try:
            found.append(images(FIRST_IMAGES) if name == IMAGES else load_dataset(name))
        except InputError as error:
            print(f"{name} is left out: {error}")
    for n, d in TEACHERS:
        # A quarter more than n: n are left to train on.
        X, y = relu_teacher(n * 5 // 4, d)
        found.append(Dataset(X, y, tuple(f"x{j}" for j in range(d)), "teacher", (-1, 1)))
    for dataset in found:
        spread = dataset.X.std(axis=0) > 0.0
        names = tuple(name for name, kept in zip(dataset.feature_names, spread, strict=True) if kept)
        yield Dataset(dataset.X[:, spread], dataset.y, names, dataset.name, dataset.classes)


def measure(seeds: int, time_limit: float) -> Iterator[Row]:
    """One row for every set, beta, seed and number of gates."""
    from cvxrobust import ConvexReLU, Settings, Standardizer, solve

    settings = Settings(time_limit=time_limit, tolerance=1e-4, threads=1)
    for dataset in datasets():
        for seed in range(seeds):
            train, test = stratified_split(dataset, 0.2, seed)
            scale = Standardizer.fit(train.X)
            X, held_out = scale.transform(train.X), scale.transform(test.X)
            kept = X.std(axis=0) > 0.0
            for beta in BETAS:
                for count in COUNTS:
                    problem = ConvexReLU(X[:, kept], train.y, beta=beta, n_gates=count, seed=seed, bias=True)
                    seconds, result = timed(partial(solve, problem, settings=settings))
                    wrong = np.sign(result.network.predict(held_out[:, kept])) != test.y
                    yield {
                        "data": dataset.name, "n": int(X.shape[0]), "d": int(kept.sum()), "beta": beta, "seed": seed,
                        "gates": count, "found": problem.size // 2, "upper": result.certificate.upper,
                        "gap": result.certificate.relative_gap, "seconds": seconds, "neurons": result.network.n_neurons,
                        "test_error": float(np.mean(wrong)), "by": result.backend,
                    }  # fmt: skip


def show(rows: Sequence[Row]) -> None:
    """Optima, test errors and seconds beside those with `MOST` gates, means over the seeds."""
    shown = []
    for key in dict.fromkeys((row["data"], row["n"], row["d"], row["beta"]) for row in rows):
        own = [row for row in rows if (row["data"], row["n"], row["d"], row["beta"]) == key]

        def mean(field: str, count: int, own: Sequence[Row] = own) -> float:
            values = [row[field] for row in own if row["gates"] == count]
            return float(np.mean(values)) if values else math.nan

        above = {count: mean("upper", count) / mean("upper", MOST) - 1.0 for count in COUNTS}
        enough = next((count for count in COUNTS if above[count] <= CLOSE), MOST)
        name, n, d, beta = key
        shown.append(
            [name, f"{n} x {d}", f"{beta:g}"]
            + [f"{100 * above[count]:.1f}" for count in COUNTS[:-1]]
            + [str(enough)]
            + [f"{100 * mean('test_error', count):.1f}" for count in COUNTS]
            + [f"{mean('seconds', count):.1f}" for count in COUNTS]
        )
    columns = ["data", "n x d", "beta", *(f"+% {count}" for count in COUNTS[:-1]), "enough"]
    columns += [f"err {count}" for count in COUNTS] + [f"s {count}" for count in COUNTS]
    title = f"Optimum above that with {MOST} gates (%), the number of gates within {CLOSE:.0%}, test error (%), seconds"
    print_table(title, columns, shown)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__, time_limit=60.0)
    parser.add_argument("--seeds", type=int, default=3, help="splits and draws of gates per set")
    measure_or_show(
        parser, arguments, lambda asked: measure(asked.seeds, asked.time_limit), lambda rows, asked: show(rows)
    )


if __name__ == "__main__":
    main()
