"""A `ReportInput` -> report.html, one self-contained page, what_changed.svg to share, and report.json.

The page holds no script and loads nothing; untrusted text reaches it by autoescape alone. Parts that are
missing are said to be missing. Measures nothing.
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
from rlaif.report.changed import describe_asked, describe_changed
from rlaif.report.headline import say_outcome
from rlaif.report.input import ReportInput, ShownSample
from rlaif.report.judge import describe_judge
from rlaif.report.judges import describe_judges
from rlaif.report.loop_plot import loop_plot_svg
from rlaif.report.moved import Moved, MovedRow, list_moved
from rlaif.report.tables import describe_cost, describe_funnel, describe_rewards, list_facts
from rlaif.report.training import describe_prompt, describe_training, say_left_off
from rlaif.report.trust import (
    describe_calibration,
    describe_hacking,
    describe_reward_model,
)
from rlaif.report.wording import (
    cut_text,
    say_count,
    say_estimate,
    say_list,
    say_number,
    say_percent,
    show_plain,
    show_untrusted,
)

HERE = Path(__file__).parent
FORMAT = 2
OPEN_SAMPLES = 4
"""Shown at once; the others one click away."""


def write_report(report: ReportInput, out_dir: str | Path) -> Path:
    """Write report.json and, where measures were compared, the picture; then report.html; the page's path."""
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
        "headline": say_outcome(moved, report.win_rate)._asdict(),
        "cautions": list(find_cautions(report)),
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
    cautions = find_cautions(report)
    cost = describe_cost(report)
    samples = [_describe_sample(sample) for sample in report.samples]
    return environment.get_template("page.html.j2").render(
        css=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        headline=say_outcome(moved, report.win_rate),
        answers=_answer(report, moved, cautions=cautions, cost=cost),
        asked=describe_asked(report),
        changed=describe_changed(report, moved),
        measures_note=report.measures_note,
        constitution=report.constitution,
        cautions=cautions,
        calibration=describe_calibration(report.calibration),
        judge=describe_judge(report.judge_health, preferences=report.provenance.config.get("preferences")),
        judges=describe_judges(report.judges, report.panel),
        reward_model=describe_reward_model(report.reward_model, report.reward_calibration),
        hacking=describe_hacking(report),
        funnel=describe_funnel(report),
        cost=cost,
        shown=samples[:OPEN_SAMPLES],
        more=samples[OPEN_SAMPLES:],
        drawn_from=None if report.samples_drawn_from is None else say_number(report.samples_drawn_from),
        reward_sources=describe_rewards(report.reward_sources),
        training=describe_training(report),
        provenance=report.provenance,
        facts=list_facts(report),
        config=json.dumps(report.provenance.config, indent=2, ensure_ascii=False),
    )


def _answer(
    report: ReportInput, moved: Moved, *, cautions: Sequence[str], cost: dict[str, Any] | None
) -> list[dict[str, str]]:
    """The three questions that people have, each answered in a line, with the section that tells more."""
    win, people = report.win_rate, report.calibration
    changed = "nothing was measured"
    if moved.named:
        changed = f"asked for: {_say_moves(moved.named)}"
        far = [row for row in moved.unnamed if row.clear]
        changed += f"; not asked for: {_say_moves(far)}" if far else ""
        changed += f"; n\u00a0=\u00a0{say_estimate(moved.named[0].change.change).n}"
    elif win is not None and win.soft is not None:
        share = say_estimate(win.soft, percent=True)
        changed = f"the trained policy wins {share.mean} by the judge; n\u00a0=\u00a0{share.n}"
    trust = "nobody checked the judge"
    if people is not None:
        whose = "simulated labels" if people.simulated else "people"
        agreed = say_percent(people.after.share.mean, decimals=0)
        trust = f"the judge chooses as {whose} do in {agreed} of {say_count(people.after.n, 'item')}"
    trust += f"; {say_count(len(cautions), 'caution')}" if cautions else ""
    paid = f"{cost['asked']}, {cost['drawn']}; {cost['seconds']}" if cost else "nobody recorded it"
    return [
        {"question": "What changed", "anchor": "changed", "answer": changed},
        {"question": "Can it be trusted", "anchor": "trust", "answer": trust},
        {"question": "What it cost", "anchor": "cost", "answer": paid},
    ]


def _say_moves(rows: Sequence[MovedRow]) -> str:
    """The first three."""
    said = [
        f"{show_plain(row.name)} {say_estimate(row.change.change, signed=True, decimals=1).mean}" for row in rows[:3]
    ]
    return say_list([*said, f"{len(rows) - 3} more"] if len(rows) > 3 else said)


def _describe_sample(sample: ShownSample) -> dict[str, Any]:
    sides = []
    for title, css, whole, reward, p in (
        ("Before", "old", sample.before, sample.reward_before, None if sample.p_after is None else 1 - sample.p_after),
        ("After", "new", sample.after, sample.reward_after, sample.p_after),
    ):
        text, left_off = cut_text(whole)
        sides.append({
            "title": title, "css": css, "text": text, "left_off": say_left_off(left_off),
            "reward": None if reward is None else say_number(reward, decimals=2, signed=True),
            "p": None if p is None else say_percent(p, decimals=0),
        })  # fmt: skip
    return {"prompt": describe_prompt(sample.prompt), "sides": sides}
