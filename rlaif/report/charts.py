"""Series and counts -> charts of a fixed shape: lines over steps, rounds with intervals, bars, reliability.

Axes have marks at the least and the greatest value only. Rows of dots are in plots.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from markupsafe import Markup

from rlaif.records import Estimate
from rlaif.report.svg import svg_figure, svg_line, svg_text
from rlaif.report.wording import find_decimals, format_number, format_percent

WIDTH, HEIGHT = 250, 118
LEFT, RIGHT, TOP, BOTTOM = 44, 10, 12, 22


class Mark(NamedTuple):
    """A step that a vertical line marks."""

    step: int
    kind: Literal["alarm", "kept"]


class _Height(NamedTuple):
    """The upward axis of a chart, from the least to the greatest value."""

    low: float
    high: float

    def y(self, value: float) -> float:
        pad = 0.0 if self.high > self.low else max(abs(self.high) * 0.1, 1e-9)
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high + pad - value) / (self.high - self.low + 2 * pad)

    def format(self, value: float) -> str:
        width = (self.high - self.low) / 3 if self.high > self.low else abs(self.high) * 2
        return format_number(value, decimals=find_decimals(width))

    def marks(self) -> Iterator[tuple[Markup, Markup]]:
        """A grid line and a number for either end."""
        for end in dict.fromkeys((self.low, self.high)):
            line = svg_line("grid", LEFT, self.y(end), WIDTH - RIGHT, self.y(end))
            yield line, svg_text("tick", LEFT - 6, self.y(end) + 3.5, "end", self.format(end))


def line_chart(
    points: Sequence[tuple[int, float | None]],
    *,
    name: str,
    title: str,
    spots: Sequence[tuple[int, float | None]] = (),
    marks: Sequence[Mark] = (),
) -> Markup:
    """A number over steps; the axis is marked at its least and greatest value, gaps stay gaps.

    spots: the same number on held-out prompts, drawn as separate dots.
    """
    known = [(step, value) for step, value in points if value is not None]
    if not known:
        return Markup('<p class="missing">No values.</p>')
    apart = [(step, value) for step, value in spots if value is not None]
    values = [value for _, value in (*known, *apart)]
    height = _Height(min(values), max(values))
    first = min(step for step, _ in (*known, *apart))
    last = max(step for step, _ in (*known, *apart))
    shown = [mark for mark in marks if first <= mark.step <= last]

    def x(step: int) -> str:
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * (step - first) / max(1, last - first):.1f}"

    body = [*(line for line, _ in height.marks()), *(text for _, text in height.marks())]
    for mark in shown:
        body.append(svg_line(f"mark {mark.kind}", x(mark.step), TOP - 6, x(mark.step), HEIGHT - BOTTOM + 4))
    for run in _runs(points):
        path = " ".join(f"{x(step)},{height.y(value):.1f}" for step, value in run)
        body.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    dots = [*(("before", 2.5, *spot) for spot in apart), ("after", 3.5, *known[-1])]
    for css, radius, step, value in dots:
        dot = Markup('<circle class="dot {}" cx="{}" cy="{:.1f}" r="{}"/>')
        body.append(dot.format(css, x(step), height.y(value), radius))
    body.append(svg_text("tick", LEFT, HEIGHT - 5, "start", f"step {format_number(first)}"))
    if last > first:
        body.append(svg_text("tick", WIDTH - RIGHT, HEIGHT - 5, "end", format_number(last)))
    return _figure(body, name=name, title=title, desc=_describe_line(known, apart, height=height, marks=shown))


def _describe_line(
    known: Sequence[tuple[int, float]],
    spots: Sequence[tuple[int, float]],
    *,
    height: _Height,
    marks: Sequence[Mark],
) -> str:
    """A line chart in words, for people who do not see it."""
    (first, start), (last, end) = known[0], known[-1]
    desc = (
        f"From {height.format(start)} at step {first} to {height.format(end)} at step {last}; "
        f"least {height.format(height.low)}, greatest {height.format(height.high)}."
    )
    if spots:
        desc += f" On held-out prompts from {height.format(spots[0][1])} to {height.format(spots[-1][1])}."
    for mark in marks:
        desc += f" An alarm after {mark.step} steps." if mark.kind == "alarm" else f" Kept after {mark.step} steps."
    return desc


def _figure(body: Sequence[Markup], *, name: str, title: str, desc: str) -> Markup:
    """A whole chart of the common size."""
    return svg_figure(
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
    """The runs of known values between gaps, those of a single value left out."""
    runs: list[list[tuple[int, float]]] = [[]]
    for step, value in points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((step, value))
    return [run for run in runs if len(run) > 1]


class RoundPoint(NamedTuple):
    round: int
    mean: float
    low: float
    high: float


def round_chart(points: Sequence[RoundPoint], *, name: str, title: str) -> Markup:
    """A number over rounds, each with its interval."""
    height = _Height(min(point.low for point in points), max(point.high for point in points))
    rounds = [point.round for point in points]

    def x(round: int) -> str:
        share = (round - rounds[0]) / max(1, rounds[-1] - rounds[0])
        return f"{LEFT + 12 + (WIDTH - LEFT - RIGHT - 24) * share:.1f}"

    body = [piece for mark in height.marks() for piece in mark]
    path = " ".join(f"{x(point.round)},{height.y(point.mean):.1f}" for point in points)
    body.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    for point in points:
        at = x(point.round)
        body.append(svg_line("whisker after", at, height.y(point.low), at, height.y(point.high)))
        body.append(Markup('<circle class="dot after" cx="{}" cy="{:.1f}" r="4"/>').format(at, height.y(point.mean)))
        body.append(svg_text("tick", at, HEIGHT - 5, "middle", str(point.round)))
    desc = "; ".join(f"round {point.round}: {height.format(point.mean)}" for point in points)
    return _figure(body, name=name, title=title, desc=desc)


def reliability_chart(bins: Sequence[tuple[float, float, int]], *, name: str, title: str) -> Markup:
    """Bins (claimed, found, pairs) from .5 to 1: dots on the dashed line claim what is found, those below too much."""
    size, left, top = 150, 40, 10
    floor = min([0.5, *(found for _, found, _ in bins)])

    def x(claimed: float) -> float:
        return left + (size - 20) * (claimed - 0.5) / 0.5

    def y(found: float) -> float:
        return top + (size - 40) * (1 - found) / (1 - floor)

    body = [
        svg_line("grid", left, y(1), x(1), y(1)),
        svg_line("grid", left, y(floor), x(1), y(floor)),
        svg_line("half", x(0.5), y(0.5), x(1), y(1)),
        svg_text("tick", left - 6, y(1) + 3.5, "end", format_percent(1, decimals=0)),
        svg_text("tick", left - 6, y(floor) + 3.5, "end", format_percent(floor, decimals=0)),
        svg_text("tick", x(0.5), size - 8, "start", format_percent(0.5, decimals=0)),
        svg_text("tick", x(1), size - 8, "end", format_percent(1, decimals=0)),
    ]
    for claimed, found, count in bins:
        body.append(Markup('<circle class="dot after" cx="{:.1f}" cy="{:.1f}" r="4.5"/>').format(x(claimed), y(found)))
        anchor, shift = ("end", -8) if claimed > 0.9 else ("start", 8)
        body.append(
            svg_text("tick", round(x(claimed) + shift, 1), round(y(found) + 3.5, 1), anchor, format_number(count))
        )
    desc = "; ".join(
        f"claimed {format_percent(claimed, decimals=0)}, labelled {format_percent(found, decimals=0)}, {count} pairs"
        for claimed, found, count in bins
    )
    return svg_figure(
        Markup("").join(body),
        name=name,
        title=title,
        desc=desc,
        attributes=f'class="chart square" viewBox="0 0 {left + size} {size}"',
    )


def histogram(counts: Sequence[int], *, edges: Sequence[str], name: str, title: str, desc: str) -> Markup:
    """Bars with their counts; `edges` are the words under the ends of the first and the last bar."""
    greatest = max(counts, default=0)
    width = (WIDTH - 2 * RIGHT) / max(1, len(counts))
    floor = HEIGHT - BOTTOM
    body = [svg_line("grid", RIGHT, floor, WIDTH - RIGHT, floor)]
    for k, count in enumerate(counts):
        height = (floor - TOP - 8) * count / greatest if greatest else 0.0
        left = RIGHT + k * width
        body.append(Markup('<rect class="bar" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(
            left + 1, floor - height, width - 2, height
        ))  # fmt: skip
        if count:
            body.append(
                svg_text(
                    "tick",
                    f"{left + width / 2:.1f}",
                    round(floor - height - 4, 1),
                    "middle",
                    format_number(count),
                )
            )
    body.append(svg_text("tick", RIGHT, HEIGHT - 5, "start", edges[0]))
    body.append(svg_text("tick", WIDTH - RIGHT, HEIGHT - 5, "end", edges[-1]))
    return _figure(body, name=name, title=title, desc=desc)


class Spot(NamedTuple):
    """A mean with its interval, over a place on the axis."""

    across: float
    up: Estimate
    num_values: int


def spot_chart(
    spots: Sequence[Spot], *, name: str, title: str, unit: str, origin: str = "equal", with_counts: bool = True
) -> Markup:
    """Dots with intervals and counts, from zero to the widest; a dashed line where up is zero.

    origin: the word under the axis's left end. with_counts: whether each dot has its count above it.
    """
    if not spots:
        return Markup('<p class="missing">No values.</p>')
    low, high = min(0.0, *(spot.up.low for spot in spots)), max(0.0, *(spot.up.high for spot in spots))
    widest = max(spot.across for spot in spots) or 1.0
    pad = 0.0 if high > low else 1.0
    decimals = find_decimals((high - low) / 3 or 1.0)
    top = TOP + 10  # room for the count above the highest whisker

    def x(across: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT - 8) * across / widest

    def y(up: float) -> float:
        return top + (HEIGHT - top - BOTTOM) * (high + pad - up) / (high - low + 2 * pad)

    body = [svg_line("half", LEFT, y(0), WIDTH - RIGHT, y(0))]
    for value in dict.fromkeys((low, 0.0, high)):
        if value == 0 or abs(y(value) - y(0)) > 10:
            said = format_number(value, decimals=decimals, signed=True)
            body.append(svg_text("tick", LEFT - 6, y(value) + 3.5, "end", said))
    for across, up, count in spots:
        at = f"{x(across):.1f}"
        body.append(svg_line("whisker after", at, y(up.low), at, y(up.high)))
        body.append(Markup('<circle class="dot after" cx="{}" cy="{:.1f}" r="4"/>').format(at, y(up.mean)))
        if with_counts:
            body.append(svg_text("tick", at, round(y(up.high) - 6, 1), "middle", format_number(count)))
    body.append(svg_text("tick", LEFT, HEIGHT - 5, "start", origin))
    body.append(svg_text("tick", WIDTH - RIGHT, HEIGHT - 5, "end", f"{format_number(widest, decimals=1)} {unit}"))
    desc = "; ".join(
        f"{format_number(across, decimals=1)} {unit}: "
        f"{format_number(up.mean, decimals=decimals, signed=True)} ({count})"
        for across, up, count in spots
    )
    return _figure(body, name=name, title=title, desc=desc)
