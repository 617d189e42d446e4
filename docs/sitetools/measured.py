"""Tables and a picture that are made from the rows that studies have stored, whenever the site is built."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from statistics import geometric_mean, mean, median
from typing import Any

from cvxrobust.bench.reproduce.analysis import TableFindings
from cvxrobust.bench.reproduce.study import read_study
from cvxrobust.bench.studies.common import Row, markdown, read_rows
from sitetools.papers import ROOT

STORED = ROOT / "bench" / "studies" / "reports"

UNBROKEN = "\N{NON-BREAKING HYPHEN}"

KINDS = {
    "standard": "polynomial",
    "adv": "polynomial, attacked",
    "relu": "ReLU",
    "advrelu": "ReLU, attacked",
}
"""Families of the map of random problems, in words."""


@cache
def rows_of(name: str) -> tuple[Row, ...]:
    """The rows of a study."""
    return tuple(read_rows(STORED / name))


def by(rows: Sequence[Row], *fields: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows by some of their fields, in the order in which these come."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[field] for field in fields), []).append(row)
    return found


def random_problems() -> str:
    """What becomes of random problems with nothing named, by family."""

    def cells(family: str, own: Sequence[Row]) -> list[str]:
        reached = [str(sum(row["gap"] <= gap for row in own)) for gap in (1e-6, 1e-4, 1e-2)]
        seconds = [row["wall"] for row in own if row["quality"] == "certified"]
        return [KINDS[family], str(len(own)), *reached, f"{median(seconds):.1f}", f"{max(seconds):.0f}"]

    grouped = by(rows_of("front_door/finish_after.jsonl"), "family")
    lines = [cells(family, grouped[family,]) for family in KINDS]
    columns = ["network", "problems", "to 1e-6", "to 1e-4", "to 1e-2", "median seconds", "longest"]
    return f"{markdown(columns, lines)}\n"


def seconds_of_backends() -> str:
    """Seconds of each backend to a certified 1e-6, by size and family; the fastest in bold."""
    rows, names = rows_of("front_door/auto_regret.jsonl"), ("auto", "ipm", "torch", "clarabel", "scs")

    def lines() -> Iterator[list[str]]:
        for (size, family), own in by(rows, "size", "family").items():
            known = {row["backend"]: row for row in own}
            best = min((row["seconds"] for row in own if row["seconds"] is not None), default=None)
            yield [size.replace("x", " x "), family, *(cell(known[name], best) for name in names)]

    def cell(row: Row, best: float | None) -> str:
        if row["seconds"] is None:
            return "not tried" if row["gap"] is None else f"(gap {row['gap']:.0e})".replace("-", UNBROKEN)
        text = f"{row['seconds']:.2f}"
        return f"**{text}**" if row["seconds"] == best else text

    return f"{markdown(['samples x inputs', 'network', *(f'`{name}`' for name in names)], list(lines()))}\n"


def price_of_auto() -> str:
    """How much longer the default takes than the best backend, in one sentence."""
    ratios = []
    for own in by(rows_of("front_door/auto_regret.jsonl"), "size", "family").values():
        seconds = {row["backend"]: row["seconds"] for row in own}
        named = [one for name, one in seconds.items() if name != "auto" and one is not None]
        if named:
            ratios.append(max(1.0, (seconds["auto"] or own[0]["limit"]) / min(named)))
    return (
        f"Over {len(ratios)} cases that some backend finished, `auto` takes {geometric_mean(ratios):.2f} times as long "
        f"as the best of them (geometric mean), {max(ratios):.2f} times at worst.\n"
    )


def gate_counts() -> str:
    """Error on rows held out and seconds by the number of gates, means over tables, splits and betas."""
    rows = [row for row in rows_of("front_door/gate_counts.jsonl") if row["gap"] <= 1e-2]
    counts = sorted({row["gates"] for row in rows})
    lines = []
    for (data,), own in by(rows, "data").items():
        cases = by(own, "n", "d", "beta", "seed").values()
        whole = [case for case in cases if {row["gates"] for row in case} == set(counts)]
        if whole:
            means = {
                (field, count): mean(row[field] for case in whole for row in case if row["gates"] == count)
                for field in ("test_error", "seconds")
                for count in counts
            }
            errors = [f"{100.0 * means['test_error', count]:.1f}" for count in counts]
            lines.append([data, str(len(whole)), *errors, *(f"{means['seconds', count]:.1f}" for count in counts)])
    columns = [*(f"error (%), {count}" for count in counts), *(f"seconds, {count}" for count in counts)]
    return f"{markdown(['data', 'cases', *columns], lines)}\n"


@cache
def studied_tables() -> list[TableFindings]:
    """The study of robust accuracy on tables."""
    return [found for found in read_study(STORED / "tables")[0] if found.splits]


def certified_by_problem(attacks: str) -> str:
    """Certified accuracy of each method on rows held out, means over tables, by radius."""
    pairs = [(found, question) for found in studied_tables() for question in found.table.questions]
    asked = [(found, question) for found, question in pairs if question.name == attacks]
    radii = asked[0][1].radii
    names = [method.name for method in asked[0][0].methods if method.certified]
    kept = [name for name in names if all(name in found.splits[0] for found, _ in asked)]
    ours = {method.name: method.ours for method in asked[0][0].methods}
    means = {
        name: [mean(found.certified(name, question, k).value for found, question in asked) for k in range(len(radii))]
        for name in kept
    }
    best = [max(means[name][k] for name in kept) for k in range(len(radii))]
    lines = []
    for name in kept:
        marks = ["**" if value == top else "" for value, top in zip(means[name], best, strict=True)]
        cells = [f"{mark}{100.0 * value:.1f}{mark}" for mark, value in zip(marks, means[name], strict=True)]
        lines.append([name, "ours" if ours[name] else "baseline", *cells])
    return f"{markdown(['method', '', *(f'radius {radius:g}' for radius in radii)], lines)}\n"


def against_l2() -> str:
    """The same under l2 attacks."""
    return certified_by_problem("l2")


def against_linf() -> str:
    """The same under linf attacks."""
    return certified_by_problem("linf")


def boxes() -> str:
    """What is proved of polynomial networks in the norm inf, beside what attacks leave and what a ball would prove."""

    def cell(row: Row, k: int) -> str:
        low, high, ball = (f"{100.0 * row[field][k]:.1f}" for field in ("certified", "attacked", "ball"))
        return f"{low if low == high else f'{low} to {high}'} at {row['radii'][k]:g} (ball: {ball})"

    lines = []
    for row in rows_of("boxes.jsonl"):
        trained = [row["set"], row["kind"], f"{row['trained_radius']:.2g}", f"{100.0 * row['clean']:.1f}"]
        lines.append(trained + [cell(row, k) for k in range(len(row["radii"]))])
    columns = ["data", "trained against", "at radius", "clean", "small radius", "larger radius", "largest radius"]
    return f"{markdown(columns, lines)}\n"


def finished(dark: bool) -> str:
    """A picture of random problems: certified gap against seconds, by family."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    ink, colours = ("#e8e8ea", ("#8ab4f8", "#f9ab6b", "#81c995", "#d7aefb")) if dark else (
        "#26262b", ("#1a5fb4", "#c64600", "#26803a", "#813d9c")
    )  # fmt: skip
    rows = rows_of("front_door/finish_after.jsonl")
    words: Any = {"svg.hashsalt": "cvxrobust", "font.size": 11, "text.color": ink, "axes.edgecolor": ink}
    words |= {"axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink, "svg.fonttype": "path"}
    with rc_context(words):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for (family, name), colour, mark in zip(KINDS.items(), colours, "osD^", strict=True):
            own = [row for row in rows if row["family"] == family]
            axes.scatter(
                [row["wall"] for row in own], [max(row["gap"], 1e-10) for row in own],
                s=30, c=colour, marker=mark, label=name, alpha=0.9, linewidths=0.0,
            )  # fmt: skip
        axes.axhline(1e-6, color=ink, linewidth=0.8, linestyle=":")
        axes.set(xscale="log", yscale="log", xlabel="seconds of one call of solve", ylabel="certified relative gap")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(frameon=False, loc="outside upper center", ncols=len(KINDS), handletextpad=0.2, columnspacing=1.2)
        picture = io.StringIO()
        figure.savefig(picture, format="svg", transparent=True, metadata={"Date": None})
    return picture.getvalue()


MEASURED: Mapping[str, Callable[[], str]] = {
    "random-problems": random_problems,
    "seconds-of-backends": seconds_of_backends,
    "price-of-auto": price_of_auto,
    "gate-counts": gate_counts,
    "certified-under-l2": against_l2,
    "certified-under-linf": against_linf,
    "boxes": boxes,
}
PICTURES: Mapping[str, Callable[[bool], str]] = {"finished": finished}
"""By the name that a page asks for; each for a light or a dark page."""
