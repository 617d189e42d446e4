"""Markdown taken apart: sections by their anchors, links, and the lines that ask for something to be put in."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

DIRECTIVE = re.compile(r"^<!-- (include|table|picture|reference|derivations) (.+?) -->$", re.MULTILINE)
"""A line of its own, which readers of the plain page do not see: what to put there, and of what."""

_CODE_OR_LINK = re.compile(
    r"(?P<code>^```.*?^```$|(?P<ticks>`+)(?!`).+?(?<!`)(?P=ticks)(?!`))"
    r"|(?:\[(?P<path>[\w./-]+\.md))?\]\((?P<link>[^)\s]+)\)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Heading:
    """A heading of a page.

    Args:
        level: 1 for the largest.
        anchor: The name by which it can be linked to.
        line: The number of its line, from 0.
    """

    level: int
    anchor: str
    line: int


def anchor_of(title: str, separator: str = "-") -> str:
    """The name of a heading in links: that of the site is the one that repositories show, too."""
    plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower())
    return plain.strip().replace(" ", separator)


def headings(text: str) -> list[Heading]:
    """All headings outside blocks of code."""
    found, fenced = [], False
    for number, line in enumerate(text.splitlines()):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and (match := re.match(r"(#+) (.*)", line)):
            found.append(Heading(len(match[1]), anchor_of(match[2]), number))
    return found


def section(text: str, anchor: str) -> str:
    """A heading with all that belongs to it, up to the next one of its level.

    Raises:
        LookupError: There is no such heading.
    """
    known = headings(text)
    for number, heading in enumerate(known):
        if heading.anchor == anchor:
            after = next((other.line for other in known[number + 1 :] if other.level <= heading.level), None)
            return "\n".join(text.splitlines()[heading.line : after]) + "\n"
    raise LookupError(f"there is no heading #{anchor}; there are {', '.join(one.anchor for one in known)}")


def without(text: str, anchor: str) -> str:
    """The text without one of its sections."""
    return text.replace(section(text, anchor), "")


def shifted(text: str, by: int) -> str:
    """The text with all headings so many levels further down."""
    lines = text.splitlines()
    for heading in headings(text):
        lines[heading.line] = "#" * by + lines[heading.line] if by >= 0 else lines[heading.line][-by:]
    return "\n".join(lines) + "\n"


def relinked(text: str, change: Callable[[str], str], title: Callable[[str], str] = lambda link: "") -> str:
    """The text with the target of every link, and picture, changed; code stays as it is.

    Args:
        text: Markdown.
        change: What a link becomes.
        title: What is read in place of a path; "" for that path.
    """

    def changed(match: re.Match[str]) -> str:
        if match["code"]:
            return match[0]
        read = f"[{title(match['link']) or match['path']}" if match["path"] else ""
        return f"{read}]({change(match['link'])})"

    return _CODE_OR_LINK.sub(changed, text)


@dataclass(frozen=True)
class Include:
    """A part of a paper that stands on a page.

    Args:
        path: The paper, from the root of the checkout.
        text: What of it.
        titled: Whether its first heading stands there, too, or the page has one of its own.
    """

    path: str
    text: str
    titled: bool

    @classmethod
    def of(cls, asked: str) -> "Include":
        """What ``PATH[#ANCHOR] [body] [without ANCHOR ...]`` asks for."""
        where, *words = asked.split()
        path, _, anchor = where.partition("#")
        text = (ROOT / path).read_text(encoding="utf-8")
        text = section(text, anchor) if anchor else text
        left_out = words[words.index("without") + 1 :] if "without" in words else []
        for one in left_out:
            text = without(text, one)
        return cls(path, text, "body" not in words)

    @property
    def anchors(self) -> list[str]:
        """Of the headings that it has; the first is that of the whole."""
        return [heading.anchor for heading in headings(self.text)]

    def at_level(self, level: int) -> str:
        """Its text with the first heading at a level, or without that heading."""
        first = headings(self.text)[0]
        text = shifted(self.text, level - first.level)
        lines = text.splitlines()
        return text if self.titled else "\n".join(lines[: first.line] + lines[first.line + 1 :]) + "\n"
