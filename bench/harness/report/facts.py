"""What ran where: what manifests and rows say about machines, versions, threads and commits."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from cvxrobust.bench.harness.analysis.analysis import Analysis

LONGEST = 300
"""Characters of a fact that are shown."""

PRIVATE = ("path", "folder", "directory", "executable", "argv", "command", "cwd", "user", "environ")
"""Parts of names of entries that say where files lie, or who runs things: reports are passed on."""

INNER = ("problems", "backends", "cases", "rows", "keys")
"""Entries that the report shows elsewhere, and better."""


@dataclass(frozen=True)
class Facts:
    """What is known about something.

    Args:
        title: What it is about.
        lines: Names and values.
    """

    title: str
    lines: Sequence[tuple[str, str]]


def facts_of(analysis: Analysis) -> list[Facts]:
    """Facts about every run, then about every backend."""
    found = []
    for run in analysis.runs:
        rows = analysis.table.filter(pl.col("run") == run.name)
        lines = [*manifest_facts(run.manifest), *_row_facts(rows)]
        found.append(Facts(f"run {run.name}", lines))
    return [*found, Facts("backends", [*_backend_facts(analysis.table)])]


def manifest_facts(manifest: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every entry of a manifest, with nested ones spelt out; where files lie is left out.

    Nothing is taken for granted: a manifest of another version shows what it has.
    """
    for name, value in manifest.items():
        label = f"{prefix}{str(name).replace('_', ' ')}"
        if name in INNER or any(word in str(name).lower() for word in PRIVATE) or value in (None, "", [], {}):
            continue
        if isinstance(value, Mapping):
            yield from manifest_facts(value, f"{label}: ")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if value and all(isinstance(item, Mapping) for item in value):
                for number, item in enumerate(value, 1):
                    yield from manifest_facts(item, f"{label} {number}: ")
            else:
                yield label, _short(", ".join(map(_shown, value)))
        elif not (isinstance(value, str) and Path(value).is_absolute()):
            whole_bytes = "memory" in str(name) and isinstance(value, int) and value > 2**20
            yield label, f"{value / 2**30:.1f} GiB" if whole_bytes else _short(_shown(value))


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    large = isinstance(value, int) and abs(value) >= 10**7
    return f"{value:,}" if large else str(value)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _row_facts(rows: pl.DataFrame) -> Iterator[tuple[str, str]]:
    about = (
        ("hosts", "host"),
        ("threads of every solver", "threads"),
        ("threads seen", "pools"),
        ("repeats", "repeat"),
    )
    for label, column in about:
        words = [str(value) for value in rows[column].unique().sort().to_list() if value not in (None, "")]
        if column == "repeat":
            words = [str(len(words))]
        if column == "pools":
            words = sorted({part for word in words for part in word.split(", ")})
        if words:
            yield label, ", ".join(words)
    limits = sorted(set(rows["time_limit"]))
    yield "time limit", ", ".join(f"{limit:g} s" for limit in limits)
    yield "gaps asked for", ", ".join(f"{gap:g}" for gap in sorted(set(rows["tolerance"]), reverse=True))
    if started := sorted(set(map(str, rows["started"])) - {""}):
        yield "first and last case begun", f"{started[0]} to {started[-1]}"


def _backend_facts(table: pl.DataFrame) -> Iterator[tuple[str, str]]:
    """Versions and settings that every backend ran with."""
    for name in table["backend"].unique(maintain_order=True).to_list():
        rows = table.filter(pl.col("backend") == name)
        first = rows.row(0, named=True)
        words = [
            f"{what} {first[what]}"
            for what in ("solver", "method", "device", "dtype", "polish", "options")
            if first[what]
        ]
        versions = sorted(set(map(str, rows["versions"])) - {""})
        yield str(rows["backend"][0]), _short("; ".join([", ".join(words), *versions]))
