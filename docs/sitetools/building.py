"""What MkDocs calls while it builds the site: papers and generated parts are put in, links are led to pages.

A page of `docs` is Markdown as the repository shows it, whose links lead to files of the repository. A line such as
``<!-- include backends/README.md#backends -->`` asks for a part of a paper, a table or the docstrings of a module.
"""

import logging
import re
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

from sitetools.links import Places, reports
from sitetools.lists import ListsExtension
from sitetools.measured import PICTURES
from sitetools.papers import DIRECTIVE, ROOT, Include, anchor_of, relinked
from sitetools.reference import derivations, linked_package, reference
from sitetools.tables import TABLES

log = logging.getLogger("mkdocs.hooks")

places = Places("")


@event_priority(100)
def on_config(config: Any) -> None:
    """Docstrings are read from links to the checkout's own rooms: what else lies in it is not the package.

    Said before plugins read where to look.
    """
    folder = Path(tempfile.mkdtemp(prefix="cvxrobust-docs-"))
    config.plugins["mkdocstrings"].config.handlers["python"]["paths"] = [str(linked_package(folder))]
    places.__init__(config.extra["repository"])  # type: ignore[misc]
    config.mdx_configs["toc"]["slugify"] = anchor_of
    config.markdown_extensions.append(ListsExtension())
    made = {"Reports": [page for page in reports() if page.endswith(".md")], "Gallery": gallery(Path(config.docs_dir))}
    config.nav = fill(config.nav, made)


def gallery(docs: Path) -> list[str]:
    """The pages of notebooks, where these have been run, in the order of their index."""
    index = docs / "gallery" / "index.md"
    if not index.is_file():
        return []
    linked = re.findall(r"\]\((\w+\.md)\)", index.read_text(encoding="utf-8"))
    return ["gallery/index.md", *(f"gallery/{page}" for page in linked)]


def fill(entries: list[Any], made: Mapping[str, list[str]]) -> list[Any]:
    """The navigation with pages added where some are made, and without what is empty."""
    found = []
    for entry in entries:
        if isinstance(entry, dict):
            ((name, inside),) = entry.items()
            if isinstance(inside, list) and not (inside := fill(inside, made) + made.get(name, [])):
                continue
            entry = {name: inside}
        found.append(entry)
    return found


def on_files(files: Any, config: Any) -> None:
    """Add the reports of studies and the pictures made here, and learn what stands where."""
    for page, path in reports().items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / path)))
        places.whole[path] = page
    for name, draw in PICTURES.items():
        for dark in (False, True):
            uri = f"pictures/{name}-{'dark' if dark else 'light'}.svg"
            files.append(File.generated(config, uri, content=draw(dark)))
    for file in files.documentation_pages():
        if file.generated_by is None:
            places.note(file.src_uri, file.content_string)


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A page with all that it asks for."""
    uri = page.file.src_uri
    origin = reports().get(uri, f"docs/{uri}")
    try:
        return expanded(markdown, uri, origin)
    except LookupError as error:
        raise PluginError(f"{origin}: {error}") from error


def expanded(markdown: str, uri: str, origin: str) -> str:
    """The text of a page with links led to pages and everything put in that it asks for."""
    titled = re.search(r"^# ", markdown, flags=re.MULTILINE) is not None

    def put_in(match: re.Match[str]) -> str:
        kind, asked = match[1], match[2]
        if kind == "include":
            part = Include.of(asked)
            text = part.at_level(2 if titled else 1)
            return led(text, part.path)
        if kind == "table":
            return TABLES[asked]()
        if kind == "picture":
            up = "../" * uri.count("/")
            name, words = asked.split(" ", 1)
            return "\n".join(f"![{words}]({up}pictures/{name}-{one}.svg#only-{one})" for one in ("light", "dark"))
        return reference(asked) if kind == "reference" else derivations(asked)

    def led(text: str, origin: str) -> str:
        return relinked(text, partial(places.link, uri, origin), partial(places.title, origin))

    return DIRECTIVE.sub(put_in, led(markdown, origin))
