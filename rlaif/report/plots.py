"""Means and shares -> rows of dots with intervals on one scale, as wide as the page allows.

Positions are percentages, so that a row fits a phone as well as a screen. Charts of a fixed shape are in charts.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from markupsafe import Markup

from rlaif.evaluation.policy import Change
from rlaif.records import Estimate
from rlaif.report.svg import svg_figure, svg_line, svg_text
from rlaif.report.wording import format_estimate, format_number, format_percent


class Scale(NamedTuple):
    low: float
    high: float

    def percent(self, x: float) -> str:
        """The place of x from the left edge, as a CSS length; what lies outside is drawn at the edge."""
        share = (x - self.low) / (self.high - self.low)
        return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def find_scale(changes: Sequence[Change]) -> Scale:
    """The scale that all rows share: 0 to 100 where all means lie in it, else the range of the intervals."""
    means = [mean for change in changes for mean in (change.mean_before, change.mean_after)]
    if all(0 <= mean <= 100 for mean in means) and any(mean > 1 for mean in means):
        return Scale(0, 100)
    ends = [end for c in changes for e in (c.before, c.after) if e for end in (e.low, e.high)] + means
    if not ends or min(ends) == max(ends):
        return Scale(min(ends, default=0) - 1, max(ends, default=0) + 1)
    return Scale(min(ends), max(ends))


def find_own_scale(changes: Sequence[Change]) -> Scale:
    """The scale of one measure, whose unit no other has: from zero, or less, to a round number above all intervals."""
    ends = [end for c in changes for e in (c.before, c.after) if e for end in (e.low, e.high)]
    ends += [mean for c in changes for mean in (c.mean_before, c.mean_after)]
    high = _round_up(max(0.0, *ends))
    low = -_round_up(-min(0.0, *ends))
    return Scale(low, high) if low < high else Scale(0, 1)


def _round_up(x: float) -> float:
    """The next number with one digit, or one digit and a half: 214 -> 250, 0.31 -> 0.35."""
    if x <= 0:
        return 0.0
    step = 10.0 ** math.floor(math.log10(x)) / 2
    return step * math.ceil(x / step)


def dot_row(
    change: Change,
    *,
    scale: Scale,
    name: str,
    label: str,
    choice: tuple[str, Change] | None = None,
    shows_ends: bool = False,
) -> Markup:
    """One measure before (hollow) and after (filled) with their intervals, as wide as the page allows.

    `choice`: the name and the change of another method, such as best of n, drawn below. `shows_ends`: with the ends of
    the scale below, for a row whose scale no axis shows.
    """
    at = scale.percent
    marks = [svg_line("grid", at(x), 0, at(x), "100%") for x in _quarters(scale)]
    marks.append(svg_line("move", at(change.mean_before), 17, at(change.mean_after), 31))
    rows = [("before", change.before, change.mean_before, 17), ("after", change.after, change.mean_after, 31)]
    desc = f"{label}: {_format_mean(change.mean_before)} before, {_format_mean(change.mean_after)} after"
    if choice is not None:
        rows.append(("choice", choice[1].after, choice[1].mean_after, 45))
        desc += f", {_format_mean(choice[1].mean_after)} by {choice[0]}"
    for css, estimate, mean, y in rows:
        marks += _mark(css, estimate, mean, scale=scale, y=y)
    height = 48 if choice is None else 62
    if shows_ends:
        height += 14
        marks.append(svg_text("tick", "0%", height - 3, "start", format_number(scale.low)))
        marks.append(svg_text("tick", "100%", height - 3, "end", format_number(scale.high)))
    return svg_figure(
        Markup("").join(marks),
        name=name,
        title=label,
        desc=desc,
        attributes=f'class="dots" width="100%" height="{height}"',
    )


def share_row(share: Estimate, *, name: str, label: str, css: str = "after") -> Markup:
    """A share with its interval between 0 and 100 %, and the mark at one half."""
    scale = Scale(0, 1)
    marks = [
        svg_line("half" if x == 0.5 else "grid", scale.percent(x), 0, scale.percent(x), "100%")
        for x in _quarters(scale)
    ]
    marks += _mark(css, share, share.mean, scale=scale, y=22)
    desc = f"{format_percent(share.mean)}, 95 % interval {format_percent(share.low)} to {format_percent(share.high)}"
    return svg_figure(
        Markup("").join(marks), name=name, title=label, desc=desc, attributes='class="dots" width="100%" height="44"'
    )


def share_view(
    name: str, share: Estimate, *, svg_name: str, label: str, css: str = "after", note: str = "", failed: int = 0
) -> dict[str, Any]:
    """One row of the page's macro `share_rows`: a share in words and as a drawing; `failed`: what it leaves out."""
    return {
        "name": name,
        "note": note,
        "failed": failed,
        "svg": share_row(share, name=svg_name, label=label, css=css),
        "said": format_estimate(share, percent=True),
    }


def _mark(css: str, estimate: Estimate | None, mean: float, *, scale: Scale, y: int) -> list[Markup]:
    at = scale.percent
    marks = [] if estimate is None else [svg_line(f"whisker {css}", at(estimate.low), y, at(estimate.high), y)]
    if css == "choice":
        # subtle: a percentage cannot stand in a path, so a nested svg carries the diamond to its place.
        diamond = '<svg x="{}" y="{}" overflow="visible"><path class="dot choice" d="M-6 0L0-6L6 0L0 6Z"/></svg>'
        return [*marks, Markup(diamond).format(at(mean), y)]
    return [*marks, Markup('<circle class="dot {}" cx="{}" cy="{}" r="5"/>').format(css, at(mean), y)]


def _quarters(scale: Scale) -> list[float]:
    return [scale.low + (scale.high - scale.low) * k / 4 for k in range(5)]


def _format_mean(mean: float) -> str:
    return format_number(mean, decimals=1)


def dot_axis(scale: Scale, *, percent: bool = False) -> Markup:
    """The scale above rows of dots; hidden from screen readers, to whom each row gives its numbers."""
    words = [format_percent(x, decimals=0) if percent else format_number(x) for x in _quarters(scale)]
    texts = [
        svg_text("tick", scale.percent(x), 12, "middle", said) for x, said in zip(_quarters(scale), words, strict=True)
    ]
    return Markup('<svg class="dots" width="100%" height="16" aria-hidden="true">{}</svg>').format(
        Markup("").join(texts)
    )
