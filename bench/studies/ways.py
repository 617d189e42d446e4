"""What each way to a certified answer costs, by size: the measurements that backends' estimates are fitted to.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.ways --out FILE.jsonl [--time-limit 25] [--sizes 20x2 80x5 ...]
    python -m cvxrobust.bench.studies.ways --show FILE.jsonl

Standard normal inputs, noisy labels of a linear rule with one product, hinge, beta = 0.01, one thread; polynomial
networks (attacked: l2 radius 0.1), one-sided ReLU networks with 10 gates (attacked: linf 0.05), and ReLU networks with
50 gates in all formulations (attacked: linf 0.05, l2 0.05). Seconds are those of the whole call of `solve` with a
backend that is named, after a first small one. A row is kept as soon as it is known. ``--show`` prints measured seconds
beside the estimate, and how far the estimates are off.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.data.teachers import product_rule
from cvxrobust.bench.display import console, make_table
from cvxrobust.bench.studies.kept_rows import measure_or_show

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
        "standard": lambda: StandardSDP(X, y, beta=0.01),
        "attacked": lambda: AdversarialSDP(X, y, radius=0.1, beta=0.01),
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


def measure(sizes: Sequence[str], time_limit: float, only: str) -> Iterator[dict[str, Any]]:
    """One row for every size, family and way."""
    from cvxrobust import Settings, solve
    from cvxrobust.core import RobustProblem
    from cvxrobust.core.solving.plan import make_plan

    settings = Settings(time_limit=time_limit, threads=1)
    for make in families(*data(20, 3)).values():
        for backend in ("ipm", "torch", "clarabel"):
            solve(make(), backend=backend, settings=settings)
    for size in sizes:
        n, d = (int(number) for number in size.split("x"))
        for name, make in families(*data(n, d)).items():
            if only not in name:
                continue
            problem = make()
            expected = {way.name: way.estimate for way in make_plan(problem, "auto", "auto", Settings(), False).ways}
            for backend, method in WAYS:
                unfit = method == "cutting-set" and (not isinstance(problem, RobustProblem) or "relu" in name)
                if unfit or (backend == "clarabel" and method == "direct" and problem.conic_rows > MOST_ROWS):
                    continue
                began = time.perf_counter()
                result = solve(make(), backend=backend, method=method, settings=settings)
                estimate = expected.get(f"{backend}/{method}")
                yield {
                    "family": name, "n": n, "d": d, "way": f"{backend}/{method}",
                    "seconds": time.perf_counter() - began, "gap": result.certificate.relative_gap,
                    "certified": result.quality == "certified", "iterations": result.iterations,
                    "estimate": None if estimate is None else estimate.seconds,
                }  # fmt: skip


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Measured beside estimated seconds, and the spread of their ratio by way."""
    shown = [
        [
            row["family"],
            f"{row['n']} x {row['d']}",
            row["way"],
            f"{'' if row['certified'] else '> '}{row['seconds']:.2f}",
            "-" if row["estimate"] is None else f"{row['estimate']:.2f}",
        ]
        for row in rows
    ]
    console().print(
        make_table("Seconds to a certified 1e-6", ["family", "size", "way", "measured", "estimated"], shown)
    )
    for way in dict.fromkeys(row["way"] for row in rows):
        known = [row for row in rows if row["way"] == way and row["certified"] and row["estimate"]]
        off = np.abs(np.log([row["estimate"] / row["seconds"] for row in known]))
        if known:
            print(f"{way}: off by a factor of {np.exp(off.mean()):.1f} on average, {np.exp(off.max()):.1f} at worst")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="samples x inputs")
    parser.add_argument("--only", default="", help="families whose names contain this")
    parser.add_argument("--time-limit", type=float, default=25.0, help="seconds per solve")
    measure_or_show(
        parser,
        arguments,
        lambda asked: measure(asked.sizes, asked.time_limit, asked.only),
        lambda rows, asked: show(rows),
    )


if __name__ == "__main__":
    main()
