"""What benchmarks/over_optimisation.py measured -> a figure of its own, light and dark.

Left the training: reward and truth over the KL to the start, with guards and without. Right the closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from rlaif.report.svg import svg_line, svg_text
from rlaif.report.wording import format_number, show_plain

WIDTH, HEIGHT, TOP, BOTTOM = 820, 340, 92, 46
PANELS = ((64, 470), (560, 796))
"""Left and right edge of each."""
STYLE = """
.paper{fill:#fdfdfb;stroke:#e1e2dc}.ink{fill:#1b1f23}.tick,.muted{fill:#5a626b}.grid{stroke:#e1e2dc}
.truth{stroke:#0b6b66}.reward{stroke:#8a4b08;stroke-dasharray:5 4}.curve{fill:none;stroke-width:2.6}
.thin{stroke-width:1.2}
.kept{fill:#0b6b66}.peak{fill:#fdfdfb;stroke:#0b6b66;stroke-width:2}.ft{fill:#0b6b66}.fr{fill:#8a4b08}
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
.title{font-size:17px;font-weight:650}.tick{font-size:12px}
@media (prefers-color-scheme:dark){
.paper{fill:#121517;stroke:#2c3237}.ink{fill:#e7eaec}.tick,.muted{fill:#a1abb4}.grid{stroke:#2c3237}
.truth{stroke:#63cdc2}.reward{stroke:#f0b070}.kept{fill:#63cdc2}.peak{fill:#121517;stroke:#63cdc2}
.ft{fill:#63cdc2}.fr{fill:#f0b070}}
"""
Points = Sequence[tuple[float, float]]


def draw(result: dict[str, Any]) -> str:
    """`result`: what over_optimisation.json holds; the first seed is drawn."""
    run, exact = result["runs"][0], result["closed_form"][0]
    rows = run["sides"]["unguarded"]["curve"]
    truth = [(row["step"], row["truth"]) for row in rows]
    reward = [(row["step"], row["reward"]) for row in rows]
    guarded = [(row["step"], row["truth"]) for row in run["sides"]["rolled_back"]["curve"]]
    curves = list(zip(exact["kl"], exact["gold"], strict=True)), list(zip(exact["kl"], exact["proxy"], strict=True))
    body = [
        *_panel(0, truth, reward, guarded, x_label="steps of PPO", y_label="truth, 0 to 100"),
        *_panel(1, *curves, [], x_label="KL to the start, nats", y_label="utility, deviations"),
    ]
    kept = run["sides"]["rolled_back"]["kept_step"]
    place = _scales(0, [*truth, *guarded])
    peak = max(truth, key=lambda point: point[1])
    for css, (step, value) in (("peak", peak), ("kept", next(point for point in guarded if point[0] == kept))):
        body.append(Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(css, *place(step, value)))
    left = (
        "reward model of 200 pairs, a quarter turned round; hollow: the peak without guards, filled: kept with guards"
    )
    head = [
        svg_text("title ink", 24, 34, "start", "Over-optimisation: the reward rises, the truth does not"),
        svg_text("muted", 24, 56, "start", left),
        svg_text("ft", PANELS[0][0], 78, "start", "truth (thin: with guards)"),
        svg_text("fr", PANELS[0][0] + 170, 78, "start", "reward, on a scale of its own"),
        svg_text("muted", PANELS[1][0] - 30, 78, "start", "best policies in closed form"),
    ]
    desc = (
        f"Truth goes from {format_number(run['start'], decimals=1)} to {format_number(run['peak'], decimals=1)} "
        f"and down to {format_number(run['end'], decimals=1)}; "
        f"with guards {format_number(run['rolled_back'], decimals=1)} is kept."
    )
    frame = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
        'aria-labelledby="t d"><title id="t">Over-optimisation</title><desc id="d">{desc}</desc><style>{style}</style>'
        '<rect class="paper" x=".5" y=".5" width="{wr}" height="{hr}" rx="8"/>{body}</svg>\n'
    )
    return str(
        frame.format(
            w=WIDTH, h=HEIGHT, wr=WIDTH - 1, hr=HEIGHT - 1, style=Markup(STYLE), desc=show_plain(desc),
            body=Markup("").join([*head, *body]),
        )
    )  # fmt: skip


def _scales(panel: int, points: Points) -> Any:
    """Data -> places, the least and greatest values at the edges."""
    left, right = PANELS[panel]
    xs, ys = [x for x, _ in points], [y for _, y in points]

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            left + (right - left) * (x - min(xs)) / (max(xs) - min(xs)),
            TOP + (HEIGHT - TOP - BOTTOM) * (max(ys) - y) / (max(ys) - min(ys)),
        )

    return place


def _panel(panel: int, truth: Points, reward: Points, guarded: Points, *, x_label: str, y_label: str) -> list[Markup]:
    left, right = PANELS[panel]
    floor = HEIGHT - BOTTOM
    body = [svg_line("grid", left, y, right, y) for y in (TOP, floor)]
    values = [value for _, value in (*truth, *guarded)]
    for y, value in ((TOP, max(values)), (floor, min(values))):
        body.append(svg_text("tick", left - 6, y + 4, "end", format_number(value, decimals=1)))
    last = max(x for x, _ in truth)
    body += [
        svg_text("tick", left, floor + 18, "start", "0"),
        svg_text("tick", right, floor + 18, "end", format_number(last, decimals=0 if last > 20 else 1)),
        svg_text("tick", (left + right) / 2, floor + 18, "middle", x_label),
        svg_text("tick", left, floor + 36, "start", f"left axis: {y_label}"),
    ]
    for css, points, scaled in (
        ("truth", truth, [*truth, *guarded]),
        ("truth thin", guarded, [*truth, *guarded]),
        ("reward", reward, reward),
    ):
        if not points:
            continue
        place = _scales(panel, scaled)
        path = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
        body.append(Markup('<polyline class="curve {}" points="{}"/>').format(css, path))
    return body
