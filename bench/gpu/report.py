"""The report of a run, made from its rows alone: ``python -m cvxrobust.bench.gpu.report FOLDER``."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from cvxrobust.bench.gpu.context import TableRow
from cvxrobust.bench.gpu.parts import NAMES, part
from cvxrobust.bench.studies.common import markdown, read_rows
from cvxrobust.core.files import write_whole


def write_report(folder: Path) -> None:
    """``report.md`` from ``rows.jsonl`` and ``manifest.json``."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    write_whole(folder / "report.md", report(manifest, read_rows(folder / "rows.jsonl")))


def report(manifest: TableRow, rows: list[TableRow]) -> str:
    """The text."""
    what = "A rehearsal on the CPU, at small sizes: figures mean nothing" if manifest["rehearsal"] else "A run"
    command = f"make gpu{'-rehearse' if manifest['rehearsal'] else ''}"
    versions = ", ".join(f"{name} {number}" for name, number in manifest["versions"].items() if number)
    lines = [
        f"# {'Rehearsal' if manifest['rehearsal'] else 'On a GPU'}: {manifest['name']}",
        "",
        f"{what}, made by `{command}` on {manifest['date']}; every table is made from `rows.jsonl` beside this file.",
        "",
        f"{manifest['name']}, driver {manifest['driver'] or 'none'}, CUDA {manifest['cuda'] or 'none'}; "
        f"{manifest['processor']}, {manifest['cores']} cores, {manifest['threads']} threads; "
        f"Python {manifest['python']}, {versions}; commit {manifest['commit'] or 'unknown'}, "
        f"sources {manifest['sources']}.",
        "",
        "## Parts",
        "",
        _table(row for row in rows if row.get("table") == "parts"),
    ]
    for name in NAMES:
        mine = [row for row in rows if row["part"] == name and row.get("table") != "parts"]
        if not mine:
            continue
        lines += ["", f"## {part(name).TITLE}", "", part(name).NOTE]
        # One table for each kind of row, in the order in which they came.
        for kind in dict.fromkeys(row.get("table") for row in mine):
            lines += ["", _table(row for row in mine if row.get("table") == kind)]
    return "\n".join(lines) + "\n"


def _table(rows: Iterable[TableRow]) -> str:
    rows = list(rows)
    shown = () if any(row.get("table") == "parts" for row in rows) else ("part",)
    columns = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in ("table", *shown)]
    return markdown(columns, ([_cell(row.get(name)) for name in columns] for row in rows))


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool() | int():
            return str(value)
        case float():
            return f"{value:.1e}" if 0.0 < abs(value) < 1e-3 else f"{value:.5g}"
        case _:
            return str(value).replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    write_report(Path(sys.argv[1]))
