"""A built site looked through: links inside it lead to a page and a place there, and nothing comes from elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
"""Attributes of what a browser fetches by itself; of links only sheets and icons."""

ONLY_WHERE_HOSTED = "404.html"
"""The page for addresses that do not exist names everything from the root of its host."""


@dataclass
class Page(HTMLParser):
    """What a page links to, fetches, and can be linked at.

    Args:
        anchors: Names of places.
        links: Targets of links.
        fetched: Addresses of what a browser fetches.
    """

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag says."""
        said = {name: value for name, value in attrs if value}
        self.anchors |= {said[name] for name in ("id", "name") if name in said}
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        if tag in FETCHED and FETCHED[tag] in said:
            self.fetched.append(said[FETCHED[tag]])
        if tag == "link" and said.get("rel") != "canonical" and "href" in said:
            self.fetched.append(said["href"])


def pages_of(site: Path) -> dict[Path, Page]:
    """Every page of a site, by its path."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        if path.name != ONLY_WHERE_HOSTED:
            found[path.resolve()] = Page()
            found[path.resolve()].feed(path.read_text(encoding="utf-8"))
    return found


def complaints(site: Path) -> Iterator[str]:
    """One line for whatever is wrong."""
    pages = pages_of(site)
    if not pages:
        yield f"{site} holds no pages; build them with: make docs"
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        for link in page.links:
            if reason := wrong(link, path, pages):
                yield f"{name}: {link}: {reason}"
        for address in page.fetched:
            if urlsplit(address).scheme or address.startswith("//"):
                yield f"{name}: {address}: is fetched from elsewhere"
            elif not (path.parent / unquote(urlsplit(address).path)).exists():
                yield f"{name}: {address}: there is no such file"


def wrong(link: str, path: Path, pages: dict[Path, Page]) -> str:
    """Why a link of a page leads nowhere; empty if it does not. Of links to the outside only the form can be seen."""
    parts = urlsplit(link)
    if parts.scheme in ("http", "https"):
        return "" if "." in parts.netloc and " " not in link else "is no address"
    if parts.scheme:
        return "" if parts.scheme == "mailto" else "is of a kind that pages do not use"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.is_file():
        return "there is no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "there is no such place on that page"
    return ""
