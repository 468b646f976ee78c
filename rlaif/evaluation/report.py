"""A `ReportInput` -> report.html, one self-contained page, what_changed.svg to share, and report.json.

The page holds no script and loads nothing; untrusted text reaches it by autoescape alone. Parts that are
missing are said to be missing. Measures nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from rlaif.evaluation.cautions import find_cautions
from rlaif.evaluation.charts import average_stretches, line_chart
from rlaif.evaluation.headline import say_outcome
from rlaif.evaluation.loop_plot import loop_plot_svg
from rlaif.evaluation.moved import Moved, MovedRow, list_moved
from rlaif.evaluation.report_changed import describe_asked, describe_changed
from rlaif.evaluation.report_input import CurvePoint, ReportInput, ShownSample
from rlaif.evaluation.report_judge import describe_judge
from rlaif.evaluation.report_judges import describe_judges
from rlaif.evaluation.report_tables import describe_cost, describe_funnel, describe_rewards, list_facts
from rlaif.evaluation.report_trust import (
    describe_calibration,
    describe_hacking,
    describe_reward_model,
)
from rlaif.evaluation.wording import (
    cut_text,
    find_decimals,
    say_count,
    say_estimate,
    say_list,
    say_number,
    say_percent,
    show_plain,
    show_untrusted,
)
from rlaif.runs import write_atomically

HERE = Path(__file__).parent
FORMAT = 2
MAX_POINTS = 200
OPEN_SAMPLES = 4
"""Shown at once; the others one click away."""


class Panel(NamedTuple):
    title: str
    unit: str
    number: str
    """Its name in metrics.jsonl."""
    note: str


REWARD_MODEL_PANELS = (
    Panel("Loss", "of a batch, nats", "loss", "how badly it predicts the labels it learns from; should fall"),
    Panel("Accuracy", "in the batch", "accuracy", "share of pairs that it orders as the label says"),
    Panel("Margin", "of rewards", "reward_margin", "how far apart it puts the two responses of a pair"),
)
POLICY_PANELS = (
    Panel("Reward", "by the reward model", "objective/scores", "what training pushes up"),
    Panel("KL", "nats per response", "objective/kl", "how far the policy has moved from its start; 0 is no move"),
    Panel("Response length", "tokens", "val/response_length", "a reward model that likes length shows here"),
    Panel("Ended by the policy", "share", "val/eos_rate", "responses that end by themselves and are not cut off (EOS)"),
    Panel(
        "Entropy", "nats per token", "policy/entropy_avg", "how open its next word is; near 0 it always says the same"
    ),
    Panel("KL coefficient", "", "kl_coef", "how much a move away from the start costs it"),
)


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
    return environment.get_template("report.html.j2").render(
        css=Markup((HERE / "report.css").read_text(encoding="utf-8")),
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
        reward_model_panels=_draw_panels(report.reward_model_curve, REWARD_MODEL_PANELS, name="rm"),
        reward_sources=describe_rewards(report.reward_sources),
        policy_panels=_draw_panels(report.policy_curve, POLICY_PANELS, name="ppo"),
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


def _draw_panels(
    curve: Sequence[CurvePoint], panels: Sequence[Panel], *, name: str
) -> dict[str, list[dict[str, Any]]] | None:
    """A chart per panel whose number the curve has; what never changed is told apart, in words.

    A long curve is drawn by the means of equal stretches.
    """
    drawn: list[dict[str, Any]] = []
    constant: list[dict[str, Any]] = []
    for title, unit, number, note in panels:
        points = [(point.step, point.numbers[number]) for point in curve if number in point.numbers]
        if points:
            steps = say_count(len(points), "step")
            stretch = math.ceil(len(points) / MAX_POINTS)
            changes = len({value for _, value in points}) > 1
            points = average_stretches(points, stretch=stretch)
            (drawn if changes else constant).append(
                {
                    "title": title,
                    "unit": unit if stretch == 1 else f"{unit}, means of {stretch} steps".removeprefix(", "),
                    "note": note,
                    "course": f"{_say_course([value for _, value in points])}, {steps}",
                    "svg": line_chart(points, name=f"{name}-{len(drawn)}", title=title),
                }
            )
    return {"drawn": drawn, "constant": constant} if drawn or constant else None


def _say_course(values: Sequence[float | None]) -> str:
    """The first value and the last one."""
    known = [value for value in values if value is not None]
    if not known:
        return "no values"
    decimals = find_decimals((max(known) - min(known)) / 3 or abs(known[-1]) * 2)
    first, last = (say_number(value, decimals=decimals) for value in (known[0], known[-1]))
    return last if first == last else f"{first} \u2192 {last}"


def _describe_sample(sample: ShownSample) -> dict[str, Any]:
    turns = []
    for message in sample.prompt:
        text, left_off = cut_text(message.content)
        turns.append({"role": message.role, "text": text, "left_off": _say_left_off(left_off)})
    sides = []
    for title, css, whole, reward, p in (
        ("Before", "old", sample.before, sample.reward_before, None if sample.p_after is None else 1 - sample.p_after),
        ("After", "new", sample.after, sample.reward_after, sample.p_after),
    ):
        text, left_off = cut_text(whole)
        sides.append({
            "title": title, "css": css, "text": text, "left_off": _say_left_off(left_off),
            "reward": None if reward is None else say_number(reward, decimals=2, signed=True),
            "p": None if p is None else say_percent(p, decimals=0),
        })  # fmt: skip
    return {"prompt": turns, "sides": sides}


def _say_left_off(count: int) -> Markup:
    words = Markup("<p><small>and {} more characters, which stand in report.json</small></p>")
    return words.format(say_number(count)) if count else Markup("")
