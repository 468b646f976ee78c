"""Series and counts -> charts of a fixed shape: lines over steps, rounds with intervals, bars, reliability.

Axes have marks at the least and the greatest value only. Rows of dots are in plots.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    values = [value for _, value in known]
    low, high = min(value for _, value in (*known, *apart)), max(value for _, value in (*known, *apart))
    pad = 0.0 if high > low else max(abs(high) * 0.1, 1e-9)
    first_step = min(step for step, _ in (*known, *apart))
    last_step = max(step for step, _ in (*known, *apart))

    def x(step: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - first_step) / max(1, last_step - first_step)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high + pad - value) / (high - low + 2 * pad)

    decimals = find_decimals((high - low) / 3 if high > low else abs(high) * 2)

    def format_value(value: float) -> str:
        return format_number(value, decimals=decimals)

    ends = dict.fromkeys((low, high))
    body = [svg_line("grid", LEFT, y(value), WIDTH - RIGHT, y(value)) for value in ends]
    body += [svg_text("tick", LEFT - 6, y(value) + 3.5, "end", format_value(value)) for value in ends]
    shown = [mark for mark in marks if first_step <= mark.step <= last_step]
    body += [
        svg_line(f"mark {mark.kind}", f"{x(mark.step):.1f}", TOP - 6, f"{x(mark.step):.1f}", HEIGHT - BOTTOM + 4)
        for mark in shown
    ]
    for run in _runs(points):
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in run)
        body.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    for step, value in apart:
        body.append(Markup('<circle class="dot before" cx="{:.1f}" cy="{:.1f}" r="2.5"/>').format(x(step), y(value)))
    body.append(Markup('<circle class="dot after" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(
        x(known[-1][0]), y(values[-1])
    ))  # fmt: skip
    body.append(svg_text("tick", LEFT, HEIGHT - 5, "start", f"step {format_number(first_step)}"))
    if last_step > first_step:
        body.append(svg_text("tick", WIDTH - RIGHT, HEIGHT - 5, "end", format_number(last_step)))
    desc = (
        f"From {format_value(values[0])} at step {known[0][0]} to {format_value(values[-1])} at step {known[-1][0]}; "
        f"least {format_value(low)}, greatest {format_value(high)}."
    )
    if apart:
        desc += f" On held-out prompts from {format_value(apart[0][1])} to {format_value(apart[-1][1])}."
    for mark in shown:
        desc += f" An alarm after {mark.step} steps." if mark.kind == "alarm" else f" Kept after {mark.step} steps."
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
    low, high = min(point.low for point in points), max(point.high for point in points)
    pad = 0.0 if high > low else max(abs(high) * 0.1, 1e-9)
    rounds = [point.round for point in points]
    decimals = find_decimals((high - low) / 3 if high > low else abs(high) * 2)

    def x(round: int) -> str:
        share = (round - rounds[0]) / max(1, rounds[-1] - rounds[0])
        return f"{LEFT + 12 + (WIDTH - LEFT - RIGHT - 24) * share:.1f}"

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high + pad - value) / (high - low + 2 * pad)

    body = []
    for value in dict.fromkeys((low, high)):
        body.append(svg_line("grid", LEFT, y(value), WIDTH - RIGHT, y(value)))
        body.append(svg_text("tick", LEFT - 6, y(value) + 3.5, "end", format_number(value, decimals=decimals)))
    path = " ".join(f"{x(point.round)},{y(point.mean):.1f}" for point in points)
    body.append(Markup('<polyline class="curve" points="{}"/>').format(path))
    for point in points:
        at = x(point.round)
        body.append(svg_line("whisker after", at, y(point.low), at, y(point.high)))
        body.append(Markup('<circle class="dot after" cx="{}" cy="{:.1f}" r="4"/>').format(at, y(point.mean)))
        body.append(svg_text("tick", at, HEIGHT - 5, "middle", str(point.round)))
    desc = "; ".join(f"round {point.round}: {format_number(point.mean, decimals=decimals)}" for point in points)
    return svg_figure(
        Markup("").join(body),
        name=name,
        title=title,
        desc=desc,
        attributes=f'class="chart" viewBox="0 0 {WIDTH} {HEIGHT}"',
    )


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
    return svg_figure(
        Markup("").join(body),
        name=name,
        title=title,
        desc=desc,
        attributes=f'class="chart" viewBox="0 0 {WIDTH} {HEIGHT}"',
    )


class Spot(NamedTuple):
    """A mean with its interval, over a place on the axis."""

    across: float
    up: Estimate
    num_values: int


def spot_chart(spots: Sequence[Spot], *, name: str, title: str, unit: str) -> Markup:
    """Dots with intervals and counts, from zero to the widest; a dashed line where up is zero."""
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
        body.append(svg_text("tick", at, round(y(up.high) - 6, 1), "middle", format_number(count)))
    body.append(svg_text("tick", LEFT, HEIGHT - 5, "start", "equal"))
    body.append(svg_text("tick", WIDTH - RIGHT, HEIGHT - 5, "end", f"{format_number(widest, decimals=1)} {unit}"))
    desc = "; ".join(
        f"{format_number(across, decimals=1)} {unit}: "
        f"{format_number(up.mean, decimals=decimals, signed=True)} ({count})"
        for across, up, count in spots
    )
    return svg_figure(
        Markup("").join(body),
        name=name,
        title=title,
        desc=desc,
        attributes=f'class="chart" viewBox="0 0 {WIDTH} {HEIGHT}"',
    )
