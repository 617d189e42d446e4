"""Does the default finish? Two maps of the same random problems, before and after a change, side by side.

    python -m cvxrobust.bench.studies.finish_table BEFORE.jsonl AFTER.jsonl

A map has one row for every seed: the case drawn (``seed``, ``family``, ``n``, ``d``, ``data``, ``loss``, ``beta``,
``radius``, ``norm``, ``formulation``) and what `solve` made of it (``quality``, ``gap``, ``wall``, ``cpu``,
``backend``). Prints a table in Markdown of the cases in which the quality or the processor time (by half and a second)
differs, then counts of all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cvxrobust.bench.studies.common import Row, markdown, read_rows, study_parser

LEVELS = (1e-6, 1e-4, 1e-2)


def read(path: Path) -> dict[int, Row]:
    """Rows by seed; the last counts where one was run again."""
    return {int(row["seed"]): row for row in read_rows(path)}


def case(row: Row) -> str:
    """What was drawn, in words."""
    parts = [f"{row['n']} x {row['d']} {row['data']}", row["family"], row["loss"], f"beta {row['beta']:g}"]
    parts += [f"r {row['radius']:g}"] * bool(row["radius"])
    return ", ".join(parts + [str(row[name]) for name in ("norm", "formulation") if row[name]])


def outcome(row: Row | None) -> str:
    """How it went: seconds, and the gap where it was not certified."""
    if row is None:
        return "-"
    if "error" in row:
        return str(row["error"])[:60]
    gap = "" if row["quality"] == "certified" else f"gap {row['gap']:.1e}, "
    return f"{gap}{row['wall']:.1f} s ({row['backend']})"


def differs(one: Row | None, other: Row) -> bool:
    """Whether a case went another way."""
    if one is None:
        return other.get("quality") != "certified"
    if one.get("quality") != other.get("quality") or other.get("quality") != "certified":
        return True
    return bool(abs(one["cpu"] - other["cpu"]) > 1.0 + 0.5 * min(one["cpu"], other["cpu"]))


def counted(rows: Sequence[Row]) -> str:
    """How many got how far, and what that took."""
    # Some ended within rounding of the tolerance and are certified all the same.
    reached = [sum(row.get("gap", 1.0) <= level or row["quality"] == "certified" for row in rows) for level in LEVELS]
    wall, cpu = (sum(row.get(name, 0.0) for row in rows) for name in ("wall", "cpu"))
    levels = ", ".join(f"{count} at {level:g}" for count, level in zip(reached, LEVELS, strict=True))
    return f"{len(rows)} cases: {levels}; {wall:.0f} s ({cpu:.0f} of the processor)"


def show(before: Mapping[int, Row], after: Mapping[int, Row]) -> None:
    """Print the table and the counts."""
    rows = [
        [str(seed), case(row), outcome(before.get(seed)), outcome(row)]
        for seed, row in sorted(after.items())
        if differs(before.get(seed), row)
    ]
    print(markdown(["seed", "case", "before", "after"], rows))
    both = sorted(before.keys() & after.keys())
    print(f"\nBefore: {counted([before[seed] for seed in both])}.")
    print(f"After, the same: {counted([after[seed] for seed in both])}.")
    print(f"After, all: {counted(list(after.values()))}.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare two maps."""
    parser = study_parser(__doc__)
    parser.add_argument("before", type=Path, help="rows of the map before")
    parser.add_argument("after", type=Path, help="rows of the map after")
    asked = parser.parse_args(arguments)
    show(read(asked.before), read(asked.after))


if __name__ == "__main__":
    main()
