"""Numbers -> inline SVG: dots with intervals, lines over steps, histograms, a share on its scale.

Every plot carries a title and a description for people who do not see it; colours are classes that the
page's style sheet fills, so that dark mode and print work. No scripts, no fonts, no ids used twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from rlaif.evaluation.policy import Change
from rlaif.evaluation.wording import find_decimals, say_number, say_percent, show_plain
from rlaif.records import Estimate

WIDTH, HEIGHT = 250, 118
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 12, 22


class Scale(NamedTuple):
    low: float
    high: float

    def percent(self, x: float) -> str:
        """Where x stands, from the left edge; what lies outside stands at the edge."""
        share = (x - self.low) / (self.high - self.low)
        return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def find_scale(changes: Sequence[Change]) -> Scale:
    """0 to 100 where all means lie there, else the range of the intervals."""
    means = [mean for change in changes for mean in (change.mean_before, change.mean_after)]
    if all(0 <= mean <= 100 for mean in means) and any(mean > 1 for mean in means):
        return Scale(0, 100)
    ends = [end for c in changes for e in (c.before, c.after) if e for end in (e.low, e.high)] + means
    if not ends or min(ends) == max(ends):
        return Scale(min(ends, default=0) - 1, max(ends, default=0) + 1)
    return Scale(min(ends), max(ends))


def _svg(body: Markup, *, name: str, title: str, desc: str, attributes: str) -> Markup:
    title, desc = show_plain(title), show_plain(desc)
    return Markup(
        '<svg role="img" aria-labelledby="{0}-t {0}-d" {1}><title id="{0}-t">{2}</title>'
        '<desc id="{0}-d">{3}</desc>{4}</svg>'
    ).format(name, Markup(attributes), title, desc, body)


def _line(css: str, x1: str | float, y1: str | float, x2: str | float, y2: str | float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(css, x1, y1, x2, y2)


def _text(css: str, x: str | float, y: float, anchor: str, text: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(css, x, y, anchor, text)


def dot_row(change: Change, *, scale: Scale, name: str, label: str) -> Markup:
    """One measure before (hollow) and after (filled) with their intervals, as wide as the page allows."""
    at = scale.percent
    quarters = [scale.low + (scale.high - scale.low) * k / 4 for k in range(5)]
    marks = [_line("grid", at(x), 0, at(x), "100%") for x in quarters]
    marks.append(_line("move", at(change.mean_before), 17, at(change.mean_after), 31))
    for css, estimate, mean, y in (
        ("before", change.before, change.mean_before, 17),
        ("after", change.after, change.mean_after, 31),
    ):
        if estimate is not None:
            marks.append(_line(f"whisker {css}", at(estimate.low), y, at(estimate.high), y))
        marks.append(Markup('<circle class="dot {}" cx="{}" cy="{}" r="5"/>').format(css, at(mean), y))
    before, after = (say_number(mean, decimals=1) for mean in (change.mean_before, change.mean_after))
    desc = f"{label}: {before} before, {after} after"
    return _svg(
        Markup("").join(marks),
        name=name,
        title=label,
        desc=desc,
        attributes='class="dots" width="100%" height="48"',
    )


def dot_axis(scale: Scale) -> Markup:
    """The scale above or below dot rows; it says nothing that the rows do not, so readers may skip it."""
    ticks = [scale.low + (scale.high - scale.low) * k / 4 for k in range(5)]
    texts = [_text("tick", scale.percent(x), 12, "middle", say_number(x)) for x in ticks]
    return Markup('<svg class="dots" width="100%" height="16" aria-hidden="true">{}</svg>').format(
        Markup("").join(texts)
    )


def share_bar(share: Estimate, *, name: str, title: str) -> Markup:
    """A share with its interval between 0 and 100 %, and the mark at one half."""
    at = Scale(0, 1).percent
    body = Markup("").join([
        _line("rail", 0, 14, "100%", 14),
        _line("half", "50%", 3, "50%", 25),
        _line("span", at(share.low), 14, at(share.high), 14),
        Markup('<circle class="dot after" cx="{}" cy="14" r="6"/>').format(at(share.mean)),
        _text("tick", 0, 40, "start", "0"),
        _text("tick", "50%", 40, "middle", "no difference"),
        _text("tick", "100%", 40, "end", "100 %"),
    ])  # fmt: skip
    desc = f"{say_percent(share.mean)}, 95 % interval {say_percent(share.low)} to {say_percent(share.high)}"
    return _svg(body, name=name, title=title, desc=desc, attributes='class="share" width="100%" height="44"')


def line_chart(points: Sequence[tuple[int, float | None]], *, name: str, title: str) -> Markup:
    """A number over steps; the axis is marked at its least and greatest value, gaps stay gaps."""
    known = [(step, value) for step, value in points if value is not None]
    if not known:
        return Markup('<p class="missing">No values.</p>')
    values = [value for _, value in known]
    low, high = min(values), max(values)
    pad = 0.0 if high > low else max(abs(high) * 0.1, 1e-9)
    first_step, last_step = known[0][0], known[-1][0]

    def x(step: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - first_step) / max(1, last_step - first_step)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high + pad - value) / (high - low + 2 * pad)

    decimals = find_decimals((high - low) / 3 if high > low else abs(high) * 2)

    def say(value: float) -> str:
        return say_number(value, decimals=decimals)

    body = [_line("grid", LEFT, y(value), WIDTH - RIGHT, y(value)) for value in dict.fromkeys((low, high))]
    body += [_text("tick", LEFT - 6, y(value) + 3.5, "end", say(value)) for value in dict.fromkeys((low, high))]
    for run in _runs(points):
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in run)
        body.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    body.append(Markup('<circle class="dot after" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(
        x(last_step), y(values[-1])
    ))  # fmt: skip
    body.append(_text("tick", LEFT, HEIGHT - 5, "start", f"step {say_number(first_step)}"))
    if last_step > first_step:
        body.append(_text("tick", WIDTH - RIGHT, HEIGHT - 5, "end", say_number(last_step)))
    desc = (
        f"From {say(values[0])} at step {first_step} to {say(values[-1])} at step {last_step}; "
        f"least {say(low)}, greatest {say(high)}."
    )
    return _svg(
        Markup("").join(body),
        name=name,
        title=title,
        desc=desc,
        attributes=f'class="chart" viewBox="0 0 {WIDTH} {HEIGHT}"',
    )


def average_stretches(points: Sequence[tuple[int, float | None]], *, stretch: int) -> list[tuple[int, float | None]]:
    """The mean of each `stretch` points at its last step; None where none of them is known."""
    averaged: list[tuple[int, float | None]] = []
    for start in range(0, len(points), stretch):
        group = points[start : start + stretch]
        known = [value for _, value in group if value is not None]
        averaged.append((group[-1][0], math.fsum(known) / len(known) if known else None))
    return averaged


def _runs(points: Sequence[tuple[int, float | None]]) -> list[list[tuple[int, float]]]:
    """The stretches between gaps."""
    runs: list[list[tuple[int, float]]] = [[]]
    for step, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((step, value))
    return [run for run in runs if len(run) > 1]


def histogram(counts: Sequence[int], *, edges: Sequence[str], name: str, title: str, desc: str) -> Markup:
    """Bars with their counts; `edges` are the words under the ends of the first and the last bar."""
    greatest = max(counts, default=0)
    width = (WIDTH - 2 * RIGHT) / max(1, len(counts))
    floor = HEIGHT - BOTTOM
    body = [_line("grid", RIGHT, floor, WIDTH - RIGHT, floor)]
    for k, count in enumerate(counts):
        height = (floor - TOP - 8) * count / greatest if greatest else 0.0
        left = RIGHT + k * width
        body.append(Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            left + 1, floor - height, width - 2, height
        ))  # fmt: skip
        if count:
            body.append(
                _text(
                    "tick",
                    f"{left + width / 2:.1f}",
                    round(floor - height - 4, 1),
                    "middle",
                    say_number(count),
                )
            )
    body.append(_text("tick", RIGHT, HEIGHT - 5, "start", edges[0]))
    body.append(_text("tick", WIDTH - RIGHT, HEIGHT - 5, "end", edges[-1]))
    return _svg(
        Markup("").join(body),
        name=name,
        title=title,
        desc=desc,
        attributes=f'class="chart" viewBox="0 0 {WIDTH} {HEIGHT}"',
    )
