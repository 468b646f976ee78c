"""Numbers, estimates and untrusted text -> the words of a report.

An interval's width decides how many decimals are worth reading. Text of models and data sets comes out
as escaped markup with its control and direction characters made visible. Computes no statistics.
"""

from __future__ import annotations

import math
import unicodedata
from typing import Literal, NamedTuple

from markupsafe import Markup, escape

from rlaif.evaluation.policy import WinRate
from rlaif.records import Estimate

MINUS = "\u2212"
NARROW_SPACE = "\u202f"
MAX_SHOWN_CHARACTERS = 1500

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def say_number(x: float | None, *, decimals: int | None = None, signed: bool = False) -> str:
    """Thousands apart, a true minus sign, and about three digits unless told otherwise."""
    if x is None:
        return "unknown"
    if decimals is None:
        decimals = 0 if x == int(x) or abs(x) >= 100 else find_decimals(abs(x) * 2)
    text = f"{abs(x):,.{decimals}f}".replace(",", NARROW_SPACE)
    is_zero = not any(digit in text for digit in "123456789")
    sign = "" if is_zero else MINUS if x < 0 else "+" if signed else ""
    return sign + text


def say_percent(share: float | None, *, decimals: int = 1) -> str:
    return "unknown" if share is None else f"{say_number(100 * share, decimals=decimals)}{NARROW_SPACE}%"


def find_decimals(width: float) -> int:
    """Two digits of the width: 23 -> 0 decimals, 2.3 -> 1, 0.23 -> 2."""
    return max(0, min(6, 1 - math.floor(math.log10(width)))) if width > 0 else 1


class Said(NamedTuple):
    """An estimate in words, in three parts that a page sets apart."""

    mean: str
    interval: str
    n: str


def say_estimate(
    estimate: Estimate | None, *, signed: bool = False, percent: bool = False, decimals: int | None = None
) -> Said:
    """(71.3 %, "68.0 to 74.4", "200 prompts"); no interval where no value differed from another."""
    if estimate is None:
        return Said("unknown", "no interval", "too few prompts")
    n = f"{say_number(estimate.n)} prompt{'' if estimate.n == 1 else 's'}"
    scale = 100.0 if percent else 1.0
    mean, low, high = (scale * x for x in (estimate.mean, estimate.low, estimate.high))
    if decimals is None:
        decimals = 1 if percent else find_decimals(high - low)
    unit = f"{NARROW_SPACE}%" if percent else ""
    said = say_number(mean, decimals=decimals, signed=signed) + unit
    if low == high:
        return Said(said, "the same everywhere", n)
    bounds = [say_number(x, decimals=decimals, signed=signed) for x in (low, high)]
    return Said(said, f"{bounds[0]} to {bounds[1]}", n)


class Headline(NamedTuple):
    verdict: Literal["better", "worse", "unclear", "unknown"]
    title: str
    sentence: str


def say_headline(win_rate: WinRate | None) -> Headline:
    """What the judge found, in plain words and no stronger than its interval."""
    if win_rate is None:
        return Headline(
            "unknown",
            "The policies were not compared",
            "No win rate was measured in this run: the judge was not asked about the trained policy.",
        )
    if win_rate.soft is None:
        return Headline(
            "unknown",
            "The win rate is unknown",
            f"All of the {win_rate.num_pairs} comparisons failed, so nothing can be said of the policy.",
        )
    said = say_estimate(win_rate.soft, percent=True)
    sentence = (
        f"On {said.n} held out of training, the judge gives the trained policy's response "
        f"a {said.mean} chance of being the better one "
        f"(95{NARROW_SPACE}% interval {said.interval}{NARROW_SPACE}%). "
    )
    if win_rate.soft.low > 0.5:
        return Headline(
            "better",
            "The trained policy beats its start",
            sentence + "The interval lies above one half: by this judge the policy has become better.",
        )
    if win_rate.soft.high < 0.5:
        return Headline(
            "worse",
            "The trained policy loses to its start",
            sentence + "The interval lies below one half: by this judge the policy has become worse.",
        )
    return Headline(
        "unclear",
        "No clear difference",
        sentence + "The interval includes one half: this run does not show that the policy has become better.",
    )


def show_untrusted(text: str) -> Markup:
    """Escaped text whose control, format, private and unpaired characters stand there by number."""
    parts: list[str] = []
    for character in text:
        if character in "\n\t" or unicodedata.category(character) not in _HIDDEN:
            parts.append(str(escape(character)))
        else:
            parts.append(f'<span class="ctl">U+{ord(character):04X}</span>')
    return Markup("".join(parts))


def show_plain(text: str) -> str:
    """The same where no markup may stand: a page's title, the words of a plot."""
    return "".join(
        character if unicodedata.category(character) not in _HIDDEN else f"[U+{ord(character):04X}]"
        for character in text
    )


def cut_text(text: str) -> tuple[str, int]:
    """The text's beginning, and how many characters were left off."""
    return text[:MAX_SHOWN_CHARACTERS], max(0, len(text) - MAX_SHOWN_CHARACTERS)
