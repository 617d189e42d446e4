"""Where links lead: papers link as the repository has it, and the site knows on which of its pages that is."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sitetools.papers import DIRECTIVE, ROOT, Include

REPORTS = "bench/studies/reports"
DOCS = "docs"

SHOWN = (".png", ".svg", ".ipynb")
"""Files of `docs` that are no pages: they lie on the site where they lie there."""


@dataclass
class Places:
    """Which page of the site shows what of the repository.

    Args:
        repository: The address of the repository, for what the site does not show.
        whole: Pages that show a whole file, by its path: those of `docs`, and the reports.
        parts: Pages that show a section, by path and anchor, and the anchor that it has there ("" for the page).
        titles: What pages are called.
    """

    repository: str
    whole: dict[str, str] = field(default_factory=dict)
    parts: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    titles: dict[str, str] = field(default_factory=dict)

    def note(self, page: str, text: str) -> None:
        """Remember what a page of `docs` holds and includes; who comes first shows it."""
        self.whole[f"{DOCS}/{page}"] = page
        self.titles[page] = title_of(text)
        for kind, asked in DIRECTIVE.findall(text):
            if kind == "include":
                included = Include.of(asked)
                for number, anchor in enumerate(included.anchors):
                    there = "" if number == 0 and not included.titled else anchor
                    self.parts.setdefault((included.path, anchor), (page, there))
                if "#" not in asked:
                    self.whole.setdefault(included.path, page)
                self.parts.setdefault((included.path, ""), (page, ""))

    def target(self, origin: str, link: str) -> tuple[str, str]:
        """The page and the anchor that a link of a file leads to; ("", address) outside of the site."""
        path, _, anchor = link.partition("#")
        found = os.path.normpath(PurePosixPath(origin).parent / path) if path else origin
        if anchor and (place := self.parts.get((found, anchor))):
            return place
        if found in self.whole:
            return self.whole[found], anchor
        if not anchor and (place := self.parts.get((found, ""))):
            return place
        if found.startswith(f"{DOCS}/") and found.endswith(SHOWN):
            return found.removeprefix(f"{DOCS}/"), anchor
        if not (ROOT / found).exists():
            raise LookupError(f"{origin} links to {link}, which does not exist")
        kind = "tree" if (ROOT / found).is_dir() else "blob"
        return "", f"{self.repository}/{kind}/main/{found}{'#' + anchor if anchor else ''}"

    def title(self, origin: str, link: str) -> str:
        """What the page is called that a link of a file leads to; "" outside of the site."""
        return "" if "://" in link else self.titles.get(self.target(origin, link)[0], "")

    def link(self, page: str, origin: str, link: str) -> str:
        """A link of a file of the repository, as it has to be on a page that shows that file."""
        if link.startswith(("http://", "https://", "mailto:")):
            return link
        there, anchor = self.target(origin, link)
        if not there:
            return anchor
        path = os.path.relpath(there, PurePosixPath(page).parent.as_posix())
        if there == page:
            return f"#{anchor}" if anchor else PurePosixPath(page).name
        return f"{path}#{anchor}" if anchor else path


def title_of(text: str) -> str:
    """The first heading of a page, its own or that of what it includes."""
    found = re.search(r"^# (.+)$", text, flags=re.MULTILINE)
    first = next(asked for kind, asked in DIRECTIVE.findall(text) if kind == "include") if found is None else ""
    return found[1] if found else Include.of(first).text.splitlines()[0].lstrip("# ")


def reports() -> Mapping[str, str]:
    """The pages and pictures of the reports: the path on the site, and that in the repository."""
    kept = sorted(path for path in (ROOT / REPORTS).iterdir() if path.suffix in (".md", ".png"))
    return {f"reports/{path.name}": f"{REPORTS}/{path.name}" for path in kept}
