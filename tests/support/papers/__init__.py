"""The papers of the checkout: which there are, and what in them can be tried."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("core", "problems", "backends", "bench", "tests", "docs")
GALLERY = ROOT / "docs" / "gallery"
REPORTS = ROOT / "bench" / "studies" / "reports"


def papers():
    """Every page but the changelog and those that the gallery makes, in order."""
    return [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(page for room in ROOMS for page in sorted((ROOT / room).rglob("*.md")) if GALLERY not in page.parents),
    ]


def notebooks():
    """Those of the gallery, Python files that are run when the site is built."""
    return sorted(GALLERY.glob("*.py"))


def name_of(page):
    """Its path within the checkout."""
    return page.relative_to(ROOT).as_posix()


def read(page):
    return page.read_text(encoding="utf-8")


def blocks(text, kind):
    """The fenced blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def python_blocks(text):
    """Blocks of Python, files included."""
    return blocks(text, "python")


def snippets(text):
    """Blocks of Python that are no files: those have a name in backquotes and a colon before them."""
    found = re.findall(r"^([^\n]*)\n\n```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for before, block in found if not before.endswith("`:")]


def prose(text):
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def code_words(text):
    """What stands in backquotes outside blocks, each in one line."""
    plain = re.sub(r"``.*?``", "", prose(text), flags=re.DOTALL)
    return [" ".join(word.split()) for word in re.findall(r"`([^`]+)`", plain)]


def table_rows(text, heading):
    """The rows of the tables below a heading, up to the next one: a list of cells each, headers left out."""
    body = re.split(r"^#+ ", text.split(f"# {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    lines = [line for line in body.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if not line.startswith("| ---") and not after.startswith("| ---")
    ]


def anchors(text):
    """The names by which headings can be linked to, those of papers that a page of the site includes among them."""
    included = re.findall(r"^<!-- include ([\w./-]+)", text, flags=re.MULTILINE)
    return {anchor for path in included for anchor in _own_anchors(read(ROOT / path))} | _own_anchors(text)


def _own_anchors(text):
    headings = re.findall(r"^#+ (.*)$", prose(text), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}
