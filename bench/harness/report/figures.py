"""What reports draw, said once: `plotly` makes it interactive, `png` makes pictures."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from cvxrobust.bench.harness.analysis.analysis import Analysis
from cvxrobust.bench.harness.analysis.profiles import Profile
from cvxrobust.bench.harness.analysis.scaling import SIZES, Scaling
from cvxrobust.bench.harness.analysis.tables import STANDINGS, traces_of
from cvxrobust.bench.metrics import PHASES
from cvxrobust.core.certificate import Certificate

LEAST_GAP = 1e-12
"""Smaller gaps, zero among them, are drawn here: a logarithmic axis has no zero."""

KEPT_DROP = 0.99
"""A point of a trace is drawn if the gap fell below this share of the last one drawn; the last always is."""


@dataclass(frozen=True)
class Curve:
    """A curve.

    Args:
        name: Its backend.
        x: Shape (k,).
        y: Shape (k,).
        steps: Whether y holds until the next x.
        points: Whether points are marked.
        line: Whether points are joined.
        end: Marker of the last point: ``"good"``, ``"bad"`` or nothing.
        note: What to say about it beside its name.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    steps: bool = False
    points: bool = False
    line: bool = True
    end: str = ""
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture of curves over axes, or of stacked bars.

    Args:
        key: Names it in files and links.
        title: What it shows.
        x_label: Of the horizontal axis.
        y_label: Of the vertical axis.
        curves: Its curves.
        bars: Or its bars: parts, each with a length for every one of `categories`.
        categories: What the bars belong to.
        x_log: Whether the horizontal axis is logarithmic.
        y_log: Whether the vertical one is.
        caption: How to read it.
        levels: Heights at which a thin line is drawn.
    """

    key: str
    title: str
    x_label: str
    y_label: str = ""
    curves: Sequence[Curve] = ()
    bars: Sequence[tuple[str, Sequence[float]]] = ()
    categories: Sequence[str] = ()
    x_log: bool = False
    y_log: bool = False
    caption: str = ""
    levels: Sequence[float] = ()


@dataclass(frozen=True)
class Figures:
    """All pictures of a report.

    Args:
        counts: What became of every backend's cases.
        phases: Where the seconds went.
        profiles: One per group of problems.
        scalings: One per family, size and tolerance.
        gaps: Gap against time, one per problem.
        backends: Every backend, in the order that gives it its colour.
    """

    counts: Figure
    phases: Figure
    profiles: Sequence[Figure] = ()
    scalings: Sequence[Figure] = ()
    gaps: Sequence[Figure] = ()
    backends: Sequence[str] = field(default_factory=tuple)

    def every(self) -> list[Figure]:
        """All of them, in the order of the report."""
        return [self.counts, self.phases, *self.profiles, *self.scalings, *self.gaps]


def figures(analysis: Analysis) -> Figures:
    """All pictures of a report."""
    backends = ranked(analysis.table)
    return Figures(
        counts_figure(analysis.table, backends),
        phases_figure(analysis.table, backends),
        profile_figures(analysis.profiles),
        scaling_figures(analysis.scalings),
        gap_figures(analysis),
        backends,
    )


def ranked(table: pl.DataFrame) -> list[str]:
    """Every backend, those with the most certified cases first."""
    certified = (pl.col("standing") == "certified").sum().alias("certified")
    order = table.group_by("backend").agg(certified).sort("certified", "backend", descending=[True, False])
    return order["backend"].to_list()


def counts_figure(table: pl.DataFrame, backends: Sequence[str]) -> Figure:
    """What became of every backend's cases."""

    def count(backend: str, standing: str) -> int:
        return table.filter((pl.col("backend") == backend) & (pl.col("standing") == standing)).height

    bars = [(standing, [count(backend, standing) for backend in backends]) for standing in STANDINGS]
    shown = [(name, values) for name, values in bars if any(values)]
    return Figure("counts", "What became of the cases", "cases", bars=shown, categories=backends)


def phases_figure(table: pl.DataFrame, backends: Sequence[str]) -> Figure:
    """Where the seconds went: assembling is part of what one waits for, and shown apart."""
    known = table.filter(pl.col("wall").is_not_null())

    def mean(backend: str, phase: str) -> float:
        value = known.filter(pl.col("backend") == backend)[phase].mean()
        return float(value) if isinstance(value, int | float) else 0.0

    answered = [backend for backend in backends if backend in set(known["backend"])]
    bars = [(phase, [mean(backend, phase) for backend in answered]) for phase in PHASES]
    caption = "Means over the cases of each backend that ended with an answer, good or not; these need not be the same."
    return Figure("phases", "Where the seconds went", "seconds", bars=bars, categories=answered, caption=caption)


def profile_figures(profiles: Mapping[tuple[str, float], Profile]) -> list[Figure]:
    """A performance profile per group of problems; those of a single problem only where there are no others."""
    several = {group: profile for group, profile in profiles.items() if len(profile.ratios) > 1}
    return [profile_figure(number, *item) for number, item in enumerate((several or profiles).items(), 1)]


def profile_figure(number: int, group: tuple[str, float], profile: Profile) -> Figure:
    """A performance profile."""
    family, tolerance = group
    end = max(10.0, 1.2 * profile.end)
    corners = {name: profile.curve(name, end) for name in profile.backends}
    curves = [Curve(name, x.tolist(), y.tolist(), steps=True) for name, (x, y) in corners.items()]
    total = len(profile.ratios)
    words = f"{profile.unsolved} of them solved by nobody" if profile.unsolved else "each solved by somebody"
    return Figure(
        f"profile-{number}",
        f"Performance profile: {family}, gap {tolerance:g}",
        "factor of the fastest time",
        "share of all problems",
        curves,
        x_log=True,
        caption=f"All {total} problems, {words}." if total > 1 else "A single problem.",
    )


def scaling_figures(series: Sequence[Scaling]) -> list[Figure]:
    """Seconds against size, with the fitted lines; a figure per family, setting, size and tolerance."""
    groups: dict[tuple[str, str, str, float], list[Scaling]] = {}
    for one in sorted(series, key=lambda one: (one.family, one.variable, min(one.sizes, default=0.0), one.setting)):
        groups.setdefault((one.family, one.setting, one.variable, one.tolerance), []).append(one)
    found = []
    for number, ((family, setting, variable, tolerance), members) in enumerate(groups.items(), 1):
        curves = [curve for member in members for curve in _scaling_curves(member)]
        if curves:
            title = f"Seconds against {SIZES[variable]} {variable}: {family}, {setting}, gap {tolerance:g}"
            caption = "Certified problems only; the table says how many were left out."
            labels = (SIZES[variable], "seconds to the gap")
            found.append(Figure(f"scaling-{number}", title, *labels, curves, x_log=True, y_log=True, caption=caption))
    return found


def gap_figures(analysis: Analysis) -> list[Figure]:
    """Certified gap against seconds, a figure per problem; of each backend the tightest tolerance's first repeat."""
    traces = traces_of(analysis.runs)
    found: list[Figure] = []
    sized = analysis.table.sort("family", "data", "n", "d", "parameters", "data_seed", maintain_order=True)
    for (_,), rows in sized.group_by("instance", maintain_order=True):
        first = rows.sort("tolerance", "repeat", maintain_order=True).unique(
            "backend", keep="first", maintain_order=True
        )
        found_curves = {row["backend"]: _gap_curve(row, traces[row["key"]]) for row in first.sort("backend").to_dicts()}
        curves = [curve for curve in found_curves.values() if curve is not None]
        silent = [backend for backend, curve in found_curves.items() if curve is None]
        caption = f"No certified gap at any time: {', '.join(silent)}." if silent else ""
        title, levels = rows["problem"][0], sorted(set(rows["tolerance"]))
        found.append(
            Figure(
                f"gap-{len(found) + 1}",
                title,
                "seconds",
                "certified relative gap",
                curves,
                x_log=True,
                y_log=True,
                caption=caption,
                levels=levels,
            )
        )
    return found


def _gap_curve(row: dict[str, object], trace: Sequence[tuple[float, float, float]]) -> Curve | None:
    """A backend's gap over time, never rising; None if it never had one."""
    seconds: list[float] = []
    gaps: list[float] = []
    best = math.inf
    for number, (elapsed, upper, lower) in enumerate(trace):
        gap = max(Certificate(upper, lower).relative_gap, LEAST_GAP)
        best = min(best, gap)
        if math.isfinite(best) and (not gaps or best < KEPT_DROP * gaps[-1] or number == len(trace) - 1):
            seconds.append(max(elapsed, 1e-4))
            gaps.append(best)
    if not gaps:
        return None
    good = row["standing"] == "certified"
    note = str(row["standing"]) if good or not row["failure"] else f"{row['standing']}: {row['failure']}"
    return Curve(str(row["backend"]), seconds, gaps, steps=True, end="good" if good else "bad", note=note)


def _scaling_curves(member: Scaling) -> Iterable[Curve]:
    if not member.sizes:
        return
    power = "" if member.law is None else f"power {member.law.slope:.2f}"
    yield Curve(member.backend, member.sizes, member.seconds, points=True, line=False, note=power)
    if member.law is not None:
        ends = np.array([min(member.sizes), max(member.sizes)])
        yield Curve(member.backend, ends.tolist(), member.law(ends).tolist(), note="fit")
