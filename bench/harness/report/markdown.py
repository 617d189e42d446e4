"""The report as Markdown, with PNG pictures beside it."""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cvxrobust.bench.harness.report.figures import figures
from cvxrobust.bench.harness.report.page import TEMPLATES
from cvxrobust.bench.harness.report.png import gap_pages, write_pictures
from cvxrobust.bench.harness.report.report import FILTERS, Report, plus_minus
from cvxrobust.core.files import write_whole
from cvxrobust.core.secrets import presentable

LONGEST = 200
"""Characters of a reason that are shown; solvers may say whole pages."""


class Verbatim(str):
    """Text that is Markdown already."""


def write_markdown(report: Report, path: Path) -> list[Path]:
    """Write the report as Markdown, and its pictures into the same folder.

    Args:
        report: What it says.
        path: The Markdown file; pictures are named after it.

    Returns:
        Every file written.
    """
    drawn = figures(report.analysis)
    pictures = write_pictures(drawn, path.parent, path.stem)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=False,  # finalize escapes, for Markdown
        finalize=escape_markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, "short": shorten}
    environment.globals["plus_minus"] = plus_minus
    text = environment.get_template("report.md.jinja").render(
        **report.context,
        figures=drawn,
        pictures={name: Verbatim(file.name) for name, file in pictures.items()},
        gaps_shown=sum(map(len, gap_pages(drawn.gaps))),
    )
    write_whole(path, re.sub(r"\n{3,}", "\n\n", text).strip() + "\n")
    return [path, *pictures.values()]


def escape_markdown(value: Any) -> Any:
    """Text that means itself in Markdown, in a line of a table, too."""
    if isinstance(value, Verbatim) or not isinstance(value, str):
        return value
    line = re.sub(r"\s+", " ", presentable(value)).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]|~#$])", r"\\\1", line)


def shorten(text: str) -> str:
    """The beginning of a long text, without the folders of files in it: reports are passed on."""
    line = re.sub(r"(?<![\w/.:])/(?:[\w.+-]+/)+([\w.+-]+)", r"…/\1", " ".join(text.split()))
    return line if len(line) <= LONGEST else f"{line[:LONGEST]} …"
