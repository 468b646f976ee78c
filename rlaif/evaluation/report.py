"""A `ReportInput` -> report.html, one self-contained page, and report.json with every number in it.

The page holds no script and loads nothing; untrusted text reaches it by autoescape alone. Parts that are
missing are said to be missing. Measures nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlaif.evaluation.moved import Moved, MovedRow, list_moved
from rlaif.evaluation.plots import (
    Scale,
    average_stretches,
    dot_axis,
    dot_row,
    find_scale,
    line_chart,
    share_bar,
)
from rlaif.evaluation.policy import WinRate
from rlaif.evaluation.report_input import CurvePoint, ReportInput, ShownSample
from rlaif.evaluation.report_tables import describe_judge, describe_reward_model, list_facts, list_figure_rows
from rlaif.evaluation.wording import (
    cut_text,
    find_decimals,
    say_estimate,
    say_headline,
    say_number,
    say_percent,
    show_plain,
    show_untrusted,
)
from rlaif.runs import write_atomically

HERE = Path(__file__).parent
FORMAT = 1
MAX_POINTS = 200

FLOW = (
    ("prompts", "funnel"), ("samples", "funnel"), ("judgements", "judge"), ("preferences", "funnel"),
    ("reward model", "reward-model"), ("policy", "policy"), ("evaluation", "moved"),
)  # fmt: skip
"""The stages by name, and the section that tells most of each."""

POLICY_PANELS = (
    ("Score", "by the reward model", "objective/scores"),
    ("KL", "nats per response", "objective/kl"),
    ("Entropy", "nats per token", "policy/entropy_avg"),
    ("Response length", "tokens", "val/response_length"),
    ("Ended by the policy", "share", "val/eos_rate"),
    ("KL coefficient", "", "kl_coef"),
)
REWARD_MODEL_PANELS = (
    ("Loss", "of a batch, nats", "loss"),
    ("Accuracy", "in the batch", "accuracy"),
    ("Margin", "of rewards", "reward_margin"),
)
"""Title, unit, and the number's name in metrics.jsonl."""


def write_report(report: ReportInput, out_dir: str | Path) -> Path:
    """Write report.json, then report.html; the page's path."""
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    write_atomically(out_dir / "report.json", json.dumps(report_data(report), indent=1) + "\n")
    page = out_dir / "report.html"
    write_atomically(page, render_report(report).encode("utf-8", "backslashreplace"))
    return page


def report_data(report: ReportInput) -> dict[str, Any]:
    """Everything the page shows, as plain JSON values."""
    moved = list_moved(report.measures, constitution=report.constitution)
    return {
        "format": FORMAT,
        "headline": say_headline(report.win_rate)._asdict(),
        "moved": [row.model_dump() for row in [*moved.named, *moved.unnamed]],
        "evaluation_id": report.evaluation.id,
        "constitution_id": report.constitution.id,
        **report.model_dump(),
    }


def render_report(report: ReportInput) -> str:
    """The page as text."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["untrusted"] = show_untrusted
    environment.filters["plain"] = show_plain
    moved = list_moved(report.measures, constitution=report.constitution)
    return environment.get_template("report.html.j2").render(
        css=Markup((HERE / "report.css").read_text(encoding="utf-8")),
        headline=say_headline(report.win_rate),
        win=_describe_win(report.win_rate),
        flow=_describe_flow(report),
        moved=_describe_moved(moved),
        measures_note=report.measures_note,
        constitution=report.constitution,
        principles=_describe_principles(report),
        funnel=_describe_funnel(report),
        judge=describe_judge(report.judge_health),
        reward_model=describe_reward_model(report.reward_model),
        reward_model_panels=_draw_panels(report.reward_model_curve, REWARD_MODEL_PANELS, name="rm"),
        policy_panels=_draw_panels(report.policy_curve, POLICY_PANELS, name="ppo"),
        samples=[_describe_sample(sample) for sample in report.samples],
        figures=list_figure_rows(report),
        provenance=report.provenance,
        facts=list_facts(report),
        config=json.dumps(report.provenance.config, indent=2, ensure_ascii=False),
    )


def _describe_win(win: WinRate | None) -> dict[str, Any] | None:
    if win is None or win.soft is None:
        return None
    return {
        "said": say_estimate(win.soft, percent=True),
        "hard": say_estimate(win.hard, percent=True),
        "bar": share_bar(win.soft, name="win", title="Win rate of the trained policy against its start"),
        "pairs": win.num_pairs,
        "identical": win.num_identical,
        "failed": win.num_failed,
        "one_order": win.num_not_debiased,
    }


def _describe_flow(report: ReportInput) -> list[dict[str, Any]]:
    kept = {stage.name: stage.tally.kept for stage in report.funnel}
    return [
        {"name": name, "anchor": anchor, "count": say_number(kept[name]) if name in kept else "\u2013"}
        for name, anchor in FLOW
    ]


def _describe_moved(moved: Moved) -> dict[str, Any]:
    rows = [*moved.named, *moved.unnamed]
    scale = find_scale([row.change for row in rows])
    return {
        "axis": dot_axis(scale),
        "named": [_describe_row(row, scale, f"moved-{k}") for k, row in enumerate(moved.named)],
        "unnamed": [_describe_row(row, scale, f"drift-{k}") for k, row in enumerate(moved.unnamed)],
        "mirrored": ", ".join(f"{pole} is 100 {chr(0x2212)} {shown}" for pole, shown in moved.mirrored.items()),
    }


def _describe_row(row: MovedRow, scale: Scale, name: str) -> dict[str, Any]:
    return {
        "name": row.name,
        "principles": "" if row.principles in ((), (row.name,)) else ", ".join(row.principles),
        "clear": row.clear,
        "svg": dot_row(row.change, scale=scale, name=name, label=row.name),
        "said": say_estimate(row.change.change, signed=True, decimals=1 if scale.high - scale.low >= 10 else None),
    }


def _describe_principles(report: ReportInput) -> list[dict[str, Any]]:
    win = report.win_rate
    return [
        {
            "id": principle.id,
            "text": principle.text,
            "weight": say_number(principle.weight),
            "tags": ", ".join(principle.tags),
            "said": say_estimate(win.soft_by_principle[principle.id], percent=True)
            if win and principle.id in win.soft_by_principle
            else None,
            "failed": win.failed_by_principle.get(principle.id, 0) if win else 0,
        }
        for principle in report.constitution.principles
    ]


def _describe_funnel(report: ReportInput) -> list[dict[str, Any]]:
    return [
        {
            "name": stage.name,
            "unit": stage.unit,
            "num_in": say_number(stage.tally.num_in),
            "kept": say_number(stage.tally.kept),
            "share": f"{100 * stage.tally.kept / max(1, stage.tally.num_in):.1f}",
            "dropped": [
                (reason.replace("_", " "), say_number(count))
                for reason, count in sorted(stage.tally.dropped.items(), key=lambda item: (-item[1], item[0]))
                if count
            ],
        }
        for stage in report.funnel
    ]


def _draw_panels(
    curve: Sequence[CurvePoint], panels: Sequence[tuple[str, str, str]], *, name: str
) -> list[dict[str, Any]]:
    """A chart per panel whose number the curve has; a long curve is drawn by the means of equal stretches."""
    drawn: list[dict[str, Any]] = []
    for title, unit, number in panels:
        points = [(point.step, point.numbers[number]) for point in curve if number in point.numbers]
        if points:
            stretch = math.ceil(len(points) / MAX_POINTS)
            points = average_stretches(points, stretch=stretch)
            drawn.append(
                {
                    "title": title,
                    "unit": unit if stretch == 1 else f"{unit}, means of {stretch} steps".removeprefix(", "),
                    "course": _say_course([value for _, value in points]),
                    "svg": line_chart(points, name=f"{name}-{len(drawn)}", title=title),
                }
            )
    return drawn


def _say_course(values: Sequence[float | None]) -> str:
    """The first value and the last one."""
    known = [value for value in values if value is not None]
    if not known:
        return ""
    decimals = find_decimals((max(known) - min(known)) / 3 or abs(known[-1]) * 2)
    first, last = (say_number(value, decimals=decimals) for value in (known[0], known[-1]))
    return last if first == last else f"{first} \u2192 {last}"


def _describe_sample(sample: ShownSample) -> dict[str, Any]:
    turns = []
    for message in sample.prompt:
        text, left_off = cut_text(message.content)
        turns.append({"role": message.role, "text": text, "left_off": _say_left_off(left_off)})
    sides = []
    for title, css, whole, reward in (
        ("Starting policy", "old", sample.before, sample.reward_before),
        ("Trained policy", "new", sample.after, sample.reward_after),
    ):
        text, left_off = cut_text(whole)
        sides.append({
            "title": title, "css": css, "text": text, "left_off": _say_left_off(left_off),
            "reward": None if reward is None else say_number(reward, decimals=2, signed=True),
        })  # fmt: skip
    return {
        "prompt": turns,
        "sides": sides,
        "p_after": None if sample.p_after is None else say_percent(sample.p_after, decimals=0),
    }


def _say_left_off(count: int) -> Markup:
    words = Markup("<p><small>and {} more characters, which stand in report.json</small></p>")
    return words.format(say_number(count)) if count else Markup("")
