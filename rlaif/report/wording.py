"""Numbers, estimates and untrusted text -> the words of a report.

The width of an interval decides how many decimals are shown. Text of models and data sets becomes escaped
markup with its control and direction characters made visible. Computes no statistics.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from rlaif.records import Estimate

MINUS = "\u2212"
NARROW_SPACE = "\u202f"
MAX_SHOWN_CHARACTERS = 1500

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def format_number(x: float | None, *, decimals: int | None = None, signed: bool = False) -> str:
    """A number with a space between thousands and a true minus sign; about three digits unless `decimals` is given."""
    if x is None:
        return "unknown"
    if decimals is None:
        decimals = 0 if x == int(x) or abs(x) >= 100 else find_decimals(abs(x) * 2)
    text = f"{abs(x):,.{decimals}f}".replace(",", NARROW_SPACE)
    is_zero = not any(digit in text for digit in "123456789")
    sign = "" if is_zero else MINUS if x < 0 else "+" if signed else ""
    return sign + text


def format_percent(share: float | None, *, decimals: int = 1) -> str:
    return "unknown" if share is None else f"{format_number(100 * share, decimals=decimals)}{NARROW_SPACE}%"


def format_seconds(seconds: float | None) -> str:
    """A time such as 12.3 s, 4 min 5 s or 2 h 10 min."""
    if seconds is None:
        return "not recorded"
    if seconds < 120:
        return f"{format_number(seconds, decimals=0 if seconds >= 100 or seconds == 0 else 1)}{NARROW_SPACE}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes}{NARROW_SPACE}min {rest}{NARROW_SPACE}s"
    return f"{minutes // 60}{NARROW_SPACE}h {minutes % 60}{NARROW_SPACE}min"


def format_count(count: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 pair, 2 pairs."""
    return f"{format_number(count)} {one if count == 1 else many or one + 's'}"


def join_words(words: Sequence[str]) -> str:
    """An enumeration: a; a and b; a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def find_decimals(width: float) -> int:
    """Decimals that show two digits of the width: 23 -> 0, 2.3 -> 1, 0.23 -> 2."""
    return max(0, min(6, 1 - math.floor(math.log10(width)))) if width > 0 else 1


class EstimateText(NamedTuple):
    """An estimate as text, in parts that a page shows in different styles."""

    mean: str
    interval: str
    n: str
    short_n: str = ""
    """n alone, where the page says elsewhere what it counts."""


NOTHING = EstimateText("", "", "")
"""For an empty cell."""


def format_estimate(
    estimate: Estimate | None, *, signed: bool = False, percent: bool = False, decimals: int | None = None
) -> EstimateText:
    """(71.3 %, "68.0 to 74.4", "200 prompts"); no interval where no value differed from another."""
    if estimate is None:
        return EstimateText("unknown", "no interval", "too few prompts")
    count = format_number(estimate.n)
    n = f"{count} prompt{'' if estimate.n == 1 else 's'}"
    scale = 100.0 if percent else 1.0
    mean, low, high = (scale * x for x in (estimate.mean, estimate.low, estimate.high))
    if decimals is None:
        decimals = 1 if percent else find_decimals(high - low)
    unit = f"{NARROW_SPACE}%" if percent else ""
    said = format_number(mean, decimals=decimals, signed=signed) + unit
    if low == high:
        return EstimateText(said, "the same everywhere", n, count)
    bounds = [format_number(x, decimals=decimals, signed=signed) for x in (low, high)]
    return EstimateText(said, f"{bounds[0]} to {bounds[1]}", n, count)


def show_untrusted(text: str) -> Markup:
    """Escaped text, with the numbers of its control, format, private and unpaired characters in their places."""
    if text.replace("\n", "").replace("\t", "").isprintable():
        return escape(text)
    parts: list[str] = []
    for character in text:
        if character in "\n\t" or unicodedata.category(character) not in _HIDDEN:
            parts.append(str(escape(character)))
        else:
            parts.append(f'<span class="ctl">U+{ord(character):04X}</span>')
    return Markup("".join(parts))


def show_plain(text: str) -> str:
    """Text for places without markup, such as a page's title: hidden characters are replaced by their numbers."""
    return "".join(
        character if unicodedata.category(character) not in _HIDDEN else f"[U+{ord(character):04X}]"
        for character in text
    )


def cut_text(text: str) -> tuple[str, int]:
    """The text's beginning, and how many characters were left off."""
    return text[:MAX_SHOWN_CHARACTERS], max(0, len(text) - MAX_SHOWN_CHARACTERS)
