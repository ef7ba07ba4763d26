"""Small text tables that fit the width of what they are shown on.

Knows cells of text and a width in columns. Does not know where the table goes to. No dependency: a verb that lists
things must not wait for rich.
"""

from __future__ import annotations

from collections.abc import Sequence
from unicodedata import combining, east_asian_width

from wfe.report.wording import one_line

_GAP = "  "


def width_of(text: str) -> int:
    """Columns that `text` takes on a terminal: two for wide characters, none for combining ones and joiners."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def fitted(text: str, width: int) -> str:
    """`text` in at most `width` columns; a text that is too long ends in three dots (fewer when `width` is under 4)."""
    if width_of(text) <= width:
        return text
    dots = "." * min(3, width)
    room = width - len(dots)
    kept = 0
    for index, character in enumerate(text):
        kept += _columns(character)
        if kept > room:
            return text[:index] + dots
    return text


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int | None = None,
    right: Sequence[int] = (),
    keep: Sequence[int] = (0,),
) -> str:
    """A table as lines of text, each ended; cells lose what a terminal would obey.

    width: columns to fit into; None (a pipe) shortens nothing. right: indexes of columns that are set to the right.
    keep: indexes of columns that are shortened last, since the reader needs them whole to type them.
    """
    cells = [[one_line(cell, 2000) for cell in row] for row in ([head] if any(head) else []) + [list(r) for r in rows]]
    if not cells:
        return ""
    columns = max(map(len, cells))
    for row in cells:
        row.extend([""] * (columns - len(row)))
    widths = [max(width_of(row[index]) for row in cells) for index in range(columns)]
    if width is not None:
        widths = _narrowed(widths, width - len(_GAP) * (columns - 1), set(keep))
    lines: list[str] = []
    for row in cells:
        shown: list[str] = []
        for index, cell in enumerate(row):
            cell = fitted(cell, widths[index])
            blank = " " * (widths[index] - width_of(cell))
            shown.append(blank + cell if index in right else cell + blank)
        lines.append(_GAP.join(shown).rstrip() + "\n")
    return "".join(lines)


def _narrowed(widths: list[int], room: int, keep: set[int]) -> list[int]:
    widths = list(widths)
    for group in (
        [i for i in range(len(widths)) if i not in keep],
        list(range(len(widths))),
    ):
        # The widest column gives first, down to a width at which something can still be told.
        while sum(widths) > room and group:
            widest = max(group, key=lambda index: widths[index])
            if widths[widest] <= 6:
                break
            others = [widths[index] for index in group if index != widest]
            aim = max(max(others, default=0), widths[widest] - (sum(widths) - room), 6)
            widths[widest] = aim if aim < widths[widest] else widths[widest] - 1
    return widths


def _columns(character: str) -> int:
    if combining(character) or character in "\u200b\u200c\u200d\ufe0e\ufe0f":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
