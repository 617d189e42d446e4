"""What rows say together: counts, shifted geometric means, times to a gap, profiles, scaling.

Nothing here is taken over solved problems only: a problem that a backend was not certified on enters every mean at the
time limit (and, for comparison, at three times that) and every profile as unsolved. Repeats enter as their median,
in which a repeat that was not certified counts as infinitely long.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from cvxrobust.bench.harness.analysis.bounds import Contradiction, contradictions, with_best_bounds
from cvxrobust.bench.harness.analysis.profiles import Profile, performance_profile
from cvxrobust.bench.harness.analysis.scaling import Scaling, scalings
from cvxrobust.bench.harness.analysis.tables import STANDINGS, TIMES_TO_GAP, Run, table_of
from cvxrobust.bench.metrics import PHASES

SHIFT = 1.0
"""Seconds added before, and taken off after, a geometric mean: what is much shorter hardly matters."""

PENALTIES = (1, 3)
"""Multiples of the time limit at which unsolved problems enter the means."""

ALL_FAMILIES = "all families"

TASK = ("instance", "tolerance")
"""What a competitor either solves or does not: a problem, to a gap."""


@dataclass(frozen=True)
class Analysis:
    """Everything that reports show.

    Args:
        runs: What was read.
        table: A line per case (`with_best_bounds`).
        tasks: A line per problem, tolerance and backend (`median_times`).
        summary: A line per group of problems and backend (`summarise`).
        profiles: By group: family (or `ALL_FAMILIES`) and tolerance.
        scalings: Every series of problems that differ in size.
        contradictions: Problems whose certificates cannot all be true.
        shift: Of the geometric means, in seconds.
    """

    runs: Sequence[Run]
    table: pl.DataFrame
    tasks: pl.DataFrame
    summary: pl.DataFrame
    profiles: dict[tuple[str, float], Profile]
    scalings: Sequence[Scaling]
    contradictions: Sequence[Contradiction]
    shift: float = SHIFT

    @property
    def certified(self) -> int:
        """Number of certified rows."""
        return self.table.filter(pl.col("standing") == "certified").height


def analyse(runs: Sequence[Run], shift: float = SHIFT) -> Analysis:
    """Everything that reports show.

    Args:
        runs: At least one, with at least one row.
        shift: Of the geometric means, in seconds.
    """
    table = with_best_bounds(table_of(runs))
    tasks = median_times(table)
    groups = list(_groups(tasks))
    summary = pl.concat([summarise(_members(table, *group), *group, shift) for group in groups])
    profiles = {group: profile_of(_members(tasks, *group)) for group in groups}
    return Analysis(runs, table, tasks, summary, profiles, scalings(tasks), contradictions(table), shift)


def shifted_geometric_mean(seconds: ArrayLike, shift: float = SHIFT) -> float:
    """``exp(mean(log(t + shift))) - shift``; NaN of nothing.

    Args:
        seconds: Times of 0 or more, with what was not solved at its penalty, shape (k,).
        shift: In seconds; 0 gives the geometric mean.
    """
    times = np.asarray(seconds, dtype=float)
    if not times.size:
        return float("nan")
    with np.errstate(divide="ignore"):  # the geometric mean of something that holds a 0 is 0
        return float(np.exp(np.log(times + shift).mean()) - shift)


def median_times(table: pl.DataFrame, column: str = "seconds") -> pl.DataFrame:
    """Seconds per problem, tolerance and backend: the median over repeats, infinite where most were not certified.

    Args:
        table: From `with_best_bounds`.
        column: Which times: to the gap asked for, or to another one.

    Returns:
        The columns that tell tasks apart, ``seconds``, ``time_limit`` (the largest that anybody had for the task),
        ``repeats``, and ``certified``: whether more than half of the repeats were.
    """
    about = ["problem", "family", "data", "n", "d", "data_seed", "parameters", "only_families"]
    grouped = table.group_by(*TASK, "backend", maintain_order=True).agg(
        *(pl.col(name).first() for name in about),
        pl.col(column).fill_null(float("inf")).median().alias("seconds"),
        pl.col("time_limit").max(),
        pl.len().alias("repeats"),
        (pl.col("standing") == "certified").mean().gt(0.5).alias("certified"),
    )
    return grouped.with_columns(pl.col("time_limit").max().over(*TASK))


def penalised(tasks: pl.DataFrame, backend: str, penalty: float) -> pl.Series:
    """A backend's seconds on every task that anybody has, unsolved and not run ones at a multiple of the limit.

    Args:
        tasks: From `median_times`.
        backend: Whose.
        penalty: Multiple of the time limit.
    """
    every = tasks.group_by(*TASK, maintain_order=True).agg(pl.col("time_limit").max())
    own = tasks.filter(pl.col("backend") == backend).select(*TASK, "seconds")
    joined = every.join(own, on=TASK, how="left", maintain_order="left")
    seconds = pl.col("seconds").fill_null(float("inf"))
    at_limit = pl.when(seconds.is_finite()).then(seconds).otherwise(penalty * pl.col("time_limit"))
    return joined.select(at_limit.alias("seconds"))["seconds"]


def profile_of(tasks: pl.DataFrame) -> Profile:
    """The performance profile over every task, unsolved ones and such that a backend was not run on included."""
    backends = tasks["backend"].unique(maintain_order=True).sort().to_list()
    wide = tasks.select(*TASK, "backend", "seconds").pivot(on="backend", index=list(TASK), values="seconds")
    return performance_profile(backends, wide.select(backends).fill_null(float("inf")).to_numpy())


def summarise(table: pl.DataFrame, family: str, tolerance: float, shift: float = SHIFT) -> pl.DataFrame:
    """A line per backend, best first: those certified most often, of these the fastest.

    Args:
        table: The rows of one group, from `with_best_bounds`.
        family: What the group is called.
        tolerance: The gap asked for in it.
        shift: Of the geometric means, in seconds.
    """
    tasks = median_times(table)
    to_gaps = {name: median_times(table, name) for name in TIMES_TO_GAP}
    n_tasks = tasks.select(TASK).n_unique()
    lines = []
    for backend, rows in table.group_by("backend", maintain_order=True):
        name = str(backend[0])
        line: dict[str, Any] = {"family": family, "tolerance": tolerance, "backend": name, "rows": rows.height}
        line |= {standing: rows.filter(pl.col("standing") == standing).height for standing in STANDINGS}
        line["not_run"] = n_tasks - tasks.filter(pl.col("backend") == name).height
        line["reasons"] = failure_counts(rows)
        for penalty in PENALTIES:
            line[f"sgm_{penalty}"] = shifted_geometric_mean(penalised(tasks, name, penalty), shift)
        for column in TIMES_TO_GAP:
            line |= _to_gap(to_gaps[column], name, column, tolerance, shift)
        line |= {phase: _number(rows[phase].median()) for phase in PHASES}
        line |= {f"median_{what}": _number(rows[what].median()) for what in ("relative_gap", "gap_to_best")}
        line |= {"peak_memory": _number(rows["peak_memory"].max()), "iterations": _number(rows["iterations"].median())}
        line["dimacs_error"] = _number(rows["dimacs_error"].max())
        line["threads"] = ", ".join(map(str, sorted(set(rows["threads"]))))
        lines.append(line)
    optional = (*TIMES_TO_GAP, *PHASES, "median_relative_gap", "median_gap_to_best", "peak_memory", "iterations")
    types = dict.fromkeys((*optional, "dimacs_error"), pl.Float64) | {f"n_{name}": pl.Int64 for name in TIMES_TO_GAP}
    made = pl.DataFrame(lines, schema_overrides=types, infer_schema_length=None)
    return made.sort("certified", "sgm_1", "backend", descending=[True, False, False])


def failure_counts(rows: pl.DataFrame) -> str:
    """How often which reason, as ``2 time limit, 1 crashed``, the commonest first; empty if all are certified."""
    reason = pl.when(pl.col("standing") == "contradicted").then(pl.lit("contradicted")).otherwise(pl.col("failure"))
    failed = rows.filter(pl.col("standing") != "certified").select(reason.alias("why"))
    counts = failed["why"].value_counts().sort("count", "why", descending=[True, False])
    return ", ".join(f"{count} {why or 'no reason given'}" for why, count in counts.iter_rows())


def _to_gap(times: pl.DataFrame, name: str, column: str, tolerance: float, shift: float) -> dict[str, Any]:
    """Mean time to a fixed gap, failures at the limit, and on how many tasks; None where less was asked for."""
    if tolerance > float(column.removeprefix("seconds_to_")):
        return {column: None, f"n_{column}": None}
    reached = times.filter((pl.col("backend") == name) & pl.col("seconds").is_finite()).height
    return {column: shifted_geometric_mean(penalised(times, name, 1), shift), f"n_{column}": reached}


def _groups(tasks: pl.DataFrame) -> Iterable[tuple[str, float]]:
    """Families and tolerances, in order of appearance; before them all families together where there are several."""
    tolerances = sorted(set(tasks["tolerance"]), reverse=True)
    families = tasks["family"].unique(maintain_order=True).to_list()
    if len(families) > 1:
        together = [(ALL_FAMILIES, tolerance) for tolerance in tolerances]
        yield from (group for group in together if _members(tasks, *group)["family"].n_unique() > 1)
    for family in families:
        asked = set(tasks.filter(pl.col("family") == family)["tolerance"])
        yield from ((family, tolerance) for tolerance in tolerances if tolerance in asked)


def _members(frame: pl.DataFrame, family: str, tolerance: float) -> pl.DataFrame:
    """Of all families together only backends that the suite sets at all of them: others would count as failing."""
    theirs = pl.col("only_families") == "" if family == ALL_FAMILIES else pl.col("family") == family
    return frame.filter((pl.col("tolerance") == tolerance) & theirs)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
