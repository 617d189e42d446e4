"""What is shown of an object: three lines of text, and in a notebook a table in which gaps are bars.

Arrays are not shown, whoever wants them asks for them. Words of others (labels, names, messages) may hold anything;
here they are one line of plain text, and in HTML no markup. Colours are such that both white and black show them.
"""

import math
from dataclasses import dataclass
from html import escape

from cvxrobust.core.secrets import presentable

WIDTH = 120
"""Columns of a line."""

DIGITS = 10.0
"""Digits of a full bar: a relative gap of 1e-10 or less."""

MOST_RECORDS = 12
"""Rows of a table that are shown; the others are counted."""

COLOURS = {"certified": "#2a9d5c", "inaccurate": "#c77d0a", "unusable": "#d6453d"}
"""Of bars, by quality; three to one against white as well as against black."""

PLAIN = "#3f7fd0"
"""Of bars of which nobody says how good they are."""

TRACK = "rgba(128,128,128,0.28)"
"""What a bar has not reached."""


@dataclass(frozen=True)
class Bar:
    """A number as a bar.

    Args:
        share: What is filled, from 0 to 1.
        words: The number.
        quality: What it is worth, which says its colour; "" for nothing.
        further: What is filled faintly beyond `share`, up to this, where an interval is shown.
    """

    share: float
    words: str
    quality: str = ""
    further: float = 0.0


Cell = str | Bar


@dataclass(frozen=True)
class Summary:
    """What is shown of an object.

    Args:
        title: The first line.
        lines: At most two further ones.
        facts: The table of a notebook: names and what they are.
        header: Of a second table there, the names of its columns.
        records: Its rows.
    """

    title: str
    lines: tuple[str, ...] = ()
    facts: tuple[tuple[str, Cell], ...] = ()
    header: tuple[str, ...] = ()
    records: tuple[tuple[Cell, ...], ...] = ()

    @property
    def text(self) -> str:
        """Three lines at most."""
        first, *others = (one_line(line) for line in (self.title, *filter(None, self.lines[:2])))
        return "\n".join([first, *(f"  {line}" for line in others)])

    @property
    def html(self) -> str:
        """A piece of HTML without scripts or styles of its own."""
        parts = [f'<div style="font-weight:600">{_words(self.title)}</div>']
        if self.facts:
            parts.append(_table("".join(_fact(name, cell) for name, cell in self.facts if cell != "")))
        if self.records:
            shown = "".join(_record(record) for record in self.records[:MOST_RECORDS])
            heads = "".join(f'<th scope="col" style="{FAINT}">{_words(name)}</th>' for name in self.header)
            parts.append(_table(f'<tr style="{ROW}">{heads}</tr>{shown}'))
            if (left := len(self.records) - MOST_RECORDS) > 0:
                parts.append(f'<div style="opacity:0.75">and {left} more</div>')
        return f'<div style="color:inherit;line-height:1.5;max-width:100%;overflow-x:auto">{"".join(parts)}</div>'


class Summarised:
    """Base of what is shown by its summary."""

    def _summary(self) -> Summary:
        raise NotImplementedError

    def __repr__(self) -> str:
        try:
            return self._summary().text
        except AttributeError:  # half-built, in a debugger say
            return object.__repr__(self)

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return self._summary().html


def gap_bar(gap: float, quality: str = "") -> Bar:
    """A relative gap: the bar has a part in ten for each digit that the bounds share."""
    digits = -math.log10(gap) if 0.0 < gap < math.inf else (DIGITS if gap == 0.0 else 0.0)
    return Bar(min(max(digits / DIGITS, 0.0), 1.0), f"{gap:.1e}" if math.isfinite(gap) else "no bound", quality)


def one_line(text: object, width: int = WIDTH) -> str:
    """Text of whatever origin as one line of at most so many characters."""
    line = " ".join(presentable(str(text)).split())
    return line if len(line) <= width else f"{line[: width - 3]}..."


def counted(number: int, noun: str, several: str = "") -> str:
    """``1 input``, ``3 inputs``."""
    return f"{number} {noun if number == 1 else several or f'{noun}s'}"


ROW = "background:transparent;border:none"
VALUE = f"text-align:left;padding:1px 1.2em 1px 0;vertical-align:top;color:inherit;{ROW}"
FAINT = f"font-weight:400;opacity:0.75;{VALUE}"


def _table(rows: str) -> str:
    style = "border-collapse:collapse;border:none;margin:0.2em 0;background:transparent;color:inherit;font-size:inherit"
    return f'<table style="{style}"><tbody>{rows}</tbody></table>'


def _fact(name: str, cell: Cell) -> str:
    head = f'<th scope="row" style="{FAINT};white-space:nowrap">{_words(name)}</th>'
    return f'<tr style="{ROW}">{head}<td style="{VALUE}">{_cell(cell)}</td></tr>'


def _record(record: tuple[Cell, ...]) -> str:
    cells = "".join(f'<td style="{VALUE};white-space:nowrap">{_cell(cell)}</td>' for cell in record)
    return f'<tr style="{ROW}">{cells}</tr>'


def _cell(cell: Cell) -> str:
    if not isinstance(cell, Bar):
        return _words(cell)
    colour = COLOURS.get(cell.quality, PLAIN)
    pieces = f'<span style="{_piece(cell.share)};background:{colour}"></span>'
    if cell.further > cell.share:
        pieces += f'<span style="{_piece(cell.further - cell.share)};background:{colour};opacity:0.4"></span>'
    frame = (
        "display:inline-flex;width:11em;height:0.7em;border-radius:0.35em;overflow:hidden;vertical-align:baseline;"
        f"margin-right:0.7em;background:{TRACK}"
    )
    return f'<span aria-hidden="true" style="{frame}">{pieces}</span>{_words(cell.words)}'


def _piece(share: float) -> str:
    return f"display:inline-block;height:100%;width:{100.0 * share:.1f}%"


def _words(text: object) -> str:
    return escape(one_line(text, 4 * WIDTH))
