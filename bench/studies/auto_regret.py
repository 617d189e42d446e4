"""How much slower than the best backend is what `auto` picks? Case by case, from tiny to large, all four families.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.auto_regret --out FILE.jsonl [--sizes 20x2 80x5 ...]
    python -m cvxrobust.bench.studies.auto_regret --show FILE.jsonl

Standard normal inputs, noisy labels of a linear rule with one product, hinge; attacked polynomial networks with
radius 0.1, ReLU networks with 10 gates (attacked: linf 0.05). Seconds of the call to a certified 1e-6, imports and a
first solve of every backend excluded: the best of two where a solve takes less than a third of the limit. Where
`auto` does not certify, it counts as the limit; a case that nobody certifies has no ratio. A row is kept as soon as
it is known.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import Row, measure_or_show, numbers_of, print_table, study_parser, timed
from cvxrobust.bench.studies.ways import families

Array = NDArray[np.float64]
BACKENDS = ("auto", "clarabel", "scs", "torch", "ipm")
FAMILIES = ("polynomial", "attacked polynomial", "relu, 10", "attacked relu, 10")
SIZES = ("20x2", "80x5", "200x10", "500x20", "1000x30", "2000x50", "5000x100")
MOST_ENTRIES = 2e8
"""Of a conic programme that Clarabel and SCS are asked to solve: with more of them they would only fill the memory."""


def data(n: int, d: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Inputs, shape (n, d), and labels, shape (n,)."""
    X, w = rng.standard_normal((n, d)), rng.standard_normal(d)
    return X, np.where(X @ w + 0.5 * X[:, 0] * X[:, 1] + 0.5 * rng.standard_normal(n) > 0, 1.0, -1.0)


def measured(make: Callable[[], Any], backend: str, limit: float) -> Row:
    """Seconds to a certified answer (None if there was none) and what came instead."""
    from cvxrobust import Settings, solve

    best, gap, settings = None, np.inf, Settings(time_limit=limit, threads=1)
    for _ in range(2):
        took, result = timed(lambda: solve(make(), backend=backend, settings=settings))
        gap = min(gap, result.certificate.relative_gap)
        if result.quality == "certified":
            best = took if best is None else min(best, took)
        if took > limit / 3.0:
            break
    return {"seconds": best, "gap": gap, "by": f"{result.backend} {result.method}"}


def entries(family: str, n: int, d: int) -> float:
    """About how many numbers the conic programme has."""
    return {"polynomial": n * d**2 / 2.0, "attacked polynomial": n * d**2 * 2.0}.get(family, 40.0 * n * d)


def measure(sizes: Sequence[str], limit: float) -> Iterator[Row]:
    """One row for every size, family and backend."""
    from cvxrobust import solve

    rng = np.random.default_rng(0)
    for backend in BACKENDS:
        small = families(*data(20, 3, np.random.default_rng(1)))
        for name in FAMILIES:
            solve(small[name](), backend=backend)
    for size in sizes:
        n, d = numbers_of(size)
        drawn = families(*data(n, d, rng))
        for family in FAMILIES:
            for backend in BACKENDS:
                row = {"size": size, "family": family, "backend": backend, "limit": limit}
                if backend in ("clarabel", "scs") and entries(family, n, d) > MOST_ENTRIES:
                    yield {**row, "seconds": None, "gap": None, "by": "not tried: too large"}
                else:
                    yield {**row, **measured(drawn[family], backend, limit)}


def show(rows: Sequence[Row]) -> None:
    """Seconds of everybody, and the ratio of `auto` to the best."""
    shown, ratios = [], []
    for size, family in dict.fromkeys((row["size"], row["family"]) for row in rows):
        own = {row["backend"]: row for row in rows if (row["size"], row["family"]) == (size, family)}
        known = {name: row["seconds"] for name, row in own.items() if row["seconds"] is not None and name != "auto"}
        ratio = None
        if known and "auto" in own:
            auto = own["auto"]
            ratio = max(1.0, (auto["seconds"] or auto["limit"]) / min(known.values()))
            ratios.append(ratio)
        cells = [
            "-" if (row := own.get(name)) is None else f"{row['seconds']:.3f}" if row["seconds"] is not None
            else "not tried" if row["gap"] is None else f"gap {row['gap']:.0e}"
            for name in BACKENDS
        ]  # fmt: skip
        by = own["auto"]["by"] if "auto" in own else ""
        shown.append([size, family, *cells, by, "-" if ratio is None else f"{ratio:.2f}"])
    columns = ["n x d", "family", *BACKENDS, "auto took", "ratio"]
    print_table("Seconds to a certified 1e-6, or the gap at the limit", columns, shown, left=2)
    print(f"geometric mean {np.exp(np.mean(np.log(ratios))):.2f}, worst {max(ratios):.2f}, {len(ratios)} cases")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__, sizes=SIZES, time_limit=30.0)
    measure_or_show(
        parser, arguments, lambda asked: measure(asked.sizes, asked.time_limit), lambda rows, asked: show(rows)
    )


if __name__ == "__main__":
    main()
