"""Rows as one flat table: a line per case, a column per number, for analysis, export and reports."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from cvxrobust.bench.harness.results.rows import Row, Verdict
from cvxrobust.bench.harness.results.store import Store
from cvxrobust.bench.metrics import GAPS, PHASES, seconds_until
from cvxrobust.core.certificate import Certificate
from cvxrobust.core.errors import InputError

CONTRADICTED = "contradicted"
"""In place of a verdict, of rows whose certified bounds cannot be true together with another row's."""

STANDINGS = (*(str(verdict) for verdict in Verdict), CONTRADICTED)
"""What a row counts as here, best first."""

TIMES_TO_GAP = tuple(f"seconds_to_{gap}" for gap in GAPS)

_TEXT = (
    "run", "key", "problem", "instance", "family", "data", "parameters", "backend", "solver", "method", "device",
    "dtype", "options", "polish", "only_families", "pools", "verdict", "failure", "reason", "termination", "selection",
    "message", "host", "versions", "started",
)  # fmt: skip
_NUMBERS = (
    "tolerance", "time_limit", "upper", "lower", "absolute_gap", "relative_gap", "seconds", "wall", "peak_memory",
    "dimacs_error", "coordinator_seconds",
)  # fmt: skip
_COUNTS = ("n", "d", "data_seed", "threads", "seed", "repeat", "iterations", "neurons")

SCHEMA: dict[str, Any] = {
    **dict.fromkeys(_TEXT, pl.String),
    **dict.fromkeys((*_NUMBERS, *TIMES_TO_GAP, *PHASES), pl.Float64),
    **dict.fromkeys(_COUNTS, pl.Int64),
}
"""Columns that every table has. Metrics of others follow them as ``metric.NAME``."""

_KNOWN_METRICS = {
    "relative-gap", "absolute-gap", "upper", "lower", "wall", "peak-memory", "iterations", "neurons", "dimacs-error",
    *PHASES, *(f"seconds-to-{gap}" for gap in GAPS),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The rows of one folder.

    Args:
        name: What reports call it.
        rows: Its rows.
        manifest: What is known about it as a whole; entries may be missing.
    """

    name: str
    rows: Sequence[Row]
    manifest: Mapping[str, Any] = field(default_factory=dict)


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """The runs in some folders, each under the name of its folder (more of its path where two are called the same).

    Raises:
        InputError: A folder holds no run, a damaged one, or one without rows; or one is named twice.
    """
    paths = [Path(folder).resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise InputError("a folder is named twice; name each run once.")
    runs = []
    for path, name in zip(paths, _short_names(paths), strict=True):
        store = Store(path)
        manifest = store.manifest()
        if not (rows := store.rows()):
            raise InputError(f"{path} holds a run without rows; nothing was finished there.")
        runs.append(Run(name, rows, manifest))
    return runs


def table_of(runs: Sequence[Run]) -> pl.DataFrame:
    """One line per case, in the columns of `SCHEMA`, infinities and missing values as null.

    Of a case that is in several runs under one key, the last run's row counts. Where different cases would come under
    one competitor's name, the name says what differs: the threads, or the run.

    Args:
        runs: At least one.
    """
    last = {row.key: (run.name, row) for run in runs for row in run.rows}
    chosen = list(last.values())
    titles = _titles(chosen)
    records = [_record(name, row, title) for (name, row), title in zip(chosen, titles, strict=True)]
    extra = sorted({name for record in records for name in record if name not in SCHEMA})
    return pl.DataFrame(records, schema={**SCHEMA, **dict.fromkeys(extra, pl.Float64)})


def traces_of(runs: Sequence[Run]) -> dict[str, tuple[tuple[float, float, float], ...]]:
    """The traces, (seconds, upper, lower), by the rows' keys."""
    return {row.key: row.trace for run in runs for row in run.rows}


def instance_of(case: Mapping[str, Any]) -> str:
    """What identifies the problem of a case: family, data and parameters, but no names given to it."""
    problem = {name: value for name, value in case["problem"].items() if name != "label"}
    return json.dumps(problem, sort_keys=True, default=str)


def finite(value: object) -> float | None:
    """A finite number, or None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _record(run: str, row: Row, title: str) -> dict[str, Any]:
    case, metrics = row.case, row.metrics
    problem, backend, data = case["problem"], case["backend"], case["problem"]["data"]
    upper, lower = finite(row.upper), finite(row.lower)
    return {
        "run": run, "key": row.key, "problem": row.problem, "instance": instance_of(case),
        "family": problem["family"], "data": data["name"], "n": data["n"], "d": data["d"], "data_seed": data["seed"],
        "parameters": json.dumps(problem["parameters"], default=str) if problem["parameters"] else "",
        "backend": title, "solver": backend["name"], "method": backend["method"], "device": backend["device"],
        "dtype": backend["dtype"], "polish": str(backend["polish"] or ""),
        "options": json.dumps(backend["options"], default=str) if backend["options"] else "",
        "tolerance": case["tolerance"], "time_limit": case["time_limit"], "threads": case["threads"],
        "seed": case["seed"], "repeat": case["repeat"],
        "verdict": str(row.verdict), "failure": str(row.failure), "reason": row.reason, "termination": row.termination,
        "upper": upper, "lower": lower,
        "absolute_gap": _absolute_gap(upper, lower),
        "relative_gap": finite(row.relative_gap),
        "seconds": _seconds(row),
        **{f"seconds_to_{gap}": seconds_until(row.trace, float(gap)) for gap in GAPS},
        **{name: finite(metrics.get(name)) for name in (*PHASES, "wall")},
        "peak_memory": finite(metrics.get("peak-memory")),
        "dimacs_error": finite(metrics.get("dimacs-error")),
        "coordinator_seconds": finite(row.seconds),
        "iterations": _whole(metrics.get("iterations")), "neurons": _whole(metrics.get("neurons")),
        "selection": row.selection, "message": row.message, "started": row.started,
        "only_families": ", ".join(backend["families"]), "pools": _pools(row.worker.get("pools")),
        "host": str(row.worker.get("host", "")),
        "versions": " ".join(f"{name} {version}" for name, version in row.versions.items()),
        **{f"metric.{name}": finite(value) for name, value in metrics.items() if name not in _KNOWN_METRICS},
    }  # fmt: skip


def _seconds(row: Row) -> float | None:
    """Seconds to the gap asked for, from the trace, assembling included; the whole call where the trace is silent."""
    if row.verdict is not Verdict.CERTIFIED:
        return None
    found = (seconds_until(row.trace, row.case["tolerance"]), finite(row.metrics.get("wall")), finite(row.seconds))
    return next((seconds for seconds in found if seconds is not None), None)


def _absolute_gap(upper: float | None, lower: float | None) -> float | None:
    return None if upper is None or lower is None else Certificate(upper, lower).absolute_gap


def _pools(pools: object) -> str:
    """The largest number of threads of each numerical library, as the worker saw it, whatever its version."""
    if not isinstance(pools, Mapping):
        return ""
    most: dict[str, int] = {}
    for name, count in pools.items():
        library = str(name).split()[0]
        most[library] = max(most.get(library, 0), int(count))
    return ", ".join(f"{library} {count}" for library, count in sorted(most.items()))


def _whole(value: float | None) -> int | None:
    return None if finite(value) is None or value is None else int(value)


def _titles(chosen: Sequence[tuple[str, Row]]) -> list[str]:
    """Competitors' names, with what differs where one name would stand for several."""
    threads = {row.case["threads"] for _, row in chosen}
    several = len(threads) > 1
    titles = [row.backend + (_threads(row) if several else "") for _, row in chosen]
    same = Counter(
        (title, instance_of(row.case), row.case["tolerance"], row.case["repeat"])
        for title, (_, row) in zip(titles, chosen, strict=True)
    )
    twice = {title for (title, *_), count in same.items() if count > 1}
    return [f"{title} @ {run}" if title in twice else title for title, (run, _) in zip(titles, chosen, strict=True)]


def _threads(row: Row) -> str:
    count = row.case["threads"]
    return f", {count} thread{'s' * (count != 1)}"


def _short_names(paths: Sequence[Path]) -> list[str]:
    """The last part of each path, and as many before it as tell it from the others."""
    names: dict[Path, str] = {path: path.name for path in paths}
    for depth in range(2, max(len(path.parts) for path in paths) + 1 if paths else 0):
        shared = defaultdict(list)
        for path, name in names.items():
            shared[name].append(path)
        for path in (path for group in shared.values() if len(group) > 1 for path in group):
            names[path] = "/".join(path.parts[-depth:])
    return [names[path] for path in paths]
