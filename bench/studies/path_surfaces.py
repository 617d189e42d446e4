"""Surfaces of beta and radius, every point certified: what `solve_path` takes beside solving points one by one.

    OMP_NUM_THREADS=1 python -m cvxrobust.bench.studies.path_surfaces --out FILE.jsonl [--only breast heart ...]
    python -m cvxrobust.bench.studies.path_surfaces --show FILE.jsonl [--plot FILE.png]

*breast*, *heart*, *ionosphere*: `AdversarialSDP`, hinge, 20 betas from 0.3 to 0.001 (geometric) by 10 radii from 0 to
0.45; *relu*: `AdversarialReLU`, one-sided, 10 gates, linf, on Heart, the same betas by radii from 0 to 0.09;
*standard*: `StandardSDP` on Breast Cancer, 200 betas from 0.3 to 0.001. Breast Cancer has the 455 training rows of a
stratified split, the others all rows, standardised. Every point to 1e-4, one thread.

Beside them 20 of the 200 points solved alone by `solve`, by `auto` and by the backends named: each beta once and each
radius twice (of *standard* every tenth beta). Seconds are of the processor: of a whole call, on a machine with other
work. Imports and a first solve by every backend are excluded.
"""

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cvxrobust.bench.studies.common import Row, markdown, measure_or_show, number, study_parser, timed
from cvxrobust.core.pictures.canvas import new_figure

BETAS = (0.3, 1e-3)
CASES = {
    "breast": (20, 0.45, 10),
    "heart": (20, 0.45, 10),
    "ionosphere": (20, 0.45, 10),
    "relu": (20, 0.09, 10),
    "standard": (200, 0.0, 1),
}
"""Betas, largest radius and radii."""

BACKENDS = ("auto", "torch")
ALONE = 20


def problem_of(case: str) -> Any:
    """The problem of a case."""
    from cvxrobust import AdversarialReLU, AdversarialSDP, Standardizer, StandardSDP
    from cvxrobust.bench.data.dataset import load_dataset, stratified_split
    from cvxrobust.bench.data.known import BREAST_CANCER

    name = {"heart": "heart_statlog", "relu": "heart_statlog", "ionosphere": "ionosphere"}.get(case, BREAST_CANCER)
    data = load_dataset(name)
    data = stratified_split(data, 0.2, 0)[0] if name == BREAST_CANCER else data
    spread = data.X.std(axis=0) > 0.0  # a constant column tells nothing
    X, y = data.X[:, spread], data.y
    X = Standardizer.fit(X).transform(X)
    match case:
        case "relu":
            return AdversarialReLU(X, y, radius=0.01, n_gates=10)
        case "standard":
            return StandardSDP(X, y)
        case _:
            return AdversarialSDP(X, y, radius=0.1)


def measure(asked: argparse.Namespace) -> Iterator[Row]:
    """The points solved alone, then those of the path, of every case."""
    from cvxrobust import Settings, solve, solve_path

    settings = Settings(tolerance=asked.tolerance, threads=1)
    for case in asked.only:
        problem = problem_of(case)
        count, largest, width = CASES[case]
        betas, radii = np.geomspace(*BETAS, count), np.linspace(0.0, largest, width)
        for backend in asked.backends:
            solve(problem, backend=backend, settings=settings.replace(tolerance=0.1))
        for k in range(ALONE):
            index = (k * count // ALONE, k % width)
            point = problem.at(beta=betas[index[0]], radius=radii[index[1]])
            for backend in asked.backends:
                took, found = timed(lambda: solve(point, backend=backend, settings=settings), time.process_time)  # noqa: B023
                about = {"gap": found.certificate.relative_gap, "by": found.backend, "seconds": took}
                yield {"case": case, "kind": "alone", "backend": backend, "index": list(index)} | about
        path = solve_path(problem, betas=betas, radii=radii, settings=settings, callback=_print)
        for one in path:
            yield {"case": case, "kind": "point", **one.to_dict()}
        yield {"case": case, "kind": "path", "seconds": path.seconds_in_all, "wall": path.wall, "said": str(path)}


def _print(point: Any) -> None:
    print(f"{point.beta:8.4g} {point.radius:6.3g} {point.origin:10} {point.gap:.1e} {point.seconds:.3f} s", flush=True)


def show(rows: Sequence[Row], asked: argparse.Namespace) -> None:
    """Tables of totals and of points, and the picture."""
    cases = [case for case in dict.fromkeys(row["case"] for row in rows) if _of(rows, case, "path")]
    backends = list(dict.fromkeys(row["backend"] for row in rows if row["kind"] == "alone"))
    lines, detail = [], []
    for case in cases:
        path, points = _of(rows, case, "path")[-1], _of(rows, case, "point")
        cold = {name: [r["seconds"] for r in _of(rows, case, "alone") if r["backend"] == name] for name in backends}
        certified = sum(point["quality"] == "certified" for point in points)
        totals = [f"{number(sum(cold[name]), '.1f')} s" for name in backends]
        ratio = path["seconds"] / sum(cold[backends[0]])
        per_point = [number(path["seconds"] / len(points) / np.mean(cold[name]), ".2f") for name in backends]
        lines.append([case, f"{certified} of {len(points)}", f"{path['seconds']:.1f} s", *totals, number(ratio, ".2f")])
        detail.append([case, *per_point, *_ratios(rows, case, backends), _origins(points)])
    print("\n" + markdown(["", "certified", "path", *(f"20 by {name}" for name in backends), "path to 20"], lines))
    mean, same = [f"mean to {name}" for name in backends], [f"same points to {name}" for name in backends]
    print("\n" + markdown(["", *mean, *same, "points by"], detail))
    if asked.plot:
        plot(rows, cases, asked.plot)


def _of(rows: Sequence[Row], case: str, kind: str) -> list[Row]:
    return [row for row in rows if row["case"] == case and row["kind"] == kind]


def _ratios(rows: Sequence[Row], case: str, backends: Sequence[str]) -> list[str]:
    """Seconds in the path to those alone, at the same points: geometric mean, largest, and how many are above 1."""
    path = {tuple(row["index"]): row["seconds"] for row in _of(rows, case, "point")}
    found = []
    for name in backends:
        alone = [row for row in _of(rows, case, "alone") if row["backend"] == name]
        ratios = [max(path[tuple(row["index"])], 1e-4) / row["seconds"] for row in alone]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        found.append(f"{mean:.2f} (worst {max(ratios):.2f}, {sum(r > 1.0 for r in ratios)} above 1)")
    return found


def _origins(points: Sequence[Row]) -> str:
    kinds = [f"{row['origin']} {row['backend']}".strip() for row in points]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds), key=kinds.count, reverse=True))


def plot(rows: Sequence[Row], cases: Sequence[str], path: Path) -> None:
    """For every case the optimum over betas, a line per radius; and seconds, those of points solved alone beside."""
    figure = new_figure((3.6 * len(cases), 6.4))
    axes = figure.subplots(2, len(cases), squeeze=False)
    for column, case in enumerate(cases):
        points = _of(rows, case, "point")
        largest = max(point["radius"] for point in points) or 1.0
        for radius in sorted({point["radius"] for point in points}):
            line = sorted((p for p in points if p["radius"] == radius), key=lambda p: float(p["beta"]))
            shade = (0.15 + 0.7 * radius / largest, 0.25, 0.75 - 0.6 * radius / largest)
            betas = [p["beta"] for p in line]
            axes[0, column].fill_between(betas, [p["lower"] for p in line], [p["upper"] for p in line], color=shade)
            axes[0, column].plot(betas, [p["upper"] for p in line], color=shade, linewidth=1)
            axes[1, column].plot(betas, [max(p["seconds"], 1e-4) for p in line], ".", color=shade, markersize=4)
        betas = sorted({point["beta"] for point in points}, reverse=True)
        for name, mark in (("auto", "kx"), ("torch", "k+")):
            alone = [row for row in _of(rows, case, "alone") if row["backend"] == name]
            places = [betas[row["index"][0]] for row in alone]
            axes[1, column].plot(places, [r["seconds"] for r in alone], mark, label=f"alone, {name}")
        axes[0, column].set(title=case, xscale="log", ylabel="optimum" if column == 0 else "")
        axes[1, column].set(xscale="log", yscale="log", xlabel="beta", ylabel="CPU seconds" if column == 0 else "")
    axes[1, 0].legend(fontsize="small")
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure or show."""
    parser = study_parser(__doc__, tolerance=1e-4, only=CASES, plot=Path)
    parser.add_argument("--backends", nargs="*", default=list(BACKENDS), help="who solves points alone")
    measure_or_show(parser, arguments, measure, show)


if __name__ == "__main__":
    main()
