"""A `ReportInput` -> report.html, one self-contained page, what_changed.svg to share, and report.json.

The page holds no script and loads nothing, and autoescape makes untrusted text harmless. Parts that are missing
are named as missing. Measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlaif.files.atomic import write_atomically
from rlaif.report.cautions import find_cautions
from rlaif.report.changed import asked_view, changed_view, is_frontdesk_judge, name_win_judge
from rlaif.report.headline import choose_headline
from rlaif.report.input import ReportInput, ShownSample
from rlaif.report.judge import judge_view
from rlaif.report.judges import judges_view
from rlaif.report.loop_plot import loop_plot_svg
from rlaif.report.moved import Moved, MovedRow, list_moved
from rlaif.report.people import calibration_view, people_view
from rlaif.report.tables import cleaning_view, cost_view, facts_view, funnel_view, rewards_view
from rlaif.report.training import describe_left_off, prompt_view, training_view
from rlaif.report.trust import hacking_view, reward_model_view
from rlaif.report.wording import (
    cut_text,
    format_count,
    format_estimate,
    format_number,
    format_percent,
    join_words,
    show_plain,
    show_untrusted,
)

HERE = Path(__file__).parent
CSS = HERE / "page.css"
"""The style of every page of rlaif."""
FORMAT = 2
OPEN_SAMPLES = 4
"""Samples that are shown at once; the others are one click away."""


def write_report(report: ReportInput, out_dir: str | Path) -> Path:
    """Write report.json, what_changed.svg where measures were compared, and report.html; return the page's path."""
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    data = report_data(report)
    write_atomically(out_dir / "report.json", json.dumps(data, indent=1) + "\n")
    if data["moved"]:
        write_atomically(out_dir / "what_changed.svg", loop_plot_svg(data).encode("utf-8", "backslashreplace"))
    page = out_dir / "report.html"
    write_atomically(page, render_report(report).encode("utf-8", "backslashreplace"))
    return page


def report_data(report: ReportInput) -> dict[str, Any]:
    """Everything the page shows, as plain JSON values."""
    moved = list_moved(report.measures, constitution=report.constitution)
    return {
        "format": FORMAT,
        "headline": choose_headline(moved, report.win_rate)._asdict(),
        "cautions": list(find_cautions(report)),
        "moved": [row.model_dump() for row in [*moved.named, *moved.unnamed]],
        "evaluation_id": report.evaluation.id,
        "constitution_id": report.constitution.id,
        **report.model_dump(),
    }


def make_environment(folder: Path) -> Environment:
    """How every page is rendered: templates of a folder, with autoescape, and filters for text of strangers."""
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["untrusted"] = show_untrusted
    environment.filters["plain"] = show_plain
    return environment


def render_report(report: ReportInput) -> str:
    """The page as text."""
    environment = make_environment(HERE)
    moved = list_moved(report.measures, constitution=report.constitution)
    cautions = find_cautions(report)
    cost = cost_view(report)
    samples = [_sample_view(sample, moved) for sample in report.samples]
    return environment.get_template("page.html.j2").render(
        css=Markup(CSS.read_text(encoding="utf-8")),
        headline=choose_headline(moved, report.win_rate),
        answers=_answers_view(report, moved, cautions=cautions, cost=cost),
        asked=asked_view(report),
        changed=changed_view(report, moved),
        measures_note=report.measures_note,
        constitution=report.constitution,
        cautions=cautions,
        calibration=calibration_view(report.calibration),
        people=people_view(report, moved),
        judge=judge_view(
            report.judge_health,
            preferences=report.provenance.config.get("preferences"),
            is_planted=is_frontdesk_judge(report),
            calibration=report.calibration.map if report.calibration else None,
        ),
        judges=judges_view(report.judges, report.panel),
        reward_model=reward_model_view(report.reward_model, report.reward_calibration, ensemble=report.reward_models),
        hacking=hacking_view(report),
        funnel=funnel_view(report),
        cleaning=cleaning_view(report),
        gates=report.gates,
        cost=cost,
        shown=samples[:OPEN_SAMPLES],
        more=samples[OPEN_SAMPLES:],
        drawn_from=None if report.samples_drawn_from is None else format_number(report.samples_drawn_from),
        reward_sources=rewards_view(report.reward_sources),
        training=training_view(report),
        provenance=report.provenance,
        facts=facts_view(report),
        config=json.dumps(report.provenance.config, indent=2, ensure_ascii=False),
    )


def _answers_view(
    report: ReportInput, moved: Moved, *, cautions: Sequence[str], cost: dict[str, Any] | None
) -> list[dict[str, str]]:
    """The three questions of a reader, each with an answer of one line and the section that says more."""
    win, people = report.win_rate, report.calibration
    changed = "nothing was measured"
    if moved.named:
        changed = f"asked for: {_describe_moves(moved.named)}"
        far = [row for row in moved.unnamed if row.clear]
        changed += f"; not asked for: {_describe_moves(far)}" if far else ""
        changed += f"; n\u00a0=\u00a0{format_estimate(moved.named[0].change.change).n}"
    elif win is not None and win.soft is not None:
        share = format_estimate(win.soft, percent=True)
        changed = (
            f"the trained policy wins {share.mean} by {show_plain(name_win_judge(report))}; n\u00a0=\u00a0{share.n}"
        )
    trust = "nobody checked the judge"
    if people is not None:
        whose = "simulated labels" if people.simulated else "people"
        agreed = format_percent(people.after.share.mean, decimals=0)
        trust = f"the judge chooses as {whose} do in {agreed} of {format_count(people.after.n, 'item')}"
    trust += f"; {format_count(len(cautions), 'caution')}" if cautions else ""
    paid = f"{cost['asked']}, {cost['drawn']}; {cost['seconds']} in the models" if cost else "nobody recorded it"
    return [
        {"question": "What changed", "anchor": "changed", "answer": changed},
        {"question": "Can it be trusted", "anchor": "trust", "answer": trust},
        {"question": "What it cost", "anchor": "cost", "answer": paid},
    ]


def _describe_moves(rows: Sequence[MovedRow]) -> str:
    """The first three moves, and how many more there are."""
    said = [
        f"{show_plain(row.name)} {format_estimate(row.change.change, signed=True, decimals=1).mean}" for row in rows[:3]
    ]
    return join_words([*said, f"{len(rows) - 3} more"] if len(rows) > 3 else said)


def _sample_view(sample: ShownSample, moved: Moved) -> dict[str, Any]:
    sides = []
    for title, css, whole, reward, p in (
        ("Before", "old", sample.before, sample.reward_before, None if sample.p_after is None else 1 - sample.p_after),
        ("After", "new", sample.after, sample.reward_after, sample.p_after),
    ):
        text, left_off = cut_text(whole)
        sides.append({
            "title": title, "css": css, "text": text, "left_off": describe_left_off(left_off),
            "reward": None if reward is None else format_number(reward, decimals=2, signed=True),
            "p": None if p is None else format_percent(p, decimals=0),
        })  # fmt: skip
    return {"prompt": prompt_view(sample.prompt), "sides": sides, "fell": _describe_falls(sample, moved)}


def _describe_falls(sample: ShownSample, moved: Moved) -> str:
    """The measures that fell far in this pair; of two opposite poles the one that the page shows."""
    said = [
        f"{row.name} from {format_number(before)} to {format_number(after)}"
        for row in (*moved.named, *moved.unnamed)
        if row.name in sample.fell
        for before, after in [sample.fell[row.name]]
    ]
    return join_words(said)
