"""Lists as the papers and docstrings have them: what belongs to an item is indented as far as its text.

Python-Markdown wants four spaces, whatever the marker, and takes a formula in an item for a paragraph otherwise.
"""

import re
from collections.abc import Sequence

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

SIGN = re.compile(r"[+>][ =]")
"""Of formulae: at the beginning of a line within a paragraph they begin no list and are no quotation."""

WANTED = 4
BEFORE_OTHERS = 100


def indented(lines: Sequence[str]) -> list[str]:
    """The lines, with those of items as far in as Python-Markdown wants them."""
    found: list[str] = []
    width, fenced, blank = 0, False, True
    for line in lines:
        text = line.lstrip(" ")
        deep = len(line) - len(text)
        if line.startswith("```"):
            fenced = not fenced
        if fenced or not text:
            found.append(line)
        elif deep == 0 and (marker := re.match(r"([-*]|\d+\.) +", line)):
            width = len(marker[0])
            found.append(line)
        else:
            width = width if deep >= width or not blank else 0
            if not blank and deep < width + WANTED and SIGN.match(text):
                found[-1] += f" {text}"
            else:
                found.append(" " * (max(0, WANTED - width) if 0 < width <= deep else 0) + line)
        blank = not text
    return found


class _Lists(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        """All lines of a page, or of a docstring."""
        return indented(lines)


class ListsExtension(Extension):
    """For `markdown_extensions`."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Before fenced blocks are taken out."""
        md.preprocessors.register(_Lists(md), "lists", BEFORE_OTHERS)
