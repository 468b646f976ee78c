"""A study -> its picture: success over log budget, one panel for each noise of the demonstrations.

Dots are means over seeds with one standard error either way, lines the fitted curves. The picture brings its own
colours for light and dark pages. Measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from markupsafe import Markup

from rlaif.report.svg import svg_figure, svg_line, svg_text
from rlaif.report.wording import format_number, format_percent, join_words
from rlaif.study.curves import FittedCurve, sort_recipes
from rlaif.study.summary import Panel, Study

WIDTH, HEIGHT = 400, 312
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 34, 46
HEAD, LEGEND_ROW = 64, 24
NUM_STYLES = 6
_MARKS = ("M-4-4H4V4H-4Z", "M0-5.4L5.4 0L0 5.4L-5.4 0Z", "M0-5L5 4H-5Z", "M0 5L5-4H-5Z", "M-5-2H5V2H-5Z")
"""Shapes of the second recipe's dots and those after it; the first one's are round."""
STYLE = """
.cv .w{stroke-width:2;fill:none}.cv .fit{stroke-width:2;fill:none}.cv .rule{stroke-dasharray:2 4;stroke-width:1.5}
.cv text{font:13px/1 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
font-variant-numeric:tabular-nums;fill:#5a626b}
.cv text.head{font-size:14px;font-weight:600;fill:#1b1f23}.cv text.title{font-size:17px;font-weight:650;fill:#1b1f23}
.cv .paper{fill:#fdfdfb;stroke:#e1e2dc}.cv .grid{stroke:#e1e2dc}.cv .rule{stroke:#5a626b}
.cv .c0{stroke:#0b6b66;color:#0b6b66}.cv .c1{stroke:#8a4b08;color:#8a4b08}.cv .c2{stroke:#5b4a9c;color:#5b4a9c}
.cv .c3{stroke:#a3282d;color:#a3282d}.cv .c4{stroke:#1f5fa8;color:#1f5fa8}.cv .c5{stroke:#6d7680;color:#6d7680}
.cv .mark{fill:currentColor;stroke:none}
@media (prefers-color-scheme:dark){
.cv text{fill:#a1abb4}.cv text.head,.cv text.title{fill:#e7eaec}
.cv .paper{fill:#121517;stroke:#2c3237}.cv .grid{stroke:#2c3237}.cv .rule{stroke:#a1abb4}
.cv .c0{stroke:#63cdc2;color:#63cdc2}.cv .c1{stroke:#f0b070;color:#f0b070}.cv .c2{stroke:#b9abf5;color:#b9abf5}
.cv .c3{stroke:#ff9a9a;color:#ff9a9a}.cv .c4{stroke:#7fb5f0;color:#7fb5f0}.cv .c5{stroke:#98a3ad;color:#98a3ad}
}
"""
"""For the picture's file and for the page that holds its panels."""


class Axis(NamedTuple):
    """The budgets of all panels, on a scale of logarithms."""

    low: float
    high: float

    def x(self, budget: float) -> float:
        inner = WIDTH - LEFT - RIGHT - 24
        if self.high <= self.low:
            return LEFT + 12 + inner / 2
        return LEFT + 12 + inner * math.log(budget / self.low) / math.log(self.high / self.low)


def _y(success: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - min(1.0, max(0.0, success)))


def list_recipes(study: Study) -> list[str]:
    """The recipes in the order of their colours."""
    return sort_recipes({name for panel in study.panels for name in panel.curves})


def panel_figure(study: Study, panel: Panel, *, name: str) -> Markup:
    """One panel as a figure of a page, which has `STYLE`."""
    return svg_figure(
        Markup("").join(_draw(study, panel)),
        name=name,
        title=describe_panel(panel),
        desc=_describe(panel),
        attributes=f'class="cv" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"',
    )


def legend_mark(study: Study, recipe: str) -> Markup:
    """The mark of a recipe, for a legend."""
    style = list_recipes(study).index(recipe)
    return Markup('<svg class="cv" width="26" height="12" aria-hidden="true">{}</svg>').format(
        Markup("").join(_legend(style, 13, 6))
    )


def study_svg(study: Study) -> str:
    """The whole picture as a file."""
    width = WIDTH * max(1, len(study.panels)) + 16
    recipes = list_recipes(study)
    rows = _break_legend(recipes, width=width)
    head = HEAD + LEGEND_ROW * len(rows)
    body = [
        svg_text("title", 24, 30, "start", "What a budget buys, by training method"),
        svg_text("", 24, 51, "start", describe_dots(study)),
    ]
    for k, row in enumerate(rows):
        y = HEAD + LEGEND_ROW * k + 10
        for x, recipe in row:
            body += [*_legend(recipes.index(recipe), x + 13, y), svg_text("", x + 32, y + 4, "start", recipe)]
    for k, panel in enumerate(study.panels):
        inner = Markup("").join(_draw(study, panel))
        body.append(Markup('<g transform="translate({} {})">{}</g>').format(8 + WIDTH * k, head, inner))
    height = head + HEIGHT + 8
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" class="cv" viewBox="0 0 {w} {h}" width="{w}" height="{h}" '
            'role="img" aria-labelledby="t d"><title id="t">What a budget buys, by training method</title>'
            '<desc id="d">{desc}</desc><style>{style}</style>'
            '<rect class="paper" x=".5" y=".5" width="{wr}" height="{hr}" rx="8"/>{body}</svg>\n'
        ).format(
            w=width,
            h=height,
            wr=width - 1,
            hr=height - 1,
            style=Markup(STYLE),
            body=Markup("").join(body),
            desc=" ".join(f"{describe_panel(panel)}: {_describe(panel)}" for panel in study.panels),
        )
    )


def describe_panel(panel: Panel) -> str:
    """A panel's heading."""
    if panel.noise == 0:
        return "perfect demonstrations"
    return f"demonstrations lack each quality in {format_percent(panel.noise, decimals=0)}"


def describe_dots(study: Study) -> str:
    """What a dot is."""
    nums = {len(fitted.curve.seeds) for panel in study.panels for fitted in panel.curves.values()}
    least, most = min(nums, default=0), max(nums, default=0)
    if most < 2:
        return "one seed; lines join its budgets"
    seeds = f"{most} seeds" if least == most else f"{least} to {most} seeds"
    return f"means of {seeds}, one standard error either way"


def _break_legend(recipes: Sequence[str], *, width: int) -> list[list[tuple[float, str]]]:
    rows: list[list[tuple[float, str]]] = [[]]
    x = 24.0
    for recipe in recipes:
        needed = 32 + 7.6 * len(recipe) + 22
        if rows[-1] and x + needed > width - 16:
            rows.append([])
            x = 24.0
        rows[-1].append((x, recipe))
        x += needed
    return rows


def _legend(style: int, x: float, y: float) -> Iterator[Markup]:
    yield svg_line(f"fit c{style % NUM_STYLES}", x - 12, y, x + 12, y)
    yield _dot(style, x, y)


def _dot(style: int, x: float, y: float) -> Markup:
    css = f"mark c{style % NUM_STYLES}"
    shape = style % (len(_MARKS) + 1)
    if shape == 0:
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="4.6"/>').format(css, x, y)
    return Markup('<path class="{}" transform="translate({:.1f} {:.1f})" d="{}"/>').format(css, x, y, _MARKS[shape - 1])


def _draw(study: Study, panel: Panel) -> Iterator[Markup]:
    """A panel, in a space of WIDTH by HEIGHT."""
    budgets = sorted({cell.budget for cell in study.trained})
    axis = Axis(budgets[0], budgets[-1])
    yield svg_text("head", LEFT, 16, "start", describe_panel(panel))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield svg_line("grid", LEFT, _y(share), WIDTH - RIGHT, _y(share))
        yield svg_text("", LEFT - 8, round(_y(share) + 4.5, 1), "end", format_percent(share, decimals=0))
    for budget in budgets:
        yield svg_text("", f"{axis.x(budget):.1f}", HEIGHT - BOTTOM + 19, "middle", format_number(budget))
    yield svg_text("", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "middle", "budget")
    if panel.noise > 0 and any("sft" in name for name in panel.curves):
        yield svg_line("rule", LEFT, _y(panel.ceiling), WIDTH - RIGHT, _y(panel.ceiling))
        yield svg_text("", LEFT + 4, round(_y(panel.ceiling) - 6, 1), "start", "perfect imitation")
    names = list_recipes(study)
    for name, fitted in panel.curves.items():
        yield from _series(fitted, axis, style=names.index(name))


def _series(fitted: FittedCurve, axis: Axis, *, style: int) -> Iterator[Markup]:
    curve, css = fitted.curve, f"c{style % NUM_STYLES}"
    points = list(zip(curve.budgets, curve.means, strict=True))
    fit = fitted.fit
    if fit is not None:
        low, high = curve.budgets[0], curve.budgets[-1]
        grid = [low * (high / low) ** (k / 60) for k in range(61)]
        points = [(budget, fit.at(budget)) for budget in grid]
    path = " ".join(f"{axis.x(budget):.1f},{_y(success):.1f}" for budget, success in points)
    yield Markup('<polyline class="fit {}" points="{}"/>').format(css, path)
    num = len(curve.seeds)
    for k, (budget, mean) in enumerate(zip(curve.budgets, curve.means, strict=True)):
        x = axis.x(budget)
        if num > 1:
            error = float(curve.success[:, k].std(ddof=1)) / math.sqrt(num)
            yield svg_line(f"w {css}", f"{x:.1f}", f"{_y(mean + error):.1f}", f"{x:.1f}", f"{_y(mean - error):.1f}")
        yield _dot(style, x, _y(mean))


def _describe(panel: Panel) -> str:
    """A panel in words."""
    said = []
    for name, fitted in panel.curves.items():
        curve = fitted.curve
        means = [
            f"{format_percent(mean, decimals=0)} at {format_number(budget)}"
            for budget, mean in zip(curve.budgets, curve.means, strict=True)
        ]
        said.append(f"{name} {join_words(means)}")
    return "; ".join(said) + "."
