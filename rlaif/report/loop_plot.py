"""report.json -> the "what moved" plot as a separate SVG file, for a README.

The file holds its own colours for light and dark pages. Reads nothing but the data that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from markupsafe import Markup

from rlaif.config.evaluation import is_built_in
from rlaif.evaluation.policy import Change
from rlaif.report.input import BestOfN
from rlaif.report.moved import MovedRow
from rlaif.report.plots import Scale, find_own_scale, find_scale
from rlaif.report.svg import svg_line
from rlaif.report.wording import format_estimate, format_number, show_plain

WIDTH, ROW = 820, 36
PLOT_LEFT, PLOT_RIGHT, TOP = 150, 600, 104
_STYLE = """
.paper{fill:#fdfdfb;stroke:#e1e2dc}.ink{fill:#1b1f23}.muted{fill:#5a626b}.grid{stroke:#e1e2dc}.move{stroke:#5a626b;opacity:.45}
.w{stroke-width:2}.before{stroke:#6d7680}.after{stroke:#0b6b66}.drift{stroke:#8a4b08}.choice{stroke:#5b4a9c}
.dot{stroke-width:2}.dot.before{fill:#fdfdfb}.dot.after{fill:#0b6b66}.dot.drift{fill:#8a4b08}.dot.choice{fill:#5b4a9c}
text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
font-variant-numeric:tabular-nums}
.title{font-size:17px;font-weight:650}.small{font-size:12px}.bold{font-weight:600}
@media (prefers-color-scheme:dark){
.paper{fill:#121517;stroke:#2c3237}.ink{fill:#e7eaec}.muted{fill:#a1abb4}.grid{stroke:#2c3237}.move{stroke:#a1abb4}
.before{stroke:#98a3ad}.after{stroke:#63cdc2}.drift{stroke:#f0b070}.choice{stroke:#b9abf5}
.dot.before{fill:#121517}.dot.after{fill:#63cdc2}.dot.drift{fill:#f0b070}.dot.choice{fill:#b9abf5}}
"""


def loop_plot_svg(data: Mapping[str, Any]) -> str:
    """`data`: a report.json as `json.load` returns it."""
    rows = [MovedRow.model_validate(row) for row in data["moved"]]
    shared = [row.change for row in rows if not is_built_in(row.name)]
    scale = find_scale(shared)
    num_named = sum(bool(row.principles) for row in rows)
    best = BestOfN.model_validate(data["best_of_n"]) if data.get("best_of_n") else None
    own = {row.name: _find_own_scale(row, best) for row in rows if is_built_in(row.name)}
    row_height = ROW + (12 if best else 0) + (14 if own else 0)
    groups = [
        ("named by the constitution", rows[:num_named], "after"),
        ("not named: drift", rows[num_named:], "drift"),
    ]

    x = partial(_place, scale=scale)
    ticks = [scale.low + (scale.high - scale.low) * k / 4 for k in range(5)]
    y = TOP
    body: list[Markup] = []
    for title, group, css in groups:
        if not group:
            continue
        body.append(_text(24, y - 10, "small muted", title))
        body += [svg_line("grid", x(tick), y, x(tick), y + row_height * len(group)) for tick in ticks]
        for k, row in enumerate(group):
            choice = best.measures.get(row.name) if best else None
            place = y + row_height * k + (row_height - (14 if own else 0)) / 2
            body += _row(row, place, partial(_place, scale=own.get(row.name, scale)), css, choice=choice)
            if row.name in own:
                body += _ends(own[row.name], place + row_height / 2 + 1)
        y += row_height * len(group) + 46
    axis = y - 46 + 18
    if shared or not rows:
        body += [_text(x(tick), axis, "small muted", format_number(tick), anchor="middle") for tick in ticks]
    height = axis + 20
    win = data["win_rate"] and data["win_rate"]["soft"]
    said = f"win rate {100 * win['mean']:.1f} % ({100 * win['low']:.1f} to {100 * win['high']:.1f})" if win else ""
    frame = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-labelledby="t d"><title id="t">What moved</title><desc id="d">{desc}</desc>'
        "<style>{style}</style>"
        '<rect class="paper" x=".5" y=".5" width="{wr}" height="{hr}" rx="8"/>{body}</svg>\n'
    )
    head = [
        _text(24, 36, "title ink", "What moved: before and after training"),
        *(_text(24, 57 + 17 * k, "small muted", line) for k, line in enumerate(_describe_subtitle(data, rows, best))),
        _text(WIDTH - 24, 36, "bold ink", said, anchor="end"),
    ]
    return str(
        frame.format(
            w=WIDTH, h=f"{height:.0f}", wr=WIDTH - 1, hr=f"{height - 1:.0f}", style=Markup(_STYLE),
            desc=show_plain("; ".join(_describe(row) for row in rows)), body=Markup("").join([*head, *body]),
        )
    )  # fmt: skip


def _place(value: float, *, scale: Scale) -> str:
    share = min(1.0, max(0.0, (value - scale.low) / (scale.high - scale.low)))
    return f"{PLOT_LEFT + (PLOT_RIGHT - PLOT_LEFT) * share:.1f}"


def _find_own_scale(row: MovedRow, best: BestOfN | None) -> Scale:
    choice = best.measures.get(row.name) if best else None
    return find_own_scale([row.change, *([choice] if choice else [])])


def _ends(scale: Scale, y: float) -> list[Markup]:
    """Both ends of a scale that one row has for itself."""
    return [
        _text(PLOT_LEFT, y, "small muted", format_number(scale.low)),
        _text(PLOT_RIGHT, y, "small muted", format_number(scale.high), anchor="end"),
    ]


def _describe_subtitle(data: Mapping[str, Any], rows: list[MovedRow], best: BestOfN | None) -> list[str]:
    n = next((row.change.change.n for row in rows if row.change.change), None)
    prompts = f", {n} held-out prompts" if n else ""
    note = f"; {data['measures_note']}" if data["measures_note"] else ""
    about = f"95 % intervals{prompts}{note}"
    if best is None:
        return [f"hollow: start, filled: trained, {about}"]
    return [
        f"hollow: start, filled: trained, diamond: best of {best.n} responses of the start by the reward model",
        about,
    ]


def _row(row: MovedRow, y: float, x: Any, css: str, *, choice: Change | None) -> list[Markup]:
    change = row.change
    said = format_estimate(change.change, signed=True, decimals=1)
    marks = [_text(24, y + 5, "bold ink", row.name if len(row.name) <= 14 else row.name[:13] + "\u2026")]
    up, down = (-6, 6) if choice is None else (-12, 0)
    marks.append(svg_line("move", x(change.mean_before), y + up, x(change.mean_after), y + down))
    if choice is not None:
        if choice.after is not None:
            marks.append(svg_line("w choice", x(choice.after.low), y + 12, x(choice.after.high), y + 12))
        at = float(x(choice.mean_after))
        diamond = f"{at - 5:.1f},{y + 12} {at},{y + 7} {at + 5:.1f},{y + 12} {at},{y + 17}"
        marks.append(Markup('<polygon class="dot choice" points="{}"/>').format(diamond))
    for css_of, estimate, mean, offset in (
        ("before", change.before, change.mean_before, up),
        (css, change.after, change.mean_after, down),
    ):
        if estimate is not None:
            marks.append(svg_line(f"w {css_of}", x(estimate.low), y + offset, x(estimate.high), y + offset))
        marks.append(Markup('<circle class="dot {}" cx="{}" cy="{}" r="4.5"/>').format(css_of, x(mean), y + offset))
    marks.append(_text(WIDTH - 134, y + 5, "bold ink" if row.clear else "muted", said.mean, anchor="end"))
    marks.append(_text(WIDTH - 24, y + 5, "small muted", said.interval, anchor="end"))
    return marks


def _describe(row: MovedRow) -> str:
    before, after = (format_number(v, decimals=1) for v in (row.change.mean_before, row.change.mean_after))
    return f"{row.name} {before} to {after}"


def _text(x: str | float, y: float, css: str, text: str, *, anchor: str = "start") -> Markup:
    return Markup('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>').format(
        x, y, css, anchor, show_plain(text)
    )
