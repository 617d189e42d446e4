"""``cvxrobust bench report | compare | export``: what runs found, shown, compared and handed on."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cvxrobust.bench.cli import arguments
from cvxrobust.bench.display import (
    EXIT_INPUT,
    EXIT_REGRESSION,
    EXIT_UNUSABLE,
    clean_errors,
    console,
    fail,
    make_table,
)
from cvxrobust.bench.display import print_json as print_as_json

if TYPE_CHECKING:
    import polars as pl

    from cvxrobust.bench.harness.analysis.analysis import Analysis
    from cvxrobust.bench.harness.analysis.compare import Comparison

Folders = Annotated[list[Path], typer.Argument(help="Folders of runs.", metavar="DIR...")]
Shift = Annotated[float, typer.Option(help="Seconds by which geometric means are shifted.", min=0.0)]


def report(
    folders: Folders,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html, report.md and its pictures. (default: the first run's folder)"),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write this HTML file, and Markdown only with --markdown.")] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write this Markdown file with pictures beside it, and HTML only with --html.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading. (default: from the suites' names)")] = "",
    shift: Shift = 1.0,
    quiet: arguments.Quiet = False,
) -> None:
    """Show what runs found: one HTML file that works offline, and Markdown with pictures.

    Exit code 1 if nothing was certified; 3 if certificates contradict each other. The report is written either way.
    """
    with clean_errors():
        from cvxrobust.bench.harness.analysis.analysis import analyse
        from cvxrobust.bench.harness.analysis.tables import read_runs
        from cvxrobust.bench.harness.report.markdown import write_markdown
        from cvxrobust.bench.harness.report.page import write_html
        from cvxrobust.bench.harness.report.report import make_report

        runs = read_runs(folders)
        page, text = _targets(folders[0], out, html, markdown)
        analysis = analyse(runs, shift)
        made = make_report(analysis, title)
        written = []
        if page is not None:
            write_html(made, page)
            written.append(page)
        if text is not None:
            written += write_markdown(made, text)
        if not quiet:
            _print_summary(analysis)
        for path in written:
            print(path)
        _exit_of(analysis)


def compare(
    first: Annotated[Path, typer.Argument(help="Folder of the run to compare with.", metavar="A")],
    second: Annotated[Path, typer.Argument(help="Folder of the run in question.", metavar="B")],
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            "--fail",
            help="Exit with code 3 if: a backend's mean seconds grew by more (sgm:10%), its peak memory did "
            "(memory:20%), or a case is not certified any more (certified). Repeatable.",
            metavar="RULE",
        ),
    ] = None,
    shift: Shift = 1.0,
    as_json: arguments.Json = False,
) -> None:
    """Compare two runs, backend by backend, over the cases that both have.

    Exit code 3 on what --fail names, and whenever certificates of the two contradict each other.
    """
    with clean_errors(as_json):
        from cvxrobust.bench.harness.analysis.compare import compare as compare_runs
        from cvxrobust.bench.harness.analysis.compare import parse_rule
        from cvxrobust.bench.harness.analysis.tables import read_runs

        rules = [parse_rule(text) for text in fail_on or []]
        before, after = read_runs([first, second])
        comparison = compare_runs(before, after, shift)
        regressions = comparison.regressions(rules)
        if as_json:
            broken = [dict(zip(("backend", "rule", "what"), line, strict=True)) for line in regressions]
            print_as_json(comparison.to_dict() | {"regressions": broken})
        else:
            _print_comparison(comparison)
            if regressions:
                console().print(make_table("regressions", ("backend", "rule", "what"), regressions, left=3))
        if regressions:
            raise typer.Exit(EXIT_REGRESSION)


def export(
    folders: Folders,
    parquet: Annotated[Path | None, typer.Option(help="Parquet file to write.")] = None,
    csv: Annotated[Path | None, typer.Option(help="CSV file to write.")] = None,
) -> None:
    """Write one flat row per case, for other tools, with the best bounds known for its problem."""
    with clean_errors():
        from cvxrobust.bench.harness.analysis.bounds import with_best_bounds
        from cvxrobust.bench.harness.analysis.tables import read_runs, table_of
        from cvxrobust.bench.workflows.output_files import check_writable
        from cvxrobust.core.files import whole_file

        if parquet is None and csv is None:
            raise fail("say what to write: --parquet FILE, --csv FILE or both.", EXIT_INPUT)
        for path, option in ((parquet, "--parquet"), (csv, "--csv")):
            if path is not None:
                check_writable(path, option)
        table = with_best_bounds(table_of(read_runs(folders))).drop("lower_crosses", "upper_crosses")
        if parquet is not None:
            with whole_file(parquet) as file:
                table.write_parquet(file)
            print(parquet)
        if csv is not None:
            with whole_file(csv) as file:
                _runs_nothing(table).write_csv(file)
            print(csv)


def _targets(
    first: Path, out: Path | None, html: Path | None, markdown: Path | None
) -> tuple[Path | None, Path | None]:
    """Where the page and the Markdown go.

    Raises:
        InputError: Nothing can be written there.
        MissingExtraError: Nothing here draws what Markdown shows.
    """
    from cvxrobust.bench.workflows.output_files import check_writable, make_folder
    from cvxrobust.core.errors import InputError
    from cvxrobust.core.extras import require

    if html is None and markdown is None:
        folder = first if out is None else out
        make_folder(folder, "--out")
        html, markdown = folder / "report.html", folder / "report.md"
    elif out is not None:
        raise InputError("give --out, or --html and --markdown, not both.")
    if markdown is not None:
        require("matplotlib", "plot", "pictures beside Markdown")
    for path, option in ((html, "--html"), (markdown, "--markdown")):
        if path is not None:
            check_writable(path, option)
    return html, markdown


def _print_summary(analysis: "Analysis") -> None:
    from cvxrobust.bench.harness.report.report import number

    head = ("backend", "certified", "cases", "mean s", "mean s (3×)", "why not certified")
    for (family, tolerance), lines in analysis.summary.group_by("family", "tolerance", maintain_order=True):
        cells = [
            (one["backend"], one["certified"], one["rows"], number(one["sgm_1"]), number(one["sgm_3"]), one["reasons"])
            for one in lines.to_dicts()
        ]
        console().print(make_table(f"{family}, gap {tolerance:g}", head, cells))


def _exit_of(analysis: "Analysis") -> None:
    if analysis.contradictions:
        problems = ", ".join(one.problem for one in analysis.contradictions)
        raise fail(f"certificates contradict each other on {problems}; at least one is wrong.", EXIT_REGRESSION)
    if not analysis.certified:
        raise fail("nothing was certified.", EXIT_UNUSABLE)


def _print_comparison(comparison: "Comparison") -> None:
    from cvxrobust.bench.harness.report.report import memory, number

    first, second = comparison.names
    cells = [
        (
            change.backend, change.cases, *change.certified, *map(number, change.means), f"{change.ratio:.3f}",
            *map(memory, change.memory or (None, None)), number(change.memory_ratio),
        )
        for change in comparison.changes
    ]  # fmt: skip
    head = ("backend", "cases", "certified A", "B", "mean s A", "B", "ratio", "memory A", "B", "ratio")
    title = f"A: {first}, B: {second}; cases of both; means shifted by {comparison.shift:g} s"
    console().print(make_table(title, head, cells))
    failing = [(change.backend, *one) for change in comparison.changes for one in change.failing]
    if failing:
        title = "not certified any more"
        console().print(make_table(title, ("backend", "case", "why"), failing, left=3))
    mended = [(change.backend, one) for change in comparison.changes for one in change.mended]
    if mended:
        console().print(make_table("certified now", ("backend", "case"), mended, left=2))
    for name, cases in zip(comparison.names, comparison.only, strict=True):
        if cases:
            print(f"only in {name}: {len(cases)} cases")
            print(*(f"  {case}" for case in cases), sep="\n")
    for remark in comparison.remarks:
        print(remark)


def _runs_nothing(table: "pl.DataFrame") -> "pl.DataFrame":
    """The table with texts, and names of columns, that spreadsheets take for nothing but texts."""
    import polars as pl

    from cvxrobust.bench.display import spreadsheet_cell

    texts = pl.col(pl.String).map_elements(spreadsheet_cell, return_dtype=pl.String)
    return table.with_columns(texts).rename(spreadsheet_cell)
