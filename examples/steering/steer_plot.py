"""The table as one SVG file: a panel for each constitution with its flip, and one for the placebo.

Truth from 0 to 100, the start hollow, means and intervals over training seeds. Carries its own colours for
light and dark. Computes no statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup
from steer_table import Spread, Table

from rlaif.frontdesk.truth import ATTRIBUTES
from rlaif.report.wording import show_plain

WIDTH, ROW, TOP, LABELS, GAP, RIGHT = 920, 34, 132, 116, 26, 22
_STYLE = """
.paper{fill:#fdfdfb;stroke:#e1e2dc}.ink{fill:#1b1f23}.muted{fill:#5a626b}.grid{stroke:#e1e2dc}
.band{fill:#f1f2ec}.turn{fill:#e7efe9}.s{stroke:#6d7680;fill:#fdfdfb;stroke-width:2}
.w{stroke-width:2;stroke-linecap:round}.t{stroke-width:1.5;opacity:.35}
.a{fill:#0b6b66}.la{stroke:#0b6b66}.b{fill:#b4530a}.lb{stroke:#b4530a}.c{fill:#5a626b}.lc{stroke:#5a626b}
.unnamed{opacity:.6}.best{fill:none;stroke-width:1.6}
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
font-variant-numeric:tabular-nums}
.title{font-size:17px;font-weight:650}.small{font-size:11.5px}.bold{font-weight:650}
@media (prefers-color-scheme:dark){
.paper{fill:#121517;stroke:#2c3237}.ink{fill:#e7eaec}.muted{fill:#a1abb4}.grid{stroke:#2c3237}
.band{fill:#1b2023}.turn{fill:#1d2b29}.s{stroke:#98a3ad;fill:#121517}
.a{fill:#63cdc2}.la{stroke:#63cdc2}.b{fill:#f0b070}.lb{stroke:#f0b070}.c{fill:#a1abb4}.lc{stroke:#a1abb4}}
"""


class _Panel(NamedTuple):
    names: tuple[str, ...]
    """A constitution and, where there is one, its flip."""
    placebo: bool = False


def render_plot(table: Table) -> str:
    """A panel per pair; each row an attribute, the named ones on a band."""
    panels = _list_panels(table)
    width = (WIDTH - LABELS - RIGHT - GAP * (len(panels) - 1)) / len(panels)
    bottom = TOP + ROW * len(ATTRIBUTES)
    seeds = len(table.starts)
    body = [
        _text(24, 34, "title ink", "Edit a principle, see the behaviour move"),
        _text(24, 54, "small muted", f"simulated truth on held-out prompts, 0 to 100; {_describe_seeds(seeds)}"),
        *_legend(table),
    ]
    for place, panel in enumerate(panels):
        body += _draw_panel(table, panel, left=LABELS + place * (width + GAP), width=width)
    named = {asked.attribute for steered in table.steered for asked in steered.asked}
    body += [
        _text(24, TOP + ROW * k + ROW / 2 + 4.5, "ink bold" if attribute in named else "ink", attribute)
        for k, attribute in enumerate(ATTRIBUTES)
    ]
    height = bottom + 40
    return str(
        Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
            'aria-labelledby="t d"><title id="t">Edit a principle, see the behaviour move</title>'
            '<desc id="d">{desc}</desc><style>{style}</style>'
            '<rect class="paper" x=".5" y=".5" width="{wr}" height="{hr}" rx="8"/>{body}</svg>\n'
        ).format(
            w=WIDTH, h=height, wr=WIDTH - 1, hr=height - 1, style=Markup(_STYLE), desc=show_plain(_describe(table)),
            body=Markup("").join(body),
        )
    )  # fmt: skip


def _list_panels(table: Table) -> list[_Panel]:
    flipped_of = {flip.original: flip.flipped for flip in reversed(table.flips)}
    shown = set(flipped_of.values())
    panels = [
        _Panel((s.name, flipped_of[s.name]) if s.name in flipped_of else (s.name,))
        for s in table.steered
        if s.name not in shown
    ]
    return [*panels, _Panel((table.placebo,), placebo=True)] if table.placebo is not None else panels


def _describe_seeds(seeds: int) -> str:
    return "one training seed" if seeds == 1 else f"means and 95 % intervals over {seeds} training seeds"


def _legend(table: Table) -> list[Markup]:
    entries = [
        ("s", "start"),
        ("a", "trained"),
        ("b", "one principle turned round"),
        ("best", f"best of {table.num_choices}, untrained"),
    ]
    shown = [entry for entry in entries if entry[0] != "b" or table.flips]
    marks: list[Markup] = []
    x = 24.0
    for css, said in shown:
        if css == "best":
            marks.append(_diamond(x + 5, 75, "la"))
        else:
            marks.append(_dot(x + 5, 75, css))
        marks.append(_text(x + 15, 79, "small muted", said))
        x += 34 + 6.1 * len(said)
    marks.append(_text(x, 79, "small muted", "▸ ◂ named, in this direction"))
    return marks


def _draw_panel(table: Table, panel: _Panel, *, left: float, width: float) -> list[Markup]:
    def x(value: float) -> float:
        return left + width * min(100.0, max(0.0, value)) / 100

    bottom = TOP + ROW * len(ATTRIBUTES)
    steered = {s.name: {a.attribute: a.direction for a in s.asked} for s in table.steered}
    marks = _heads(panel, left)
    for k, attribute in enumerate(ATTRIBUTES):
        directions = [] if panel.placebo else [steered[name].get(attribute, 0) for name in panel.names]
        if any(directions):
            css = "turn" if len(set(directions)) > 1 else "band"
            marks.append(
                Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="3"/>').format(
                    css, _n(left - 7), TOP + ROW * k + 1, _n(width + 14), ROW - 2
                )
            )
    marks += [_line("grid", x(tick), TOP, x(tick), bottom) for tick in (0, 25, 50, 75, 100)]
    marks += [_text(x(tick), bottom + 17, "small muted", str(tick), anchor="middle") for tick in (0, 50, 100)]
    for k, attribute in enumerate(ATTRIBUTES):
        middle = TOP + ROW * k + ROW / 2
        start = table.start_truth(attribute)
        for place, name in enumerate(panel.names):
            y = middle + (0 if len(panel.names) == 1 else (-7, 7)[place])
            css = "c" if panel.placebo else "ab"[place]
            direction = 0 if panel.placebo else steered[name].get(attribute, 0)
            trained = table.truth(name, attribute, placebo=panel.placebo)
            move = Markup("").join(_draw_move(start, trained, x=x, y=y, css=css))
            marks.append(Markup('<g class="{}">{}</g>').format("named" if direction else "unnamed", move))
            if direction:
                best = start.mean + table.change(name, attribute, best_of=True).mean
                marks += [_diamond(x(best), y, f"l{css}"), _arrow(left, width, y, direction, css)]
        marks.append(_dot(x(start.mean), middle, "s"))
    return marks


def _heads(panel: _Panel, left: float) -> list[Markup]:
    if panel.placebo:
        return [
            _text(left, TOP - 28, "small bold c", "verdicts shuffled"),
            _text(left, TOP - 12, "small muted", _cut(f"of {panel.names[0]}")),
        ]
    heads = []
    for place, name in enumerate(panel.names):
        y = TOP - 28 + 16 * place if len(panel.names) > 1 else TOP - 12
        heads.append(_text(left, y, f"small bold {'ab'[place]}", _cut(name)))
    return heads


def _cut(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"


def _draw_move(start: Spread, trained: Spread, *, x: Callable[[float], float], y: float, css: str) -> list[Markup]:
    marks = [_line(f"t l{css}", x(start.mean), y, x(trained.mean), y)]
    if trained.interval is not None:
        marks.append(_line(f"w l{css}", x(trained.interval.low), y, x(trained.interval.high), y))
    return [*marks, _dot(x(trained.mean), y, css)]


def _arrow(left: float, width: float, y: float, direction: int, css: str) -> Markup:
    """A small triangle outside the scale, on the side to which the principle points."""
    at = left + width + 1.5 if direction > 0 else left - 1.5
    return Markup('<path class="{}" d="M{} {}l{} 4l{} 4z"/>').format(
        css, _n(at), _n(y - 4), _n(5.0 * direction), _n(-5.0 * direction)
    )


def _dot(x: float, y: float, css: str) -> Markup:
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(css, _n(x), _n(y), 4 if css == "s" else 4.5)


def _diamond(x: float, y: float, css: str) -> Markup:
    return Markup('<path class="best {}" d="M{} {}l4 4l-4 4l-4 -4z"/>').format(css, _n(x), _n(y - 4))


def _line(css: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(css, _n(x1), _n(y1), _n(x2), _n(y2))


def _text(x: float, y: float, css: str, text: str, *, anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        _n(x), _n(y), css, anchor, show_plain(text)
    )


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _describe(table: Table) -> str:
    """The named principles in words, for people who do not see the plot."""
    return "; ".join(
        f"{move.constitution}: {move.asked.attribute} {move.start.mean:.0f} to {move.trained.mean:.0f}"
        for move in table.named()
    )
