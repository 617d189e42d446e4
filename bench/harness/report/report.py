"""What a report says, for whatever form it takes: `page` makes HTML of it, `markdown` Markdown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from cvxrobust.bench.harness.analysis.analysis import PENALTIES, Analysis
from cvxrobust.bench.harness.analysis.tables import STANDINGS, TIMES_TO_GAP
from cvxrobust.bench.harness.report.facts import Facts, facts_of
from cvxrobust.bench.metrics import GAPS, PHASES

NOTHING = "–"
"""Stands where there is no number."""

EXAMPLES = 3
"""Problems named beside a reason of failure."""


@dataclass(frozen=True)
class Group:
    """Problems of one family (or of all) to one gap, and how the backends did on them.

    Args:
        family: The family.
        tolerance: The gap asked for.
        tasks: Number of problems.
        lines: A mapping per backend, best first; see `cvxrobust.bench.harness.analysis.analysis.summarise`.
    """

    family: str
    tolerance: float
    tasks: int
    lines: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class FailureLine:
    """Rows of one backend that came to nothing for one reason.

    Args:
        backend: The backend.
        standing: What the rows count as.
        failure: Why, in a word.
        reason: Why, in the words of the first of them.
        count: Number of rows.
        problems: Some of the problems.
    """

    backend: str
    standing: str
    failure: str
    reason: str
    count: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class ComplaintLine:
    """What was wrong with how rows of one backend came about.

    Args:
        backend: The backend.
        said: What was wrong.
        count: Number of rows.
        problems: Some of the problems.
    """

    backend: str
    said: str
    count: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """Everything a report says but its pictures.

    Args:
        title: Its heading.
        analysis: What it is about.
        counts: Rows by standing.
        groups: The summary.
        failures: What failed and why.
        complaints: Reports of progress that cannot be true, and warm-ups that failed.
        facts: What ran where.
    """

    title: str
    analysis: Analysis
    counts: Mapping[str, int]
    groups: Sequence[Group]
    failures: Sequence[FailureLine]
    complaints: Sequence[ComplaintLine]
    facts: Sequence[Facts]

    @property
    def context(self) -> dict[str, Any]:
        """What templates may name."""
        table = self.analysis.table
        return {
            "report": self,
            "analysis": self.analysis,
            "n_cases": table.height,
            "n_problems": table["instance"].n_unique(),
            "n_backends": table["backend"].n_unique(),
            "limits": sorted(set(table["time_limit"])),
            "threads": sorted(set(table["threads"])),
            "repeats": int(table["repeat"].n_unique()),
            "gaps": tuple(zip(GAPS, TIMES_TO_GAP, strict=True)),
            "phases": PHASES,
            "penalties": PENALTIES,
        }


def make_report(analysis: Analysis, title: str = "") -> Report:
    """Say what an analysis found.

    Args:
        analysis: The analysis.
        title: Its heading; made from the names of the suites by default.
    """
    table = analysis.table
    suites = dict.fromkeys(name for run in analysis.runs if (name := _suite(run.manifest)))
    names = ", ".join(suites or dict.fromkeys(run.name for run in analysis.runs))
    counts = {standing: table.filter(pl.col("standing") == standing).height for standing in STANDINGS}
    return Report(
        title or f"Benchmark: {names}", analysis, counts, _summary(analysis), _failures(table), _complaints(analysis),
        facts_of(analysis),
    )  # fmt: skip


def number(value: object, digits: int = 3) -> str:
    """A number for people; a dash for none."""
    if not isinstance(value, int | float) or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 and digits == 3 else f"{value:.{digits}g}"


def gap(value: object) -> str:
    """A relative gap."""
    return f"{value:.1e}" if isinstance(value, int | float) and math.isfinite(value) else NOTHING


def memory(value: object) -> str:
    """Bytes as MiB."""
    return f"{value / 2**20:,.0f} MiB" if isinstance(value, int | float) and math.isfinite(value) else NOTHING


def plus_minus(slope: float, error: float) -> str:
    """A slope with its standard error."""
    return f"{slope:.2f} ± {error:.2f}"


FILTERS = {"number": number, "gap": gap, "memory": memory}


def _summary(analysis: Analysis) -> list[Group]:
    groups = []
    for (family, tolerance), lines in analysis.summary.group_by("family", "tolerance", maintain_order=True):
        tasks = len(analysis.profiles[str(family), float(str(tolerance))].ratios)
        groups.append(Group(str(family), float(str(tolerance)), tasks, lines.to_dicts()))
    return groups


def _failures(table: pl.DataFrame) -> list[FailureLine]:
    """Alike ones together: same backend, standing, failure and reason."""
    failed = table.filter(pl.col("standing") != "certified")
    grouped = failed.group_by("backend", "standing", "failure", "reason", maintain_order=True).agg(
        pl.len().alias("count"), pl.col("problem").unique(maintain_order=True)
    )
    lines = []
    for one in grouped.sort("backend", "count", descending=[False, True]).to_dicts():
        names = one["problem"]
        more = [f"and {len(names) - EXAMPLES} more"] if len(names) > EXAMPLES else []
        reason = one["reason"]
        if one["standing"] == "contradicted":
            reason = "Its certified bounds and another row's cannot both be true."
        problems = (*names[:EXAMPLES], *more)
        lines.append(FailureLine(one["backend"], one["standing"], one["failure"], reason, one["count"], problems))
    return lines


def _complaints(analysis: Analysis) -> list[ComplaintLine]:
    """Alike ones together: same backend and words."""
    found: dict[tuple[str, str], list[str]] = {}
    for run in analysis.runs:
        for row in run.rows:
            for said in row.complaints:
                found.setdefault((row.backend, said), []).append(row.problem)
    lines = []
    for (backend, said), problems in sorted(found.items()):
        names = list(dict.fromkeys(problems))
        more = [f"and {len(names) - EXAMPLES} more"] if len(names) > EXAMPLES else []
        lines.append(ComplaintLine(backend, said, len(problems), (*names[:EXAMPLES], *more)))
    return lines


def _suite(manifest: Mapping[str, Any]) -> str:
    suite = manifest.get("suite")
    name = suite.get("name", "") if isinstance(suite, Mapping) else suite
    return str(name or "")
