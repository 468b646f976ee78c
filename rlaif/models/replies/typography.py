"""A text with one character for all forms of the same character, as a reader would see it.

The forms are full-width and mathematical letters, the colons of other scripts, spaces and line ends of any sort, and
invisible characters. Each is replaced by one character, so that places in the text keep their numbers.
"""

from __future__ import annotations

import re
import unicodedata

INVISIBLE = "\u200b"
"""The replacement of every invisible character."""
_SAME_CHARACTER = ("<wide>", "<narrow>", "<small>", "<font>", "<circle>", "<square>", "<vertical>", "<noBreak>")
_FORMS = (
    (0xFE10, 0xFE1F),
    (0xFE30, 0xFE6F),
    (0xFF00, 0xFFEE),
    (0x2460, 0x24FF),
    (0x2100, 0x214F),
    (0x1D400, 0x1D7FF),
    (0x1F100, 0x1F169),
)
_HIDDEN = (
    (0x0000, 0x0008), (0x000E, 0x001B), (0x001F, 0x001F), (0x007F, 0x007F),
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x180B, 0x180F), (0x200B, 0x200F),
    (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0),
    (0xFFF9, 0xFFFB), (0xE0000, 0xE007F), (0xE0100, 0xE01EF),
)  # fmt: skip
_SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\u2800"
_ODD_ASCII = "\r\x0b\x0c\x1c\x1d\x1e"
_ODD = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]|[^\x00-\x7f]")
_LINE_ENDS = _ODD_ASCII + "\x85\u2028\u2029"
_COLONS = "\u02d0\u0589\u05c3\u1361\u1365\u1804\u205a\u2236\ua789"
_OTHERS = {"\u2212": "-", "。": ".", "।": ".", "｡": "."}


def as_read(text: str) -> str:
    """`text` with the forms of a character replaced by one; the length stays the same."""
    return text.translate(_TABLE) if _ODD.search(text) is not None else text


def _make_table() -> dict[int, str]:
    table = {code: INVISIBLE for first, last in _HIDDEN for code in range(first, last + 1)}
    for first, last in _FORMS:
        for code in range(first, last + 1):
            form, _, of = unicodedata.decomposition(chr(code)).partition(" ")
            if form in _SAME_CHARACTER and " " not in of and code not in table:
                table[code] = chr(int(of, 16))
    for characters, character in ((_SPACES, " "), (_LINE_ENDS, "\n"), (_COLONS, ":")):
        table.update((ord(one), character) for one in characters)
    return table | {ord(one): character for one, character in _OTHERS.items()}


_TABLE = _make_table()
