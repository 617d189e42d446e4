"""Inputs in units as people have them, beside their standardised twins: what is certified, and what it takes.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.raw_units --out FILE.jsonl [--backends auto ipm] [--seeds 0 1]
    python -m cvxrobust.bench.studies.raw_units --show FILE.jsonl

Standard normal inputs Z, 200 x 10, with noisy labels of a linear rule with one product, in four kinds of columns:
*scales*, Z times 10^U(-3, 4), a factor per column; *offsets*, Z plus U(10, 100); *both*, the sum times the factor;
*binary*, Z > 0. Each beside its standardised twin. Ten formulations, beta 0.01: `StandardSDP` with hinge, logistic and
squared loss (the labels are its targets), `AdversarialSDP` with hinge, logistic and squared hinge, `ConvexReLU` and
`AdversarialReLU` (linf) with hinge and 20 gates, one-sided and in cones. The radius is 0.05 times the median standard
deviation of the columns. Tolerance 1e-6, 30 s, one thread; seconds of the call, imports and a first solve excluded. A
problem and its twin have different optima, because the penalty is on weights in other units: the ratio of their seconds
says what units cost. A row is kept as soon as it is known.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cvxrobust.bench.studies.common import Row, markdown, measure_or_show, number, study_parser, timed
from cvxrobust.core.programs.gated.program import Formulation

Array = NDArray[np.float64]
SAMPLES, INPUTS, GATES, BETA = 200, 10, 20, 0.01
RADIUS = 0.05
"""Of attacks, in median standard deviations of the columns."""
FORMS: tuple[Formulation, ...] = ("one-sided", "cone")
BACKENDS = ("auto", "torch", "ipm")


def kinds(seed: int) -> tuple[dict[str, Array], Array]:
    """The four kinds of inputs, shape (n, d), and labels, shape (n,)."""
    rng = np.random.default_rng(seed)
    Z, w = rng.standard_normal((SAMPLES, INPUTS)), rng.standard_normal(INPUTS)
    score = Z @ w + 0.5 * Z[:, 0] * Z[:, 1] + 0.5 * rng.standard_normal(SAMPLES)
    scales, offsets = 10.0 ** rng.uniform(-3.0, 4.0, INPUTS), rng.uniform(10.0, 100.0, INPUTS)
    found = {
        "scales": Z * scales,
        "offsets": Z + offsets,
        "both": (Z + offsets) * scales,
        "binary": (Z > 0.0).astype(np.float64),
    }
    return found, np.where(score > 0.0, 1.0, -1.0)


def formulations(X: Array, y: Array) -> dict[str, Callable[[], Any]]:
    """The ten problems by name."""
    from cvxrobust import AdversarialReLU, AdversarialSDP, ConvexReLU, StandardSDP

    radius = RADIUS * float(np.median(X.std(axis=0)))
    gates: dict[str, Any] = {"n_gates": GATES, "beta": BETA, "seed": 0}
    found: dict[str, Callable[[], Any]] = {}
    for loss in ("hinge", "logistic", "squared"):
        found[f"standard, {loss}"] = partial(StandardSDP, X, y, beta=BETA, loss=loss)
    for loss in ("hinge", "logistic", "squared_hinge"):
        said = f"adversarial, {loss.replace('_', ' ')}"
        found[said] = partial(AdversarialSDP, X, y, radius=radius, beta=BETA, loss=loss)
    for form in FORMS:
        found[f"relu, {form}"] = partial(ConvexReLU, X, y, formulation=form, **gates)
    for form in FORMS:
        found[f"adversarial relu, {form}"] = partial(AdversarialReLU, X, y, radius=radius, formulation=form, **gates)
    return found


def solved(make: Callable[[], Any], backend: str, time_limit: float, tolerance: float) -> Row:
    """What became of one problem."""
    from cvxrobust import Settings, solve

    settings = Settings(tolerance=tolerance, time_limit=time_limit, threads=1)
    try:
        took, result = timed(lambda: solve(make(), backend=backend, settings=settings))
    except Exception as error:
        return {"quality": "error", "gap": None, "seconds": None, "by": f"{type(error).__name__}: {error}"}
    gap = result.certificate.relative_gap
    return {"quality": str(result.quality), "gap": gap, "seconds": took, "by": f"{result.backend} {result.method}"}


def measure(asked: argparse.Namespace) -> Iterator[Row]:
    """One row for every seed, kind, formulation and backend, raw and standardised."""
    from cvxrobust import Standardizer

    rng = np.random.default_rng(1)
    small = formulations(rng.standard_normal((20, 3)), np.where(rng.standard_normal(20) > 0.0, 1.0, -1.0))
    for backend in asked.backends:
        for make in small.values():
            solved(make, backend, asked.time_limit, 1e-2)
    for seed in asked.seeds:
        tables, y = kinds(seed)
        for kind in asked.only:
            raw = tables[kind]
            twin = Standardizer.fit(raw).transform(raw)
            for backend in asked.backends:
                for units, X in (("raw", raw), ("standardised", twin)):
                    for name, make in formulations(X, y).items():
                        row = {"seed": seed, "kind": kind, "formulation": name, "backend": backend, "units": units}
                        row |= solved(make, backend, asked.time_limit, asked.tolerance)
                        print(f"{seed} {kind:8} {name:26} {backend:6} {units:13} {outcome(row)}", flush=True)
                        yield row


def outcome(row: Row) -> str:
    """Gap and seconds of one solve."""
    return f"{number(row['gap'], '.0e')}, {number(row['seconds'])} s"


def cell(raw: Row, twin: Row | None) -> str:
    """Gap, seconds, and seconds relative to the twin's; a gap that is not certified is bold."""
    gap, seconds = number(raw["gap"], ".0e"), raw["seconds"]
    shown = gap if raw["quality"] == "certified" else f"**{gap}**"
    if twin is None or not twin["seconds"] or seconds is None:
        return f"{shown}, {number(seconds)} s"
    mark = "" if twin["quality"] == "certified" else f" (twin {number(twin['gap'], '.0e')})"
    return f"{shown}, {number(seconds)} s, x {number(seconds / twin['seconds'], '.1f')}{mark}"


def show(rows: Sequence[Row], asked: argparse.Namespace) -> None:
    """A table for every kind of columns, and what it comes to."""
    by_place = {(r["seed"], r["kind"], r["formulation"], r["backend"], r["units"]): r for r in rows}
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        lines = []
        for seed, name in dict.fromkeys((row["seed"], row["formulation"]) for row in rows if row["kind"] == kind):
            line = [f"{name}" if seed == 0 else f"{name}, seed {seed}"]
            for backend in backends:
                raw, twin = (by_place.get((seed, kind, name, backend, units)) for units in ("raw", "standardised"))
                line.append("" if raw is None else cell(raw, twin))
            lines.append(line)
        print("\n" + markdown([kind, *backends], lines))
    lines = []
    for backend in backends:
        own = [row for row in rows if row["backend"] == backend]
        certified = [
            f"{sum(row['quality'] == 'certified' for row in own if row['units'] == units)} of "
            f"{sum(row['units'] == units for row in own)}"
            for units in ("raw", "standardised")
        ]
        lines.append([backend, *certified, number(_mean_ratio(own), ".1f"), number(_total(own), ".0f")])
    columns = ["backend", "certified, raw", "certified, standardised", "seconds, raw to standardised", "seconds in all"]
    print("\n" + markdown(columns, lines))


def _mean_ratio(rows: Sequence[Row]) -> float | None:
    """Geometric mean of raw to standardised seconds, where both are known."""
    known: dict[tuple[Any, ...], dict[str, float]] = {}
    for row in rows:
        if row["seconds"]:
            known.setdefault((row["seed"], row["kind"], row["formulation"]), {})[row["units"]] = row["seconds"]
    ratios = [pair["raw"] / pair["standardised"] for pair in known.values() if len(pair) == 2]
    return float(np.exp(np.mean(np.log(ratios)))) if ratios else None


def _total(rows: Sequence[Row]) -> float:
    return sum(row["seconds"] or 0.0 for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure or show."""
    parser = study_parser(__doc__, tolerance=1e-6, time_limit=30.0)
    parser.add_argument("--backends", nargs="+", default=list(BACKENDS), help="backends to ask")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="of inputs and labels")
    parser.add_argument("--only", nargs="+", default=list(kinds(0)[0]), help="kinds of columns")
    measure_or_show(parser, arguments, measure, show)


if __name__ == "__main__":
    main()
