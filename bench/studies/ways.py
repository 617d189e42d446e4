"""What each way to a certified answer costs, by size: the measurements that backends' estimates are fitted to.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.ways --out FILE.jsonl [--time-limit 25] [--sizes 20x2 80x5 ...]
    python -m cvxrobust.bench.studies.ways --show FILE.jsonl

Standard normal inputs, noisy labels of a linear rule with one product, hinge, beta = 0.01, one thread; polynomial
networks (attacked: l2 radius 0.1, far: 2), one-sided ReLU networks with 10 gates (attacked: linf 0.05), and ReLU
networks with 50 gates in all formulations (attacked: linf 0.05, l2 0.05). Seconds are those of the whole call of
`solve` with a backend that is named, after a first small one. A row is kept as soon as it is known. ``--show`` prints
measured seconds beside today's estimate, how far estimates are off, and what choosing by them costs.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.teachers import product_rule
from cvxrobust.bench.studies.common import (
    Row,
    measure_or_show,
    number,
    numbers_of,
    print_table,
    study_parser,
    timed,
)

if TYPE_CHECKING:
    from cvxrobust import Settings

Array = NDArray[np.float64]
SIZES = (
    "20x2",
    "20x10",
    "80x5",
    "80x20",
    "200x2",
    "200x10",
    "200x30",
    "500x5",
    "500x20",
    "500x60",
    "1000x10",
    "2000x30",
)
FORMULATIONS = ("one-sided", "cone", "gated")
WAYS = (("ipm", "direct"), ("torch", "direct"), ("clarabel", "direct"), ("clarabel", "cutting-set"))
NAMES = tuple(f"{backend}/{method}" for backend, method in WAYS)
SHORT = 2.0
"""How many times its seconds a way counts that ended short."""

MOST_ROWS = 150_000
"""Direct programmes with more rows are left out: they would not begin before the time limit."""


def data(n: int, d: int) -> tuple[Array, Array]:
    """Inputs, shape (n, d), and labels, shape (n,)."""
    X, score = product_rule(n, d, np.random.default_rng(n + d))
    return X, np.where(score > np.median(score), 1.0, -1.0)


def families(X: Array, y: Array) -> dict[str, Callable[[], Any]]:
    """Problems by name."""
    from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, StandardSDP

    found: dict[str, Callable[[], Any]] = {
        "polynomial": lambda: StandardSDP(X, y, beta=0.01),
        "attacked polynomial": lambda: AdversarialSDP(X, y, radius=0.1, beta=0.01),
        "attacked polynomial, far": lambda: AdversarialSDP(X, y, radius=2.0, beta=0.01),
        "relu, 10": lambda: ConvexReLU(X, y, n_gates=10, beta=0.01),
        "attacked relu, 10": lambda: AdversarialReLU(X, y, radius=0.05, n_gates=10, beta=0.01),
    }
    for formulation in FORMULATIONS:
        choices: dict[str, Any] = {"n_gates": 50, "beta": 0.01, "formulation": formulation}
        found[f"relu, 50, {formulation}"] = partial(ConvexReLU, X, y, **choices)
        for norm in ("inf", 2):
            name = f"attacked relu, 50, {formulation}, {norm}"
            found[name] = partial(AdversarialReLU, X, y, radius=0.05, norm=norm, **choices)
    return found


def measured(make: Callable[[], Any], backend: str, method: str, settings: "Settings") -> Row:
    """What one way takes, and how far it gets."""
    from cvxrobust import solve

    seconds, result = timed(lambda: solve(make(), backend=backend, method=method, settings=settings))
    certified = result.quality == "certified"
    gap = result.certificate.relative_gap
    return {"seconds": seconds, "gap": gap, "certified": certified, "iterations": result.iterations}


def measure(sizes: Sequence[str], time_limit: float, only: str, ways: Sequence[str]) -> Iterator[Row]:
    """One row for every size, family and way."""
    from cvxrobust import Settings, solve
    from cvxrobust.core import RobustProblem

    settings = Settings(time_limit=time_limit, threads=1)
    for make in families(*data(20, 3)).values():
        for backend in ("ipm", "torch", "clarabel"):
            solve(make(), backend=backend, settings=settings)
    for size in sizes:
        n, d = numbers_of(size)
        for name, make in families(*data(n, d)).items():
            if only not in name:
                continue
            problem = make()
            for backend, method in WAYS:
                if f"{backend}/{method}" not in ways:
                    continue
                unfit = method == "cutting-set" and (not isinstance(problem, RobustProblem) or "relu" in name)
                if unfit or (backend == "clarabel" and method == "direct" and problem.conic_rows > MOST_ROWS):
                    continue
                row = {"family": name, "n": n, "d": d, "way": f"{backend}/{method}"}
                yield {**row, **measured(make, backend, method, settings)}


def estimates(family: str, n: int, d: int) -> dict[str, float]:
    """What each way is expected to take now, in seconds, in the order in which `auto` tries them."""
    from cvxrobust import Settings
    from cvxrobust.core.solving.plan import make_plan

    ways = make_plan(families(*data(n, d))[family](), "auto", "auto", Settings(), False).ways
    return {way.name: way.estimate.seconds for way in ways if way.estimate is not None}


def show(rows: Sequence[Row]) -> None:
    """Measured beside estimated seconds, the spread of their ratio by way, and what choosing by them costs."""
    groups: dict[tuple[str, int, int], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["n"], row["d"]), {})[row["way"]] = row
    shown, off, regret = [], dict[str, list[float]](), []
    for (family, n, d), own in groups.items():
        expected = estimates(family, n, d)
        for way, row in own.items():
            estimate = expected.get(way)
            measured = f"{'' if row['certified'] else '> '}{row['seconds']:.2f}"
            shown.append([family, f"{n} x {d}", way, measured, number(estimate)])
            if estimate is not None and row["certified"]:
                off.setdefault(way, []).append(abs(math.log(estimate / row["seconds"])))
        taken = {way: row["seconds"] * (1.0 if row["certified"] else SHORT) for way, row in own.items()}
        if (first := next((way for way in expected if way in own), None)) is not None:
            regret.append(math.log(taken[first] / min(taken.values())))
    columns = ["family", "size", "way", "measured", "estimated"]
    print_table("Seconds to a certified 1e-6", columns, shown)
    for way, logs in off.items():
        print(f"{way}: off by a factor of {math.exp(np.mean(logs)):.1f} on average, {math.exp(max(logs)):.1f} at worst")
    print(
        f"choosing by estimates: {math.exp(np.mean(regret)):.2f} times the best way on average, "
        f"{math.exp(max(regret)):.2f} at worst, {len(regret)} cases"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = study_parser(__doc__, sizes=SIZES, time_limit=25.0)
    parser.add_argument("--only", default="", help="families whose names contain this")
    parser.add_argument("--ways", nargs="+", default=NAMES, choices=NAMES, help="backends with methods")
    measure_or_show(
        parser,
        arguments,
        lambda asked: measure(asked.sizes, asked.time_limit, asked.only, asked.ways),
        lambda rows, asked: show(rows),
    )


if __name__ == "__main__":
    main()
