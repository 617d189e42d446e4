"""Studies whose rows are kept in a file: measured one after another, or shown again."""

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def measure_or_show(
    parser: argparse.ArgumentParser,
    arguments: Sequence[str] | None,
    measure: Callable[[argparse.Namespace], Iterable[Row]],
    show: Callable[[Sequence[Row], argparse.Namespace], object],
) -> None:
    """Append rows to a file as soon as they are known, or read them; then show all of them.

    Args:
        parser: Of the study's own options; ``--out`` and ``--show`` are added.
        arguments: Those of the command line if None.
        measure: Yields the rows.
        show: Prints them.
    """
    parser.add_argument("--out", type=Path, help="file that rows are appended to")
    parser.add_argument("--show", type=Path, help="file of rows to show")
    asked = parser.parse_args(arguments)
    path = asked.show or asked.out
    if path is None or (asked.out is not None and asked.show is not None):
        parser.error("give either --out to measure or --show to look at what was measured")
    if asked.out is not None:
        with asked.out.open("a", encoding="utf-8") as file:
            for row in measure(asked):
                file.write(json.dumps(row) + "\n")
                file.flush()
    show([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()], asked)
