"""An item of a sheet -> the lines of its page: guideline, conversation and both replies, wrapped to the terminal.

All texts are untrusted and made harmless. On a wide terminal the replies stand side by side and scroll together. Reads
no key and prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from rlaif.calibration.sheet import Sheet, SheetItem
from rlaif.console import show_text

WIDE = 100
"""Columns of a terminal from which the two replies stand side by side."""
MIN_WIDTH = 20
GAP = " | "
FOLDED = 4
"""A guideline longer than one in so many lines of the screen is folded, except at the start of a sitting."""
KEYS = "1 first  2 second  0 tie  u unclear  s skip  z undo  n note  q quit"
HELP = (
    "1: the first reply is better. 2: the second. 0: neither is. u: unclear, it cannot be decided. s: show it again "
    "later. z: undo the last choice. n: write a note, then choose. q: leave; everything is saved."
)
PAGING = "space, b: turn the page. g: fold or unfold the guideline."


class Page(NamedTuple):
    """What an item looks like on a terminal of some width."""

    lines: tuple[Text, ...]

    def window(self, offset: int, room: int) -> tuple[Text, ...]:
        """The `room` lines from `offset` on."""
        return self.lines[offset : offset + room]


def make_page(
    sheet: Sheet, item: SheetItem, *, replies: tuple[str, str], width: int, height: int | None, whole: bool
) -> Page:
    """replies: in the order shown. height: lines of the screen, None without one. whole: do not fold the guideline."""
    width = max(width, MIN_WIDTH)
    lines = _guideline(sheet.guideline, width=width, room=None if whole or height is None else height // FOLDED)
    for message in item.messages:
        lines += [Text(), Text(message.role, style="bold cyan"), *wrap(show_text(message.content), width)]
    lines += [Text(), *wrap(Text(show_text(item.question).plain, style="bold"), width), Text()]
    lines += _side_by_side(replies, width) if width >= WIDE else _below_each_other(replies, width)
    return Page(tuple(lines))


def wrap(text: Text, width: int) -> list[Text]:
    """The lines of a text, none wider than `width` columns; wide characters count as two."""
    text.expand_tabs(4)
    # a console of one's own: the shared one's width is that of whatever it prints to
    return list(text.wrap(Console(width=width), width, overflow="fold"))


def _guideline(text: str, *, width: int, room: int | None) -> list[Text]:
    lines = wrap(show_text(text.strip()), width)
    title = Text("how to decide", style="bold cyan")
    if room is None or len(lines) <= max(room, 2):
        return [title, *lines]
    return [title, *lines[: max(room - 1, 1)], Text("... g shows the whole guideline", style="dim")]


def _below_each_other(replies: Iterable[str], width: int) -> list[Text]:
    lines: list[Text] = []
    for name, reply in zip(("1 FIRST REPLY", "2 SECOND REPLY"), replies, strict=True):
        lines += [Text(name, style="bold reverse"), *wrap(show_text(reply), width), Text()]
    return lines[:-1]


def _side_by_side(replies: tuple[str, str], width: int) -> list[Text]:
    column = (width - len(GAP)) // 2
    first, second = (wrap(show_text(reply), column) for reply in replies)
    titles = [Text("1 FIRST REPLY", style="bold reverse"), Text("2 SECOND REPLY", style="bold reverse")]
    rows = [titles, *zip_longest(first, second)]
    return [_row(left or Text(), right or Text(), column) for left, right in rows]


def _row(left: Text, right: Text, column: int) -> Text:
    return Text.assemble(left, " " * max(0, column - left.cell_len), GAP, right)
