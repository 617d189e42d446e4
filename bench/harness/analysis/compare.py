"""Two runs against each other: what became faster, slower, certified or not, and whether that is a regression."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from cvxrobust.bench.harness.analysis.analysis import SHIFT, shifted_geometric_mean
from cvxrobust.bench.harness.analysis.bounds import Contradiction, contradictions, with_best_bounds
from cvxrobust.bench.harness.analysis.tables import Run, instance_of, table_of
from cvxrobust.core.errors import InputError

LEAST = 1e-9
"""Means of seconds below this count as this, so that ratios exist."""


@dataclass(frozen=True)
class Rule:
    """What counts as a regression.

    Args:
        name: ``"sgm"``: a backend's shifted geometric mean grew; ``"memory"``: its peak memory did, in the geometric
            mean; ``"certified"``: a case was certified and is not any more.
        limit: By what share the mean may grow; 0 for ``"certified"``.
    """

    name: str
    limit: float = 0.0


@dataclass(frozen=True)
class Change:
    """One backend in two runs, over the cases that both have.

    Args:
        backend: The backend.
        cases: Number of cases; repeats count as one.
        certified: How many of them were certified, in each run.
        means: Shifted geometric means of seconds, what was not certified at its time limit.
        memory: Geometric means of peak memory in bytes, over cases where both runs know it; None without any.
        failing: Cases that were certified and are not, each with the reason.
        mended: Cases that were not certified and are.
    """

    backend: str
    cases: int
    certified: tuple[int, int]
    means: tuple[float, float]
    memory: tuple[float, float] | None
    failing: Sequence[tuple[str, str]] = ()
    mended: Sequence[str] = ()

    @property
    def ratio(self) -> float:
        """Mean seconds of the second run over those of the first."""
        return max(self.means[1], LEAST) / max(self.means[0], LEAST)

    @property
    def memory_ratio(self) -> float | None:
        """Peak memory of the second run over that of the first."""
        return None if self.memory is None else self.memory[1] / self.memory[0]


@dataclass(frozen=True)
class Comparison:
    """Two runs against each other.

    Args:
        names: Of the two.
        changes: A line per backend.
        only: Cases that only the first, and only the second run has.
        contradictions: Problems on which the certificates of both runs together cannot all be true.
        shift: Of the geometric means, in seconds.
        remarks: What makes times hard to compare.
    """

    names: tuple[str, str]
    changes: Sequence[Change]
    only: tuple[Sequence[str], Sequence[str]]
    contradictions: Sequence[Contradiction] = ()
    shift: float = SHIFT
    remarks: Sequence[str] = field(default_factory=tuple)

    def regressions(self, rules: Iterable[Rule]) -> list[tuple[str, str, str]]:
        """What breaks the rules: backend, rule and what happened. Contradictory certificates always do."""
        found = [
            (", ".join({*one.lower_by, *one.upper_by}), "certificates", f"contradict each other on {one.problem}")
            for one in self.contradictions
        ]
        for rule in rules:
            for change in self.changes:
                found += [(change.backend, rule.name, what) for what in _broken(rule, change)]
        return found

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "runs": list(self.names),
            "shift": self.shift,
            "backends": [
                vars(change) | {"ratio": change.ratio, "memory_ratio": change.memory_ratio} for change in self.changes
            ],
            "only": {name: list(cases) for name, cases in zip(self.names, self.only, strict=True)},
            "contradictions": [vars(one) for one in self.contradictions],
            "remarks": list(self.remarks),
        }


def parse_rule(text: str) -> Rule:
    """``sgm:10%``, ``memory:20%`` or ``certified``.

    Raises:
        InputError: It is none of these.
    """
    found = re.fullmatch(r"(sgm|memory):(\d+(?:\.\d+)?)%", text.strip())
    if found:
        return Rule(found[1], float(found[2]) / 100)
    if text.strip() == "certified":
        return Rule("certified")
    raise InputError(f"--fail {text!r} is no rule; give sgm:10%, memory:20% (any share, with the %) or certified.")


def compare(first: Run, second: Run, shift: float = SHIFT) -> Comparison:
    """Compare two runs, over the cases that both have: same problem, backend and terms; versions may differ.

    Args:
        first: What was.
        second: What is.
        shift: Of the geometric means, in seconds.

    Raises:
        InputError: They have no case in common.
    """
    both = with_best_bounds(pl.concat([_named(first, "first"), _named(second, "second")], how="diagonal"))
    before, after = (_cases(both.filter(pl.col("side") == side)) for side in ("first", "second"))
    common = before.join(after, on="case", how="inner", suffix="_after", maintain_order="left")
    if not common.height:
        raise InputError(
            f"{first.name} and {second.name} have no case in common: nothing has the same problem, backend, "
            "tolerance, time limit, threads and seed in both."
        )
    changes = [_change(str(name), cases, shift) for (name,), cases in common.group_by("backend", maintain_order=True)]
    only = (
        before.join(after, on="case", how="anti", maintain_order="left")["title"].to_list(),
        after.join(before, on="case", how="anti", maintain_order="left")["title"].to_list(),
    )
    names = (first.name, second.name) if first.name != second.name else (f"{first.name} (1)", f"{second.name} (2)")
    return Comparison(names, changes, only, contradictions(both), shift, _remarks(both))


def case_of(case: dict[str, Any]) -> str:
    """What identifies a case in any run: everything but names, versions and the repeat."""
    backend = {name: value for name, value in case["backend"].items() if name not in ("label", "families")}
    rest = {name: case[name] for name in ("tolerance", "time_limit", "threads", "seed")}
    return json.dumps([instance_of(case), backend, rest], sort_keys=True, default=str)


def _named(run: Run, side: str) -> pl.DataFrame:
    """A run's table, with the identity of every case."""
    cases = {row.key: case_of(dict(row.case)) for row in run.rows}
    table = table_of([run])
    return table.with_columns(case=table["key"].replace_strict(cases, return_dtype=pl.String), side=pl.lit(side))


def _cases(table: pl.DataFrame) -> pl.DataFrame:
    """A line per case: repeats as their median, in which one that was not certified is infinitely long."""
    title = pl.format("{} | {} | {}", "problem", "backend", "tolerance")
    why = pl.when(pl.col("standing") == "contradicted").then(pl.lit("contradicted")).otherwise(pl.col("failure"))
    return table.group_by("case", maintain_order=True).agg(
        pl.col("backend").first(),
        title.first().alias("title"),
        pl.col("seconds").fill_null(float("inf")).median().alias("seconds"),
        pl.col("time_limit").first(),
        pl.col("peak_memory").median().alias("memory"),
        (pl.col("standing") == "certified").mean().gt(0.5).alias("certified"),
        why.filter(pl.col("standing") != "certified").first().alias("failure"),
        pl.col("reason").filter(pl.col("standing") != "certified").first().alias("reason"),
    )


def _change(backend: str, cases: pl.DataFrame, shift: float) -> Change:
    def mean(column: str) -> float:
        seconds = pl.col(column)
        at_limit = pl.when(seconds.is_finite()).then(seconds).otherwise(pl.col("time_limit"))
        return shifted_geometric_mean(cases.select(at_limit.alias("s"))["s"].to_numpy(), shift)

    known = cases.filter((pl.col("memory") > 0) & (pl.col("memory_after") > 0))
    sizes = (shifted_geometric_mean(known["memory"], 0.0), shifted_geometric_mean(known["memory_after"], 0.0))
    failing = cases.filter(pl.col("certified") & ~pl.col("certified_after"))
    mended = cases.filter(~pl.col("certified") & pl.col("certified_after"))
    return Change(
        backend,
        cases.height,
        (int(cases["certified"].sum()), int(cases["certified_after"].sum())),
        (mean("seconds"), mean("seconds_after")),
        sizes if known.height else None,
        [(one["title"], _why(one)) for one in failing.to_dicts()],
        mended["title"].to_list(),
    )


def _why(case: dict[str, Any]) -> str:
    """In a word, and in more where there are more."""
    return ": ".join(dict.fromkeys(filter(None, (case["failure_after"], case["reason_after"]))))


def _broken(rule: Rule, change: Change) -> list[str]:
    if rule.name == "certified":
        return [f"{case} is not certified any more ({why})" for case, why in change.failing]
    ratio = change.ratio if rule.name == "sgm" else change.memory_ratio
    if ratio is None or ratio <= 1 + rule.limit:
        return []
    what = "mean seconds" if rule.name == "sgm" else "mean peak memory"
    return [f"{what} grew by {100 * (ratio - 1):.1f} %, and {100 * rule.limit:g} % is allowed"]


def _remarks(both: pl.DataFrame) -> list[str]:
    hosts = [
        set(both.filter((pl.col("side") == side) & (pl.col("host") != ""))["host"]) for side in ("first", "second")
    ]
    if hosts[0] and hosts[1] and hosts[0] != hosts[1]:
        where = " and ".join(", ".join(sorted(names)) for names in hosts)
        return [f"The runs are from different machines ({where}): their times cannot be compared."]
    return []
